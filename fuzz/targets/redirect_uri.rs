//! A redirect URI that a client registers on the first line, and one that it asks for on the second.
#![no_main]

use identity::fuzzing::Registered;
use libfuzzer_sys::fuzz_target;
use url::{Host, Url};

fuzz_target!(|bytes: &[u8]| {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let (own, given) = text.split_once('\n').unwrap_or((text, text));
    let Some(client) = Registered::with(own) else { return };
    let own_url = Url::parse(own).expect("a registered URI is one");
    assert!(own_url.fragment().is_none() && own_url.username().is_empty() && own_url.password().is_none());
    let is_local = own_url.host().is_some_and(|host| is_loopback(&host));
    assert!(
        own_url.scheme() == "https"
            || own_url.scheme().contains('.')
            || own_url.scheme() == "http" && is_local
    );
    assert!(client.may_answer_at(own), "the registered one itself");

    if !client.may_answer_at(given) || given == own {
        return;
    }
    // RFC 8252 7.3: on the loopback's addresses, and only the port.
    let given_url = Url::parse(given).expect("a port more or less");
    assert_eq!((own_url.scheme(), given_url.scheme()), ("http", "http"));
    let address = |url: &Url| match url.host() {
        Some(Host::Ipv4(ip)) => ip.is_loopback(),
        Some(Host::Ipv6(ip)) => ip.is_loopback(),
        _ => false,
    };
    assert!(address(&own_url) && address(&given_url));
    let but_for_port = |mut url: Url| {
        url.set_port(None).expect("http");
        url
    };
    assert_eq!(but_for_port(own_url), but_for_port(given_url));
});

fn is_loopback(host: &Host<&str>) -> bool {
    match host {
        Host::Domain(name) => *name == "localhost" || name.ends_with(".localhost"),
        Host::Ipv4(ip) => ip.is_loopback(),
        Host::Ipv6(ip) => ip.is_loopback(),
    }
}
