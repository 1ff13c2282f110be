//! Whom it concerns that the kernel refuses something: what names a refused object is not as wanted either.

use super::state::{ObjectId, Ruleset};
use felix_render::nft::ruleset::Chain;
use netfilter::nft::{Expression, Family, Verdict};
use std::collections::BTreeSet;
use std::sync::Arc;

/// What packets pass that is not as wanted, or leads to something that is not.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Affected {
    /// A chain that the kernel calls is among it: every packet.
    pub all: bool,
    /// Chains.
    pub chains: BTreeSet<Arc<str>>,
    /// Keys of entries of maps: of those by interface its name.
    pub keys: BTreeSet<String>,
}

impl Affected {
    /// By these objects. Entries of a map are each for itself: one that leads to a refused chain concerns those of the
    /// entry, not all that look the map up.
    pub fn by<'a>(refused: impl Iterator<Item = &'a ObjectId>, ruleset: &Ruleset) -> Self {
        let mut affected = Self::default();
        // names of chains and of sets, which may be the same text
        let mut names: BTreeSet<(Family, bool, Arc<str>)> = BTreeSet::new();
        for object in refused {
            match object {
                ObjectId::Table(_) => affected.all = true,
                ObjectId::Chain(family, name) => drop(names.insert((*family, true, name.clone()))),
                ObjectId::Set(family, name) => drop(names.insert((*family, false, name.clone()))),
                ObjectId::Element(_, _, key) => drop(affected.keys.insert(key.to_string())),
            }
        }
        loop {
            let before = names.len();
            for (family, table) in ruleset.tables() {
                let wanted =
                    table.chains.iter().filter_map(|(name, state)| Some((name, state.desired.as_ref()?)));
                let naming: Vec<_> = wanted
                    .filter(|(_, chain)| {
                        named(chain).any(|(is_chain, name)| names.contains(&(family, is_chain, name.into())))
                    })
                    .map(|(name, _)| (family, true, name.clone()))
                    .collect();
                names.extend(naming);
            }
            if names.len() == before {
                break;
            }
        }
        affected.all |=
            names.iter().any(|(family, is_chain, name)| *is_chain && ruleset.is_base_chain(*family, name));
        affected.chains =
            names.into_iter().filter(|(_, is_chain, _)| *is_chain).map(|(.., name)| name).collect();
        affected
    }
}

/// What the rules of a chain name: chains (true) and sets (false).
fn named(chain: &Chain) -> impl Iterator<Item = (bool, &str)> {
    chain.rules.iter().flat_map(|rule| &rule.expressions).filter_map(|expression| match expression {
        Expression::Verdict(Verdict::Jump(to) | Verdict::Goto(to)) => Some((true, to.as_str())),
        Expression::Lookup { set, .. } | Expression::UpdateSet { set, .. } => Some((false, set.as_str())),
        _ => None,
    })
}
