//! What can be refused, the words about it, and whom it concerns.

use super::table::TableState;
use crate::nft::Affected;
use delta::Retries;
use felix_render::iptables::Table;
use model::net::Family;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

/// Longest pause between two tries of something that is refused.
pub const LONGEST_PAUSE: Duration = Duration::from_secs(10);

/// A table of a family.
pub type Place = (Family, Table);

/// Something of ours, as one that is refused.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum ObjectId {
    /// All that should change in a table.
    Table(Place),
    /// Our rules in a chain of the kernel's, or of others.
    Hook(Place, Arc<str>),
    /// A chain of ours with its rules.
    Chain(Place, Arc<str>),
    /// A chain of ours that should go.
    Leftover(Place, Arc<str>),
    /// A set with its members.
    Set(Arc<str>),
}

impl fmt::Display for ObjectId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let of = |(family, table): &Place| {
            let family = match family {
                Family::V4 => "iptables",
                Family::V6 => "ip6tables",
            };
            format!("{family} table {}", table.name())
        };
        match self {
            Self::Table(place) => write!(f, "{}", of(place)),
            Self::Hook(place, chain) => write!(f, "rules in chain {chain} of {}", of(place)),
            Self::Chain(place, chain) => write!(f, "chain {chain} of {}", of(place)),
            Self::Leftover(place, chain) => write!(f, "removal of chain {chain} of {}", of(place)),
            Self::Set(name) => write!(f, "IP set {name}"),
        }
    }
}

/// What is refused.
#[derive(Debug)]
pub struct Refusals {
    retries: Retries<ObjectId>,
    words: BTreeMap<ObjectId, String>,
}

impl Default for Refusals {
    fn default() -> Self {
        Self { retries: Retries::up_to(LONGEST_PAUSE), words: BTreeMap::new() }
    }
}

impl Refusals {
    /// Whether it may be tried now.
    pub fn may(&self, object: &ObjectId, now: Duration) -> bool {
        self.retries.may(object, now)
    }

    /// Was refused now, with these words. Whether it is the first time in a row.
    pub fn refused(&mut self, object: ObjectId, words: &str, now: Duration) -> bool {
        let first = self.retries.refused(object.clone(), now);
        if self.words.insert(object.clone(), words.to_owned()).is_none() {
            tracing::warn!(%object, error = words, "a change is refused, which is tried again");
        }
        first
    }

    /// Was carried out.
    pub fn carried_out(&mut self, object: &ObjectId) {
        self.retries.forget(object);
        if self.words.remove(object).is_some() {
            tracing::info!(%object, "what was refused before is in force");
        }
    }

    /// Is another thing now, or is not wanted any more.
    pub fn forget(&mut self, object: &ObjectId) {
        self.retries.forget(object);
        self.words.remove(object);
    }

    /// Nothing is left to do about those whose time has come.
    pub fn forget_due(&mut self, now: Duration) {
        for object in self.retries.forget_due(now) {
            self.words.remove(&object);
        }
    }

    /// When the next may be tried.
    pub fn next(&self) -> Option<Duration> {
        self.retries.next()
    }

    /// Whether nothing is refused.
    pub fn is_empty(&self) -> bool {
        self.words.is_empty()
    }

    /// Each with the words about it.
    pub fn iter(&self) -> impl Iterator<Item = (&ObjectId, &str)> {
        self.words.iter().map(|(object, words)| (object, words.as_str()))
    }
}

/// Chains of one endpoint: what is refused below one of them concerns that endpoint, not all whose packets pass the chain
/// that leads to it.
const OF_ENDPOINTS: [&str; 6] = ["cali-tw-", "cali-fw-", "cali-th-", "cali-fh-", "cali-thfw-", "cali-fhfw-"];

/// Whom it concerns that these are refused.
pub fn affected<'a>(
    refused: impl Iterator<Item = &'a ObjectId>,
    tables: &BTreeMap<Place, TableState>,
) -> Affected {
    let mut affected = Affected::default();
    let mut sets: BTreeSet<Arc<str>> = BTreeSet::new();
    let mut chains: BTreeSet<(Place, Arc<str>)> = BTreeSet::new();
    for object in refused {
        match object {
            ObjectId::Table(_) | ObjectId::Hook(..) => affected.all = true,
            ObjectId::Chain(place, chain) => drop(chains.insert((*place, chain.clone()))),
            // what should go and cannot judges no packet
            ObjectId::Leftover(..) => {}
            ObjectId::Set(name) => drop(sets.insert(name.clone())),
        }
    }
    loop {
        let before = chains.len();
        for (place, table) in tables {
            for (name, rules) in table.wanted() {
                let names = |target: &str| {
                    let leads_on = !OF_ENDPOINTS.iter().any(|prefix| target.starts_with(prefix));
                    leads_on && chains.contains(&(*place, Arc::from(target)))
                };
                let naming = rules.iter().any(|rule| {
                    named_sets(&rule.text).any(|set| sets.contains(set))
                        || target(&rule.text).is_some_and(names)
                });
                if naming {
                    chains.insert((*place, name.clone()));
                }
            }
        }
        if chains.len() == before {
            break;
        }
    }
    affected.all |= chains.iter().any(|(place, chain)| {
        tables.get(place).is_some_and(|table| table.hooked().any(|rule| target(&rule.text) == Some(chain)))
    });
    affected.chains = chains.into_iter().map(|(_, chain)| chain).collect();
    affected
}

/// The chain or target that a rule leads to.
pub fn target(text: &str) -> Option<&str> {
    ["--jump ", "--goto "]
        .iter()
        .find_map(|word| text.split(word).nth(1))
        .and_then(|rest| rest.split(' ').next())
}

/// The sets that a rule names.
fn named_sets(text: &str) -> impl Iterator<Item = &str> {
    text.split("--match-set ").skip(1).filter_map(|rest| rest.split(' ').next())
}
