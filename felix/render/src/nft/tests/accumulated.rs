//! What updates add up to, as the dataplane keeps it. Checks what the kernel would refuse.

use crate::nft::{Chain, SetShape, Update};
use netfilter::nft::{Data, Element, Expression, Family, MapData, MapTarget, Verdict};
use std::collections::BTreeMap;
use std::sync::Arc;

type Name = (Family, Arc<str>);

/// A desired ruleset.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Ruleset {
    pub chains: BTreeMap<Name, Arc<Chain>>,
    pub sets: BTreeMap<Name, Set>,
    /// Of every set there ever was: a name implies its shape.
    shapes: BTreeMap<Name, Arc<SetShape>>,
}

#[derive(Debug, Clone, PartialEq)]
pub struct Set {
    pub shape: Arc<SetShape>,
    /// By key, and whether it ends a range.
    pub elements: BTreeMap<(Vec<u8>, bool), Element>,
}

impl Ruleset {
    /// Takes updates in, and says how many there were of chains, sets and elements.
    pub fn update(&mut self, updates: Vec<Update>) -> Told {
        let mut told = Told::default();
        for update in updates {
            match update {
                Update::Chain { family, name, chain } => {
                    told.chains.push(name.to_string());
                    match chain {
                        Some(chain) => self.chains.insert((family, name), chain),
                        None => self.chains.remove(&(family, name)),
                    };
                }
                Update::Set { family, name, shape } => {
                    told.sets.push(name.to_string());
                    if let Some(shape) = &shape {
                        let known =
                            self.shapes.entry((family, name.clone())).or_insert_with(|| shape.clone());
                        assert_eq!(known, shape, "the shape of {name}");
                    }
                    let before = match shape {
                        Some(shape) => self
                            .sets
                            .insert((family, name.clone()), Set { shape, elements: BTreeMap::new() })
                            .map(|_| "twice"),
                        None => match self.sets.remove(&(family, name.clone())) {
                            Some(_) => None,
                            None => Some("gone before it came"),
                        },
                    };
                    assert_eq!(before, None, "set {name}");
                }
                Update::Elements { family, set: name, added, removed } => {
                    told.elements += added.len() + removed.len();
                    let set =
                        self.sets.get_mut(&(family, name.clone())).unwrap_or_else(|| panic!("no set {name}"));
                    for element in removed {
                        let key = (element.key.clone(), element.interval_end);
                        assert_eq!(set.elements.remove(&key), Some(element), "in {name}");
                    }
                    for element in added {
                        let key = (element.key.clone(), element.interval_end);
                        assert_eq!(set.elements.insert(key, element), None, "in {name}");
                    }
                }
            }
        }
        self.check();
        told
    }

    /// Names that are used are there, keys have their length, no set is over its size.
    fn check(&self) {
        for ((family, name), set) in &self.sets {
            let length: u32 = match set.shape.key.as_slice() {
                [one] => one.len,
                several => several.iter().map(|field| field.padded()).sum(),
            };
            assert!(set.shape.size.is_none_or(|size| set.elements.len() <= size as usize), "{name} is full");
            for element in set.elements.values() {
                assert_eq!(element.key.len(), length as usize, "a key of {name}");
                if let Some(Data::Verdict(verdict)) = &element.data {
                    self.check_verdict(*family, verdict);
                }
            }
            assert!(name.len() < 256, "{name}");
            identifier(name);
        }
        for ((family, name), chain) in &self.chains {
            identifier(name);
            for rule in &chain.rules {
                assert!(rule.comment.as_ref().is_some_and(|text| text.len() <= 128), "{name}: {rule:?}");
                assert!(
                    rule.expressions.iter().any(|one| matches!(one, Expression::Counter { .. })),
                    "no counter in {name}: {rule:?}"
                );
                for expression in &rule.expressions {
                    match expression {
                        Expression::Verdict(verdict) => self.check_verdict(*family, verdict),
                        Expression::Lookup { set, to, .. } => {
                            let found = self.sets.get(&(*family, set.as_str().into()));
                            let found =
                                found.unwrap_or_else(|| panic!("{name} looks up {set}, which is not there"));
                            let wanted = match &found.shape.data {
                                None => None,
                                Some(MapData::Verdict) => Some(MapTarget::Verdict),
                                Some(MapData::Values(_)) => Some(MapTarget::Register(crate::nft::packet::R)),
                            };
                            assert_eq!(*to, wanted, "{name} looks up {set}");
                        }
                        _ => {}
                    }
                }
            }
        }
    }

    fn check_verdict(&self, family: Family, verdict: &Verdict) {
        if let Verdict::Jump(chain) | Verdict::Goto(chain) = verdict {
            let there = self.chains.get(&(family, chain.as_str().into()));
            assert!(there.is_some_and(|chain| chain.hook.is_none()), "jump to {chain}");
        }
    }
}

/// `nft` reads it back.
fn identifier(name: &str) {
    let mut characters = name.chars();
    assert!(characters.next().is_some_and(|c| c.is_ascii_alphabetic()), "{name}");
    assert!(characters.all(|c| c.is_ascii_alphanumeric() || "/-_.".contains(c)), "{name}");
}

/// What one batch of updates was about.
#[derive(Debug, Default, PartialEq)]
pub struct Told {
    pub chains: Vec<String>,
    pub sets: Vec<String>,
    pub elements: usize,
}
