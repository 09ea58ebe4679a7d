use std::collections::{BTreeMap, BTreeSet};

use axum::{
    extract::{RawQuery, State},
    http::{HeaderMap, StatusCode},
};
use chassis::FieldViolation;
use minijinja::{Value, context, value::Serde};
use serde::Serialize;

use super::{
    Here, Page,
    form::{Fields, Sent},
    visitor::{LANGUAGE, Visitor, see_other, set_cookie},
};
use crate::{
    Error,
    app::{AccountForm, Person},
    pages::{OLYMPIC_SPORTS, PARALYMPIC_SPORTS},
};

/// Traits that the form asks for in one line each; fields are called as their traits.
const TEXTS: [&str; 11] = [
    "given_name",
    "family_name",
    "given_name_kana",
    "family_name_kana",
    "gender",
    "country",
    "prefecture",
    "postal_code",
    "address_1",
    "address_2",
    "phone",
];
const BIRTH_DATE: &str = "birth_date";
/// Traits that the form asks for by boxes, each with the codes that it offers.
pub const SETS: [(&str, &[&str]); 2] =
    [("favourite_olympic_sports", &OLYMPIC_SPORTS), ("favourite_paralympic_sports", &PARALYMPIC_SPORTS)];

/// What the form shows: what is known, or what was sent and is not right yet.
#[derive(Debug, Default, Serialize)]
struct Filled {
    values: BTreeMap<&'static str, String>,
    sets: BTreeMap<&'static str, Vec<String>>,
    locale: String,
}

/// A field with the word that says what is wrong with it.
#[derive(Debug, Serialize)]
pub struct Wrong {
    field: String,
    rule: &'static str,
}

/// GET `/account`
pub async fn show(mut visitor: Visitor, RawQuery(query): RawQuery) -> Page {
    let person = visitor.person().await?;
    let filled = Filled::known(&person);
    page(&visitor, &person, StatusCode::OK, filled, &[], query.as_deref() == Some("saved=1"))
}

/// POST `/account`: saves the form, or shows it again with what was sent and what is wrong with it.
pub async fn save(State(site): Here, mut visitor: Visitor, headers: HeaderMap, sent: Sent) -> Page {
    let person = visitor.person().await?;
    let fields = visitor.form(&person.fan, &headers, &sent)?;
    let filled = Filled::sent(&fields);
    let saved = match filled.to_form() {
        Ok(form) => site.app.save_account(&person, fields.request_id(), form).await,
        Err(violation) => Err(Error::Invalid(vec![violation])),
    };
    match saved {
        Ok(()) => {
            let mut answer = see_other("/account?saved=1");
            // From here on the pages follow the language that was saved.
            set_cookie(answer.headers_mut(), LANGUAGE, "", 0).map_err(|error| visitor.failure(error))?;
            Ok(answer)
        }
        Err(Error::Invalid(violations)) => {
            let wrong: Vec<Wrong> = violations.into_iter().map(Wrong::from).collect();
            page(&visitor, &person, StatusCode::UNPROCESSABLE_ENTITY, filled, &wrong, false)
        }
        Err(error) => Err(visitor.failure(error)),
    }
}

/// GET `/account/sessions`: the fan's sessions at identity.
pub async fn sessions(State(site): Here, mut visitor: Visitor, RawQuery(query): RawQuery) -> Page {
    let person = visitor.person().await?;
    let sessions = site.app.identity_sessions(&person.fan).await.map_err(|error| visitor.failure(error))?;
    let content = context! {
        sessions => Value::from(Serde(sessions)),
        current => person.fan.sid.as_str(),
        security => security_page(&visitor),
        saved => query.as_deref() == Some("ended=1"),
    };
    visitor.page("sessions.html", StatusCode::OK, content)
}

/// POST `/account/sessions`: ends one of them.
pub async fn end_session(State(site): Here, mut visitor: Visitor, headers: HeaderMap, sent: Sent) -> Page {
    let person = visitor.person().await?;
    let fields = visitor.form(&person.fan, &headers, &sent)?;
    let ended = site.app.end_identity_session(&person.fan, fields.one("session_id")).await;
    match ended {
        // One that is gone has ended.
        Ok(()) | Err(Error::NotFound) => Ok(see_other("/account/sessions?ended=1")),
        Err(error) => Err(visitor.failure(error)),
    }
}

/// The boxes of a set: what is offered, and what is held besides, so that saving loses nothing.
pub fn boxes(offered: &[&str], held: &[String]) -> Vec<String> {
    let offered: BTreeSet<&str> = offered.iter().copied().collect();
    let all =
        offered.iter().copied().chain(held.iter().map(String::as_str).filter(|code| !offered.contains(code)));
    all.map(str::to_owned).collect()
}

/// What is wrong, for the summary and for each field.
pub fn errors(wrong: &[Wrong]) -> Value {
    let by_field: BTreeMap<&str, &str> =
        wrong.iter().map(|wrong| (wrong.field.as_str(), wrong.rule)).collect();
    context! { errors => Value::from(Serde(wrong)), wrong => Value::from(Serde(by_field)) }
}

fn page(
    visitor: &Visitor,
    person: &Person,
    status: StatusCode,
    filled: Filled,
    wrong: &[Wrong],
    saved: bool,
) -> Page {
    let offered: BTreeMap<&str, Vec<String>> = SETS
        .iter()
        .map(|(name, offered)| {
            (*name, boxes(offered, person.profile.sets.get(*name).map_or(&[][..], Vec::as_slice)))
        })
        .collect();
    let content = context! {
        email => person.profile.email.as_str(),
        security => security_page(visitor),
        offered => Value::from(Serde(offered)),
        saved,
        ..context! { ..errors(wrong), ..Value::from(Serde(filled)) }
    };
    visitor.page("account.html", status, content)
}

// Address and password are identity's.
fn security_page(visitor: &Visitor) -> String {
    format!("{}/account/security", visitor.site.app.issuer_origin())
}

impl Filled {
    fn known(person: &Person) -> Self {
        let profile = &person.profile;
        let value = |name: &'static str| (name, profile.values.get(name).cloned().unwrap_or_default());
        let set = |(name, _): (&'static str, _)| (name, profile.sets.get(name).cloned().unwrap_or_default());
        Self {
            values: TEXTS.into_iter().chain([BIRTH_DATE]).map(value).collect(),
            sets: SETS.into_iter().map(set).collect(),
            locale: profile.locale.tag().to_owned(),
        }
    }

    fn sent(fields: &Fields) -> Self {
        let value = |name: &'static str| (name, fields.one(name).to_owned());
        Self {
            values: TEXTS.into_iter().chain([BIRTH_DATE]).map(value).collect(),
            sets: SETS.into_iter().map(|(name, _)| (name, fields.all(name))).collect(),
            locale: fields.one("locale").to_owned(),
        }
    }

    fn to_form(&self) -> Result<AccountForm, FieldViolation> {
        let text = |name: &str| self.values.get(name).map(String::as_str).unwrap_or_default();
        let tidy = |name: &'static str| {
            let tidy = match name {
                "country" => half_width(text(name)).to_ascii_uppercase(),
                "postal_code" => half_width(text(name)),
                "phone" => half_width(text(name)).replace([' ', '-', '(', ')'], ""),
                _ => text(name).to_owned(),
            };
            (name, tidy)
        };
        Ok(AccountForm {
            texts: TEXTS.into_iter().map(tidy).collect(),
            dates: BTreeMap::from([(BIRTH_DATE, day(text(BIRTH_DATE)))]),
            sets: self.sets.clone(),
            locale: Some(chassis::parse("locale", &self.locale)?),
        })
    }
}

impl From<FieldViolation> for Wrong {
    // The rule comes in English from the service that knows it; the page has it in every language.
    fn from(violation: FieldViolation) -> Self {
        let rule = match violation.field.as_str() {
            "birth_date" => "rule_date",
            "phone" => "rule_phone",
            "postal_code" => "rule_postal_code",
            "country" => "rule_country",
            "gender" | "prefecture" | "locale" => "rule_choice",
            "favourite_olympic_sports" | "favourite_paralympic_sports" => "rule_sports",
            "address_1" | "address_2" => "rule_long_text",
            name if TEXTS.contains(&name) => "rule_text",
            _ => "rule_other",
        };
        // A name that is none of the form's has no field to lead to.
        let field = if rule == "rule_other" { String::new() } else { violation.field };
        Self { field, rule }
    }
}

// A day as people write it, such as 1990/2/28, 1990年2月28日 or 19900228; what is no day stays as it is, for profile to refuse.
fn day(text: &str) -> String {
    let text = half_width(text);
    let is_number =
        |part: &&str| (1..=4).contains(&part.len()) && part.bytes().all(|byte| byte.is_ascii_digit());
    let parts: Vec<&str> =
        text.trim_end_matches('日').split(['-', '/', '.', '年', '月']).map(str::trim).collect();
    match parts.as_slice() {
        [year, month, day] if parts.iter().all(is_number) => format!("{year}-{month:0>2}-{day:0>2}"),
        [digits] if digits.len() == 8 && digits.bytes().all(|byte| byte.is_ascii_digit()) => {
            format!("{}-{}-{}", &digits[..4], &digits[4..6], &digits[6..])
        }
        _ => text,
    }
}

// Japanese keyboards write digits and Latin letters in full width: U+FF01 to U+FF5E mirror ASCII.
fn half_width(text: &str) -> String {
    let half = |c: char| match c {
        '\u{3000}' => ' ',
        '\u{2212}' | '\u{30fc}' => '-',
        '\u{ff01}'..='\u{ff5e}' => char::from_u32(u32::from(c) - 0xfee0).unwrap_or(c),
        other => other,
    };
    text.chars().map(half).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_japanese_keyboard_writes_is_understood() {
        assert_eq!(half_width("１０４－００６１"), "104-0061");
        let fields = Fields::parse(
            "locale=ja&phone=＋８１ (3) 1234-5678&country=ｊｐ&postal_code=104ー0061".as_bytes(),
        );
        let form = Filled::sent(&fields).to_form().unwrap();
        assert_eq!(form.texts["phone"], "+81312345678");
        assert_eq!(form.texts["country"], "JP");
        assert_eq!(form.texts["postal_code"], "104-0061");
    }

    #[test]
    fn a_day_is_understood_as_people_write_it() {
        for written in ["1990-02-28", "1990/2/28", "1990.02.28", "１９９０年２月２８日", "19900228"]
        {
            assert_eq!(day(written), "1990-02-28", "{written}");
        }
        for odd in ["", "1990-02", "yesterday", "1990-02-28-1", "日", "12345678９0", "<script>"] {
            assert_eq!(day(odd), half_width(odd), "{odd}");
        }
    }

    #[test]
    fn a_language_that_we_lack_is_refused_by_its_name() {
        let refused = Filled::sent(&Fields::parse(b"locale=%3Cscript%3E")).to_form().unwrap_err();
        assert_eq!(Wrong::from(refused).rule, "rule_choice");
    }

    #[test]
    fn a_sport_that_is_not_offered_keeps_its_box() {
        let held = ["ATH", "ZZZ"].map(str::to_owned);
        assert_eq!(boxes(&["ATH", "JUD"], &held), ["ATH", "JUD", "ZZZ"]);
    }
}
