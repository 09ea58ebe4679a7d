use std::collections::HashMap;

use domain::TimeDelta;
use proto::mailer::v1::{
    GetTransactionalRequest, GetTransactionalResponse, SendTransactionalRequest,
    transactional_service_client::TransactionalServiceClient,
};

use crate::world::{ALICE, ALICE_ON_THE_WIRE, DEADLINE, World};

const LINK: &str = "https://id.example/verify?t=secret-of-alice&x=1";

fn request(world: &World) -> SendTransactionalRequest {
    let deadline = world.app.clock.now() + TimeDelta::hours(1);
    SendTransactionalRequest {
        request_id: domain::new_id().to_string(),
        template: "identity.verify_email".to_owned(),
        address: ALICE.as_bytes().to_vec(),
        address_class: "dot_violation".to_owned(),
        language: "ja".to_owned(),
        variables: HashMap::from([
            ("link".to_owned(), LINK.to_owned()),
            ("code".to_owned(), "123456".to_owned()),
            ("minutes".to_owned(), "10".to_owned()),
        ]),
        deadline: Some(prost_types::Timestamp { seconds: deadline.timestamp(), nanos: 0 }),
    }
}

fn client(world: &World) -> TransactionalServiceClient<chassis::Peer> {
    TransactionalServiceClient::new(world.app.grpc(&["mailer.transactional"]))
}

async fn state(world: &World, id: &str, state: &str) -> GetTransactionalResponse {
    testkit::eventually(DEADLINE, || async {
        let request = GetTransactionalRequest { transactional_id: id.to_owned() };
        let found = client(world).get_transactional(request).await.unwrap().into_inner();
        (found.state == state).then_some(found)
    })
    .await
}

#[tokio::test]
async fn a_verification_mail_goes_out_once_and_its_secrets_are_wiped() {
    let world = World::start().await;
    let request = request(&world);
    let first = client(&world).send_transactional(request.clone()).await.unwrap().into_inner();
    let again = client(&world).send_transactional(request.clone()).await.unwrap().into_inner();
    assert_eq!(first, again);
    let mail = world.sink.wait_for(|mail| mail.is_to(ALICE_ON_THE_WIRE), DEADLINE).await;
    assert_eq!(
        (mail.subject().as_str(), mail.from.as_slice()),
        ("メールアドレスの確認", b"no-reply@committee.example".as_slice())
    );
    assert!(mail.text().contains(LINK) && mail.text().contains("123456") && mail.text().contains("10分"));
    assert!(mail.html().contains("t=secret-of-alice&amp;x=1"), "{}", mail.html());
    assert_eq!(mail.header("list-unsubscribe"), "", "nobody unsubscribes from what was asked for");
    let accepted = state(&world, &first.transactional_id, "accepted").await;
    assert_eq!(accepted.message_id, format!("<{}>", mail.message_id));
    let sealed: Option<Vec<u8>> = sqlx::query_scalar("select sealed from mailer.transactional")
        .fetch_one(&world.app.pool)
        .await
        .unwrap();
    assert_eq!(sealed, None);
    let other = SendTransactionalRequest { language: "fr".to_owned(), ..request };
    let refused = client(&world).send_transactional(other).await.unwrap_err();
    assert_eq!(refused.code(), tonic::Code::FailedPrecondition);
    assert_eq!(world.sink.mails().len(), 1);
}

#[tokio::test]
async fn what_waits_is_sealed_and_expires_at_its_deadline() {
    let world = World::start().await;
    world.sink.refuse(ALICE_ON_THE_WIRE, "451 4.7.1 later", 1_000);
    let sent = client(&world).send_transactional(request(&world)).await.unwrap().into_inner();
    let sealed: Vec<u8> = sqlx::query_scalar("select sealed from mailer.transactional")
        .fetch_one(&world.app.pool)
        .await
        .unwrap();
    let text = String::from_utf8_lossy(&sealed).into_owned();
    assert!(!text.contains("secret") && !text.contains("docomo"), "the row tells nothing");
    state(&world, &sent.transactional_id, "queued").await;
    testkit::eventually(DEADLINE, || async {
        let tried: i32 = sqlx::query_scalar("select attempts from mailer.transactional")
            .fetch_one(&world.app.pool)
            .await
            .unwrap();
        (tried > 0).then_some(())
    })
    .await;
    world.advance(TimeDelta::hours(2));
    state(&world, &sent.transactional_id, "expired").await;
    assert!(world.sink.mails().is_empty());
}

#[tokio::test]
async fn every_built_in_mail_has_three_languages_and_others_fall_back_to_english() {
    let world = World::start().await;
    for template in [
        "identity.verify_email",
        "identity.address_taken",
        "identity.recover",
        "identity.password_changed",
        "identity.sign_in_changed",
    ] {
        for language in ["ja", "en", "fr", "de"] {
            let request = SendTransactionalRequest {
                template: template.to_owned(),
                language: language.to_owned(),
                ..request(&world)
            };
            let sent = client(&world).send_transactional(request).await.unwrap().into_inner();
            state(&world, &sent.transactional_id, "accepted").await;
            let mail = world.sink.mails().pop().unwrap();
            assert_eq!(mail.header("content-language"), if language == "de" { "en" } else { language });
        }
    }
    assert_eq!(world.sink.mails().len(), 20);
}

#[tokio::test]
async fn a_wrong_field_is_named_and_nothing_is_written() {
    let world = World::start().await;
    let right = request(&world);
    let variable = |name: &str, value: &str| HashMap::from([(name.to_owned(), value.to_owned())]);
    let past = prost_types::Timestamp { seconds: 1, nanos: 0 };
    let cases = [
        ("request_id", SendTransactionalRequest { request_id: "'; drop table".to_owned(), ..right.clone() }),
        ("template", SendTransactionalRequest { template: "../etc/passwd".to_owned(), ..right.clone() }),
        (
            "address",
            SendTransactionalRequest { address: b"a@b.example\r\nRCPT TO:<x>".to_vec(), ..right.clone() },
        ),
        ("address", SendTransactionalRequest { address: b"nobody".to_vec(), ..right.clone() }),
        ("address", SendTransactionalRequest { address: vec![0xff; 300], ..right.clone() }),
        ("address_class", SendTransactionalRequest { address_class: "fine".to_owned(), ..right.clone() }),
        (
            "variables[link]",
            SendTransactionalRequest { variables: variable("link", "javascript:x"), ..right.clone() },
        ),
        (
            "variables[code]",
            SendTransactionalRequest { variables: variable("code", "1\r\nBcc: x"), ..right.clone() },
        ),
        ("variables", SendTransactionalRequest { variables: variable("A B", "1"), ..right.clone() }),
        ("deadline", SendTransactionalRequest { deadline: None, ..right.clone() }),
        ("deadline", SendTransactionalRequest { deadline: Some(past), ..right.clone() }),
    ];
    for (field, request) in cases {
        let refused = client(&world).send_transactional(request).await.unwrap_err();
        assert_eq!(refused.code(), tonic::Code::InvalidArgument, "{field}: {refused}");
        crate::hostile::names(&refused, field);
    }
    let rows: i64 = sqlx::query_scalar("select count(*) from mailer.transactional")
        .fetch_one(&world.app.pool)
        .await
        .unwrap();
    assert_eq!(rows, 0);
}
