//! The shipped mapping to the IOC's CRM: the seventeen columns, and two more for addresses that Salesforce refuses.

use domain::{ConsentKey, Purpose};

use super::{Computed, Conversion, FieldMapping, Mapping, NullPolicy, Source, Wrong};

/// Its name.
pub const NAME: &str = "ioc_contact";
const RECIPIENT: &str = "ioc";

/// The mapping. Lengths are those of the recipient's fields.
///
/// # Errors
/// None: what is written here keeps the rules, and a test says so.
pub fn mapping() -> Result<Mapping, Wrong> {
    use Computed::{Email, EmailClass, EmailRaw, Locale, MatchKey};
    use NullPolicy::{Clear, Keep};
    let key = |purpose, recipient| ConsentKey::new(purpose, recipient);
    let (Ok(newsletter), Ok(offers)) =
        (key(Purpose::IocNewsletter, ""), key(Purpose::PartnerOffers, RECIPIENT))
    else {
        return Err(Wrong { field: "fields".to_owned(), rule: "must name purposes" });
    };
    let text = |target, name, length| field(target, Source::Trait(name), Conversion::None, length, Clear);
    let made =
        |target, computed, length| field(target, Source::Computed(computed), Conversion::None, length, Clear);
    let flag =
        |target, key| field(target, Source::Computed(Computed::Consent(key)), Conversion::Flag, 5, Keep);
    let join = |target, name| field(target, Source::Trait(name), Conversion::Join, 4_099, Clear);
    let owned = str::to_owned;
    Mapping::new(vec![
        made("Kotinos_Id__c", MatchKey, 64),
        made("Email", Email, 80),
        made("Email_Raw__c", EmailRaw, 255),
        made("Email_Class__c", EmailClass, 255),
        text("FirstName", owned("given_name"), 40),
        FieldMapping { placeholder: Some("-".to_owned()), ..text("LastName", owned("family_name"), 80) },
        field("Birthdate", Source::Trait(owned("birth_date")), Conversion::Date, 10, Clear),
        text("MailingPostalCode", owned("postal_code"), 20),
        text("Prefecture__c", owned("prefecture"), 80),
        text("Address_1__c", owned("address_1"), 255),
        text("Address_2__c", owned("address_2"), 255),
        text("Phone", owned("phone"), 40),
        text("Gender__c", owned("gender"), 255),
        field("MailingCountryCode", Source::Trait(owned("country")), Conversion::None, 255, Keep),
        flag("Consent_Communication__c", newsletter),
        field("Email_Language__c", Source::Computed(Locale), Conversion::None, 255, Keep),
        join("Favourite_Olympic__c", owned("favourite_olympic_sports")),
        join("Favourite_Paralympic__c", owned("favourite_paralympic_sports")),
        flag("Direct_Marketing__c", offers),
    ])
}

fn field(
    target: &str,
    source: Source,
    conversion: Conversion,
    max_length: usize,
    null_policy: NullPolicy,
) -> FieldMapping {
    FieldMapping { target: target.to_owned(), source, conversion, max_length, null_policy, placeholder: None }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_shipped_mapping_keeps_the_rules() {
        let mapping = mapping().unwrap();
        assert_eq!(mapping.fields().len(), 19);
        assert_eq!(mapping.fields()[mapping.key()].target, "Kotinos_Id__c");
    }
}
