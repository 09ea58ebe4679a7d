use crate::stack;

/// Topics that nobody else sees: those under one prefix, and so are the consumer groups that read them.
#[derive(Debug, Clone)]
pub struct Topics {
    /// `host:port` of the brokers.
    pub brokers: String,
    /// Before each name, with its dot; empty outside tests.
    pub prefix: String,
}

impl Topics {
    /// No topic yet, under a prefix that is new.
    ///
    /// # Panics
    /// When the environment does not say where Kafka is.
    #[must_use]
    pub fn fresh() -> Self {
        Self::named(&stack::fresh_name())
    }

    /// The topics of a process on this database: one that is started again finds its own.
    pub(crate) fn of_database(url: &str) -> Self {
        let path = url.split('?').next().unwrap_or(url);
        Self::named(path.rsplit('/').next().unwrap_or(path))
    }

    fn named(name: &str) -> Self {
        Self { brokers: stack::kafka_brokers(), prefix: format!("{name}.") }
    }

    /// The name that Kafka knows a topic by.
    #[must_use]
    pub fn full_name(&self, topic: &str) -> String {
        format!("{}{topic}", self.prefix)
    }
}
