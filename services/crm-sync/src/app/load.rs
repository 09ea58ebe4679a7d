use domain::{DateTime, Service, Utc, Uuid};

use super::{
    App, Outlet, Progress,
    judge::{Fate, Judged},
    settle::{Settlement, as_count},
};
use crate::{
    Error,
    bulk_csv::{Upload, read_results},
    chunk::{Chunk, JobState, State, Step, orphans},
    delivery::{Decision, Lane, Outcome},
    events,
    gate::Verdict,
    mapping::Mask,
    match_key,
    row_failure::RowFailure,
    run::{Counts, Run},
    salesforce::{self, Job, ResultFile},
    store::{self, Failed, Written},
};

/// Ordinals of a chunk: one internal batch of the recipient.
const RANGE: i64 = 10_000;
const PAGE: i64 = 2_000;
/// Loads leave this share of the org's daily calls to others, in thousandths.
const BUDGET: u32 = 800;

/// A chunk's rows, made under one cut-off.
struct Built {
    people: Vec<Judged>,
    upload: Upload,
    cutoff: DateTime<Utc>,
}

impl App {
    /// One step of the load that is under way at a destination, if there is one. Whether this process began the step
    /// before or another one did makes no difference: the chunk's state and the recipient's job tell what is next.
    pub async fn advance_load(&self, outlet: &Outlet, epoch: i64) -> Result<Progress, Error> {
        let object_id = outlet.object().object_id;
        if let Some(chunk) = store::find_live_load(self.db(), object_id).await? {
            return self.go_on(outlet, chunk, epoch).await;
        }
        let Some(run) = store::find_running(self.db(), object_id).await? else { return Ok(Progress::Idle) };
        if run.cursor > run.last_ordinal {
            return self.end_run(&run, None).await;
        }
        if !may_load(outlet) {
            return Ok(Progress::Idle);
        }
        let to = run.last_ordinal.min(run.cursor + RANGE - 1);
        let chunk = self.intent(outlet, run.run_id, run.cursor, to);
        let mut tx = chassis::begin(self.db()).await?;
        store::insert_chunk(&mut tx, &chunk, epoch, chunk.intent_at).await?;
        tx.commit().await?;
        self.create(outlet, chunk, epoch).await
    }

    async fn go_on(&self, outlet: &Outlet, chunk: Chunk, epoch: i64) -> Result<Progress, Error> {
        let job = match &chunk.job_id {
            Some(job_id) => outlet.client.get_job(job_id).await?,
            None => Job { state: JobState::Gone, processed: 0 },
        };
        match chunk.state.recover(job.state) {
            Step::Create if may_load(outlet) => {
                self.abort_orphans(outlet, &chunk).await?;
                self.create(outlet, chunk, epoch).await
            }
            Step::Recheck if may_load(outlet) => self.recheck(outlet, chunk, epoch).await,
            Step::Create | Step::Recheck => Ok(Progress::Idle),
            Step::Rebuild => self.rebuild(outlet, &chunk, epoch).await,
            Step::NoteClosed => self.advance(chunk, State::Closed, epoch).await,
            Step::NoteFinished => self.advance(chunk, State::Finished, epoch).await,
            Step::Settle => self.settle_job(outlet, &chunk, job, epoch).await,
            Step::Poll => Ok(Progress::Wait),
            Step::Done => Ok(Progress::Moved),
        }
    }

    fn intent(&self, outlet: &Outlet, run_id: Uuid, from: i64, to: i64) -> Chunk {
        Chunk {
            chunk_id: domain::new_id(),
            object_id: outlet.object().object_id,
            run_id: Some(run_id),
            lane: Lane::Load,
            state: State::Intent,
            from_ordinal: from,
            to_ordinal: to,
            job_id: None,
            rows: 0,
            counts: Counts::default(),
            agreement_id: None,
            mapping_version_id: None,
            intent_at: self.clock().now(),
        }
    }

    /// An unanswered create may have left a job: it is thrown away before another one is made.
    async fn abort_orphans(&self, outlet: &Outlet, chunk: &Chunk) -> Result<(), Error> {
        let jobs = outlet.client.list_jobs().await?;
        let ids: Vec<String> = jobs.iter().map(|job| job.job_id.clone()).collect();
        let known = store::known_jobs(self.db(), &ids).await?;
        let user_id = outlet.client.user_id().await?;
        for job_id in orphans(&jobs, chunk, &outlet.object().name, &user_id, &known) {
            tracing::warn!(job_id, "job of an unanswered create is thrown away");
            outlet.client.abort_job(job_id).await?;
        }
        Ok(())
    }

    /// Makes the rows, creates the job, uploads, writes the ledger.
    async fn create(&self, outlet: &Outlet, mut chunk: Chunk, epoch: i64) -> Result<Progress, Error> {
        let built = self.build(outlet, &chunk).await?;
        chunk.rows = as_count(built.upload.rows());
        chunk.counts = built.counts();
        (chunk.agreement_id, chunk.mapping_version_id) =
            (outlet.agreement_id(), Some(outlet.mapping_version_id));
        if chunk.rows == 0 {
            return self.settle_empty(outlet, &chunk, &built, epoch).await;
        }
        let object = outlet.object();
        let job_id = match outlet.client.create_job(&object.name, &object.match_key_field).await {
            Err(salesforce::Error::Refused { code, .. }) => {
                return self.fail(outlet, &chunk, &code, epoch).await;
            }
            other => other?,
        };
        let mut tx = chassis::begin(self.db()).await?;
        store::note_job(&mut tx, chunk.chunk_id, &job_id).await?;
        store::advance_chunk(&mut tx, &chunk, State::Open, epoch, built.cutoff).await?;
        tx.commit().await?;
        chunk.state = State::Open;
        let Built { people, upload, cutoff } = built;
        match outlet.client.upload(&job_id, upload.finish()?.into()).await {
            Err(salesforce::Error::Refused { code, .. }) => {
                outlet.client.abort_job(&job_id).await?;
                return self.fail(outlet, &chunk, &code, epoch).await;
            }
            other => other?,
        }
        self.write_load_ledger(outlet, &chunk, &people, cutoff, epoch).await?;
        Ok(Progress::Moved)
    }

    async fn build(&self, outlet: &Outlet, chunk: &Chunk) -> Result<Built, Error> {
        let cutoff = self.clock().now();
        let mut built = Built { people: Vec::new(), upload: Upload::new(&outlet.mapping)?, cutoff };
        let mut from = chunk.from_ordinal;
        while from <= chunk.to_ordinal {
            let people = store::page(self.db(), from, chunk.to_ordinal, PAGE).await?;
            let Some(end) = people.last().map(|person| person.ordinal) else { break };
            let ids: Vec<Uuid> = people.iter().map(|person| person.profile_id.0).collect();
            let shadows = store::load_shadows(self.db(), chunk.object_id, &ids).await?;
            for person in &people {
                let judged = outlet.judge(person, shadows.get(&person.profile_id), cutoff, false)?;
                if let Some(row) = &judged.decision.row {
                    built.upload.push(row)?;
                }
                built.people.push(judged);
            }
            from = end + 1;
        }
        Ok(built)
    }

    /// Commits a chunk's decisions with its new state: rows that go out, people who stay, rows that cannot be made.
    async fn write_load_ledger(
        &self,
        outlet: &Outlet,
        chunk: &Chunk,
        people: &[Judged],
        at: DateTime<Utc>,
        epoch: i64,
    ) -> Result<(), Error> {
        let mut tx = chassis::begin(self.db()).await?;
        store::advance_chunk(&mut tx, chunk, State::Loaded, epoch, at).await?;
        insert_ledger(&mut tx, outlet, chunk, people, at).await?;
        tx.commit().await?;
        Ok(())
    }

    /// Nobody of the range has a row: no job, only the ledger.
    async fn settle_empty(
        &self,
        outlet: &Outlet,
        chunk: &Chunk,
        built: &Built,
        epoch: i64,
    ) -> Result<Progress, Error> {
        let mut tx = chassis::begin(self.db()).await?;
        store::advance_chunk(&mut tx, chunk, State::Settled, epoch, built.cutoff).await?;
        insert_ledger(&mut tx, outlet, chunk, &built.people, built.cutoff).await?;
        self.close_range(&mut tx, outlet, chunk, Counts::default(), built.cutoff).await?;
        tx.commit().await?;
        Ok(Progress::Moved)
    }

    /// The last look before the commit point: whoever lost a permission since the rows were made stops the job.
    async fn recheck(&self, outlet: &Outlet, mut chunk: Chunk, epoch: i64) -> Result<Progress, Error> {
        let now = self.clock().now();
        if self.exceeds(outlet, &chunk, now).await? {
            return self.rebuild(outlet, &chunk, epoch).await;
        }
        let Some(job_id) = chunk.job_id.clone() else { return Err(Error::Stored { what: "job of a chunk" }) };
        self.advance(chunk.clone(), State::Closing, epoch).await?;
        chunk.state = State::Closing;
        outlet.client.close_job(&job_id).await?;
        self.advance(chunk, State::Closed, epoch).await
    }

    async fn exceeds(&self, outlet: &Outlet, chunk: &Chunk, now: DateTime<Utc>) -> Result<bool, Error> {
        if chunk.mapping_version_id != Some(outlet.mapping_version_id) {
            return Ok(true);
        }
        let agreed = outlet.is_agreed() && chunk.agreement_id == outlet.agreement_id();
        let changed = store::changed_in_range(self.db(), chunk.chunk_id).await?;
        if agreed && changed.is_empty() {
            return Ok(false);
        }
        let rows = store::open_rows(self.db(), chunk.chunk_id).await?;
        // Ceases go whatever became of the agreement.
        if !agreed && rows.iter().any(|row| !row.ceases) {
            return Ok(true);
        }
        Ok(changed.iter().any(|subject| {
            let row = rows.iter().find(|row| row.profile_id == subject.profile_id && !row.ceases);
            row.is_some_and(|row| {
                let loaded = Verdict::Deliver { permitted: row.permitted, revoked: Mask::default() };
                loaded.exceeds(outlet.decide(subject, now))
            })
        }))
    }

    /// Gives the chunk up and begins its range anew, with fresh decisions.
    async fn rebuild(&self, outlet: &Outlet, chunk: &Chunk, epoch: i64) -> Result<Progress, Error> {
        if let Some(job_id) = &chunk.job_id {
            outlet.client.abort_job(job_id).await?;
        }
        let run_id = chunk.run_id.ok_or(Error::Stored { what: "run of a chunk" })?;
        let fresh = self.intent(outlet, run_id, chunk.from_ordinal, chunk.to_ordinal);
        // A job that was closed and is gone may have been processed.
        let closed = matches!(chunk.state, State::Closed | State::Finished);
        let outcome = if closed { Outcome::Unanswered } else { Outcome::NeverProcessed };
        let mut tx = chassis::begin(self.db()).await?;
        self.abandon(&mut tx, outlet, chunk, outcome, epoch).await?;
        store::insert_chunk(&mut tx, &fresh, epoch, fresh.intent_at).await?;
        tx.commit().await?;
        Ok(Progress::Moved)
    }

    async fn advance(&self, chunk: Chunk, to: State, epoch: i64) -> Result<Progress, Error> {
        let mut tx = chassis::begin(self.db()).await?;
        store::advance_chunk(&mut tx, &chunk, to, epoch, self.clock().now()).await?;
        tx.commit().await?;
        Ok(Progress::Moved)
    }

    /// Reads the result files and settles. A job that is complete may have failed rows, and one that has failed may have
    /// taken some.
    async fn settle_job(
        &self,
        outlet: &Outlet,
        chunk: &Chunk,
        job: Job,
        epoch: i64,
    ) -> Result<Progress, Error> {
        let Some(job_id) = chunk.job_id.as_deref() else {
            return Err(Error::Stored { what: "job of a chunk" });
        };
        let most = usize::try_from(chunk.rows).unwrap_or(usize::MAX);
        let key_field = &outlet.object().match_key_field;
        let client = &outlet.client;
        let failed = read_results(&client.results(job_id, ResultFile::Failed).await?, key_field, most)?;
        let unprocessed =
            read_results(&client.results(job_id, ResultFile::Unprocessed).await?, key_field, most)?;
        // As big as the upload: only where record ids are missing, or the recipient's count is not ours.
        let missing = store::count_missing_records(self.db(), chunk.chunk_id, chunk.object_id).await?;
        let wanted = missing > 0 || job.processed != chunk.rows || job.state == JobState::Failed;
        let saved = match wanted {
            true => {
                Some(read_results(&client.results(job_id, ResultFile::Successful).await?, key_field, most)?)
            }
            false => None,
        };
        let mut settlement = Settlement::default();
        for row in store::open_rows(self.db(), chunk.chunk_id).await? {
            let key = match_key::of(&outlet.keys, row.profile_id)?;
            if let Some(failure) = failed.get(&key) {
                let failure = RowFailure::of(&failure.code, failure.fields.clone());
                settlement.refused.push((row, failure));
            } else if unprocessed.contains_key(&key) {
                settlement.refused.push((row, RowFailure::of("UNPROCESSED", Vec::new())));
            } else {
                match saved.as_ref().map(|saved| saved.get(&key)) {
                    // A row that no file names never arrived: the upload was cut.
                    Some(None) => settlement.refused.push((row, RowFailure::of("NO_RESULT", Vec::new()))),
                    Some(Some(result)) => settlement.saved.push((row, result.record_id.clone())),
                    None => settlement.saved.push((row, String::new())),
                }
            }
        }
        self.settle(outlet, chunk, &settlement, epoch).await?;
        Ok(Progress::Moved)
    }

    /// The recipient refuses the job itself: the run ends.
    async fn fail(&self, outlet: &Outlet, chunk: &Chunk, code: &str, epoch: i64) -> Result<Progress, Error> {
        let mut tx = chassis::begin(self.db()).await?;
        self.abandon(&mut tx, outlet, chunk, Outcome::NeverProcessed, epoch).await?;
        tx.commit().await?;
        let run_id = chunk.run_id.ok_or(Error::Stored { what: "run of a chunk" })?;
        let run = self.get_run(run_id).await?;
        self.end_run(&run, Some(code)).await
    }

    async fn end_run(&self, run: &Run, failure: Option<&str>) -> Result<Progress, Error> {
        let now = self.clock().now();
        let mut tx = chassis::begin(self.db()).await?;
        let mut run = store::lock_run(&mut tx, run.run_id).await?.ok_or(Error::NotFound("run"))?;
        match failure {
            None => run.end(now),
            Some(code) => run.fail(code, now),
        }
        store::save_run(&mut tx, &run, None).await?;
        outbox::append(&mut tx, Service::CrmSync, &events::run_changed(&run, now)).await?;
        tx.commit().await?;
        tracing::info!(run_id = %run.run_id, state = run.state.name(), failure = run.failure.as_deref(), "run ended");
        Ok(Progress::Moved)
    }
}

fn may_load(outlet: &Outlet) -> bool {
    outlet.sends_everything() && outlet.client.used() < BUDGET
}

async fn insert_ledger(
    tx: &mut sqlx::PgTransaction<'_>,
    outlet: &Outlet,
    chunk: &Chunk,
    people: &[Judged],
    at: DateTime<Utc>,
) -> Result<(), Error> {
    let written = |outcome| Written {
        object_id: chunk.object_id,
        chunk_id: Some(chunk.chunk_id),
        run_id: chunk.run_id,
        lane: Lane::Load,
        agreement_id: outlet.agreement_id(),
        mapping_version_id: outlet.mapping_version_id,
        outcome,
        at,
    };
    let of = |wanted: fn(&Judged) -> bool| -> Vec<&Decision> {
        people.iter().filter(|judged| wanted(judged)).map(|judged| &judged.decision).collect()
    };
    let sent = of(|judged| judged.decision.row.is_some());
    store::insert_decisions(tx, &written(Outcome::Open), &sent).await?;
    let withheld = of(|judged| judged.fate == Fate::Withheld);
    store::insert_decisions(tx, &written(Outcome::None), &withheld).await?;
    let unfit = of(|judged| matches!(judged.fate, Fate::Unfit(_)));
    store::insert_decisions(tx, &written(Outcome::Failed), &unfit).await?;
    let mut failures: Vec<Failed> = Vec::new();
    for judged in people {
        if let Fate::Unfit(why) = &judged.fate {
            failures.push(why.failed(&judged.decision, at));
        }
    }
    store::insert_failures(tx, chunk.object_id, Some(chunk.chunk_id), chunk.run_id, &failures).await
}

impl Built {
    /// People of the range that need no row; the others are counted as they settle.
    fn counts(&self) -> Counts {
        let mut counts = Counts { rows: as_count(self.people.len()), ..Counts::default() };
        for judged in &self.people {
            match judged.fate {
                Fate::Unchanged => counts.unchanged += 1,
                Fate::Withheld => counts.withheld += 1,
                Fate::Unfit(_) => counts.failed += 1,
                Fate::Create | Fate::Change | Fate::Cease => {}
            }
        }
        counts
    }
}
