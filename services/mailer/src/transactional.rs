//! Mail that a person's own act asks for: verification, recovery. Its words are built in, its secrets are sealed.

mod words;

use std::collections::BTreeMap;

use domain::{EmailAddress, Locale, TimeDelta};
use minijinja::{AutoEscape, Environment, UndefinedBehavior, context};
use serde::{Deserialize, Serialize};

use words::Words;

/// Most variables of one mail.
const MOST_VARIABLES: usize = 20;
const LONGEST_VALUE: usize = 2_000;
const HTML: &str = include_str!("../templates/transactional.html");
const TEXT: &str = include_str!("../templates/transactional.txt");

/// The built-in templates.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Template {
    /// A new user proves an address.
    VerifyEmail,
    /// Somebody signed up with an address that is taken.
    AddressTaken,
    /// A way back in.
    Recover,
    /// The password was changed.
    PasswordChanged,
    /// Another way to sign in was changed; `change` says which, in the mail's language.
    SignInChanged,
}

/// Where a transactional mail stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// Waits for a relay.
    Queued,
    /// A relay took it.
    Accepted,
    /// A relay refused it for good.
    Bounced,
    /// It could not be made.
    Failed,
    /// Its deadline passed.
    Expired,
}

/// What is sealed: to whom, in which language, with which values.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Letter {
    /// Exact bytes.
    pub address: Vec<u8>,
    /// One of ours.
    pub language: String,
    /// link, code, minutes and the like.
    pub variables: BTreeMap<String, String>,
}

/// A value that breaks a rule.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{field} {rule}")]
pub struct InvalidVariable {
    /// Path: `variables[link]`.
    pub field: String,
    /// What it must be.
    pub rule: &'static str,
}

/// The words of one mail.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rendered {
    /// One line.
    pub subject: &'static str,
    /// The whole page.
    pub html: String,
    /// The plain text.
    pub text: String,
}

/// Checks the values that a caller gives.
///
/// # Errors
/// The first one that breaks a rule; its value is never repeated.
pub fn check_variables(variables: &BTreeMap<String, String>) -> Result<(), InvalidVariable> {
    let wrong = |field: String, rule| Err(InvalidVariable { field, rule });
    if variables.len() > MOST_VARIABLES {
        return wrong("variables".to_owned(), "must hold at most 20 values");
    }
    for (name, value) in variables {
        if name.is_empty()
            || name.len() > 40
            || !name.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_')
        {
            return wrong("variables".to_owned(), "must have names of 1 to 40 lower-case letters or `_`");
        }
        let field = || format!("variables[{name}]");
        if value.chars().count() > LONGEST_VALUE || value.chars().any(char::is_control) {
            return wrong(field(), "must be at most 2,000 characters without control characters");
        }
        let is_link = value.starts_with("https://") || value.starts_with("http://");
        if name == "link" && (!is_link || value.contains(char::is_whitespace)) {
            return wrong(field(), "must be an http or https address");
        }
    }
    Ok(())
}

/// When a mail that no relay took is tried again: two seconds, doubling to five minutes. People wait for it.
#[must_use]
pub fn retry_after(attempts: u32) -> TimeDelta {
    TimeDelta::seconds((1_i64 << attempts.min(9)).min(300))
}

impl Template {
    /// Every template.
    pub const ALL: [Self; 5] =
        [Self::VerifyEmail, Self::AddressTaken, Self::Recover, Self::PasswordChanged, Self::SignInChanged];

    /// Name on the wire and in SQL.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::VerifyEmail => "identity.verify_email",
            Self::AddressTaken => "identity.address_taken",
            Self::Recover => "identity.recover",
            Self::PasswordChanged => "identity.password_changed",
            Self::SignInChanged => "identity.sign_in_changed",
        }
    }

    /// The template of this name.
    #[must_use]
    pub fn find(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|template| template.name() == name)
    }

    /// The mail in a language.
    ///
    /// # Errors
    /// What minijinja says.
    pub fn render(
        self,
        locale: Locale,
        variables: &BTreeMap<String, String>,
    ) -> Result<Rendered, minijinja::Error> {
        let Words { subject, intro, action, code, expiry, outro } = words::of(self, locale);
        let value = |name: &str| variables.get(name).map_or("", String::as_str);
        let minutes = value("minutes");
        let change = value("change");
        let intro = if self == Self::SignInChanged && !change.is_empty() { change } else { intro };
        let context = context! {
            language => locale.tag(),
            subject, intro, action, outro,
            code_label => code,
            link => value("link"),
            code => value("code"),
            expiry => if minutes.is_empty() { String::new() } else { expiry.replace("{}", minutes) },
        };
        let mut environment = Environment::new();
        environment.set_undefined_behavior(UndefinedBehavior::Strict);
        environment.set_auto_escape_callback(|name| {
            if name == "html" { AutoEscape::Html } else { AutoEscape::None }
        });
        environment.add_template("html", HTML)?;
        environment.add_template("text", TEXT)?;
        Ok(Rendered {
            subject,
            html: environment.get_template("html")?.render(&context)?,
            text: environment.get_template("text")?.render(&context)?,
        })
    }
}

impl State {
    /// Every state.
    pub const ALL: [Self; 5] = [Self::Queued, Self::Accepted, Self::Bounced, Self::Failed, Self::Expired];

    /// Name on the wire and in SQL.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Queued => "queued",
            Self::Accepted => "accepted",
            Self::Bounced => "bounced",
            Self::Failed => "failed",
            Self::Expired => "expired",
        }
    }

    /// The state of this name.
    #[must_use]
    pub fn find(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.name() == name)
    }
}

impl Letter {
    /// To whom.
    #[must_use]
    pub fn to(&self) -> Option<EmailAddress> {
        EmailAddress::classify(&self.address).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn variables(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
        pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    #[test]
    fn every_template_has_every_language() {
        let values =
            variables(&[("link", "https://id.example/v?t=a&b=c"), ("code", "123456"), ("minutes", "10")]);
        for template in Template::ALL {
            for locale in Locale::ALL {
                let mail = template.render(locale, &values).unwrap();
                assert!(
                    !mail.subject.is_empty() && mail.html.contains(&format!("lang=\"{}\"", locale.tag()))
                );
                assert!(mail.text.contains("\nhttps://id.example/v?t=a&b=c\n"), "{}", mail.text);
                assert!(mail.text.contains("123456") && mail.html.contains("123456"));
            }
        }
    }

    #[test]
    fn a_mail_about_the_sign_in_says_what_changed() {
        let values = variables(&[("change", "A <passkey> was added.")]);
        let mail = Template::SignInChanged.render(Locale::En, &values).unwrap();
        assert!(mail.text.starts_with("A <passkey> was added.\n"), "{}", mail.text);
        assert!(mail.html.contains("A &lt;passkey&gt; was added."), "{}", mail.html);
        let other = Template::PasswordChanged.render(Locale::En, &values).unwrap();
        assert!(!other.text.contains("passkey"), "{}", other.text);
    }

    #[test]
    fn a_value_stays_text() {
        let values = variables(&[("code", "<script>{{ link }}</script>")]);
        let mail = Template::Recover.render(Locale::En, &values).unwrap();
        assert!(mail.html.contains("&lt;script&gt;{{ link }}"), "{}", mail.html);
        assert!(!mail.text.contains("http"), "no link was given: {}", mail.text);
    }

    #[test]
    fn a_wrong_value_is_named() {
        let long = "x".repeat(2_001);
        for (name, value, field) in [
            ("link", "javascript:alert(1)", "variables[link]"),
            ("link", "https://a\r\nBcc: b", "variables[link]"),
            ("code", long.as_str(), "variables[code]"),
            ("Code", "1", "variables"),
            ("", "1", "variables"),
        ] {
            assert_eq!(check_variables(&variables(&[(name, value)])).unwrap_err().field, field, "{name}");
        }
        let many: BTreeMap<String, String> =
            (0..21_u8).map(|n| ("a".repeat(usize::from(n) + 1), String::new())).collect();
        assert!(check_variables(&many).is_err());
    }
}
