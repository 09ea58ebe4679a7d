use std::{str::FromStr as _, time::Duration};

use domain::Service;
use sqlx::{
    ConnectOptions as _, Connection as _, PgPool,
    postgres::{PgConnectOptions, PgPoolOptions},
};
use tracing::log::LevelFilter;

use crate::{Code, Secret};

/// So long a caller waits for a connection of the pool.
const ACQUIRE: Duration = Duration::from_secs(3);
/// A rotated password is in use everywhere after this.
const LIFE: Duration = Duration::from_secs(30 * 60);
/// A connection that was given back a moment ago was seen to live then: asking again would be half of a short read.
const FRESH: Duration = Duration::from_secs(1);
/// A transaction that is left open holds back the relays of the whole cluster.
const IDLE_IN_TRANSACTION: &str = "30s";

/// A pool that connects when it is first used. A URL that cannot be read gives a pool that never connects, and the
/// process stays unready with the reason.
pub(crate) fn pool(url: &Secret, service: Service, connections: u32) -> PgPool {
    let options = PgConnectOptions::from_str(&url.expose()).unwrap_or_else(|error| {
        tracing::error!(%error, service = service.name(), "the database's url cannot be read");
        PgConnectOptions::new_without_pgpass().port(1)
    });
    let options = options
        .application_name(&format!("kotinos-{}", service.name()))
        .options([("idle_in_transaction_session_timeout", IDLE_IN_TRANSACTION)])
        .log_statements(LevelFilter::Off)
        .log_slow_statements(LevelFilter::Warn, Duration::from_secs(1));
    PgPoolOptions::new()
        .max_connections(connections)
        .acquire_timeout(ACQUIRE)
        .max_lifetime(LIFE)
        .test_before_acquire(false)
        .before_acquire(|connection, meta| {
            Box::pin(async move {
                if meta.idle_for > FRESH {
                    connection.ping().await?;
                }
                Ok(true)
            })
        })
        .connect_lazy_with(options)
}

/// What a failure of the database means to a caller: one that may pass is Unavailable, the rest is our fault.
#[must_use]
pub fn database_code(error: &sqlx::Error) -> Code {
    match error {
        // A server that dies in a connection's first exchange reads as a breach of the protocol.
        sqlx::Error::Io(_)
        | sqlx::Error::Tls(_)
        | sqlx::Error::Protocol(_)
        | sqlx::Error::PoolTimedOut
        | sqlx::Error::PoolClosed => Code::Unavailable,
        sqlx::Error::Database(refused) => match refused.code().as_deref() {
            // Serialization, deadlock, lock, statement time-out; too many connections, shutdown, start-up.
            Some("40001" | "40P01" | "55P03" | "57014" | "53300" | "57P01" | "57P02" | "57P03" | "25P03") => {
                Code::Unavailable
            }
            Some(class) if class.starts_with("08") => Code::Unavailable,
            _ => Code::Internal,
        },
        _ => Code::Internal,
    }
}

/// The constraint that a write would have broken.
#[must_use]
pub fn constraint(error: &sqlx::Error) -> Option<&str> {
    error.as_database_error()?.constraint()
}

/// Whether the same transaction may pass when it is run again: a serialization failure or a deadlock.
#[must_use]
pub fn is_retryable(error: &sqlx::Error) -> bool {
    let code = error.as_database_error().and_then(|refused| refused.code());
    matches!(code.as_deref(), Some("40001" | "40P01"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("refused")]
    struct Refused(&'static str);

    impl sqlx::error::DatabaseError for Refused {
        fn message(&self) -> &str {
            "refused"
        }
        fn code(&self) -> Option<std::borrow::Cow<'_, str>> {
            Some(self.0.into())
        }
        fn as_error(&self) -> &(dyn std::error::Error + Send + Sync + 'static) {
            self
        }
        fn as_error_mut(&mut self) -> &mut (dyn std::error::Error + Send + Sync + 'static) {
            self
        }
        fn into_error(self: Box<Self>) -> Box<dyn std::error::Error + Send + Sync + 'static> {
            self
        }
        fn kind(&self) -> sqlx::error::ErrorKind {
            sqlx::error::ErrorKind::Other
        }
    }

    #[test]
    fn each_refusal_of_the_database_has_its_code() {
        // (SQLSTATE, code, whether the transaction may be run again)
        let table = [
            ("40001", Code::Unavailable, true),
            ("40P01", Code::Unavailable, true),
            ("55P03", Code::Unavailable, false),
            // The call's time is up, in the database's words: see `begin`.
            ("57014", Code::Unavailable, false),
            ("53300", Code::Unavailable, false),
            ("57P01", Code::Unavailable, false),
            ("08006", Code::Unavailable, false),
            ("25P03", Code::Unavailable, false),
            ("23505", Code::Internal, false),
            ("42601", Code::Internal, false),
        ];
        for (state, code, again) in table {
            let error = sqlx::Error::Database(Box::new(Refused(state)));
            assert_eq!((database_code(&error), is_retryable(&error)), (code, again), "{state}");
        }
    }

    #[test]
    fn what_may_pass_is_unavailable() {
        assert_eq!(database_code(&sqlx::Error::PoolTimedOut), Code::Unavailable);
        assert_eq!(database_code(&sqlx::Error::RowNotFound), Code::Internal);
        assert!(!is_retryable(&sqlx::Error::PoolTimedOut));
    }
}
