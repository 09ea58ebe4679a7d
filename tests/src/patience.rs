use std::time::Duration;

use anyhow::{Result, bail};
use tokio::time::{Instant, sleep};

/// How long anything may take to come true. Facts travel in milliseconds; a killed service takes seconds to come back.
pub const PATIENCE: Duration = Duration::from_secs(60);
const PAUSE: Duration = Duration::from_millis(50);

/// Looks again and again until there is something, and says what was waited for when there never is. An error is looked
/// past: a service may be restarting. The last one is told at the end.
///
/// # Errors
/// Nothing within a minute.
pub async fn until<T>(what: &str, mut look: impl AsyncFnMut() -> Result<Option<T>>) -> Result<T> {
    let started = Instant::now();
    loop {
        let found = look().await;
        if let Ok(Some(found)) = found {
            return Ok(found);
        }
        if started.elapsed() > PATIENCE {
            let seconds = PATIENCE.as_secs();
            return match found {
                Err(error) => Err(error.context(format!("waited {seconds} s for: {what}"))),
                Ok(_) => bail!("waited {seconds} s in vain for: {what}"),
            };
        }
        sleep(PAUSE).await;
    }
}
