//! Step 5: the IOC's CRM is connected; the first load sends what Alice's consents allow and writes down who stays.

use anyhow::{Context, Result, ensure};
use domain::Service;
use proto::crmsync::v1::{
    ActivateAgreementRequest, ApplyPlanRequest, CreateDestinationRequest, CreatePlanRequest, Delivery,
    GetRunRequest, ListDeliveriesOfProfileRequest, ProposeAgreementRequest, PublishMappingVersionRequest,
    ResumeDestinationRequest, Run, Salesforce, SaveMappingVersionRequest, TestDestinationRequest,
    agreement_service_client::AgreementServiceClient, destination_service_client::DestinationServiceClient,
    ledger_service_client::LedgerServiceClient, mapping_service_client::MappingServiceClient,
    run_service_client::RunServiceClient,
};
use serde_json::{Value, json};

use super::request_id;
use crate::{
    Moment, Walk, agreement,
    staff::{Channel, Staff},
    suite::{CRM_CLIENT_ID, CRM_USERNAME},
    until,
};

/// Alice, Bob, Chie, Daniel.
const PEOPLE: i64 = 4;
/// Fields of the org itself, and those that a ceased row keeps.
const SYSTEM: [&str; 7] = [
    "Id",
    "IsDeleted",
    "CreatedDate",
    "CreatedById",
    "LastModifiedDate",
    "LastModifiedById",
    "SystemModstamp",
];

pub async fn go(walk: &mut Walk<'_>) -> Result<Vec<String>> {
    walk.ids.destination = create_destination(walk).await?;
    let agreed = agree(walk).await?;
    let resume = ResumeDestinationRequest { destination_id: walk.ids.destination.clone() };
    let resumed = destinations(walk)?.resume_destination(resume).await?.into_inner().destination;
    ensure!(
        resumed.is_some_and(|destination| destination.state == "active"),
        "the destination is not active"
    );
    let planned = plan(walk).await?;
    let settled = apply(walk, &planned).await?;
    let counts = settled.counts.context("the run has no counts")?;
    ensure!(settled.state == "settled", "the run is {} {}", settled.state, settled.failure);
    ensure!((counts.delivered, counts.failed) == (1, 0), "the run counts {counts:?}");

    let contacts = walk.suite.crm().contacts().await?;
    ensure!(contacts.len() == 1, "the CRM holds {} contacts", contacts.len());
    check_contact(walk, &contacts[0])?;
    let dump = walk.suite.crm().dump().await?.to_string();
    ensure!(!dump.contains(walk.bob.address), "Bob's address is at the CRM");
    let of_alice = ledger_row(walk, &walk.ids.alice, "deliver").await?;
    let of_bob = ledger_row(walk, &walk.ids.bob, "withhold").await?;
    ensure!(of_bob.reason == "CONSENT_MISSING", "Bob is withheld for {}", of_bob.reason);

    let mut evidence = vec![
        agreed,
        format!(
            "run {} settled: {} of {} people delivered, {} withheld",
            settled.run_id, counts.delivered, counts.rows, counts.withheld
        ),
    ];
    evidence.extend(bulk_calls(walk).await?);
    evidence.push(format!("CRM row: {}", row(&contacts[0])));
    evidence.push(line("Alice", &of_alice));
    evidence.push(line("Bob", &of_bob));
    Ok(evidence)
}

fn channel(walk: &Walk<'_>, by: &Staff) -> Result<Channel> {
    by.channel(walk.suite, Service::CrmSync)
}

fn destinations(walk: &Walk<'_>) -> Result<DestinationServiceClient<Channel>> {
    Ok(DestinationServiceClient::new(channel(walk, &walk.daniel)?))
}

fn runs(walk: &Walk<'_>) -> Result<RunServiceClient<Channel>> {
    Ok(RunServiceClient::new(channel(walk, &walk.daniel)?))
}

async fn create_destination(walk: &Walk<'_>) -> Result<String> {
    let mut destinations = destinations(walk)?;
    let request = CreateDestinationRequest {
        request_id: request_id(),
        name: "ioc-crm".to_owned(),
        recipient: "ioc".to_owned(),
        salesforce: Some(Salesforce {
            login_url: walk.suite.addresses.crm_url(),
            client_id: CRM_CLIENT_ID.to_owned(),
            username: CRM_USERNAME.to_owned(),
            audience: String::new(),
        }),
        ..CreateDestinationRequest::default()
    };
    let destination = destinations.create_destination(request).await?.into_inner().destination;
    let destination_id = destination.context("no destination in the answer")?.destination_id;

    let mut mappings = MappingServiceClient::new(channel(walk, &walk.daniel)?);
    let request = SaveMappingVersionRequest {
        request_id: request_id(),
        destination_id: destination_id.clone(),
        built_in: "ioc_contact".to_owned(),
        fields: Vec::new(),
    };
    let saved = mappings.save_mapping_version(request).await?.into_inner().mapping_version;
    let mapping_version_id = saved.context("no mapping in the answer")?.mapping_version_id;
    mappings.publish_mapping_version(PublishMappingVersionRequest { mapping_version_id }).await?;

    let request = TestDestinationRequest { destination_id: destination_id.clone() };
    let findings = destinations.test_destination(request).await?.into_inner().findings;
    ensure!(findings.is_empty(), "the CRM's fields do not fit: {findings:?}");
    Ok(destination_id)
}

/// Daniel proposes, Chie activates: it takes two.
async fn agree(walk: &Walk<'_>) -> Result<String> {
    let request = ProposeAgreementRequest {
        request_id: request_id(),
        destination_id: walk.ids.destination.clone(),
        token: agreement::signed(&walk.suite.keys)?,
    };
    let mut by_daniel = AgreementServiceClient::new(channel(walk, &walk.daniel)?);
    let proposed = by_daniel.propose_agreement(request).await?.into_inner().agreement;
    let request = ActivateAgreementRequest {
        agreement_id: proposed.context("no agreement in the answer")?.agreement_id,
    };
    let alone = by_daniel.activate_agreement(request.clone()).await;
    ensure!(alone.is_err(), "one person proposed and activated an agreement");
    let mut by_chie = AgreementServiceClient::new(channel(walk, &walk.chie)?);
    let active = by_chie.activate_agreement(request).await?.into_inner().agreement;
    let active = active.context("no agreement in the answer")?;
    ensure!(
        active.state == "active" && active.proposed_by != active.activated_by,
        "the agreement is {active:?}"
    );
    Ok(format!(
        "agreement {} with {} sha256 {}, two signatures",
        active.agreement_id, active.recipient, active.sha256
    ))
}

/// A plan over everybody: facts may still be on their way to crm-sync.
async fn plan(walk: &Walk<'_>) -> Result<Run> {
    let mut runs = runs(walk)?;
    until("a plan over everybody", async || {
        let destination_id = walk.ids.destination.clone();
        let request = CreatePlanRequest { request_id: request_id(), destination_id };
        let run = runs.create_plan(request).await?.into_inner().run.context("no run in the answer")?;
        let plan = run.plan.clone().context("the run has no plan")?;
        ensure!(plan.people == PEOPLE, "the plan is over {} people", plan.people);
        ensure!(plan.creates + plan.unchanged == 1 && plan.withheld == PEOPLE - 1, "the plan is {plan:?}");
        Ok(Some(run))
    })
    .await
}

async fn apply(walk: &Walk<'_>, planned: &Run) -> Result<Run> {
    let mut runs = runs(walk)?;
    let plan_hash = planned.plan.as_ref().context("the run has no plan")?.hash.clone();
    runs.apply_plan(ApplyPlanRequest { run_id: planned.run_id.clone(), plan_hash }).await?;
    walk.at(Moment::LoadApplied).await?;
    until("the load to end", async || {
        let run = runs.get_run(GetRunRequest { run_id: planned.run_id.clone() }).await?.into_inner().run;
        Ok(run.filter(|run| run.ended_at.is_some()))
    })
    .await
}

fn check_contact(walk: &Walk<'_>, contact: &Value) -> Result<()> {
    let expected = json!({
        "Email": walk.alice.address, "Email_Language__c": "ja", "MailingCountryCode": "JP", "Birthdate": "1990-04-01",
        "Favourite_Olympic__c": "ATH;JUD", "Consent_Communication__c": true, "Direct_Marketing__c": false,
        // These need a consent to offers of partners, which she did not give.
        "FirstName": null, "LastName": "-", "Prefecture__c": null,
    });
    for (field, value) in expected.as_object().into_iter().flatten() {
        ensure!(&contact[field] == value, "{field} is {} at the CRM, not {value}", contact[field]);
    }
    Ok(())
}

/// The newest line of a person's ledger, as soon as it says this and has its outcome.
pub async fn ledger_row(walk: &Walk<'_>, profile_id: &str, verdict: &str) -> Result<Delivery> {
    let mut ledger = LedgerServiceClient::new(channel(walk, &walk.daniel)?);
    until(&format!("the ledger to say {verdict}"), async || {
        let request = ListDeliveriesOfProfileRequest { profile_id: profile_id.to_owned(), page_size: 0 };
        let lines = ledger.list_deliveries_of_profile(request).await?.into_inner().deliveries;
        let settled = ["none", "delivered"];
        let newest = lines.into_iter().next();
        Ok(newest.filter(|line| line.verdict == verdict && settled.contains(&line.outcome.as_str())))
    })
    .await
}

/// How the load spoke to the CRM: create the job, upload, close, poll, read the three results.
async fn bulk_calls(walk: &Walk<'_>) -> Result<Vec<String>> {
    let mut lines: Vec<String> = Vec::new();
    for (call, _) in walk.suite.crm().calls().await? {
        let (Some((method, _)), Some(at)) = (call.split_once(' '), call.find("/jobs/ingest")) else {
            continue;
        };
        let line = format!("{method} {}", &call[at..]);
        if lines.last() != Some(&line) {
            lines.push(line);
        }
    }
    let shown = |part: &str| lines.iter().any(|line| line.contains(part));
    for part in ["POST", "/batches", "PATCH", "/successfulResults", "/failedResults", "/unprocessedrecords"] {
        ensure!(shown(part), "the load made no call {part}: {lines:?}");
    }
    Ok(lines.into_iter().map(|line| format!("CRM call: {line}")).collect())
}

/// A row of the CRM without the org's own fields and without empty ones.
pub fn row(contact: &Value) -> String {
    let fields = contact.as_object().into_iter().flatten();
    let shown = fields.filter(|(name, value)| !SYSTEM.contains(&name.as_str()) && !value.is_null());
    shown.map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>().join(" ")
}

/// Whether nothing but the key, the flags that are off and what the org requires is left of a row.
pub fn is_ceased(contact: &Value) -> bool {
    let kept = ["Kotinos_Id__c", "LastName", "Consent_Communication__c", "Direct_Marketing__c"];
    let fields = contact.as_object().into_iter().flatten();
    let mut rest =
        fields.filter(|(name, _)| !SYSTEM.contains(&name.as_str()) && !kept.contains(&name.as_str()));
    contact["Consent_Communication__c"] == json!(false) && rest.all(|(_, value)| value.is_null())
}

/// A line of the ledger for people.
pub fn line(who: &str, delivery: &Delivery) -> String {
    let Delivery { lane, verdict, reason, outcome, decision_id, sent, cleared, .. } = delivery;
    let reason = if reason.is_empty() { String::new() } else { format!(" {reason}") };
    format!(
        "ledger of {who}: {lane} {verdict}{reason} -> {outcome}, sent [{}], cleared {}, decision {decision_id}",
        sent.join(" "),
        cleared.len()
    )
}
