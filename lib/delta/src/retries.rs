//! Refused changes and when they are tried again.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// Pause after the first refusal; it doubles.
const FIRST: Duration = Duration::from_millis(100);
/// Longest pause.
const LONGEST: Duration = Duration::from_secs(30);

/// What was refused waits, each key for itself, longer with every refusal. The caller brings the time, on any clock.
#[derive(Debug, Clone)]
pub struct Retries<K> {
    /// When each may be tried again, and the pause before.
    waiting: BTreeMap<K, (Duration, Duration)>,
    /// The same by time.
    due: BTreeSet<(Duration, K)>,
    longest: Duration,
}

impl<K> Default for Retries<K> {
    fn default() -> Self {
        Self::up_to(LONGEST)
    }
}

impl<K> Retries<K> {
    /// Pauses of 100 ms, doubled up to this.
    pub fn up_to(longest: Duration) -> Self {
        Self { waiting: BTreeMap::new(), due: BTreeSet::new(), longest }
    }
}

impl<K: Ord + Clone> Retries<K> {
    /// Was refused now. Returns whether it is the first time in a row.
    pub fn refused(&mut self, key: K, now: Duration) -> bool {
        let before = self.waiting.get(&key).copied();
        let pause = before.map_or(FIRST, |(_, pause)| (pause * 2).min(self.longest));
        self.forget(&key);
        self.waiting.insert(key.clone(), (now + pause, pause));
        self.due.insert((now + pause, key));
        before.is_none()
    }

    /// Whether it may be tried now.
    pub fn may(&self, key: &K, now: Duration) -> bool {
        self.waiting.is_empty() || self.waiting.get(key).is_none_or(|(at, _)| *at <= now)
    }

    /// It was carried out, or is another change now. Returns whether it had been refused.
    pub fn forget(&mut self, key: &K) -> bool {
        let Some((key, (at, _))) = self.waiting.remove_entry(key) else { return false };
        self.due.remove(&(at, key));
        true
    }

    /// All may be tried at once; the pauses begin anew.
    pub fn clear(&mut self) {
        self.waiting.clear();
        self.due.clear();
    }

    /// Forgets those whose time has come: for when nothing is left to do about them.
    pub fn forget_due(&mut self, now: Duration) -> Vec<K> {
        let mut gone = Vec::new();
        while let Some((at, key)) = self.due.first().cloned()
            && at <= now
        {
            self.forget(&key);
            gone.push(key);
        }
        gone
    }

    /// When the next may be tried.
    pub fn next(&self) -> Option<Duration> {
        self.due.first().map(|(at, _)| *at)
    }

    /// What waits, in key order.
    pub fn waiting(&self) -> impl Iterator<Item = &K> {
        self.waiting.keys()
    }

    /// How many wait.
    pub fn len(&self) -> usize {
        self.waiting.len()
    }

    /// Whether none waits.
    pub fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    #[test]
    fn pauses_double_up_to_the_longest_and_begin_anew_after_success() {
        let mut retries = Retries::up_to(ms(300));
        assert!(retries.refused("a", ms(0)));
        assert!(!retries.may(&"a", ms(99)) && retries.may(&"a", ms(100)) && retries.may(&"b", ms(0)));
        assert!(!retries.refused("a", ms(100)));
        assert_eq!(retries.next(), Some(ms(300)));
        assert!(!retries.refused("a", ms(300)));
        assert_eq!(retries.next(), Some(ms(600)), "the longest pause");
        assert!(retries.forget(&"a") && !retries.forget(&"a"));
        assert!(retries.is_empty() && retries.next().is_none());
        assert!(retries.refused("a", ms(700)));
        assert_eq!(retries.next(), Some(ms(800)));
    }

    #[test]
    fn the_earliest_is_next() {
        let mut retries = Retries::default();
        retries.refused(1, ms(50));
        retries.refused(2, ms(0));
        assert_eq!(retries.next(), Some(ms(100)));
        assert_eq!(retries.waiting().collect::<Vec<_>>(), [&1, &2]);
        assert_eq!(retries.forget_due(ms(120)), [2]);
        assert_eq!(retries.next(), Some(ms(150)));
        retries.clear();
        assert_eq!((retries.len(), retries.next()), (0, None));
    }
}
