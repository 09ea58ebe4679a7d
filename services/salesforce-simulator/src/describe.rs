//! `describe` of the REST API, from the org's data.

use serde_json::{Value as Json, json};

use crate::org::{Field, FieldKind, ObjectType, Org, SystemField};

/// `GET /sobjects`: the objects of the org.
#[must_use]
pub fn global(org: &Org, version: u32) -> Json {
    let objects: Vec<Json> = org.objects.iter().map(|object| head(object, version)).collect();
    json!({ "encoding": "UTF-8", "maxBatchSize": 200, "sobjects": objects })
}

/// `GET /sobjects/{object}/describe`.
#[must_use]
pub fn object(object: &ObjectType, version: u32) -> Json {
    let mut description = head(object, version);
    let system = SystemField::ALL.into_iter().map(system_field);
    let fields: Vec<Json> = system.chain(object.fields.iter().map(data_field)).collect();
    if let Some(map) = description.as_object_mut() {
        map.insert("fields".into(), fields.into());
        map.insert("recordTypeInfos".into(), json!([]));
        map.insert("childRelationships".into(), json!([]));
    }
    description
}

fn head(object: &ObjectType, version: u32) -> Json {
    let base = format!("/services/data/v{version}.0/sobjects/{}", object.name);
    json!({
        "name": object.name, "label": object.label, "labelPlural": format!("{}s", object.label),
        "keyPrefix": object.key_prefix, "custom": object.name.ends_with("__c"),
        "createable": true, "updateable": true, "deletable": true, "undeletable": true, "queryable": true,
        "retrieveable": true, "searchable": false, "mergeable": false, "triggerable": true,
        "urls": { "sobject": base, "describe": format!("{base}/describe"), "rowTemplate": format!("{base}/{{ID}}") },
    })
}

fn system_field(field: SystemField) -> Json {
    let (kind, length, soap) = match field {
        SystemField::Id => ("id", 18, "tns:ID"),
        SystemField::CreatedById | SystemField::LastModifiedById => ("reference", 18, "tns:ID"),
        SystemField::IsDeleted => ("boolean", 0, "xsd:boolean"),
        SystemField::CreatedDate | SystemField::LastModifiedDate | SystemField::SystemModstamp => {
            ("datetime", 0, "xsd:dateTime")
        }
    };
    json!({
        "name": field.name(), "label": field.name(), "type": kind, "soapType": soap, "length": length,
        "byteLength": length, "custom": false, "nillable": false, "createable": false, "updateable": false,
        "defaultedOnCreate": true, "unique": false, "externalId": false, "idLookup": field == SystemField::Id,
        "caseSensitive": false, "calculated": false, "filterable": true, "sortable": true,
        "restrictedPicklist": false, "picklistValues": [],
        "referenceTo": if kind == "reference" { json!(["User"]) } else { json!([]) },
    })
}

fn data_field(field: &Field) -> Json {
    let (kind, soap) = match field.kind {
        FieldKind::String => ("string", "xsd:string"),
        FieldKind::Email => ("email", "xsd:string"),
        FieldKind::Phone => ("phone", "xsd:string"),
        FieldKind::Boolean => ("boolean", "xsd:boolean"),
        FieldKind::Date => ("date", "xsd:date"),
        FieldKind::Picklist => ("picklist", "xsd:string"),
        FieldKind::Multipicklist => ("multipicklist", "xsd:string"),
    };
    let boolean = field.kind == FieldKind::Boolean;
    let values: Vec<Json> = field
        .values
        .iter()
        .map(|value| json!({ "active": true, "defaultValue": false, "label": value, "value": value, "validFor": null }))
        .collect();
    json!({
        "name": field.name, "label": field.label, "type": kind, "soapType": soap, "length": field.length,
        "byteLength": field.length.saturating_mul(3), "custom": field.is_custom(),
        "nillable": !field.required && !boolean, "createable": true, "updateable": true,
        "defaultedOnCreate": boolean, "unique": field.external_id, "externalId": field.external_id,
        "idLookup": field.external_id, "caseSensitive": false, "calculated": false, "filterable": true,
        "sortable": field.kind != FieldKind::Multipicklist, "restrictedPicklist": field.restricted,
        "picklistValues": values, "referenceTo": [],
    })
}
