use domain::{CampaignId, DateTime, ProfileId, Utc, Uuid};
use sqlx::PgPool;

use super::messages::{CampaignReport, LedgerLine};
use crate::{Error, message::State};

/// Longest page of the ledger.
const PAGE: i64 = 500;

struct Row {
    campaign_id: Uuid,
    profile_id: Uuid,
    state: String,
    reason: String,
    message_id: String,
    relay_code: Option<i32>,
    language: String,
    consent_record_id: Option<Uuid>,
    at: DateTime<Utc>,
}

/// The newest rows of a campaign.
#[tracing::instrument(name = "db.message.list_by_campaign", skip_all, fields(otel.kind = "client", db.system.name = "postgresql"))]
pub async fn list_by_campaign(db: &PgPool, campaign_id: CampaignId) -> Result<Vec<LedgerLine>, Error> {
    let rows = sqlx::query_as!(
        Row,
        r#"
        select campaign_id, profile_id, state, reason, message_id, relay_code, language, consent_record_id, at
        from mailer.message
        where campaign_id = $1
        order by at desc, profile_id
        limit $2
        "#,
        campaign_id.0,
        PAGE,
    )
    .fetch_all(db)
    .await?;
    rows.into_iter().map(LedgerLine::try_from).collect()
}

/// The newest rows of a person.
#[tracing::instrument(name = "db.message.list_by_profile", skip_all, fields(otel.kind = "client", db.system.name = "postgresql"))]
pub async fn list_by_profile(db: &PgPool, profile_id: ProfileId) -> Result<Vec<LedgerLine>, Error> {
    let rows = sqlx::query_as!(
        Row,
        r#"
        select campaign_id, profile_id, state, reason, message_id, relay_code, language, consent_record_id, at
        from mailer.message
        where profile_id = $1
        order by at desc, campaign_id
        limit $2
        "#,
        profile_id.0,
        PAGE,
    )
    .fetch_all(db)
    .await?;
    rows.into_iter().map(LedgerLine::try_from).collect()
}

/// Counts what became of a campaign.
#[tracing::instrument(name = "db.campaign.report", skip_all, fields(otel.kind = "client", db.system.name = "postgresql"))]
pub async fn report(db: &PgPool, campaign_id: CampaignId) -> Result<CampaignReport, Error> {
    let mut report = CampaignReport::default();
    let rows = sqlx::query!(
        r#"
        select state, case state when 'skipped' then reason else '' end as "reason!", count(*) as "count!",
               count(*) filter (where attempts > 0 or state = 'unknown') as "sent!",
               count(*) filter (where tracked) as "tracked!"
        from mailer.message
        where campaign_id = $1
        group by 1, 2
        "#,
        campaign_id.0,
    )
    .fetch_all(db)
    .await?;
    for row in rows {
        let count = row.count.cast_unsigned();
        report.sent += row.sent.cast_unsigned();
        if row.state == "accepted" {
            report.tracked = row.tracked.cast_unsigned();
        }
        if row.state == "skipped" {
            *report.skipped.entry(row.reason).or_default() += count;
        }
        *report.by_state.entry(row.state).or_default() += count;
    }
    let engaged = sqlx::query!(
        r#"
        select count(distinct profile_id) filter (where kind = 'open' and class = 'human') as "opens_human!",
               count(*) filter (where kind = 'open' and class = 'machine') as "opens_machine!",
               count(*) filter (where kind = 'click' and class = 'human') as "clicks_human!",
               count(*) filter (where kind = 'click' and class = 'machine') as "clicks_machine!",
               (select count(distinct profile_id) from mailer.suppression
                where suppression.campaign_id = $1 and reason = 'unsubscribed') as "unsubscribed!"
        from mailer.engagement
        where campaign_id = $1
        "#,
        campaign_id.0,
    )
    .fetch_one(db)
    .await?;
    report.opens = (engaged.opens_human.cast_unsigned(), engaged.opens_machine.cast_unsigned());
    report.clicks = (engaged.clicks_human.cast_unsigned(), engaged.clicks_machine.cast_unsigned());
    report.unsubscribed = engaged.unsubscribed.cast_unsigned();
    Ok(report)
}

impl TryFrom<Row> for LedgerLine {
    type Error = Error;

    fn try_from(row: Row) -> Result<Self, Error> {
        Ok(Self {
            key: (CampaignId(row.campaign_id), ProfileId(row.profile_id)),
            state: State::find(&row.state).ok_or(Error::Stored { what: "message state" })?,
            reason: row.reason,
            message_id: row.message_id,
            relay_code: row.relay_code,
            language: row.language,
            consent_record_id: row.consent_record_id,
            at: row.at,
        })
    }
}
