//! What the modules of logout check of the metadata.

use serde_json::Value;
use url::Url;

/// Every endpoint is an https URL.
#[track_caller]
pub fn endpoints_are_https(metadata: &Value) {
    for (name, url) in metadata.as_object().unwrap() {
        if name.ends_with("_endpoint") || name == "jwks_uri" {
            let url = Url::parse(url.as_str().unwrap()).unwrap();
            assert!(url.scheme() == "https" && url.host().is_some(), "{name}");
        }
    }
}
