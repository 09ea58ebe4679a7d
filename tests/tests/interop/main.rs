//! Other people's libraries, unmodified, as relying parties of identity: each signs a person in with code and PKCE, checks
//! the ID token, asks userinfo, refreshes, signs out, and hears by the back channel that its visitor signed out elsewhere.
//! Some work under FAPI 2.0, some register themselves, one is a device without a browser.
//! `make interop` gets the libraries at the versions that `tests/interop` locks; `KOTINOS_INTEROP` names some of them.

mod apache;
mod browser;
mod crate_site;
mod device;
mod registered;
mod site;
mod way;

use std::time::Instant;

use anyhow::{Context, Result};
use domain::Service;
use e2e::{Shape, Suite};
use serde_json::{Value, json};

use registered::{Registered, SCOPES, Way};
use way::Check;

/// How a library's site runs.
#[derive(Debug, Clone, Copy)]
enum Kind {
    /// A program of `tests/interop`.
    Script(&'static [&'static str]),
    /// The same without a site.
    Device(&'static [&'static str]),
    Apache,
    Chromium,
    /// In this process.
    Crate,
}

const OPENID_CLIENT: Kind = Kind::Script(&["node", "openid_client.mjs"]);
const OAUTH4WEBAPI: Kind = Kind::Script(&["node", "oauth4webapi_site.mjs"]);
const EXPRESS: Kind = Kind::Script(&["node", "express_site.mjs"]);
const AUTHLIB: Kind = Kind::Script(&["python", "authlib_site.py"]);
const OIC: Kind = Kind::Script(&["python", "oic_site.py"]);
const DEVICE: Kind = Kind::Device(&["node", "openid_client_device.mjs"]);

/// Each library, how it runs, as what identity knows it, and what its site checks beyond the way that all go.
const LIBRARIES: [(&str, Kind, Way, &[Check]); 14] = [
    ("openid-client", OPENID_CLIENT, Way::Proves("private_key_jwt"), &[Check::State, Check::Revocation]),
    ("openid-client-fapi2", OPENID_CLIENT, Way::Fapi2, &[Check::State, Check::Revocation, Check::Proof]),
    ("openid-client-registers", OPENID_CLIENT, Way::Registers, &[Check::State, Check::Revocation]),
    ("openid-client-device", DEVICE, Way::Device, &[]),
    ("oauth4webapi", OAUTH4WEBAPI, Way::Proves("client_secret_basic"), &[Check::State]),
    ("oauth4webapi-fapi2", OAUTH4WEBAPI, Way::Fapi2, &[Check::State]),
    ("express-openid-connect", EXPRESS, Way::Proves("client_secret_post"), &[]),
    ("authlib", AUTHLIB, Way::Proves("client_secret_basic"), &[Check::State]),
    ("oic", OIC, Way::Proves("client_secret_post"), &[Check::State]),
    ("oic-registers", OIC, Way::Registers, &[Check::State]),
    ("openidconnect", Kind::Crate, Way::Proves("client_secret_basic"), &[]),
    ("mod-auth-openidc", Kind::Apache, Way::Proves("client_secret_basic"), &[]),
    ("oidc-client-ts", Kind::Chromium, Way::Public, &[]),
    ("oidc-client-ts-dpop", Kind::Chromium, Way::BoundPage, &[]),
];

/// What those who register themselves may have.
const POLICY: &str = "interop";

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs libraries of npm, PyPI and Debian: run by make interop"]
async fn foreign_libraries_sign_in_refresh_and_sign_out() {
    let wanted = std::env::var("KOTINOS_INTEROP").unwrap_or_default();
    let wanted: Vec<&str> = wanted.split_whitespace().collect();
    let sites: Vec<(Kind, Registered)> = LIBRARIES
        .into_iter()
        .filter(|(name, ..)| wanted.is_empty() || wanted.contains(name))
        .map(|(name, kind, way, checks)| {
            (kind, Registered::new(name, way, backchannel(kind), checks).unwrap())
        })
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

/// Where logout tokens go.
const fn backchannel(kind: Kind) -> Option<&'static str> {
    match kind {
        Kind::Script(_) | Kind::Crate => Some("/backchannel-logout"),
        Kind::Apache => Some(apache::BACKCHANNEL),
        Kind::Device(_) | Kind::Chromium => None,
    }
}

/// Identity, and those whom it asks: profile for claims, mailer for proofs of an address.
async fn start(sites: &[(Kind, Registered)]) -> Result<Suite> {
    let clients: Vec<_> = sites.iter().filter_map(|(_, site)| site.entry()).collect();
    let more = json!({
        "clients": clients,
        "registration_policies": [{ "name": POLICY, "scopes": SCOPES }],
    });
    let egress: Vec<String> = sites.iter().map(|(_, site)| format!("127.0.0.1:{}", site.port)).collect();
    let services = [Service::Identity, Service::Profile, Service::Mailer];
    let given = [("KOTINOS_EGRESS_ALLOW", egress.join(","))];
    let given = given.each_ref().map(|(name, value)| (*name, value.as_str()));
    Suite::start_with("interop", Shape::Services, &services, &given, &more).await
}

async fn one(suite: &Suite, kind: Kind, site: &Registered) -> Result<()> {
    let provider = suite.provider().await?;
    match kind {
        Kind::Script(words) => {
            let log = suite.folder.join(format!("{}.log", site.name));
            let mut given = site.given(&provider.issuer);
            if site.registers_itself() {
                let words = ["registration", "token", POLICY, "--json", "--operator", "interop"];
                let printed: Value = serde_json::from_str(&suite.verb(Service::Identity, &words).await?)?;
                given["initial_access_token"] = printed["initial_access_token"].clone();
            }
            let mut program = site::start(words, &given, &log)?;
            program.told().await.context("the program's start")?;
            way::whole(suite, site).await
        }
        Kind::Device(words) => device::whole(suite, site, words, &provider.issuer).await,
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
