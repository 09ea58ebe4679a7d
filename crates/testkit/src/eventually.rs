use std::{
    panic::Location,
    time::{Duration, Instant},
};

use tokio::time::{sleep, timeout};

const POLL: Duration = Duration::from_millis(20);

/// Waits until a condition gives something. One that does not answer at all counts as not met.
///
/// # Panics
/// When the deadline passes, with the caller's place and the time that went by.
#[track_caller]
pub fn eventually<T, C, F>(deadline: Duration, mut condition: C) -> impl Future<Output = T>
where
    C: FnMut() -> F,
    F: Future<Output = Option<T>>,
{
    let caller = Location::caller();
    async move {
        let begun = Instant::now();
        let mut tries = 0_usize;
        let met = async {
            loop {
                tries += 1;
                if let Some(found) = condition().await {
                    return found;
                }
                sleep(POLL).await;
            }
        };
        match timeout(deadline, met).await {
            Ok(found) => found,
            Err(_) => panic!("not met after {:?} and {tries} tries, asked at {caller}", begun.elapsed()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_condition_is_asked_until_it_is_met() {
        let mut left = 3;
        let found = eventually(Duration::from_secs(5), || {
            left -= 1;
            std::future::ready((left == 0).then_some("met"))
        })
        .await;
        assert_eq!((found, left), ("met", 0));
    }

    #[tokio::test]
    #[should_panic(expected = "not met after")]
    async fn a_condition_that_hangs_is_not_met() {
        eventually(Duration::from_millis(50), std::future::pending::<Option<()>>).await;
    }
}
