//! The servers that a run stands on.

use super::system;
use anyhow::{Context, Result};
use sqlx::{Connection as _, PgConnection};

/// PostgreSQL and Kafka, found by the settings that tests find them by.
#[derive(Debug)]
pub struct Surroundings {
    /// Bootstrap servers.
    pub brokers: String,
    admin_url: String,
    postmaster: u32,
}

impl Surroundings {
    /// Finds them.
    ///
    /// # Errors
    /// A setting is missing, or PostgreSQL does not answer or runs on another machine.
    pub async fn find() -> Result<Self> {
        let setting =
            |name| std::env::var(name).with_context(|| format!("{name} is not set; start by `make bench`"));
        let (admin_url, brokers) =
            (setting("KOTINOS_TEST_DATABASE_URL")?, setting("KOTINOS_TEST_KAFKA_BROKERS")?);
        let mut admin = PgConnection::connect(&admin_url).await?;
        let pid: i32 = sqlx::query_scalar("select pg_backend_pid()").fetch_one(&mut admin).await?;
        let postmaster = system::parent(u32::try_from(pid)?).context("PostgreSQL runs on another machine")?;
        admin.close().await?;
        Ok(Self { brokers, admin_url, postmaster })
    }

    /// Seconds of processor that PostgreSQL has used so far, all of its processes.
    pub fn postgres_cpu(&self) -> f64 {
        system::cpu_seconds_of_family(self.postmaster)
    }

    /// Bytes that PostgreSQL has logged so far, for whomever.
    ///
    /// # Errors
    /// PostgreSQL does not answer.
    pub async fn logged(&self) -> Result<f64> {
        let mut admin = PgConnection::connect(&self.admin_url).await?;
        let bytes: f64 = sqlx::query_scalar("select pg_wal_lsn_diff(pg_current_wal_lsn(), '0/0')::float8")
            .fetch_one(&mut admin)
            .await?;
        admin.close().await?;
        Ok(bytes)
    }

    /// The next contestant shall not pay for this one's pages.
    ///
    /// # Errors
    /// PostgreSQL does not answer.
    pub async fn checkpoint(&self) -> Result<()> {
        let mut admin = PgConnection::connect(&self.admin_url).await?;
        sqlx::raw_sql("checkpoint").execute(&mut admin).await?;
        Ok(admin.close().await?)
    }
}
