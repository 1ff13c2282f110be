//! Numbers by the hash of what they stand for.
//!
//! Open addressing over slots of hash and number, each at or shortly behind the place its hash stands for. Places are in the order
//! of hashes, whatever their number, so a table that grows by half is copied from its beginning to its end. The hash in the slot says almost
//! always whether it is the right one, so a search that fails, growth and removal read nothing but slots, and eight of
//! those are one line of the cache.

/// Number 0 is none: the slot is free.
#[derive(Debug, Clone, Copy, Default)]
struct Slot {
    hash: u32,
    number: u32,
}

/// See the module. All bits of a hash count, the upper ones most.
#[derive(Debug, Default)]
pub(crate) struct Index {
    slots: Vec<Slot>,
    len: usize,
}

impl Index {
    /// How many numbers there are.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Where a hash belongs.
    #[inline]
    fn home(&self, hash: u32) -> usize {
        ((u64::from(hash) * self.slots.len() as u64) >> 32) as usize
    }

    #[inline]
    fn next(&self, at: usize) -> usize {
        if at + 1 < self.slots.len() { at + 1 } else { 0 }
    }

    /// How many steps lead from one place to another.
    fn distance(&self, from: usize, to: usize) -> usize {
        if to >= from { to - from } else { to + self.slots.len() - from }
    }

    /// Reads the place of a hash, so that it is at hand afterwards; what is read means nothing.
    #[inline]
    pub fn touch(&self, hash: u32) -> u32 {
        self.slots.get(self.home(hash)).map_or(0, |slot| slot.number)
    }

    /// The number with this hash that `same` says yes to.
    #[inline]
    pub fn find(&self, hash: u32, same: impl Fn(u32) -> bool) -> Option<u32> {
        let mut at = self.home(hash);
        // There is a free slot always, unless there is none at all.
        while let Some(slot) = self.slots.get(at).filter(|slot| slot.number != 0) {
            if slot.hash == hash && same(slot.number) {
                return Some(slot.number);
            }
            at = self.next(at);
        }
        None
    }

    /// Adds a number, which is not 0 and not there yet.
    pub fn insert(&mut self, hash: u32, number: u32) {
        // Four slots in five are used at most.
        if (self.len + 1) * 5 > self.slots.len() * 4 {
            self.grow();
        }
        self.put(Slot { hash, number });
        self.len += 1;
    }

    #[inline]
    fn put(&mut self, new: Slot) {
        let mut at = self.home(new.hash);
        while let Some(slot) = self.slots.get_mut(at) {
            if slot.number == 0 {
                *slot = new;
                return;
            }
            at = self.next(at);
        }
    }

    #[cold]
    fn grow(&mut self) {
        let room = (self.slots.len() + self.slots.len() / 2).max(16);
        let old = std::mem::replace(&mut self.slots, vec![Slot::default(); room]);
        old.into_iter().filter(|slot| slot.number != 0).for_each(|slot| self.put(slot));
    }

    /// Takes a number out that was put in with this hash.
    pub fn remove(&mut self, hash: u32, number: u32) {
        let mut at = self.home(hash);
        loop {
            match self.slots.get(at) {
                Some(slot) if slot.number == number => break,
                Some(slot) if slot.number != 0 => at = self.next(at),
                _ => return,
            }
        }
        self.len -= 1;
        // What stands behind moves up, as far as it may.
        let mut behind = self.next(at);
        while let Some(slot) = self.slots.get(behind).copied().filter(|slot| slot.number != 0) {
            if self.distance(self.home(slot.hash), behind) >= self.distance(at, behind) {
                self.set(at, slot);
                at = behind;
            }
            behind = self.next(behind);
        }
        self.set(at, Slot::default());
    }

    fn set(&mut self, at: usize, slot: Slot) {
        if let Some(place) = self.slots.get_mut(at) {
            *place = slot;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    #[test]
    fn an_empty_one_has_nothing() {
        let mut index = Index::default();
        assert_eq!((index.find(7, |_| true), index.touch(7), index.is_empty()), (None, 0, true));
        index.remove(7, 7);
        assert_eq!(index.len(), 0);
    }

    proptest! {
        /// Few hashes, at both ends of their range too: runs are long, meet each other and go round the end.
        #[test]
        fn any_history_ends_with_what_a_map_has(
            steps in proptest::collection::vec((any::<bool>(), 0u32..200, prop_oneof![0u32..3, 4_000_000_000..=u32::MAX, Just(u32::MAX)]), 0..400),
        ) {
            let (mut index, mut map) = (Index::default(), BTreeMap::new());
            for (add, key, hash) in steps {
                let number = key + 1;
                match (add, map.get(&number).copied()) {
                    (true, None) => {
                        index.insert(hash, number);
                        map.insert(number, hash);
                    }
                    (false, Some(hash)) => {
                        index.remove(hash, number);
                        map.remove(&number);
                    }
                    (_, known) => {
                        let found = index.find(known.unwrap_or(hash), |n| n == number);
                        prop_assert_eq!(found, known.map(|_| number));
                    }
                }
                prop_assert_eq!(index.len(), map.len());
                for (number, hash) in &map {
                    prop_assert_eq!(index.find(*hash, |n| n == *number), Some(*number));
                }
            }
        }
    }
}
