use std::collections::HashMap;

use domain::Locale;

use crate::canonical::Node;

/// Names of codes in the languages of a code table (DT_CODES), which travels in the feed like any document.
#[derive(Debug, Clone, Default)]
pub struct Names {
    names: HashMap<(String, &'static str), String>,
}

/// A language's three letters in documents (ODF Foundation Principles 3.3.2).
#[must_use]
pub const fn language(locale: Locale) -> &'static str {
    match locale {
        Locale::Ja => "JPN",
        Locale::En => "ENG",
        Locale::Fr => "FRA",
    }
}

impl Names {
    /// Adds a table: each code with its description a language. What is there already is replaced.
    pub fn add(&mut self, body: &Node) {
        let Some(competition) = body.get("Competition") else { return };
        // Several code sets are keyed by their place; a single one stands for itself.
        let sets: Vec<&Node> = match competition.get("CodeSet") {
            Some(only) if !only.text("Code").is_empty() => vec![only],
            _ => competition.children("CodeSet").map(|(_, set)| set).collect(),
        };
        for set in sets {
            let code = short(set.text("Code"));
            let words: Vec<&Node> = match set.get("Language") {
                Some(only) if !only.text("Description").is_empty() => vec![only],
                _ => set.children("Language").map(|(_, words)| words).collect(),
            };
            for words in words {
                let known = [Locale::Ja, Locale::En, Locale::Fr].map(language);
                let Some(language) = known.into_iter().find(|known| *known == language_of(words)) else {
                    continue;
                };
                self.names.insert((code.to_owned(), language), words.text("Description").to_owned());
            }
        }
    }

    /// The name of a code: in this language, else in English; none where the table does not have it.
    #[must_use]
    pub fn get(&self, code: &str, locale: Locale) -> Option<&str> {
        let named = |language| self.names.get(&(code.to_owned(), language)).map(String::as_str);
        named(language(locale)).or_else(|| named(language(Locale::En))).filter(|name| !name.is_empty())
    }
}

// An element may have an attribute of its own name, which then moves to `@Language`.
fn language_of(words: &Node) -> &str {
    match words.text("Language") {
        "" => words.text("@Language"),
        language => language,
    }
}

// A discipline's code fills an RSC; its name is asked for by the three characters.
fn short(code: &str) -> &str {
    let is_rsc = code.len() == 34 && code.is_ascii();
    if is_rsc { code[..].trim_end_matches('-') } else { code }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(json: &str) -> Names {
        let mut names = Names::default();
        names.add(&Node::from_bytes(json.as_bytes()).unwrap());
        names
    }

    #[test]
    fn names_come_in_the_readers_language_or_in_english() {
        let names = names(
            r#"{"Competition":{"CodeSet":{
                "000000":{"Code":"JPN","Language":{"000000":{"Language":"ENG","Description":"Japan"},"000001":{"Language":"FRA","Description":"Japon"},
                                                   "000002":{"Language":"JPN","Description":"日本"}}},
                "000001":{"Code":"ATH-------------------------------","Language":{"Language":"ENG","Description":"Athletics"}}}}}"#,
        );
        assert_eq!(names.get("JPN", Locale::Ja), Some("日本"));
        assert_eq!(names.get("JPN", Locale::Fr), Some("Japon"));
        assert_eq!(
            names.get("ATH", Locale::Fr),
            Some("Athletics"),
            "a single language, and English for want of French"
        );
        assert_eq!(names.get("KEN", Locale::En), None);
    }

    #[test]
    fn a_table_of_one_code_is_read_and_an_odd_one_names_nothing() {
        let one = names(
            r#"{"Competition":{"CodeSet":{"Code":"STA","Language":{"Language":"ENG","Description":"Stadium"}}}}"#,
        );
        assert_eq!(one.get("STA", Locale::En), Some("Stadium"));
        for odd in [
            r#"{"Competition":{}}"#,
            r#"{"Competition":{"CodeSet":"x"}}"#,
            "{}",
            r#"{"Competition":{"CodeSet":{"a":{"Code":"é"}}}}"#,
        ] {
            assert_eq!(names(odd).get("é", Locale::En), None);
        }
    }
}
