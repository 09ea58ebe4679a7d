use chassis::{Code, Coded};
use domain::Service;

/// What can go wrong between a service, its outbox and Kafka.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A record of this size would be refused by the broker, and the relay would stand still before it.
    #[error("a fact for {topic} has {bytes} bytes, the limit is {limit}")]
    TooLarge {
        /// Where it should have gone.
        topic: &'static str,
        /// Payload and key.
        bytes: usize,
        /// [`crate::MAX_FACT_BYTES`].
        limit: usize,
    },
    /// A fact without a usable key or version.
    #[error("a fact for {topic} is wrong: {rule}")]
    Fact {
        /// Where it should have gone.
        topic: &'static str,
        /// What it must be.
        rule: &'static str,
    },
    /// In a stricter isolation the position of a row is taken from a snapshot older than the aggregate's lock.
    #[error("facts are appended in a read committed transaction")]
    Isolation,
    /// A topic differs from its declaration.
    #[error("topic {topic} is not as declared: {difference}")]
    Topic {
        /// Name on the broker.
        topic: String,
        /// What differs, wanted and found.
        difference: String,
    },
    /// The database is a copy, or was recovered: positions in it say nothing about what was sent.
    #[error(
        "the relay refuses this database: {0}; transaction ids may have started again, so nothing is sent until `outbox rebase` (after a restore) or `outbox accept-timeline` (after a failover without loss)"
    )]
    OtherCluster(String),
    /// A topic is not the one that was written to: records that Kafka had acknowledged are gone from it.
    #[error(
        "topic {topic} lost records that were sent to it: {found}; nothing is sent until `{service} outbox resend --topic {topic}` sends again what the outbox still has"
    )]
    TopicLost {
        /// Without a prefix.
        topic: String,
        /// What is there now.
        found: String,
        /// Whose verb helps.
        service: Service,
    },
    /// Records that a consumer did not take in are gone.
    #[error("{refusal}")]
    Gap {
        /// Which, and what to do.
        refusal: String,
        /// The topic that was made anew, without a prefix, where that is why.
        anew: Option<String>,
    },
    /// Another relay leads now.
    #[error("the relay lost its leadership")]
    LeaseLost,
    /// The leader's connection did not answer in time.
    #[error("the database did not answer the relay in time")]
    Stalled,
    /// Kafka would not take a record.
    #[error("kafka refused a record of topic {topic}")]
    Refused {
        /// Without a prefix.
        topic: String,
        /// What it said.
        #[source]
        source: rdkafka::error::KafkaError,
    },
    /// The database failed.
    #[error("the outbox's database failed")]
    Database(#[from] sqlx::Error),
    /// The Kafka client failed.
    #[error("the kafka client failed")]
    Kafka(#[from] rdkafka::error::KafkaError),
    /// A setting that the Kafka client cannot use.
    #[error("{0}")]
    Setting(String),
}

impl Coded for Error {
    fn code(&self) -> Code {
        match self {
            Self::Database(error) => chassis::database_code(error),
            Self::LeaseLost | Self::Stalled | Self::Refused { .. } | Self::Kafka(_) => Code::Unavailable,
            Self::TooLarge { .. } => Code::InvalidArgument,
            Self::Fact { .. }
            | Self::Isolation
            | Self::Topic { .. }
            | Self::OtherCluster(_)
            | Self::TopicLost { .. }
            | Self::Gap { .. }
            | Self::Setting(_) => Code::Internal,
        }
    }

    fn reason(&self) -> &'static str {
        match self {
            Self::TooLarge { .. } => "FACT_TOO_LARGE",
            Self::Fact { .. } => "FACT_WRONG",
            Self::Isolation => "ISOLATION_WRONG",
            Self::Topic { .. } => "TOPIC_DIFFERS",
            Self::OtherCluster(_) => "DATABASE_CHANGED",
            Self::LeaseLost => "LEASE_LOST",
            Self::Stalled | Self::Database(_) => "DATABASE_FAILED",
            Self::Refused { .. } | Self::Kafka(_) => "KAFKA_FAILED",
            Self::TopicLost { .. } => "TOPIC_LOST",
            Self::Gap { .. } => "RECORDS_GONE",
            Self::Setting(_) => "SETTING_WRONG",
        }
    }
}
