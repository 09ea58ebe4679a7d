//! One cell: what came over the wire, and what a field accepts of it.

use chrono::NaiveDate;
use serde_json::Value as Json;

use crate::{
    org::{Field, FieldKind},
    refusal::RowError,
};

/// A stored value. Dates are kept as the text that was checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Value {
    Null,
    Bool(bool),
    Text(Box<str>),
}

impl Value {
    #[must_use]
    pub fn to_json(&self) -> Json {
        match self {
            Self::Null => Json::Null,
            Self::Bool(value) => Json::Bool(*value),
            Self::Text(text) => Json::String(text.to_string()),
        }
    }

    #[must_use]
    pub fn text(&self) -> Option<&str> {
        if let Self::Text(text) = self { Some(text) } else { None }
    }
}

/// A cell as it came: JSON null or CSV `#N/A` clear, an absent key or an empty CSV cell is no cell at all.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Input<'a> {
    Clear,
    Text(&'a str),
    Json(&'a Json),
}

impl<'a> Input<'a> {
    /// The null contract of CSV.
    #[must_use]
    pub fn from_csv(cell: &'a str) -> Option<Self> {
        match cell {
            "" => None,
            "#N/A" => Some(Self::Clear),
            text => Some(Self::Text(text)),
        }
    }

    /// The null contract of JSON.
    #[must_use]
    pub fn from_json(value: &'a Json) -> Self {
        match value {
            Json::Null => Self::Clear,
            Json::String(text) => Self::Text(text),
            other => Self::Json(other),
        }
    }
}

/// What the field stores for this cell.
///
/// # Errors
/// The row error that Salesforce gives for a value of the wrong type, length or list.
pub fn accept(field: &Field, input: Input<'_>) -> Result<Value, RowError> {
    let text = match input {
        // A checkbox has no null: cleared means off.
        Input::Clear if field.kind == FieldKind::Boolean => return Ok(Value::Bool(false)),
        Input::Clear => return Ok(Value::Null),
        Input::Json(Json::Bool(value)) if field.kind == FieldKind::Boolean => return Ok(Value::Bool(*value)),
        Input::Json(other) => return Err(wrong_type(field, &other.to_string())),
        Input::Text(text) => text.trim(),
    };
    match field.kind {
        FieldKind::Boolean => boolean(field, text).map(Value::Bool),
        _ if text.is_empty() => Ok(Value::Null),
        FieldKind::Date => date(field, text),
        FieldKind::String | FieldKind::Phone => sized(field, text),
        FieldKind::Email if is_email(text) => sized(field, text),
        FieldKind::Email => {
            let message = format!("{}: invalid email address: {text}", field.label);
            Err(RowError::on("INVALID_EMAIL_ADDRESS", &field.name, message))
        }
        FieldKind::Picklist => listed(field, text).and_then(|()| sized(field, text)),
        FieldKind::Multipicklist => {
            let parts = text.split(';').map(str::trim).filter(|part| !part.is_empty());
            parts.clone().try_for_each(|part| listed(field, part))?;
            sized(field, &parts.collect::<Vec<_>>().join(";"))
        }
    }
}

fn sized(field: &Field, text: &str) -> Result<Value, RowError> {
    // Salesforce counts as Java does: UTF-16 units.
    if text.len() > field.length && text.encode_utf16().count() > field.length {
        let shown: String = text.chars().take(80).collect();
        let message = format!("{}: data value too large: {shown} (max length={})", field.label, field.length);
        return Err(RowError::on("STRING_TOO_LONG", &field.name, message));
    }
    Ok(Value::Text(text.into()))
}

fn listed(field: &Field, text: &str) -> Result<(), RowError> {
    if !field.restricted || field.values.iter().any(|value| value.eq_ignore_ascii_case(text)) {
        return Ok(());
    }
    let message = format!("{}: bad value for restricted picklist field: {text}", field.label);
    Err(RowError::on("INVALID_OR_NULL_FOR_RESTRICTED_PICKLIST", &field.name, message))
}

fn boolean(field: &Field, text: &str) -> Result<bool, RowError> {
    const TRUE: [&str; 5] = ["true", "1", "yes", "y", "on"];
    const FALSE: [&str; 6] = ["false", "0", "no", "n", "off", ""];
    let is = |words: &[&str]| words.iter().any(|word| word.eq_ignore_ascii_case(text));
    match (is(&TRUE), is(&FALSE)) {
        (true, _) => Ok(true),
        (_, true) => Ok(false),
        _ => Err(wrong_type(field, text)),
    }
}

fn date(field: &Field, text: &str) -> Result<Value, RowError> {
    let day = (text.len() == 10).then(|| NaiveDate::parse_from_str(text, "%Y-%m-%d").ok()).flatten();
    // Years that a Salesforce date can hold.
    match day.filter(|day| (1700..=4000).contains(&chrono::Datelike::year(day))) {
        Some(_) => Ok(Value::Text(text.into())),
        None => Err(wrong_type(field, text)),
    }
}

fn wrong_type(field: &Field, text: &str) -> RowError {
    let shown: String = text.chars().take(80).collect();
    let message = format!("{}: value not of required type: {shown}", field.label);
    RowError::on("INVALID_TYPE_ON_FIELD_IN_RECORD", &field.name, message)
}

/// Salesforce's own idea of an address, stricter than RFC 5321 where Japanese carriers were laxer: no leading, trailing
/// or doubled dot before the `@`, nothing quoted, a top-level domain of letters.
#[must_use]
pub fn is_email(text: &str) -> bool {
    let Some((local, domain)) = text.rsplit_once('@') else { return false };
    let local_byte = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+/=?^_`{|}~-".contains(&byte);
    let atoms =
        local.len() <= 64 && local.split('.').all(|atom| !atom.is_empty() && atom.bytes().all(local_byte));
    let label = |label: &str| {
        !label.is_empty()
            && label.len() <= 63
            && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    let top = domain
        .rsplit_once('.')
        .is_some_and(|(_, top)| top.len() >= 2 && !top.bytes().any(|b| b.is_ascii_digit()));
    atoms && top && domain.split('.').all(label)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::org::Org;

    fn field(name: &str) -> Field {
        Org::event_crm().objects[0].fields.iter().find(|field| field.name == name).unwrap().clone()
    }

    fn code(name: &str, text: &str) -> &'static str {
        accept(&field(name), Input::Text(text)).map_or_else(|error| error.code, |_| "ok")
    }

    #[test]
    fn addresses_that_break_the_rfc_are_refused() {
        for good in ["alice@example.org", "a.b+c@sub.example.co.jp", "o'neil@example.fr"] {
            assert_eq!(code("Email", good), "ok", "{good}");
        }
        for bad in [
            "alice..k@docomo.ne.jp",
            "alice.@docomo.ne.jp",
            ".a@example.org",
            "\"a b\"@example.org",
            "a@b",
            "a@example.1",
            "a@-x.org",
            "@",
            "a@",
            "日本@example.jp",
            "a@b@c.org",
        ] {
            assert_eq!(code("Email", bad), "INVALID_EMAIL_ADDRESS", "{bad}");
        }
    }

    #[test]
    fn a_value_must_fit_length_list_and_type() {
        assert_eq!(code("FirstName", &"あ".repeat(40)), "ok");
        assert_eq!(code("FirstName", &"あ".repeat(41)), "STRING_TOO_LONG");
        assert_eq!(code("MailingCountryCode", "JP"), "ok");
        assert_eq!(code("MailingCountryCode", "JPN"), "INVALID_OR_NULL_FOR_RESTRICTED_PICKLIST");
        assert_eq!(code("Birthdate", "1990-02-28"), "ok");
        for bad in ["1990-02-30", "28/02/1990", "1990-2-8", "1990-02-28T00:00:00Z", "0001-01-01"] {
            assert_eq!(code("Birthdate", bad), "INVALID_TYPE_ON_FIELD_IN_RECORD", "{bad}");
        }
        assert_eq!(code("Direct_Marketing__c", "maybe"), "INVALID_TYPE_ON_FIELD_IN_RECORD");
        let number = serde_json::json!(7);
        assert!(accept(&field("FirstName"), Input::from_json(&number)).is_err());
    }

    #[test]
    fn clearing_a_checkbox_turns_it_off() {
        assert_eq!(accept(&field("Direct_Marketing__c"), Input::Clear), Ok(Value::Bool(false)));
        assert_eq!(accept(&field("Email"), Input::Clear), Ok(Value::Null));
    }

    #[test]
    fn the_null_contract_of_csv() {
        assert_eq!(Input::from_csv(""), None);
        assert_eq!(Input::from_csv("#N/A"), Some(Input::Clear));
        assert_eq!(Input::from_csv("#n/a"), Some(Input::Text("#n/a")));
    }
}
