//! Garbage, huge and hostile input at every RPC: the field is named, nothing is written, nothing panics.

use prost_types::Timestamp;
use proto::profile::v1::{
    BatchGetProfilesRequest, CheckConsentsRequest, ConsentAnswer, ExternalId, FindProfileRequest,
    GetConsentsRequest, GetProfileRequest, GetTraitSchemaRequest, ListConsentRecordsRequest,
    ListNoticesRequest, PublishNoticeRequest, TraitUpdate, schema_service_client::SchemaServiceClient,
    trait_value::Kind,
};
use tonic::{Code, Status};

use crate::world::{
    World, alice, answering, date, fields, gives, held, id, notice, one, says, set, text, unknown_profile,
    update,
};

const HOSTILE: [&str; 7] = [
    "",
    "42",
    "'; drop table profile.profile; --",
    "../../etc/passwd",
    "\u{0}\u{feff}",
    "a\r\nBcc: eve@example.org",
    "00000000-0000-0000-0000-00000000000g",
];

#[track_caller]
fn assert_names<T: std::fmt::Debug>(answer: Result<T, Status>, field: &str) {
    let refused = answer.unwrap_err();
    assert_eq!(refused.code(), Code::InvalidArgument, "{field}: {refused}");
    let named = fields(&refused);
    assert!(named.iter().any(|named| named.starts_with(field)), "{field} is not among {named:?}");
}

fn hostile() -> impl Iterator<Item = String> {
    HOSTILE.map(str::to_owned).into_iter().chain(["x".repeat(100_000)])
}

#[tokio::test]
async fn every_id_is_checked_before_anything_else() {
    let world = World::start().await;
    let (mut profiles, mut consents) = (world.profiles(), world.consents());
    for text in hostile() {
        let profile_id = || text.clone();
        let get = GetProfileRequest { profile_id: profile_id() };
        assert_names(profiles.get_profile(get).await, "profile_id");
        let batch = BatchGetProfilesRequest { profile_ids: vec![unknown_profile(), profile_id()] };
        assert_names(profiles.batch_get_profiles(batch).await, "profile_ids[1]");
        assert_names(profiles.update_profile(update(&text)).await, "profile_id");
        let mut edit = update(&unknown_profile());
        edit.request_id = text.clone();
        assert_names(profiles.update_profile(edit).await, "request_id");
        let external_id = Some(ExternalId { r#type: "user".to_owned(), value: text.clone() });
        assert_names(profiles.find_profile(FindProfileRequest { external_id }).await, "external_id.value");
        let external_id = Some(ExternalId { r#type: text.clone(), value: id() });
        assert_names(profiles.find_profile(FindProfileRequest { external_id }).await, "external_id.type");
        let get = GetConsentsRequest { profile_id: profile_id() };
        assert_names(consents.get_consents(get).await, "profile_id");
        let record = answering(&text, &[says("profiling", "refused")]);
        assert_names(consents.record_consents(record).await, "profile_id");
        let mut record = answering(&unknown_profile(), &[says("profiling", "refused")]);
        record.request_id = text.clone();
        assert_names(consents.record_consents(record).await, "request_id");
        let list = ListConsentRecordsRequest { profile_id: profile_id(), page_size: 0 };
        assert_names(consents.list_consent_records(list).await, "profile_id");
        let check = CheckConsentsRequest {
            profile_ids: vec![profile_id()],
            purpose: "profiling".to_owned(),
            ..CheckConsentsRequest::default()
        };
        assert_names(consents.check_consents(check).await, "profile_ids[0]");
    }
    assert_eq!((world.count("profile").await, world.count("request").await), (0, 0));
    world.app.stop().await;
}

#[tokio::test]
async fn batches_have_a_largest_size() {
    let world = World::start().await;
    let ids = |count: usize| vec![unknown_profile(); count];
    for count in [0, 501] {
        let batch = BatchGetProfilesRequest { profile_ids: ids(count) };
        assert_names(world.profiles().batch_get_profiles(batch).await, "profile_ids");
    }
    let check = |count: usize| CheckConsentsRequest {
        profile_ids: ids(count),
        purpose: "profiling".to_owned(),
        ..CheckConsentsRequest::default()
    };
    for count in [0, 10_001] {
        assert_names(world.consents().check_consents(check(count)).await, "profile_ids");
    }
    let nobody = world.consents().check_consents(check(10_000)).await.unwrap().into_inner();
    assert!(nobody.permitted_profile_ids.is_empty());
    let many = answering(&unknown_profile(), &vec![says("profiling", "refused"); 51]);
    assert_names(world.consents().record_consents(many).await, "answers");
    let none = answering(&unknown_profile(), &[]);
    assert_names(world.consents().record_consents(none).await, "answers");
    let mut edit = update(&unknown_profile());
    edit.traits = vec![text("given_name", "Alice"); 51];
    assert_names(world.profiles().update_profile(edit).await, "traits");
    world.app.stop().await;
}

#[tokio::test]
async fn a_hostile_trait_is_refused_and_an_odd_one_is_kept_as_text() {
    let world = World::start().await;
    let alice = alice();
    let profile_id = world.follow(&alice).await.profile_id;
    let refused: Vec<TraitUpdate> = vec![
        text("given_name", ""),
        text("given_name", "Alice\u{0}"),
        text("given_name", "x\r\nBcc: eve@example.org"),
        text("given_name", &"あ".repeat(81)),
        text("address_1", &"x".repeat(100_000)),
        text("gender", "' or 1=1"),
        text("prefecture", "JP-99"),
        text("country", "jp"),
        text("phone", "+0123"),
        text("postal_code", "100-0001\u{0}"),
        date("birth_date", "2000-02-30"),
        date("birth_date", "0000-00-00"),
        date("birth_date", &"9".repeat(100_000)),
        set("favourite_olympic_sports", &["' --"]),
        set("favourite_olympic_sports", &["ATH"; 61]),
        one("birth_date", Kind::Number(i64::MIN)),
        one("gender", Kind::Flag(true)),
        TraitUpdate { name: "gender".to_owned(), value: None },
    ];
    for one in refused {
        let mut request = update(&profile_id);
        let named = format!("traits[0].value ({})", one.name);
        request.traits = vec![one];
        assert_names(world.profiles_as(&alice).update_profile(request).await, &named);
    }
    for name in hostile() {
        let mut request = update(&profile_id);
        request.traits = vec![text(&name, "x")];
        request.remove_traits = vec![name.clone()];
        let refused = world.profiles_as(&alice).update_profile(request).await.unwrap_err();
        assert_eq!(fields(&refused), ["traits[0].name", "remove_traits[0]"]);
        if !name.is_empty() {
            let mut request = update(&profile_id);
            request.locale.clone_from(&name);
            assert_names(world.profiles_as(&alice).update_profile(request).await, "locale");
        }
    }
    assert_eq!(world.profile(&profile_id).await.version, 1);

    let odd = "Robert'); drop table profile.profile; -- {{ 7 * 7 }} <b>\u{202e}";
    let mut request = update(&profile_id);
    request.traits = vec![text("given_name", odd)];
    world.profiles_as(&alice).update_profile(request).await.unwrap();
    assert_eq!(held(&world.profile(&profile_id).await, "given_name"), Some(Kind::Text(odd.to_owned())));
    world.app.stop().await;
}

#[tokio::test]
async fn a_hostile_address_is_looked_up_or_refused_and_never_an_error_of_ours() {
    let world = World::start().await;
    world.follow(&alice()).await;
    for value in hostile().chain(["alice@example.org' or '1'='1".to_owned(), "%@%".to_owned()]) {
        let refused = world.find("email", &value).await.unwrap_err();
        assert!(matches!(refused.code(), Code::NotFound | Code::InvalidArgument), "{value:?}: {refused}");
    }
    let absent = world.profiles().find_profile(FindProfileRequest { external_id: None }).await;
    assert_names(absent, "external_id.type");
    world.app.stop().await;
}

#[tokio::test]
async fn a_hostile_answer_is_refused_and_not_kept() {
    let world = World::start().await;
    let alice = alice();
    let profile_id = world.follow(&alice).await.profile_id;
    world.notice("profiling", "ja", 1).await;
    for text in hostile() {
        let cases = [
            ("answers[0].purpose", ConsentAnswer { purpose: text.clone(), ..gives("profiling") }),
            ("answers[0].status", ConsentAnswer { status: text.clone(), ..gives("profiling") }),
            ("answers[0].recipient", ConsentAnswer { recipient: format!("{text}'"), ..gives("profiling") }),
            (
                "answers[0].recipient",
                ConsentAnswer { recipient: format!("{text}'"), ..gives("partner_offers") },
            ),
        ];
        for (field, answer) in cases {
            assert_names(world.record(&alice, &profile_id, &[answer]).await, field);
        }
        let language = ConsentAnswer { notice_language: text, ..gives("profiling") };
        let refused = world.record(&alice, &profile_id, &[language]).await.unwrap_err();
        assert!(matches!(refused.code(), Code::InvalidArgument | Code::FailedPrecondition), "{refused}");
    }
    let version = ConsentAnswer { notice_version: u32::MAX, ..gives("profiling") };
    let refused = world.record(&alice, &profile_id, &[version]).await.unwrap_err();
    assert!(matches!(refused.code(), Code::InvalidArgument | Code::FailedPrecondition), "{refused}");
    for method in ["x".repeat(201), "portal\r\nX: y".to_owned(), "\u{0}".to_owned()] {
        let mut request = answering(&profile_id, &[gives("profiling")]);
        request.method = method;
        assert_names(world.consents_as(&alice).record_consents(request).await, "method");
    }
    assert_eq!((world.count("consent_record").await, world.count("request").await), (0, 0));
    world.app.stop().await;
}

#[tokio::test]
async fn a_hostile_question_about_consents_names_its_field() {
    let world = World::start().await;
    let check = || CheckConsentsRequest {
        profile_ids: vec![unknown_profile()],
        purpose: "profiling".to_owned(),
        ..CheckConsentsRequest::default()
    };
    for text in hostile() {
        let request = CheckConsentsRequest { purpose: text.clone(), ..check() };
        assert_names(world.consents().check_consents(request).await, "purpose");
        let request = CheckConsentsRequest { recipient: format!("{text}'"), ..check() };
        assert_names(world.consents().check_consents(request).await, "recipient");
    }
    for (seconds, nanos) in [(-1, 0), (i64::MIN, 0), (i64::MAX, 0), (1_900_000_000, -1), (0, i32::MAX)] {
        let request = CheckConsentsRequest { at: Some(Timestamp { seconds, nanos }), ..check() };
        assert_names(world.consents().check_consents(request).await, "at");
    }
    world.app.stop().await;
}

#[tokio::test]
async fn a_hostile_notice_is_refused_and_not_published() {
    let world = World::start().await;
    let cases: Vec<(&str, PublishNoticeRequest)> = vec![
        ("language", PublishNoticeRequest { language: "tlh".to_owned(), ..notice("profiling", "ja", 1) }),
        ("version", notice("profiling", "ja", 0)),
        ("version", notice("profiling", "ja", u32::MAX)),
        ("text", PublishNoticeRequest { text: String::new(), ..notice("profiling", "ja", 1) }),
        ("text", PublishNoticeRequest { text: "あ".repeat(20_001), ..notice("profiling", "ja", 1) }),
        ("text", PublishNoticeRequest { text: "a\u{0}".to_owned(), ..notice("profiling", "ja", 1) }),
        ("recipient", PublishNoticeRequest { recipient: "shop".to_owned(), ..notice("profiling", "ja", 1) }),
        ("recipient", notice("partner_offers", "ja", 1)),
    ];
    for (field, request) in cases {
        assert_names(world.consents().publish_notice(request).await, field);
    }
    for text in hostile() {
        assert_names(world.consents().publish_notice(notice(&text, "ja", 1)).await, "purpose");
        if text.is_empty() {
            continue;
        }
        match world.consents().list_notices(ListNoticesRequest { language: text.clone() }).await {
            Ok(listed) => assert!(listed.into_inner().notices.is_empty()),
            Err(refused) => assert_eq!(refused.code(), Code::InvalidArgument, "{text:?}: {refused}"),
        }
    }
    assert_eq!(world.count("notice").await, 0);
    let mut schemas = SchemaServiceClient::new(world.app.grpc(&["profile.schema"]));
    assert_names(schemas.get_trait_schema(GetTraitSchemaRequest { version: u32::MAX }).await, "version");
    world.app.stop().await;
}

#[tokio::test]
async fn a_message_beyond_the_limit_is_refused_and_the_service_goes_on() {
    let world = World::start().await;
    let mut request = notice("profiling", "ja", 1);
    request.text = "x".repeat(5 << 20);
    let refused = world.consents().publish_notice(request).await.unwrap_err();
    assert!(!matches!(refused.code(), Code::Ok | Code::Internal | Code::Unknown), "{refused}");
    assert_eq!(world.notice("profiling", "ja", 1).await.version, 1);
    world.app.stop().await;
}
