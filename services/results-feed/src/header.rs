use std::fmt;

use domain::NaiveDate;
use serde::{Deserialize, Serialize};

use crate::{
    document_type::{DocumentType, FeedFlag, ResultStatus},
    quarantine::Reason,
    rsc::Rsc,
};

/// The language of a document that names none (ODF Foundation Principles 3.3.2).
const ENGLISH: &str = "ENG";
/// Longest value of a header field, in characters.
const LONGEST: usize = 60;

/// The six header fields that name a document for ever, whatever its version (ODF Foundation Principles 3.3.2).
/// Optional ones are empty where the sender gave none.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct DocumentKey {
    /// Such as `SYN2030`.
    pub competition_code: String,
    /// An RSC; for some types a person's id or a number.
    pub document_code: String,
    /// Tells apart documents of one code and type.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub document_subcode: String,
    /// Such as `DT_RESULT`.
    pub document_type: String,
    /// Tells apart documents of one type.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub document_subtype: String,
    /// Three letters.
    pub language: String,
}

impl DocumentKey {
    /// The code, where it is an RSC.
    #[must_use]
    pub fn rsc(&self) -> Option<Rsc> {
        self.document_code.parse().ok()
    }
}

impl fmt::Display for DocumentKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.document_type, self.document_code)
    }
}

/// The header of an ODF document: the attributes of `OdfBody`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Header {
    /// Which document.
    pub key: DocumentKey,
    /// Its type, parsed.
    pub document_type: DocumentType,
    /// From 1; a higher one replaces all lower ones.
    pub version: i32,
    /// Where the type has one.
    pub status: Option<ResultStatus>,
    /// Production or test.
    pub feed_flag: FeedFlag,
    /// The day of competition, which ends after midnight.
    pub logical_date: NaiveDate,
    /// The system that sent it; not part of the key, kept for diagnosis.
    pub source: String,
    /// The number that its source gave it: ODF1 alone has one.
    pub serial: Option<i64>,
}

impl Header {
    /// Whether the header is all that is read of a document with these attributes: pictures and the like, whose megabytes
    /// of base64 nobody reads, and bodies of ODF1.
    pub fn is_all_that_is_read<'a>(attribute: impl Fn(&str) -> Option<&'a str>) -> bool {
        attribute("Serial").is_some()
            || matches!(attribute("DocumentType"), Some("DT_PDF" | "DT_PIC" | "DT_IMAGE" | "DT_AUDIO"))
    }

    /// Reads the attributes of `OdfBody`; `attribute` gives one that is there and not empty.
    ///
    /// # Errors
    /// The first field that is missing or breaks its rule.
    pub fn of<'a>(attribute: impl Fn(&str) -> Option<&'a str>) -> Result<Self, Reason> {
        let fields = Fields(attribute);
        let serial = fields.serial()?;
        let (key, document_type) = match serial {
            Some(_) => fields.numbered()?,
            None => fields.named()?,
        };
        let time = fields.required("Time")?;
        if time.len() != 9 || !time.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(Reason::HeaderInvalid("Time"));
        }
        fields.date("Date")?;
        let version = fields.required("Version")?;
        let version = match version.parse::<i32>() {
            Ok(number) if number >= 1 && version.bytes().all(|byte| byte.is_ascii_digit()) => number,
            _ => return Err(Reason::HeaderInvalid("Version")),
        };
        let status = match fields.optional("ResultStatus")? {
            Some(name) => Some(name.parse().map_err(|_| Reason::HeaderInvalid("ResultStatus"))?),
            None => None,
        };
        let feed_flag = fields.required("FeedFlag")?;
        Ok(Self {
            key,
            document_type,
            version,
            status,
            feed_flag: feed_flag.parse().map_err(|_| Reason::HeaderInvalid("FeedFlag"))?,
            logical_date: fields.date("LogicalDate")?,
            source: fields.required("Source")?.to_owned(),
            serial,
        })
    }
}

struct Fields<F>(F);

impl<'a, F: Fn(&str) -> Option<&'a str>> Fields<F> {
    // The six fields of ODF2.
    fn named(&self) -> Result<(DocumentKey, DocumentType), Reason> {
        let document_type: DocumentType =
            self.required("DocumentType")?.parse().map_err(|_| Reason::UnknownType)?;
        let document_code = self.required("DocumentCode")?;
        if !document_type.has_free_code() {
            document_code.parse::<Rsc>().map_err(|error| Reason::RscInvalid(error.position))?;
        }
        let key = DocumentKey {
            competition_code: self.required("CompetitionCode")?.to_owned(),
            document_code: document_code.to_owned(),
            document_subcode: self.optional("DocumentSubcode")?.unwrap_or_default().to_owned(),
            document_type: document_type.name().to_owned(),
            document_subtype: self.optional("DocumentSubtype")?.unwrap_or_default().to_owned(),
            language: self.language()?,
        };
        Ok((key, document_type))
    }

    // A message with the header of ODF1 is kept as a table of codes under its type and its number: its codes are no RSCs
    // and its other fields mean something else. Its own type, or its subtype where it is a table of codes, is the subtype.
    fn numbered(&self) -> Result<(DocumentKey, DocumentType), Reason> {
        let document_type: DocumentType = "DT_CODES".parse().map_err(|_| Reason::UnknownType)?;
        let own_type = self.required("DocumentType")?;
        let subtype = if own_type == document_type.name() {
            self.optional("DocumentSubtype")?.unwrap_or_default()
        } else {
            own_type
        };
        let key = DocumentKey {
            competition_code: self.required("CompetitionCode")?.to_owned(),
            document_code: self.required("DocumentCode")?.to_owned(),
            document_subcode: self.required("Serial")?.to_owned(),
            document_type: document_type.name().to_owned(),
            document_subtype: subtype.to_owned(),
            language: self.language()?,
        };
        Ok((key, document_type))
    }

    fn language(&self) -> Result<String, Reason> {
        let language = self.optional("Language")?.unwrap_or(ENGLISH);
        if language.len() != 3 || !language.bytes().all(|byte| byte.is_ascii_uppercase()) {
            return Err(Reason::HeaderInvalid("Language"));
        }
        Ok(language.to_owned())
    }

    fn serial(&self) -> Result<Option<i64>, Reason> {
        let Some(text) = self.optional("Serial")? else { return Ok(None) };
        if text.len() > 10 || !text.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(Reason::HeaderInvalid("Serial"));
        }
        text.parse().map(Some).map_err(|_| Reason::HeaderInvalid("Serial"))
    }

    fn optional(&self, field: &'static str) -> Result<Option<&'a str>, Reason> {
        match self.0(field) {
            Some(text) if text.len() > LONGEST || !text.bytes().all(|byte| byte.is_ascii_graphic()) => {
                Err(Reason::HeaderInvalid(field))
            }
            given => Ok(given),
        }
    }

    fn required(&self, field: &'static str) -> Result<&'a str, Reason> {
        self.optional(field)?.ok_or(Reason::HeaderMissing(field))
    }

    fn date(&self, field: &'static str) -> Result<NaiveDate, Reason> {
        let text = self.required(field)?;
        match NaiveDate::parse_from_str(text, "%Y-%m-%d") {
            Ok(date) if text.len() == 10 => Ok(date),
            _ => Err(Reason::HeaderInvalid(field)),
        }
    }
}
