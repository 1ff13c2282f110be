//! One call at a time for each container and interface: a DEL that comes while an ADD is still at it finds all that it did.

use super::record::Key;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use tokio::sync::{Mutex as Turn, OwnedMutexGuard};

/// Container and interface.
type Place = (String, String);

/// Who is at it.
#[derive(Debug, Default)]
pub(super) struct Turns(Mutex<HashMap<Place, Weak<Turn<()>>>>);

/// A turn, until it is dropped.
pub(super) struct Taken(#[expect(dead_code, reason = "held, not used")] OwnedMutexGuard<()>);

impl Turns {
    /// Waits for all that came before.
    pub(super) async fn take(&self, key: &Key) -> Taken {
        let turn = {
            let mut turns = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            // as many as calls are under way
            turns.retain(|_, turn| turn.strong_count() > 0);
            let place = turns.entry((key.container.clone(), key.interface.clone())).or_default();
            place.upgrade().unwrap_or_else(|| {
                let fresh = Arc::new(Turn::new(()));
                *place = Arc::downgrade(&fresh);
                fresh
            })
        };
        Taken(turn.lock_owned().await)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures::FutureExt;

    #[tokio::test]
    async fn one_at_a_time_and_others_beside_it() {
        let key = |container: &str| Key {
            network: "n".into(),
            container: container.into(),
            interface: "eth0".into(),
        };
        let (turns, a) = (Turns::default(), key("a"));
        let first = turns.take(&a).await;
        let mut second = Box::pin(turns.take(&a));
        assert!(second.as_mut().now_or_never().is_none());
        let other = turns.take(&key("b")).now_or_never();
        assert!(other.is_some());
        drop(first);
        drop(second.await);
        drop(other);
        drop(turns.take(&key("c")).await);
        assert_eq!(turns.0.lock().unwrap().len(), 1, "those that are over are forgotten");
    }
}
