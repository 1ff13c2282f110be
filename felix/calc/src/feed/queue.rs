//! Values that wait to be taken in.

use bytes::Bytes;
use foldhash::HashMap;
use model::key;
use model::kind::Kind;
use std::collections::VecDeque;

/// Keys with their newest values, in three lanes; within a lane in the order in which they were first named. All values
/// of one key are in one lane, so that the last one counts.
#[derive(Debug)]
pub(super) struct Queue {
    /// What keys of workloads' endpoints begin with.
    workloads: String,
    /// What names of this node's endpoints begin with.
    own: String,
    /// What keys of the other things begin with of which there are many.
    many: Vec<String>,
    waiting: Waiting,
}

/// Room that is kept for the next ones.
const KEPT: usize = 1 << 10;

#[derive(Debug, Default)]
struct Waiting {
    /// Endpoints of this node: a workload that starts waits for nobody's.
    local: VecDeque<Bytes>,
    /// Everything there is little of: policies, tiers, profiles, host endpoints, pools, settings.
    few: VecDeque<Bytes>,
    /// What there may be as much of as there are pods.
    many: VecDeque<Bytes>,
    /// `None`: the key is gone.
    values: HashMap<Bytes, Option<Bytes>>,
}

impl Queue {
    /// Of this node; `many` are prefixes of keys.
    pub(super) fn new(node: &str, many: impl Iterator<Item = String>) -> Self {
        Queue {
            workloads: key::resource_prefix(Kind::WorkloadEndpoint, None),
            own: format!("{}-", node.replace('-', "--")),
            many: many.collect(),
            waiting: Waiting::default(),
        }
    }

    /// The key has this value now; what waited under it is of no interest any more.
    pub(super) fn push(&mut self, key: Bytes, value: Option<Bytes>) {
        if self.waiting.values.insert(key.clone(), value).is_some() {
            return;
        }
        let lane = if self.is_own(&key) {
            &mut self.waiting.local
        } else if self.many.iter().any(|root| key.starts_with(root.as_bytes())) {
            &mut self.waiting.many
        } else {
            &mut self.waiting.few
        };
        lane.push_back(key);
    }

    /// A name may begin like those of this node and be another's (`a-` and `a--b-`): that one is only early.
    fn is_own(&self, key: &[u8]) -> bool {
        let Some(rest) = key.strip_prefix(self.workloads.as_bytes()) else { return false };
        let name = rest.iter().position(|byte| *byte == b'/').and_then(|at| rest.get(at + 1..));
        name.is_some_and(|name| name.starts_with(self.own.as_bytes()))
    }

    /// The next, lane by lane.
    pub(super) fn pop(&mut self) -> Option<(Bytes, Option<Bytes>)> {
        let Waiting { local, few, many, values } = &mut self.waiting;
        let key = local.pop_front().or_else(|| few.pop_front()).or_else(|| many.pop_front())?;
        let value = values.remove(&key)?;
        if values.is_empty() && values.capacity() > KEPT {
            // the first list of a large cluster needs room that nothing needs afterwards
            self.waiting = Waiting::default();
        }
        Some((key, value))
    }

    /// Whether a value of this key waits.
    pub(super) fn waits(&self, key: &[u8]) -> bool {
        self.waiting.values.contains_key(key)
    }

    /// How many wait.
    pub(super) fn len(&self) -> usize {
        self.waiting.values.len()
    }
}
