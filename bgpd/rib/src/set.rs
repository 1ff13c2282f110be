//! Attribute sets, each kept once for all paths that share it.
//!
//! A set is alive while somebody counts on it ([`Sets::retain`], [`Sets::release`]); one that nobody counts on any more is
//! forgotten by [`Sets::forget`], when there is time: routes that come back meanwhile find it again.

use crate::index::Index;
use crate::mix::mix;
use crate::next_hop::NextHops;
use crate::origin::Local;
use bgp_wire::{AsPath, Attributes, Origin};
use std::collections::VecDeque;
use std::hash::{Hash, Hasher};
use std::net::{IpAddr, Ipv4Addr};

/// What sets are told apart by.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Key {
    /// Path attributes.
    pub attributes: Attributes,
    /// Preference of the source (`bgp.md` §5 of the contract); 0 in what is sent.
    pub preference: u32,
    /// Number of the next hop; 0 for what we originate, and in what is sent.
    pub next_hop: u32,
    /// What is known of a route that did not come by BGP.
    pub local: Option<Box<Local>>,
}

/// A set and what the decision asks of it.
#[derive(Debug)]
pub(crate) struct Set {
    pub key: Key,
    /// LOCAL_PREF, or what stands for it.
    pub local_pref: u32,
    /// Length of the AS path.
    pub hops: u32,
    /// What MED is compared within.
    pub neighbor_as: u32,
    refs: u32,
    hash: u32,
    /// It stands in the list of those that may be unused.
    listed: bool,
}

/// LOCAL_PREF of a route that came without (RFC 4271 leaves it to us; everybody takes 100).
pub(crate) const DEFAULT_LOCAL_PREF: u32 = 100;

/// All sets.
#[derive(Debug)]
pub(crate) struct Sets {
    index: Index,
    sets: Pieces,
    end: u32,
    free: Vec<u32>,
    /// Sets nobody counts on, or nobody did when they were listed; the oldest first.
    unused: VecDeque<u32>,
    /// How many were made since [`Sets::take_made`] asked.
    made: usize,
    seed: u64,
    nothing: Set,
}

const PIECE: usize = 256;

/// A quick hash over words with a seed: sets come from outside.
pub(crate) struct Folded(pub u64);

impl Hasher for Folded {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        let (words, rest) = bytes.as_chunks::<8>();
        for word in words {
            self.write_u64(u64::from_ne_bytes(*word));
        }
        if !rest.is_empty() {
            let mut last = [0; 8];
            last.iter_mut().zip(rest).for_each(|(to, from)| *to = *from);
            self.write_u64(u64::from_ne_bytes(last));
        }
    }

    fn write_u8(&mut self, n: u8) {
        self.write_u64(u64::from(n));
    }

    fn write_u32(&mut self, n: u32) {
        self.write_u64(u64::from(n));
    }

    fn write_usize(&mut self, n: usize) {
        self.write_u64(n as u64);
    }

    #[inline]
    fn write_u64(&mut self, n: u64) {
        // The odd constant keeps a run of zeros from ending in zero.
        self.0 = mix(self.0.rotate_left(23) ^ n ^ 0x2545_f491_4f6c_dd1d);
    }
}

impl Key {
    /// What is sent to neighbours.
    pub fn sent(attributes: Attributes) -> Self {
        Key { attributes, preference: 0, next_hop: 0, local: None }
    }

    fn hash(&self, seed: u64) -> u64 {
        let mut folded = Folded(seed);
        self.attributes.hash(&mut folded);
        folded.write_u32(self.preference);
        folded.write_u32(self.next_hop);
        self.local.hash(&mut folded);
        folded.finish()
    }
}

impl Set {
    pub fn new(key: Key, hash: u32) -> Self {
        Set {
            local_pref: key.attributes.local_pref.unwrap_or(DEFAULT_LOCAL_PREF),
            hops: key.attributes.as_path.hops(),
            neighbor_as: key.attributes.as_path.neighbor().unwrap_or(0),
            refs: 0,
            hash,
            listed: false,
            key,
        }
    }

    /// Path attributes.
    pub fn attributes(&self) -> &Attributes {
        &self.key.attributes
    }
}

impl Sets {
    /// None. `seed` makes the index unpredictable.
    pub fn new(seed: u64) -> Self {
        let attributes = Attributes::new(Origin::Igp, AsPath::empty(), IpAddr::V4(Ipv4Addr::UNSPECIFIED));
        let nothing = Set::new(Key::sent(attributes), 0);
        Sets {
            index: Index::default(),
            sets: Vec::new(),
            end: 0,
            free: Vec::new(),
            unused: VecDeque::new(),
            made: 0,
            seed,
            nothing,
        }
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.index.len()
    }

    /// The set of this number; of a number that is none, an empty set.
    #[inline]
    pub fn get(&self, set: u32) -> &Set {
        get(&self.sets, set).unwrap_or(&self.nothing)
    }

    /// Reads how many count on each of these, so that it is at hand afterwards; what is read means nothing.
    #[inline]
    pub fn touch(&self, sets: impl Iterator<Item = u32>) {
        std::hint::black_box(sets.fold(0, |seen, set| seen ^ self.get(set).refs));
    }

    fn get_mut(&mut self, set: u32) -> Option<&mut Set> {
        let set = set as usize;
        self.sets.get_mut(set / PIECE)?.get_mut(set % PIECE)?.as_mut()
    }

    /// The number of this set, which is made if there is none. Whoever keeps the number must retain it before unused sets are forgotten.
    pub fn intern(&mut self, key: Key, next_hops: &mut NextHops) -> u32 {
        let hash = (key.hash(self.seed) >> 32) as u32;
        if let Some(set) = self.index.find(hash, |set| get(&self.sets, set).is_some_and(|set| set.key == key))
        {
            return set;
        }
        let set = self.free.pop().unwrap_or_else(|| {
            self.end += 1;
            self.end
        });
        self.index.insert(hash, set);
        next_hops.retain(key.next_hop);
        self.put(set, Some(Set { listed: true, ..Set::new(key, hash) }));
        self.unused.push_back(set);
        self.made += 1;
        set
    }

    fn put(&mut self, set: u32, value: Option<Set>) -> Option<Set> {
        let set = set as usize;
        while self.sets.len() <= set / PIECE {
            self.sets.push((0..PIECE).map(|_| None).collect());
        }
        let slot = self.sets.get_mut(set / PIECE)?.get_mut(set % PIECE)?;
        std::mem::replace(slot, value)
    }

    /// Counts `times` more on this set; nobody counts on 0.
    #[inline]
    pub fn retain(&mut self, set: u32, times: u32) {
        if let Some(set) = self.get_mut(set) {
            set.refs += times;
        }
    }

    /// Counts on this set once less.
    #[inline]
    pub fn release(&mut self, set: u32) {
        if let Some(found) = self.get_mut(set) {
            found.refs = found.refs.saturating_sub(1);
            if found.refs == 0 && !std::mem::replace(&mut found.listed, true) {
                self.unused.push_back(set);
            }
        }
    }

    /// Takes sets nobody counts on off the list, looking at `most` of it, for [`Sets::forget`].
    pub fn take_unused(&mut self, most: usize) -> Vec<u32> {
        let mut taken: Vec<u32> = self.unused.drain(..most.min(self.unused.len())).collect();
        taken.retain(|set| {
            self.get_mut(*set).is_some_and(|set| {
                set.listed = false;
                set.refs == 0
            })
        });
        if self.unused.is_empty() {
            self.unused = VecDeque::new();
        }
        taken
    }

    /// Whether [`Sets::take_unused`] may have something.
    pub fn has_unused(&self) -> bool {
        !self.unused.is_empty()
    }

    /// How many sets were made since this was asked last.
    pub fn take_made(&mut self) -> usize {
        std::mem::take(&mut self.made)
    }

    /// Forgets a set if nobody counts on it.
    pub fn forget(&mut self, set: u32, next_hops: &mut NextHops) {
        let Some(found) = get(&self.sets, set).filter(|set| set.refs == 0) else { return };
        self.index.remove(found.hash, set);
        if let Some(gone) = self.put(set, None) {
            next_hops.release(gone.key.next_hop);
        }
        self.free.push(set);
        if self.index.is_empty() {
            *self = Sets::new(self.seed);
        }
    }
}

type Pieces = Vec<Box<[Option<Set>]>>;

#[inline]
fn get(pieces: &Pieces, set: u32) -> Option<&Set> {
    let set = set as usize;
    pieces.get(set / PIECE)?.get(set % PIECE)?.as_ref()
}

#[cfg(test)]
mod tests;
