use std::collections::{BTreeMap, HashMap, HashSet};

use domain::{CampaignId, DateTime, ProfileId, Utc, Uuid};
use sqlx::{PgPool, PgTransaction};

use crate::{
    Error,
    message::{Outcome, State},
};

/// Whose row of the ledger.
pub type LedgerKey = (CampaignId, ProfileId);

/// A row to write.
#[derive(Debug, Clone)]
pub struct Ledgered {
    /// Whose.
    pub key: LedgerKey,
    /// What became of it.
    pub outcome: Outcome,
}

/// A row as reports show it.
#[derive(Debug)]
pub struct LedgerLine {
    /// Whose.
    pub key: LedgerKey,
    /// Where it stands.
    pub state: State,
    /// Skip reason or status code.
    pub reason: String,
    /// With angle brackets.
    pub message_id: String,
    /// The relay's code.
    pub relay_code: Option<i32>,
    /// In which language.
    pub language: String,
    /// The consent that permitted it.
    pub consent_record_id: Option<Uuid>,
    /// When it last changed.
    pub at: DateTime<Utc>,
}

/// Counts of a campaign.
#[derive(Debug, Default)]
pub struct CampaignReport {
    /// Handed to a relay at least once.
    pub sent: u64,
    /// By state.
    pub by_state: BTreeMap<String, u64>,
    /// By skip reason.
    pub skipped: BTreeMap<String, u64>,
    /// Accepted, with tracking.
    pub tracked: u64,
    /// People who opened; opens by machines.
    pub opens: (u64, u64),
    /// Clicks by people and by machines.
    pub clicks: (u64, u64),
    /// People who unsubscribed by its mail.
    pub unsubscribed: u64,
}

/// Writes outcomes and their later attempts. A row that has a final outcome stays; the keys that changed come back.
#[tracing::instrument(name = "db.message.save_outcomes", skip_all, fields(otel.kind = "client", db.system.name = "postgresql"))]
pub async fn save_outcomes(
    tx: &mut PgTransaction<'_>,
    rows: &[Ledgered],
    now: DateTime<Utc>,
) -> Result<HashSet<LedgerKey>, Error> {
    if rows.is_empty() {
        return Ok(HashSet::new());
    }
    // One row a key and statement: PostgreSQL refuses to change a row twice.
    let rows: HashMap<LedgerKey, &Outcome> = rows.iter().map(|row| (row.key, &row.outcome)).collect();
    let outcomes: Vec<&Outcome> = rows.values().copied().collect();
    let (campaigns, profiles) = split(rows.keys().copied());
    let text = |field: fn(&Outcome) -> &str| -> Vec<String> {
        outcomes.iter().map(|outcome| field(outcome).to_owned()).collect()
    };
    let codes: Vec<Option<i32>> = outcomes.iter().map(|outcome| outcome.relay_code.map(i32::from)).collect();
    let tracked: Vec<bool> = outcomes.iter().map(|outcome| outcome.tracked).collect();
    let consents: Vec<Option<Uuid>> = outcomes.iter().map(|outcome| outcome.consent_record_id).collect();
    let changed = sqlx::query!(
        r#"
        insert into mailer.message as held
            (campaign_id, profile_id, state, reason, message_id, relay_code, relay_reply, language, tracked,
             consent_record_id, attempts, at)
        select campaign_id, profile_id, state, reason, message_id, relay_code, relay_reply, language, tracked,
               consent_record_id, (state in ('accepted', 'deferred', 'bounced'))::integer, $11
        from unnest($1::uuid[], $2::uuid[], $3::text[], $4::text[], $5::text[], $6::integer[], $7::text[], $8::text[],
                    $9::boolean[], $10::uuid[])
            as new (campaign_id, profile_id, state, reason, message_id, relay_code, relay_reply, language, tracked,
                    consent_record_id)
        on conflict (campaign_id, profile_id) do update
        set state = excluded.state, reason = excluded.reason, message_id = excluded.message_id,
            relay_code = excluded.relay_code, relay_reply = excluded.relay_reply, language = excluded.language,
            tracked = excluded.tracked, consent_record_id = excluded.consent_record_id,
            attempts = held.attempts + excluded.attempts, at = excluded.at
        where held.state in ('handing', 'deferred', 'unknown')
        returning campaign_id, profile_id
        "#,
        &campaigns,
        &profiles,
        &text(|outcome| outcome.state.name()),
        &text(|outcome| &outcome.reason),
        &text(|outcome| &outcome.message_id),
        &codes as _,
        &text(|outcome| &outcome.relay_reply),
        &text(|outcome| &outcome.language),
        &tracked,
        &consents as _,
        now,
    )
    .fetch_all(&mut **tx)
    .await?;
    save_retries(tx, &rows).await?;
    Ok(changed.into_iter().map(|row| (CampaignId(row.campaign_id), ProfileId(row.profile_id))).collect())
}

async fn save_retries(tx: &mut PgTransaction<'_>, rows: &HashMap<LedgerKey, &Outcome>) -> Result<(), Error> {
    let later = |outcome: &Outcome| outcome.retry_at.filter(|_| outcome.state == State::Deferred);
    let (campaigns, profiles) = split(rows.iter().filter(|(_, o)| later(o).is_none()).map(|(key, _)| *key));
    sqlx::query!(
        r#"
        delete from mailer.retry
        using unnest($1::uuid[], $2::uuid[]) as over (campaign_id, profile_id)
        where retry.campaign_id = over.campaign_id and retry.profile_id = over.profile_id
        "#,
        &campaigns,
        &profiles,
    )
    .execute(&mut **tx)
    .await?;
    let (campaigns, profiles) = split(rows.iter().filter(|(_, o)| later(o).is_some()).map(|(key, _)| *key));
    let times: Vec<DateTime<Utc>> = rows.values().filter_map(|outcome| later(outcome)).collect();
    if times.is_empty() {
        return Ok(());
    }
    sqlx::query!(
        r#"
        insert into mailer.retry (campaign_id, profile_id, next_at)
        select * from unnest($1::uuid[], $2::uuid[], $3::timestamptz[])
        on conflict (campaign_id, profile_id) do update
        set next_at = excluded.next_at, leased_until = null
        "#,
        &campaigns,
        &profiles,
        &times,
    )
    .execute(&mut **tx)
    .await?;
    Ok(())
}

/// State and attempts of rows that are there.
#[tracing::instrument(name = "db.message.held_states", skip_all, fields(otel.kind = "client", db.system.name = "postgresql"))]
pub async fn held_states(
    tx: &mut PgTransaction<'_>,
    keys: &[LedgerKey],
) -> Result<HashMap<LedgerKey, (State, u32)>, Error> {
    let (campaigns, profiles) = split(keys.iter().copied());
    let rows = sqlx::query!(
        r#"
        select message.campaign_id, message.profile_id, message.state, message.attempts
        from mailer.message
        join unnest($1::uuid[], $2::uuid[]) as asked (campaign_id, profile_id)
          on message.campaign_id = asked.campaign_id and message.profile_id = asked.profile_id
        "#,
        &campaigns,
        &profiles,
    )
    .fetch_all(&mut **tx)
    .await?;
    let mut held = HashMap::with_capacity(rows.len());
    for row in rows {
        let state = State::find(&row.state).ok_or(Error::Stored { what: "message state" })?;
        let key = (CampaignId(row.campaign_id), ProfileId(row.profile_id));
        held.insert(key, (state, row.attempts.cast_unsigned()));
    }
    Ok(held)
}

/// Marks mails that may leave at most once; the keys that nobody else had marked or sent come back.
#[tracing::instrument(name = "db.message.insert_handing", skip_all, fields(otel.kind = "client", db.system.name = "postgresql"))]
pub async fn insert_handing(
    tx: &mut PgTransaction<'_>,
    keys: &[LedgerKey],
    now: DateTime<Utc>,
) -> Result<HashSet<LedgerKey>, Error> {
    let (campaigns, profiles) = split(keys.iter().copied());
    let rows = sqlx::query!(
        r#"
        insert into mailer.message as held (campaign_id, profile_id, state, at)
        select campaign_id, profile_id, 'handing', $3
        from unnest($1::uuid[], $2::uuid[]) as new (campaign_id, profile_id)
        on conflict (campaign_id, profile_id) do update
        set state = 'handing', at = excluded.at
        where held.state = 'deferred'
        returning campaign_id, profile_id
        "#,
        &campaigns,
        &profiles,
        now,
    )
    .fetch_all(&mut **tx)
    .await?;
    Ok(rows.into_iter().map(|row| (CampaignId(row.campaign_id), ProfileId(row.profile_id))).collect())
}

/// Takes marks back from mails of which no byte of content left.
#[tracing::instrument(name = "db.message.delete_handing", skip_all, fields(otel.kind = "client", db.system.name = "postgresql"))]
pub async fn delete_handing(tx: &mut PgTransaction<'_>, keys: &[LedgerKey]) -> Result<(), Error> {
    if keys.is_empty() {
        return Ok(());
    }
    let (campaigns, profiles) = split(keys.iter().copied());
    sqlx::query!(
        r#"
        update mailer.message
        set state = 'deferred'
        from unnest($1::uuid[], $2::uuid[]) as asked (campaign_id, profile_id)
        where message.campaign_id = asked.campaign_id and message.profile_id = asked.profile_id
          and state = 'handing' and attempts > 0
        "#,
        &campaigns,
        &profiles,
    )
    .execute(&mut **tx)
    .await?;
    sqlx::query!(
        r#"
        delete from mailer.message
        using unnest($1::uuid[], $2::uuid[]) as asked (campaign_id, profile_id)
        where message.campaign_id = asked.campaign_id and message.profile_id = asked.profile_id
          and state = 'handing' and attempts = 0
        "#,
        &campaigns,
        &profiles,
    )
    .execute(&mut **tx)
    .await?;
    Ok(())
}

/// Of some people those without an outcome: no row, or one that was marked before a crash.
#[tracing::instrument(name = "db.message.without_rows", skip_all, fields(otel.kind = "client", db.system.name = "postgresql"))]
pub async fn without_rows(
    db: &PgPool,
    campaign_id: CampaignId,
    profile_ids: &[ProfileId],
) -> Result<Vec<ProfileId>, Error> {
    let ids: Vec<Uuid> = profile_ids.iter().map(|id| id.0).collect();
    let left = sqlx::query_scalar!(
        r#"
        select asked.profile_id as "profile_id!"
        from unnest($2::uuid[]) with ordinality as asked (profile_id, rank)
        where not exists (
            select from mailer.message
            where message.campaign_id = $1 and message.profile_id = asked.profile_id and message.state <> 'handing')
        order by asked.rank
        "#,
        campaign_id.0,
        &ids,
    )
    .fetch_all(db)
    .await?;
    Ok(left.into_iter().map(ProfileId).collect())
}

/// Ends the later attempts of a cancelled campaign.
#[tracing::instrument(name = "db.message.cancel_deferred", skip_all, fields(otel.kind = "client", db.system.name = "postgresql"))]
pub async fn cancel_deferred(
    tx: &mut PgTransaction<'_>,
    campaign_id: CampaignId,
    now: DateTime<Utc>,
) -> Result<Vec<ProfileId>, Error> {
    sqlx::query!("delete from mailer.retry where campaign_id = $1", campaign_id.0).execute(&mut **tx).await?;
    let ids = sqlx::query_scalar!(
        r#"
        update mailer.message
        set state = 'skipped', reason = 'cancelled', at = $2
        where campaign_id = $1 and state = 'deferred'
        returning profile_id
        "#,
        campaign_id.0,
        now,
    )
    .fetch_all(&mut **tx)
    .await?;
    Ok(ids.into_iter().map(ProfileId).collect())
}

fn split(keys: impl Iterator<Item = LedgerKey>) -> (Vec<Uuid>, Vec<Uuid>) {
    keys.map(|(campaign_id, profile_id)| (campaign_id.0, profile_id.0)).unzip()
}
