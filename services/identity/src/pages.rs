//! Templates of identity's own pages: HTML that works without a script, in Japanese, English and French.

use std::{collections::BTreeMap, sync::Arc};

use domain::{DateTime, Locale};
use minijinja::{AutoEscape, Environment, Error, UndefinedBehavior, Value, context, value::Serde};
use serde::Serialize;

use crate::words;

/// The one style sheet.
pub const STYLE: &str = include_str!("../templates/style.css");
/// The script of the pages that offer passkeys.
pub const SCRIPT: &str = include_str!("../templates/passkey.js");
/// The icon of every page.
pub const ICON: &str = include_str!("../templates/icon.svg");

const TEMPLATES: [(&str, &str); 29] = [
    ("layout.html", include_str!("../templates/layout.html")),
    ("field.html", include_str!("../templates/field.html")),
    ("login.html", include_str!("../templates/login.html")),
    ("passkey.html", include_str!("../templates/passkey.html")),
    ("code.html", include_str!("../templates/code.html")),
    ("password.html", include_str!("../templates/password.html")),
    ("totp.html", include_str!("../templates/totp.html")),
    ("recovery_codes.html", include_str!("../templates/recovery_codes.html")),
    ("security_consents.html", include_str!("../templates/security_consents.html")),
    ("security_codes.html", include_str!("../templates/security_codes.html")),
    ("passkey_form.html", include_str!("../templates/passkey_form.html")),
    ("signup.html", include_str!("../templates/signup.html")),
    ("verify.html", include_str!("../templates/verify.html")),
    ("link.html", include_str!("../templates/link.html")),
    ("complete.html", include_str!("../templates/complete.html")),
    ("recover.html", include_str!("../templates/recover.html")),
    ("recover_sent.html", include_str!("../templates/recover_sent.html")),
    ("recover_link.html", include_str!("../templates/recover_link.html")),
    ("reset.html", include_str!("../templates/reset.html")),
    ("consent.html", include_str!("../templates/consent.html")),
    ("device.html", include_str!("../templates/device.html")),
    ("device_confirm.html", include_str!("../templates/device_confirm.html")),
    ("device_done.html", include_str!("../templates/device_done.html")),
    ("logout.html", include_str!("../templates/logout.html")),
    ("signed_out.html", include_str!("../templates/signed_out.html")),
    ("security.html", include_str!("../templates/security.html")),
    ("security_passkeys.html", include_str!("../templates/security_passkeys.html")),
    ("error.html", include_str!("../templates/error.html")),
    ("form_post.html", include_str!("../templates/form_post.html")),
];

/// Templates and words, read once at the start; clones share them.
#[derive(Clone)]
pub struct Pages {
    templates: Arc<Environment<'static>>,
    words: Arc<BTreeMap<Locale, Value>>,
}

/// What is wrong with a form.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct FieldError {
    /// Id of the field; empty where it is about the whole form.
    pub field: &'static str,
    /// In the page's language.
    pub text: String,
}

/// What every page needs.
#[derive(Debug, Clone)]
pub struct Frame<'a> {
    /// Of the page.
    pub locale: Locale,
    /// Heading and title.
    pub title: String,
    /// Path and query of the page, to which a choice of language is added. Nothing where the page cannot be asked for
    /// again.
    pub here: Option<&'a str>,
    /// Name of the client that sent the visitor here.
    pub client: Option<&'a str>,
    /// Of its pages, where it has one of its own.
    pub look: Option<Look>,
    /// What is wrong with the form, in the order of its fields.
    pub errors: &'a [FieldError],
}

/// Where the look of a client's pages is served.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Look {
    /// Path of its style sheet, which comes after the one of every page.
    pub style: String,
    /// Path of its logo.
    pub logo: Option<String>,
}

impl Pages {
    /// Reads templates and words.
    ///
    /// # Errors
    /// A template is broken, which is a defect of the build.
    pub fn load() -> Result<Self, Error> {
        let mut templates = Environment::new();
        templates.set_auto_escape_callback(|_| AutoEscape::Html);
        templates.set_undefined_behavior(UndefinedBehavior::Strict);
        templates.add_function("moment", moment);
        templates.add_function("plain", plain);
        for (name, source) in TEMPLATES {
            templates.add_template(name, source)?;
        }
        let words = Locale::ALL.map(|locale| (locale, Value::from(Serde(words::all(locale)))));
        Ok(Self { templates: Arc::new(templates), words: Arc::new(words.into()) })
    }

    /// Renders a page.
    ///
    /// # Errors
    /// A template asks for what it was not given.
    pub fn render(&self, template: &str, frame: &Frame<'_>, page: Value) -> Result<String, Error> {
        let words = self.words.get(&frame.locale).cloned().unwrap_or_default();
        let languages = frame.here.map(|here| languages(frame.locale, here)).unwrap_or_default();
        let context = context! {
            t => words,
            lang => frame.locale.tag(),
            title => frame.title.as_str(),
            client => frame.client,
            look => Value::from(Serde(frame.look.as_ref())),
            errors => Value::from(Serde(frame.errors)),
            languages => Value::from(Serde(languages)),
            ..page
        };
        self.templates.get_template(template)?.render(context)
    }
}

#[derive(Serialize)]
struct Language {
    tag: &'static str,
    name: &'static str,
    href: String,
    current: bool,
}

// A link, so that it works without a script and leaves nothing of a form behind.
fn languages(current: Locale, here: &str) -> Vec<Language> {
    let separator = if here.contains('?') { '&' } else { '?' };
    let language = |(locale, name): (Locale, &'static str)| Language {
        tag: locale.tag(),
        name,
        href: format!("{here}{separator}ui_locales={}", locale.tag()),
        current: locale == current,
    };
    words::LANGUAGES.into_iter().map(language).collect()
}

// Seconds since 1970 as a time that reads alike in every language.
fn moment(seconds: i64) -> Value {
    let machine = DateTime::from_timestamp(seconds, 0).map(|at| at.format("%Y-%m-%dT%H:%MZ").to_string());
    let html = format!("<time datetime=\"{}\">{}</time>", machine.unwrap_or_default(), plain(seconds));
    Value::from_safe_string(html)
}

fn plain(seconds: i64) -> String {
    DateTime::from_timestamp(seconds, 0)
        .map(|at| at.format("%Y-%m-%d %H:%M UTC").to_string())
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    const EVIL: &str = "\"><script>alert(1)</script>'{{ 7 * 7 }}";

    fn page(name: &str, errors: &[FieldError], locale: Locale) -> String {
        let session = context! { session_id => EVIL, since => 1_784_887_200, seen => 0, sites => vec![EVIL], current => true };
        let passkey = context! {
            challenge => EVIL, rp => EVIL, rp_name => EVIL, user => EVIL, user_name => EVIL, algorithms => "-7",
            exclude => EVIL, ceremony => EVIL, id => EVIL, name => EVIL, created => 0, used => (),
        };
        let all = context! {
            path => EVIL, by_app => true, secret => EVIL, picture => context! { width => 1, path => EVIL }, uri => EVIL,
            sealed => EVIL, codes => vec![EVIL], second_factor => context! { since => 0, left => 0 },
            passkeys => vec![passkey.clone()], new_passkey => passkey.clone(), passkey, stronger => true, fresh => true, has_password => true,
            consents => vec![context! { client_id => EVIL, name => EVIL, allowed => vec![EVIL], since => 0 }], done => EVIL,
            ctx => "sealed", email => EVIL, address => EVIL, again => "sealed", link => EVIL,
            scopes => vec![EVIL], sessions => vec![session], welcome => true, message => EVIL, start => true, changed => true, keep => "sealed",
            user_code => EVIL, allowed => true, redirect_uri => EVIL, pairs => vec![vec![EVIL, EVIL]], script => "document.forms[0].submit()",
        };
        let look = Look { style: EVIL.to_owned(), logo: Some(EVIL.to_owned()) };
        let frame = Frame {
            locale,
            title: EVIL.to_owned(),
            here: Some("/login?ctx=sealed"),
            client: Some(EVIL),
            look: Some(look),
            errors,
        };
        // Solidi are escaped too.
        Pages::load().unwrap().render(name, &frame, all).unwrap().replace("&#x2f;", "/")
    }

    // Included by pages, or read by them.
    const PARTS: [&str; 6] = [
        "layout.html",
        "field.html",
        "passkey_form.html",
        "security_passkeys.html",
        "security_codes.html",
        "security_consents.html",
    ];

    fn names() -> impl Iterator<Item = &'static str> {
        TEMPLATES.into_iter().map(|(name, _)| name).filter(|name| !PARTS.contains(name))
    }

    #[test]
    fn every_page_has_every_language_and_no_value_becomes_markup() {
        for name in names() {
            for locale in Locale::ALL {
                let html = page(name, &[], locale);
                assert!(html.contains(&format!("<html lang=\"{}\">", locale.tag())), "{name}");
                assert_eq!(html.matches("<h1>").count(), 1, "{name}");
                assert!(!html.contains("<script>alert") && !html.contains("49"), "{name}: {html}");
                assert!(html.contains("href=\"/login?ctx=sealed&amp;ui_locales=fr\""), "{name}: {html}");
            }
        }
    }

    #[test]
    fn a_wrong_field_is_named_in_the_summary_and_beside_itself() {
        let errors = [FieldError { field: "email", text: "Enter an e-mail address".to_owned() }];
        let html = page("signup.html", &errors, Locale::En);
        assert!(html.contains("<a href=\"#email\">Enter an e-mail address</a>"), "{html}");
        assert!(html.contains("aria-invalid=\"true\" aria-describedby=\"email-hint email-error\""), "{html}");
        assert!(html.contains("<p class=\"error\" id=\"email-error\">Enter an e-mail address</p>"), "{html}");
        assert!(html.contains("<title>Error: "), "{html}");
    }

    #[test]
    fn a_right_form_describes_itself_by_its_hint_only() {
        let html = page("signup.html", &[], Locale::En);
        assert!(html.contains("aria-describedby=\"email-hint\"") && !html.contains("aria-invalid"), "{html}");
    }

    #[test]
    fn a_moment_is_for_people_and_machines() {
        assert_eq!(
            moment(1_784_887_200).to_string(),
            "<time datetime=\"2026-07-24T10:00Z\">2026-07-24 10:00 UTC</time>"
        );
        assert_eq!(plain(i64::MAX), "");
    }
}
