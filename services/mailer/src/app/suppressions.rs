use std::time::Duration;

use chassis::{Backoff, Shutdown};
use domain::{DateTime, ProfileId, Service, TimeDelta, Utc};
use sqlx::PgTransaction;
use tracing::Instrument as _;

use super::{App, IDLE};
use crate::{
    Error, events,
    grpc::peers::PeerFailure,
    store::{self, Withdrawal},
    suppression::{Reason, Scope, Suppression},
    token::{Aim, Token},
};

/// When a withdrawal that profile did not take is tried again.
const AGAIN: TimeDelta = TimeDelta::seconds(10);

impl App {
    /// Whether a token unsubscribes: the campaign behind it is there.
    pub async fn check_unsubscribe(&self, token: &str) -> Result<(), Error> {
        self.unsubscription(token).await.map(|_| ())
    }

    /// Unsubscribes at once: the suppression is committed when this returns. Repeats change nothing.
    pub async fn unsubscribe(&self, token: &str) -> Result<(), Error> {
        let suppression = self.unsubscription(token).await?;
        let needs_consent = match &suppression.scope {
            Scope::All => false,
            Scope::Sender { purpose, .. } => purpose.purpose().needs_consent(),
        };
        let mut tx = chassis::begin(&self.db).await?;
        self.add_suppression_in(&mut tx, &suppression, needs_consent.then_some(suppression.at)).await?;
        tx.commit().await?;
        self.nudges.withdrawal.notify_one();
        Ok(())
    }

    async fn unsubscription(&self, token: &str) -> Result<Suppression, Error> {
        let token = Token::verify(&self.keys.tokens, token).filter(|token| token.aim == Aim::Unsubscribe);
        let token = token.ok_or(Error::NotFound("link"))?;
        let sending = self.sending_of_number(token.campaign).await?.ok_or(Error::NotFound("link"))?;
        let (key, purpose) = (sending.sender.key.clone(), sending.sender.purpose.clone());
        Ok(Suppression {
            suppression_id: domain::new_id(),
            version: 1,
            profile_id: token.profile_id,
            address_hash: None,
            scope: Scope::Sender { key, purpose },
            reason: Reason::Unsubscribed,
            campaign_id: Some(sending.started.campaign.campaign_id),
            at: self.now(),
            ended_at: None,
        })
    }

    /// Staff stop mail to a person: all of it, or one sender's.
    pub async fn add_suppression(
        &self,
        profile_id: ProfileId,
        sender_key: Option<&str>,
    ) -> Result<Suppression, Error> {
        let scope = match sender_key {
            None => Scope::All,
            Some(key) => Scope::Sender { key: key.to_owned(), purpose: self.get_sender(key).await?.purpose },
        };
        let suppression = Suppression {
            suppression_id: domain::new_id(),
            version: 1,
            profile_id,
            address_hash: None,
            scope,
            reason: Reason::Manual,
            campaign_id: None,
            at: self.now(),
            ended_at: None,
        };
        let mut tx = chassis::begin(&self.db).await?;
        if self.add_suppression_in(&mut tx, &suppression, None).await? {
            tx.commit().await?;
            return Ok(suppression);
        }
        let standing = store::load_standing(&mut tx, &[profile_id.0]).await?;
        let same = |held: &Suppression| held.scope == suppression.scope && held.reason == suppression.reason;
        standing.into_iter().find(same).ok_or(Error::NotFound("suppression"))
    }

    /// Everything that was ever known about a person, newest first.
    pub async fn list_suppressions(&self, profile_id: ProfileId) -> Result<Vec<Suppression>, Error> {
        store::list_suppressions(&self.db, profile_id).await
    }

    pub(super) async fn add_suppression_in(
        &self,
        tx: &mut PgTransaction<'_>,
        suppression: &Suppression,
        withdraw_at: Option<DateTime<Utc>>,
    ) -> Result<bool, Error> {
        if !store::insert_suppression(tx, suppression, withdraw_at).await? {
            return Ok(false);
        }
        let user_id = store::user_of(tx, suppression.profile_id).await?;
        let fact = events::suppression_changed(suppression, user_id, suppression.at);
        outbox::append(tx, Service::Mailer, &fact).await?;
        Ok(true)
    }

    /// Tells profile about unsubscriptions, until the process ends.
    pub async fn run_withdrawals(self, shutdown: Shutdown) {
        let mut backoff = Backoff::new(IDLE, Duration::from_secs(30));
        while !shutdown.is_soft() {
            let longest = match self.withdraw_round().await {
                Ok(()) => {
                    backoff = Backoff::new(IDLE, Duration::from_secs(30));
                    IDLE
                }
                Err(error) => {
                    tracing::warn!(error = %error, cause = ?error, "a withdrawal could not be recorded yet");
                    backoff.next()
                }
            };
            self.wait(&self.nudges.withdrawal, longest, &shutdown).await;
        }
    }

    async fn withdraw_round(&self) -> Result<(), Error> {
        let now = self.now();
        for due in store::due_withdrawals(&self.db, now, now + AGAIN).await? {
            let span = tracing::info_span!("withdraw", suppression_id = %due.suppression_id);
            self.withdraw(&due, now).instrument(span).await?;
        }
        Ok(())
    }

    async fn withdraw(&self, due: &Withdrawal, now: DateTime<Utc>) -> Result<(), Error> {
        let recorded = self.peers.profile.withdraw(due.suppression_id, due.profile_id, &due.purpose).await;
        match recorded {
            Ok(()) => {}
            // The person is merged, erased or unknown: there is no consent to withdraw, the suppression stands.
            Err(PeerFailure::Refused(reason)) => {
                tracing::info!(suppression_id = %due.suppression_id, reason, "profile refused a withdrawal");
            }
            Err(PeerFailure::Answer(what)) => return Err(Error::PeerAnswer(what)),
            Err(PeerFailure::Failed(error)) => return Err(error.into()),
        }
        store::save_withdrawn(&self.db, due.suppression_id, now).await
    }
}
