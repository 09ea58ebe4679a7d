use domain::{ProfileId, Service, TimeDelta};
use prost::Message;
use proto::mailer::v1::{
    CancelCampaignRequest, CreateCampaignRequest, MessageOutcomes, PauseCampaignRequest,
    ResumeCampaignRequest, ScheduleCampaignRequest,
};

use crate::world::{ALICE_ON_THE_WIRE, BOB, DEADLINE, World, alice, bob, chie};

#[tokio::test]
async fn a_campaign_reaches_those_who_consented_in_their_language_and_nobody_else() {
    let world = World::start().await;
    world.sender().await;
    let (alice, bob, chie) =
        (world.person(&alice()).await, world.person(&bob()).await, world.person(&chie()).await);
    let campaign_id = world.send_all(&[alice, bob, chie]).await;

    let mails = world.sink.mails();
    assert_eq!(mails.len(), 2);
    let to_alice = mails.iter().find(|mail| mail.is_to(ALICE_ON_THE_WIRE)).unwrap();
    let to_bob = mails.iter().find(|mail| mail.is_to(BOB)).unwrap();
    assert_eq!(to_alice.subject(), "7月のお知らせ アリス");
    assert_eq!(to_bob.subject(), "Nouvelles de juillet Bob");
    assert_eq!(to_alice.from, b"news@committee.example");
    assert!(to_alice.header("list-unsubscribe").starts_with("<https://mail.committee.example/u/"));
    assert_eq!(to_alice.header("list-unsubscribe-post"), "List-Unsubscribe=One-Click");
    assert!(to_alice.text().contains("東京都中央区") && to_bob.text().contains("Comité, Tokyo"));

    // Alice permits tracking, Bob does not.
    assert_eq!(to_alice.html().matches("https://mail.committee.example/c/").count(), 2);
    assert!(!to_alice.html().contains("games.example") && to_alice.html().contains(".gif"));
    assert!(to_bob.html().contains("https://games.example/fr/tickets?a=1&amp;b=2"));
    assert!(!to_bob.html().contains("/c/") && !to_bob.html().contains(".gif"));

    let skipped = world.row(&campaign_id, chie, "skipped").await;
    assert_eq!(skipped.reason, "no_consent");
    let accepted = world.row(&campaign_id, alice, "accepted").await;
    assert_eq!((accepted.relay_code, accepted.language.as_str()), (250, "ja"));
    assert_eq!(accepted.message_id, format!("<{}>", to_alice.message_id));
    assert!(!accepted.consent_record_id.is_empty());
    let report = world.report(&campaign_id).await;
    assert_eq!((report.frozen, report.sent, report.accepted, report.tracked), (3, 2, 2, 1));
    assert_eq!(report.skipped.get("no_consent"), Some(&1));
    assert_eq!(world.campaign(&campaign_id).await.freeze_hash, "00".repeat(32));
    assert_eq!(world.peers.freezes()[0].purpose, "committee_newsletter");
}

#[tokio::test]
async fn outcomes_and_states_become_facts_without_personal_data() {
    let world = World::start().await;
    world.sender().await;
    let (alice, chie) = (world.person(&alice()).await, world.person(&chie()).await);
    let campaign_id = world.send_all(&[alice, chie]).await;
    let rows = testkit::records_in_outbox(&world.app.pool, Service::Mailer).await;
    let mut outcomes = Vec::new();
    for row in rows.iter().filter(|row| row.topic == "kotinos.mailer.message.v1") {
        let payload = row.payload.clone().unwrap();
        assert!(!String::from_utf8_lossy(&payload).contains("docomo"));
        let batch = MessageOutcomes::decode(payload.as_slice()).unwrap();
        assert_eq!(
            (batch.campaign_id.as_str(), row.key.as_str()),
            (campaign_id.as_str(), campaign_id.as_str())
        );
        outcomes.extend(
            batch.outcomes.into_iter().map(|outcome| (outcome.profile_id, outcome.outcome, outcome.code)),
        );
    }
    outcomes.sort();
    let mut expected = vec![
        (alice.to_string(), "accepted".to_owned(), "2.0.0".to_owned()),
        (chie.to_string(), "skipped".to_owned(), "no_consent".to_owned()),
    ];
    expected.sort();
    assert_eq!(outcomes, expected);
    let states: Vec<&str> = rows
        .iter()
        .filter(|row| row.topic == "kotinos.mailer.campaign.v1")
        .map(|row| row.fact_type.as_str())
        .collect();
    assert_eq!(states, ["CampaignScheduled", "CampaignStarted", "CampaignFinished"]);
}

#[tokio::test]
async fn a_consent_that_is_withdrawn_after_the_freeze_stops_the_mail() {
    let world = World::start().await;
    world.sender().await;
    let alice = world.person(&alice()).await;
    world.consent(alice, "committee_newsletter", "withdrawn").await;
    let campaign_id = world.send_all(&[alice]).await;
    assert_eq!(world.row(&campaign_id, alice, "skipped").await.reason, "consent_withdrawn");
    assert!(world.sink.mails().is_empty());
}

#[tokio::test]
async fn a_person_whose_facts_come_late_is_waited_for_and_a_stranger_is_not_for_ever() {
    let world = World::start().await;
    world.sender().await;
    let (early, late, stranger) = (world.person(&bob()).await, ProfileId::new(), ProfileId::new());
    let campaign_id = world.send(&[early, late, stranger], "at_least_once").await;
    world.row(&campaign_id, early, "accepted").await;
    crate::world::seed(&world.app.pool, late, &alice()).await;
    world.row(&campaign_id, late, "accepted").await;
    assert_eq!(world.campaign(&campaign_id).await.state, "sending");
    world.advance(TimeDelta::seconds(61));
    assert_eq!(world.row(&campaign_id, stranger, "skipped").await.reason, "unknown_recipient");
    world.reaches(&campaign_id, "finished").await;
}

#[tokio::test]
async fn a_campaign_waits_for_its_time_and_stands_still_while_paused() {
    let world = World::start().await;
    world.sender().await;
    let bob = world.person(&bob()).await;
    world.peers.set_people(&[bob]);
    let campaign_id = world.draft("at_least_once").await.campaign_id;
    let at = world.app.clock.now() + TimeDelta::hours(1);
    let request = ScheduleCampaignRequest {
        campaign_id: campaign_id.clone(),
        expected_version: 1,
        send_at: Some(prost_types::Timestamp { seconds: at.timestamp(), nanos: 0 }),
    };
    world.campaigns().schedule_campaign(request.clone()).await.unwrap();
    let stale = world.campaigns().schedule_campaign(request).await.unwrap_err();
    assert_eq!(stale.code(), tonic::Code::FailedPrecondition, "{stale}");
    // Something else goes all the way meanwhile, and this one stays.
    world.send_all(&[]).await;
    assert_eq!(world.campaign(&campaign_id).await.state, "scheduled");
    world.peers.set_people(&[bob]);
    world.sink.refuse(BOB, "451 4.7.1 later", 1);
    world.advance(TimeDelta::hours(1));
    world.row(&campaign_id, bob, "deferred").await;
    let pause = PauseCampaignRequest { campaign_id: campaign_id.clone() };
    world.campaigns().pause_campaign(pause).await.unwrap();
    world.advance(TimeDelta::hours(1));
    world.send_all(&[]).await;
    assert!(world.sink.mails().is_empty());
    let resume = ResumeCampaignRequest { campaign_id: campaign_id.clone() };
    world.campaigns().resume_campaign(resume).await.unwrap();
    world.reaches(&campaign_id, "finished").await;
    assert_eq!(world.sink.mails().len(), 1);
}

#[tokio::test]
async fn a_cancelled_campaign_sends_nothing_more_and_says_so_in_the_ledger() {
    let world = World::start().await;
    world.sender().await;
    let bob = world.person(&bob()).await;
    world.sink.refuse(BOB, "451 4.7.1 later", 9);
    let campaign_id = world.send(&[bob], "at_least_once").await;
    world.row(&campaign_id, bob, "deferred").await;
    let cancel = CancelCampaignRequest { campaign_id: campaign_id.clone() };
    world.campaigns().cancel_campaign(cancel).await.unwrap();
    assert_eq!(world.row(&campaign_id, bob, "skipped").await.reason, "cancelled");
    let again = ScheduleCampaignRequest { campaign_id, ..ScheduleCampaignRequest::default() };
    let refused = world.campaigns().schedule_campaign(again).await.unwrap_err();
    assert_eq!(refused.code(), tonic::Code::FailedPrecondition);
}

#[tokio::test]
async fn a_freeze_that_segmentation_refuses_cancels_the_campaign_with_the_reason() {
    let world = World::start().await;
    world.sender().await;
    world.peers.refuse_freezes();
    let campaign_id = world.send(&[], "at_least_once").await;
    let campaign = world.reaches(&campaign_id, "cancelled").await;
    assert!(campaign.cancel_reason.starts_with("freeze refused: "), "{}", campaign.cancel_reason);
}

#[tokio::test]
async fn the_same_request_makes_one_campaign_and_another_body_is_refused() {
    let world = World::start().await;
    world.sender().await;
    let draft = world.draft("at_most_once").await;
    let request = CreateCampaignRequest {
        request_id: domain::new_id().to_string(),
        name: "August".to_owned(),
        sender_key: draft.sender_key,
        segment_id: draft.segment_id,
        template_id: draft.template_id,
        template_version: draft.template_version,
        class: "sales".to_owned(),
        delivery: "at_most_once".to_owned(),
    };
    let first = world.campaigns().create_campaign(request.clone()).await.unwrap().into_inner();
    let second = world.campaigns().create_campaign(request.clone()).await.unwrap().into_inner();
    assert_eq!(first, second);
    let other = CreateCampaignRequest { name: "September".to_owned(), ..request };
    let refused = world.campaigns().create_campaign(other).await.unwrap_err();
    assert_eq!(refused.code(), tonic::Code::FailedPrecondition);
}

#[tokio::test]
async fn many_people_get_one_mail_each_over_few_connections() {
    let world = World::start().await;
    world.sender().await;
    let mut people = Vec::new();
    for _ in 0..100 {
        people.push(world.person(&bob()).await);
    }
    let campaign_id = world.send_all(&people).await;
    world.sink.wait_for(|mail| mail.is_to(BOB), DEADLINE).await;
    let mut ids: Vec<String> = world.sink.mails().into_iter().map(|mail| mail.message_id).collect();
    ids.sort();
    ids.dedup();
    assert_eq!((ids.len(), world.sink.mails().len()), (100, 100));
    assert_eq!(world.report(&campaign_id).await.accepted, 100);
    assert!(world.sink.connections() <= 12, "{}", world.sink.connections());
}
