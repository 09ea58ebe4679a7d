//! Debian's Apache with mod_auth_openidc: the module does everything, the back-channel logout as well. A process of its own
//! with a configuration of its own; no service of the system.

use std::{fs::File, path::Path, process::Stdio};

use anyhow::{Context, Result, ensure};
use e2e::{Suite, WebVisitor, sign_in, sign_up, until};
use serde_json::Value;
use tokio::{
    net::TcpStream,
    process::{Child, Command},
};
use url::form_urlencoded::byte_serialize;

use crate::{
    registered::{Registered, SCOPES},
    way,
};

/// Where logout tokens go: the module's own path for everything.
pub const BACKCHANNEL: &str = "/callback?logout=backchannel";

/// Signs in, refreshes, signs out; then signs in again and is signed out from elsewhere.
pub async fn whole(suite: &Suite, site: &Registered, issuer: &str) -> Result<()> {
    let _apache = start(&suite.folder, site, issuer).await?;
    let address = format!("{}@fans.example", site.name);
    let mut browser = WebVisitor::new("en")?;
    let (login, callback) = (site.url("/login"), site.url("/callback?"));
    let back = sign_up(suite, &mut browser, &address, &login, &callback).await.context("sign-up")?;
    browser.visit(back.url.as_str()).await?;
    let me = info(&mut browser, site).await?.context("nobody is signed in")?;
    check(&me, &address)?;

    // The module refreshes and leads back to where it was asked for.
    let token = me["access_token"].as_str().context("no access token")?;
    let url = format!("/callback?refresh={}&access_token={}", encoded(&site.url("/open")), encoded(token));
    let page = browser.visit(&site.url(&url)).await?;
    ensure!(page.url.as_str() == site.url("/open"), "the refresh led to {}", page.url);
    let fresh = info(&mut browser, site).await?.context("nobody is signed in after a refresh")?;
    ensure!(
        fresh["access_token"].is_string() && fresh["access_token"] != me["access_token"],
        "not refreshed"
    );
    ensure!(fresh["userinfo"]["sub"] == me["id_token"]["sub"], "somebody else: {}", fresh["userinfo"]);

    let url = format!("/callback?logout={}", encoded(&site.url("/signed-out")));
    let page = browser.visit(&site.url(&url)).await?;
    ensure!(page.url.as_str().starts_with(&site.url("/signed-out")), "the sign-out led to {}", page.url);
    ensure!(info(&mut browser, site).await?.is_none(), "still signed in");

    let back = sign_in(&mut browser, &address, &login, &callback).await.context("second sign-in")?;
    browser.visit(back.url.as_str()).await?;
    let again = info(&mut browser, site).await?.context("nobody is signed in again")?;
    ensure!(again["id_token"]["sid"] != me["id_token"]["sid"], "the session is the old one");
    way::signed_out_elsewhere(suite, &mut browser).await?;
    until("the module to take a logout token", async || {
        Ok(info(&mut browser, site).await?.is_none().then_some(()))
    })
    .await
}

fn check(me: &Value, address: &str) -> Result<()> {
    let (claims, userinfo) = (&me["id_token"], &me["userinfo"]);
    ensure!(
        claims["sub"].is_string() && claims["sub"] == userinfo["sub"],
        "the user is {claims}, {userinfo}"
    );
    ensure!(userinfo["email"] == address && userinfo["email_verified"] == true, "the address is {userinfo}");
    ensure!(me["refresh_token"].is_string(), "no refresh token");
    Ok(())
}

/// What the module knows of this browser's session; none without one.
async fn info(browser: &mut WebVisitor, site: &Registered) -> Result<Option<Value>> {
    let page = browser.visit(&site.url("/callback?info=json")).await?;
    if page.status == 401 {
        return Ok(None);
    }
    ensure!(page.status == 200, "the module answers {}: {}", page.status, page.body);
    Ok(Some(serde_json::from_str(&page.body).with_context(|| page.body.clone())?))
}

async fn start(folder: &Path, site: &Registered, issuer: &str) -> Result<Child> {
    let folder = folder.join("apache");
    std::fs::create_dir_all(&folder)?;
    let file = folder.join("httpd.conf");
    std::fs::write(&file, configuration(&folder, site, issuer))?;
    // -X: one process, which ends with us.
    let child = Command::new("apache2")
        .args(["-X", "-f"])
        .arg(&file)
        .env_clear()
        .env("PATH", std::env::var_os("PATH").unwrap_or_default())
        .stdin(Stdio::null())
        .stdout(File::create(folder.join("stdout.log"))?)
        .stderr(File::create(folder.join("stderr.log"))?)
        .kill_on_drop(true)
        .spawn()
        .context("apache2 does not start; deploy/local/prerequisites interop gets it")?;
    until("apache to listen", async || Ok(Some(TcpStream::connect(("127.0.0.1", site.port)).await?))).await?;
    Ok(child)
}

fn configuration(folder: &Path, site: &Registered, issuer: &str) -> String {
    let folder = folder.display();
    let (port, client, secret) = (site.port, site.name, &site.secret);
    let (redirect_uri, scope) = (site.url("/callback"), SCOPES.join(" "));
    let out = site.url("/signed-out");
    format!(
        r#"ServerRoot "{folder}"
ServerName 127.0.0.1
Listen 127.0.0.1:{port}
PidFile "{folder}/httpd.pid"
ErrorLog "{folder}/error.log"
LogLevel warn auth_openidc:info
Mutex "file:{folder}"
LoadModule mpm_event_module /usr/lib/apache2/modules/mod_mpm_event.so
LoadModule authn_core_module /usr/lib/apache2/modules/mod_authn_core.so
LoadModule authz_core_module /usr/lib/apache2/modules/mod_authz_core.so
LoadModule authz_user_module /usr/lib/apache2/modules/mod_authz_user.so
LoadModule auth_openidc_module /usr/lib/apache2/modules/mod_auth_openidc.so
<IfModule unixd_module>
  User nobody
  Group nogroup
</IfModule>
DocumentRoot "{folder}"
ErrorDocument 404 "nothing to see"
OIDCProviderMetadataURL {issuer}/.well-known/openid-configuration
OIDCClientID {client}
OIDCClientSecret {secret}
OIDCRedirectURI {redirect_uri}
OIDCDefaultLoggedOutURL {out}
OIDCCryptoPassphrase {secret}
OIDCResponseType code
OIDCPKCEMethod S256
OIDCScope "{scope}"
OIDCIDTokenSignedResponseAlg ES256
OIDCSessionType server-cache
OIDCCacheType shm
OIDCInfoHook access_token access_token_expires id_token userinfo refresh_token session
<LocationMatch "^/(login|callback)">
  AuthType openid-connect
  Require valid-user
</LocationMatch>
"#
    )
}

fn encoded(text: &str) -> String {
    byte_serialize(text.as_bytes()).collect()
}
