use std::str::FromStr;

use domain::TimeDelta;

use super::InvalidClient;

/// In which form a client's access tokens are made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum AccessTokenFormat {
    /// A signed JWT (RFC 9068), which an API reads by itself.
    #[default]
    Jwt,
    /// Sealed: it says nothing to anybody, and an API asks identity about it (RFC 7662).
    Reference,
}

impl AccessTokenFormat {
    /// The name in SQL and in the bootstrap file.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Jwt => "jwt",
            Self::Reference => "reference",
        }
    }
}

impl FromStr for AccessTokenFormat {
    type Err = InvalidClient;
    fn from_str(text: &str) -> Result<Self, InvalidClient> {
        match text {
            "jwt" => Ok(Self::Jwt),
            "reference" => Ok(Self::Reference),
            _ => Err(InvalidClient { field: "access_token_format", rule: "must be jwt or reference" }),
        }
    }
}

/// What a client's tokens are like.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TokenRules {
    /// The form of its access tokens.
    pub format: AccessTokenFormat,
    /// Their life in seconds, 60 to 900; nothing: the format's default.
    pub access_seconds: Option<u32>,
    /// How long a superseded refresh token still gets the current one, 0 to 120 seconds.
    pub refresh_grace_seconds: u32,
}

impl Default for TokenRules {
    fn default() -> Self {
        Self { format: AccessTokenFormat::default(), access_seconds: None, refresh_grace_seconds: 30 }
    }
}

/// Life of a sealed access token: whether it still counts is asked each time, so that it may live longer than a JWT.
const REFERENCE_SECONDS: u32 = 900;

impl TokenRules {
    /// Life of an access token in seconds, where a JWT's default is `jwt_seconds`.
    pub fn access_seconds(&self, jwt_seconds: u32) -> u32 {
        let default = match self.format {
            AccessTokenFormat::Jwt => jwt_seconds,
            AccessTokenFormat::Reference => REFERENCE_SECONDS,
        };
        self.access_seconds.unwrap_or(default)
    }

    /// The grace of a superseded refresh token.
    pub fn grace(&self) -> TimeDelta {
        TimeDelta::seconds(self.refresh_grace_seconds.into())
    }

    pub(super) fn check(&self) -> Result<(), InvalidClient> {
        if self.access_seconds.is_some_and(|seconds| !(60..=900).contains(&seconds)) {
            return Err(InvalidClient { field: "access_token_seconds", rule: "must be 60 to 900" });
        }
        if self.refresh_grace_seconds > 120 {
            return Err(InvalidClient { field: "refresh_grace_seconds", rule: "must be 0 to 120" });
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_life_is_the_clients_or_its_formats() {
        let mut rules = TokenRules::default();
        assert_eq!((rules.access_seconds(300), rules.grace()), (300, TimeDelta::seconds(30)));
        rules.format = AccessTokenFormat::Reference;
        assert_eq!(rules.access_seconds(300), 900);
        rules.access_seconds = Some(60);
        assert_eq!(rules.access_seconds(300), 60);
    }

    #[test]
    fn lives_and_graces_have_bounds() {
        TokenRules::default().check().unwrap();
        for seconds in [0, 59, 901] {
            let rules = TokenRules { access_seconds: Some(seconds), ..TokenRules::default() };
            assert_eq!(rules.check().unwrap_err().field, "access_token_seconds");
        }
        let rules = TokenRules { refresh_grace_seconds: 121, ..TokenRules::default() };
        assert_eq!(rules.check().unwrap_err().field, "refresh_grace_seconds");
    }
}
