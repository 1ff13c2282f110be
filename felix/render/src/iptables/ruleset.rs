//! What the iptables backend wants in the kernel, and how its changes are told (`felix.md` §4, §7 of the contract).

use model::net::Family;
pub use netfilter::ipset::{Member, SetKind};
use std::sync::Arc;

/// A table of iptables. The order is that in which Calico's agent names them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Table {
    /// Before connections are tracked.
    Raw,
    /// Between tracking and translation.
    Mangle,
    /// Translation.
    Nat,
    /// Decisions.
    Filter,
}

impl Table {
    /// All, in order.
    pub const ALL: [Self; 4] = [Self::Raw, Self::Mangle, Self::Nat, Self::Filter];

    /// As iptables names it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Raw => "raw",
            Self::Mangle => "mangle",
            Self::Nat => "nat",
            Self::Filter => "filter",
        }
    }
}

/// A rule as it should be.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Rule {
    /// The 16 characters after `cali:` in its comment: they stand for this rule and all before it in its chain (§4.1).
    pub hash: Arc<str>,
    /// What comes after the comment with the hash: other comments, matches, `--jump TARGET`, in the words
    /// `iptables-restore` reads.
    pub text: Arc<str>,
}

/// A chain of the kernel that is not ours: what we add to it. Rules of others stay where they are.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Hook {
    /// Before the rules of others, in order (`chainInsertMode: Insert`).
    pub inserted: Vec<Rule>,
    /// After the rules of others, in order.
    pub appended: Vec<Rule>,
}

/// What an IP set is like, its members apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SetShape {
    /// What its members are.
    pub kind: SetKind,
    /// Most members (`maxIpsetSize`).
    pub max: u32,
}

/// A difference between what was told before and what is wanted now. Those of one `take` belong together.
#[derive(Debug, Clone, PartialEq)]
pub enum Update {
    /// A chain of ours.
    Chain {
        /// Of iptables or ip6tables.
        family: Family,
        /// Of this table.
        table: Table,
        /// Its name.
        name: Arc<str>,
        /// `None` when it is not wanted any more.
        rules: Option<Arc<[Rule]>>,
    },
    /// What we add to a chain of the kernel. Told for every hook of Calico's, also where nothing is added any more.
    Hook {
        /// Of iptables or ip6tables.
        family: Family,
        /// Of this table.
        table: Table,
        /// The kernel's name of it.
        chain: &'static str,
        /// Our rules.
        hook: Arc<Hook>,
    },
    /// A set; it has no members yet. Never told twice of one name without a removal in between.
    Set {
        /// Of its members.
        family: Family,
        /// Its main name (`cali40…`, `cali60…`).
        name: Arc<str>,
        /// `None` when it is not wanted any more, nor any of its members.
        shape: Option<SetShape>,
    },
    /// Members of a set that is wanted.
    Members {
        /// Of its members.
        family: Family,
        /// The set's main name.
        set: Arc<str>,
        /// Wanted.
        added: Vec<Member>,
        /// Not wanted any more.
        removed: Vec<Member>,
    },
}
