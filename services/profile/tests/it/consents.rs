//! The ledger of a person's answers.

use domain::{DateTime, TimeDelta, Utc};
use prost::Message;
use prost_types::Timestamp;
use proto::profile::v1::{
    CheckConsentsRequest, ConsentAnswer, ConsentHead, ConsentState, GetConsentsRequest,
    ListConsentRecordsRequest, ListNoticesRequest, PublishNoticeRequest,
};
use tonic::Code;

use crate::world::{CONSENTS, World, alice, answering, bob, fields, gives, notice, reason, says};

fn on_the_wire(at: DateTime<Utc>) -> Option<Timestamp> {
    Some(Timestamp { seconds: at.timestamp(), nanos: at.timestamp_subsec_nanos().cast_signed() })
}

async fn heads(world: &World, profile_id: &str) -> Vec<ConsentHead> {
    let request = GetConsentsRequest { profile_id: profile_id.to_owned() };
    world.consents().get_consents(request).await.unwrap().into_inner().heads
}

/// Which of these people permit a purpose at a time; now, when none is named.
async fn permitted(world: &World, ids: &[&str], purpose: &str, at: Option<DateTime<Utc>>) -> Vec<String> {
    let request = CheckConsentsRequest {
        profile_ids: ids.iter().map(|id| (*id).to_owned()).collect(),
        purpose: purpose.to_owned(),
        recipient: String::new(),
        at: at.and_then(on_the_wire),
    };
    world.consents().check_consents(request).await.unwrap().into_inner().permitted_profile_ids
}

#[tokio::test]
async fn a_given_consent_is_a_record_with_purpose_notice_version_and_time() {
    let world = World::start().await;
    let alice = alice();
    let profile_id = world.follow(&alice).await.profile_id;
    world.notice("committee_newsletter", "ja", 1).await;
    let second = world.notice("committee_newsletter", "ja", 2).await;
    let answer = ConsentAnswer { notice_version: 2, ..gives("committee_newsletter") };
    let records = world.record(&alice, &profile_id, &[answer]).await.unwrap();

    let now = world.app.clock.now();
    let [record] = records.as_slice() else { panic!("{records:?}") };
    assert_eq!((record.purpose.as_str(), record.status.as_str()), ("committee_newsletter", "given"));
    let shown = record.notice.as_ref().unwrap();
    assert_eq!((shown.version, shown.language.as_str(), &shown.sha256), (2, "ja", &second.sha256));
    assert_eq!(record.at, on_the_wire(now));
    assert_eq!(record.valid_until, on_the_wire(now + TimeDelta::days(730)));
    assert_eq!((record.controller.as_str(), record.lawful_basis.as_str()), ("committee", "consent"));
    assert_eq!(record.method, "portal /account/consents");
    assert!(!record.client_id.is_empty());

    let request = ListConsentRecordsRequest { profile_id: profile_id.clone(), page_size: 0 };
    let listed = world.consents_as(&alice).list_consent_records(request).await.unwrap().into_inner();
    assert_eq!(listed.records, records);

    let told = world.told(CONSENTS).await;
    assert_eq!(told.len(), 1, "{told:?}");
    assert_eq!((told[0].fact_type.as_str(), told[0].version), ("ConsentGiven", 1));
    assert_eq!(told[0].key, profile_id);
    let state = ConsentState::decode(told[0].payload.as_deref().unwrap()).unwrap();
    assert_eq!((state.profile_id.as_str(), state.version), (profile_id.as_str(), 1));
    assert_eq!(state.heads, heads(&world, &profile_id).await);
    assert_eq!(state.heads[0].record_id, record.record_id);
    assert_eq!(state.changed, records);
    world.app.stop().await;
}

#[tokio::test]
async fn a_yes_needs_the_published_words_that_were_shown() {
    let world = World::start().await;
    let alice = alice();
    let profile_id = world.follow(&alice).await.profile_id;
    world.notice("profiling", "ja", 1).await;
    world.notice("committee_newsletter", "ja", 1).await;

    let bare = world.record(&alice, &profile_id, &[says("profiling", "given")]).await.unwrap_err();
    assert_eq!(
        (bare.code(), fields(&bare)),
        (Code::InvalidArgument, vec!["answers[0].notice_version".to_owned()])
    );
    let unpublished = [
        ConsentAnswer { notice_version: 2, ..gives("profiling") },
        ConsentAnswer { notice_language: "fr".to_owned(), ..gives("profiling") },
        gives("open_tracking"),
    ];
    for answer in unpublished {
        // A right answer beside a wrong one is not recorded either.
        let both = [gives("committee_newsletter"), answer];
        let refused = world.record(&alice, &profile_id, &both).await.unwrap_err();
        assert_eq!(
            (refused.code(), reason(&refused).as_str()),
            (Code::FailedPrecondition, "NOTICE_NOT_PUBLISHED")
        );
    }
    assert_eq!(heads(&world, &profile_id).await, []);
    assert_eq!(world.count("consent_record").await, 0);
    assert_eq!(world.told(CONSENTS).await.len(), 0);
    world.app.stop().await;
}

#[tokio::test]
async fn a_withdrawal_is_always_taken_and_touches_its_own_purpose_only() {
    let world = World::start().await;
    let alice = alice();
    let profile_id = world.follow(&alice).await.profile_id;
    for purpose in ["committee_newsletter", "profiling"] {
        world.notice(purpose, "ja", 1).await;
    }
    let both = [gives("committee_newsletter"), gives("profiling")];
    assert_eq!(world.record(&alice, &profile_id, &both).await.unwrap().len(), 2);
    // A no to what was given is a withdrawal, and a withdrawal of what was never given is taken all the same.
    let no = [says("committee_newsletter", "refused"), says("open_tracking", "withdrawn")];
    let records = world.record(&alice, &profile_id, &no).await.unwrap();
    let statuses: Vec<&str> = records.iter().map(|record| record.status.as_str()).collect();
    assert_eq!(statuses, ["withdrawn", "withdrawn"]);
    assert!(records.iter().all(|record| record.notice.is_none() && record.valid_until.is_none()));
    assert_eq!(world.record(&alice, &profile_id, &no[1..]).await.unwrap(), [], "a repeat adds no line");

    let heads = heads(&world, &profile_id).await;
    let heads: Vec<_> = heads.iter().map(|head| (head.purpose.as_str(), head.status.as_str())).collect();
    let expected =
        [("committee_newsletter", "withdrawn"), ("open_tracking", "withdrawn"), ("profiling", "given")];
    assert_eq!(heads, expected);
    let told = world.told(CONSENTS).await;
    let told: Vec<_> = told.iter().map(|row| (row.fact_type.as_str(), row.version)).collect();
    assert_eq!(told, [("ConsentGiven", 1), ("ConsentWithdrawn", 2)]);
    world.app.stop().await;
}

#[tokio::test]
async fn the_same_answers_again_have_one_effect_and_others_under_their_id_are_refused() {
    let world = World::start().await;
    let alice = alice();
    let profile_id = world.follow(&alice).await.profile_id;
    world.notice("profiling", "ja", 1).await;
    let mut request = answering(&profile_id, &[gives("profiling")]);
    let mut consents = world.consents_as(&alice);
    consents.record_consents(request.clone()).await.unwrap();
    consents.record_consents(request.clone()).await.unwrap();
    request.answers = vec![says("profiling", "withdrawn")];
    let refused = consents.record_consents(request).await.unwrap_err();
    assert_eq!((refused.code(), reason(&refused).as_str()), (Code::FailedPrecondition, "REQUEST_ID_REUSED"));
    assert_eq!(world.count("consent_record").await, 1);
    assert_eq!(world.told(CONSENTS).await.len(), 1);
    assert_eq!(heads(&world, &profile_id).await[0].status, "given");
    world.app.stop().await;
}

#[tokio::test]
async fn two_answers_at_once_both_count() {
    let world = World::start().await;
    let alice = alice();
    let profile_id = world.follow(&alice).await.profile_id;
    let (one, other) = ([says("profiling", "refused")], [says("open_tracking", "refused")]);
    let (one, other) =
        tokio::join!(world.record(&alice, &profile_id, &one), world.record(&alice, &profile_id, &other));
    assert_eq!((one.unwrap().len(), other.unwrap().len()), (1, 1));
    assert_eq!(heads(&world, &profile_id).await.len(), 2);
    let told = world.told(CONSENTS).await;
    let versions: Vec<i64> = told.iter().map(|row| row.version).collect();
    assert_eq!(versions, [1, 2]);
    world.app.stop().await;
}

#[tokio::test]
async fn consents_are_checked_as_of_a_time() {
    let world = World::start().await;
    let (alice, bob) = (alice(), bob());
    let alices = world.follow(&alice).await.profile_id;
    let bobs = world.follow(&bob).await.profile_id;
    world.notice("profiling", "ja", 1).await;
    let hour = TimeDelta::hours(1);
    let start = world.app.clock.now();
    world.app.clock.advance(hour);
    world.record(&alice, &alices, &[gives("profiling")]).await.unwrap();
    world.app.clock.advance(hour);
    world.record(&bob, &bobs, &[gives("profiling")]).await.unwrap();
    world.record(&alice, &alices, &[says("profiling", "withdrawn")]).await.unwrap();

    let unknown = crate::world::unknown_profile();
    let asked = [bobs.as_str(), unknown.as_str(), alices.as_str()];
    let nobody: [&str; 0] = [];
    assert_eq!(permitted(&world, &asked, "profiling", Some(start)).await, nobody);
    assert_eq!(permitted(&world, &asked, "profiling", Some(start + hour)).await, [alices.as_str()]);
    assert_eq!(permitted(&world, &asked, "profiling", None).await, [bobs.as_str()]);
    assert_eq!(permitted(&world, &asked, "open_tracking", None).await, nobody);
    assert_eq!(
        permitted(&world, &asked, "service", None).await,
        asked,
        "what was asked for needs no consent"
    );
    let end = start + hour + hour + TimeDelta::days(730);
    assert_eq!(permitted(&world, &asked, "profiling", Some(end - hour)).await, [bobs.as_str()]);
    assert_eq!(permitted(&world, &asked, "profiling", Some(end)).await, nobody, "a consent ends by itself");
    world.app.stop().await;
}

#[tokio::test]
async fn a_consent_to_one_recipient_is_none_to_another() {
    let world = World::start().await;
    let alice = alice();
    let profile_id = world.follow(&alice).await.profile_id;
    let words = PublishNoticeRequest { recipient: "shop".to_owned(), ..notice("partner_offers", "ja", 1) };
    world.consents().publish_notice(words).await.unwrap();
    let answer = ConsentAnswer { recipient: "shop".to_owned(), ..gives("partner_offers") };
    world.record(&alice, &profile_id, std::slice::from_ref(&answer)).await.unwrap();
    for (recipient, expected) in [("shop", 1), ("bank", 0)] {
        let request = CheckConsentsRequest {
            profile_ids: vec![profile_id.clone()],
            purpose: "partner_offers".to_owned(),
            recipient: recipient.to_owned(),
            at: None,
        };
        let permitted = world.consents().check_consents(request).await.unwrap().into_inner();
        assert_eq!(permitted.permitted_profile_ids.len(), expected, "{recipient}");
    }
    let other = ConsentAnswer { recipient: "bank".to_owned(), ..answer };
    let refused = world.record(&alice, &profile_id, &[other]).await.unwrap_err();
    assert_eq!(reason(&refused), "NOTICE_NOT_PUBLISHED", "the words name one recipient");
    world.app.stop().await;
}

#[tokio::test]
async fn published_words_never_change_and_the_newest_are_listed() {
    let world = World::start().await;
    let first = world.notice("profiling", "ja", 1).await;
    assert_eq!(world.notice("profiling", "ja", 1).await.sha256, first.sha256);
    let other = PublishNoticeRequest { text: "something else".to_owned(), ..notice("profiling", "ja", 1) };
    let refused = world.consents().publish_notice(other).await.unwrap_err();
    assert_eq!((refused.code(), reason(&refused).as_str()), (Code::AlreadyExists, "NOTICE_TAKEN"));
    world.notice("profiling", "ja", 2).await;
    world.notice("profiling", "fr", 1).await;
    world.notice("open_tracking", "ja", 1).await;
    let listed = async |language: &str| {
        let request = ListNoticesRequest { language: language.to_owned() };
        let notices = world.consents().list_notices(request).await.unwrap().into_inner().notices;
        notices.into_iter().map(|n| (n.purpose, n.language, n.version)).collect::<Vec<_>>()
    };
    let row = |purpose: &str, language: &str, version| (purpose.to_owned(), language.to_owned(), version);
    let japanese = [row("open_tracking", "ja", 1), row("profiling", "ja", 2)];
    assert_eq!(listed("ja").await, japanese);
    assert_eq!(listed("").await, [japanese[0].clone(), row("profiling", "fr", 1), japanese[1].clone()]);
    world.app.stop().await;
}

#[tokio::test]
async fn the_ledger_is_read_newest_first_and_by_pages_of_bounded_size() {
    let world = World::start().await;
    let alice = alice();
    let profile_id = world.follow(&alice).await.profile_id;
    world.notice("profiling", "ja", 1).await;
    for step in 0..3 {
        world.app.clock.advance(TimeDelta::seconds(1));
        let answer = if step % 2 == 0 { gives("profiling") } else { says("profiling", "withdrawn") };
        world.record(&alice, &profile_id, &[answer]).await.unwrap();
    }
    let list = async |page_size: u32| {
        let request = ListConsentRecordsRequest { profile_id: profile_id.clone(), page_size };
        let listed = world.consents_as(&alice).list_consent_records(request).await.unwrap().into_inner();
        listed.records.into_iter().map(|record| record.status).collect::<Vec<_>>()
    };
    assert_eq!(list(2).await, ["given", "withdrawn"]);
    assert_eq!(list(u32::MAX).await, ["given", "withdrawn", "given"]);
    world.app.stop().await;
}
