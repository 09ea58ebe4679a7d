use std::sync::Arc;

use tokio::sync::watch;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

/// How a task learns that the process ends: first softly (take nothing new, finish what is under way), then hard.
#[derive(Debug, Clone)]
pub struct Shutdown {
    soft: CancellationToken,
    hard: CancellationToken,
}

impl Shutdown {
    /// Whether nothing new should be begun.
    #[must_use]
    pub fn is_soft(&self) -> bool {
        self.soft.is_cancelled()
    }

    /// Waits until nothing new should be begun.
    pub async fn soft(&self) {
        self.soft.cancelled().await;
    }

    /// Waits until what is under way should be dropped.
    pub async fn hard(&self) {
        self.hard.cancelled().await;
    }
}

/// What the ops listener tells of the process.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum State {
    /// Not yet, and why.
    Starting(String),
    /// Calls may come.
    Ready,
    /// Calls should go elsewhere.
    Draining,
}

/// The process's side of [`Shutdown`], its state, and its tasks.
#[derive(Debug, Clone)]
pub(crate) struct Lifecycle {
    shutdown: Shutdown,
    state: Arc<watch::Sender<State>>,
    failure: Arc<watch::Sender<Option<String>>>,
    pub(crate) tracker: TaskTracker,
}

impl Lifecycle {
    pub(crate) fn new() -> Self {
        let soft = CancellationToken::new();
        // A child, so that hard implies soft the other way round: who waits for soft wakes at hard too.
        let hard = CancellationToken::new();
        Self {
            shutdown: Shutdown { soft, hard },
            state: Arc::new(watch::Sender::new(State::Starting("the process starts".to_owned()))),
            failure: Arc::new(watch::Sender::new(None)),
            tracker: TaskTracker::new(),
        }
    }

    pub(crate) fn shutdown(&self) -> Shutdown {
        self.shutdown.clone()
    }

    pub(crate) fn state(&self) -> State {
        self.state.borrow().clone()
    }

    pub(crate) fn watch(&self) -> watch::Receiver<State> {
        self.state.subscribe()
    }

    pub(crate) fn starting(&self, why: impl Into<String>) {
        let why = why.into();
        self.state.send_if_modified(|state| {
            let waits = matches!(state, State::Starting(_));
            if waits {
                *state = State::Starting(why);
            }
            waits
        });
    }

    pub(crate) fn ready(&self) {
        self.state.send_if_modified(|state| {
            let starts = matches!(state, State::Starting(_));
            if starts {
                *state = State::Ready;
            }
            starts
        });
    }

    pub(crate) fn draining(&self) {
        self.state.send_replace(State::Draining);
    }

    /// The process cannot go on: whoever waits for its end learns why. The first reason stands.
    pub(crate) fn fail(&self, why: String) {
        self.failure.send_if_modified(|failure| {
            let first = failure.is_none();
            if first {
                *failure = Some(why);
            }
            first
        });
    }

    /// Waits until the process cannot go on.
    pub(crate) async fn failed(&self) -> String {
        let mut failure = self.failure.subscribe();
        let failed = failure.wait_for(Option::is_some).await;
        // The sender lives as long as we do.
        failed.ok().and_then(|why| why.clone()).unwrap_or_default()
    }

    pub(crate) fn end_softly(&self) {
        self.shutdown.soft.cancel();
    }

    pub(crate) fn end_hard(&self) {
        self.shutdown.soft.cancel();
        self.shutdown.hard.cancel();
    }
}
