use std::str::FromStr;

use super::{AuthMethod, Client, InvalidClient};

/// Under which rules a client works.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Profile {
    /// OAuth 2.0 with the best current practice (RFC 9700).
    Oauth,
    /// The FAPI 2.0 Security Profile: pushed requests, keys instead of secrets, tokens bound to a key.
    Fapi2,
}

impl Profile {
    /// The name in SQL and in the bootstrap file.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Oauth => "oauth",
            Self::Fapi2 => "fapi2",
        }
    }
}

impl FromStr for Profile {
    type Err = InvalidClient;
    fn from_str(text: &str) -> Result<Self, InvalidClient> {
        match text {
            "oauth" => Ok(Self::Oauth),
            "fapi2" => Ok(Self::Fapi2),
            _ => Err(InvalidClient { field: "profile", rule: "must be oauth or fapi2" }),
        }
    }
}

impl Client {
    /// Whether its requests must be pushed (RFC 9126 6).
    pub fn requires_par(&self) -> bool {
        self.par_required || self.profile == Profile::Fapi2
    }

    /// Whether its tokens must be bound to a key (RFC 9449 5.2).
    pub fn requires_dpop(&self) -> bool {
        self.dpop_required || self.profile == Profile::Fapi2
    }

    /// Whether its refresh tokens are replaced at each use. FAPI 2.0 forbids that (5.3.2.1): they are bound to the
    /// client's key, and an answer that gets lost must not cost the grant.
    pub fn rotates_refresh_tokens(&self) -> bool {
        self.profile != Profile::Fapi2
    }

    /// Whether its assertions may be signed so (FAPI 2.0 5.4.1: ES256 and PS256).
    pub fn may_sign_with(&self, alg: &str) -> bool {
        match self.profile {
            Profile::Oauth => matches!(alg, "ES256" | "PS256" | "RS256"),
            Profile::Fapi2 => matches!(alg, "ES256" | "PS256"),
        }
    }

    pub(super) fn check_profile(&self) -> Result<(), InvalidClient> {
        if self.profile == Profile::Oauth {
            return Ok(());
        }
        if self.auth_method != AuthMethod::PrivateKeyJwt {
            let rule = "must be private_key_jwt with profile fapi2";
            return Err(InvalidClient { field: "token_endpoint_auth_method", rule });
        }
        if self.token_url_audience {
            return Err(InvalidClient {
                field: "token_url_audience",
                rule: "must be false with profile fapi2",
            });
        }
        if !self.pkce_required {
            return Err(InvalidClient { field: "pkce", rule: "must be required with profile fapi2" });
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::tests::client;
    use super::*;

    #[test]
    fn fapi2_brings_its_rules_along() {
        let mut fapi2 = client();
        assert!(!fapi2.requires_par() && !fapi2.requires_dpop() && fapi2.rotates_refresh_tokens());
        fapi2.profile = Profile::Fapi2;
        assert!(fapi2.requires_par() && fapi2.requires_dpop() && !fapi2.rotates_refresh_tokens());
        assert!(
            fapi2.may_sign_with("ES256") && fapi2.may_sign_with("PS256") && !fapi2.may_sign_with("RS256")
        );
        assert_eq!(fapi2.check().unwrap_err().field, "token_endpoint_auth_method");
        fapi2.auth_method = AuthMethod::PrivateKeyJwt;
        // The key of RFC 7517 A.1.
        let (x, y) =
            ("MKBCTNIcKUSDii11ySs3526iDZ8AiTo7Tu6KPAqv7D4", "4Etl6SRW2YiLUrN5vfvVHuhp7x8PxltmWWlbbM4IFyM");
        fapi2.jwks = Some(json!({"keys": [{"kty": "EC", "crv": "P-256", "x": x, "y": y}]}));
        fapi2.check().unwrap();
        fapi2.token_url_audience = true;
        assert_eq!(fapi2.check().unwrap_err().field, "token_url_audience");
        fapi2.token_url_audience = false;
        fapi2.pkce_required = false;
        assert_eq!(fapi2.check().unwrap_err().field, "pkce");
    }
}
