//! The wait after errors, longer with each one that follows soon (DampPeerOscillations; BIRD's `error wait time`).

use crate::event::Time;
use crate::settings::Timers;
use std::time::Duration;

/// How long the last wait was, and when the error was.
#[derive(Debug, Default)]
pub(crate) struct ErrorWait(Option<(Time, Duration)>);

impl ErrorWait {
    /// Another error: how long to wait (IdleHoldTime).
    pub fn next(&mut self, timers: &Timers, now: Time) -> Duration {
        let wait = match self.0 {
            Some((at, wait)) if now.saturating_sub(at) <= timers.error_forget => wait
                .saturating_mul(2)
                .clamp(timers.error_wait_min, timers.error_wait_max.max(timers.error_wait_min)),
            _ => timers.error_wait_min,
        };
        self.0 = Some((now, wait));
        wait
    }

    /// Nothing of the past counts any more.
    pub fn forget(&mut self) {
        self.0 = None;
    }
}
