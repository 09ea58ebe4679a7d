use domain::{ProfileId, Service, UserId};

use super::App;
use crate::{
    Error, events,
    recipient::{Head, Recipient},
    store,
};

/// A profile as its fact tells; without consents.
#[derive(Debug)]
pub struct ProfileFact {
    /// The person.
    pub recipient: Recipient,
    /// Who signs in, where that is known.
    pub user_id: Option<UserId>,
    /// Version of the fact.
    pub version: i64,
}

impl App {
    /// Follows a profile; repeats and older states change nothing.
    pub async fn follow_profile(&self, fact: &ProfileFact) -> Result<(), Error> {
        store::save_profile(&self.db, &fact.recipient, fact.user_id, fact.version).await
    }

    /// A person's key is gone from the topic.
    pub async fn follow_tombstone(&self, profile_id: ProfileId, version: i64) -> Result<(), Error> {
        store::erase_recipient(&self.db, profile_id, version).await
    }

    /// Follows a person's consents. A consent that is newer than an unsubscription of its purpose ends that.
    pub async fn follow_consents(
        &self,
        profile_id: ProfileId,
        heads: &[Head],
        version: i64,
    ) -> Result<(), Error> {
        let now = self.now();
        let mut tx = chassis::begin(&self.db).await?;
        if !store::save_consents(&mut tx, profile_id, heads, version).await? {
            return Ok(());
        }
        for mut suppression in store::load_standing_for_update(&mut tx, profile_id).await? {
            if !heads.iter().any(|head| suppression.is_ended_by(head)) {
                continue;
            }
            suppression.end(now);
            store::save_ended(&mut tx, &suppression).await?;
            let user_id = store::user_of(&mut tx, profile_id).await?;
            let fact = events::suppression_changed(&suppression, user_id, now);
            outbox::append(&mut tx, Service::Mailer, &fact).await?;
        }
        tx.commit().await?;
        Ok(())
    }

    /// Notes how far a partition was read.
    pub async fn note_consumed(&self, topic: &str, partition: i32, next_offset: i64) -> Result<(), Error> {
        store::save_consumed(&self.db, topic, partition, next_offset).await
    }
}
