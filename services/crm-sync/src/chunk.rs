//! A chunk is one job or call, and the unit of recovery: each state is a commit of its own, and after a crash the state
//! and what the recipient says of the job tell what to do.

use domain::{DateTime, TimeDelta, Utc, Uuid};

use crate::{delivery::Lane, run::Counts};

/// Clocks of the recipient and ours may differ by so much when jobs are compared with an intent.
const CLOCK_SKEW: TimeDelta = TimeDelta::minutes(5);

/// One job of a load, or one call of the other lanes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Chunk {
    /// Its id.
    pub chunk_id: Uuid,
    /// Where to.
    pub object_id: Uuid,
    /// The run of a load.
    pub run_id: Option<Uuid>,
    /// Which way.
    pub lane: Lane,
    /// How far it is.
    pub state: State,
    /// First ordinal of a load's range.
    pub from_ordinal: i64,
    /// Last ordinal of a load's range.
    pub to_ordinal: i64,
    /// The recipient's id of the job.
    pub job_id: Option<String>,
    /// Rows that go out.
    pub rows: i64,
    /// People of its range that need no row.
    pub counts: Counts,
    /// Under which agreement its rows were made.
    pub agreement_id: Option<Uuid>,
    /// By which mapping its rows were made: the ledger's masks are by it.
    pub mapping_version_id: Option<Uuid>,
    /// When the job was about to be created.
    pub intent_at: DateTime<Utc>,
}

/// How far a chunk is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum State {
    /// About to create the job.
    Intent,
    /// The job exists, the upload may be half done.
    Open,
    /// Uploaded, and the ledger is written. The recipient has processed nothing.
    Loaded,
    /// About to close the job, which is the commit point.
    Closing,
    /// The recipient works.
    Closed,
    /// It has ended; its results are to be read.
    Finished,
    /// Done.
    Settled,
    /// Given up; nothing of it was processed, or nobody knows.
    Abandoned,
}

/// What the recipient says of a job.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum JobState {
    /// Takes an upload.
    Open,
    /// Closed, queued.
    UploadComplete,
    /// Works.
    InProgress,
    /// Ended; rows may have failed all the same.
    JobComplete,
    /// Ended early.
    Failed,
    /// Thrown away.
    Aborted,
    /// There is no such job.
    Gone,
}

/// What to do next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// Abort open jobs of ours that nobody knows, create one.
    Create,
    /// Abort the job, give the chunk up, build it anew.
    Rebuild,
    /// Check consents once more, then close.
    Recheck,
    /// Note that the job is closed.
    NoteClosed,
    /// Ask again later.
    Poll,
    /// Note that the job has ended.
    NoteFinished,
    /// Read the results and settle.
    Settle,
    /// Nothing is left.
    Done,
}

/// A job in the recipient's list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListedJob {
    /// Its id.
    pub job_id: String,
    /// Its state.
    pub state: JobState,
    /// Object that it is for.
    pub object: String,
    /// Who created it.
    pub created_by: String,
    /// When.
    pub created_at: DateTime<Utc>,
}

impl State {
    /// What to do with a chunk that a process finds in this state at its start. `job` is what the recipient says; it is
    /// not asked for an intent.
    ///
    /// Until the job is closed nothing of it was processed, so a rebuild acts once. From `closing` on the job itself
    /// tells whether the close arrived.
    #[must_use]
    pub const fn recover(self, job: JobState) -> Step {
        match self {
            Self::Intent => Step::Create,
            // Half an upload cannot be told from a whole one.
            Self::Open => Step::Rebuild,
            Self::Loaded | Self::Closing => match job {
                JobState::Open => Step::Recheck,
                JobState::UploadComplete | JobState::InProgress => Step::NoteClosed,
                JobState::JobComplete | JobState::Failed => Step::NoteFinished,
                JobState::Aborted | JobState::Gone => Step::Rebuild,
            },
            Self::Closed => match job {
                // A close that was answered does not come undone; if it did, the job is as good as loaded.
                JobState::Open => Step::Recheck,
                JobState::UploadComplete | JobState::InProgress => Step::Poll,
                JobState::JobComplete | JobState::Failed => Step::NoteFinished,
                JobState::Aborted | JobState::Gone => Step::Rebuild,
            },
            Self::Finished => match job {
                // Results stay seven days. Without them the rows go again: an upsert acts once.
                JobState::Aborted | JobState::Gone => Step::Rebuild,
                _ => Step::Settle,
            },
            Self::Settled | Self::Abandoned => Step::Done,
        }
    }

    /// Name in SQL.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Intent => "intent",
            Self::Open => "open",
            Self::Loaded => "loaded",
            Self::Closing => "closing",
            Self::Closed => "closed",
            Self::Finished => "finished",
            Self::Settled => "settled",
            Self::Abandoned => "abandoned",
        }
    }

    /// The state of this name.
    #[must_use]
    pub fn find(name: &str) -> Option<Self> {
        let all = [
            Self::Intent,
            Self::Open,
            Self::Loaded,
            Self::Closing,
            Self::Closed,
            Self::Finished,
            Self::Settled,
            Self::Abandoned,
        ];
        all.into_iter().find(|state| state.name() == name)
    }
}

impl JobState {
    /// By the recipient's name; one that is not known counts as working.
    #[must_use]
    pub fn of(name: &str) -> Self {
        match name {
            "Open" => Self::Open,
            "UploadComplete" => Self::UploadComplete,
            "JobComplete" => Self::JobComplete,
            "Failed" => Self::Failed,
            "Aborted" => Self::Aborted,
            _ => Self::InProgress,
        }
    }
}

/// Jobs that an unanswered create may have left: ours, for the object, open, not older than the intent, and not known.
/// Creates are serial, so there is at most one; all that match are aborted.
#[must_use]
pub fn orphans<'a>(
    jobs: &'a [ListedJob],
    chunk: &Chunk,
    object: &str,
    user_id: &str,
    known: &[String],
) -> Vec<&'a str> {
    let ours = |job: &&ListedJob| {
        job.state == JobState::Open
            && job.object.eq_ignore_ascii_case(object)
            && job.created_by == user_id
            && job.created_at + CLOCK_SKEW >= chunk.intent_at
            && !known.contains(&job.job_id)
    };
    jobs.iter().filter(ours).map(|job| job.job_id.as_str()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const JOBS: [JobState; 7] = [
        JobState::Open,
        JobState::UploadComplete,
        JobState::InProgress,
        JobState::JobComplete,
        JobState::Failed,
        JobState::Aborted,
        JobState::Gone,
    ];

    #[test]
    fn a_job_that_was_closed_is_never_built_anew_while_it_exists() {
        let closed =
            [JobState::UploadComplete, JobState::InProgress, JobState::JobComplete, JobState::Failed];
        for state in [State::Loaded, State::Closing, State::Closed, State::Finished] {
            for job in closed {
                assert_ne!(state.recover(job), Step::Rebuild, "{state:?} {job:?}");
            }
        }
    }

    #[test]
    fn an_open_job_is_closed_only_after_a_check() {
        for state in [State::Loaded, State::Closing, State::Closed] {
            assert_eq!(state.recover(JobState::Open), Step::Recheck);
        }
    }

    #[test]
    fn what_is_over_stays_over() {
        for state in [State::Settled, State::Abandoned] {
            for job in JOBS {
                assert_eq!(state.recover(job), Step::Done);
            }
        }
    }

    #[test]
    fn only_an_unknown_open_job_of_ours_since_the_intent_is_an_orphan() {
        let at = |seconds: i64| DateTime::from_timestamp(1_900_000_000 + seconds, 0).unwrap();
        let chunk = Chunk {
            chunk_id: Uuid::nil(),
            object_id: Uuid::nil(),
            run_id: None,
            lane: Lane::Load,
            state: State::Intent,
            from_ordinal: 1,
            to_ordinal: 2,
            job_id: None,
            rows: 2,
            counts: Counts::default(),
            agreement_id: None,
            mapping_version_id: None,
            intent_at: at(0),
        };
        let job = |id: &str| ListedJob {
            job_id: id.to_owned(),
            state: JobState::Open,
            object: "Contact".to_owned(),
            created_by: "005".to_owned(),
            created_at: at(1),
        };
        let jobs = [
            job("orphan"),
            job("known"),
            ListedJob { created_by: "006".to_owned(), ..job("other user") },
            ListedJob { state: JobState::InProgress, ..job("running") },
            ListedJob { object: "Lead".to_owned(), ..job("other object") },
            ListedJob { created_at: at(-1_000), ..job("older") },
        ];
        assert_eq!(orphans(&jobs, &chunk, "Contact", "005", &["known".to_owned()]), ["orphan"]);
    }
}
