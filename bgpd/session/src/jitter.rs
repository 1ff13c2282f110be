//! Timers that do not all ring at once (RFC 4271 §10).

use std::time::Duration;

/// A small generator (xorshift64*): repeatable from its seed, good enough to spread timers.
#[derive(Debug, Clone)]
pub(crate) struct Jitter(u64);

impl Jitter {
    pub(crate) fn new(seed: u64) -> Self {
        // an odd multiplier spreads neighbouring seeds; zero would stay zero for ever
        Jitter(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    /// Between 75 % and 100 % of `time`.
    pub(crate) fn shorten(&mut self, time: Duration) -> Duration {
        let share = 768 + u32::try_from(self.next() >> 56).unwrap_or(0);
        time.saturating_mul(share) / 1024
    }
}
