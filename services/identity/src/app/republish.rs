use domain::{Service, UserId};
use outbox::StatePage;

use super::App;
use crate::{
    error::Error,
    events, store,
    user::{Event, Status, User},
};

/// Users of a transaction: their rows are locked meanwhile.
const PAGE: i64 = 200;

impl App {
    /// Tells the states of the next users again. Each is locked first, so that no older one comes behind a newer one.
    ///
    /// # Errors
    /// The database does not answer.
    pub async fn republish_users(&self, after: Option<UserId>) -> Result<StatePage, Error> {
        let mut tx = chassis::begin(&self.db).await?;
        let users = store::user::lock_page(&mut tx, after, PAGE).await?;
        for user in &users {
            let fact = events::user_changed(user, last_event(user), self.now());
            outbox::append(&mut tx, Service::Identity, &fact).await?;
        }
        tx.commit().await?;
        Ok(StatePage { states: users.len(), last: users.last().map(|user| user.user_id.to_string()) })
    }
}

// What led to the present state; readers act on the state alone.
fn last_event(user: &User) -> Event {
    match (user.status, user.version) {
        (Status::Active, 1) => Event::Registered,
        (Status::Active, _) => Event::Enabled,
        (Status::Disabled | Status::Erased, _) => Event::Disabled,
    }
}
