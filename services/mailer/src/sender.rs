//! In whose name mail goes out: a controller with an address, a purpose and the footer that the law asks for.

use std::collections::BTreeMap;

use domain::{ConsentKey, EmailAddress};

use crate::template;

/// A sender.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sender {
    /// 1 to 40 of `a-z 0-9 -`.
    pub key: String,
    /// Who is responsible for the data.
    pub controller: String,
    /// Name in From.
    pub from_name: String,
    /// Address in From and on the envelope.
    pub from: EmailAddress,
    /// What its campaigns are for.
    pub purpose: ConsentKey,
    /// Legal footer by language: name, postal address, contact for refusal.
    pub footer: BTreeMap<String, String>,
}

impl Sender {
    /// The footer for a language, by the same chain as the words.
    #[must_use]
    pub fn footer(&self, language: &str) -> &str {
        let languages: Vec<String> = self.footer.keys().cloned().collect();
        let chosen = template::choose(&languages, language, "en");
        chosen.and_then(|chosen| self.footer.get(chosen)).map_or("", String::as_str)
    }
}

/// Whether a text may be a sender's or a template's key.
#[must_use]
pub fn is_key(text: &str) -> bool {
    let right = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    (1..=40).contains(&text.len()) && text.bytes().all(right)
}
