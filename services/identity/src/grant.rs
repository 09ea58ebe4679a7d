//! An authorization code: issued, consumed, and, when it comes again, a sign of theft (RFC 6749 4.1.2, RFC 9700 4.5).

use aws_lc_rs::digest;
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use domain::{DateTime, SessionId, TimeDelta, UserId, Utc, Uuid};
use subtle::ConstantTimeEq;

use crate::claims;

/// How long a code may be redeemed.
pub const LIFE: TimeDelta = TimeDelta::seconds(60);

/// What a user allowed a client, at one moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Grant {
    /// The code's row, and the family's.
    pub code_id: Uuid,
    /// For whom.
    pub client_id: String,
    /// By whom.
    pub user_id: UserId,
    /// In which session.
    pub session_id: SessionId,
    /// Where the code went.
    pub redirect_uri: String,
    /// S256 of the verifier.
    pub code_challenge: Option<String>,
    /// For the ID token.
    pub nonce: Option<String>,
    /// What was granted.
    pub scopes: Vec<String>,
    /// APIs named by the request; all of the client's when empty.
    pub resources: Vec<String>,
    /// Claims asked for by name.
    pub claims: claims::Requested,
    /// How strongly the user signed in.
    pub acr: String,
    /// By which means (RFC 8176).
    pub amr: Vec<String>,
    /// Thumbprint of the key whose proof the redemption must show (RFC 9449 10).
    pub jkt: Option<String>,
    /// When.
    pub auth_time: DateTime<Utc>,
    /// When the code was issued.
    pub issued_at: DateTime<Utc>,
    /// Its last moment.
    pub expires_at: DateTime<Utc>,
    /// When it was redeemed.
    pub consumed_at: Option<DateTime<Utc>>,
}

/// Whether a code may be redeemed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Redemption {
    /// Yes.
    Accepted,
    /// It was redeemed before: its tokens are revoked.
    Reused,
    /// No, and nothing else happens.
    Refused(&'static str),
}

impl Grant {
    /// Judges a request that shows this code.
    pub fn redeem(
        &self,
        client_id: &str,
        redirect_uri: Option<&str>,
        verifier: Option<&str>,
        jkt: Option<&str>,
        now: DateTime<Utc>,
    ) -> Redemption {
        if self.client_id != client_id {
            return Redemption::Refused("the code is not this client's");
        }
        if self.consumed_at.is_some() {
            return Redemption::Reused;
        }
        if now >= self.expires_at {
            return Redemption::Refused("the code has expired");
        }
        if redirect_uri != Some(self.redirect_uri.as_str()) {
            return Redemption::Refused("redirect_uri differs from the request's");
        }
        if self.jkt.is_some() && self.jkt.as_deref() != jkt {
            return Redemption::Refused("the DPoP proof is not of the key that the request named");
        }
        match (&self.code_challenge, verifier) {
            (None, None) => Redemption::Accepted,
            (Some(challenge), Some(verifier)) if matches(challenge, verifier) => Redemption::Accepted,
            // A verifier without challenge is a downgrade (RFC 9700 4.8.2).
            (None, Some(_)) => Redemption::Refused("the request had no code_challenge"),
            (Some(_), _) => Redemption::Refused("code_verifier does not fit"),
        }
    }
}

// RFC 7636 4.1 and 4.6.
fn matches(challenge: &str, verifier: &str) -> bool {
    let unreserved = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
    if !(43..=128).contains(&verifier.len()) || !verifier.bytes().all(unreserved) {
        return false;
    }
    let digest = URL_SAFE_NO_PAD.encode(digest::digest(&digest::SHA256, verifier.as_bytes()));
    digest.as_bytes().ct_eq(challenge.as_bytes()).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    // RFC 7636 appendix B.
    const VERIFIER: &str = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";
    const CHALLENGE: &str = "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM";
    const URI: Option<&str> = Some("https://portal.example/cb");

    fn grant(now: DateTime<Utc>) -> Grant {
        Grant {
            code_id: domain::new_id(),
            client_id: "portal".into(),
            user_id: UserId::new(),
            session_id: SessionId::new(),
            redirect_uri: "https://portal.example/cb".into(),
            code_challenge: Some(CHALLENGE.into()),
            nonce: None,
            scopes: vec!["openid".into()],
            resources: vec![],
            claims: claims::Requested::default(),
            acr: crate::acr::Level::One.name().into(),
            amr: vec!["pwd".into()],
            jkt: None,
            auth_time: now,
            issued_at: now,
            expires_at: now + LIFE,
            consumed_at: None,
        }
    }

    fn now() -> DateTime<Utc> {
        "2026-07-24T10:00:00Z".parse().unwrap()
    }

    #[test]
    fn the_right_client_with_the_right_verifier_redeems_once() {
        let mut grant = grant(now());
        assert_eq!(grant.redeem("portal", URI, Some(VERIFIER), None, now()), Redemption::Accepted);
        grant.consumed_at = Some(now());
        assert_eq!(grant.redeem("portal", URI, Some(VERIFIER), None, now()), Redemption::Reused);
    }

    #[test]
    fn everything_else_is_refused() {
        let (grant, long) = (grant(now()), "x".repeat(129));
        let refused = |client, uri, verifier, at| {
            assert!(matches!(grant.redeem(client, uri, verifier, None, at), Redemption::Refused(_)));
        };
        refused("shop", URI, Some(VERIFIER), now());
        refused("portal", None, Some(VERIFIER), now());
        refused("portal", Some("https://portal.example/cb/"), Some(VERIFIER), now());
        refused("portal", URI, None, now());
        refused("portal", URI, Some(CHALLENGE), now());
        refused("portal", URI, Some(&long), now());
        refused("portal", URI, Some(VERIFIER), now() + LIFE);
    }

    #[test]
    fn a_verifier_without_challenge_is_a_downgrade() {
        let mut grant = grant(now());
        grant.code_challenge = None;
        assert_eq!(grant.redeem("portal", URI, None, None, now()), Redemption::Accepted);
        assert!(matches!(grant.redeem("portal", URI, Some(VERIFIER), None, now()), Redemption::Refused(_)));
    }

    #[test]
    fn a_code_bound_to_a_key_needs_a_proof_of_that_key() {
        let mut grant = grant(now());
        grant.jkt = Some("thumbprint".into());
        let redeem = |jkt| grant.redeem("portal", URI, Some(VERIFIER), jkt, now());
        assert_eq!(redeem(Some("thumbprint")), Redemption::Accepted);
        assert!(matches!(redeem(None), Redemption::Refused(_)));
        assert!(matches!(redeem(Some("another")), Redemption::Refused(_)));
    }
}
