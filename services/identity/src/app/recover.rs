//! A way back in for a user who has lost the password: a mail to the address, a new password, and whatever was signed in
//! before is so no more. A second factor stays: a mailbox alone does not pass it.

use chassis::{Actor, FieldViolation};
use domain::{DateTime, RequestId, TimeDelta, UserId, Utc, Uuid};

use super::{App, Origin};
use crate::{
    challenge::{Challenge, Purpose},
    error::Error,
    hash_queue::Class,
    password::Password,
    revocation::Revoked,
    session::Cause,
    store::{self, record::AuditRecord, user::StoredPassword},
    throttle::Counted,
    user::{Status, WrongState},
};

/// What a new password for a proved address leads to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Recovered {
    /// It is set, and every older sign-in has ended.
    Done,
    /// The proof is too old, was used, or is not the user's any more.
    Over,
}

/// Furthest that a caller's request id may lie in time from now.
const REQUEST_ID_LIFE: TimeDelta = TimeDelta::hours(1);

impl App {
    /// Sets a new password for a user who has proved the address by mail, ends the user's sessions and grants, and tells
    /// the user by mail.
    ///
    /// # Errors
    /// A full hash lane; the database.
    pub async fn recover(
        &self,
        challenge: &Challenge,
        password: Password,
        origin: Origin,
    ) -> Result<Recovered, Error> {
        let now = self.now();
        let Some(user_id) = challenge.user_id.filter(|_| challenge.is_open(Purpose::Recover, now)) else {
            return Ok(Recovered::Over);
        };
        let pepper_id = self.keys().pepper_id();
        let phc = self.lane.hash(Class::Normal, password, self.pepper(&pepper_id)?).await?;
        let mut tx = chassis::begin(&self.db).await?;
        let Some(mut user) = store::user::load_for_update(&mut tx, user_id).await? else {
            return Ok(Recovered::Over);
        };
        let set_at = store::recovery::password_set_at(&mut tx, user_id).await?;
        let recovers = challenge.recovers(&user, set_at, now);
        if !recovers || !store::challenge::consume(&mut tx, challenge.challenge_id, now).await? {
            return Ok(Recovered::Over);
        }
        store::recovery::save_password(&mut tx, user_id, &StoredPassword { phc, pepper_id }, now).await?;
        let sessions = store::session::ids_of_user(&mut *tx, user_id).await?;
        self.end_within(&mut tx, &sessions, Cause::PasswordChange).await?;
        store::recovery::revoke_offline(&mut tx, user_id, now).await?;
        self.note_new_password(&mut tx, &mut user, "recovery").await?;
        let record = AuditRecord {
            client_id: challenge.client_id.clone(),
            ..self.by_user(user_id, "recover", origin)
        };
        store::record::insert(&mut *tx, &record, now).await?;
        tx.commit().await?;
        // Families and sessions come by the feed; until then each token of this user is looked up here.
        self.revocations.note([Revoked::User(user_id)]);
        self.nudges.logout.notify_one();
        self.nudges.mail.notify_one();
        tracing::info!(%user_id, "password set anew by mail");
        Ok(Recovered::Done)
    }

    /// Mails a user a way to set a new password, as staff asks. Nothing changes before the user does so. The same request
    /// id again sends no second mail.
    ///
    /// # Errors
    /// A request id that is no UUIDv7 of the last hour; no such user, or one who may not sign in; five mails within an
    /// hour.
    pub async fn start_recovery(
        &self,
        actor: &Actor,
        request_id: RequestId,
        user_id: UserId,
    ) -> Result<(), Error> {
        let now = self.now();
        // Challenges go by the time in their ids.
        if !is_new(request_id.0, now) {
            return Err(FieldViolation::new("request_id", "must be a UUIDv7 of the last hour").into());
        }
        let user = store::user::load(&self.db, user_id).await?.ok_or(Error::NotFound { what: "user" })?;
        if user.status != Status::Active {
            return Err(WrongState { actual: user.status }.into());
        }
        let counters = [(Counted::ChallengeAddress, Some(self.address_hash(&user.email.key())))];
        if let Some(wait) = self.wait(&counters).await? {
            return Err(Error::TooMany { wait });
        }
        let challenge = Challenge {
            challenge_id: request_id.0,
            user_id: Some(user_id),
            ..Challenge::new(Purpose::Recover, user.email, user.locale, String::new(), now)
        };
        let mut tx = chassis::begin(&self.db).await?;
        if !store::challenge::insert(&mut *tx, &challenge).await? {
            return Ok(());
        }
        if let Some(wait) = self.count_unless_over(&mut tx, &counters).await? {
            return Err(Error::TooMany { wait });
        }
        let record = AuditRecord {
            actor: actor.subject.clone(),
            action: "start_recovery",
            subject: user_id.to_string(),
            client_id: actor.client_id.clone(),
            outcome: "done",
            ..AuditRecord::default()
        };
        store::record::insert(&mut *tx, &record, now).await?;
        tx.commit().await?;
        self.nudges.mail.notify_one();
        tracing::info!(%user_id, "recovery started by staff");
        Ok(())
    }
}

// Its time stands in the first 48 bits (RFC 9562 5.7).
fn is_new(id: Uuid, now: DateTime<Utc>) -> bool {
    let made_at = i64::try_from(id.as_u128() >> 80).ok().and_then(DateTime::from_timestamp_millis);
    id.get_version_num() == 7 && made_at.is_some_and(|made_at| (now - made_at).abs() < REQUEST_ID_LIFE)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_id_is_of_now() {
        let id = domain::new_id();
        let made_at = DateTime::from_timestamp_millis(i64::try_from(id.as_u128() >> 80).unwrap()).unwrap();
        assert!(is_new(id, made_at) && is_new(id, made_at + TimeDelta::minutes(59)));
        assert!(!is_new(id, made_at + TimeDelta::hours(1)) && !is_new(id, made_at - TimeDelta::hours(1)));
        assert!(!is_new(Uuid::nil(), made_at) && !is_new(Uuid::max(), made_at));
        // The same time, another version.
        let fourth = Uuid::from_u128(id.as_u128() & !(0xf << 76) | (0x4 << 76));
        assert!(!is_new(fourth, made_at));
    }
}
