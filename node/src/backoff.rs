//! How soon what has died is started again.

use std::time::Duration;

/// How soon the first time.
const SOON: Duration = Duration::from_millis(100);
/// How late at most.
const LATE: Duration = Duration::from_secs(10);
/// What ran so long has recovered: its next start is soon again.
const RECOVERED: Duration = Duration::from_secs(60);

/// Twice as late each time, unless it ran long enough in between.
#[derive(Debug)]
pub struct Backoff(Duration);

impl Default for Backoff {
    fn default() -> Self {
        Self(SOON)
    }
}

impl Backoff {
    /// How long to wait now that it has ended, after it ran for so long.
    pub fn after(&mut self, ran: Duration) -> Duration {
        let wait = if ran > RECOVERED { SOON } else { self.0 };
        self.0 = (wait * 2).min(LATE);
        wait
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn later_each_time_until_it_has_recovered() {
        let mut backoff = Backoff::default();
        let waits: Vec<u128> = (0..9).map(|_| backoff.after(Duration::from_secs(1)).as_millis()).collect();
        assert_eq!(waits, [100, 200, 400, 800, 1600, 3200, 6400, 10_000, 10_000]);
        assert_eq!(backoff.after(Duration::from_secs(61)), SOON);
        assert_eq!(backoff.after(Duration::ZERO), SOON * 2);
    }
}
