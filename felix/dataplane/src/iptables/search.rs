//! Which part of a batch the kernel refuses, where it does not say.
//!
//! Rules of the legacy variant come to the kernel as one table, and it refuses them as one: the program names the line with
//! `COMMIT`. So halves of what was to be written are tried, and halves of those that are refused again, until what is left is
//! one object. What is not in a half keeps its rules meanwhile.

use super::objects::ObjectId;
use std::collections::BTreeSet;

/// Tries of one search. Each object takes some twice the logarithm of how many there are: with more that are refused it is
/// the table that cannot be written.
const MOST_TRIES: usize = 120;

/// See the module.
#[derive(Debug, Default)]
pub struct Search {
    /// What is still to be tried, the next one last.
    parts: Vec<BTreeSet<ObjectId>>,
    tries: usize,
}

/// What is known after a refusal.
#[derive(Debug, PartialEq, Eq)]
pub enum Found {
    /// It is among what is tried next.
    Narrowed,
    /// This is refused.
    Object(ObjectId),
    /// No single one is to blame.
    Everything,
}

impl Search {
    /// What may be tried now; `None` for everything: there is no search.
    pub fn part(&self) -> Option<&BTreeSet<ObjectId>> {
        self.parts.last()
    }

    /// What was tried is done, or is not wanted any more.
    pub fn done(&mut self) {
        self.parts.pop();
        if self.parts.is_empty() {
            self.tries = 0;
        }
    }

    /// A batch that changes these was refused as a whole.
    pub fn refused(&mut self, mut tried: Vec<ObjectId>) -> Found {
        self.parts.pop();
        self.tries += 1;
        if self.tries > MOST_TRIES {
            *self = Self::default();
            return Found::Everything;
        }
        if tried.len() > 1 {
            // chains before what leads to them, and those that go last
            tried.sort_by_key(order);
            let rest = tried.split_off(tried.len() / 2);
            self.parts.extend([rest, tried].map(BTreeSet::from_iter));
            return Found::Narrowed;
        }
        match tried.pop() {
            Some(object) => Found::Object(object),
            None => Found::Everything,
        }
    }
}

fn order(object: &ObjectId) -> u8 {
    match object {
        ObjectId::Chain(..) | ObjectId::Set(_) => 0,
        ObjectId::Hook(..) | ObjectId::Table(_) => 1,
        ObjectId::Leftover(..) => 2,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use felix_render::iptables::Table;
    use model::net::Family;
    use proptest::prelude::*;

    fn chain(number: usize) -> ObjectId {
        ObjectId::Chain((Family::V4, Table::Filter), format!("cali-{number}").into())
    }

    proptest! {
        /// Those that are refused are found, all others are written, in a number of tries that grows with the logarithm.
        #[test]
        fn those_to_blame_are_found(count in 1usize..2000, bad in prop::collection::btree_set(0usize..2000, 1..4)) {
            let bad: BTreeSet<ObjectId> = bad.into_iter().filter(|one| *one < count).map(chain).collect();
            let mut left: BTreeSet<ObjectId> = (0..count).map(chain).collect();
            let (mut found, mut search, mut tries) = (BTreeSet::new(), Search::default(), 0);
            while !left.is_empty() {
                let part: Vec<ObjectId> = match search.part() {
                    Some(part) => part.iter().filter(|one| left.contains(*one)).cloned().collect(),
                    None => left.iter().cloned().collect(),
                };
                tries += 1;
                if !part.iter().any(|one| bad.contains(one)) {
                    left.retain(|one| !part.contains(one));
                    search.done();
                    continue;
                }
                match search.refused(part) {
                    Found::Narrowed => {}
                    Found::Object(one) => {
                        left.remove(&one);
                        found.insert(one);
                    }
                    Found::Everything => panic!("given up"),
                }
            }
            prop_assert_eq!(&found, &bad);
            prop_assert!(tries <= 2 + bad.len() * 24, "{} tries", tries);
        }
    }

    #[test]
    fn where_everything_is_refused_it_ends() {
        let mut search = Search::default();
        let mut tries = 0;
        loop {
            let part = match search.part() {
                Some(part) => part.iter().cloned().collect(),
                None => (0..1000).map(chain).collect(),
            };
            tries += 1;
            if search.refused(part) == Found::Everything {
                break;
            }
        }
        assert!(tries <= MOST_TRIES + 1 && search.part().is_none());
    }
}
