//! The settings of the services' processes, as an installation would give them.

use std::{collections::BTreeMap, net::SocketAddr};

use anyhow::{Context, Result};
use domain::Service;

use super::{Addresses, Keys, Shape};

/// What the settings depend on.
pub(super) struct Surroundings<'a> {
    pub(super) shape: Shape,
    pub(super) addresses: &'a Addresses,
    pub(super) keys: &'a Keys,
    pub(super) database_url: &'a str,
    pub(super) topic_prefix: &'a str,
    pub(super) relay_url: &'a str,
    pub(super) otlp_endpoint: &'a str,
    pub(super) second_rp: SocketAddr,
}

/// The brokers that the environment names.
pub(super) fn kafka_brokers() -> Result<String> {
    std::env::var("KOTINOS_TEST_KAFKA_BROKERS")
        .context("KOTINOS_TEST_KAFKA_BROKERS is not set; start through deploy/local/stack, which sets it")
}

/// What a process gets of our own environment: how to find programs, and how much to log.
pub(super) fn inherited() -> BTreeMap<String, String> {
    let names = ["PATH", "HOME", "TMPDIR", "RUST_LOG", "RUST_BACKTRACE", "KOTINOS_LOG"];
    names.into_iter().filter_map(|name| Some((name.to_owned(), std::env::var(name).ok()?))).collect()
}

/// What every process gets; a service passes over what is not its own.
pub(super) fn common(surroundings: &Surroundings<'_>) -> Result<BTreeMap<String, String>> {
    let Surroundings { shape, addresses, keys, .. } = surroundings;
    let mut environment = inherited();
    let mut set = |name: &str, value: String| {
        environment.insert(name.to_owned(), value);
    };
    let url = |service| addresses.url(service);
    set("KOTINOS_KAFKA_BROKERS", kafka_brokers()?);
    set("KOTINOS_TOPIC_PREFIX", surroundings.topic_prefix.to_owned());
    set("KOTINOS_AUTH_ISSUER", url(Service::Identity));
    set("KOTINOS_OTLP_ENDPOINT", surroundings.otlp_endpoint.to_owned());
    set("KOTINOS_DRAIN_DELAY", "0s".to_owned());
    let mut egress = addresses.egress();
    egress.push(surroundings.second_rp.to_string());
    set("KOTINOS_EGRESS_ALLOW", egress.join(","));
    for service in Service::ALL {
        let short = service.short().to_uppercase();
        set(&format!("{short}_DATABASE_URL"), surroundings.database_url.to_owned());
        // In one process the services find each other by themselves.
        if *shape == Shape::Services {
            set(&format!("{short}_GRPC_URL"), addresses.grpc_url(service));
        }
    }
    set("IDENTITY_ISSUER", url(Service::Identity));
    // Long enough for a whole journey on a busy machine: people at a terminal sign in once.
    set("IDENTITY_ACCESS_TOKEN_SECONDS", "900".to_owned());
    set("PORTAL_PUBLIC_URL", url(Service::Portal));
    set("RESULTS_PUBLIC_URL", url(Service::ResultsFeed));
    set("PORTAL_RESULTS_URL", url(Service::ResultsFeed));
    set("MAILER_PUBLIC_URL", url(Service::Mailer));
    set("MAILER_RELAY_URL", surroundings.relay_url.to_owned());
    set("MAILER_SERVICE_FROM", "no-reply@committee.example".to_owned());
    for (name, value) in keys.settings() {
        set(name, value);
    }
    Ok(environment)
}
