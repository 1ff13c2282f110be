//! What a ruleset is made of, and how its changes are told.
//!
//! All tables have one name, [`TABLE`]; a family tells which is meant. A set's name implies its shape: what needs
//! another shape (more room) has another name, so a set never has to be made anew under the rules that use it.

use netfilter::nft::{DataType, Element, Expression, Family, Hook, MapData, TableRef};
use std::sync::Arc;

/// Name of our tables, in the families `ip`, `ip6` and `arp`.
pub const TABLE: &str = "ocicat";

/// Our table of a family.
pub fn table(family: Family) -> TableRef {
    TableRef { family, name: TABLE.to_owned() }
}

/// A chain as it should be.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Chain {
    /// Where it is hooked in; `None` for one that others jump to.
    pub hook: Option<Hook>,
    /// In order.
    pub rules: Vec<Rule>,
}

/// A rule as it should be. Counters stand at zero in `expressions`; equal rules do the same thing.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Rule {
    /// In order.
    pub expressions: Vec<Expression>,
    /// Shown by `nft list`; at most [`netfilter::nft::COMMENT_MAX`] bytes.
    pub comment: Option<String>,
}

/// What a set or map is like, its elements apart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SetShape {
    /// Types of the key; several are a concatenation.
    pub key: Vec<DataType>,
    /// `None` for a set.
    pub data: Option<MapData>,
    /// Elements may be ranges.
    pub interval: bool,
    /// Each element counts what matched it.
    pub counter: bool,
    /// Most elements. A hash set with a size does not change its place while it is read.
    pub size: Option<u32>,
    /// Shown by `nft list`.
    pub comment: Option<String>,
}

/// A difference between the ruleset told before and the one wanted now. Those of one [`super::Renderer::take`] belong
/// together: they are committed as one batch, in the order the kernel needs (sets and chains before what names them,
/// removals after).
#[derive(Debug, Clone, PartialEq)]
pub enum Update {
    /// A chain is wanted so.
    Chain {
        /// Of which table.
        family: Family,
        /// Its name.
        name: Arc<str>,
        /// `None` when it is not wanted any more.
        chain: Option<Arc<Chain>>,
    },
    /// A set or map is wanted; it has no elements yet. Never told twice of one name without a removal in between.
    Set {
        /// Of which table.
        family: Family,
        /// Its name.
        name: Arc<str>,
        /// `None` when it is not wanted any more, nor any of its elements.
        shape: Option<Arc<SetShape>>,
    },
    /// Elements of a set that is wanted.
    Elements {
        /// Of which table.
        family: Family,
        /// The set's name.
        set: Arc<str>,
        /// Wanted, by key unique in the set. One with the key of a removed element replaces it.
        added: Vec<Element>,
        /// Not wanted any more, told whole. They go before others come.
        removed: Vec<Element>,
    },
}
