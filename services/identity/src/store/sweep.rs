use domain::{DateTime, TimeDelta, Utc, Uuid};
use sqlx::PgExecutor;

use crate::error::Error;

/// Rows of one statement.
pub const BATCH: u64 = 5_000;

/// A table whose rows are over after a time, whatever happened to them.
#[derive(Debug, Clone, Copy)]
pub enum Kept {
    /// A link lives an hour.
    Challenges,
    /// A pushed request lives a minute.
    PushedRequests,
    /// A code lives a minute; one that comes again within a day still revokes its family.
    Codes,
    /// A family lives 90 days.
    Families,
    /// A session lives 30 days, and is remembered 30 more.
    Sessions,
    /// As its session.
    SessionClients,
    /// A delivery is tried for a day.
    Deliveries,
    /// No access token lives longer than minutes; a day is left for whoever looks for a cause.
    Revocations,
    /// A device waits for ten minutes.
    DeviceGrants,
    /// A challenge to a passkey lives two hours.
    Ceremonies,
}

/// Every such table.
pub const KEPT: [Kept; 10] = [
    Kept::Challenges,
    Kept::PushedRequests,
    Kept::Codes,
    Kept::Families,
    Kept::Sessions,
    Kept::SessionClients,
    Kept::Deliveries,
    Kept::Revocations,
    Kept::DeviceGrants,
    Kept::Ceremonies,
];

/// IP hashes of the audit live 90 days; this is the first and last day on which they are looked for.
const NETWORKS: (TimeDelta, TimeDelta) = (TimeDelta::days(97), TimeDelta::days(90));

impl Kept {
    const fn life(self) -> TimeDelta {
        match self {
            Self::Challenges | Self::PushedRequests | Self::Codes | Self::Revocations | Self::Ceremonies => {
                TimeDelta::days(1)
            }
            Self::DeviceGrants => TimeDelta::hours(1),
            Self::Families => TimeDelta::days(91),
            Self::Sessions | Self::SessionClients => TimeDelta::days(60),
            Self::Deliveries => TimeDelta::days(30),
        }
    }

    // Keys are UUIDv7: the oldest rows stand first in the index.
    const fn statement(self) -> &'static str {
        match self {
            Self::Challenges => {
                "delete from identity.email_challenge
                 where challenge_id in (
                     select challenge_id
                     from identity.email_challenge
                     where challenge_id < $1
                     order by challenge_id
                     limit 5000)"
            }
            Self::PushedRequests => PUSHED_REQUESTS,
            Self::Codes => {
                "delete from identity.authorization_code
                 where code_id in (
                     select code_id
                     from identity.authorization_code
                     where code_id < $1
                     order by code_id
                     limit 5000)"
            }
            Self::Families => {
                "delete from identity.token_family
                 where family_id in (
                     select family_id
                     from identity.token_family
                     where family_id < $1
                     order by family_id
                     limit 5000)"
            }
            Self::Sessions => {
                "delete from identity.browser_session
                 where session_id in (
                     select session_id
                     from identity.browser_session
                     where session_id < $1
                     order by session_id
                     limit 5000)"
            }
            Self::SessionClients => {
                "delete from identity.session_client
                 where (session_id, client_id) in (
                     select session_id, client_id
                     from identity.session_client
                     where session_id < $1
                     order by session_id
                     limit 5000)"
            }
            Self::Deliveries => DELIVERIES,
            Self::Revocations => REVOCATIONS,
            Self::DeviceGrants => DEVICE_GRANTS,
            Self::Ceremonies => CEREMONIES,
        }
    }
}

const PUSHED_REQUESTS: &str = "delete from identity.pushed_request
     where request_id in (
         select request_id
         from identity.pushed_request
         where request_id < $1
         order by request_id
         limit 5000)";

const DELIVERIES: &str = "delete from identity.logout_delivery
     where delivery_id in (
         select delivery_id
         from identity.logout_delivery
         where delivery_id < $1
         order by delivery_id
         limit 5000)";

const REVOCATIONS: &str = "delete from identity.revocation
     where revocation_id in (
         select revocation_id
         from identity.revocation
         where revocation_id < $1
         order by revocation_id
         limit 5000)";

const DEVICE_GRANTS: &str = "delete from identity.device_grant
     where device_id in (
         select device_id
         from identity.device_grant
         where device_id < $1
         order by device_id
         limit 5000)";

const CEREMONIES: &str = "delete from identity.spent_ceremony
     where ceremony_id in (
         select ceremony_id
         from identity.spent_ceremony
         where ceremony_id < $1
         order by ceremony_id
         limit 5000)";

/// Deletes at most [`BATCH`] of the oldest rows; how many.
pub async fn delete(db: impl PgExecutor<'_>, kept: Kept, now: DateTime<Utc>) -> Result<u64, Error> {
    let done = sqlx::query(kept.statement()).bind(first_id_of(now - kept.life())).execute(db).await?;
    Ok(done.rows_affected())
}

/// Deletes counters whose windows ended a day ago.
pub async fn delete_throttles(db: impl PgExecutor<'_>, now: DateTime<Utc>) -> Result<u64, Error> {
    let done = sqlx::query("delete from identity.throttle where until < $1 and first_at < $1")
        .bind(now - TimeDelta::days(2))
        .execute(db)
        .await?;
    Ok(done.rows_affected())
}

/// Takes the IP hashes out of old audit records.
pub async fn forget_networks(db: impl PgExecutor<'_>, now: DateTime<Utc>) -> Result<(), Error> {
    sqlx::query(
        "update identity.audit_record
         set ip_hmac = null
         where audit_id >= $1 and audit_id < $2 and ip_hmac is not null",
    )
    .bind(first_id_of(now - NETWORKS.0))
    .bind(first_id_of(now - NETWORKS.1))
    .execute(db)
    .await?;
    Ok(())
}

// The smallest id of this millisecond: 48 bits of time stand first (RFC 9562 5.7).
fn first_id_of(at: DateTime<Utc>) -> Uuid {
    let milliseconds = u128::from(at.timestamp_millis().max(0).unsigned_abs());
    Uuid::from_u128(milliseconds << 80)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_of_before_are_smaller_and_of_after_greater() {
        let id = domain::new_id();
        let milliseconds = i64::try_from(id.as_u128() >> 80).unwrap();
        let at = DateTime::from_timestamp_millis(milliseconds).unwrap();
        assert!(first_id_of(at) < id);
        assert!(first_id_of(at + TimeDelta::milliseconds(1)) > id);
    }
}
