use std::{
    error::Error,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use http::{Response, StatusCode};
use tokio::time::Instant;
use tonic::{Code, ConnectError, Status, TimeoutExpired, body::Body, transport};

use super::answer;
use crate::backoff::fraction;

/// Attempts of one call, the first one counted.
pub(super) const MOST: u32 = 3;
const SHORTEST_WAIT: Duration = Duration::from_millis(50);
const LONGEST_WAIT: Duration = Duration::from_millis(400);

/// Why an attempt may be worth another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Trouble {
    /// The peer has not begun with it: it can be sent again, whatever it is.
    NotSent,
    /// The peer is not available, and nobody knows whether it began.
    Unavailable,
}

/// Why an attempt had no answer.
#[derive(Debug)]
pub(super) enum Failure {
    /// No replica can be reached.
    Away(Arc<transport::Error>),
    /// The connection had closed before it took the request, or had no room for it: another one may take it.
    NotTaken(transport::Error),
    /// The connection took the request, and gave no answer.
    Broke(transport::Error),
}

impl Failure {
    pub(super) fn of(error: transport::Error) -> Self {
        if trouble_of(&error) == Some(Trouble::NotSent) { Self::NotTaken(error) } else { Self::Broke(error) }
    }

    fn error(&self) -> &transport::Error {
        match self {
            Self::Away(error) => error,
            Self::NotTaken(error) | Self::Broke(error) => error,
        }
    }
}

/// Whether nothing more should be sent where this came from.
pub(super) fn is_broken(failure: &Failure) -> bool {
    trouble_of(failure.error()).is_some()
}

/// What is wrong with an attempt, as long as the head of an answer did not come; none when the peer has decided.
pub(super) fn trouble(outcome: &Result<Response<Body>, Failure>) -> Option<Trouble> {
    match outcome {
        Ok(answer) => is_unavailable(answer).then_some(Trouble::Unavailable),
        Err(Failure::Away(_)) => Some(Trouble::NotSent),
        Err(failure) => trouble_of(failure.error()),
    }
}

fn is_unavailable(answer: &Response<Body>) -> bool {
    match answer::code(answer.headers()) {
        Some(code) => code == Code::Unavailable,
        // A proxy on the way, which speaks HTTP.
        None => matches!(
            answer.status(),
            StatusCode::BAD_GATEWAY | StatusCode::SERVICE_UNAVAILABLE | StatusCode::GATEWAY_TIMEOUT
        ),
    }
}

fn trouble_of(error: &(dyn Error + 'static)) -> Option<Trouble> {
    let mut cause = Some(error);
    while let Some(error) = cause {
        // Ours: the time is up, or the request could not be made.
        if error.is::<TimeoutExpired>() || error.is::<Status>() {
            return None;
        }
        if error.is::<ConnectError>() {
            return Some(Trouble::NotSent);
        }
        if let Some(error) = error.downcast_ref::<hyper::Error>() {
            return Some(if was_not_sent(error) { Trouble::NotSent } else { Trouble::Unavailable });
        }
        cause = error.source();
    }
    Some(Trouble::Unavailable)
}

fn was_not_sent(error: &hyper::Error) -> bool {
    // The connection closed while the request waited in its queue.
    if error.is_canceled() {
        return true;
    }
    // REFUSED_STREAM, and a GOAWAY without an error that does not count the stream in: the server takes no more, and says
    // that it has not begun (RFC 9113 8.7, 6.8). Only their texts can be seen here; a text that changes costs retries, and
    // repeats nothing that must not be.
    let text = error.source().map(ToString::to_string).unwrap_or_default();
    text.contains("refused stream") || text.contains("connection error received: not a result of an error")
}

/// What the caller gets when there was no answer.
pub(super) fn status(failure: Failure) -> Status {
    let error = match failure {
        Failure::Away(error) => {
            let mut away = Status::unavailable("the peer cannot be reached");
            away.set_source(error);
            return away;
        }
        Failure::NotTaken(error) | Failure::Broke(error) => error,
    };
    let mut cause: Option<&(dyn Error + 'static)> = Some(&error);
    while let Some(error) = cause {
        if error.is::<TimeoutExpired>() {
            return answer::late();
        }
        cause = error.source();
    }
    // Whatever code the connection broke with (INTERNAL, RESOURCE_EXHAUSTED), the peer has not said it of the call.
    if trouble_of(&error).is_some() {
        return broke(Arc::new(error));
    }
    lost(Status::from_error(Box::new(error)))
}

/// A connection that broke is no answer of the peer: it is away, whatever the channel calls it.
pub(super) fn lost(status: Status) -> Status {
    if !matches!(status.code(), Code::Unknown | Code::Cancelled) {
        return status;
    }
    broke(Arc::new(status))
}

fn broke(source: Arc<dyn Error + Send + Sync>) -> Status {
    let mut broke = Status::unavailable("the connection to the peer broke");
    broke.set_source(source);
    broke
}

/// Before the next attempt.
pub(super) fn wait() -> Duration {
    SHORTEST_WAIT + (LONGEST_WAIT - SHORTEST_WAIT).mul_f64(fraction())
}

/// Keeps retries to a tenth of the calls, so that they don't bring down a peer that is just slow. In tenths of a retry.
pub(super) struct Budget(Mutex<Tenths>);

struct Tenths {
    left: u64,
    // A retry a second is always there: few calls would else never earn one.
    paid_at: Instant,
}

const RETRY: u64 = 10;
const MOST_TENTHS: u64 = 100 * RETRY;
const FIRST_TENTHS: u64 = 10 * RETRY;

impl Budget {
    pub(super) fn new(now: Instant) -> Self {
        Self(Mutex::new(Tenths { left: FIRST_TENTHS, paid_at: now }))
    }

    /// A call begins.
    pub(super) fn called(&self, now: Instant) {
        self.with(now, |tenths| tenths.left = (tenths.left + 1).min(MOST_TENTHS));
    }

    /// Whether there is a retry left; it is used up then.
    pub(super) fn take(&self, now: Instant) -> bool {
        self.with(now, |tenths| match tenths.left.checked_sub(RETRY) {
            Some(left) => {
                tenths.left = left;
                true
            }
            None => false,
        })
    }

    fn with<T>(&self, now: Instant, change: impl FnOnce(&mut Tenths) -> T) -> T {
        let mut tenths = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let seconds = now.saturating_duration_since(tenths.paid_at).as_secs();
        if seconds > 0 {
            tenths.left = tenths.left.max(FIRST_TENTHS.min(tenths.left + RETRY * seconds));
            tenths.paid_at += Duration::from_secs(seconds);
        }
        change(&mut tenths)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_the_peer_did_not_decide_is_trouble() {
        let answered = |status: StatusCode, code: Option<&str>| {
            let mut answer = Response::builder().status(status);
            if let Some(code) = code {
                answer = answer.header("grpc-status", code);
            }
            trouble(&Ok(answer.body(Body::empty()).unwrap()))
        };
        let away = Some(Trouble::Unavailable);
        let table = [
            (StatusCode::OK, None, None),
            (StatusCode::OK, Some("0"), None),
            (StatusCode::OK, Some("14"), away),
            (StatusCode::OK, Some("8"), None),
            (StatusCode::OK, Some("4"), None),
            (StatusCode::OK, Some("13"), None),
            (StatusCode::SERVICE_UNAVAILABLE, None, away),
            (StatusCode::BAD_GATEWAY, None, away),
            (StatusCode::TOO_MANY_REQUESTS, None, None),
            (StatusCode::SERVICE_UNAVAILABLE, Some("13"), None),
        ];
        for (status, code, trouble) in table {
            assert_eq!(answered(status, code), trouble, "{status} {code:?}");
        }
    }

    #[test]
    fn our_own_time_out_is_no_trouble_of_the_peer() {
        assert_eq!(trouble_of(&TimeoutExpired(())), None);
        assert_eq!(trouble_of(&Status::internal("encoding")), None);
        let refused = std::io::Error::from(std::io::ErrorKind::ConnectionRefused);
        assert_eq!(trouble_of(&ConnectError(Box::new(refused))), Some(Trouble::NotSent));
        assert_eq!(trouble_of(&std::fmt::Error), Some(Trouble::Unavailable));
    }

    #[test]
    fn a_broken_connection_is_an_absent_peer() {
        assert_eq!(lost(Status::unknown("h2")).code(), Code::Unavailable);
        assert_eq!(lost(Status::cancelled("closed")).code(), Code::Unavailable);
        assert_eq!(lost(Status::internal("theirs")).code(), Code::Internal);
    }

    #[test]
    fn retries_are_a_tenth_of_the_calls() {
        let now = Instant::now();
        let budget = Budget::new(now);
        let taken = |now| (0..1_000).filter(|_| budget.take(now)).count();
        assert_eq!(taken(now), 10);
        for _ in 0..100 {
            budget.called(now);
        }
        assert_eq!(taken(now), 10);
        // A quiet peer earns one a second, and no more than it began with.
        assert_eq!(taken(now + Duration::from_secs(3)), 3);
        assert_eq!(taken(now + Duration::from_secs(3_600)), 10);
        for _ in 0..100_000 {
            budget.called(now);
        }
        assert_eq!(taken(now), 100);
    }

    #[test]
    fn waits_stay_between_their_bounds() {
        for _ in 0..100 {
            let wait = wait();
            assert!(wait >= SHORTEST_WAIT && wait <= LONGEST_WAIT, "{wait:?}");
        }
    }
}
