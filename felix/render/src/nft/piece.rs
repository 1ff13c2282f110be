//! Parts of a ruleset, as those who render them hand them over.

use super::names;
use super::ruleset::{Chain, Rule, SetShape};
use netfilter::nft::{DataType, Element, Expression, MapData};
use std::sync::Arc;

/// Chains, and sets with elements. A set or element may be in several pieces; it is there while one of them is.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Piece {
    /// Chains by their names.
    pub chains: Vec<(Arc<str>, Arc<Chain>)>,
    /// Sets by their names.
    pub sets: Vec<Elements>,
}

/// A set and elements of it.
#[derive(Debug, Clone, PartialEq)]
pub struct Elements {
    /// The set's name.
    pub set: Arc<str>,
    /// What it is like.
    pub shape: Arc<SetShape>,
    /// What this piece wants to be in it.
    pub elements: Vec<Element>,
}

impl Piece {
    /// Adds a chain that others jump to.
    pub fn chain(&mut self, name: &Arc<str>, rules: Vec<Rule>) {
        self.chains.push((name.clone(), Arc::new(Chain { hook: None, rules })));
    }

    /// Adds the chains and sets of another one.
    pub fn extend(&mut self, other: Piece) {
        self.chains.extend(other.chains);
        self.sets.extend(other.sets);
    }

    /// Adds a set without elements of its own.
    pub fn set(&mut self, set: &Arc<str>, shape: &Arc<SetShape>) {
        self.sets.push(Elements { set: set.clone(), shape: shape.clone(), elements: Vec::new() });
    }

    /// Adds an element.
    pub fn element(&mut self, set: &Arc<str>, shape: &Arc<SetShape>, element: Element) {
        match self.sets.iter_mut().find(|known| known.set == *set) {
            Some(known) => known.elements.push(element),
            None => {
                self.sets.push(Elements { set: set.clone(), shape: shape.clone(), elements: vec![element] })
            }
        }
    }
}

/// A rule that counts, then does something: its last expression, or its last ones where one alone does not do.
pub fn rule(
    matches: impl IntoIterator<Item = Expression>,
    action: impl IntoIterator<Item = Expression>,
    comment: &str,
) -> Rule {
    let expressions = matches.into_iter().chain([Expression::counter()]).chain(action).collect();
    Rule { expressions, comment: Some(names::comment(comment)) }
}

/// A set or map that is neither of intervals nor limited.
pub fn shape(key: &[DataType], data: Option<MapData>, counter: bool, comment: &str) -> SetShape {
    SetShape {
        key: key.to_vec(),
        data,
        interval: false,
        counter,
        size: None,
        comment: Some(names::comment(comment)),
    }
}

/// The same element with a comment.
pub fn with_comment(element: Element, comment: &str) -> Element {
    Element { comment: Some(names::comment(comment)), ..element }
}
