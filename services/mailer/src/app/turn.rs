//! The turn: one group commit, started when the last has ended. It writes the outcomes that arrived, checks the next
//! mails for the last time, marks those that may leave at most once, and appends the facts.
//!
//! **Content n+1 leaves a connection only after the turn holding n's outcome has committed**, so a kill leaves at most
//! one undecided mail a connection.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
    time::Duration,
};

use chassis::Backoff;
use domain::{CampaignId, DateTime, ProfileId, Service, Utc, Uuid};
use sqlx::PgTransaction;
use tokio::{
    sync::{mpsc, oneshot},
    time::sleep,
};
use tracing::{Instrument as _, Span};

use super::{App, Sending};
use crate::{
    Error,
    campaign::{self, Delivery},
    events,
    message::{Outcome, Skip, State},
    recipient::{Reachable, Recipient},
    store::{self, LedgerKey, Ledgered},
    suppression::{self, Reason, Scope, Suppression},
};

/// Most steps of one turn.
const LARGEST: usize = 256;
/// Works that a turn's span names.
const LINKS: usize = 128;

/// What a connection hands in between two mails.
#[derive(Debug)]
pub(super) struct Step {
    /// What became of its last mail.
    pub done: Option<(LedgerKey, Done)>,
    /// The person whose mail is next.
    pub next: Option<Next>,
    /// Where the verdict goes.
    pub answer: oneshot::Sender<Verdict>,
    /// The work that it is a step of.
    pub span: Span,
}

/// What became of a mail.
#[derive(Debug)]
pub(super) enum Done {
    /// It has an outcome.
    Outcome(Outcome),
    /// No byte of content left.
    NotHanded,
}

/// Who is next.
#[derive(Debug, Clone)]
pub(super) struct Next {
    pub sending: Arc<Sending>,
    pub profile_id: ProfileId,
    /// Block and epoch of the lease; none for a later attempt.
    pub lease: Option<(i32, i64)>,
}

/// Whether the next mail may leave.
#[derive(Debug)]
pub(super) enum Verdict {
    /// It may, to this person as he is now.
    Send(Box<Candidate>),
    /// It has its row, or must not leave.
    Passed,
    /// Not yet.
    Later,
    /// Nothing of this campaign leaves now, or the lease is somebody else's.
    Stop,
}

/// A person to whom a mail may leave now.
#[derive(Debug)]
pub(super) struct Candidate {
    pub recipient: Recipient,
    pub reachable: Reachable,
    /// Answers of relays so far.
    pub attempts: u32,
}

/// Takes turns until every connection has gone.
pub(super) async fn run(app: App, mut steps: mpsc::Receiver<Step>) {
    let mut batch = Vec::with_capacity(LARGEST);
    while steps.recv_many(&mut batch, LARGEST).await > 0 {
        let verdicts = app.turn_with_patience(&batch).instrument(turn_span(&batch)).await;
        for (step, verdict) in batch.drain(..).zip(verdicts) {
            // A connection that no longer waits has left nothing behind.
            let _ = step.answer.send(verdict);
        }
    }
}

// In the trace of the first step's work, and linked to the others': one transaction serves them all.
fn turn_span(steps: &[Step]) -> Span {
    let first = steps.first().map_or_else(Span::none, |step| step.span.clone());
    let span = tracing::info_span!(parent: &first, "turn", steps = steps.len());
    let mut named: HashSet<_> = first.id().into_iter().collect();
    let others = steps.iter().filter(|step| step.span.id().is_some_and(|id| named.insert(id)));
    others.take(LINKS).for_each(|step| {
        span.follows_from(&step.span);
    });
    span
}

impl App {
    async fn turn_with_patience(&self, steps: &[Step]) -> Vec<Verdict> {
        let mut backoff = Backoff::new(Duration::from_millis(50), Duration::from_secs(5));
        loop {
            match self.turn(steps).await {
                Ok(verdicts) => return verdicts,
                // Outcomes are facts: they wait for the database, and with them everything that would leave next.
                Err(error) => tracing::warn!(error = %error, cause = ?error, "a turn failed"),
            }
            sleep(backoff.next()).await;
        }
    }

    async fn turn(&self, steps: &[Step]) -> Result<Vec<Verdict>, Error> {
        let now = self.now();
        let mut rows = Vec::new();
        let mut not_handed = Vec::new();
        for (key, done) in steps.iter().filter_map(|step| step.done.as_ref()) {
            match done {
                Done::Outcome(outcome) => rows.push(Ledgered { key: *key, outcome: outcome.clone() }),
                Done::NotHanded => not_handed.push(*key),
            }
        }
        let mut tx = chassis::begin(&self.db).await?;
        store::delete_handing(&mut tx, &not_handed).await?;
        let mut verdicts = self.judge(&mut tx, steps, &mut rows, now).await?;
        mark(&mut tx, steps, &mut verdicts, now).await?;
        let changed = store::save_outcomes(&mut tx, &rows, now).await?;
        rows.retain(|row| changed.contains(&row.key));
        self.suppress_bounced(&mut tx, &rows, now).await?;
        append_facts(&mut tx, &rows, now).await?;
        tx.commit().await?;
        Ok(verdicts)
    }

    // The last-second checks, all in our own database.
    async fn judge(
        &self,
        tx: &mut PgTransaction<'_>,
        steps: &[Step],
        rows: &mut Vec<Ledgered>,
        now: DateTime<Utc>,
    ) -> Result<Vec<Verdict>, Error> {
        let nexts: Vec<&Next> = steps.iter().filter_map(|step| step.next.as_ref()).collect();
        if nexts.is_empty() {
            return Ok(steps.iter().map(|_| Verdict::Passed).collect());
        }
        let sight = self.sight(tx, &nexts).await?;
        let mut verdicts = Vec::with_capacity(steps.len());
        for step in steps {
            let Some(next) = &step.next else {
                verdicts.push(Verdict::Passed);
                continue;
            };
            let (verdict, outcome) = sight.verdict(next, now);
            rows.extend(outcome.map(|outcome| Ledgered { key: next.key(), outcome }));
            verdicts.push(verdict);
        }
        Ok(verdicts)
    }

    async fn sight(&self, tx: &mut PgTransaction<'_>, nexts: &[&Next]) -> Result<Sight, Error> {
        let campaigns: Vec<Uuid> = nexts.iter().map(|next| next.key().0.0).collect();
        let people: Vec<Uuid> = nexts.iter().map(|next| next.profile_id.0).collect();
        let keys: Vec<LedgerKey> = nexts.iter().map(|next| next.key()).collect();
        let leased: Vec<(CampaignId, i32)> =
            nexts.iter().filter_map(|next| Some((next.key().0, next.lease?.0))).collect();
        Ok(Sight {
            states: store::states(tx, &campaigns).await?,
            epochs: store::epochs(tx, &leased).await?,
            held: store::held_states(tx, &keys).await?,
            people: store::load_recipients(tx, &people).await?,
            suppressions: store::load_standing(tx, &people).await?,
            address_key: store::address_hash_key(tx).await?,
        })
    }

    // An address that does not exist is suppressed everywhere, until the person has another one.
    async fn suppress_bounced(
        &self,
        tx: &mut PgTransaction<'_>,
        rows: &[Ledgered],
        now: DateTime<Utc>,
    ) -> Result<(), Error> {
        let bounced: Vec<&Ledgered> = rows.iter().filter(|row| row.outcome.hard_bounce).collect();
        if bounced.is_empty() {
            return Ok(());
        }
        let ids: Vec<Uuid> = bounced.iter().map(|row| row.key.1.0).collect();
        let people = store::load_recipients(tx, &ids).await?;
        let key = store::address_hash_key(tx).await?;
        for row in bounced {
            let (campaign_id, profile_id) = row.key;
            let Some(email) = people.get(&profile_id).and_then(|person| person.email.as_ref()) else {
                continue;
            };
            let suppression = Suppression {
                suppression_id: domain::new_id(),
                version: 1,
                profile_id,
                address_hash: Some(suppression::address_hash(&key, email)),
                scope: Scope::All,
                reason: Reason::HardBounce,
                campaign_id: Some(campaign_id),
                at: now,
                ended_at: None,
            };
            self.add_suppression_in(tx, &suppression, None).await?;
        }
        Ok(())
    }
}

/// What a turn sees of the people who are next.
struct Sight {
    states: HashMap<CampaignId, campaign::State>,
    epochs: HashMap<(CampaignId, i32), i64>,
    held: HashMap<LedgerKey, (State, u32)>,
    people: HashMap<ProfileId, Recipient>,
    suppressions: Vec<Suppression>,
    address_key: Vec<u8>,
}

impl Sight {
    fn verdict(&self, next: &Next, now: DateTime<Utc>) -> (Verdict, Option<Outcome>) {
        let (campaign_id, profile_id) = next.key();
        let campaign = &next.sending.started.campaign;
        let epoch = next.lease.map(|(block, epoch)| self.epochs.get(&(campaign_id, block)) == Some(&epoch));
        if self.states.get(&campaign_id) != Some(&campaign::State::Sending) || epoch == Some(false) {
            return (Verdict::Stop, None);
        }
        let attempts = match self.held.get(&(campaign_id, profile_id)) {
            None => 0,
            // A mark without an outcome: its process died in between, and nobody knows whether it left.
            Some((State::Handing, _)) => {
                return (Verdict::Passed, Some(Outcome::without_relay(State::Unknown, "process_lost")));
            }
            Some((State::Deferred, attempts)) if next.lease.is_none() => *attempts,
            Some(_) => return (Verdict::Passed, None),
        };
        if campaign.deadline.is_some_and(|deadline| now >= deadline) {
            return (Verdict::Passed, Some(Outcome::without_relay(State::Expired, "deadline")));
        }
        let Some(person) = self.people.get(&profile_id) else {
            // The facts of a person and the freeze that names him come on different ways.
            let waits = campaign.frozen.as_ref().is_some_and(|frozen| now < frozen.at + campaign::PATIENCE);
            if waits {
                return (Verdict::Later, None);
            }
            return (Verdict::Passed, Some(Outcome::skipped(Skip::UnknownRecipient)));
        };
        match self.check(next, person, now) {
            Ok(reachable) => {
                let recipient = person.clone();
                (Verdict::Send(Box::new(Candidate { recipient, reachable, attempts })), None)
            }
            Err(skip) => (Verdict::Passed, Some(Outcome::skipped(skip))),
        }
    }

    fn check(&self, next: &Next, person: &Recipient, now: DateTime<Utc>) -> Result<Reachable, Skip> {
        let sender = &next.sending.sender;
        // An unsubscription is told before the missing consent that follows from it.
        let hash = person.email.as_ref().map(|email| suppression::address_hash(&self.address_key, email));
        let hash = hash.unwrap_or_default();
        let mut suppressions = self.suppressions.iter().filter(|held| held.profile_id == person.profile_id);
        if suppressions.any(|held| held.stops(&sender.key, &sender.purpose, &hash)) {
            return Err(Skip::Suppressed);
        }
        person.check(&sender.purpose, now)
    }
}

impl Next {
    pub fn key(&self) -> LedgerKey {
        (self.sending.started.campaign.campaign_id, self.profile_id)
    }
}

// Under `at_most_once` the mark is committed before the mail leaves; whoever finds another's mark passes on.
async fn mark(
    tx: &mut PgTransaction<'_>,
    steps: &[Step],
    verdicts: &mut [Verdict],
    now: DateTime<Utc>,
) -> Result<(), Error> {
    let is_once = |next: &Next| next.sending.started.campaign.plan.delivery == Delivery::AtMostOnce;
    let leaving = |step: &Step, verdict: &Verdict| {
        let next = step.next.as_ref().filter(|next| is_once(next) && matches!(verdict, Verdict::Send(_)));
        next.map(Next::key)
    };
    let keys: HashSet<LedgerKey> =
        steps.iter().zip(verdicts.iter()).filter_map(|(step, verdict)| leaving(step, verdict)).collect();
    if keys.is_empty() {
        return Ok(());
    }
    let keys: Vec<LedgerKey> = keys.into_iter().collect();
    let marked = store::insert_handing(tx, &keys, now).await?;
    for (step, verdict) in steps.iter().zip(verdicts.iter_mut()) {
        if leaving(step, verdict).is_some_and(|key| !marked.contains(&key)) {
            *verdict = Verdict::Passed;
        }
    }
    Ok(())
}

async fn append_facts(
    tx: &mut PgTransaction<'_>,
    rows: &[Ledgered],
    now: DateTime<Utc>,
) -> Result<(), Error> {
    let mut by_campaign: HashMap<CampaignId, Vec<(ProfileId, &Outcome)>> = HashMap::new();
    for row in rows {
        by_campaign.entry(row.key.0).or_default().push((row.key.1, &row.outcome));
    }
    for (campaign_id, outcomes) in by_campaign {
        let fact = events::messages_changed(campaign_id, &outcomes, now);
        outbox::append(tx, Service::Mailer, &fact).await?;
    }
    Ok(())
}
