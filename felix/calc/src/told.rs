//! What a consumer was told against what is so.

use delta::DeltaMap;

/// Everything that is not yet told, in order of keys, `None` for what is gone; it counts as told from then on.
pub(crate) fn tell<K: Ord + Clone, V: PartialEq + Clone>(map: &mut DeltaMap<K, V>) -> Vec<(K, Option<V>)> {
    if map.is_in_sync() {
        return Vec::new();
    }
    let updates = map.pending_updates().map(|update| (update.key.clone(), Some(update.desired.clone())));
    let deletions = map.pending_deletions().map(|(key, _)| (key.clone(), None));
    let mut all: Vec<(K, Option<V>)> = updates.chain(deletions).collect();
    for (key, value) in &all {
        match value {
            Some(_) => map.mark_updated(key),
            None => map.mark_deleted(key),
        }
    }
    all.sort_by(|a, b| a.0.cmp(&b.0));
    all
}
