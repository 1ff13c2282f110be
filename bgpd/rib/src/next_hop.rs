//! Next hops in use, and how they are reached: asked of the caller, answered when the kernel changes.

use crate::peer::PeerId;
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;

/// A next hop to be resolved.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NextHop {
    /// Its address.
    pub address: IpAddr,
    /// With a link-local address: the neighbour on whose link it is.
    pub peer: Option<PeerId>,
}

/// One way to a destination.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Hop {
    /// Gateway, of either family; none where the destination is on the link.
    pub gateway: Option<IpAddr>,
    /// Outgoing link's index.
    pub link: u32,
    /// The kernel shall not ask whether the gateway is on the link.
    pub onlink: bool,
}

/// How a next hop is reached.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Resolution {
    /// Not at all: its routes take no part in the decision.
    Unreachable,
    /// Through these.
    Via {
        /// Interior cost (RFC 4271 §9.1.2.2 e).
        metric: u32,
        /// In order, each once.
        hops: Arc<[Hop]>,
    },
}

/// A change of what has to be resolved.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wanted {
    /// Its resolution is needed from now on.
    Track(NextHop),
    /// It is not needed any more.
    Forget(NextHop),
}

#[derive(Debug)]
struct Entry {
    key: NextHop,
    refs: u32,
    resolution: Option<Resolution>,
}

/// All next hops. Number 0 is ourselves, always reachable at no cost.
#[derive(Debug, Default)]
pub(crate) struct NextHops {
    numbers: BTreeMap<NextHop, u32>,
    entries: Vec<Option<Entry>>,
    free: Vec<u32>,
    /// Without tracking every next hop counts as reachable.
    tracked: bool,
    wanted: Vec<Wanted>,
    /// Whose resolution changed since [`NextHops::take_changed`].
    changed: BTreeSet<u32>,
}

impl NextHops {
    /// Whether resolutions count.
    pub fn track(&mut self, tracked: bool) {
        if self.tracked != tracked {
            self.tracked = tracked;
            self.changed.extend(self.numbers.values());
        }
    }

    /// The number of a next hop. Whoever keeps it must retain it.
    pub fn intern(&mut self, key: NextHop) -> u32 {
        if let Some(number) = self.numbers.get(&key) {
            return *number;
        }
        let entry = Some(Entry { key, refs: 0, resolution: None });
        let number = match self.free.pop() {
            Some(number) => {
                if let Some(slot) = self.entries.get_mut(number as usize - 1) {
                    *slot = entry;
                }
                number
            }
            None => {
                self.entries.push(entry);
                self.entries.len() as u32
            }
        };
        self.numbers.insert(key, number);
        self.wanted.push(Wanted::Track(key));
        number
    }

    fn entry(&self, number: u32) -> Option<&Entry> {
        self.entries.get((number as usize).checked_sub(1)?)?.as_ref()
    }

    fn entry_mut(&mut self, number: u32) -> Option<&mut Entry> {
        self.entries.get_mut((number as usize).checked_sub(1)?)?.as_mut()
    }

    /// Counts on it once more.
    pub fn retain(&mut self, number: u32) {
        if let Some(entry) = self.entry_mut(number) {
            entry.refs += 1;
        }
    }

    /// Counts on it once less; the last one makes it forgotten.
    pub fn release(&mut self, number: u32) {
        let Some(entry) = self.entry_mut(number) else { return };
        entry.refs = entry.refs.saturating_sub(1);
        if entry.refs > 0 {
            return;
        }
        let key = entry.key;
        self.numbers.remove(&key);
        self.wanted.push(Wanted::Forget(key));
        self.changed.remove(&number);
        if let Some(slot) = self.entries.get_mut(number as usize - 1) {
            *slot = None;
        }
        self.free.push(number);
    }

    /// The cost of reaching it; `None` if it cannot be.
    #[inline]
    pub fn metric(&self, number: u32) -> Option<u32> {
        if number == 0 || !self.tracked {
            return Some(0);
        }
        match self.entry(number)?.resolution.as_ref()? {
            Resolution::Unreachable => None,
            Resolution::Via { metric, .. } => Some(*metric),
        }
    }

    /// The ways to it.
    pub fn hops(&self, number: u32) -> Option<&Arc<[Hop]>> {
        match self.entry(number)?.resolution.as_ref()? {
            Resolution::Unreachable => None,
            Resolution::Via { hops, .. } => Some(hops),
        }
    }

    /// The next hop of this number.
    pub fn key(&self, number: u32) -> Option<NextHop> {
        self.entry(number).map(|entry| entry.key)
    }

    /// Takes an answer.
    pub fn resolve(&mut self, key: NextHop, resolution: Resolution) {
        let Some(number) = self.numbers.get(&key).copied() else { return };
        let Some(entry) = self.entry_mut(number) else { return };
        if entry.resolution.as_ref() != Some(&resolution) {
            entry.resolution = Some(resolution);
            if self.tracked {
                self.changed.insert(number);
            }
        }
    }

    /// Whether there is something for [`NextHops::take_changed`].
    pub fn has_changed(&self) -> bool {
        !self.changed.is_empty()
    }

    /// Those whose resolution changed since the last time.
    pub fn take_changed(&mut self) -> BTreeSet<u32> {
        std::mem::take(&mut self.changed)
    }

    /// What became wanted or unwanted since the last time.
    pub fn take_wanted(&mut self) -> Vec<Wanted> {
        std::mem::take(&mut self.wanted)
    }
}
