use std::collections::HashMap;

use domain::{CampaignId, DateTime, RequestId, SegmentId, Utc, Uuid};
use sqlx::{PgPool, PgTransaction, types::Json};

use crate::{
    Error,
    campaign::{Campaign, Class, Delivery, Frozen, Plan, State},
};

/// What sending needs beside the campaign itself.
#[derive(Debug)]
pub struct Started {
    /// The campaign.
    pub campaign: Campaign,
    /// What links carry.
    pub number: u32,
    /// Key of its Message-IDs.
    pub message_key: Vec<u8>,
    /// Next offset by topic and partition that its freeze had read.
    pub watermark: Vec<(String, i32, i64)>,
    /// Block that fan-out goes on with.
    pub next_block: u32,
}

struct Row {
    campaign_id: Uuid,
    number: i32,
    request_id: Uuid,
    version: i64,
    name: String,
    sender_key: String,
    segment_id: Uuid,
    template_id: Uuid,
    template_version: i32,
    class: String,
    delivery: String,
    state: String,
    send_at: Option<DateTime<Utc>>,
    deadline: Option<DateTime<Utc>>,
    freeze_id: Option<Uuid>,
    freeze_hash: String,
    frozen: i64,
    frozen_at: Option<DateTime<Utc>>,
    watermark: Json<Vec<(String, i32, i64)>>,
    next_block: i32,
    cancel_reason: String,
    message_key: Vec<u8>,
}

/// Writes a draft.
#[tracing::instrument(name = "db.campaign.insert", skip_all, fields(otel.kind = "client", db.system.name = "postgresql"))]
pub async fn insert_campaign(
    tx: &mut PgTransaction<'_>,
    campaign: &Campaign,
    body_sha256: &[u8],
    message_key: &[u8],
    now: DateTime<Utc>,
) -> Result<(), Error> {
    let plan = &campaign.plan;
    sqlx::query!(
        r#"
        insert into mailer.campaign
            (campaign_id, request_id, body_sha256, version, name, sender_key, segment_id, template_id, template_version,
             class, delivery, state, message_key, created_at)
        values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14)
        on conflict (request_id) do nothing
        "#,
        campaign.campaign_id.0,
        plan.request_id.0,
        body_sha256,
        campaign.version,
        plan.name,
        plan.sender_key,
        plan.segment_id.0,
        plan.template_id,
        plan.template_version.cast_signed(),
        plan.class.name(),
        plan.delivery.name(),
        campaign.state.name(),
        message_key,
        now,
    )
    .execute(&mut **tx)
    .await?;
    Ok(())
}

/// Writes a changed campaign; its row is locked by the caller.
#[tracing::instrument(name = "db.campaign.save", skip_all, fields(otel.kind = "client", db.system.name = "postgresql"))]
pub async fn save_campaign(tx: &mut PgTransaction<'_>, campaign: &Campaign) -> Result<(), Error> {
    let frozen = campaign.frozen.as_ref();
    sqlx::query!(
        r#"
        update mailer.campaign
        set version = $2, state = $3, send_at = $4, deadline = $5, freeze_id = $6, freeze_hash = $7, frozen = $8,
            frozen_at = $9, cancel_reason = $10
        where campaign_id = $1
        "#,
        campaign.campaign_id.0,
        campaign.version,
        campaign.state.name(),
        campaign.send_at,
        campaign.deadline,
        frozen.map(|frozen| frozen.freeze_id),
        frozen.map_or("", |frozen| frozen.hash.as_str()),
        frozen.map_or(0, |frozen| frozen.count.cast_signed()),
        frozen.map(|frozen| frozen.at),
        campaign.cancel_reason,
    )
    .execute(&mut **tx)
    .await?;
    Ok(())
}

/// Keeps how far the freeze had read.
#[tracing::instrument(name = "db.campaign.save_watermark", skip_all, fields(otel.kind = "client", db.system.name = "postgresql"))]
pub async fn save_watermark(
    tx: &mut PgTransaction<'_>,
    campaign_id: CampaignId,
    watermark: &[(String, i32, i64)],
) -> Result<(), Error> {
    sqlx::query!(
        "update mailer.campaign set watermark = $2 where campaign_id = $1",
        campaign_id.0,
        Json(watermark) as _,
    )
    .execute(&mut **tx)
    .await?;
    Ok(())
}

/// Moves the fan-out's cursor, in the transaction that wrote the block before it.
#[tracing::instrument(name = "db.campaign.save_progress", skip_all, fields(otel.kind = "client", db.system.name = "postgresql"))]
pub async fn save_progress(
    tx: &mut PgTransaction<'_>,
    campaign_id: CampaignId,
    next_block: u32,
) -> Result<(), Error> {
    sqlx::query!(
        "update mailer.campaign set next_block = greatest(next_block, $2) where campaign_id = $1",
        campaign_id.0,
        next_block.cast_signed(),
    )
    .execute(&mut **tx)
    .await?;
    Ok(())
}

/// Id and body hash of the campaign that a request made.
#[tracing::instrument(name = "db.campaign.find_by_request", skip_all, fields(otel.kind = "client", db.system.name = "postgresql"))]
pub async fn find_by_request(
    tx: &mut PgTransaction<'_>,
    request_id: RequestId,
) -> Result<Option<(CampaignId, Vec<u8>)>, Error> {
    let row = sqlx::query!(
        "select campaign_id, body_sha256 from mailer.campaign where request_id = $1",
        request_id.0
    )
    .fetch_optional(&mut **tx)
    .await?;
    Ok(row.map(|row| (CampaignId(row.campaign_id), row.body_sha256)))
}

/// The campaign of a number that a link carries.
#[tracing::instrument(name = "db.campaign.find_number", skip_all, fields(otel.kind = "client", db.system.name = "postgresql"))]
pub async fn find_number(db: &PgPool, number: u32) -> Result<Option<CampaignId>, Error> {
    // Numbers are positive: one beyond them is nobody's.
    let Ok(number) = i32::try_from(number) else { return Ok(None) };
    let id = sqlx::query_scalar!("select campaign_id from mailer.campaign where number = $1", number)
        .fetch_optional(db)
        .await?;
    Ok(id.map(CampaignId))
}

/// A campaign by its id.
pub async fn load_campaign(db: &PgPool, campaign_id: CampaignId) -> Result<Option<Campaign>, Error> {
    Ok(load_started(db, campaign_id).await?.map(|started| started.campaign))
}

/// A campaign with what sending needs.
#[tracing::instrument(name = "db.campaign.load_started", skip_all, fields(otel.kind = "client", db.system.name = "postgresql"))]
pub async fn load_started(db: &PgPool, campaign_id: CampaignId) -> Result<Option<Started>, Error> {
    let row = sqlx::query_as!(
        Row,
        r#"
        select campaign_id, number, request_id, version, name, sender_key, segment_id, template_id, template_version,
               class, delivery, state, send_at, deadline, freeze_id, freeze_hash, frozen, frozen_at,
               watermark as "watermark: Json<Vec<(String, i32, i64)>>", next_block, cancel_reason, message_key
        from mailer.campaign
        where campaign_id = $1
        "#,
        campaign_id.0,
    )
    .fetch_optional(db)
    .await?;
    row.map(Started::try_from).transpose()
}

/// A campaign, locked until the transaction ends.
#[tracing::instrument(name = "db.campaign.load_for_update", skip_all, fields(otel.kind = "client", db.system.name = "postgresql"))]
pub async fn load_campaign_for_update(
    tx: &mut PgTransaction<'_>,
    campaign_id: CampaignId,
) -> Result<Option<Campaign>, Error> {
    let row = sqlx::query_as!(
        Row,
        r#"
        select campaign_id, number, request_id, version, name, sender_key, segment_id, template_id, template_version,
               class, delivery, state, send_at, deadline, freeze_id, freeze_hash, frozen, frozen_at,
               watermark as "watermark: Json<Vec<(String, i32, i64)>>", next_block, cancel_reason, message_key
        from mailer.campaign
        where campaign_id = $1
        for update
        "#,
        campaign_id.0,
    )
    .fetch_optional(&mut **tx)
    .await?;
    row.map(|row| Started::try_from(row).map(|started| started.campaign)).transpose()
}

/// Scheduled campaigns whose time has come.
pub async fn list_due(db: &PgPool, now: DateTime<Utc>) -> Result<Vec<CampaignId>, Error> {
    let ids = sqlx::query_scalar!(
        "select campaign_id from mailer.campaign where state = 'scheduled' and send_at <= $1 order by send_at limit 20",
        now,
    )
    .fetch_all(db)
    .await?;
    Ok(ids.into_iter().map(CampaignId).collect())
}

/// Campaigns whose recipients are being taken.
pub async fn list_freezing(db: &PgPool) -> Result<Vec<CampaignId>, Error> {
    let ids = sqlx::query_scalar!(
        "select campaign_id from mailer.campaign where state = 'freezing' order by send_at limit 20"
    )
    .fetch_all(db)
    .await?;
    Ok(ids.into_iter().map(CampaignId).collect())
}

/// Campaigns whose mails leave.
pub async fn list_sending(db: &PgPool) -> Result<Vec<CampaignId>, Error> {
    let ids = sqlx::query_scalar!(
        "select campaign_id from mailer.campaign where state = 'sending' order by send_at limit 200"
    )
    .fetch_all(db)
    .await?;
    Ok(ids.into_iter().map(CampaignId).collect())
}

/// Where campaigns stand now, in this transaction's eyes.
#[tracing::instrument(name = "db.campaign.states", skip_all, fields(otel.kind = "client", db.system.name = "postgresql"))]
pub async fn states(
    tx: &mut PgTransaction<'_>,
    campaign_ids: &[Uuid],
) -> Result<HashMap<CampaignId, State>, Error> {
    let rows = sqlx::query!(
        "select campaign_id, state from mailer.campaign where campaign_id = any($1)",
        campaign_ids,
    )
    .fetch_all(&mut **tx)
    .await?;
    let mut states = HashMap::with_capacity(rows.len());
    for row in rows {
        let state = State::find(&row.state).ok_or(Error::Stored { what: "campaign state" })?;
        states.insert(CampaignId(row.campaign_id), state);
    }
    Ok(states)
}

impl TryFrom<Row> for Started {
    type Error = Error;

    fn try_from(row: Row) -> Result<Self, Error> {
        let plan = Plan {
            request_id: RequestId(row.request_id),
            name: row.name,
            sender_key: row.sender_key,
            segment_id: SegmentId(row.segment_id),
            template_id: row.template_id,
            template_version: row.template_version.cast_unsigned(),
            class: Class::find(&row.class).ok_or(Error::Stored { what: "class" })?,
            delivery: Delivery::find(&row.delivery).ok_or(Error::Stored { what: "delivery" })?,
        };
        let frozen = row.freeze_id.zip(row.frozen_at).map(|(freeze_id, at)| Frozen {
            freeze_id,
            hash: row.freeze_hash,
            count: row.frozen.cast_unsigned(),
            at,
        });
        Ok(Self {
            campaign: Campaign {
                campaign_id: CampaignId(row.campaign_id),
                version: row.version,
                plan,
                state: State::find(&row.state).ok_or(Error::Stored { what: "campaign state" })?,
                send_at: row.send_at,
                deadline: row.deadline,
                frozen,
                cancel_reason: row.cancel_reason,
            },
            number: row.number.cast_unsigned(),
            message_key: row.message_key,
            watermark: row.watermark.0,
            next_block: row.next_block.cast_unsigned(),
        })
    }
}
