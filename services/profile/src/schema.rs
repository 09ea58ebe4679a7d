use domain::{InvalidValue, NaiveDate, SportCode};

/// Version of the schema that this binary ships.
pub const VERSION: u32 = 1;
/// Most members of a set.
const LARGEST_SET: usize = 60;
/// Nobody older than the oldest person known can sign up.
const EARLIEST_BIRTH: &str = "1900-01-01";

/// What a trait may hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Characters, at most as many, without control characters.
    Text(usize),
    /// One of a closed vocabulary.
    Enum(&'static [&'static str]),
    /// A calendar day from 1900 on.
    Date,
    /// ISO 3166-1 alpha-2, upper case.
    Country,
    /// ISO 3166-2:JP, `JP-01` to `JP-47`.
    Prefecture,
    /// E.164 with its plus sign.
    Phone,
    /// Letters, digits, spaces and `-`, at most 12.
    PostalCode,
    /// Discipline codes.
    SportSet,
}

/// What kind of data a trait is: purposes name the categories that they may use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Category {
    /// Names, contact, address, birth date, gender.
    Basic,
    /// Tastes.
    Preference,
}

/// One trait of the schema.
#[derive(Debug, Clone, Copy)]
pub struct Definition {
    /// Number under which values are stored; never used again for another trait.
    pub id: u16,
    /// Name on the wire.
    pub name: &'static str,
    /// Kind of data.
    pub category: Category,
    /// What it may hold.
    pub kind: Kind,
}

const fn basic(id: u16, name: &'static str, kind: Kind) -> Definition {
    Definition { id, name, category: Category::Basic, kind }
}

/// The shipped schema: what the exchange with the IOC's CRM needs, and kana names.
pub const TRAITS: &[Definition] = &[
    basic(1, "given_name", Kind::Text(80)),
    basic(2, "family_name", Kind::Text(80)),
    basic(3, "given_name_kana", Kind::Text(80)),
    basic(4, "family_name_kana", Kind::Text(80)),
    basic(5, "birth_date", Kind::Date),
    basic(6, "gender", Kind::Enum(&["female", "male", "other", "undisclosed"])),
    basic(7, "country", Kind::Country),
    basic(8, "prefecture", Kind::Prefecture),
    basic(9, "postal_code", Kind::PostalCode),
    basic(10, "address_1", Kind::Text(255)),
    basic(11, "address_2", Kind::Text(255)),
    basic(12, "phone", Kind::Phone),
    Definition {
        id: 13,
        name: "favourite_olympic_sports",
        category: Category::Preference,
        kind: Kind::SportSet,
    },
    Definition {
        id: 14,
        name: "favourite_paralympic_sports",
        category: Category::Preference,
        kind: Kind::SportSet,
    },
];

/// The trait of this name.
#[must_use]
pub fn find(name: &str) -> Option<&'static Definition> {
    TRAITS.iter().find(|definition| definition.name == name)
}

/// The trait of this number.
#[must_use]
pub fn by_id(id: u16) -> Option<&'static Definition> {
    TRAITS.iter().find(|definition| definition.id == id)
}

/// A value that fits its trait.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Value {
    /// Text, enum, country, prefecture, phone, postal code.
    Text(String),
    /// A calendar day.
    Date(NaiveDate),
    /// Sorted members, without repeats.
    Set(Vec<String>),
}

impl Definition {
    /// Checks a text against the trait.
    ///
    /// # Errors
    /// The rule that the text breaks.
    pub fn text(&self, text: &str) -> Result<Value, InvalidValue> {
        let text = text.trim();
        let right = match self.kind {
            Kind::Text(longest) => {
                (1..=longest).contains(&text.chars().count()) && !text.chars().any(char::is_control)
            }
            Kind::Enum(allowed) => allowed.contains(&text),
            Kind::Country => text.len() == 2 && text.bytes().all(|byte| byte.is_ascii_uppercase()),
            Kind::Prefecture => is_prefecture(text),
            Kind::Phone => is_phone(text),
            Kind::PostalCode => is_postal_code(text),
            Kind::Date | Kind::SportSet => false,
        };
        if right { Ok(Value::Text(text.to_owned())) } else { Err(InvalidValue { rule: self.rule() }) }
    }

    /// Checks a day against the trait, with `today` as the last possible one.
    ///
    /// # Errors
    /// The rule that the day breaks.
    pub fn date(&self, text: &str, today: NaiveDate) -> Result<Value, InvalidValue> {
        let wrong = InvalidValue { rule: self.rule() };
        if self.kind != Kind::Date || text.len() != 10 {
            return Err(wrong);
        }
        let day: NaiveDate = text.parse().map_err(|_| wrong.clone())?;
        if text < EARLIEST_BIRTH || day > today {
            return Err(wrong);
        }
        Ok(Value::Date(day))
    }

    /// Checks members of a set against the trait; they come back sorted, each once.
    ///
    /// # Errors
    /// The rule that a member breaks.
    pub fn set(&self, members: &[String]) -> Result<Value, InvalidValue> {
        let wrong = InvalidValue { rule: self.rule() };
        if self.kind != Kind::SportSet || members.len() > LARGEST_SET {
            return Err(wrong);
        }
        if members.iter().any(|member| member.parse::<SportCode>().is_err()) {
            return Err(wrong);
        }
        let mut members = members.to_vec();
        members.sort_unstable();
        members.dedup();
        Ok(Value::Set(members))
    }

    /// What a right value looks like.
    #[must_use]
    pub const fn rule(&self) -> &'static str {
        match self.kind {
            Kind::Text(_) => {
                "must be text without control characters, not empty and not longer than the schema says"
            }
            Kind::Enum(_) => "must be one of the values that the schema lists",
            Kind::Date => "must be a day such as 1990-02-28, from 1900 on and not in the future",
            Kind::Country => "must be an ISO 3166-1 code of two upper-case letters",
            Kind::Prefecture => "must be an ISO 3166-2 code from JP-01 to JP-47",
            Kind::Phone => "must be a number as E.164 writes it, such as +81312345678",
            Kind::PostalCode => "must be at most 12 letters, digits, spaces or `-`",
            Kind::SportSet => "must be at most 60 discipline codes such as ATH",
        }
    }

    /// Longest text in characters or largest set; 0 where neither applies.
    #[must_use]
    pub const fn max_length(&self) -> usize {
        match self.kind {
            Kind::Text(longest) => longest,
            Kind::SportSet => LARGEST_SET,
            Kind::PostalCode => 12,
            Kind::Phone => 16,
            Kind::Enum(_) | Kind::Date | Kind::Country | Kind::Prefecture => 0,
        }
    }

    /// Name of the type on the wire.
    #[must_use]
    pub const fn type_name(&self) -> &'static str {
        match self.kind {
            Kind::Text(_) => "text",
            Kind::Enum(_) => "enum",
            Kind::Date => "date",
            Kind::Country => "country",
            Kind::Prefecture => "prefecture",
            Kind::Phone => "phone",
            Kind::PostalCode => "postal_code",
            Kind::SportSet => "sport_set",
        }
    }
}

impl Category {
    /// Name on the wire.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Basic => "basic",
            Self::Preference => "preference",
        }
    }
}

fn is_prefecture(text: &str) -> bool {
    text.strip_prefix("JP-")
        .filter(|digits| digits.len() == 2 && digits.bytes().all(|byte| byte.is_ascii_digit()))
        .and_then(|digits| digits.parse::<u8>().ok())
        .is_some_and(|number| (1..=47).contains(&number))
}

fn is_phone(text: &str) -> bool {
    text.strip_prefix('+').is_some_and(|digits| {
        (6..=15).contains(&digits.len())
            && digits.bytes().all(|byte| byte.is_ascii_digit())
            && !digits.starts_with('0')
    })
}

fn is_postal_code(text: &str) -> bool {
    (1..=12).contains(&text.len())
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b' ' || byte == b'-')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn today() -> NaiveDate {
        NaiveDate::from_ymd_opt(2030, 7, 1).unwrap()
    }

    #[test]
    fn numbers_and_names_of_traits_are_unique() {
        for (at, one) in TRAITS.iter().enumerate() {
            for other in &TRAITS[at + 1..] {
                assert_ne!(one.id, other.id);
                assert_ne!(one.name, other.name);
            }
        }
    }

    #[test]
    fn each_type_refuses_what_does_not_fit() {
        let text = |name: &str, value: &str| find(name).unwrap().text(value);
        assert!(text("prefecture", "JP-13").is_ok());
        for wrong in ["JP-00", "JP-48", "JP-1", "13", "jp-13", "JP-+1"] {
            assert!(text("prefecture", wrong).is_err(), "{wrong}");
        }
        assert!(text("country", "FR").is_ok());
        assert!(text("country", "fr").is_err());
        assert!(text("phone", "+81312345678").is_ok());
        assert!(text("phone", "0312345678").is_err());
        assert!(text("gender", "female").is_ok());
        assert!(text("gender", "'; drop table profile.profile; --").is_err());
        assert!(text("family_name", "山田\r\nBcc: x").is_err());
        assert!(text("family_name", &"a".repeat(81)).is_err());
        let birth = |value: &str| find("birth_date").unwrap().date(value, today());
        assert!(birth("1990-02-28").is_ok());
        for wrong in ["1990-02-30", "1899-12-31", "2030-07-02", "90-02-28", "1990-2-28"] {
            assert!(birth(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_set_is_sorted_and_holds_each_member_once() {
        let sports = find("favourite_olympic_sports").unwrap();
        let members = ["JUD", "ATH", "JUD"].map(str::to_owned);
        assert_eq!(sports.set(&members).unwrap(), Value::Set(vec!["ATH".to_owned(), "JUD".to_owned()]));
        assert!(sports.set(&["judo".to_owned()]).is_err());
        assert!(sports.set(&vec!["ATH".to_owned(); 61]).is_err());
    }
}
