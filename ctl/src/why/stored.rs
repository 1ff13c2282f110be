//! The stored state that decides about packets, read once.

use bytes::Bytes;
use datastore::{Datastore, StoreError};
use felix_calc::{Changes, Feed, Options};
use model::{Key, Kind};
use mvcc::{KeyRange, RangeRequest};
use serde_json::Value;

/// Pairs of all kinds that matter to a node.
#[derive(Debug, Default)]
pub(super) struct Stored {
    pairs: Vec<(Bytes, Bytes)>,
}

impl Stored {
    /// Reads them, all at one revision.
    pub(super) async fn read(store: &dyn Datastore) -> Result<Self, StoreError> {
        let mut stored = Stored::default();
        let mut revision = 0;
        for root in Feed::roots() {
            let request = RangeRequest { revision, ..RangeRequest::new(KeyRange::prefix(root)) };
            let answer = store.range(request).await?;
            // a read at a revision answers with the newest one
            if revision == 0 {
                revision = answer.revision;
            }
            stored.pairs.extend(answer.kvs.into_iter().map(|kv| (kv.key, kv.value)));
        }
        Ok(stored)
    }

    /// These pairs, in tests.
    #[cfg(test)]
    pub(super) fn of(pairs: Vec<(Bytes, Bytes)>) -> Self {
        Stored { pairs }
    }

    /// Everything a node's dataplane would be told.
    pub(super) fn changes(&self, node: &str) -> Changes {
        let mut feed = Feed::new(node, Options::default());
        for (key, value) in &self.pairs {
            feed.push(key.clone(), Some(value.clone()));
        }
        while feed.work(self.pairs.len()) > 0 {}
        feed.take()
    }

    /// Namespace, name and value of the objects of a kind in whose key or value a text occurs.
    pub(super) fn with(&self, kind: Kind, text: &str) -> impl Iterator<Item = (String, String, Value)> {
        let has = |bytes: &[u8]| bytes.windows(text.len().max(1)).any(|window| window == text.as_bytes());
        let found = self.pairs.iter().filter(move |(key, value)| text.is_empty() || has(key) || has(value));
        found.filter_map(move |(key, value)| match Key::parse(std::str::from_utf8(key).ok()?)? {
            Key::Resource { kind: of, namespace, name } if of == kind => {
                Some((namespace, name, serde_json::from_slice(value).ok()?))
            }
            _ => None,
        })
    }

    /// The value of one object.
    pub(super) fn get(&self, kind: Kind, namespace: &str, name: &str) -> Option<Value> {
        let mut all = self.with(kind, name);
        all.find(|(of, called, _)| of == namespace && called == name).map(|(_, _, value)| value)
    }
}
