use domain::{DateTime, Utc};
use serde_json::Value;
use sqlx::PgExecutor;

use crate::error::Error;

/// What somebody did, for the audit: ids and codes, nothing personal.
#[derive(Debug, Clone, Default)]
pub struct AuditRecord {
    pub actor: String,
    pub action: &'static str,
    pub subject: String,
    pub client_id: String,
    pub outcome: &'static str,
    pub ip_hmac: Option<Vec<u8>>,
    pub detail: Option<Value>,
}

#[tracing::instrument(name = "db.audit_record.insert", skip_all, fields(otel.kind = "client", db.system.name = "postgresql"))]
pub async fn insert(db: impl PgExecutor<'_>, record: &AuditRecord, now: DateTime<Utc>) -> Result<(), Error> {
    sqlx::query!(
        "insert into identity.audit_record (audit_id, at, actor, action, subject, client_id, outcome, ip_hmac, detail)
         values ($1, $2, $3, $4, $5, $6, $7, $8, $9)",
        domain::new_id(),
        now,
        record.actor,
        record.action,
        record.subject,
        record.client_id,
        record.outcome,
        record.ip_hmac,
        record.detail.clone().unwrap_or_else(|| Value::Object(serde_json::Map::new()))
    )
    .execute(db)
    .await?;
    Ok(())
}
