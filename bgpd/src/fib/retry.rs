//! Refused changes and when they are tried again.

use super::Key;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// Pause after the first refusal; it doubles.
const FIRST: Duration = Duration::from_millis(100);
/// Longest pause.
const LONGEST: Duration = Duration::from_secs(30);

#[derive(Debug, Default)]
pub(super) struct Retries {
    /// When each may be tried again, and the pause before.
    waiting: BTreeMap<Key, (Duration, Duration)>,
    /// The same by time.
    due: BTreeSet<(Duration, Key)>,
}

impl Retries {
    /// Was refused now. Returns whether it is the first time in a row.
    pub(super) fn refused(&mut self, key: Key, now: Duration) -> bool {
        let before = self.waiting.get(&key).copied();
        let pause = before.map_or(FIRST, |(_, pause)| (pause * 2).min(LONGEST));
        self.forget(&key);
        self.waiting.insert(key, (now + pause, pause));
        self.due.insert((now + pause, key));
        before.is_none()
    }

    /// Whether it may be tried now.
    pub(super) fn may(&self, key: &Key, now: Duration) -> bool {
        self.waiting.is_empty() || self.waiting.get(key).is_none_or(|(at, _)| *at <= now)
    }

    /// It was carried out, or is another change now.
    pub(super) fn forget(&mut self, key: &Key) {
        if let Some((at, _)) = self.waiting.remove(key) {
            self.due.remove(&(at, *key));
        }
    }

    /// All may be tried at once; the pauses begin anew.
    pub(super) fn clear(&mut self) {
        self.waiting.clear();
        self.due.clear();
    }

    /// When the next may be tried.
    pub(super) fn next(&self) -> Option<Duration> {
        self.due.first().map(|(at, _)| *at)
    }

    /// How many wait.
    pub(super) fn len(&self) -> usize {
        self.waiting.len()
    }
}
