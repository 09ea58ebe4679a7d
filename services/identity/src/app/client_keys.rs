//! Keys of clients that keep them behind a `jwks_uri`: fetched when an assertion needs them, kept for ten minutes.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use domain::{DateTime, TimeDelta, Utc};
use serde_json::Value;

use super::{App, Refusal, turns::Turns};
use crate::{client::Client, registration::check_keys};

/// How long fetched keys serve without another look.
const FRESH: TimeDelta = TimeDelta::minutes(10);
/// An assertion under a key that we do not know makes us look again, but not more often than this.
const PAUSE: TimeDelta = TimeDelta::seconds(30);
/// How many sets are kept, some 16 MiB at most.
const MOST: usize = 1_000;

/// Sets of keys by their addresses, in memory: each instance fetches its own.
#[derive(Clone, Default)]
pub struct FetchedKeys {
    sets: Arc<Mutex<HashMap<String, Kept>>>,
    // One fetch at a time for each address: what strangers send must not make us ask it a thousand times.
    turns: Turns,
}

#[derive(Clone)]
struct Kept {
    jwks: Option<Value>,
    at: DateTime<Utc>,
}

impl FetchedKeys {
    // The kept set, and whether it is to be fetched anew: it is old, or lacks the key and is not of the last seconds.
    fn look(&self, uri: &str, kid: Option<&str>, now: DateTime<Utc>) -> (Option<Value>, bool) {
        let kept = self.sets.lock().unwrap_or_else(PoisonError::into_inner).get(uri).cloned();
        let Some(kept) = kept else { return (None, true) };
        let lacks = kid.is_some_and(|kid| !has_key(kept.jwks.as_ref(), kid)) || kept.jwks.is_none();
        let age = now - kept.at;
        let due = age >= FRESH || age < TimeDelta::zero() || lacks && age >= PAUSE;
        (kept.jwks, due)
    }

    fn keep(&self, uri: &str, jwks: Option<Value>, now: DateTime<Utc>) {
        let mut all = self.sets.lock().unwrap_or_else(PoisonError::into_inner);
        if all.len() >= MOST && !all.contains_key(uri) {
            all.retain(|_, kept| now - kept.at < FRESH);
            if all.len() >= MOST {
                all.clear();
            }
        }
        all.insert(uri.to_owned(), Kept { jwks, at: now });
    }
}

fn has_key(jwks: Option<&Value>, kid: &str) -> bool {
    let keys = jwks.and_then(|jwks| jwks["keys"].as_array());
    keys.is_some_and(|keys| keys.iter().any(|key| key["kid"].as_str() == Some(kid)))
}

impl App {
    /// The client with the keys behind its `jwks_uri`, if it has one. Where they cannot be fetched the last ones serve; a
    /// client without any proves nothing.
    ///
    /// # Errors
    /// So many wait for these keys that this one is to come back.
    pub(super) async fn with_keys(&self, mut client: Client, kid: Option<&str>) -> Result<Client, Refusal> {
        let Some(uri) = client.jwks_uri.clone() else { return Ok(client) };
        let (kept, due) = self.client_keys.look(&uri, kid, self.now());
        client.jwks = kept;
        if !due {
            return Ok(client);
        }
        let Some(_turn) = self.client_keys.turns.take(uri.as_bytes()).await else {
            let serves = kid.map_or(client.jwks.is_some(), |kid| has_key(client.jwks.as_ref(), kid));
            return if serves { Ok(client) } else { Err(Refusal::Wait(Duration::from_secs(1))) };
        };
        // Whoever was before may have brought them.
        let now = self.now();
        let (kept, due) = self.client_keys.look(&uri, kid, now);
        client.jwks = kept;
        if !due {
            return Ok(client);
        }
        let fetched = match self.egress.get_json(&uri).await {
            Ok(jwks) => check_keys(&jwks).map(|()| jwks).map_err(str::to_owned),
            Err(error) => Err(error.to_string()),
        };
        match fetched {
            Ok(jwks) => client.jwks = Some(jwks),
            Err(error) => tracing::info!(client_id = %client, error, "keys of a client were not read"),
        }
        self.client_keys.keep(&uri, client.jwks.clone(), now);
        Ok(client)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn kept_keys_serve_until_they_are_old_or_lack_one() {
        let now: DateTime<Utc> = "2026-07-24T10:00:00Z".parse().unwrap();
        let keys = FetchedKeys::default();
        assert_eq!(keys.look("u", None, now), (None, true));
        let jwks = json!({"keys": [{"kid": "1"}]});
        keys.keep("u", Some(jwks.clone()), now);
        let later = |seconds| now + TimeDelta::seconds(seconds);
        assert_eq!(keys.look("u", Some("1"), later(599)), (Some(jwks.clone()), false));
        assert_eq!(keys.look("u", Some("2"), later(29)), (Some(jwks.clone()), false));
        assert_eq!(keys.look("u", Some("2"), later(30)), (Some(jwks.clone()), true));
        assert_eq!(keys.look("u", Some("1"), later(600)), (Some(jwks), true));
        keys.keep("u", None, now);
        assert_eq!(keys.look("u", None, later(29)), (None, false));
        assert_eq!(keys.look("u", None, later(30)), (None, true));
    }

    #[test]
    fn the_memory_is_bounded() {
        let now: DateTime<Utc> = "2026-07-24T10:00:00Z".parse().unwrap();
        let keys = FetchedKeys::default();
        for n in 0..2 * MOST {
            keys.keep(&n.to_string(), None, now);
            assert!(keys.sets.lock().unwrap().len() <= MOST);
        }
    }
}
