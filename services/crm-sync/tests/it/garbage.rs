//! Wrong, oversized and hostile input to every RPC: named in the answer, and nothing is written.

use proto::crmsync::v1 as crm;
use tonic::Code;

use crate::{agreements::id, world::World};

const HOSTILE: [&str; 6] = [
    "",
    "42",
    "'; drop table crmsync.delivery; --",
    "../../etc/passwd",
    "\u{0}\u{feff}",
    "00000000-0000-0000-0000-00000000000g",
];

#[tokio::test]
async fn every_id_is_checked() {
    let world = World::bare().await;
    let (chie, long) = (world.chie, "x".repeat(100_000));
    for text in HOSTILE.into_iter().chain([long.as_str()]) {
        let text = || text.to_owned();
        let (mut destinations, mut mappings) = (world.destinations(), world.mappings());
        let (mut agreements, mut runs, mut ledger) =
            (world.agreements_as(chie), world.runs(), world.ledger());
        let answers = [
            destinations.get_destination(crm::GetDestinationRequest { destination_id: text() }).await.err(),
            destinations.test_destination(crm::TestDestinationRequest { destination_id: text() }).await.err(),
            destinations
                .pause_destination(crm::PauseDestinationRequest { destination_id: text() })
                .await
                .err(),
            destinations
                .resume_destination(crm::ResumeDestinationRequest { destination_id: text() })
                .await
                .err(),
            mappings
                .publish_mapping_version(crm::PublishMappingVersionRequest { mapping_version_id: text() })
                .await
                .err(),
            mappings
                .get_mapping_version(crm::GetMappingVersionRequest { mapping_version_id: text() })
                .await
                .err(),
            agreements.activate_agreement(crm::ActivateAgreementRequest { agreement_id: text() }).await.err(),
            agreements.suspend_agreement(crm::SuspendAgreementRequest { agreement_id: text() }).await.err(),
            agreements.get_agreement(crm::GetAgreementRequest { agreement_id: text() }).await.err(),
            runs.create_plan(crm::CreatePlanRequest { request_id: id(), destination_id: text() }).await.err(),
            runs.create_plan(crm::CreatePlanRequest { request_id: text(), destination_id: id() }).await.err(),
            runs.apply_plan(crm::ApplyPlanRequest { run_id: text(), plan_hash: "0".repeat(64) }).await.err(),
            runs.apply_plan(crm::ApplyPlanRequest { run_id: id(), plan_hash: text() }).await.err(),
            runs.get_run(crm::GetRunRequest { run_id: text() }).await.err(),
            runs.list_failures(crm::ListFailuresRequest { run_id: text(), page_size: 0 }).await.err(),
            ledger.get_decision(crm::GetDecisionRequest { decision_id: text() }).await.err(),
            ledger
                .list_deliveries_of_profile(crm::ListDeliveriesOfProfileRequest {
                    profile_id: text(),
                    page_size: 0,
                })
                .await
                .err(),
        ];
        for (place, answer) in answers.into_iter().enumerate() {
            assert_eq!(answer.map(|status| status.code()), Some(Code::InvalidArgument), "call {place}");
        }
    }
}

#[tokio::test]
async fn what_does_not_exist_is_not_found() {
    let world = World::bare().await;
    let (chie, mut destinations) = (world.chie, world.destinations());
    let answers = [
        destinations.get_destination(crm::GetDestinationRequest { destination_id: id() }).await.err(),
        destinations.pause_destination(crm::PauseDestinationRequest { destination_id: id() }).await.err(),
        world
            .mappings()
            .publish_mapping_version(crm::PublishMappingVersionRequest { mapping_version_id: id() })
            .await
            .err(),
        world
            .agreements_as(chie)
            .activate_agreement(crm::ActivateAgreementRequest { agreement_id: id() })
            .await
            .err(),
        world
            .runs()
            .create_plan(crm::CreatePlanRequest { request_id: id(), destination_id: id() })
            .await
            .err(),
        world.runs().get_run(crm::GetRunRequest { run_id: id() }).await.err(),
        world.ledger().get_decision(crm::GetDecisionRequest { decision_id: "0".repeat(32) }).await.err(),
    ];
    for (place, answer) in answers.into_iter().enumerate() {
        assert_eq!(answer.map(|status| status.code()), Some(Code::NotFound), "call {place}");
    }
}

#[tokio::test]
async fn a_destination_of_hostile_settings_is_refused_and_not_kept() {
    let world = World::bare().await;
    let changes: [fn(&mut crm::CreateDestinationRequest); 9] = [
        |request| request.name = "IOC".to_owned(),
        |request| request.name = "x".repeat(41),
        |request| request.recipient = "ioc\r\nx".to_owned(),
        |request| request.object = "Contact/../User".to_owned(),
        |request| request.match_key_field = "a,b".to_owned(),
        |request| request.salesforce = None,
        |request| request.salesforce.as_mut().unwrap().login_url = "file:///etc/passwd".to_owned(),
        |request| request.salesforce.as_mut().unwrap().login_url = "https://a@evil.example/x?y".to_owned(),
        |request| request.salesforce.as_mut().unwrap().client_id = "a\r\nb".to_owned(),
    ];
    for (place, change) in changes.into_iter().enumerate() {
        let mut request = world.destination();
        change(&mut request);
        let refused = world.destinations().create_destination(request).await.unwrap_err();
        assert_eq!(refused.code(), Code::InvalidArgument, "change {place}");
    }
    let kept: i64 = world.sql("select count(*) from crmsync.destination").await;
    assert_eq!(kept, 0);
}

#[tokio::test]
async fn a_mapping_of_hostile_fields_is_refused_and_not_kept() {
    let mut world = World::bare().await;
    world.create_destination().await;
    let key = crm::FieldMapping {
        target: "Kotinos_Id__c".to_owned(),
        source: Some(crm::field_mapping::Source::Computed("match_key".to_owned())),
        null_policy: "keep".to_owned(),
        ..Default::default()
    };
    let with = |change: fn(&mut crm::FieldMapping)| {
        let mut field = key.clone();
        change(&mut field);
        vec![key.clone(), field]
    };
    let computed = |name: &str| Some(crm::field_mapping::Source::Computed(name.to_owned()));
    let mut unknown = key.clone();
    unknown.source = computed("shell:ls");
    for (place, fields) in [
        vec![],
        vec![key.clone(); 61],
        vec![unknown],
        with(|field| field.target = "a,b\n".to_owned()),
        with(|field| field.source = None),
        with(|field| field.null_policy = "drop".to_owned()),
        with(|field| field.conversion = "eval".to_owned()),
        with(|field| field.max_length = u32::MAX),
        with(|field| field.placeholder = "#N/A".to_owned()),
    ]
    .into_iter()
    .enumerate()
    {
        let destination_id = world.destination_id.clone();
        let request =
            crm::SaveMappingVersionRequest { request_id: id(), destination_id, fields, ..Default::default() };
        let refused = world.mappings().save_mapping_version(request).await.unwrap_err();
        assert_eq!(refused.code(), Code::InvalidArgument, "mapping {place}");
    }
    let kept: i64 = world.sql("select count(*) from crmsync.mapping_version").await;
    assert_eq!(kept, 0);
}
