use testkit::{CaughtRecord, RecordCatcher, Topics};

/// The facts that a suite has told on Kafka.
#[derive(Debug, Clone)]
pub struct Facts(RecordCatcher);

/// Who entered and left segments.
pub const MEMBERSHIPS: &str = "kotinos.segmentation.membership.v1";

/// Every topic of the suite, and the place where records lie that nobody could read.
const TOPICS: [&str; 23] = [
    "kotinos.identity.user.v1",
    "kotinos.identity.session.v1",
    "kotinos.identity.erasure.v1",
    "kotinos.profile.profile.v1",
    "kotinos.profile.consent.v1",
    "kotinos.profile.erasure.v1",
    MEMBERSHIPS,
    "kotinos.segmentation.fact.v1",
    "kotinos.segmentation.segment.v1",
    "kotinos.segmentation.erasure.v1",
    "kotinos.mailer.message.v1",
    "kotinos.mailer.campaign.v1",
    "kotinos.mailer.suppression.v1",
    "kotinos.mailer.erasure.v1",
    "kotinos.crmsync.delivery.v1",
    "kotinos.crmsync.erasure.v1",
    "kotinos.results.document.v1",
    "kotinos.results.schedule.v1",
    "kotinos.results.result.v1",
    "kotinos.results.medal.v1",
    "kotinos.results.rehearsal.v1",
    "kotinos.profile.dead.v1",
    "kotinos.mailer.dead.v1",
];

impl Facts {
    /// The facts under a prefix of topics.
    pub(crate) fn new(brokers: &str, prefix: &str) -> Self {
        Self(RecordCatcher::new(Topics { brokers: brokers.to_owned(), prefix: prefix.to_owned() }))
    }

    /// Everything on one topic so far.
    pub async fn on(&self, topic: &str) -> Vec<CaughtRecord> {
        self.0.records(&[topic]).await
    }

    /// Everything so far.
    pub async fn all(&self) -> Vec<CaughtRecord> {
        self.0.records(&TOPICS).await
    }
}
