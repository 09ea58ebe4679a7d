//! Claims about a user: which scope opens which (OIDC Core 5.4), and those that a request asks for by name (5.5).

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// Claims that we can tell, each with the scope that opens it.
pub const OF_USER: [(&str, &str); 13] = [
    ("name", "profile"),
    ("given_name", "profile"),
    ("family_name", "profile"),
    ("gender", "profile"),
    ("birthdate", "profile"),
    ("zoneinfo", "profile"),
    ("locale", "profile"),
    ("updated_at", "profile"),
    ("email", "email"),
    ("email_verified", "email"),
    ("address", "address"),
    ("phone_number", "phone"),
    ("phone_number_verified", "phone"),
];

/// Longest `claims` parameter, in bytes.
const LONGEST: usize = 4_096;
/// Most values that one claim may be asked for with.
const MOST_VALUES: usize = 16;

/// Names of claims, each with the values that would do; any value does where none is listed.
pub type Wishes = BTreeMap<String, Vec<Value>>;

/// Claims that a client asked for by name.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Requested {
    /// From the userinfo endpoint.
    pub userinfo: Wishes,
    /// In the ID token.
    pub id_token: Wishes,
}

/// What a `claims` parameter asks for. What is unknown in it is ignored.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Parameter {
    /// About the user.
    pub requested: Requested,
    /// The one user who is meant.
    pub sub: Option<String>,
    /// How the user is to be authenticated, best first.
    pub acr_values: Vec<String>,
    /// One of these and nothing else will do.
    pub acr_is_essential: bool,
}

/// A `claims` parameter that breaks a rule.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct InvalidClaims(pub &'static str);

/// The scope that opens a claim; nothing for one that we do not know.
pub fn scope_of(claim: &str) -> Option<&'static str> {
    OF_USER.iter().find(|(name, _)| *name == claim).map(|(_, scope)| *scope)
}

impl Parameter {
    /// Reads the JSON of the parameter.
    ///
    /// # Errors
    /// More than 4 KiB, no JSON, or a member of the wrong type.
    pub fn parse(text: &str) -> Result<Self, InvalidClaims> {
        if text.len() > LONGEST {
            return Err(InvalidClaims("claims is longer than 4096 bytes"));
        }
        // The parser refuses JSON that is nested deeper than 128.
        let Ok(Value::Object(members)) = serde_json::from_str::<Value>(text) else {
            return Err(InvalidClaims("claims must be a JSON object"));
        };
        let mut parameter = Self::default();
        for (member, asked) in members {
            let at_id_token = match member.as_str() {
                "id_token" => true,
                "userinfo" => false,
                _ => continue,
            };
            let Value::Object(asked) = asked else {
                return Err(InvalidClaims("userinfo and id_token in claims must be objects"));
            };
            for (name, wish) in asked {
                parameter.take(at_id_token, name, &Wish::read(wish)?)?;
            }
        }
        Ok(parameter)
    }

    fn take(&mut self, at_id_token: bool, name: String, wish: &Wish) -> Result<(), InvalidClaims> {
        match name.as_str() {
            "sub" => {
                let Some(sub) = wish.values.first() else { return Ok(()) };
                let sub = sub.as_str().ok_or(InvalidClaims("sub in claims must be asked for by a text"))?;
                if wish.values.len() > 1 || self.sub.as_ref().is_some_and(|other| other != sub) {
                    return Err(InvalidClaims("claims asks for more than one sub"));
                }
                self.sub = Some(sub.to_owned());
            }
            "acr" if at_id_token => {
                let values = wish.values.iter().map(|value| value.as_str().map(str::to_owned));
                let values: Option<Vec<String>> = values.collect();
                self.acr_values = values.ok_or(InvalidClaims("acr in claims must be asked for by texts"))?;
                self.acr_is_essential = wish.essential && !self.acr_values.is_empty();
            }
            known if scope_of(known).is_some() => {
                let Requested { userinfo, id_token } = &mut self.requested;
                let place = if at_id_token { id_token } else { userinfo };
                place.insert(name, wish.values.clone());
            }
            _ => {}
        }
        Ok(())
    }
}

struct Wish {
    essential: bool,
    values: Vec<Value>,
}

impl Wish {
    // OIDC Core 5.5.1: null, or an object of which we know three members.
    fn read(wish: Value) -> Result<Self, InvalidClaims> {
        let mut wish = match wish {
            Value::Null => Map::new(),
            Value::Object(members) => members,
            _ => return Err(InvalidClaims("each claim in claims must be null or an object")),
        };
        let essential = match wish.remove("essential") {
            None => false,
            Some(Value::Bool(essential)) => essential,
            Some(_) => return Err(InvalidClaims("essential in claims must be true or false")),
        };
        let mut values = match wish.remove("values") {
            None => Vec::new(),
            Some(Value::Array(values)) if (1..=MOST_VALUES).contains(&values.len()) => values,
            Some(_) => return Err(InvalidClaims("values in claims must be an array of 1 to 16")),
        };
        values.extend(wish.remove("value"));
        if values.iter().any(|value| value.is_object() || value.is_array() || value.is_null()) {
            return Err(InvalidClaims("a value in claims must be a text, a number, true or false"));
        }
        Ok(Self { essential, values })
    }
}

impl Requested {
    /// Whether nothing is asked for by name.
    pub fn is_empty(&self) -> bool {
        self.userinfo.is_empty() && self.id_token.is_empty()
    }

    /// Those that a client may ask for: the ones that its registered scopes open.
    #[must_use]
    pub fn within(&self, registered: &[String]) -> Self {
        let kept = |wishes: &Wishes| {
            let kept = wishes.iter().filter(|(name, _)| opens(registered, name));
            kept.map(|(name, values)| (name.clone(), values.clone())).collect()
        };
        Self { userinfo: kept(&self.userinfo), id_token: kept(&self.id_token) }
    }

    /// The names that none of these scopes opens, each once: the user has to allow them as such.
    pub fn beyond(&self, scopes: &[String]) -> Vec<String> {
        let mut names: Vec<String> = Vec::new();
        for name in self.userinfo.keys().chain(self.id_token.keys()) {
            if !opens(scopes, name) && !names.contains(name) {
                names.push(name.clone());
            }
        }
        names
    }
}

fn opens(scopes: &[String], claim: &str) -> bool {
    scope_of(claim).is_some_and(|scope| scopes.iter().any(|own| own == scope))
}

/// Whether scopes or wishes ask for a claim that this scope opens.
pub fn asks_for(scope: &str, scopes: &[String], wishes: &Wishes) -> bool {
    scopes.iter().any(|own| own == scope) || wishes.keys().any(|name| scope_of(name) == Some(scope))
}

/// Of the known claims those that scopes open, or that are asked for by name and have a value that does.
pub fn pick(known: Map<String, Value>, scopes: &[String], wishes: &Wishes) -> Map<String, Value> {
    let wished = |name: &str, value: &Value| {
        wishes.get(name).is_some_and(|values| values.is_empty() || values.contains(value))
    };
    known.into_iter().filter(|(name, value)| opens(scopes, name) || wished(name, value)).collect()
}

#[cfg(test)]
#[path = "claims_tests.rs"]
mod tests;
