//! What updates add up to, as the dataplane keeps it. Checks what the kernel's tools would refuse.

use crate::iptables::{Hook, Member, Rule, SetShape, Table, Update};
use model::net::Family;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

type Name = (Family, Table, Arc<str>);

/// A desired ruleset.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Ruleset {
    pub chains: BTreeMap<Name, Arc<[Rule]>>,
    pub hooks: BTreeMap<(Family, Table, &'static str), Arc<Hook>>,
    pub sets: BTreeMap<(Family, Arc<str>), (SetShape, BTreeSet<Member>)>,
}

/// What one batch of updates was about.
#[derive(Debug, Default, PartialEq)]
pub struct Told {
    pub chains: Vec<String>,
    pub hooks: usize,
    pub sets: Vec<String>,
    pub members: usize,
}

impl Ruleset {
    /// Takes updates in, and says what they were about.
    pub fn update(&mut self, updates: Vec<Update>) -> Told {
        let mut told = Told::default();
        for update in updates {
            match update {
                Update::Chain { family, table, name, rules } => {
                    told.chains.push(name.to_string());
                    let key = (family, table, name.clone());
                    match rules {
                        Some(rules) => assert_ne!(self.chains.insert(key, rules.clone()), Some(rules)),
                        None => assert!(self.chains.remove(&key).is_some(), "{name} is gone already"),
                    }
                }
                Update::Hook { family, table, chain, hook } => {
                    told.hooks += 1;
                    self.hooks.insert((family, table, chain), hook);
                }
                Update::Set { family, name, shape } => {
                    told.sets.push(name.to_string());
                    let key = (family, name.clone());
                    match shape {
                        Some(shape) => assert_eq!(self.sets.insert(key, (shape, BTreeSet::new())), None),
                        None => assert!(self.sets.remove(&key).is_some(), "{name} is gone already"),
                    }
                }
                Update::Members { family, set, added, removed } => {
                    told.members += added.len() + removed.len();
                    let (_, members) = self.sets.get_mut(&(family, set.clone())).unwrap();
                    removed.iter().for_each(|member| assert!(members.remove(member), "{set}: {member:?}"));
                    added.iter().for_each(|member| assert!(members.insert(*member), "{set}: {member:?}"));
                }
            }
        }
        self.check();
        told
    }

    /// The rules of a chain.
    pub fn rules(&self, family: Family, table: Table, chain: &str) -> &[Rule] {
        let key = (family, table, chain.into());
        self.chains.get(&key).unwrap_or_else(|| panic!("no chain {chain} in {table:?}"))
    }

    /// The rules that we add to a chain of the kernel, in order.
    pub fn of_hook(&self, family: Family, table: Table, chain: &'static str) -> Vec<&Rule> {
        let hook = self.hooks.get(&(family, table, chain));
        hook.into_iter().flat_map(|hook| hook.inserted.iter().chain(&hook.appended)).collect()
    }

    /// What is named is there, and all that is there but for the roots is named.
    fn check(&self) {
        let mut called: BTreeSet<Name> = BTreeSet::new();
        let hooks = self.hooks.keys().map(|(family, table, chain)| {
            (*family, *table, self.of_hook(*family, *table, chain).into_iter().cloned().collect::<Vec<_>>())
        });
        let chains = self.chains.iter().map(|((family, table, _), rules)| (*family, *table, rules.to_vec()));
        for (family, table, rules) in hooks.chain(chains) {
            for rule in &rules {
                let words: Vec<&str> = rule.text.split(' ').collect();
                assert_eq!(rule.hash.len(), 16);
                assert!(!rule.text.contains('\n') && rule.text.matches('"').count() % 2 == 0, "{rule:?}");
                for pair in words.windows(2) {
                    match *pair {
                        ["--jump" | "--goto", target] if target.starts_with("cali-") => {
                            called.insert((family, table, target.into()));
                        }
                        ["--match-set", set] => {
                            assert!(self.sets.contains_key(&(family, set.into())), "no set {set}");
                        }
                        ["--jump", "REJECT"] => assert_eq!(table, Table::Filter, "{rule:?}"),
                        _ => {}
                    }
                }
            }
        }
        let there: BTreeSet<Name> = self.chains.keys().cloned().collect();
        assert_eq!(called, there);
        for (family, table, name) in &there {
            assert!(name.len() <= 28, "{family:?} {table:?} {name}");
        }
    }
}
