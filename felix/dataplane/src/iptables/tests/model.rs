//! What is wanted, changed at random, and as the naive model says it ends.

use super::fake::{Chains, Key, Set, State, new_table};
use crate::iptables::saved::is_ours;
use crate::iptables::sets;
use felix_render::iptables::{Hook, Member, Rule, SetKind, SetShape, Table, Update};
use kernel::Variant;
use model::net::Family;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// Numbers that look random.
pub struct Random(pub u64);

impl Random {
    pub fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % bound as u64) as usize
    }
}

type Place = (Family, Table);

/// Everything that is wanted.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Wanted {
    pub chains: BTreeMap<(Place, String), Vec<Rule>>,
    pub hooks: BTreeMap<(Place, &'static str), Hook>,
    pub sets: BTreeMap<(Family, String), (SetShape, BTreeSet<Member>)>,
}

pub fn rule(text: &str) -> Rule {
    // anything that differs with the text, of 16 characters
    let sum = text
        .bytes()
        .fold(7u64, |sum, byte| sum.wrapping_mul(1_099_511_628_211).wrapping_add(u64::from(byte)));
    Rule { hash: format!("{sum:016x}").into(), text: text.into() }
}

pub const SHAPE: SetShape = SetShape { kind: SetKind::Net, max: 1000 };

pub fn member(family: Family, number: usize) -> Member {
    let address = match family {
        Family::V4 => format!("10.0.0.{number}"),
        Family::V6 => format!("fd00::{number}"),
    };
    Member::Net { address: address.parse().unwrap(), length: if family == Family::V4 { 32 } else { 128 } }
}

pub fn set_name(family: Family, number: usize) -> String {
    format!("cali{}0s:{number}", if family == Family::V4 { 4 } else { 6 })
}

const HOOKS: [(Table, &str); 4] = [
    (Table::Raw, "PREROUTING"),
    (Table::Filter, "FORWARD"),
    (Table::Filter, "INPUT"),
    (Table::Nat, "POSTROUTING"),
];

impl Wanted {
    /// One random change; what names each other stays whole.
    pub fn change(&mut self, random: &mut Random) {
        let family = [Family::V4, Family::V6][random.below(2)];
        match random.below(4) {
            0 => {
                let key = (family, set_name(family, random.below(6)));
                let set = self.sets.entry(key).or_insert((SHAPE, BTreeSet::new()));
                // another size now and then
                set.0.max = if random.below(6) == 0 { 2000 } else { set.0.max };
                for _ in 0..random.below(8) {
                    let member = member(family, random.below(20));
                    if !set.1.remove(&member) {
                        set.1.insert(member);
                    }
                }
            }
            1 => {
                let (table, chain) = HOOKS[random.below(HOOKS.len())];
                let place = (family, table);
                let hook = Hook {
                    inserted: self.rules(place, 0, random, 2),
                    appended: self.rules(place, 0, random, 2),
                };
                self.hooks.insert((place, chain), hook);
            }
            2 => {
                // a chain or a set goes, with what names it
                let victim = random.below(8);
                self.chains.retain(|(place, name), _| *name != chain(victim) || place.0 != family);
                self.sets.remove(&(family, set_name(family, victim)));
                self.prune();
            }
            _ => {
                let place = (family, [Table::Raw, Table::Filter, Table::Nat][random.below(3)]);
                let number = random.below(8);
                let rules = self.rules(place, number + 1, random, 5);
                self.chains.insert((place, chain(number)), rules);
            }
        }
    }

    /// Rules that name chains from this number on, and sets.
    fn rules(&self, place: Place, from: usize, random: &mut Random, most: usize) -> Vec<Rule> {
        let mut rules = Vec::new();
        for _ in 0..random.below(most + 1) {
            let to = chain(from + random.below(8));
            let set = set_name(place.0, random.below(6));
            let text = match random.below(3) {
                0 if self.chains.contains_key(&(place, to.clone())) => format!("--jump {to}"),
                1 if self.sets.contains_key(&(place.0, set.clone())) => {
                    format!("-m set --match-set {set} src --jump ACCEPT")
                }
                _ => format!("-m mark --mark {:#x}/0xff --jump ACCEPT", random.below(5)),
            };
            rules.push(rule(&text));
        }
        rules
    }

    /// Rules that name what is not wanted go.
    fn prune(&mut self) {
        let chains: BTreeSet<(Place, String)> = self.chains.keys().cloned().collect();
        let sets: BTreeSet<(Family, String)> = self.sets.keys().cloned().collect();
        let stays = |place: Place, rule: &Rule| {
            let mut words = rule.text.split(' ');
            words.all(|word| {
                let chain = !word.starts_with("cali-") || chains.contains(&(place, word.to_owned()));
                let is_set = word.starts_with("cali4") || word.starts_with("cali6");
                chain && (!is_set || sets.contains(&(place.0, word.to_owned())))
            })
        };
        for ((place, _), rules) in &mut self.chains {
            rules.retain(|rule| stays(*place, rule));
        }
        for ((place, _), hook) in &mut self.hooks {
            hook.inserted.retain(|rule| stays(*place, rule));
            hook.appended.retain(|rule| stays(*place, rule));
        }
    }

    /// What there is in the end, of which all that is not ours was there before.
    pub fn over(&self, before: &State, variant: Variant) -> State {
        let mut state = State::default();
        for (key, chains) in &before.tables {
            let of = |of: Family| sets::of_kernel(of) == key.0;
            let mut left: Chains = chains.iter().filter(|(name, _)| !is_ours(name)).map(foreign).collect();
            for ((place, name), hook) in &self.hooks {
                if of(place.0) && place.1.name() == key.2 && variant == key.1 {
                    let rules = left.entry((*name).to_owned()).or_default();
                    let inserted = hook.inserted.iter().map(text);
                    let all = inserted.chain(std::mem::take(rules)).chain(hook.appended.iter().map(text));
                    *rules = all.collect();
                }
            }
            for ((place, name), rules) in &self.chains {
                if of(place.0) && place.1.name() == key.2 && variant == key.1 {
                    left.insert(name.clone(), rules.iter().map(text).collect());
                }
            }
            state.tables.insert(*key, left);
        }
        let strange = before.sets.iter().filter(|(name, _)| !sets::is_ours(name));
        state.sets = strange.map(|(name, set)| (name.clone(), set.clone())).collect();
        for ((family, name), (shape, members)) in &self.sets {
            let set = Set {
                kind: shape.kind,
                family: sets::of_kernel(*family),
                max: shape.max,
                members: members.clone(),
            };
            state.sets.insert(name.clone(), set);
        }
        state
    }

    /// Every table in which something is wanted.
    pub fn tables(&self, variant: Variant) -> BTreeMap<Key, Chains> {
        let places =
            self.chains.keys().map(|(place, _)| *place).chain(self.hooks.keys().map(|(place, _)| *place));
        places
            .map(|(family, table)| {
                ((sets::of_kernel(family), variant, table.name()), new_table(table.name()))
            })
            .collect()
    }
}

fn chain(number: usize) -> String {
    format!("cali-{number}")
}

fn text(rule: &Rule) -> String {
    crate::iptables::table::marked(rule)
}

fn foreign((name, rules): (&String, &Vec<String>)) -> (String, Vec<String>) {
    (name.clone(), rules.iter().filter(|rule| !rule.contains("\"cali:")).cloned().collect())
}

/// The updates from one to the other.
pub fn updates(before: &Wanted, after: &Wanted) -> Vec<Update> {
    let mut updates = Vec::new();
    for (family, name) in before.sets.keys().chain(after.sets.keys()).collect::<BTreeSet<_>>() {
        let key = (*family, name.clone());
        let (was, is) = (before.sets.get(&key), after.sets.get(&key));
        let set = |shape| Update::Set { family: *family, name: name.as_str().into(), shape };
        let members = |added: Vec<Member>, removed| Update::Members {
            family: *family,
            set: name.as_str().into(),
            added,
            removed,
        };
        match (was, is) {
            (Some((shape, was)), Some((now, is))) if shape == now => {
                let added = is.difference(was).copied().collect();
                updates.push(members(added, was.difference(is).copied().collect()));
            }
            (_, None) => updates.push(set(None)),
            (was, Some((shape, is))) => {
                updates.extend(was.map(|_| set(None)));
                updates.push(set(Some(*shape)));
                updates.push(members(is.iter().copied().collect(), Vec::new()));
            }
        }
    }
    for key in before.chains.keys().chain(after.chains.keys()).collect::<BTreeSet<_>>() {
        let ((family, table), name) = key;
        if before.chains.get(key) != after.chains.get(key) {
            let rules = after.chains.get(key).map(|rules| Arc::from(rules.as_slice()));
            updates.push(Update::Chain { family: *family, table: *table, name: name.as_str().into(), rules });
        }
    }
    for key in before.hooks.keys().chain(after.hooks.keys()).collect::<BTreeSet<_>>() {
        let ((family, table), chain) = key;
        if before.hooks.get(key) != after.hooks.get(key) {
            let hook = Arc::new(after.hooks.get(key).cloned().unwrap_or_default());
            updates.push(Update::Hook { family: *family, table: *table, chain, hook });
        }
    }
    updates
}
