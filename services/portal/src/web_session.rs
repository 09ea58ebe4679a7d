use domain::{DateTime, TimeDelta, UserId, Utc};

/// How long a session lives after its sign-in.
pub const LIFE: TimeDelta = TimeDelta::days(30);
/// A token that ends sooner is renewed before it is used.
pub const RENEW_BEFORE: TimeDelta = TimeDelta::seconds(30);

/// A fan's session at the portal.
#[derive(Debug, Clone)]
pub struct WebSession {
    /// SHA-256 of the cookie.
    pub session_hash: [u8; 32],
    /// Who.
    pub user_id: UserId,
    /// The session at identity.
    pub sid: String,
    /// Sealed tokens.
    pub tokens: Vec<u8>,
    /// Until when the access token holds.
    pub access_until: DateTime<Utc>,
    /// When the fan signed in.
    pub created_at: DateTime<Utc>,
    /// When the session ends.
    pub expires_at: DateTime<Utc>,
}

impl WebSession {
    /// Whether the session still lives.
    #[must_use]
    pub fn is_live(&self, now: DateTime<Utc>) -> bool {
        now < self.expires_at
    }

    /// Whether the access token must be renewed before it is used.
    #[must_use]
    pub fn needs_renewal(&self, now: DateTime<Utc>) -> bool {
        now + RENEW_BEFORE >= self.access_until
    }
}
