use std::collections::HashMap;

use domain::{CampaignId, DateTime, ProfileId, Utc, Uuid};
use sqlx::{PgPool, PgTransaction};

use crate::Error;

/// People of a freeze, leased to this process.
#[derive(Debug)]
pub struct Chunk {
    /// Of which campaign.
    pub campaign_id: CampaignId,
    /// Rank of the block in the freeze.
    pub block: i32,
    /// Who is in it.
    pub profile_ids: Vec<ProfileId>,
    /// Which lease this is.
    pub epoch: i64,
}

/// Writes a block; the same block again changes nothing.
#[tracing::instrument(name = "db.chunk.insert", skip_all, fields(otel.kind = "client", db.system.name = "postgresql"))]
pub async fn insert_chunk(
    tx: &mut PgTransaction<'_>,
    campaign_id: CampaignId,
    block: u32,
    profile_ids: &[ProfileId],
) -> Result<(), Error> {
    let ids: Vec<Uuid> = profile_ids.iter().map(|id| id.0).collect();
    sqlx::query!(
        r#"
        insert into mailer.chunk (campaign_id, block, profile_ids)
        values ($1, $2, $3)
        on conflict do nothing
        "#,
        campaign_id.0,
        block.cast_signed(),
        &ids,
    )
    .execute(&mut **tx)
    .await?;
    Ok(())
}

/// Leases the first free chunk of these campaigns.
pub async fn lease_chunk(
    db: &PgPool,
    campaign_ids: &[CampaignId],
    owner: Uuid,
    now: DateTime<Utc>,
    until: DateTime<Utc>,
) -> Result<Option<Chunk>, Error> {
    let ids: Vec<Uuid> = campaign_ids.iter().map(|id| id.0).collect();
    let row = sqlx::query!(
        r#"
        update mailer.chunk as leased
        set owner = $2, epoch = leased.epoch + 1, leased_until = $4
        from (
            select chunk.campaign_id, chunk.block
            from mailer.chunk
            join mailer.campaign using (campaign_id)
            where campaign_id = any($1) and campaign.state = 'sending' and chunk.done_at is null
              and (chunk.leased_until is null or chunk.leased_until <= $3)
              and (chunk.not_before is null or chunk.not_before <= $3)
            order by chunk.not_before nulls first, chunk.campaign_id, chunk.block
            limit 1
            for update of chunk skip locked
        ) as free
        where leased.campaign_id = free.campaign_id and leased.block = free.block
        returning leased.campaign_id, leased.block, leased.profile_ids, leased.epoch
        "#,
        &ids,
        owner,
        now,
        until,
    )
    .fetch_optional(db)
    .await?;
    Ok(row.map(|row| Chunk {
        campaign_id: CampaignId(row.campaign_id),
        block: row.block,
        profile_ids: row.profile_ids.into_iter().map(ProfileId).collect(),
        epoch: row.epoch,
    }))
}

/// Goes on holding a chunk; false when somebody else has it.
pub async fn renew_chunk(db: &PgPool, chunk: &Chunk, until: DateTime<Utc>) -> Result<bool, Error> {
    let done = sqlx::query!(
        "update mailer.chunk set leased_until = $4 where campaign_id = $1 and block = $2 and epoch = $3",
        chunk.campaign_id.0,
        chunk.block,
        chunk.epoch,
        until,
    )
    .execute(db)
    .await?;
    Ok(done.rows_affected() == 1)
}

/// Gives a chunk back with people left.
#[tracing::instrument(name = "db.chunk.release", skip_all, fields(otel.kind = "client", db.system.name = "postgresql"))]
pub async fn release_chunk(db: &PgPool, chunk: &Chunk, not_before: DateTime<Utc>) -> Result<(), Error> {
    sqlx::query!(
        r#"
        update mailer.chunk
        set owner = null, leased_until = null, not_before = $4
        where campaign_id = $1 and block = $2 and epoch = $3
        "#,
        chunk.campaign_id.0,
        chunk.block,
        chunk.epoch,
        not_before,
    )
    .execute(db)
    .await?;
    Ok(())
}

/// Closes a chunk in which everybody has a row.
#[tracing::instrument(name = "db.chunk.finish", skip_all, fields(otel.kind = "client", db.system.name = "postgresql"))]
pub async fn finish_chunk(db: &PgPool, chunk: &Chunk, now: DateTime<Utc>) -> Result<(), Error> {
    sqlx::query!(
        r#"
        update mailer.chunk
        set owner = null, leased_until = null, done_at = $4
        where campaign_id = $1 and block = $2 and epoch = $3
        "#,
        chunk.campaign_id.0,
        chunk.block,
        chunk.epoch,
        now,
    )
    .execute(db)
    .await?;
    Ok(())
}

/// Which lease each of some chunks is in now.
#[tracing::instrument(name = "db.chunk.epochs", skip_all, fields(otel.kind = "client", db.system.name = "postgresql"))]
pub async fn epochs(
    tx: &mut PgTransaction<'_>,
    chunks: &[(CampaignId, i32)],
) -> Result<HashMap<(CampaignId, i32), i64>, Error> {
    let (campaigns, blocks): (Vec<Uuid>, Vec<i32>) = chunks.iter().map(|(id, block)| (id.0, *block)).unzip();
    let rows = sqlx::query!(
        r#"
        select chunk.campaign_id, chunk.block, chunk.epoch
        from mailer.chunk
        join unnest($1::uuid[], $2::integer[]) as asked (campaign_id, block)
          on chunk.campaign_id = asked.campaign_id and chunk.block = asked.block
        "#,
        &campaigns,
        &blocks,
    )
    .fetch_all(&mut **tx)
    .await?;
    Ok(rows.into_iter().map(|row| ((CampaignId(row.campaign_id), row.block), row.epoch)).collect())
}

/// Whether nobody of a campaign is left.
pub async fn is_all_done(tx: &mut PgTransaction<'_>, campaign_id: CampaignId) -> Result<bool, Error> {
    let done = sqlx::query_scalar!(
        r#"
        select not exists (select from mailer.chunk where campaign_id = $1 and done_at is null)
           and not exists (select from mailer.retry where campaign_id = $1) as "done!"
        "#,
        campaign_id.0,
    )
    .fetch_one(&mut **tx)
    .await?;
    Ok(done)
}

/// Leases deferred mails whose time has come.
pub async fn lease_retries(
    db: &PgPool,
    now: DateTime<Utc>,
    until: DateTime<Utc>,
    limit: i64,
) -> Result<Vec<(CampaignId, ProfileId)>, Error> {
    let rows = sqlx::query!(
        r#"
        update mailer.retry as leased
        set leased_until = $2
        from (
            select retry.campaign_id, retry.profile_id
            from mailer.retry
            join mailer.campaign using (campaign_id)
            where campaign.state = 'sending' and retry.next_at <= $1
              and (retry.leased_until is null or retry.leased_until <= $1)
            order by retry.next_at
            limit $3
            for update of retry skip locked
        ) as due
        where leased.campaign_id = due.campaign_id and leased.profile_id = due.profile_id
        returning leased.campaign_id, leased.profile_id
        "#,
        now,
        until,
        limit,
    )
    .fetch_all(db)
    .await?;
    Ok(rows.into_iter().map(|row| (CampaignId(row.campaign_id), ProfileId(row.profile_id))).collect())
}
