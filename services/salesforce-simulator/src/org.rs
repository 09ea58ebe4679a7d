//! The org as data: objects, fields and what a field accepts. Another org is another JSON file of the same shape.

use anyhow::{bail, ensure};
use serde::{Deserialize, Serialize};

/// ISO 3166-1 alpha-2, the country picklist of the built-in org.
const COUNTRIES: &str = "AD AE AF AG AI AL AM AO AQ AR AS AT AU AW AX AZ BA BB BD BE BF BG BH BI BJ BL BM BN BO BQ BR \
    BS BT BV BW BY BZ CA CC CD CF CG CH CI CK CL CM CN CO CR CU CV CW CX CY CZ DE DJ DK DM DO DZ EC EE EG EH ER ES ET \
    FI FJ FK FM FO FR GA GB GD GE GF GG GH GI GL GM GN GP GQ GR GS GT GU GW GY HK HM HN HR HT HU ID IE IL IM IN IO IQ \
    IR IS IT JE JM JO JP KE KG KH KI KM KN KP KR KW KY KZ LA LB LC LI LK LR LS LT LU LV LY MA MC MD ME MF MG MH MK ML \
    MM MN MO MP MQ MR MS MT MU MV MW MX MY MZ NA NC NE NF NG NI NL NO NP NR NU NZ OM PA PE PF PG PH PK PL PM PN PR PS \
    PT PW PY QA RE RO RS RU RW SA SB SC SD SE SG SH SI SJ SK SL SM SN SO SR SS ST SV SX SY SZ TC TD TF TG TH TJ TK TL \
    TM TN TO TR TT TV TW TZ UA UG UM US UY UZ VA VC VE VG VI VN VU WF WS YE YT ZA ZM ZW";

/// One simulated org.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Org {
    /// Organization id, 18 characters.
    pub id: String,
    /// Id of the integration user; `LastModifiedById` of what it writes.
    pub user_id: String,
    pub objects: Vec<ObjectType>,
}

/// One object, as `describe` tells it.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ObjectType {
    pub name: String,
    pub label: String,
    /// First three characters of its records' ids.
    pub key_prefix: String,
    pub fields: Vec<Field>,
}

/// One writable field.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Field {
    pub name: String,
    pub label: String,
    pub kind: FieldKind,
    /// Characters; 0 for booleans and dates.
    #[serde(default)]
    pub length: usize,
    #[serde(default)]
    pub required: bool,
    /// Unique and an external id, without regard to case.
    #[serde(default)]
    pub external_id: bool,
    /// Picklist values.
    #[serde(default)]
    pub values: Vec<String>,
    /// Whether other values than `values` are refused.
    #[serde(default)]
    pub restricted: bool,
}

/// What a field holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum FieldKind {
    String,
    Email,
    Phone,
    Boolean,
    Date,
    Picklist,
    Multipicklist,
}

/// Fields that the org itself writes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SystemField {
    Id,
    IsDeleted,
    CreatedDate,
    CreatedById,
    LastModifiedDate,
    LastModifiedById,
    SystemModstamp,
}

impl SystemField {
    pub const ALL: [Self; 7] = [
        Self::Id,
        Self::IsDeleted,
        Self::CreatedDate,
        Self::CreatedById,
        Self::LastModifiedDate,
        Self::LastModifiedById,
        Self::SystemModstamp,
    ];

    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Id => "Id",
            Self::IsDeleted => "IsDeleted",
            Self::CreatedDate => "CreatedDate",
            Self::CreatedById => "CreatedById",
            Self::LastModifiedDate => "LastModifiedDate",
            Self::LastModifiedById => "LastModifiedById",
            Self::SystemModstamp => "SystemModstamp",
        }
    }
}

/// A named column of an object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Column {
    System(SystemField),
    /// Index into `ObjectType::fields`.
    Data(usize),
}

impl ObjectType {
    /// Finds a column by its API name, in any case.
    #[must_use]
    pub fn column(&self, name: &str) -> Option<Column> {
        let data =
            self.fields.iter().position(|field| field.name.eq_ignore_ascii_case(name)).map(Column::Data);
        data.or_else(|| {
            let system = SystemField::ALL.into_iter().find(|field| field.name().eq_ignore_ascii_case(name));
            system.map(Column::System)
        })
    }

    /// The API name of a column as the org spells it.
    #[must_use]
    pub fn column_name(&self, column: Column) -> &str {
        match column {
            Column::System(field) => field.name(),
            Column::Data(index) => self.fields.get(index).map_or("", |field| &field.name),
        }
    }

    /// Every column, the org's own first.
    pub fn columns(&self) -> impl Iterator<Item = Column> + '_ {
        SystemField::ALL.into_iter().map(Column::System).chain((0..self.fields.len()).map(Column::Data))
    }
}

impl Field {
    fn new(name: &str, kind: FieldKind, length: usize) -> Self {
        let label = name.trim_end_matches("__c").replace('_', " ");
        let (name, values) = (name.to_owned(), Vec::new());
        Self { name, label, kind, length, required: false, external_id: false, values, restricted: false }
    }

    fn picklist(name: &str, values: &str) -> Self {
        let values = values.split_whitespace().map(str::to_owned).collect();
        Self { values, restricted: true, ..Self::new(name, FieldKind::Picklist, 255) }
    }

    /// A custom field's name ends so.
    #[must_use]
    pub fn is_custom(&self) -> bool {
        self.name.ends_with("__c")
    }
}

impl Org {
    /// The IOC's CRM as the suite's own mapping expects it: one object, Contact, with the seventeen shared columns and
    /// two more for addresses that Salesforce refuses.
    #[must_use]
    pub fn event_crm() -> Self {
        use FieldKind::{Boolean, Date, Email, Multipicklist, Phone, String};
        let fields = vec![
            Field { external_id: true, ..Field::new("Kotinos_Id__c", String, 64) },
            Field::new("Email", Email, 80),
            Field::new("Email_Raw__c", String, 255),
            Field::picklist("Email_Class__c", "conforming dot_violation quoted internationalised unroutable"),
            Field::new("FirstName", String, 40),
            Field { required: true, ..Field::new("LastName", String, 80) },
            Field::new("Birthdate", Date, 0),
            Field::new("MailingPostalCode", String, 20),
            Field::new("Prefecture__c", String, 80),
            Field::new("Address_1__c", String, 255),
            Field::new("Address_2__c", String, 255),
            Field::new("Phone", Phone, 40),
            Field::picklist("Gender__c", "female male other undisclosed"),
            Field::picklist("MailingCountryCode", COUNTRIES),
            Field::new("Consent_Communication__c", Boolean, 0),
            Field::picklist("Email_Language__c", "ja en fr"),
            Field::new("Favourite_Olympic__c", Multipicklist, 4099),
            Field::new("Favourite_Paralympic__c", Multipicklist, 4099),
            Field::new("Direct_Marketing__c", Boolean, 0),
        ];
        let contact =
            ObjectType { name: "Contact".into(), label: "Contact".into(), key_prefix: "003".into(), fields };
        Self { id: crate::id::write("00D", 1), user_id: crate::id::write("005", 1), objects: vec![contact] }
    }

    /// Reads an org from JSON of this shape.
    ///
    /// # Errors
    /// JSON of another shape, two objects or fields of one name, a key prefix that is not 3 letters or digits, a text
    /// field without length, or an external id that is not text.
    pub fn from_json(text: &str) -> anyhow::Result<Self> {
        let org: Self = serde_json::from_str(text)?;
        for (place, object) in org.objects.iter().enumerate() {
            let prefix = &object.key_prefix;
            ensure!(
                prefix.len() == 3 && prefix.bytes().all(|byte| byte.is_ascii_alphanumeric()),
                "object {}: key_prefix must be 3 letters or digits",
                object.name
            );
            for other in org.objects.iter().skip(place + 1) {
                let distinct = !other.name.eq_ignore_ascii_case(&object.name) && other.key_prefix != *prefix;
                ensure!(distinct, "object {}: its name or key_prefix is there twice", object.name);
            }
            check_fields(object)?;
        }
        Ok(org)
    }
}

fn check_fields(object: &ObjectType) -> anyhow::Result<()> {
    for (index, field) in object.fields.iter().enumerate() {
        let name = &field.name;
        if object.column(name) != Some(Column::Data(index))
            || SystemField::ALL.iter().any(|s| s.name().eq_ignore_ascii_case(name))
        {
            bail!("object {}: field {name} is there twice", object.name);
        }
        let sized = matches!(field.kind, FieldKind::Boolean | FieldKind::Date) || field.length > 0;
        ensure!(sized, "object {}: field {name} needs a length", object.name);
        let key_is_text = !field.external_id || field.kind == FieldKind::String;
        ensure!(key_is_text, "object {}: external id {name} must be a string", object.name);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_built_in_org_survives_its_own_json() {
        let org = Org::event_crm();
        let text = serde_json::to_string(&org).unwrap();
        let again = Org::from_json(&text).unwrap();
        assert_eq!(serde_json::to_string(&again).unwrap(), text);
        assert_eq!(org.objects[0].fields.len(), 19);
    }

    #[test]
    fn an_org_that_contradicts_itself_is_refused_with_the_field() {
        let mut org = Org::event_crm();
        org.objects[0].fields.push(Field::new("EMAIL", FieldKind::Email, 80));
        let error = Org::from_json(&serde_json::to_string(&org).unwrap()).unwrap_err();
        assert!(error.to_string().contains("EMAIL"), "{error}");
        let mut org = Org::event_crm();
        org.objects[0].key_prefix = "03".into();
        assert!(Org::from_json(&serde_json::to_string(&org).unwrap()).is_err());
        assert!(Org::from_json("[]").is_err());
    }
}
