//! From an interface to its endpoint's chain: a tree of one level by the first character in which names differ
//! (`felix.md` §6 of the contract).

use super::chains::Chain;
use super::line::{Action, Line, Matches};
use std::collections::BTreeMap;
use std::sync::Arc;

/// Which of a packet's interfaces.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Link {
    /// By which it came.
    In,
    /// By which it leaves.
    Out,
}

impl Link {
    /// It is this one; `+` at the end stands for any rest.
    pub fn is(self, name: &str) -> Matches {
        match self {
            Link::In => Matches::any().and(format_args!("--in-interface {name}")),
            Link::Out => Matches::any().and(format_args!("--out-interface {name}")),
        }
    }
}

/// An interface and its endpoint's chain.
type Leaf<'a> = (&'a Arc<str>, &'a Arc<str>);

/// The chains of a tree: the root, and one for each character under which there are several interfaces. `ends` are the
/// rules for interfaces that are not in the tree.
pub fn tree(
    root: &str,
    link: Link,
    interfaces: &BTreeMap<Arc<str>, Arc<str>>,
    ends: &[Line],
) -> Vec<(Arc<str>, Arc<Chain>)> {
    let common = common_prefix(interfaces.keys());
    let mut branches: BTreeMap<&str, Vec<Leaf<'_>>> = BTreeMap::new();
    for (name, chain) in interfaces {
        let length =
            common + name.get(common..).and_then(|rest| rest.chars().next()).map_or(0, char::len_utf8);
        branches.entry(name.get(..length).unwrap_or(name)).or_default().push((name, chain));
    }
    let go = |(name, chain): &Leaf<'_>| Line::new(link.is(name), Action::Goto((*chain).clone()));
    let mut chains = Vec::new();
    let mut lines = Vec::new();
    for (prefix, leaves) in &branches {
        match &leaves[..] {
            [leaf] => lines.push(go(leaf)),
            several => {
                let child: Arc<str> = format!("{root}-{}", prefix.get(common..).unwrap_or_default()).into();
                let of_child: Vec<Line> = several.iter().map(go).chain(ends.iter().cloned()).collect();
                chains.push((child.clone(), Chain::new(&child, &of_child)));
                lines.push(Line::new(link.is(&format!("{prefix}+")), Action::Goto(child)));
            }
        }
    }
    lines.extend(ends.iter().cloned());
    chains.push((root.into(), Chain::new(root, &lines)));
    chains
}

/// How many bytes all names begin with alike.
fn common_prefix<'a>(mut names: impl Iterator<Item = &'a Arc<str>>) -> usize {
    let Some(first) = names.next() else { return 0 };
    let mut length = first.len();
    for name in names {
        let alike = first.chars().zip(name.chars()).take_while(|(a, b)| a == b);
        length = length.min(alike.map(|(c, _)| c.len_utf8()).sum());
    }
    length
}
