use anyhow::{Context, Result};
use sqlx::{AssertSqlSafe, Connection, PgConnection};
use url::Url;

/// A database of one suite.
#[derive(Debug)]
pub struct Database {
    server: Url,
    name: String,
    url: String,
}

impl Database {
    /// Creates one on the server that `KOTINOS_TEST_DATABASE_URL` names.
    pub(super) async fn create() -> Result<Self> {
        let given = std::env::var("KOTINOS_TEST_DATABASE_URL").context(
            "KOTINOS_TEST_DATABASE_URL is not set; start through deploy/local/stack, which sets it",
        )?;
        let server = Url::parse(&given).context("KOTINOS_TEST_DATABASE_URL is no URL")?;
        let name = format!("journey_{}", domain::new_id().simple());
        let mut url = server.clone();
        url.set_path(&name);
        let database = Self { server, name, url: url.into() };
        database.tell(&format!("create database {}", database.name)).await?;
        Ok(database)
    }

    pub(super) fn url(&self) -> &str {
        &self.url
    }

    /// Removes it with whatever is in it.
    pub(super) async fn drop(&self) -> Result<()> {
        self.tell(&format!("drop database if exists {} with (force)", self.name)).await
    }

    // The names are ours: letters, digits and `_`.
    async fn tell(&self, sql: &str) -> Result<()> {
        let mut connection =
            PgConnection::connect(self.server.as_str()).await.context("PostgreSQL does not answer")?;
        sqlx::raw_sql(AssertSqlSafe(sql.to_owned())).execute(&mut connection).await?;
        connection.close().await?;
        Ok(())
    }
}
