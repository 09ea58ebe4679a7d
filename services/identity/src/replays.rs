//! What may be used once and lives shortly: remembered in memory until it would be too old anyway. Each instance
//! remembers its own.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

use aws_lc_rs::digest;
use domain::{DateTime, Utc};

/// How many are remembered at once, some 10 MB.
const MOST: usize = 200_000;

/// A bounded memory; clones share it.
#[derive(Clone, Default)]
pub struct Replays(Arc<Mutex<Used>>);

#[derive(Default)]
struct Used {
    until: HashMap<[u8; 16], i64>,
    swept_at: i64,
}

/// Whether something was used before.
#[derive(Debug, PartialEq, Eq)]
pub enum Taken {
    /// Never.
    First,
    /// It was.
    Again,
    /// It could not be remembered.
    NoRoom,
}

impl Replays {
    /// Remembers `id` of `owner` up to and including `until`, in seconds since 1970.
    pub fn take(&self, owner: &str, id: &str, until: i64, now: DateTime<Utc>) -> Taken {
        let now = now.timestamp();
        let digest = digest::digest(&digest::SHA256, format!("{owner}\0{id}").as_bytes());
        let mut key = [0; 16];
        key.copy_from_slice(&digest.as_ref()[..16]);
        let mut used = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        // Once a minute, and in need once a second, so that a full memory does not cost a walk each time.
        let since = now - used.swept_at;
        if since.abs() >= 60 || used.until.len() >= MOST && since != 0 {
            used.until.retain(|_, until| *until >= now);
            used.swept_at = now;
        }
        if used.until.contains_key(&key) {
            return Taken::Again;
        }
        if used.until.len() >= MOST {
            return Taken::NoRoom;
        }
        used.until.insert(key, until);
        Taken::First
    }
}

#[cfg(test)]
mod tests {
    use domain::TimeDelta;

    use super::*;

    #[test]
    fn it_is_taken_once_by_each_owner_until_it_is_too_old() {
        let now: DateTime<Utc> = "2026-07-24T10:00:00Z".parse().unwrap();
        let (replays, until) = (Replays::default(), now.timestamp() + 90);
        assert_eq!(replays.take("portal", "1", until, now), Taken::First);
        assert_eq!(replays.take("portal", "1", until, now), Taken::Again);
        assert_eq!(replays.take("shop", "1", until, now), Taken::First);
        assert_eq!(replays.take("portal", "1", until, now + TimeDelta::seconds(89)), Taken::Again);
        assert_eq!(replays.take("portal", "1", until, now + TimeDelta::seconds(151)), Taken::First);
    }

    #[test]
    fn a_full_memory_takes_nothing_until_something_is_forgotten() {
        let now: DateTime<Utc> = "2026-07-24T10:00:00Z".parse().unwrap();
        let replays = Replays::default();
        for n in 0..MOST {
            assert_eq!(replays.take("portal", &n.to_string(), now.timestamp() + 60, now), Taken::First);
        }
        assert_eq!(replays.take("portal", "x", now.timestamp() + 60, now), Taken::NoRoom);
        assert_eq!(replays.take("portal", "0", now.timestamp() + 60, now), Taken::Again);
        let later = now + TimeDelta::seconds(61);
        assert_eq!(replays.take("portal", "x", later.timestamp() + 60, later), Taken::First);
    }
}
