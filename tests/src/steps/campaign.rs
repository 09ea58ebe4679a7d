//! Step 4: Chie sends a campaign to the segment: one mail to Alice, in Japanese, none to Bob; Alice follows a link.

use anyhow::{Context, Result, ensure};
use domain::Service;
use mail_parser::MessageParser;
use proto::mailer::v1::{
    Campaign, CreateCampaignRequest, CreateSenderRequest, CreateTemplateRequest, GetCampaignReportRequest,
    GetCampaignReportResponse, GetCampaignRequest, LedgerMessage, ListMessagesRequest,
    PublishTemplateVersionRequest, SaveTemplateVersionRequest, ScheduleCampaignRequest, Sender,
    TemplateBlock, campaign_service_client::CampaignServiceClient,
    ledger_service_client::LedgerServiceClient, report_service_client::ReportServiceClient,
    sender_service_client::SenderServiceClient, template_service_client::TemplateServiceClient,
};
use testkit::Mail;

use super::request_id;
use crate::{Moment, Walk, mailbox, staff::Channel, until};

/// From of the committee.
const FROM: &str = "news@committee.example";
/// Where the links of the mail lead in the end.
const TARGET: &str = "https://games.example/";

pub async fn go(walk: &mut Walk<'_>) -> Result<Vec<String>> {
    create_sender(walk).await?;
    walk.ids.template = create_template(walk).await?;
    let campaign = schedule(walk, "100 m final").await?;
    walk.ids.campaign.clone_from(&campaign.campaign_id);
    walk.at(Moment::CampaignScheduled).await?;
    let campaign = finished(walk, &campaign.campaign_id).await?;
    ensure!(campaign.frozen == 1, "{} recipients were frozen, not Alice alone", campaign.frozen);

    let mail =
        until("the campaign's mail to Alice", async || Ok(mails_to_alice(walk).into_iter().next())).await?;
    let to_bob =
        walk.suite.sink.mails().into_iter().any(|mail| mail.is_to(walk.bob.address) && is_campaigns(&mail));
    ensure!(!to_bob, "the campaign reached Bob");
    let links = check(walk, &mail)?;
    let answer = walk.alice.browser.visit_until(&links[0], TARGET).await?;
    ensure!(answer.status == 302, "the tracked link answers {}", answer.status);
    let report = until("the report of one click by a person", async || {
        let report = report(walk, &walk.ids.campaign).await?;
        Ok((report.clicks_human == 1).then_some(report))
    })
    .await?;
    ensure!((report.sent, report.accepted, report.clicks_machine) == (1, 1, 0), "the report is {report:?}");
    let row = ledger_row(walk).await?;
    let same = row.message_id.trim_matches(['<', '>']) == mail.message_id;
    ensure!(same, "the ledger has Message-ID {}, the mail {}", row.message_id, mail.message_id);
    let mut evidence = vec![
        format!(
            "campaign {} to a freeze of {}: {} sha256 {}",
            campaign.campaign_id, campaign.frozen, campaign.freeze_id, campaign.freeze_hash
        ),
        format!(
            "ledger: {} <- {} in {}, consent record {}",
            row.message_id, row.relay_code, row.language, row.consent_record_id
        ),
    ];
    for header in ["From", "To", "Message-ID", "List-Unsubscribe", "List-Unsubscribe-Post"] {
        evidence.push(format!("{header}: {}", mail.header(header)));
    }
    evidence.push(format!("Subject: {} (decoded)", mail.subject()));
    evidence.push(format!("{} -> 302 {}", links[0], answer.url));
    evidence.push(format!(
        "report: sent {}, accepted {}, clicks by people {}, by machines {}",
        report.sent, report.accepted, report.clicks_human, report.clicks_machine
    ));
    Ok(evidence)
}

fn channel(walk: &Walk<'_>) -> Result<Channel> {
    walk.chie.channel(walk.suite, Service::Mailer)
}

async fn create_sender(walk: &Walk<'_>) -> Result<()> {
    let footer = [
        ("ja", "組織委員会\n東京都中央区晴海1-8-11\n配信停止のお問い合わせ: news@committee.example"),
        ("en", "Organising Committee\n1-8-11 Harumi, Chuo-ku, Tokyo\nTo refuse: news@committee.example"),
        ("fr", "Comité d'organisation\n1-8-11 Harumi, Chuo-ku, Tokyo\nPour refuser : news@committee.example"),
    ];
    let sender = Sender {
        key: "committee".to_owned(),
        controller: "committee".to_owned(),
        from_name: "組織委員会".to_owned(),
        from_address: FROM.to_owned(),
        purpose: "committee_newsletter".to_owned(),
        recipient: String::new(),
        footer: footer.map(|(language, text)| (language.to_owned(), text.to_owned())).into(),
    };
    SenderServiceClient::new(channel(walk)?)
        .create_sender(CreateSenderRequest { sender: Some(sender) })
        .await?;
    Ok(())
}

async fn create_template(walk: &Walk<'_>) -> Result<(String, u32)> {
    let mut templates = TemplateServiceClient::new(channel(walk)?);
    let request = CreateTemplateRequest { key: "final-100m".to_owned(), name: "100 m final".to_owned() };
    let template_id = templates.create_template(request).await?.into_inner().template_id;
    let request = SaveTemplateVersionRequest {
        template_id: template_id.clone(),
        blocks: vec![
            block("ja", "{{ given_name }}さん、100m決勝が始まります", "結果を見る", "チケット"),
            block("en", "{{ given_name }}, the 100 m final starts", "Follow the race", "Tickets"),
            block("fr", "{{ given_name }}, la finale du 100 m commence", "Suivre la course", "Billets"),
        ],
        default_language: "en".to_owned(),
        variables: vec!["given_name".to_owned()],
    };
    let version = templates.save_template_version(request).await?.into_inner().version;
    let request = PublishTemplateVersionRequest { template_id: template_id.clone(), version };
    templates.publish_template_version(request).await?;
    Ok((template_id, version))
}

fn block(language: &str, subject: &str, race: &str, tickets: &str) -> TemplateBlock {
    TemplateBlock {
        language: language.to_owned(),
        subject: subject.to_owned(),
        preheader: "100 m".to_owned(),
        html: format!(
            "<h1 lang=\"{language}\">{subject}</h1><p><a href=\"{TARGET}{language}/final\">{race}</a> \
             <a href=\"{TARGET}{language}/tickets\">{tickets}</a></p>"
        ),
        text: format!(
            "{subject}\n\n{race}: {TARGET}{language}/final\n{tickets}: {TARGET}{language}/tickets\n"
        ),
    }
}

/// A campaign to the journey's segment, to be sent at once.
pub async fn schedule(walk: &Walk<'_>, name: &str) -> Result<Campaign> {
    let mut campaigns = CampaignServiceClient::new(channel(walk)?);
    let request = CreateCampaignRequest {
        request_id: request_id(),
        name: name.to_owned(),
        sender_key: "committee".to_owned(),
        segment_id: walk.ids.segment.clone(),
        template_id: walk.ids.template.0.clone(),
        template_version: walk.ids.template.1,
        class: "news".to_owned(),
        delivery: "at_least_once".to_owned(),
    };
    let draft = campaigns
        .create_campaign(request)
        .await?
        .into_inner()
        .campaign
        .context("no campaign in the answer")?;
    let request = ScheduleCampaignRequest {
        campaign_id: draft.campaign_id,
        expected_version: draft.version,
        send_at: None,
    };
    campaigns.schedule_campaign(request).await?.into_inner().campaign.context("no campaign in the answer")
}

/// The campaign, as soon as it is over.
pub async fn finished(walk: &Walk<'_>, campaign_id: &str) -> Result<Campaign> {
    let mut campaigns = CampaignServiceClient::new(channel(walk)?);
    until("the campaign to be finished", async || {
        let request = GetCampaignRequest { campaign_id: campaign_id.to_owned() };
        let campaign = campaigns.get_campaign(request).await?.into_inner().campaign;
        Ok(campaign.filter(|campaign| campaign.state == "finished"))
    })
    .await
}

/// The report of a campaign.
pub async fn report(walk: &Walk<'_>, campaign_id: &str) -> Result<GetCampaignReportResponse> {
    let mut reports = ReportServiceClient::new(channel(walk)?);
    let request = GetCampaignReportRequest { campaign_id: campaign_id.to_owned() };
    Ok(reports.get_campaign_report(request).await?.into_inner())
}

async fn ledger_row(walk: &Walk<'_>) -> Result<LedgerMessage> {
    let mut ledger = LedgerServiceClient::new(channel(walk)?);
    let request =
        ListMessagesRequest { campaign_id: walk.ids.campaign.clone(), ..ListMessagesRequest::default() };
    let rows = ledger.list_messages(request).await?.into_inner().messages;
    let row = rows
        .into_iter()
        .find(|row| row.profile_id == walk.ids.alice)
        .context("Alice is not in the ledger")?;
    ensure!(row.state == "accepted", "the ledger says {} {}", row.state, row.reason);
    Ok(row)
}

/// Mails of campaigns that reached Alice, in order.
pub fn mails_to_alice(walk: &Walk<'_>) -> Vec<Mail> {
    let mails = walk.suite.sink.mails().into_iter();
    mails.filter(|mail| mail.is_to(walk.alice.address) && is_campaigns(mail)).collect()
}

fn is_campaigns(mail: &Mail) -> bool {
    !mail.header("list-unsubscribe").is_empty()
}

/// Reads the mail as a mail program does; gives its tracked links.
fn check(walk: &Walk<'_>, mail: &Mail) -> Result<Vec<String>> {
    let parsed = MessageParser::default().parse(&mail.data).context("the mail is no MIME message")?;
    let from = parsed.from().and_then(|from| from.first()).context("the mail has no From")?;
    ensure!(from.address() == Some(FROM), "From is {:?}", from.address());
    ensure!(from.name() == Some("組織委員会"), "From is called {:?}", from.name());
    ensure!(
        parsed.subject() == Some("アリスさん、100m決勝が始まります"),
        "Subject is {:?}",
        parsed.subject()
    );
    ensure!(
        parsed.text_body_count() > 0 && parsed.html_body_count() > 0,
        "the mail lacks a text or an HTML part"
    );
    ensure!(mail.text().contains("東京都中央区"), "the legal footer is missing");
    let mailer = walk.suite.addresses.url(Service::Mailer);
    let unsubscribe = mail.header("list-unsubscribe");
    ensure!(unsubscribe.starts_with(&format!("<{mailer}/u/")), "List-Unsubscribe is {unsubscribe}");
    let post = mail.header("list-unsubscribe-post");
    ensure!(post == "List-Unsubscribe=One-Click", "List-Unsubscribe-Post is {post} (RFC 8058 3.1)");
    let tracked = format!("{mailer}/c/");
    let links: Vec<String> =
        mailbox::targets(mail).into_iter().filter(|link| link.starts_with(&tracked)).collect();
    ensure!(links.len() == 2, "the mail has {} tracked links, not 2", links.len());
    Ok(links)
}
