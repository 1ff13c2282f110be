//! The selector itself.

use crate::error::ParseError;
use crate::labels::Labels;
use crate::need::{self, Need};
use crate::parser;
use crate::program::Program;
use crate::tree::{Term, Tree};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use sha2::{Digest, Sha224};
use std::fmt;
use std::str::FromStr;

/// `<prefix>:` and the hash of `<prefix>:<content>`: what names of IP sets are made from.
/// Source: `felix.md` §3.5 of the contract.
pub fn unique_id(prefix: &str, content: &str) -> String {
    let digest = Sha224::digest(format!("{prefix}:{content}"));
    format!("{prefix}:{}", URL_SAFE_NO_PAD.encode(digest))
}

/// A parsed selector. Its `Display` is the canonical text.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Selector {
    tree: Tree,
    program: Program,
}

impl Selector {
    /// Parses a selector; an empty text matches everything.
    pub fn parse(text: &str) -> Result<Selector, ParseError> {
        parser::parse(text).map(Selector::from_tree)
    }

    fn from_tree(tree: Tree) -> Selector {
        let program = Program::compile(&tree);
        Selector { tree, program }
    }

    /// Whether `labels` satisfy the selector. Allocates nothing. `global()` counts as true.
    pub fn matches(&self, labels: &(impl Labels + ?Sized)) -> bool {
        self.program.run(&self.tree, labels)
    }

    /// `s:` and the hash of the canonical text: what names of IP sets are made from.
    /// Source: `resources.md` §2 of the contract.
    pub fn unique_id(&self) -> String {
        unique_id("s", &self.to_string())
    }

    /// The labels that are tested, once a test.
    pub fn labels(&self) -> impl Iterator<Item = &str> {
        self.tree.terms().filter_map(Term::label)
    }

    /// Labels of which everything that matches has at least one, for an index; `None` where something without labels
    /// may match.
    pub fn needs(&self) -> Option<Vec<Need>> {
        need::of(&self.tree)
    }

    /// Whether `global()` occurs anywhere.
    pub fn mentions_global(&self) -> bool {
        self.tree.terms().any(|term| *term == Term::Global)
    }

    /// Whether the selector is `global()` and nothing else.
    pub fn is_global(&self) -> bool {
        self.is_only(&Term::Global)
    }

    /// Whether the selector is `all()` or empty.
    pub fn is_all(&self) -> bool {
        self.is_only(&Term::All)
    }

    fn is_only(&self, term: &Term) -> bool {
        matches!(self.tree.node(self.tree.root()), Some(crate::tree::Node::Term(root)) if root == term)
    }

    /// The same selector about labels with `prefix` before their names, as namespace and service account selectors
    /// are turned into selectors about endpoints. Source: `datamodel.md` §8 of the contract.
    pub fn with_label_prefix(&self, prefix: &str) -> Selector {
        Selector { tree: self.tree.prefixed(prefix), program: self.program.clone() }
    }
}

impl fmt::Display for Selector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.tree.fmt(f)
    }
}

impl FromStr for Selector {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Selector, ParseError> {
        Selector::parse(text)
    }
}

#[cfg(test)]
mod tests;
