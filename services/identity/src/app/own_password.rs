//! A user who is signed in chooses another password, or a first one.

use domain::UserId;

use super::{App, Origin};
use crate::{
    error::Error,
    hash_queue::Class,
    password::Password,
    revocation::Revoked,
    session::{Cause, Session},
    store::{self, user::StoredPassword},
};

impl App {
    /// Whether a user can sign in by password.
    ///
    /// # Errors
    /// The database.
    pub async fn has_password(&self, user_id: UserId) -> Result<bool, Error> {
        Ok(store::user::load_password(&self.db, user_id).await?.is_some())
    }

    /// Sets a password for the user of a session, ends the user's other sessions and the grants that came of them, and
    /// tells the user by mail. The session goes on under a new cookie; nothing when it has ended meanwhile.
    ///
    /// # Errors
    /// A full hash lane; the database.
    pub async fn change_password(
        &self,
        session: &Session,
        password: Password,
        origin: Origin,
    ) -> Result<Option<Session>, Error> {
        let (user_id, now) = (session.user_id, self.now());
        let pepper_id = self.keys().pepper_id();
        let phc = self.lane.hash(Class::StepUp, password, self.pepper(&pepper_id)?).await?;
        let mut tx = chassis::begin(&self.db).await?;
        let mut user = self.locked(&mut tx, user_id).await?;
        let kept = session.clone().under_new_cookie(now);
        if !store::session::renew(&mut *tx, &kept).await? {
            return Ok(None);
        }
        store::recovery::save_password(&mut tx, user_id, &StoredPassword { phc, pepper_id }, now).await?;
        let mut others = store::session::ids_of_user(&mut *tx, user_id).await?;
        others.retain(|id| *id != session.session_id.0);
        self.end_within(&mut tx, &others, Cause::PasswordChange).await?;
        store::session::revoke_offline_elsewhere(&mut *tx, &kept, now).await?;
        self.note_new_password(&mut tx, &mut user, "change").await?;
        self.note(&mut tx, &user, "change_password", origin).await?;
        tx.commit().await?;
        // Families come by the feed; until then each token of this user is looked up here.
        self.revocations.note([Revoked::User(user_id)]);
        self.nudges.logout.notify_one();
        self.nudges.mail.notify_one();
        tracing::info!(%user_id, "password changed");
        Ok(Some(kept))
    }
}
