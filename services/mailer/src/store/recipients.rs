use std::collections::HashMap;

use domain::{EmailAddress, ProfileId, UserId, Uuid};
use sqlx::{PgPool, PgTransaction, types::Json};

use crate::{
    Error,
    recipient::{Fields, Head, Recipient},
};

struct Row {
    profile_id: Uuid,
    state: String,
    restricted: bool,
    email: Option<Vec<u8>>,
    locale: String,
    fields: Json<Fields>,
    heads: Json<Vec<Head>>,
}

/// Takes a newer profile in; an older or equal version changes nothing.
#[tracing::instrument(name = "db.recipient.save_profile", skip_all, fields(otel.kind = "client", db.system.name = "postgresql"))]
pub async fn save_profile(
    db: &PgPool,
    recipient: &Recipient,
    user_id: Option<UserId>,
    version: i64,
) -> Result<(), Error> {
    sqlx::query!(
        r#"
        insert into mailer.recipient as held
            (profile_id, profile_version, state, restricted, email, email_class, locale, fields, user_id)
        values ($1, $2, $3, $4, $5, $6, $7, $8, $9)
        on conflict (profile_id) do update
        set profile_version = excluded.profile_version, state = excluded.state, restricted = excluded.restricted,
            email = excluded.email, email_class = excluded.email_class, locale = excluded.locale,
            fields = excluded.fields, user_id = excluded.user_id
        where held.profile_version < excluded.profile_version
        "#,
        recipient.profile_id.0,
        version,
        recipient.state,
        recipient.restricted,
        recipient.email.as_ref().map(EmailAddress::as_bytes),
        recipient.email.as_ref().map(|email| email.class().name()),
        recipient.locale,
        Json(&recipient.fields) as _,
        user_id.map(|id| id.0),
    )
    .execute(db)
    .await?;
    Ok(())
}

/// Takes newer consents in; true when they were newer.
#[tracing::instrument(name = "db.recipient.save_consents", skip_all, fields(otel.kind = "client", db.system.name = "postgresql"))]
pub async fn save_consents(
    tx: &mut PgTransaction<'_>,
    profile_id: ProfileId,
    heads: &[Head],
    version: i64,
) -> Result<bool, Error> {
    let done = sqlx::query!(
        r#"
        insert into mailer.recipient as held (profile_id, consent_version, heads)
        values ($1, $2, $3)
        on conflict (profile_id) do update
        set consent_version = excluded.consent_version, heads = excluded.heads
        where held.consent_version < excluded.consent_version
        "#,
        profile_id.0,
        version,
        Json(heads) as _,
    )
    .execute(&mut **tx)
    .await?;
    Ok(done.rows_affected() == 1)
}

/// A person whose key is gone from the topic: the row stays without data, so that nobody is mailed by it.
#[tracing::instrument(name = "db.recipient.erase", skip_all, fields(otel.kind = "client", db.system.name = "postgresql"))]
pub async fn erase_recipient(db: &PgPool, profile_id: ProfileId, version: i64) -> Result<(), Error> {
    sqlx::query!(
        r#"
        update mailer.recipient
        set state = 'erased', email = null, email_class = null, fields = '{}', locale = '', user_id = null,
            profile_version = greatest(profile_version, $2)
        where profile_id = $1 and profile_version <= $2
        "#,
        profile_id.0,
        version,
    )
    .execute(db)
    .await?;
    Ok(())
}

/// People whose profile has arrived.
#[tracing::instrument(name = "db.recipient.load", skip_all, fields(otel.kind = "client", db.system.name = "postgresql"))]
pub async fn load_recipients(
    tx: &mut PgTransaction<'_>,
    profile_ids: &[Uuid],
) -> Result<HashMap<ProfileId, Recipient>, Error> {
    let rows = sqlx::query_as!(
        Row,
        r#"
        select profile_id, state, restricted, email, locale, fields as "fields: Json<Fields>",
               heads as "heads: Json<Vec<Head>>"
        from mailer.recipient
        where profile_id = any($1) and profile_version > 0
        "#,
        profile_ids,
    )
    .fetch_all(&mut **tx)
    .await?;
    let mut people = HashMap::with_capacity(rows.len());
    for row in rows {
        people.insert(ProfileId(row.profile_id), Recipient::try_from(row)?);
    }
    Ok(people)
}

/// The user of a profile, where one is known.
#[tracing::instrument(name = "db.recipient.user_of", skip_all, fields(otel.kind = "client", db.system.name = "postgresql"))]
pub async fn user_of(tx: &mut PgTransaction<'_>, profile_id: ProfileId) -> Result<Option<UserId>, Error> {
    let row = sqlx::query_scalar!("select user_id from mailer.recipient where profile_id = $1", profile_id.0)
        .fetch_optional(&mut **tx)
        .await?;
    Ok(row.flatten().map(UserId))
}

/// Notes how far a partition was read.
#[tracing::instrument(name = "db.consumed.save", skip_all, fields(otel.kind = "client", db.system.name = "postgresql"))]
pub async fn save_consumed(db: &PgPool, topic: &str, partition: i32, next_offset: i64) -> Result<(), Error> {
    sqlx::query!(
        r#"
        insert into mailer.consumed (topic, partition, next_offset)
        values ($1, $2, $3)
        on conflict (topic, partition) do update set next_offset = excluded.next_offset
        "#,
        topic,
        partition,
        next_offset,
    )
    .execute(db)
    .await?;
    Ok(())
}

/// Whether everything up to these offsets was read here.
pub async fn is_caught_up(db: &PgPool, watermark: &[(String, i32, i64)]) -> Result<bool, Error> {
    let topics: Vec<String> = watermark.iter().map(|(topic, _, _)| topic.clone()).collect();
    let partitions: Vec<i32> = watermark.iter().map(|(_, partition, _)| *partition).collect();
    let offsets: Vec<i64> = watermark.iter().map(|(_, _, offset)| *offset).collect();
    let behind = sqlx::query_scalar!(
        r#"
        select exists (
            select
            from unnest($1::text[], $2::integer[], $3::bigint[]) as asked (topic, partition, next_offset)
            left join mailer.consumed
              on consumed.topic = asked.topic and consumed.partition = asked.partition
            where coalesce(consumed.next_offset, 0) < asked.next_offset) as "behind!"
        "#,
        &topics,
        &partitions,
        &offsets,
    )
    .fetch_one(db)
    .await?;
    Ok(!behind)
}

/// Key of the hashes by which addresses are known outside.
#[tracing::instrument(name = "db.address_hash_key.load", skip_all, fields(otel.kind = "client", db.system.name = "postgresql"))]
pub async fn address_hash_key(tx: &mut PgTransaction<'_>) -> Result<Vec<u8>, Error> {
    let key = sqlx::query_scalar!("select value from mailer.secret where name = 'address_hash'")
        .fetch_optional(&mut **tx)
        .await?;
    key.ok_or(Error::Stored { what: "key of address hashes" })
}

impl TryFrom<Row> for Recipient {
    type Error = Error;

    fn try_from(row: Row) -> Result<Self, Error> {
        let email = row.email.as_deref().map(EmailAddress::classify).transpose();
        Ok(Self {
            profile_id: ProfileId(row.profile_id),
            state: row.state,
            restricted: row.restricted,
            email: email.map_err(|_| Error::Stored { what: "e-mail address" })?,
            locale: row.locale,
            fields: row.fields.0,
            heads: row.heads.0,
        })
    }
}
