//! What a ruleset is made of, and how its changes are told.
//!
//! All tables have one name, [`TABLE`]; a family tells which is meant. A set's name implies its shape: what needs
//! another shape (more room) has another name, so a set never has to be made anew under the rules that use it.

use netfilter::nft::{self, DataType, Element, Expression, Family, Hook, MapData, TableRef};
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

impl Chain {
    /// The kernel's, without its rules.
    pub fn in_kernel(&self, table: TableRef, name: &str) -> nft::Chain {
        nft::Chain { table, name: name.to_owned(), handle: None, hook: self.hook.clone(), comment: None }
    }
}

/// A rule as it should be. Counters stand at zero in `expressions`; equal rules do the same thing.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Rule {
    /// In order.
    pub expressions: Vec<Expression>,
    /// Shown by `nft list`; at most [`netfilter::nft::COMMENT_MAX`] bytes.
    pub comment: Option<String>,
}

impl Rule {
    /// The kernel's.
    pub fn in_kernel(&self, table: TableRef, chain: &str) -> nft::Rule {
        let (expressions, comment) = (self.expressions.clone(), self.comment.clone());
        nft::Rule { table, chain: chain.to_owned(), handle: None, expressions, comment }
    }

    /// What one of the kernel's is like.
    pub fn of_kernel(rule: nft::Rule) -> Self {
        let expressions = rule.expressions.into_iter().map(Expression::without_counts).collect();
        Self { expressions, comment: rule.comment }
    }
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

impl SetShape {
    /// The kernel's.
    pub fn in_kernel(&self, table: TableRef, name: &str) -> nft::Set {
        nft::Set {
            table,
            name: name.to_owned(),
            handle: None,
            key: self.key.clone(),
            data: self.data.clone(),
            interval: self.interval,
            dynamic: false,
            timeout: false,
            counter: self.counter,
            size: self.size,
            comment: self.comment.clone(),
        }
    }

    /// What one of the kernel's is like.
    pub fn of_kernel(set: nft::Set) -> Self {
        Self {
            key: set.key,
            data: set.data,
            interval: set.interval,
            counter: set.counter,
            size: set.size,
            comment: set.comment,
        }
    }
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
