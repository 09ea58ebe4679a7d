use std::collections::BTreeMap;

use domain::{DateTime, EmailAddress, ProfileId, UserId, Utc, Uuid};
use serde::{Deserialize, Serialize};
use sqlx::{PgExecutor, PgPool, PgTransaction, types::Json};

use crate::{
    Error,
    profile::{ExternalId, ExternalIdKind, Profile, Source, State, Trait},
    schema::Value,
};

/// A profile as its row holds it, with its keys beside.
struct Row {
    profile_id: Uuid,
    version: i64,
    state: String,
    traits: Json<BTreeMap<u16, StoredTrait>>,
    email: Option<Vec<u8>>,
    locale: String,
    time_zone: Option<String>,
    restricted: bool,
    created_at: DateTime<Utc>,
    changed_at: DateTime<Utc>,
    key_types: Vec<String>,
    key_values: Vec<Vec<u8>>,
}

/// A trait in jsonb: short names, since every profile repeats them.
#[derive(Serialize, Deserialize)]
struct StoredTrait {
    #[serde(rename = "v")]
    value: StoredValue,
    #[serde(rename = "s")]
    source: String,
    #[serde(rename = "c")]
    client_id: String,
    #[serde(rename = "t")]
    at: DateTime<Utc>,
}

#[derive(Serialize, Deserialize)]
enum StoredValue {
    #[serde(rename = "x")]
    Text(String),
    #[serde(rename = "d")]
    Date(domain::NaiveDate),
    #[serde(rename = "m")]
    Set(Vec<String>),
}

/// The profile of this id, if there is one.
pub async fn load(pool: &PgPool, profile_id: ProfileId) -> Result<Option<Profile>, Error> {
    Ok(load_many(pool, &[profile_id]).await?.pop())
}

/// The profiles of these ids; unknown ones are left out.
#[tracing::instrument(name = "db.profile.load", skip_all, fields(otel.kind = "client", db.system.name = "postgresql"))]
pub async fn load_many(
    database: impl PgExecutor<'_>,
    profile_ids: &[ProfileId],
) -> Result<Vec<Profile>, Error> {
    let ids: Vec<Uuid> = profile_ids.iter().map(|id| id.0).collect();
    let rows = sqlx::query_as!(
        Row,
        r#"
        select p.profile_id, p.version, p.state, p.traits as "traits: Json<BTreeMap<u16, StoredTrait>>", p.email,
               p.locale, p.time_zone, p.restricted, p.created_at, p.changed_at,
               array(select e.type from profile.external_id e where e.profile_id = p.profile_id
                     order by e.type, e.value) as "key_types!",
               array(select e.value from profile.external_id e where e.profile_id = p.profile_id
                     order by e.type, e.value) as "key_values!"
        from profile.profile p
        where p.profile_id = any($1)
        "#,
        &ids,
    )
    .fetch_all(database)
    .await?;
    rows.into_iter().map(Profile::try_from).collect()
}

/// Locks and loads a profile. The lock is taken first: what is read after it is what was last committed.
#[tracing::instrument(name = "db.profile.load_for_update", skip_all, fields(otel.kind = "client", db.system.name = "postgresql"))]
pub async fn load_for_update(
    tx: &mut PgTransaction<'_>,
    profile_id: ProfileId,
) -> Result<Option<Profile>, Error> {
    let locked =
        sqlx::query_scalar!("select 1 from profile.profile where profile_id = $1 for update", profile_id.0)
            .fetch_optional(&mut **tx)
            .await?;
    if locked.is_none() {
        return Ok(None);
    }
    let row = sqlx::query_as!(
        Row,
        r#"
        select p.profile_id, p.version, p.state, p.traits as "traits: Json<BTreeMap<u16, StoredTrait>>", p.email,
               p.locale, p.time_zone, p.restricted, p.created_at, p.changed_at,
               array(select e.type from profile.external_id e where e.profile_id = p.profile_id
                     order by e.type, e.value) as "key_types!",
               array(select e.value from profile.external_id e where e.profile_id = p.profile_id
                     order by e.type, e.value) as "key_values!"
        from profile.profile p
        where p.profile_id = $1
        "#,
        profile_id.0,
    )
    .fetch_one(&mut **tx)
    .await?;
    Profile::try_from(row).map(Some)
}

/// Locks the next profiles behind one, in the order of their ids.
#[tracing::instrument(name = "db.profile.lock_page", skip_all, fields(otel.kind = "client", db.system.name = "postgresql"))]
pub async fn lock_page(
    tx: &mut PgTransaction<'_>,
    after: Option<ProfileId>,
    limit: i64,
) -> Result<Vec<ProfileId>, Error> {
    let ids: Vec<Uuid> = sqlx::query_scalar(
        "select profile_id
         from profile.profile
         where profile_id > coalesce($1, '00000000-0000-0000-0000-000000000000') and state <> 'erased'
         order by profile_id
         limit $2
         for update",
    )
    .bind(after.map(|id| id.0))
    .bind(limit)
    .fetch_all(&mut **tx)
    .await?;
    Ok(ids.into_iter().map(ProfileId).collect())
}

/// The active profile that holds this key, locked.
#[tracing::instrument(name = "db.external_id.find", skip_all, fields(otel.kind = "client", db.system.name = "postgresql"))]
pub async fn load_by_external_id_for_update(
    tx: &mut PgTransaction<'_>,
    key: &ExternalId,
) -> Result<Option<Profile>, Error> {
    let holder = sqlx::query_scalar!(
        "select profile_id from profile.external_id where type = $1 and value = $2",
        key.kind.name(),
        &key.value,
    )
    .fetch_optional(&mut **tx)
    .await?;
    match holder {
        Some(profile_id) => load_for_update(tx, ProfileId(profile_id)).await,
        None => Ok(None),
    }
}

/// Who holds this key.
#[tracing::instrument(name = "db.external_id.find", skip_all, fields(otel.kind = "client", db.system.name = "postgresql"))]
pub async fn find_by_external_id(pool: &PgPool, key: &ExternalId) -> Result<Option<ProfileId>, Error> {
    let holder = sqlx::query_scalar!(
        "select profile_id from profile.external_id where type = $1 and value = $2",
        key.kind.name(),
        &key.value,
    )
    .fetch_optional(pool)
    .await?;
    Ok(holder.map(ProfileId))
}

/// Writes a new profile with its keys.
#[tracing::instrument(name = "db.profile.insert", skip_all, fields(otel.kind = "client", db.system.name = "postgresql"))]
pub async fn insert(tx: &mut PgTransaction<'_>, profile: &Profile) -> Result<(), Error> {
    sqlx::query!(
        r#"
        insert into profile.profile
            (profile_id, version, state, traits, email, email_class, locale, time_zone, restricted, created_at, changed_at)
        values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)
        "#,
        profile.profile_id.0,
        profile.version,
        profile.state.name(),
        Json(stored_traits(profile)) as _,
        profile.email.as_ref().map(EmailAddress::as_bytes),
        profile.email.as_ref().map(|email| email.class().name()),
        profile.locale.tag(),
        profile.time_zone,
        profile.restricted,
        profile.created_at,
        profile.changed_at,
    )
    .execute(&mut **tx)
    .await?;
    save_external_ids(tx, profile).await
}

/// Writes a changed profile; its row is locked by the caller.
#[tracing::instrument(name = "db.profile.save", skip_all, fields(otel.kind = "client", db.system.name = "postgresql"))]
pub async fn save(tx: &mut PgTransaction<'_>, profile: &Profile) -> Result<(), Error> {
    sqlx::query!(
        r#"
        update profile.profile
        set version = $2, state = $3, traits = $4, email = $5, email_class = $6, locale = $7, time_zone = $8,
            restricted = $9, changed_at = $10
        where profile_id = $1
        "#,
        profile.profile_id.0,
        profile.version,
        profile.state.name(),
        Json(stored_traits(profile)) as _,
        profile.email.as_ref().map(EmailAddress::as_bytes),
        profile.email.as_ref().map(|email| email.class().name()),
        profile.locale.tag(),
        profile.time_zone,
        profile.restricted,
        profile.changed_at,
    )
    .execute(&mut **tx)
    .await?;
    save_external_ids(tx, profile).await
}

async fn save_external_ids(tx: &mut PgTransaction<'_>, profile: &Profile) -> Result<(), Error> {
    let types: Vec<String> = profile.external_ids.iter().map(|id| id.kind.name().to_owned()).collect();
    let values: Vec<Vec<u8>> = profile.external_ids.iter().map(|id| id.value.clone()).collect();
    sqlx::query!(
        r#"
        delete from profile.external_id
        where profile_id = $1 and (type, value) not in (select * from unnest($2::text[], $3::bytea[]))
        "#,
        profile.profile_id.0,
        &types,
        &values,
    )
    .execute(&mut **tx)
    .await?;
    sqlx::query!(
        r#"
        insert into profile.external_id (type, value, profile_id)
        select type, value, $1 from unnest($2::text[], $3::bytea[]) as key (type, value)
        on conflict (type, value) do update set profile_id = excluded.profile_id
        where profile.external_id.profile_id = excluded.profile_id
        "#,
        profile.profile_id.0,
        &types,
        &values,
    )
    .execute(&mut **tx)
    .await?;
    Ok(())
}

/// Serialises everything about one user, and tells how far that user has been followed and to which profile.
#[tracing::instrument(name = "db.user_link.lock", skip_all, fields(otel.kind = "client", db.system.name = "postgresql"))]
pub async fn lock_user(
    tx: &mut PgTransaction<'_>,
    user_id: UserId,
) -> Result<Option<(ProfileId, i64)>, Error> {
    // A row to lock may not be there yet, so the lock is on the id itself, until the transaction ends.
    sqlx::query!("select pg_advisory_xact_lock(hashtextextended($1, 0))", user_id.to_string())
        .execute(&mut **tx)
        .await?;
    let row = sqlx::query!("select profile_id, version from profile.user_link where user_id = $1", user_id.0)
        .fetch_optional(&mut **tx)
        .await?;
    Ok(row.map(|row| (ProfileId(row.profile_id), row.version)))
}

/// Notes how far a user has been followed.
#[tracing::instrument(name = "db.user_link.save", skip_all, fields(otel.kind = "client", db.system.name = "postgresql"))]
pub async fn save_user(
    tx: &mut PgTransaction<'_>,
    user_id: UserId,
    profile_id: ProfileId,
    version: i64,
) -> Result<(), Error> {
    sqlx::query!(
        r#"
        insert into profile.user_link (user_id, profile_id, version)
        values ($1, $2, $3)
        on conflict (user_id) do update set version = excluded.version
        "#,
        user_id.0,
        profile_id.0,
        version,
    )
    .execute(&mut **tx)
    .await?;
    Ok(())
}

fn stored_traits(profile: &Profile) -> BTreeMap<u16, StoredTrait> {
    let stored = |held: &Trait| StoredTrait {
        value: match &held.value {
            Value::Text(text) => StoredValue::Text(text.clone()),
            Value::Date(day) => StoredValue::Date(*day),
            Value::Set(members) => StoredValue::Set(members.clone()),
        },
        source: held.source.name().to_owned(),
        client_id: held.client_id.clone(),
        at: held.at,
    };
    profile.traits.iter().map(|(id, held)| (*id, stored(held))).collect()
}

impl TryFrom<Row> for Profile {
    type Error = Error;

    fn try_from(row: Row) -> Result<Self, Error> {
        let mut traits = BTreeMap::new();
        for (id, stored) in row.traits.0 {
            let value = match stored.value {
                StoredValue::Text(text) => Value::Text(text),
                StoredValue::Date(day) => Value::Date(day),
                StoredValue::Set(members) => Value::Set(members),
            };
            let source = Source::find(&stored.source).ok_or(Error::Stored { what: "trait source" })?;
            traits.insert(id, Trait { value, source, client_id: stored.client_id, at: stored.at });
        }
        let mut external_ids = Vec::with_capacity(row.key_types.len());
        for (kind, value) in row.key_types.iter().zip(row.key_values) {
            let kind = ExternalIdKind::find(kind).ok_or(Error::Stored { what: "external id type" })?;
            external_ids.push(ExternalId { kind, value });
        }
        let email = row.email.as_deref().map(EmailAddress::classify).transpose();
        Ok(Self {
            profile_id: ProfileId(row.profile_id),
            version: row.version,
            state: State::find(&row.state).ok_or(Error::Stored { what: "state" })?,
            traits,
            external_ids,
            email: email.map_err(|_| Error::Stored { what: "e-mail address" })?,
            locale: row.locale.parse().map_err(|_| Error::Stored { what: "locale" })?,
            time_zone: row.time_zone,
            restricted: row.restricted,
            created_at: row.created_at,
            changed_at: row.changed_at,
        })
    }
}
