use chassis::relying_party::{CookieKey, Error, NotOpened};
use domain::{DateTime, Utc};
use serde::{Deserialize, Serialize};

/// A commentator's shift: the cookie holds for so long after the sign-in, and nothing here can end it sooner.
pub const LIFE_SECONDS: u32 = 12 * 3_600;

/// Somebody at the desk. It travels whole in the cookie, sealed with a key of the service, so that no replica keeps it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Commentator {
    /// The hint of the sign-out.
    pub id_token: String,
    /// The hidden field of forms.
    pub form: String,
    /// The end, in seconds since 1970.
    until: i64,
}

impl Commentator {
    /// Who has just signed in.
    ///
    /// # Errors
    /// The operating system gives no random bytes.
    pub fn begin(id_token: String, now: DateTime<Utc>) -> Result<Self, Error> {
        let form = CookieKey::random().map_err(|_| Error::Random)?.to_cookie();
        Ok(Self { id_token, form, until: now.timestamp() + i64::from(LIFE_SECONDS) })
    }

    /// The cookie's value.
    ///
    /// # Errors
    /// The operating system gives no random bytes.
    pub fn seal(&self, key: &CookieKey) -> Result<String, NotOpened> {
        key.seal_text(&serde_json::to_vec(self).map_err(|_| NotOpened)?)
    }

    /// Reads the cookie's value back; none where it is not one of ours, or over.
    #[must_use]
    pub fn open(key: &CookieKey, sealed: &str, now: DateTime<Utc>) -> Option<Self> {
        let commentator: Self = serde_json::from_slice(&key.open_text(sealed).ok()?).ok()?;
        (now.timestamp() < commentator.until).then_some(commentator)
    }

    /// When the session ends.
    #[must_use]
    pub fn ends_at(&self) -> Option<DateTime<Utc>> {
        DateTime::from_timestamp(self.until, 0)
    }
}

#[cfg(test)]
mod tests {
    use domain::TimeDelta;

    use super::*;

    #[test]
    fn a_session_is_read_by_us_until_its_end() {
        let now = DateTime::from_timestamp(1_912_000_000, 0).unwrap();
        let key = CookieKey::of_secret(b"pepper", "desk session");
        let chie = Commentator::begin("e.y.J".to_owned(), now).unwrap();
        let sealed = chie.seal(&key).unwrap();
        assert!(!sealed.contains("eyJ"), "the ID token does not stand in the clear");
        let shift = TimeDelta::seconds(i64::from(LIFE_SECONDS));
        assert_eq!(Commentator::open(&key, &sealed, now + shift - TimeDelta::seconds(1)), Some(chie));
        assert_eq!(Commentator::open(&key, &sealed, now + shift), None);
        assert_eq!(Commentator::open(&CookieKey::of_secret(b"other", "desk session"), &sealed, now), None);
        assert_eq!(Commentator::open(&key, "", now), None);
    }
}
