//! The words of identity's own pages, in Japanese, English and French.

mod en;
mod fr;
mod ja;

use std::collections::BTreeMap;

use domain::Locale;

/// Names and texts of one language, in alphabetical order of the names.
type Words = &'static [(&'static str, &'static str)];

/// The languages as they call themselves, in the order in which pages offer them.
pub const LANGUAGES: [(Locale, &str); 3] =
    [(Locale::Ja, "日本語"), (Locale::En, "English"), (Locale::Fr, "Français")];

const fn words(locale: Locale) -> Words {
    match locale {
        Locale::Ja => ja::WORDS,
        Locale::En => en::WORDS,
        Locale::Fr => fr::WORDS,
    }
}

/// Every text of a language by its name.
pub fn all(locale: Locale) -> BTreeMap<&'static str, &'static str> {
    words(locale).iter().copied().collect()
}

/// The text of a name; nothing where there is none.
pub fn find(locale: Locale, name: &str) -> Option<&'static str> {
    let words = words(locale);
    words.binary_search_by(|(own, _)| (*own).cmp(name)).ok().map(|at| words[at].1)
}

/// The text of a name; the name itself where there is none, which the tests exclude for names written here.
pub fn text(locale: Locale, name: &'static str) -> &'static str {
    find(locale, name).unwrap_or(name)
}

/// What a scope lets a client do; the scope itself where there are no words for it.
pub fn of_scope(locale: Locale, scope: &str) -> String {
    let name = format!("scope_{}", scope.replace('.', "_"));
    find(locale, &name).map_or_else(|| scope.to_owned(), str::to_owned)
}

/// What a claim asked for by name tells a client; the claim itself where there are no words for it.
pub fn of_claim(locale: Locale, claim: &str) -> String {
    let name = match claim {
        "name" | "given_name" | "family_name" => "claim_name",
        "email" | "email_verified" => "scope_email",
        "phone_number" | "phone_number_verified" => "scope_phone",
        "address" => "scope_address",
        "zoneinfo" | "locale" => "claim_locale",
        "birthdate" => "claim_birthdate",
        "gender" => "claim_gender",
        "updated_at" => "claim_updated_at",
        _ => return claim.to_owned(),
    };
    text(locale, name).to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(locale: Locale) -> Vec<&'static str> {
        words(locale).iter().map(|(name, _)| *name).collect()
    }

    #[test]
    fn every_language_has_the_same_names_in_their_order() {
        let english = names(Locale::En);
        assert!(english.is_sorted() && english.windows(2).all(|pair| pair[0] != pair[1]));
        for locale in Locale::ALL {
            assert_eq!(names(locale), english, "{locale}");
        }
    }

    #[test]
    fn no_text_is_empty_and_each_has_the_holes_of_the_english_one() {
        let holes = |text: &str| {
            let mut found: Vec<_> = text
                .split('{')
                .skip(1)
                .filter_map(|rest| rest.split('}').next())
                .map(str::to_owned)
                .collect();
            found.sort();
            found
        };
        for locale in Locale::ALL {
            for (name, text) in words(locale) {
                assert!(!text.trim().is_empty(), "{locale} {name}");
                assert_eq!(holes(text), holes(find(Locale::En, name).unwrap()), "{locale} {name}");
            }
        }
    }

    #[test]
    fn every_scope_of_a_fan_has_its_words() {
        for scope in crate::scope::OIDC.iter().chain(&crate::scope::FAN) {
            assert_ne!(of_scope(Locale::Ja, scope), *scope);
        }
        assert_eq!(of_scope(Locale::Ja, "results.read"), "results.read");
    }

    #[test]
    fn every_claim_has_its_words() {
        for (claim, _) in crate::claims::OF_USER {
            assert!(
                of_claim(Locale::Ja, claim) != claim
                    && find(Locale::Ja, &of_claim(Locale::Ja, claim)).is_none()
            );
        }
        assert_eq!(of_claim(Locale::Ja, "x"), "x");
    }
}
