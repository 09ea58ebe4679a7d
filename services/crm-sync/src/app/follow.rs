use super::App;
use crate::{
    Error,
    delivery::Lane,
    store::{self, ConsentsSeen, ProfileSeen},
    subject::{Standing, Status},
};

impl App {
    /// Follows a profile. The effect is versioned by the record's own version, so repeats are harmless.
    pub async fn follow_profile(&self, seen: ProfileSeen) -> Result<(), Error> {
        let urgent = seen.restricted || seen.state != Standing::Active;
        let now = self.clock().now();
        let mut tx = chassis::begin(self.db()).await?;
        if store::see_profile(&mut tx, &seen, now).await? {
            let lane = if urgent { Lane::Cease } else { Lane::Change };
            store::enqueue(&mut tx, seen.profile_id, lane, outbox::trace::traceparent().as_deref(), now)
                .await?;
        }
        tx.commit().await?;
        self.ring();
        Ok(())
    }

    /// Follows a person's consents, likewise. A no is urgent; which row it changes the gate says later.
    pub async fn follow_consents(&self, seen: ConsentsSeen, says_no: bool) -> Result<(), Error> {
        let now = self.clock().now();
        let mut tx = chassis::begin(self.db()).await?;
        if store::see_consents(&mut tx, &seen, now).await? {
            let lane = if says_no { Lane::Cease } else { Lane::Change };
            store::enqueue(&mut tx, seen.profile_id, lane, outbox::trace::traceparent().as_deref(), now)
                .await?;
        }
        tx.commit().await?;
        self.ring();
        Ok(())
    }
}

/// Whether an answer takes a permission back.
#[must_use]
pub const fn says_no(status: Status) -> bool {
    !matches!(status, Status::Given)
}
