use std::collections::HashMap;

use domain::{DateTime, ProfileId, Utc, Uuid};
use tracing::Instrument;

use super::{
    App, Outlet,
    judge::{Fate, Judged},
    settle::{Settlement, as_count},
};
use crate::{
    Error,
    chunk::{Chunk, State},
    delivery::{Decision, Lane, Outcome},
    gate::Held,
    mapping::Mask,
    row::Row,
    row_failure::{Class, RowFailure},
    run::Counts,
    salesforce::{MOST_ROWS, RowResult},
    store::{self, Failed, Pending, Shadow, Written},
    subject::Subject,
};

/// Changes leave this share of the org's daily calls to ceases and to others, in thousandths.
const BUDGET: u32 = 950;

/// What a step came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Progress {
    /// There is nothing to do.
    Idle,
    /// Something was done: go on at once.
    Moved,
    /// The recipient works: ask again later.
    Wait,
}

/// People of one look at the queue, decided.
struct Batch {
    lane: Lane,
    people: Vec<(Pending, Judged)>,
    cutoff: DateTime<Utc>,
}

impl App {
    /// One call of the cease and change lanes: takes who is due, asks the gate, writes the ledger, sends, settles.
    pub async fn advance_live(&self, outlet: &Outlet, epoch: i64) -> Result<Progress, Error> {
        let now = self.clock().now();
        let object_id = outlet.object().object_id;
        let urgent_only = !outlet.sends_everything() || outlet.client.used() >= BUDGET;
        let most = as_count(MOST_ROWS);
        let due = store::due(self.db(), object_id, urgent_only, most, now).await?;
        let Some(lane) = due.first().map(|first| first.lane) else { return Ok(Progress::Idle) };
        // A call belongs to one lane: urgent ones do not wait for the others' rows.
        let due: Vec<Pending> = due.into_iter().filter(|pending| pending.lane == lane).collect();
        let span =
            tracing::info_span!("send", otel.name = format!("send {} lane", lane.name()), rows = due.len());
        let newest = due.iter().filter_map(|pending| pending.traceparent.as_deref());
        let older = due.iter().flat_map(|pending| pending.links.iter().map(String::as_str));
        outbox::trace::continue_rows(&span, newest.chain(older));
        self.send(outlet, lane, due, now, epoch).instrument(span).await
    }

    async fn send(
        &self,
        outlet: &Outlet,
        lane: Lane,
        due: Vec<Pending>,
        now: DateTime<Utc>,
        epoch: i64,
    ) -> Result<Progress, Error> {
        let batch = self.judge_due(outlet, lane, due, now).await?;
        let Some(chunk) = self.write_ledger(outlet, &batch, epoch).await? else { return Ok(Progress::Moved) };
        let rows: Vec<&Row> =
            batch.sent(outlet).filter_map(|(_, judged)| judged.decision.row.as_ref()).collect();
        let object = outlet.object();
        let sent = outlet.client.upsert(&object.name, &object.match_key_field, &outlet.mapping, &rows).await;
        match sent {
            Ok(results) => {
                let settlement = self.settlement(outlet, &chunk, &batch, results).await?;
                self.settle(outlet, &chunk, &settlement, epoch).await?;
                Ok(Progress::Moved)
            }
            Err(error) => {
                // The queue still holds them: they go again, made anew, as soon as the recipient answers.
                let outcome =
                    if error.is_unanswered() { Outcome::Unanswered } else { Outcome::NeverProcessed };
                self.give_up_call(outlet, &chunk, outcome, epoch).await?;
                Err(error.into())
            }
        }
    }

    async fn judge_due(
        &self,
        outlet: &Outlet,
        lane: Lane,
        due: Vec<Pending>,
        cutoff: DateTime<Utc>,
    ) -> Result<Batch, Error> {
        let object_id = outlet.object().object_id;
        let ids: Vec<Uuid> = due.iter().map(|pending| pending.profile_id.0).collect();
        let subjects = store::load_subjects(self.db(), &ids).await?;
        let subjects: HashMap<ProfileId, Subject> =
            subjects.into_iter().map(|subject| (subject.profile_id, subject)).collect();
        let mut shadows = store::load_shadows(self.db(), object_id, &ids).await?;
        for (profile_id, sent) in store::maybe_held(self.db(), object_id, &ids).await? {
            may_hold(&mut shadows, profile_id, outlet.mapping.names(Mask::from_sql(sent)));
        }
        let mut people = Vec::with_capacity(due.len());
        for pending in due {
            // Nobody leaves the projection while they wait.
            let Some(subject) = subjects.get(&pending.profile_id) else { continue };
            let shadow = shadows.get(&pending.profile_id);
            let judged = outlet.judge(subject, shadow, cutoff, pending.forced)?;
            people.push((pending, judged));
        }
        Ok(Batch { lane, people, cutoff })
    }

    /// The ledger comes before the call. None when nothing has to go out.
    async fn write_ledger(&self, outlet: &Outlet, batch: &Batch, epoch: i64) -> Result<Option<Chunk>, Error> {
        let object_id = outlet.object().object_id;
        let rows = batch.sent(outlet).count();
        let chunk = Chunk {
            chunk_id: domain::new_id(),
            object_id,
            run_id: None,
            lane: batch.lane,
            state: State::Loaded,
            from_ordinal: 0,
            to_ordinal: 0,
            job_id: None,
            rows: as_count(rows),
            counts: Counts::default(),
            agreement_id: outlet.agreement_id(),
            mapping_version_id: Some(outlet.mapping_version_id),
            intent_at: batch.cutoff,
        };
        let withheld = self.newly_withheld(object_id, batch).await?;
        let mut tx = chassis::begin(self.db()).await?;
        let mut written = Written {
            object_id,
            chunk_id: None,
            run_id: None,
            lane: batch.lane,
            agreement_id: outlet.agreement_id(),
            mapping_version_id: outlet.mapping_version_id,
            outcome: Outcome::None,
            at: batch.cutoff,
        };
        store::insert_decisions(&mut tx, &written, &withheld).await?;
        let unfit = batch.unfit();
        written.outcome = Outcome::Failed;
        let decisions: Vec<&Decision> = unfit.iter().map(|(decision, _)| *decision).collect();
        store::insert_decisions(&mut tx, &written, &decisions).await?;
        let failures: Vec<Failed> = unfit.into_iter().map(|(_, failed)| failed).collect();
        store::insert_failures(&mut tx, object_id, None, None, &failures).await?;
        store::add_follow_ups(&mut tx, object_id, &batch.follow_ups()).await?;
        store::remove(&mut tx, object_id, &batch.ended()).await?;
        store::demote(&mut tx, object_id, &batch.held_back(outlet)).await?;
        if rows > 0 {
            store::insert_chunk(&mut tx, &chunk, epoch, batch.cutoff).await?;
            written.chunk_id = Some(chunk.chunk_id);
            written.outcome = Outcome::Open;
            let decisions: Vec<&Decision> = batch.sent(outlet).map(|(_, judged)| &judged.decision).collect();
            store::insert_decisions(&mut tx, &written, &decisions).await?;
        }
        tx.commit().await?;
        Ok((rows > 0).then_some(chunk))
    }

    /// In these lanes a person is written down as withheld once for each change of the verdict.
    async fn newly_withheld<'a>(
        &self,
        object_id: Uuid,
        batch: &'a Batch,
    ) -> Result<Vec<&'a Decision>, Error> {
        let withheld: Vec<&Decision> = batch
            .people
            .iter()
            .filter(|(_, judged)| judged.fate == Fate::Withheld)
            .map(|(_, judged)| &judged.decision)
            .collect();
        let ids: Vec<Uuid> = withheld.iter().map(|decision| decision.profile_id.0).collect();
        let known: HashMap<ProfileId, String> =
            store::last_withheld(self.db(), object_id, &ids).await?.into_iter().collect();
        let is_new = |decision: &&Decision| {
            let reason = decision.verdict.reason().map(|reason| reason.code());
            known.get(&decision.profile_id).map(String::as_str) != reason
        };
        Ok(withheld.into_iter().filter(is_new).collect())
    }

    async fn settlement(
        &self,
        outlet: &Outlet,
        chunk: &Chunk,
        batch: &Batch,
        results: Vec<RowResult>,
    ) -> Result<Settlement, Error> {
        let rows = store::open_rows(self.db(), chunk.chunk_id).await?;
        let mut rows: HashMap<ProfileId, _> = rows.into_iter().map(|row| (row.profile_id, row)).collect();
        let mut settlement = Settlement::default();
        for ((pending, judged), result) in batch.sent(outlet).zip(results) {
            let row = rows.remove(&judged.decision.profile_id).ok_or(Error::Stored { what: "ledger row" })?;
            match result {
                RowResult::Saved { record_id } => settlement.saved.push((row, record_id)),
                RowResult::Refused { code, fields } => {
                    settlement.refused.push((row, RowFailure::of(&code, fields)));
                }
            }
            settlement.done.push((pending.profile_id.0, pending.revision));
            settlement.tries.insert(pending.profile_id, pending.tries);
        }
        Ok(settlement)
    }

    async fn give_up_call(
        &self,
        outlet: &Outlet,
        chunk: &Chunk,
        outcome: Outcome,
        epoch: i64,
    ) -> Result<(), Error> {
        let mut tx = chassis::begin(self.db()).await?;
        self.abandon(&mut tx, outlet, chunk, outcome, epoch).await?;
        tx.commit().await?;
        Ok(())
    }

    /// Calls that a runner left without writing their replies down: whoever was in them is still in the queue and goes
    /// again, from what is true now.
    pub async fn recover_calls(&self, outlet: &Outlet, epoch: i64) -> Result<(), Error> {
        for chunk in store::list_live_calls(self.db(), outlet.object().object_id).await? {
            self.give_up_call(outlet, &chunk, Outcome::Unanswered, epoch).await?;
        }
        Ok(())
    }
}

impl Batch {
    /// Who goes out now: while loads and changes wait, only those who are ceased.
    fn sent<'a>(&'a self, outlet: &Outlet) -> impl Iterator<Item = &'a (Pending, Judged)> {
        let everything = outlet.sends_everything();
        self.people.iter().filter(move |(_, judged)| {
            judged.decision.row.is_some() && (everything || judged.fate == Fate::Cease)
        })
    }

    fn held_back(&self, outlet: &Outlet) -> Vec<(Uuid, i64)> {
        let everything = outlet.sends_everything();
        let held = self
            .people
            .iter()
            .filter(|(_, judged)| judged.decision.row.is_some() && !everything && judged.fate != Fate::Cease);
        held.map(|(pending, _)| (pending.profile_id.0, pending.revision)).collect()
    }

    fn ended(&self) -> Vec<(Uuid, i64)> {
        let ended = self.people.iter().filter(|(_, judged)| judged.decision.row.is_none());
        ended.map(|(pending, _)| (pending.profile_id.0, pending.revision)).collect()
    }

    fn unfit(&self) -> Vec<(&Decision, Failed)> {
        let mut unfit = Vec::new();
        for (_, judged) in &self.people {
            if let Fate::Unfit(why) = &judged.fate {
                let decision = &judged.decision;
                unfit.push((decision, why.failed(decision, self.cutoff)));
            }
        }
        unfit
    }

    fn follow_ups(&self) -> Vec<(ProfileId, Lane, Option<String>)> {
        let follow =
            |(pending, _): &(Pending, Judged)| (pending.profile_id, self.lane, pending.traceparent.clone());
        self.people.iter().map(follow).collect()
    }
}

impl crate::row::Unfit {
    /// As a failure of the ledger.
    pub(super) fn failed(&self, decision: &Decision, at: DateTime<Utc>) -> Failed {
        let failure =
            RowFailure { class: Class::Data, code: self.code.to_owned(), fields: vec![self.field.clone()] };
        Failed::new(decision.profile_id, decision.decision_id, &failure, at)
    }
}

/// A load under way may have put these fields there: whoever is not permitted any longer is ceased, and whoever is goes
/// out whatever seems unchanged.
fn may_hold(shadows: &mut HashMap<ProfileId, Shadow>, profile_id: ProfileId, fields: Vec<String>) {
    let empty = || Shadow { held: Held::default(), record_id: String::new(), row_hash: Vec::new() };
    let shadow = shadows.entry(profile_id).or_insert_with(empty);
    shadow.held.fields.extend(fields);
    shadow.held.ceased = false;
    shadow.row_hash.clear();
}
