use chassis::FieldViolation;

use crate::{
    Error,
    as_of::{AsOf, PastPage},
    fanout::{Filter, MOST_PREFIXES, Mode, Representation},
    rsc::{Prefix, Rsc},
    stream_name::StreamName,
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
    /// `flag`: `P`, `T` or `R1` to `R9`
    pub stream: Option<StreamName>,
    /// `as_of`: a sequence number, an instant or a day, of a past state
    pub as_of: Option<AsOf>,
    /// `after`: a handle, of a state page; of a past state what its page named
    pub after: Option<String>,
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
            "flag" => self.stream = Some(chassis::parse("flag", &value)?),
            "as_of" => self.as_of = Some(chassis::parse("as_of", &value)?),
            "after" if value.len() > LONGEST_CURSOR => {
                return Err(FieldViolation::new("after", "must be a place as it was given"));
            }
            "after" => self.after = Some(value),
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

    /// The handle behind which a page begins; 0 without one.
    ///
    /// # Errors
    /// No handle.
    pub fn after(&self) -> Result<i64, FieldViolation> {
        self.after.as_ref().map_or(Ok(0), |after| chassis::parse("after", after))
    }

    /// Where a page of a past state begins.
    ///
    /// # Errors
    /// No such place.
    pub fn past_page(&self) -> Result<Option<PastPage>, FieldViolation> {
        self.after.as_ref().map(|after| chassis::parse("after", after)).transpose()
    }

    /// Production, unless asked otherwise.
    #[must_use]
    pub fn stream(&self) -> StreamName {
        self.stream.unwrap_or(StreamName::Production)
    }

    /// What it wants to see.
    #[must_use]
    pub fn filter(&self) -> Filter {
        Filter::new(self.prefixes.clone())
    }
}
