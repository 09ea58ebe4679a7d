use bytes::Bytes;
use chassis::FieldViolation;
use domain::{NaiveDate, Uuid};
use sqlx::PgExecutor;
use tokio::sync::Notify;

use super::{App, publish::submission};
use crate::{
    Error,
    document_type::FeedFlag,
    ledger::Submission,
    replay::{self, Original, Replay, Stage},
    store::{self, Position},
    stream_name::{RehearsalNumber, StreamName},
};

/// How long a driver has a replay without a word from it, in seconds: so long a killed process's replay stands still.
const LEASE_SECONDS: f64 = 10.0;
/// Whom the entries of a rehearsal are from.
const PUBLISHER: &str = "rehearsal";

/// What is to be sent again.
#[derive(Debug, Clone)]
pub struct NewReplay {
    /// From where; never a rehearsal.
    pub source: FeedFlag,
    /// Only of this day.
    pub logical_date: Option<NaiveDate>,
    /// From this entry on.
    pub from_seq: i64,
    /// To this entry; to the newest one where it is not given.
    pub to_seq: Option<i64>,
    /// 1 to 100.
    pub speed: u32,
    /// Into this rehearsal; into the first one that is free where it is not given.
    pub number: Option<RehearsalNumber>,
}

/// A replay that this process drives, until somebody stops it or it is lost.
#[derive(Debug, Clone)]
pub struct Driven {
    /// As it was when it was taken over.
    pub replay: Replay,
    driver: Uuid,
    stream: StreamName,
}

impl Driven {
    const fn lease(&self) -> (Uuid, Uuid) {
        (self.replay.replay_id, self.driver)
    }
}

/// What an append moves on in its transaction.
#[derive(Debug, Clone, Copy)]
pub(super) struct Progress {
    lease: (Uuid, Uuid),
    next_seq: i64,
    documents: i64,
}

impl Progress {
    /// Moves the replay on; whoever has lost it commits nothing.
    pub(super) async fn save(self, tx: &mut sqlx::PgTransaction<'_>) -> Result<(), Error> {
        let moved =
            store::advance_replay(&mut **tx, self.lease, (self.next_seq, self.documents), LEASE_SECONDS)
                .await?;
        if moved { Ok(()) } else { Err(Error::ReplayLost) }
    }
}

impl App {
    /// Begins to send a range again into a rehearsal; some replica drives it.
    pub async fn start_replay(&self, new: NewReplay, started_by: &str) -> Result<Replay, Error> {
        let source_id = self.hub(new.source).stream_id().to_owned();
        let newest = self.stored_position(new.source).await?.seq;
        let to_seq = new.to_seq.map_or(newest, |to| to.min(newest));
        let range = (new.from_seq, to_seq);
        let (documents, first) =
            store::count_originals(&self.db, &source_id, new.logical_date, range).await?;
        let first = first.ok_or(Error::NotFound("document in that range"))?;
        // Of what is older, only the last versions are there.
        let begins = if new.logical_date.is_some() { first } else { new.from_seq };
        if !self.reaches_back_to(new.source.into(), begins).await? {
            return Err(
                FieldViolation::new("from_seq", "must not be before the oldest entry that is kept").into()
            );
        }
        let number = match new.number {
            Some(number) => number,
            None => self.free_rehearsal().await?,
        };
        let now = self.clock.now();
        let stream_id = self.hub(StreamName::Rehearsal(number)).stream_id().to_owned();
        self.make_rehearsal(&stream_id).await?;
        let replay = Replay {
            replay_id: domain::new_id(),
            stream_id,
            source_id,
            logical_date: new.logical_date,
            from_seq: new.from_seq,
            to_seq,
            speed: new.speed,
            stage: Stage::Clearing,
            documents,
            replayed: 0,
            next_seq: new.from_seq,
            started_by: started_by.to_owned(),
            started_at: now,
            ended_at: None,
        };
        store::insert_replay(&self.db, &replay).await?;
        tracing::info!(replay_id = %replay.replay_id, stream = replay.stream_id, documents, "replay started");
        self.replay_started.notify_one();
        Ok(replay)
    }

    // In production's turn, as rights change: a stream that came in between would not be told of their change.
    async fn make_rehearsal(&self, stream_id: &String) -> Result<(), Error> {
        let mut tx = chassis::begin(&self.db).await?;
        store::lock_stream(&mut tx, self.hub(StreamName::Production).stream_id()).await?;
        let (ids, epoch) = (std::slice::from_ref(stream_id), self.new_epoch()?);
        store::make_streams(&mut *tx, ids, &epoch, self.clock.now()).await?;
        tx.commit().await?;
        Ok(())
    }

    async fn free_rehearsal(&self) -> Result<RehearsalNumber, Error> {
        let busy = store::busy_streams(&self.db).await?;
        let is_free = |number: &RehearsalNumber| {
            !busy.iter().any(|id| id == self.hub(StreamName::Rehearsal(*number)).stream_id())
        };
        RehearsalNumber::all().find(is_free).ok_or(Error::ReplayRunning)
    }

    /// Ends a replay; what was sent stays. Stopping one that has ended changes nothing.
    pub async fn stop_replay(&self, replay_id: Uuid) -> Result<Replay, Error> {
        store::stop_replay(&self.db, replay_id, self.clock.now()).await?;
        let replay = self.get_replay(replay_id).await?;
        tracing::info!(%replay_id, stage = %replay.stage, "replay stopped");
        Ok(replay)
    }

    /// A replay and how far it is.
    pub async fn get_replay(&self, replay_id: Uuid) -> Result<Replay, Error> {
        store::find_replay(&self.db, replay_id).await?.ok_or(Error::NotFound("replay"))
    }

    /// Wakes whoever drives replays.
    pub fn replay_started(&self) -> &Notify {
        &self.replay_started
    }

    /// Takes over a replay that nobody drives.
    pub async fn claim_replay(&self) -> Result<Option<Driven>, Error> {
        let driver = domain::new_id();
        let Some(replay) = store::claim_replay(&self.db, driver, LEASE_SECONDS).await? else {
            return Ok(None);
        };
        let stream = self.stream_of(&replay.stream_id).ok_or(Error::Corrupt { what: "stream_id" })?;
        Ok(Some(Driven { replay, driver, stream }))
    }

    /// Takes some of what an earlier replay left away; true once its stream is empty and begun anew.
    ///
    /// # Errors
    /// [`Error::ReplayLost`] where it is another's, as of the methods below.
    pub async fn clear_rehearsal(&self, driven: &Driven) -> Result<bool, Error> {
        let stream_id = driven.replay.stream_id.as_str();
        let mut tx = chassis::begin(&self.db).await?;
        // The stream first, as every append has it, so that nobody waits in a ring.
        let Position { seq, .. } = store::lock_stream(&mut tx, stream_id).await?;
        // First of all, so that nobody reads past the holes that this makes.
        store::save_whole_from(&mut *tx, stream_id, seq + 1).await?;
        let (next_seq, lease) = (driven.replay.next_seq, driven.lease());
        Progress { lease, next_seq, documents: 0 }.save(&mut tx).await?;
        let is_empty = !store::clear_stream(&mut tx, stream_id).await?;
        if is_empty {
            store::forget_days(&mut tx, stream_id).await?;
            store::begin_stream(&mut tx, stream_id, &self.new_epoch()?).await?;
            store::set_replay_stage(&mut *tx, lease, Stage::Running.name(), None).await?;
        }
        tx.commit().await?;
        Ok(is_empty)
    }

    /// The next documents of a replay, from an entry on.
    pub async fn list_originals(&self, driven: &Driven, next_seq: i64) -> Result<Vec<Original>, Error> {
        store::list_originals(&self.db, &driven.replay, next_seq).await
    }

    /// Keeps a replay while nothing is due.
    pub async fn keep_replay(&self, driven: &Driven) -> Result<(), Error> {
        let kept = store::advance_replay(&self.db, driven.lease(), (0, 0), LEASE_SECONDS).await?;
        if kept { Ok(()) } else { Err(Error::ReplayLost) }
    }

    /// Sends documents again, and moves the replay on in the same transaction: each is sent once, whatever dies when.
    pub async fn send_again(&self, driven: &Driven, originals: &[Original]) -> Result<(), Error> {
        let Some(last) = originals.last() else { return Ok(()) };
        let mut batch = Vec::with_capacity(originals.len());
        for original in originals {
            match self.submission_of(&original.raw).await? {
                Some(submission) => batch.push(submission),
                None => tracing::error!(
                    seq = original.seq,
                    source = driven.replay.source_id,
                    "document not sent again"
                ),
            }
        }
        let documents = i64::try_from(originals.len()).unwrap_or(i64::MAX);
        let progress = Progress { lease: driven.lease(), next_seq: last.seq + 1, documents };
        self.append_with(driven.stream, &batch, Some(progress)).await.map(drop)
    }

    /// Notes that everything was sent.
    pub async fn finish_replay(&self, driven: &Driven) -> Result<(), Error> {
        let (lease, now) = (driven.lease(), self.clock.now());
        store::set_replay_stage(&self.db, lease, Stage::Done.name(), Some(now)).await?;
        tracing::info!(replay_id = %lease.0, "replay done");
        Ok(())
    }

    /// Leaves a replay to another replica at once.
    pub async fn release_replay(&self, driven: &Driven) -> Result<(), Error> {
        store::release_replay(&self.db, driven.lease()).await
    }

    /// The streams that exist in the order of their names, and where they are.
    pub(super) async fn list_streams(
        &self,
        db: impl PgExecutor<'_>,
    ) -> Result<Vec<(StreamName, Position)>, Error> {
        let ids: Vec<String> = StreamName::all().map(|name| self.hub(name).stream_id().to_owned()).collect();
        let stored = store::list_positions(db, &ids).await?;
        Ok(stored.into_iter().filter_map(|(id, position)| Some((self.stream_of(&id)?, position))).collect())
    }

    /// The rehearsals that exist, and where they are.
    pub async fn list_rehearsals(&self) -> Result<Vec<(StreamName, Position)>, Error> {
        let mut streams = self.list_streams(&self.db).await?;
        streams.retain(|(name, _)| matches!(name, StreamName::Rehearsal(_)));
        Ok(streams)
    }

    // As it was taken before, but for its flag. It was well-formed then; rules that became stricter may refuse it now.
    async fn submission_of(&self, raw: &Bytes) -> Result<Option<Submission>, Error> {
        let raw = replay::as_test(raw).unwrap_or_else(|| raw.clone());
        let Ok(mut decoded) = self.decode(raw.clone()).await? else { return Ok(None) };
        decoded.header.feed_flag = FeedFlag::Test;
        Ok(Some(submission(PUBLISHER.to_owned(), decoded, raw)))
    }
}
