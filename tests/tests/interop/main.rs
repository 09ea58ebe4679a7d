//! Other people's libraries, unmodified, as relying parties of identity: each signs a person in with code and PKCE, checks
//! the ID token, asks userinfo, refreshes, signs out, and hears by the back channel that its visitor signed out elsewhere.
//! `make interop` gets the libraries at the versions that `tests/interop` locks; `KOTINOS_INTEROP` names some of them.

mod apache;
mod browser;
mod crate_site;
mod registered;
mod site;
mod way;

use std::time::Instant;

use anyhow::{Context, Result};
use domain::Service;
use e2e::{Shape, Suite};

use registered::Registered;
use site::Program;

/// How a library's site runs.
#[derive(Debug, Clone, Copy)]
enum Kind {
    /// A program of `tests/interop`.
    Script(&'static [&'static str]),
    Apache,
    Chromium,
    /// In this process.
    Crate,
}

/// Each library, how it runs, how it proves itself, and where it hears of a logout.
const LIBRARIES: [(&str, Kind, &str, &str); 8] = [
    ("openid-client", Kind::Script(&["node", "openid_client.mjs"]), "private_key_jwt", "/backchannel-logout"),
    (
        "oauth4webapi",
        Kind::Script(&["node", "oauth4webapi_site.mjs"]),
        "client_secret_basic",
        "/backchannel-logout",
    ),
    (
        "express-openid-connect",
        Kind::Script(&["node", "express_site.mjs"]),
        "client_secret_post",
        "/backchannel-logout",
    ),
    ("authlib", Kind::Script(&["python", "authlib_site.py"]), "client_secret_basic", "/backchannel-logout"),
    ("oic", Kind::Script(&["python", "oic_site.py"]), "client_secret_post", "/backchannel-logout"),
    ("openidconnect", Kind::Crate, "client_secret_basic", "/backchannel-logout"),
    ("mod-auth-openidc", Kind::Apache, "client_secret_basic", apache::BACKCHANNEL),
    ("oidc-client-ts", Kind::Chromium, "none", ""),
];

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs libraries of npm, PyPI and Debian: run by make interop"]
async fn foreign_libraries_sign_in_refresh_and_sign_out() {
    let wanted = std::env::var("KOTINOS_INTEROP").unwrap_or_default();
    let wanted: Vec<&str> = wanted.split_whitespace().collect();
    let sites: Vec<(Kind, Registered)> = LIBRARIES
        .into_iter()
        .filter(|(name, ..)| wanted.is_empty() || wanted.contains(name))
        .map(|(name, kind, method, backchannel)| (kind, Registered::new(name, method, backchannel).unwrap()))
        .collect();
    assert!(!sites.is_empty(), "KOTINOS_INTEROP names none of the libraries");
    let suite = start(&sites).await.unwrap_or_else(|error| panic!("{error:?}"));
    let mut failures = Vec::new();
    for (kind, site) in &sites {
        let begun = Instant::now();
        let done = one(&suite, *kind, site).await;
        println!(
            "{}: {} after {:.1?}",
            site.name,
            if done.is_ok() { "ok" } else { "FAILED" },
            begun.elapsed()
        );
        if let Err(error) = done {
            failures.push(format!("{}: {error:?}", site.name));
        }
    }
    if !failures.is_empty() {
        let told = anyhow::anyhow!("{} fail:\n{}", failures.len(), failures.join("\n\n"));
        panic!("{:?}", suite.with_logs(told).await);
    }
    suite.stop().await.unwrap_or_else(|error| panic!("{error:?}"));
}

/// Identity, and those whom it asks: profile for claims, mailer for proofs of an address.
async fn start(sites: &[(Kind, Registered)]) -> Result<Suite> {
    let clients: Vec<_> = sites.iter().map(|(_, site)| site.entry()).collect();
    let egress: Vec<String> = sites.iter().map(|(_, site)| format!("127.0.0.1:{}", site.port)).collect();
    let services = [Service::Identity, Service::Profile, Service::Mailer];
    let given = [("KOTINOS_EGRESS_ALLOW", egress.join(","))];
    let given = given.each_ref().map(|(name, value)| (*name, value.as_str()));
    Suite::start_with("interop", Shape::Services, &services, &given, &clients).await
}

async fn one(suite: &Suite, kind: Kind, site: &Registered) -> Result<()> {
    let provider = suite.provider().await?;
    match kind {
        Kind::Script(words) => {
            let log = suite.folder.join(format!("{}.log", site.name));
            let mut program = Program::start(words, &site.given(&provider.issuer), &log)?;
            program.told().await.context("the program's start")?;
            way::whole(suite, site).await
        }
        Kind::Apache => apache::whole(suite, site, &provider.issuer).await,
        Kind::Chromium => browser::whole(suite, site, &provider.issuer).await,
        Kind::Crate => {
            let serving = crate_site::serve(site, provider).await?;
            let done = way::whole(suite, site).await;
            serving.abort();
            done
        }
    }
}
