//! Garbage, huge and hostile input at every RPC: the field is named, nothing is written, nothing panics.

use domain::ProfileId;
use proto::mailer::v1::{
    AddSuppressionRequest, CancelCampaignRequest, CreateCampaignRequest, CreateSenderRequest,
    CreateTemplateRequest, GetCampaignReportRequest, GetCampaignRequest, GetSenderRequest,
    GetTransactionalRequest, ListMessagesRequest, ListSuppressionsRequest, PauseCampaignRequest,
    PublishTemplateVersionRequest, ResumeCampaignRequest, SaveTemplateVersionRequest,
    ScheduleCampaignRequest, Sender, TemplateBlock, ledger_service_client::LedgerServiceClient,
    report_service_client::ReportServiceClient, sender_service_client::SenderServiceClient,
    suppression_service_client::SuppressionServiceClient, template_service_client::TemplateServiceClient,
    transactional_service_client::TransactionalServiceClient,
};
use tonic::{Code, Status};

use crate::world::{Person, World};

const HOSTILE: [&str; 6] = [
    "",
    "'; drop table mailer.message; --",
    "\u{0}",
    "../../etc/passwd",
    "{{ 7 * 7 }}",
    "a\r\nBcc: eve@example.org",
];

/// The refusal names the field.
pub fn names(status: &Status, field: &str) {
    let details = String::from_utf8_lossy(status.details()).into_owned();
    let told = details.contains(field) || status.message().contains(field);
    assert!(told, "{field} is not named: {status} {details}");
}

fn assert_invalid<T: std::fmt::Debug>(answer: Result<T, Status>, field: &str) {
    let refused = answer.unwrap_err();
    assert_eq!(refused.code(), Code::InvalidArgument, "{field}: {refused}");
    names(&refused, field);
}

#[tokio::test]
async fn every_id_is_checked_before_anything_else() {
    let world = World::start().await;
    let mut campaigns = world.campaigns();
    let mut reports = ReportServiceClient::new(world.app.grpc(&["mailer.report"]));
    let mut ledger = LedgerServiceClient::new(world.app.grpc(&["mailer.report"]));
    let mut admin = SuppressionServiceClient::new(world.app.grpc(&["mailer.admin"]));
    let mut senders = SenderServiceClient::new(world.app.grpc(&["mailer.admin"]));
    let mut mails = TransactionalServiceClient::new(world.app.grpc(&["mailer.transactional"]));
    for text in HOSTILE.map(str::to_owned).into_iter().chain(["x".repeat(100_000)]) {
        let campaign_id = text.clone();
        assert_invalid(campaigns.get_campaign(GetCampaignRequest { campaign_id }).await, "campaign_id");
        let campaign_id = text.clone();
        assert_invalid(campaigns.pause_campaign(PauseCampaignRequest { campaign_id }).await, "campaign_id");
        let campaign_id = text.clone();
        assert_invalid(campaigns.resume_campaign(ResumeCampaignRequest { campaign_id }).await, "campaign_id");
        let campaign_id = text.clone();
        assert_invalid(campaigns.cancel_campaign(CancelCampaignRequest { campaign_id }).await, "campaign_id");
        let schedule =
            ScheduleCampaignRequest { campaign_id: text.clone(), ..ScheduleCampaignRequest::default() };
        assert_invalid(campaigns.schedule_campaign(schedule).await, "campaign_id");
        let campaign_id = text.clone();
        assert_invalid(
            reports.get_campaign_report(GetCampaignReportRequest { campaign_id }).await,
            "campaign_id",
        );
        let list = ListMessagesRequest { campaign_id: text.clone(), profile_id: String::new() };
        assert_invalid(ledger.list_messages(list).await, "_id");
        let profile_id = text.clone();
        assert_invalid(admin.list_suppressions(ListSuppressionsRequest { profile_id }).await, "profile_id");
        assert_invalid(senders.get_sender(GetSenderRequest { key: text.clone() }).await, "key");
        let transactional_id = text.clone();
        assert_invalid(
            mails.get_transactional(GetTransactionalRequest { transactional_id }).await,
            "transactional_id",
        );
    }
    let unknown = GetCampaignRequest { campaign_id: domain::new_id().to_string() };
    assert_eq!(campaigns.get_campaign(unknown).await.unwrap_err().code(), Code::NotFound);
    let both = ListMessagesRequest {
        campaign_id: domain::new_id().to_string(),
        profile_id: ProfileId::new().to_string(),
    };
    assert_invalid(ledger.list_messages(both).await, "profile_id");
}

#[tokio::test]
async fn a_sender_cannot_carry_a_header_of_its_own() {
    let world = World::start().await;
    let mut senders = SenderServiceClient::new(world.app.grpc(&["mailer.admin"]));
    let right = Sender {
        key: "committee".to_owned(),
        controller: "committee".to_owned(),
        from_name: "Committee".to_owned(),
        from_address: "news@committee.example".to_owned(),
        purpose: "committee_newsletter".to_owned(),
        recipient: String::new(),
        footer: [("en".to_owned(), "Committee".to_owned())].into(),
    };
    let text = |text: &str| text.to_owned();
    let cases = [
        ("sender.key", Sender { key: text("Committee'; --"), ..right.clone() }),
        ("sender.controller", Sender { controller: text("a\r\nX: y"), ..right.clone() }),
        ("sender.from_name", Sender { from_name: text("a\nBcc: eve@example.org"), ..right.clone() }),
        ("sender.from_name", Sender { from_name: "x".repeat(10_000), ..right.clone() }),
        ("sender.from_address", Sender { from_address: text("a..b@docomo.ne.jp"), ..right.clone() }),
        ("sender.from_address", Sender { from_address: text("a@b.example\r\nRCPT TO:<x>"), ..right.clone() }),
        ("sender.purpose", Sender { purpose: text("spam"), ..right.clone() }),
        ("sender.recipient", Sender { recipient: text("shop"), ..right.clone() }),
        ("sender.footer", Sender { footer: [].into(), ..right.clone() }),
        ("sender.footer", Sender { footer: [(text("en\r\n"), text("x"))].into(), ..right.clone() }),
    ];
    for (field, sender) in cases {
        assert_invalid(senders.create_sender(CreateSenderRequest { sender: Some(sender) }).await, field);
    }
    assert_invalid(senders.create_sender(CreateSenderRequest { sender: None }).await, "sender.key");
    senders.create_sender(CreateSenderRequest { sender: Some(right.clone()) }).await.unwrap();
    let again = senders.create_sender(CreateSenderRequest { sender: Some(right) }).await.unwrap_err();
    assert_eq!(again.code(), Code::AlreadyExists);
}

#[tokio::test]
async fn a_template_is_refused_with_the_line_that_is_wrong() {
    let world = World::start().await;
    let mut templates = TemplateServiceClient::new(world.app.grpc(&["mailer.template"]));
    for key in HOSTILE {
        let request = CreateTemplateRequest { key: key.to_owned(), name: "n".to_owned() };
        assert_invalid(templates.create_template(request).await, "key");
    }
    let request = CreateTemplateRequest { key: "july".to_owned(), name: "July".to_owned() };
    let template_id = templates.create_template(request).await.unwrap().into_inner().template_id;
    let save = |language: &str, subject: &str, html: &str| SaveTemplateVersionRequest {
        template_id: template_id.clone(),
        blocks: vec![TemplateBlock {
            language: language.to_owned(),
            subject: subject.to_owned(),
            preheader: String::new(),
            html: html.to_owned(),
            text: "t".to_owned(),
        }],
        default_language: "en".to_owned(),
        variables: vec!["given_name".to_owned()],
    };
    let huge = "x".repeat(300_000);
    let cases = [
        ("blocks[0].subject", save("en", "a\r\nBcc: eve@example.org", "<p>x</p>")),
        ("line 3", save("en", "s", "\n\n{{ password }}")),
        ("blocks[0].html", save("en", "s", "<a href=\"{{ given_name }}\">x</a>")),
        ("blocks[0].html", save("en", "s", "<script>alert(1)</script>")),
        ("blocks[0].html", save("en", "s", &huge)),
        (
            "blocks[0].html",
            save(
                "en",
                "s",
                "{% for x in range(100000) %}{% for y in range(100000) %}y{% endfor %}{% endfor %}",
            ),
        ),
        ("blocks[0].language", save("'; --", "s", "<p>x</p>")),
    ];
    for (field, request) in cases {
        assert_invalid(templates.save_template_version(request).await, field);
    }
    let stranger = SaveTemplateVersionRequest {
        template_id: domain::new_id().to_string(),
        ..save("en", "s", "<p>x</p>")
    };
    assert_eq!(templates.save_template_version(stranger).await.unwrap_err().code(), Code::NotFound);

    let first = templates.save_template_version(save("fr", "s", "<p>x</p>")).await.unwrap().into_inner();
    let same = templates.save_template_version(save("fr", "s", "<p>x</p>")).await.unwrap().into_inner();
    assert_eq!((first.version, same.version), (1, 1), "the same words make no new version");
    let publish = PublishTemplateVersionRequest { template_id: template_id.clone(), version: 1 };
    let refused = templates.publish_template_version(publish).await.unwrap_err();
    assert_eq!(refused.code(), Code::FailedPrecondition, "neither en nor the default language: {refused}");
    let publish = PublishTemplateVersionRequest { template_id, version: 99 };
    assert_eq!(templates.publish_template_version(publish).await.unwrap_err().code(), Code::NotFound);
}

#[tokio::test]
async fn a_campaign_is_refused_with_every_wrong_field_at_once() {
    let world = World::start().await;
    world.sender().await;
    let garbage = CreateCampaignRequest {
        request_id: "x".to_owned(),
        name: "a\nb".to_owned(),
        sender_key: "'".to_owned(),
        segment_id: "y".to_owned(),
        template_id: "z".to_owned(),
        template_version: 0,
        class: "spam".to_owned(),
        delivery: "maybe".to_owned(),
    };
    let refused = world.campaigns().create_campaign(garbage).await.unwrap_err();
    assert_eq!(refused.code(), Code::InvalidArgument);
    for field in [
        "request_id",
        "name",
        "sender_key",
        "segment_id",
        "template_id",
        "template_version",
        "class",
        "delivery",
    ] {
        names(&refused, field);
    }
    let draft = world.draft("at_least_once").await;
    for (seconds, nanos) in [(i64::MAX, 0), (0, -1), (1, 0), (253_402_300_799, 0)] {
        let schedule = ScheduleCampaignRequest {
            campaign_id: draft.campaign_id.clone(),
            expected_version: 0,
            send_at: Some(prost_types::Timestamp { seconds, nanos }),
        };
        assert_invalid(world.campaigns().schedule_campaign(schedule).await, "send_at");
    }
    let mut admin = SuppressionServiceClient::new(world.app.grpc(&["mailer.admin"]));
    let profile_id = ProfileId::new().to_string();
    for (scope, sender_key, field) in
        [("some", "", "scope"), ("all", "committee", "sender_key"), ("sender", "'", "sender_key")]
    {
        let request = AddSuppressionRequest {
            profile_id: profile_id.clone(),
            scope: scope.to_owned(),
            sender_key: sender_key.to_owned(),
        };
        assert_invalid(admin.add_suppression(request).await, field);
    }
    let request = AddSuppressionRequest {
        profile_id: profile_id.clone(),
        scope: "all".to_owned(),
        sender_key: String::new(),
    };
    let first = admin.add_suppression(request.clone()).await.unwrap().into_inner();
    assert_eq!(first, admin.add_suppression(request).await.unwrap().into_inner());
}

#[tokio::test]
async fn a_person_s_own_text_cannot_become_a_header_or_markup() {
    const EVE: Person = Person {
        email: "eve@example.org",
        locale: "en",
        given_name: "<img src=x onerror=alert(1)> {{ 7 * 7 }} '; drop table",
        given: &["committee_newsletter"],
    };
    const MALLORY: Person =
        Person { given_name: "x\r\nBcc: eve@example.org", email: "mallory@example.org", ..EVE };
    let world = World::start().await;
    world.sender().await;
    let (eve, mallory) = (world.person(&EVE).await, world.person(&MALLORY).await);
    let campaign_id = world.send_all(&[eve, mallory]).await;
    let mails = world.sink.mails();
    assert_eq!(mails.len(), 1);
    assert!(mails[0].subject().contains("{{ 7 * 7 }}") && !mails[0].html().contains("<img src=x"));
    assert_eq!(world.row(&campaign_id, mallory, "failed").await.reason, "render");
}
