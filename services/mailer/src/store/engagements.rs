use domain::{CampaignId, DateTime, ProfileId, Utc, Uuid};
use sqlx::PgTransaction;

use crate::{
    Error,
    engagement::{Engagement, Kind},
};

/// Writes requests for pixels and links.
#[tracing::instrument(name = "db.engagement.insert", skip_all, fields(otel.kind = "client", db.system.name = "postgresql"))]
pub async fn insert_engagements(tx: &mut PgTransaction<'_>, engagements: &[Engagement]) -> Result<(), Error> {
    let campaigns: Vec<Uuid> = engagements.iter().map(|e| e.campaign_id.0).collect();
    let profiles: Vec<Uuid> = engagements.iter().map(|e| e.profile_id.0).collect();
    let kinds: Vec<String> = engagements.iter().map(|e| kind(e.kind).0.to_owned()).collect();
    let links: Vec<Option<i32>> = engagements.iter().map(|e| kind(e.kind).1).collect();
    let classes: Vec<String> = engagements.iter().map(|e| e.class.name().to_owned()).collect();
    let times: Vec<DateTime<Utc>> = engagements.iter().map(|e| e.at).collect();
    sqlx::query!(
        r#"
        insert into mailer.engagement (campaign_id, profile_id, kind, link, class, at)
        select * from unnest($1::uuid[], $2::uuid[], $3::text[], $4::integer[], $5::text[], $6::timestamptz[])
        "#,
        &campaigns,
        &profiles,
        &kinds,
        &links as _,
        &classes,
        &times,
    )
    .execute(&mut **tx)
    .await?;
    Ok(())
}

/// In which language a mail was, from its row of the ledger.
#[tracing::instrument(name = "db.engagement.language_of", skip_all, fields(otel.kind = "client", db.system.name = "postgresql"))]
pub async fn language_of(
    tx: &mut PgTransaction<'_>,
    campaign_id: CampaignId,
    profile_id: ProfileId,
) -> Result<String, Error> {
    let language = sqlx::query_scalar!(
        "select language from mailer.message where campaign_id = $1 and profile_id = $2",
        campaign_id.0,
        profile_id.0,
    )
    .fetch_optional(&mut **tx)
    .await?;
    Ok(language.unwrap_or_default())
}

/// The clicks of one mail since a time: link and when.
#[tracing::instrument(name = "db.engagement.recent_clicks", skip_all, fields(otel.kind = "client", db.system.name = "postgresql"))]
pub async fn recent_clicks(
    tx: &mut PgTransaction<'_>,
    campaign_id: CampaignId,
    profile_id: ProfileId,
    since: DateTime<Utc>,
) -> Result<Vec<(u16, DateTime<Utc>)>, Error> {
    let rows = sqlx::query!(
        r#"
        select link as "link!", at
        from mailer.engagement
        where campaign_id = $1 and profile_id = $2 and kind = 'click' and at >= $3
        order by at
        limit 1000
        "#,
        campaign_id.0,
        profile_id.0,
        since,
    )
    .fetch_all(&mut **tx)
    .await?;
    Ok(rows.into_iter().filter_map(|row| Some((u16::try_from(row.link).ok()?, row.at))).collect())
}

/// Calls the clicks of one mail since a time a machine's.
#[tracing::instrument(name = "db.engagement.reclassify", skip_all, fields(otel.kind = "client", db.system.name = "postgresql"))]
pub async fn reclassify(
    tx: &mut PgTransaction<'_>,
    campaign_id: CampaignId,
    profile_id: ProfileId,
    since: DateTime<Utc>,
) -> Result<(), Error> {
    sqlx::query!(
        r#"
        update mailer.engagement
        set class = 'machine'
        where campaign_id = $1 and profile_id = $2 and kind = 'click' and at >= $3
        "#,
        campaign_id.0,
        profile_id.0,
        since,
    )
    .execute(&mut **tx)
    .await?;
    Ok(())
}

fn kind(kind: Kind) -> (&'static str, Option<i32>) {
    match kind {
        Kind::Open => ("open", None),
        Kind::Click(link) => ("click", Some(i32::from(link))),
    }
}
