//! Whether a store answers, as the requests to it show.

use crate::StoreError;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Instant;

/// What requests to a store have shown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Link {
    /// Since when it answers, or does not.
    pub since: Instant,
    /// Why it does not, as the last request had it; `None` while it does.
    pub trouble: Option<String>,
}

/// What a backend keeps of it.
#[derive(Debug)]
pub(crate) struct Watched(Mutex<Link>);

impl Default for Watched {
    fn default() -> Self {
        let trouble = Some("it has not been asked yet".to_owned());
        Self(Mutex::new(Link { since: Instant::now(), trouble }))
    }
}

impl Watched {
    /// What a request has shown at `now`. A store that refuses who asks is of no use either.
    pub(crate) fn note<T>(&self, answer: &Result<T, StoreError>, now: Instant) {
        let trouble = match answer {
            Err(StoreError::Unavailable(reason) | StoreError::Unauthorized(reason)) => Some(reason.clone()),
            Ok(_) | Err(_) => None,
        };
        let mut link = self.lock();
        if link.trouble.is_some() != trouble.is_some() {
            link.since = now;
        }
        link.trouble = trouble;
    }

    pub(crate) fn link(&self) -> Link {
        self.lock().clone()
    }

    fn lock(&self) -> MutexGuard<'_, Link> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn the_first_of_a_kind_says_since_when_and_the_last_says_why() {
        let watched = Watched::default();
        assert!(watched.link().trouble.is_some());
        let start = watched.link().since;
        let at = |seconds| start + Duration::from_secs(seconds);
        let away = |reason: &str| Err::<(), _>(StoreError::Unavailable(reason.to_owned()));
        watched.note(&away("refused"), at(1));
        assert_eq!(watched.link(), Link { since: start, trouble: Some("refused".to_owned()) });
        watched.note(&Ok(()), at(2));
        watched.note(&Err::<(), _>(StoreError::Compacted { revision: 3 }), at(3));
        assert_eq!(watched.link(), Link { since: at(2), trouble: None }, "a refusal is an answer");
        watched.note(&away("no route"), at(4));
        watched.note(&Err::<(), _>(StoreError::Unauthorized("who?".to_owned())), at(5));
        assert_eq!(watched.link(), Link { since: at(4), trouble: Some("who?".to_owned()) });
    }
}
