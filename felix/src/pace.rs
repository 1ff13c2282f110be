//! Lets what comes fast gather.
//!
//! A wakeup costs more than an update: the switch, cold caches, a poll of every socket, a transaction. While updates come
//! faster than [`RATE`], the loop sleeps [`GATHER`] before it looks again and finds several at once; while they come
//! singly nothing waits.

use std::time::Duration;
use tokio::time::Instant;

/// Updates a second from which they are let gather: below, a wakeup for each is a small part of a core.
const RATE: f64 = 400.0;
/// How long.
const GATHER: Duration = Duration::from_millis(5);
/// Over which time they are counted.
const WINDOW: Duration = Duration::from_millis(50);

/// See the module.
#[derive(Debug)]
pub(crate) struct Pace {
    since: Instant,
    updates: usize,
    fast: bool,
}

impl Pace {
    pub(crate) fn new(now: Instant) -> Self {
        Self { since: now, updates: 0, fast: false }
    }

    /// So many updates were taken in.
    pub(crate) fn took(&mut self, updates: usize, now: Instant) {
        self.updates += updates;
        let elapsed = now.duration_since(self.since);
        if elapsed >= WINDOW {
            self.fast = self.updates as f64 >= elapsed.as_secs_f64() * RATE;
            (self.since, self.updates) = (now, 0);
        }
    }

    /// How long to let the next ones gather.
    pub(crate) fn pause(&self) -> Option<Duration> {
        self.fast.then_some(GATHER)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Takes an update every `between` for a second; how often it would have paused.
    fn pauses(pace: &mut Pace, from: &mut Instant, between: Duration) -> usize {
        let count = (Duration::from_secs(1).as_nanos() / between.as_nanos()) as usize;
        let mut pauses = 0;
        for _ in 0..count {
            *from += between;
            pace.took(1, *from);
            pauses += usize::from(pace.pause().is_some());
        }
        pauses
    }

    #[test]
    fn only_what_comes_fast_waits() {
        let mut now = Instant::now();
        let mut pace = Pace::new(now);
        assert_eq!(pauses(&mut pace, &mut now, Duration::from_millis(10)), 0);
        // all but those of the first window
        assert!(pauses(&mut pace, &mut now, Duration::from_millis(1)) > 900);
        // and the end of it is noticed
        assert!(pauses(&mut pace, &mut now, Duration::from_millis(10)) < 10);
    }

    #[test]
    fn one_update_after_a_burst_and_a_rest_does_not_wait() {
        let mut now = Instant::now();
        let mut pace = Pace::new(now);
        pauses(&mut pace, &mut now, Duration::from_millis(1));
        assert!(pace.pause().is_some());
        pace.took(1, now + Duration::from_secs(5));
        assert_eq!(pace.pause(), None);
    }

    #[test]
    fn a_burst_at_once_does_not_wait_before_it_lasts() {
        let now = Instant::now();
        let mut pace = Pace::new(now);
        pace.took(1000, now + Duration::from_millis(1));
        assert_eq!(pace.pause(), None);
    }
}
