//! Whether the recipient's object fits the mapping.

use std::collections::HashMap;

use serde::Deserialize;

use super::{Client, Error, VERSION};
use crate::mapping::Mapping;

/// Every code of a finding.
pub const FINDINGS: [&str; 4] = ["FIELD_MISSING", "FIELD_NOT_WRITABLE", "FIELD_TOO_SHORT", "KEY_NOT_UNIQUE"];

/// Something that does not fit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// The recipient's field.
    pub field: String,
    /// One of [`FINDINGS`].
    pub code: &'static str,
}

#[derive(Deserialize)]
struct Described {
    fields: Vec<Field>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Field {
    name: String,
    #[serde(default)]
    length: usize,
    createable: bool,
    updateable: bool,
    external_id: bool,
    unique: bool,
}

impl Client {
    /// Compares the recipient's object with a mapping.
    ///
    /// # Errors
    /// The recipient's; `NOT_FOUND` when there is no such object.
    pub async fn check_object(
        &self,
        object: &str,
        key_field: &str,
        mapping: Option<&Mapping>,
    ) -> Result<Vec<Finding>, Error> {
        let path = format!("/services/data/{VERSION}/sobjects/{object}/describe");
        let reply = self.get(&path).await?;
        let described: Described =
            serde_json::from_slice(&reply.body).map_err(|_| Error::Malformed { what: "description" })?;
        Ok(compare(&described, key_field, mapping))
    }
}

fn compare(described: &Described, key_field: &str, mapping: Option<&Mapping>) -> Vec<Finding> {
    let fields: HashMap<String, &Field> =
        described.fields.iter().map(|field| (field.name.to_ascii_lowercase(), field)).collect();
    let mut findings = Vec::new();
    let mut found = |field: &str, code| findings.push(Finding { field: field.to_owned(), code });
    let [missing, not_writable, too_short, not_unique] = FINDINGS;
    if fields.get(&key_field.to_ascii_lowercase()).is_none_or(|field| !field.external_id || !field.unique) {
        found(key_field, not_unique);
    }
    for wanted in mapping.map(Mapping::fields).unwrap_or_default() {
        match fields.get(&wanted.target.to_ascii_lowercase()) {
            None => found(&wanted.target, missing),
            Some(field) if !field.createable || !field.updateable => found(&wanted.target, not_writable),
            // Types without a length say 0.
            Some(field) if field.length > 0 && field.length < wanted.max_length => {
                found(&wanted.target, too_short);
            }
            Some(_) => {}
        }
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mapping::ioc;

    fn field(name: &str, length: usize) -> Field {
        let key = name == "Kotinos_Id__c";
        Field {
            name: name.to_owned(),
            length,
            createable: true,
            updateable: true,
            external_id: key,
            unique: key,
        }
    }

    #[test]
    fn what_does_not_fit_is_named() {
        let mapping = ioc::mapping().unwrap();
        let mut fields: Vec<Field> =
            mapping.fields().iter().map(|wanted| field(&wanted.target, wanted.max_length)).collect();
        let check = |fields: Vec<Field>| compare(&Described { fields }, "Kotinos_Id__c", Some(&mapping));
        assert!(
            check(mapping.fields().iter().map(|wanted| field(&wanted.target, wanted.max_length)).collect())
                .is_empty()
        );
        fields[0].unique = false;
        fields[1].updateable = false;
        fields[2].length = 10;
        fields.remove(4);
        let codes: Vec<&str> = check(fields).into_iter().map(|finding| finding.code).collect();
        assert_eq!(codes, ["KEY_NOT_UNIQUE", "FIELD_NOT_WRITABLE", "FIELD_TOO_SHORT", "FIELD_MISSING"]);
    }
}
