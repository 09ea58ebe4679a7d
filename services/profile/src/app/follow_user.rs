use domain::{EmailAddress, Locale, ProfileId, Service, UserId};
use sqlx::PgTransaction;

use super::App;
use crate::{
    Error, events,
    profile::{Change, ExternalId, Happened, Profile},
    store,
};

/// What identity says about a user now.
#[derive(Debug)]
pub struct UserState {
    /// Who.
    pub user_id: UserId,
    /// Version of the user; an older one than seen changes nothing.
    pub version: i64,
    /// Nothing where the user has no verified address, or is gone.
    pub verified: Option<VerifiedUser>,
}

/// A user with a verified address.
#[derive(Debug)]
pub struct VerifiedUser {
    /// The address.
    pub email: EmailAddress,
    /// Language of the user's pages; copied at registration only.
    pub locale: Locale,
}

impl App {
    /// Follows a user of identity: attaches to the profile with the same verified address, or makes one; a changed address
    /// is mirrored. Repeats and older states change nothing.
    pub async fn follow_user(&self, state: UserState) -> Result<(), Error> {
        let Some(verified) = state.verified else { return Ok(()) };
        let now = self.clock.now();
        let mut tx = chassis::begin(&self.db).await?;
        let link = store::lock_user(&mut tx, state.user_id).await?;
        if link.is_some_and(|(_, version)| version >= state.version) {
            return Ok(());
        }
        let profile_id = match link {
            Some((profile_id, _)) => {
                if let Some(mut profile) = store::load_for_update(&mut tx, profile_id).await? {
                    let change = profile.follow_email(verified.email, now);
                    publish(&mut tx, &profile, change).await?;
                }
                profile_id
            }
            None => self.attach_or_create(&mut tx, state.user_id, verified).await?,
        };
        store::save_user(&mut tx, state.user_id, profile_id, state.version).await?;
        tx.commit().await?;
        Ok(())
    }

    async fn attach_or_create(
        &self,
        tx: &mut PgTransaction<'_>,
        user_id: UserId,
        verified: VerifiedUser,
    ) -> Result<ProfileId, Error> {
        let now = self.clock.now();
        let key = ExternalId::email(&verified.email);
        if let Some(mut profile) = store::load_by_external_id_for_update(tx, &key).await? {
            let change = profile.attach_user(user_id, now);
            publish(tx, &profile, change).await?;
            return Ok(profile.profile_id);
        }
        let profile = Profile::for_user(ProfileId::new(), user_id, verified.email, verified.locale, now);
        store::insert(tx, &profile).await?;
        let created =
            Change { happened: Happened::Created, fields: vec!["email".to_owned(), "locale".to_owned()] };
        outbox::append(tx, Service::Profile, &events::profile_changed(&profile, &created)).await?;
        Ok(profile.profile_id)
    }
}

async fn publish(tx: &mut PgTransaction<'_>, profile: &Profile, change: Option<Change>) -> Result<(), Error> {
    let Some(change) = change else { return Ok(()) };
    store::save(tx, profile).await?;
    outbox::append(tx, Service::Profile, &events::profile_changed(profile, &change)).await?;
    Ok(())
}
