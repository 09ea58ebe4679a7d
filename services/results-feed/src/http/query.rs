use chassis::FieldViolation;

use crate::{
    Error,
    document_type::FeedFlag,
    fanout::{Filter, MOST_PREFIXES, Mode, Representation},
    rsc::{Prefix, Rsc},
};

/// Longest cursor in bytes; a longer one is none of ours.
const LONGEST_CURSOR: usize = 200;
/// Longest ticket in bytes.
const LONGEST_TICKET: usize = 64;

/// The parameters of feed, state and lists.
#[derive(Debug, Default)]
pub struct Query {
    /// `prefix`, repeated.
    pub prefixes: Vec<Prefix>,
    /// `cursor`
    pub cursor: Option<String>,
    /// `mode`: `state` or `every`
    pub mode: Mode,
    /// `rep`: `json` or `odf`
    pub representation: Representation,
    /// `ticket`, instead of a token
    pub ticket: Option<String>,
    /// `flag`: `P` or `T`
    pub feed_flag: Option<FeedFlag>,
    /// `after`: a handle, of a state page
    pub after: i64,
    /// `from`: a unit, of a page of units
    pub from: Option<Rsc>,
    /// `limit`: 1 to 500
    pub limit: Option<i64>,
    /// `lang`
    pub language: Option<domain::Locale>,
}

impl Query {
    /// Reads pairs; names that mean nothing here are passed over, as links collect them.
    ///
    /// # Errors
    /// Every wrong parameter at once.
    pub fn parse(pairs: Vec<(String, String)>) -> Result<Self, Error> {
        let mut query = Self::default();
        let mut wrong = Vec::new();
        for (name, value) in pairs {
            if let Err(violation) = query.take(&name, value) {
                wrong.push(violation);
            }
        }
        if wrong.is_empty() { Ok(query) } else { Err(Error::Invalid(wrong)) }
    }

    fn take(&mut self, name: &str, value: String) -> Result<(), FieldViolation> {
        match name {
            "prefix" if self.prefixes.len() >= MOST_PREFIXES => {
                return Err(FieldViolation::new("prefix", "must come at most 64 times"));
            }
            "prefix" => self.prefixes.push(chassis::parse("prefix", &value)?),
            "cursor" if value.len() > LONGEST_CURSOR => {
                return Err(FieldViolation::new("cursor", "must be a cursor as it was given"));
            }
            "cursor" => self.cursor = Some(value),
            "mode" => {
                self.mode = match value.as_str() {
                    "state" => Mode::State,
                    "every" => Mode::Every,
                    _ => return Err(FieldViolation::new("mode", "must be state or every")),
                }
            }
            "rep" => {
                self.representation = match value.as_str() {
                    "json" => Representation::Json,
                    "odf" => Representation::Odf,
                    _ => return Err(FieldViolation::new("rep", "must be json or odf")),
                }
            }
            "ticket" if value.len() > LONGEST_TICKET => {
                return Err(FieldViolation::new("ticket", "must be a ticket as it was given"));
            }
            "ticket" => self.ticket = Some(value),
            "flag" => self.feed_flag = Some(chassis::parse("flag", &value)?),
            "after" => self.after = chassis::parse("after", &value)?,
            "from" => self.from = Some(chassis::parse("from", &value)?),
            "limit" => {
                let limit: i64 = chassis::parse("limit", &value)?;
                if !(1..=500).contains(&limit) {
                    return Err(FieldViolation::new("limit", "must be 1 to 500"));
                }
                self.limit = Some(limit);
            }
            "lang" => self.language = value.parse().ok(),
            _ => {}
        }
        Ok(())
    }

    /// Production, unless asked otherwise.
    #[must_use]
    pub fn feed_flag(&self) -> FeedFlag {
        self.feed_flag.unwrap_or(FeedFlag::Production)
    }

    /// What it wants to see.
    #[must_use]
    pub fn filter(&self) -> Filter {
        Filter::new(self.prefixes.clone())
    }
}
