//! The servers that a run stands on: databases, topics, an issuer.

use std::{path::PathBuf, time::Duration};

use anyhow::{Context, Result, ensure};
use domain::{Clock, Service};
use outbox::{Partitions, Topic};
use rdkafka::{
    ClientConfig, Offset, TopicPartitionList,
    admin::{AdminClient, AdminOptions, NewTopic, TopicReplication},
    client::DefaultClientContext,
    consumer::{BaseConsumer, Consumer as _},
};
use sqlx::{AssertSqlSafe, Connection as _, PgConnection};
use testkit::{Db, Issuer, Topics, measure::system};

use crate::rows;

/// In whose name everything happens.
pub const SERVICE: Service = Service::Mailer;
/// As many as the topics have whose keys are people.
pub const PARTITIONS: i32 = 32;
/// Each contestant has its own, under a prefix of its own.
pub static TOPIC: Topic = Topic::ordered("kotinos.mailer.bench.v1", Partitions::PERSON);
pub static TOPICS: &[&Topic] = &[&TOPIC];

const DATABASE: &str = "KOTINOS_TEST_DATABASE_URL";
const BROKERS: &str = "KOTINOS_TEST_KAFKA_BROKERS";
const WAIT: Duration = Duration::from_secs(10);

#[derive(Debug)]
pub struct Surroundings {
    pub brokers: String,
    pub issuer: Issuer,
    /// Where the databases' files are, which a probe writes beside.
    pub data_directory: PathBuf,
    admin_url: String,
    postmaster: u32,
    broker: Option<u32>,
}

/// A database with the schema, and the topic's prefix, that one contestant has for itself.
#[derive(Debug)]
pub struct Ground {
    pub db: Db,
    pub topics: Topics,
}

impl Surroundings {
    pub async fn find() -> Result<Self> {
        let setting =
            |name| std::env::var(name).with_context(|| format!("{name} is not set; start by `make bench`"));
        let (admin_url, brokers) = (setting(DATABASE)?, setting(BROKERS)?);
        let mut admin = PgConnection::connect(&admin_url).await?;
        let (pid, wal_level, directory): (i32, String, String) = sqlx::query_as(
            "select pg_backend_pid(), current_setting('wal_level'), current_setting('data_directory')",
        )
        .fetch_one(&mut admin)
        .await?;
        ensure!(wal_level == "logical", "PostgreSQL needs wal_level = logical; start by `make bench`");
        let postmaster = system::parent(u32::try_from(pid)?).context("PostgreSQL runs on another machine")?;
        admin.close().await?;
        let issuer = Issuer::start(Clock::system()).await;
        Ok(Self {
            brokers,
            issuer,
            data_directory: directory.into(),
            admin_url,
            postmaster,
            broker: broker(),
        })
    }

    pub async fn ground(&self) -> Result<Ground> {
        let ground = Ground { db: Db::fresh(&rows::migrator()).await, topics: Topics::fresh() };
        let name = ground.topic();
        let new = NewTopic::new(&name, PARTITIONS, TopicReplication::Fixed(1));
        let options = AdminOptions::new().operation_timeout(Some(WAIT));
        for made in self.admin()?.create_topics([&new], &options).await? {
            made.map_err(|(topic, error)| anyhow::anyhow!("{topic} cannot be made: {error}"))?;
        }
        Ok(ground)
    }

    /// Deletes it: five million rows a contestant would fill a disk.
    pub async fn clear(&self, ground: Ground) -> Result<()> {
        self.admin()?.delete_topics(&[&ground.topic()], &AdminOptions::new()).await?;
        ground.db.pool.close().await;
        let name = ground.db.url.rsplit('/').next().unwrap_or_default();
        let mut admin = PgConnection::connect(&self.admin_url).await?;
        sqlx::raw_sql(AssertSqlSafe(format!("drop database {name} with (force)")))
            .execute(&mut admin)
            .await?;
        // The next contestant shall not pay for this one's pages.
        sqlx::raw_sql("checkpoint").execute(&mut admin).await?;
        Ok(admin.close().await?)
    }

    /// Seconds of processor that PostgreSQL has used so far, all of its processes.
    pub fn postgres_cpu(&self) -> f64 {
        system::cpu_seconds_of_family(self.postmaster)
    }

    /// The same of Kafka, where its process is known.
    pub fn kafka_cpu(&self) -> f64 {
        self.broker.map_or(f64::NAN, system::cpu_seconds)
    }

    fn admin(&self) -> Result<AdminClient<DefaultClientContext>> {
        Ok(client(&self.brokers).create()?)
    }
}

impl Ground {
    /// The name that Kafka knows the topic by.
    pub fn topic(&self) -> String {
        self.topics.full_name(TOPIC.name())
    }

    /// Records that the topic has had.
    pub fn records(&self, consumer: &BaseConsumer) -> Result<i64> {
        let topic = self.topic();
        let mut sum = 0;
        for partition in 0..PARTITIONS {
            sum += consumer.fetch_watermarks(&topic, partition, WAIT)?.1;
        }
        Ok(sum)
    }
}

pub fn client(brokers: &str) -> ClientConfig {
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", brokers);
    config
}

/// A consumer of some partitions of a topic from their beginning, outside of every group.
pub fn consumer(brokers: &str, topic: &str, partitions: impl Iterator<Item = i32>) -> Result<BaseConsumer> {
    let mut config = client(brokers);
    config.set("group.id", "bench").set("enable.auto.commit", "false").set("auto.offset.reset", "error");
    let consumer: BaseConsumer = config.create()?;
    let mut all = TopicPartitionList::new();
    for partition in partitions {
        all.add_partition_offset(topic, partition, Offset::Beginning)?;
    }
    consumer.assign(&all)?;
    Ok(consumer)
}

// The stack starts it with its settings' file as the argument; the file lies beside the folder of the CA.
fn broker() -> Option<u32> {
    let ca = PathBuf::from(std::env::var("KOTINOS_TEST_KAFKA_CA").ok()?);
    let settings = ca.parent()?.parent()?.join("server.properties");
    system::pids_with_argument(settings.to_str()?).into_iter().next()
}
