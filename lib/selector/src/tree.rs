//! A parsed selector: nodes in one vector, children before parents, the root last.

use crate::lexer::Comparison;
use std::fmt;

/// Place of a node in the arena.
pub(crate) type NodeId = usize;

/// What is tested about one label, or about nothing.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) enum Term {
    All,
    Global,
    Has {
        label: Box<str>,
    },
    Compare {
        label: Box<str>,
        comparison: Comparison,
        value: Box<str>,
    },
    /// `values` sorted, each once.
    In {
        label: Box<str>,
        values: Box<[Box<str>]>,
    },
    /// `values` sorted, each once.
    NotIn {
        label: Box<str>,
        values: Box<[Box<str>]>,
    },
}

impl Term {
    /// The label the term is about.
    pub(crate) fn label(&self) -> Option<&str> {
        match self {
            Term::All | Term::Global => None,
            Term::Has { label }
            | Term::Compare { label, .. }
            | Term::In { label, .. }
            | Term::NotIn { label, .. } => Some(label),
        }
    }

    /// The same test about the label `prefix` + label.
    fn prefixed(&self, prefix: &str) -> Term {
        let mut term = self.clone();
        match &mut term {
            Term::All | Term::Global => {}
            Term::Has { label }
            | Term::Compare { label, .. }
            | Term::In { label, .. }
            | Term::NotIn { label, .. } => *label = format!("{prefix}{label}").into(),
        }
        term
    }
}

/// One node.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) enum Node {
    Term(Term),
    Not(NodeId),
    /// At least two children.
    And(Vec<NodeId>),
    /// At least two children.
    Or(Vec<NodeId>),
}

/// The whole tree; never empty.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Tree {
    nodes: Vec<Node>,
}

impl Tree {
    /// No nodes yet: for the parser, which always adds some.
    pub(crate) fn new() -> Self {
        Tree { nodes: Vec::new() }
    }

    /// Adds a node whose children are there already.
    pub(crate) fn add(&mut self, node: Node) -> NodeId {
        self.nodes.push(node);
        self.nodes.len() - 1
    }

    /// The root's place.
    pub(crate) fn root(&self) -> NodeId {
        self.nodes.len().saturating_sub(1)
    }

    /// A node; `None` for a place outside.
    pub(crate) fn node(&self, id: NodeId) -> Option<&Node> {
        self.nodes.get(id)
    }

    /// All nodes, children before their parents.
    pub(crate) fn nodes(&self) -> &[Node] {
        &self.nodes
    }

    /// All tests, in no particular order.
    pub(crate) fn terms(&self) -> impl Iterator<Item = &Term> {
        self.nodes.iter().filter_map(|node| match node {
            Node::Term(term) => Some(term),
            _ => None,
        })
    }

    /// The same tree about labels with `prefix` before their names.
    pub(crate) fn prefixed(&self, prefix: &str) -> Tree {
        let nodes = self.nodes.iter().map(|node| match node {
            Node::Term(term) => Node::Term(term.prefixed(prefix)),
            node => node.clone(),
        });
        Tree { nodes: nodes.collect() }
    }
}

/// A piece of the canonical text that is still to be written.
enum Piece {
    Node(NodeId),
    Text(&'static str),
}

/// The canonical text.
impl fmt::Display for Tree {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut todo = vec![Piece::Node(self.root())];
        while let Some(piece) = todo.pop() {
            let id = match piece {
                Piece::Text(text) => {
                    f.write_str(text)?;
                    continue;
                }
                Piece::Node(id) => id,
            };
            match self.node(id) {
                None => {}
                Some(Node::Term(term)) => write!(f, "{term}")?,
                Some(Node::Not(child)) => {
                    f.write_str("!")?;
                    todo.push(Piece::Node(*child));
                }
                Some(Node::And(children)) => push_group(&mut todo, children, " && "),
                Some(Node::Or(children)) => push_group(&mut todo, children, " || "),
            }
        }
        Ok(())
    }
}

/// Queues a group in parentheses; the queue is taken from its end, so the last piece goes in first.
fn push_group(todo: &mut Vec<Piece>, children: &[NodeId], separator: &'static str) {
    todo.push(Piece::Text(")"));
    for (position, child) in children.iter().enumerate().rev() {
        todo.push(Piece::Node(*child));
        todo.push(Piece::Text(if position == 0 { "(" } else { separator }));
    }
}

impl fmt::Display for Term {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Term::All => f.write_str("all()"),
            Term::Global => f.write_str("global()"),
            Term::Has { label } => write!(f, "has({label})"),
            Term::Compare { label, comparison, value } => {
                write!(f, "{label} {} {}", comparison.text(), Quoted(value))
            }
            Term::In { label, values } => write!(f, "{label} in {}", Set(values)),
            Term::NotIn { label, values } => write!(f, "{label} not in {}", Set(values)),
        }
    }
}

/// A value in double quotes, or in single ones when it holds a double quote.
struct Quoted<'a>(&'a str);

impl fmt::Display for Quoted<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let quote = if self.0.contains('"') { '\'' } else { '"' };
        write!(f, "{quote}{}{quote}", self.0)
    }
}

struct Set<'a>(&'a [Box<str>]);

impl fmt::Display for Set<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("{")?;
        for (position, value) in self.0.iter().enumerate() {
            let separator = if position == 0 { "" } else { ", " };
            write!(f, "{separator}{}", Quoted(value))?;
        }
        f.write_str("}")
    }
}
