//! Domain types onto the wire.

use domain::{ConsentKey, Uuid};
use proto::crmsync::v1::{self as wire, field_mapping};

use crate::{
    agreement::Agreement,
    delivery::Line,
    destination::Destination,
    events::{hex, run_counts, timestamp},
    mapping::{FieldMapping, Source},
    run::{Plan, Run},
    salesforce::Finding,
    store::{Failed, Version},
};

pub fn destination(destination: &Destination) -> wire::Destination {
    let (object, salesforce) = (&destination.object, &destination.salesforce);
    wire::Destination {
        destination_id: destination.destination_id.to_string(),
        name: destination.name.clone(),
        recipient: destination.recipient.clone(),
        state: destination.state.name().to_owned(),
        salesforce: Some(wire::Salesforce {
            login_url: salesforce.login_url.clone(),
            client_id: salesforce.client_id.clone(),
            username: salesforce.username.clone(),
            audience: salesforce.audience.clone(),
        }),
        object: Some(wire::DestinationObject {
            object_id: object.object_id.to_string(),
            object: object.name.clone(),
            match_key_field: object.match_key_field.clone(),
            sync_mode: "upsert".to_owned(),
            on_cease: "suppress".to_owned(),
            agreement_id: optional(object.agreement_id),
            mapping_version_id: optional(object.mapping_version_id),
        }),
        version: destination.version,
        changed_at: Some(timestamp(destination.changed_at)),
    }
}

pub fn finding(finding: &Finding) -> wire::Finding {
    wire::Finding { field: finding.field.clone(), code: finding.code.to_owned() }
}

pub fn mapping_version(version: &Version) -> wire::MappingVersion {
    wire::MappingVersion {
        mapping_version_id: version.mapping_version_id.to_string(),
        destination_id: version.destination_id.to_string(),
        number: u32::try_from(version.number).unwrap_or_default(),
        state: if version.published { "published" } else { "draft" }.to_owned(),
        sha256: hex(version.mapping.sha256()),
        fields: version.mapping.fields().iter().map(field).collect(),
    }
}

fn field(field: &FieldMapping) -> wire::FieldMapping {
    let source = match field.source.clone() {
        Source::Trait(name) => field_mapping::Source::Trait(name),
        Source::Computed(computed) => field_mapping::Source::Computed(computed.into()),
        Source::Constant(text) => field_mapping::Source::Constant(text),
    };
    wire::FieldMapping {
        target: field.target.clone(),
        source: Some(source),
        conversion: field.conversion.name().to_owned(),
        max_length: u32::try_from(field.max_length).unwrap_or(u32::MAX),
        null_policy: field.null_policy.name().to_owned(),
        placeholder: field.placeholder.clone().unwrap_or_default(),
    }
}

pub fn agreement((destination_id, agreement): &(Uuid, Agreement)) -> wire::Agreement {
    let claims = &agreement.claims;
    let names = |keys: &[ConsentKey]| keys.iter().map(ToString::to_string).collect();
    let fields = claims.fields.iter();
    let field = |(target, keys): (&String, &Vec<ConsentKey>)| wire::AgreedField {
        target: target.clone(),
        purposes: names(keys),
    };
    wire::Agreement {
        agreement_id: claims.agreement_id.to_string(),
        destination_id: destination_id.to_string(),
        recipient: claims.recipient.clone(),
        state: agreement.state.name().to_owned(),
        purposes: names(&claims.purposes),
        fields: fields.map(field).collect(),
        legal_basis: claims.legal_basis.name().to_owned(),
        not_before: Some(timestamp(claims.not_before)),
        not_after: Some(timestamp(claims.not_after)),
        proposed_by: agreement.proposed_by.clone(),
        activated_by: agreement.activated_by.clone().unwrap_or_default(),
        sha256: hex(&agreement.sha256),
    }
}

pub fn run(run: &Run) -> wire::Run {
    wire::Run {
        run_id: run.run_id.to_string(),
        destination_id: run.destination_id.to_string(),
        object_id: run.object_id.to_string(),
        state: run.state.name().to_owned(),
        plan: Some(plan(&run.plan)),
        counts: Some(run_counts(run.counts)),
        created_at: Some(timestamp(run.created_at)),
        ended_at: run.ended_at.map(timestamp),
        failure: run.failure.clone().unwrap_or_default(),
    }
}

fn plan(plan: &Plan) -> wire::Plan {
    let reason =
        |(reason, people): (&String, &i64)| wire::ReasonCount { reason: reason.clone(), people: *people };
    let targets = plan.sent.keys().chain(plan.cleared.keys().filter(|name| !plan.sent.contains_key(*name)));
    let count = |name: &String| wire::FieldCount {
        target: name.clone(),
        sent: plan.sent.get(name).copied().unwrap_or_default(),
        cleared: plan.cleared.get(name).copied().unwrap_or_default(),
    };
    wire::Plan {
        hash: plan.hash.clone(),
        cutoff: Some(timestamp(plan.cutoff)),
        people: plan.people,
        creates: plan.creates,
        changes: plan.changes,
        unchanged: plan.unchanged,
        ceases: plan.ceased.values().sum(),
        withheld: plan.withheld.values().sum(),
        unfit: plan.unfit.iter().map(reason).collect(),
        withheld_by_reason: plan.withheld.iter().map(reason).collect(),
        ceased_by_reason: plan.ceased.iter().map(reason).collect(),
        fields: targets.map(count).collect(),
    }
}

pub fn failure(failed: &Failed) -> wire::DeliveryFailure {
    wire::DeliveryFailure {
        profile_id: failed.profile_id.to_string(),
        decision_id: hex(&failed.decision_id),
        class: failed.class.clone(),
        code: failed.code.clone(),
        fields: failed.fields.clone(),
        at: Some(timestamp(failed.at)),
    }
}

pub fn delivery(line: &Line) -> wire::Delivery {
    wire::Delivery {
        profile_id: line.profile_id.to_string(),
        destination_id: line.destination_id.to_string(),
        lane: line.lane.clone(),
        chunk_id: optional(line.chunk_id),
        run_id: optional(line.run_id),
        verdict: line.verdict.clone(),
        reason: line.reason.clone(),
        permitted: line.permitted.clone(),
        sent: line.sent.clone(),
        cleared: line.cleared.clone(),
        profile_version: line.profile_version,
        consent_version: line.consent_version,
        agreement_id: optional(line.agreement_id),
        mapping_version_id: line.mapping_version_id.to_string(),
        decision_id: hex(&line.decision_id),
        outcome: line.outcome.clone(),
        at: Some(timestamp(line.at)),
        settled_at: line.settled_at.map(timestamp),
    }
}

fn optional(id: Option<Uuid>) -> String {
    id.map(|id| id.to_string()).unwrap_or_default()
}
