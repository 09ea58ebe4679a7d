use std::collections::BTreeMap;

use domain::{ConsentKey, DateTime, EmailAddress, Utc};
use sqlx::{PgPool, types::Json};

use crate::{Error, sender::Sender};

/// Writes a new sender.
///
/// # Errors
/// Its key is taken.
#[tracing::instrument(name = "db.sender.insert", skip_all, fields(otel.kind = "client", db.system.name = "postgresql"))]
pub async fn insert_sender(db: &PgPool, sender: &Sender, now: DateTime<Utc>) -> Result<(), Error> {
    let done = sqlx::query!(
        r#"
        insert into mailer.sender
            (sender_key, controller, from_name, from_address, purpose, recipient, footer, created_at)
        values ($1, $2, $3, $4, $5, $6, $7, $8)
        on conflict (sender_key) do nothing
        "#,
        sender.key,
        sender.controller,
        sender.from_name,
        sender.from.as_bytes(),
        sender.purpose.purpose().name(),
        sender.purpose.recipient(),
        Json(&sender.footer) as _,
        now,
    )
    .execute(db)
    .await?;
    if done.rows_affected() == 0 { Err(Error::AlreadyExists("sender")) } else { Ok(()) }
}

/// A sender by its key.
#[tracing::instrument(name = "db.sender.load", skip_all, fields(otel.kind = "client", db.system.name = "postgresql"))]
pub async fn load_sender(db: &PgPool, key: &str) -> Result<Option<Sender>, Error> {
    let row = sqlx::query!(
        r#"
        select sender_key, controller, from_name, from_address, purpose, recipient,
               footer as "footer: Json<BTreeMap<String, String>>"
        from mailer.sender
        where sender_key = $1
        "#,
        key,
    )
    .fetch_optional(db)
    .await?;
    let Some(row) = row else { return Ok(None) };
    Ok(Some(Sender {
        key: row.sender_key,
        controller: row.controller,
        from_name: row.from_name,
        from: EmailAddress::classify(&row.from_address)
            .map_err(|_| Error::Stored { what: "sender address" })?,
        purpose: consent_key(&row.purpose, &row.recipient)?,
        footer: row.footer.0,
    }))
}

pub fn consent_key(purpose: &str, recipient: &str) -> Result<ConsentKey, Error> {
    let wrong = |_| Error::Stored { what: "purpose" };
    ConsentKey::new(purpose.parse().map_err(wrong)?, recipient).map_err(wrong)
}
