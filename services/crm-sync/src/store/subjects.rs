use std::collections::BTreeMap;

use domain::{ConsentKey, DateTime, EmailAddress, Locale, ProfileId, Utc, Uuid};
use serde::{Deserialize, Serialize};
use sqlx::{PgExecutor, PgTransaction};

use crate::{
    Error,
    subject::{Head, Heads, Standing, Status, Subject, TraitValue},
};

struct Row {
    profile_id: Uuid,
    ordinal: i64,
    profile_version: i64,
    consent_version: i64,
    state: String,
    restricted: bool,
    locale: Option<String>,
    email: Option<Vec<u8>>,
    traits: serde_json::Value,
    heads: serde_json::Value,
}

/// A head as the row holds it.
#[derive(Serialize, Deserialize)]
struct StoredHead {
    purpose: String,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    recipient: String,
    status: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    valid_until: Option<DateTime<Utc>>,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    notice: String,
}

/// A profile as its newest record tells it.
#[derive(Debug)]
pub struct ProfileSeen {
    /// Who.
    pub profile_id: ProfileId,
    /// Version of the record.
    pub version: i64,
    /// Where the profile stands.
    pub state: Standing,
    /// Processing is restricted.
    pub restricted: bool,
    /// Language of mails.
    pub locale: Option<Locale>,
    /// The verified address.
    pub email: Option<EmailAddress>,
    /// Values by name.
    pub traits: BTreeMap<String, TraitValue>,
}

/// Consents as their newest record tells them.
#[derive(Debug)]
pub struct ConsentsSeen {
    /// Whose.
    pub profile_id: ProfileId,
    /// Version of the record.
    pub version: i64,
    /// The newest answers.
    pub heads: Heads,
}

impl Row {
    fn subject(self) -> Result<Subject, Error> {
        let stored = |what| Error::Stored { what };
        let traits: BTreeMap<String, TraitValue> =
            serde_json::from_value(self.traits).map_err(|_| stored("traits"))?;
        let heads: Vec<StoredHead> = serde_json::from_value(self.heads).map_err(|_| stored("consents"))?;
        let email = self.email.map(|bytes| EmailAddress::classify(&bytes)).transpose();
        Ok(Subject {
            profile_id: self.profile_id.into(),
            ordinal: self.ordinal,
            profile_version: self.profile_version,
            consent_version: self.consent_version,
            state: Standing::of(&self.state),
            restricted: self.restricted,
            locale: self.locale.and_then(|tag| tag.parse().ok()),
            email: email.map_err(|_| stored("address"))?,
            traits: traits.into(),
            heads: heads.into_iter().map(StoredHead::head).collect::<Result<_, _>>()?,
        })
    }
}

impl StoredHead {
    fn head(self) -> Result<(ConsentKey, Head), Error> {
        let stored = |_| Error::Stored { what: "consents" };
        let key = ConsentKey::new(self.purpose.parse().map_err(stored)?, &self.recipient).map_err(stored)?;
        let status = Status::of(&self.status);
        Ok((key, Head { status, valid_until: self.valid_until, notice_sha256: self.notice }))
    }

    fn of((key, head): (&ConsentKey, &Head)) -> Self {
        Self {
            purpose: key.purpose().name().to_owned(),
            recipient: key.recipient().to_owned(),
            status: head.status.name().to_owned(),
            valid_until: head.valid_until,
            notice: head.notice_sha256.clone(),
        }
    }
}

/// Takes a profile in, unless a newer one is there. True when it was new.
#[tracing::instrument(name = "db.subject.see_profile", skip_all, fields(otel.kind = "client", db.system.name = "postgresql"))]
pub async fn see_profile(
    tx: &mut PgTransaction<'_>,
    seen: &ProfileSeen,
    now: DateTime<Utc>,
) -> Result<bool, Error> {
    let traits = serde_json::to_value(&seen.traits).map_err(|_| Error::Stored { what: "traits" })?;
    let done = sqlx::query!(
        r#"
        insert into crmsync.subject as s
            (profile_id, profile_version, state, restricted, locale, email, traits, changed_at)
        values ($1, $2, $3, $4, $5, $6, $7, $8)
        on conflict (profile_id) do update
        set profile_version = excluded.profile_version, state = excluded.state, restricted = excluded.restricted,
            locale = excluded.locale, email = excluded.email, traits = excluded.traits,
            changed_at = excluded.changed_at
        where s.profile_version < excluded.profile_version
        "#,
        seen.profile_id.0,
        seen.version,
        seen.state.name(),
        seen.restricted,
        seen.locale.map(Locale::tag),
        seen.email.as_ref().map(EmailAddress::as_bytes),
        traits,
        now,
    )
    .execute(&mut **tx)
    .await?;
    Ok(done.rows_affected() == 1)
}

/// Takes consents in, unless newer ones are there. True when they were new.
#[tracing::instrument(name = "db.subject.see_consents", skip_all, fields(otel.kind = "client", db.system.name = "postgresql"))]
pub async fn see_consents(
    tx: &mut PgTransaction<'_>,
    seen: &ConsentsSeen,
    now: DateTime<Utc>,
) -> Result<bool, Error> {
    let heads: Vec<StoredHead> = seen.heads.iter().map(StoredHead::of).collect();
    let heads = serde_json::to_value(heads).map_err(|_| Error::Stored { what: "consents" })?;
    let done = sqlx::query!(
        r#"
        insert into crmsync.subject as s (profile_id, consent_version, heads, changed_at)
        values ($1, $2, $3, $4)
        on conflict (profile_id) do update
        set consent_version = excluded.consent_version, heads = excluded.heads, changed_at = excluded.changed_at
        where s.consent_version < excluded.consent_version
        "#,
        seen.profile_id.0,
        seen.version,
        heads,
        now,
    )
    .execute(&mut **tx)
    .await?;
    Ok(done.rows_affected() == 1)
}

/// People of a range of ordinals, both ends within, in order.
#[tracing::instrument(name = "db.subject.page", skip_all, fields(otel.kind = "client", db.system.name = "postgresql"))]
pub async fn page(db: impl PgExecutor<'_>, from: i64, to: i64, most: i64) -> Result<Vec<Subject>, Error> {
    let rows = sqlx::query_as!(
        Row,
        r#"
        select profile_id, ordinal, profile_version, consent_version, state, restricted, locale, email, traits, heads
        from crmsync.subject
        where ordinal between $1 and $2
        order by ordinal
        limit $3
        "#,
        from,
        to,
        most,
    )
    .fetch_all(db)
    .await?;
    rows.into_iter().map(Row::subject).collect()
}

/// People by id.
#[tracing::instrument(name = "db.subject.load", skip_all, fields(otel.kind = "client", db.system.name = "postgresql"))]
pub async fn load_subjects(db: impl PgExecutor<'_>, ids: &[Uuid]) -> Result<Vec<Subject>, Error> {
    let rows = sqlx::query_as!(
        Row,
        r#"
        select profile_id, ordinal, profile_version, consent_version, state, restricted, locale, email, traits, heads
        from crmsync.subject
        where profile_id = any($1)
        "#,
        ids,
    )
    .fetch_all(db)
    .await?;
    rows.into_iter().map(Row::subject).collect()
}

/// The highest ordinal so far.
#[tracing::instrument(name = "db.subject.last_ordinal", skip_all, fields(otel.kind = "client", db.system.name = "postgresql"))]
pub async fn last_ordinal(db: impl PgExecutor<'_>) -> Result<i64, Error> {
    let last = sqlx::query_scalar!(r#"select coalesce(max(ordinal), 0) as "last!" from crmsync.subject"#);
    Ok(last.fetch_one(db).await?)
}

/// People of a chunk whose profile or consents are newer than its ledger says.
#[tracing::instrument(name = "db.subject.changed_in_range", skip_all, fields(otel.kind = "client", db.system.name = "postgresql"))]
pub async fn changed_in_range(db: impl PgExecutor<'_>, chunk_id: Uuid) -> Result<Vec<Subject>, Error> {
    let rows = sqlx::query_as!(
        Row,
        r#"
        select s.profile_id, s.ordinal, s.profile_version, s.consent_version, s.state, s.restricted, s.locale,
               s.email, s.traits, s.heads
        from crmsync.delivery d
        join crmsync.subject s on s.profile_id = d.profile_id
        where d.chunk_id = $1
          and (s.profile_version, s.consent_version) is distinct from (d.profile_version, d.consent_version)
        "#,
        chunk_id,
    )
    .fetch_all(db)
    .await?;
    rows.into_iter().map(Row::subject).collect()
}
