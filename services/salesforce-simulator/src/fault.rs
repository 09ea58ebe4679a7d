//! Faults by script: which call, and what becomes of it.

use serde::{Deserialize, Serialize};

use crate::refusal::Refusal;

/// Faults that can wait at once.
pub const MAX_FAULTS: usize = 1_000;
/// Longest delay of one fault, in milliseconds.
const MAX_DELAY_MS: u64 = 600_000;

/// One line of the script.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Fault {
    /// HTTP method; any if absent.
    #[serde(default)]
    pub method: Option<String>,
    /// Part of the path; `*` stands for any run of characters. Any path if absent.
    #[serde(default)]
    pub path: Option<String>,
    /// The first matching call that is hit, from 1.
    #[serde(default = "one")]
    pub nth: u32,
    /// How many matching calls in a row are hit.
    #[serde(default = "one")]
    pub times: u32,
    pub action: Action,
    /// Matching calls so far.
    #[serde(default, skip_deserializing)]
    pub seen: u32,
}

const fn one() -> u32 {
    1
}

/// What becomes of a call.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Action {
    /// The call waits before anything is done.
    DelayMs(u64),
    /// The call is refused with this status; nothing is done.
    Status(StatusFault),
    /// The call does its work, then the connection breaks in place of the reply.
    DropAfterEffect,
    /// The connection breaks; nothing is done.
    DropBeforeEffect,
}

/// `503`, or `{"code": 503, "error_code": "...", "message": "...", "retry_after": 5}`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum StatusFault {
    Plain(u16),
    Full {
        code: u16,
        #[serde(default)]
        error_code: Option<String>,
        #[serde(default)]
        message: Option<String>,
        #[serde(default)]
        retry_after: Option<u32>,
    },
}

impl Fault {
    /// # Errors
    /// Names the field and the rule that it breaks.
    pub fn check(&self) -> Result<(), String> {
        if self.nth == 0 || self.times == 0 {
            return Err("nth, times: must be 1 or more".into());
        }
        if self.path.as_ref().is_some_and(|path| path.len() > 2_000) {
            return Err("path: at most 2000 bytes".into());
        }
        match &self.action {
            Action::DelayMs(delay) if *delay > MAX_DELAY_MS => {
                Err(format!("action.delay_ms: at most {MAX_DELAY_MS}"))
            }
            Action::Status(fault) if !(400..600).contains(&fault.code()) => {
                Err("action.status: must be 400 to 599".into())
            }
            _ => Ok(()),
        }
    }

    fn matches(&self, method: &str, path: &str) -> bool {
        let method_fits = self.method.as_ref().is_none_or(|wanted| wanted.eq_ignore_ascii_case(method));
        method_fits && self.path.as_ref().is_none_or(|pattern| contains(path, pattern))
    }

    fn is_spent(&self) -> bool {
        self.seen >= self.nth.saturating_add(self.times - 1)
    }
}

impl StatusFault {
    fn code(&self) -> u16 {
        match self {
            Self::Plain(code) | Self::Full { code, .. } => *code,
        }
    }

    /// The reply, with the error code that Salesforce uses for the status unless the script names one.
    #[must_use]
    pub fn refusal(&self) -> Refusal {
        let code = self.code();
        let status = ::http::StatusCode::from_u16(code).unwrap_or(::http::StatusCode::INTERNAL_SERVER_ERROR);
        let (name, text) = match code {
            401 => ("INVALID_SESSION_ID", "Session expired or invalid"),
            403 => ("REQUEST_LIMIT_EXCEEDED", "TotalRequests Limit exceeded."),
            429 => ("REQUEST_LIMIT_EXCEEDED", "Too many requests"),
            404 => ("NOT_FOUND", "The requested resource does not exist"),
            503 => ("SERVER_UNAVAILABLE", "Server is unavailable"),
            _ => ("UNKNOWN_EXCEPTION", "An unexpected error occurred"),
        };
        let mut refusal = Refusal::new(status, name, text);
        if let Self::Full { error_code, message, retry_after, .. } = self {
            if let Some(name) = error_code {
                refusal.code = name.clone().into();
            }
            if let Some(text) = message {
                refusal.message.clone_from(text);
            }
            refusal.retry_after = *retry_after;
        }
        refusal
    }
}

/// The script, in order.
#[derive(Debug, Default)]
pub struct Faults {
    waiting: Vec<Fault>,
}

impl Faults {
    /// Adds to the script, all or nothing.
    ///
    /// # Errors
    /// Names the first wrong line and its rule.
    pub fn add(&mut self, faults: Vec<Fault>) -> Result<(), String> {
        if self.waiting.len().saturating_add(faults.len()) > MAX_FAULTS {
            return Err(format!("faults: at most {MAX_FAULTS}"));
        }
        for (place, fault) in faults.iter().enumerate() {
            fault.check().map_err(|rule| format!("faults[{place}].{rule}"))?;
        }
        self.waiting.extend(faults);
        Ok(())
    }

    pub fn clear(&mut self) {
        self.waiting.clear();
    }

    #[must_use]
    pub fn waiting(&self) -> &[Fault] {
        &self.waiting
    }

    /// What hits this call. Every line counts the calls that it matches; spent lines leave.
    pub fn hit(&mut self, method: &str, path: &str) -> Vec<Action> {
        let mut actions = Vec::new();
        for fault in &mut self.waiting {
            if fault.matches(method, path) {
                fault.seen = fault.seen.saturating_add(1);
                if fault.seen >= fault.nth {
                    actions.push(fault.action.clone());
                }
            }
        }
        self.waiting.retain(|fault| !fault.is_spent());
        actions
    }
}

/// Whether the pieces between the stars occur in this order.
fn contains(path: &str, pattern: &str) -> bool {
    let mut rest = path;
    for piece in pattern.split('*') {
        let Some(place) = rest.find(piece) else { return false };
        rest = rest.get(place + piece.len()..).unwrap_or_default();
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    fn script(json: &str) -> Faults {
        let mut faults = Faults::default();
        faults.add(serde_json::from_str(json).unwrap()).unwrap();
        faults
    }

    #[test]
    fn the_nth_matching_call_is_hit_and_the_line_is_spent() {
        let mut faults =
            script(r#"[{"method":"put","path":"/jobs/*/batches","nth":2,"action":{"status":503}}]"#);
        let path = "/services/data/v62.0/jobs/ingest/750/batches";
        assert_eq!(faults.hit("PUT", path), []);
        assert_eq!(faults.hit("GET", path), []);
        assert_eq!(faults.hit("PUT", path), [Action::Status(StatusFault::Plain(503))]);
        assert_eq!(faults.hit("PUT", path), []);
        assert!(faults.waiting().is_empty());
    }

    #[test]
    fn a_line_can_hit_several_calls_in_a_row() {
        let mut faults = script(r#"[{"times":2,"action":{"delay_ms":5}},{"action":"drop_after_effect"}]"#);
        assert_eq!(faults.hit("GET", "/"), [Action::DelayMs(5), Action::DropAfterEffect]);
        assert_eq!(faults.hit("GET", "/"), [Action::DelayMs(5)]);
        assert_eq!(faults.hit("GET", "/"), []);
    }

    #[test]
    fn a_wrong_line_is_refused_by_name() {
        let wrong = |json: &str| Faults::default().add(serde_json::from_str(json).unwrap()).unwrap_err();
        assert!(wrong(r#"[{"action":{"status":200}}]"#).contains("action.status"));
        assert!(
            wrong(r#"[{"action":"drop_after_effect"},{"nth":0,"action":{"delay_ms":1}}]"#)
                .starts_with("faults[1]")
        );
    }
}
