//! The org's own clock: the machine's, moved ahead by the control port. Sessions, limits and dates follow it.

use std::time::SystemTime;

use chrono::{DateTime, SubsecRound as _, TimeDelta, Utc};

/// Time of the simulated org.
#[derive(Debug, Default)]
pub struct Clock {
    ahead: TimeDelta,
}

impl Clock {
    /// Now, to the second: Salesforce keeps no fractions in its system dates.
    #[must_use]
    #[expect(
        clippy::disallowed_methods,
        reason = "a foreign system: this is its only clock, and domain is not ours here"
    )]
    pub fn now(&self) -> DateTime<Utc> {
        let now = DateTime::<Utc>::from(SystemTime::now());
        now.checked_add_signed(self.ahead).unwrap_or(now).trunc_subsecs(0)
    }

    /// Moves the clock ahead; at most ten years in all, so that every date stays writable.
    ///
    /// # Errors
    /// Past ten years; the clock then stays where it was.
    pub fn advance(&mut self, by: TimeDelta) -> Result<(), String> {
        let ahead = self.ahead.checked_add(&by).filter(|ahead| *ahead <= TimeDelta::days(3653));
        self.ahead = ahead.ok_or("advance_seconds: at most ten years ahead in all")?;
        Ok(())
    }
}

/// A date and time as REST replies write it.
#[must_use]
pub fn wire(at: DateTime<Utc>) -> String {
    at.format("%Y-%m-%dT%H:%M:%S%.3f+0000").to_string()
}
