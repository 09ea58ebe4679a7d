//! The use cases. Each write owns its transaction: claim, lock, change, save, append the fact, commit.

mod consents;
mod follow_user;
mod republish;

use chassis::Actor;
use domain::{Clock, ProfileId, RequestId};
use sqlx::PgPool;

pub use consents::{AnswerCommand, NoticeCommand, RecordConsents};
pub use follow_user::{UserState, VerifiedUser};

use crate::{
    Error, events,
    profile::{Edit, ExternalId, Profile, Source, State},
    store,
};

/// Profile's use cases over its database.
#[derive(Debug, Clone)]
pub struct App {
    db: PgPool,
    clock: Clock,
}

/// One edit that a caller asks for.
#[derive(Debug)]
pub struct UpdateProfile {
    /// Whose.
    pub profile_id: ProfileId,
    /// The caller's id of this write.
    pub request_id: RequestId,
    /// Hash of the whole request, so that an id cannot be used twice for different things.
    pub body_sha256: [u8; 32],
    /// The version that the caller saw.
    pub expected_version: Option<i64>,
    /// The checked edit.
    pub edit: Edit,
}

impl App {
    /// The use cases over a database.
    #[must_use]
    pub const fn new(db: PgPool, clock: Clock) -> Self {
        Self { db, clock }
    }

    /// The clock of this service.
    #[must_use]
    pub const fn clock(&self) -> &Clock {
        &self.clock
    }

    /// One profile that the actor may see.
    pub async fn get_profile(&self, actor: &Actor, profile_id: ProfileId) -> Result<Profile, Error> {
        let profile = store::load(&self.db, profile_id).await?.ok_or(Error::NotFound)?;
        reach(actor, &profile)?;
        Ok(profile)
    }

    /// Many profiles at once, for services and staff.
    pub async fn list_profiles(
        &self,
        actor: &Actor,
        profile_ids: &[ProfileId],
    ) -> Result<Vec<Profile>, Error> {
        let profiles = store::load_many(&self.db, profile_ids).await?;
        Ok(profiles.into_iter().filter(|profile| reach(actor, profile).is_ok()).collect())
    }

    /// The profile that holds a key.
    pub async fn find_profile(&self, actor: &Actor, key: &ExternalId) -> Result<Profile, Error> {
        let profile_id = store::find_by_external_id(&self.db, key).await?.ok_or(Error::NotFound)?;
        self.get_profile(actor, profile_id).await
    }

    /// Edits a profile; the same request again has no second effect.
    pub async fn update_profile(&self, actor: &Actor, command: UpdateProfile) -> Result<Profile, Error> {
        let now = self.clock.now();
        let mut tx = chassis::begin(&self.db).await?;
        let new = store::claim_request(&mut tx, command.request_id, command.body_sha256, now).await?;
        let mut profile =
            store::load_for_update(&mut tx, command.profile_id).await?.ok_or(Error::NotFound)?;
        reach(actor, &profile)?;
        if !new {
            return Ok(profile);
        }
        if profile.state != State::Active {
            return Err(Error::NotActive { state: profile.state.name() });
        }
        if command.expected_version.is_some_and(|expected| expected != profile.version) {
            return Err(Error::StaleVersion { actual: profile.version });
        }
        if let Some(change) = profile.edit(command.edit, source_of(actor), &actor.client_id, now) {
            store::save(&mut tx, &profile).await?;
            outbox::append(&mut tx, domain::Service::Profile, &events::profile_changed(&profile, &change))
                .await?;
        }
        tx.commit().await?;
        Ok(profile)
    }

    /// Forgets what need not be kept: caller's request ids after a day.
    pub async fn sweep(&self) -> Result<u64, Error> {
        store::delete_old_requests(&self.db, self.clock.now()).await
    }
}

/// A person's token reaches that person's profile only, and a stranger's id looks like one that does not exist. Staff with
/// `profile.search` and other services reach everybody.
fn reach(actor: &Actor, profile: &Profile) -> Result<(), Error> {
    match actor.user() {
        None if actor.is_client() => Ok(()),
        None => Err(Error::NotFound),
        Some(_) if actor.has("profile.search") => Ok(()),
        Some(user_id) if profile.is_of(user_id) => Ok(()),
        Some(_) => Err(Error::NotFound),
    }
}

fn source_of(actor: &Actor) -> Source {
    if actor.user().is_some() { Source::Fan } else { Source::Rp }
}
