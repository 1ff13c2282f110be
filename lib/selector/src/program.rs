//! A tree as tests with two exits, and their evaluation.

use crate::labels::Labels;
use crate::lexer::Comparison;
use crate::tree::{Node, NodeId, Term, Tree};

/// Where to go on after a test.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Exit {
    /// The selector's verdict.
    Verdict(bool),
    /// Another test; always one with a lower index, so that every walk ends.
    Step(usize),
}

/// One test.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Step {
    term: NodeId,
    holds: Exit,
    fails: Exit,
}

/// The tests of a selector. Steps are laid out from the last to the first.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Program {
    steps: Vec<Step>,
    entry: Exit,
}

/// Work that is left to do while compiling.
enum Task {
    /// Translate a node with these exits.
    Node { id: NodeId, holds: Exit, fails: Exit },
    /// A group's child at `done` is translated: go on with the one before it.
    Group { id: NodeId, done: usize, holds: Exit, fails: Exit },
}

impl Program {
    /// Translates a tree, from the last test to the first, so that the exits of a test are known when it is laid down.
    pub(crate) fn compile(tree: &Tree) -> Program {
        let mut program = Program { steps: Vec::new(), entry: Exit::Verdict(true) };
        let mut tasks =
            vec![Task::Node { id: tree.root(), holds: Exit::Verdict(true), fails: Exit::Verdict(false) }];
        while let Some(task) = tasks.pop() {
            match task {
                Task::Node { id, holds, fails } => match tree.node(id) {
                    // `global()` is true here: its meaning comes from rewriting, datamodel.md §8
                    None | Some(Node::Term(Term::All | Term::Global)) => program.entry = holds,
                    Some(Node::Term(_)) => {
                        program.steps.push(Step { term: id, holds, fails });
                        program.entry = Exit::Step(program.steps.len() - 1);
                    }
                    Some(Node::Not(child)) => {
                        tasks.push(Task::Node { id: *child, holds: fails, fails: holds })
                    }
                    Some(Node::And(children) | Node::Or(children)) => {
                        if let Some(last) = children.last() {
                            tasks.push(Task::Group { id, done: children.len() - 1, holds, fails });
                            tasks.push(Task::Node { id: *last, holds, fails });
                        }
                    }
                },
                Task::Group { id, done, holds, fails } => {
                    let Some(before) = done.checked_sub(1) else { continue };
                    let next = program.entry;
                    let (children, on_hold, on_fail) = match tree.node(id) {
                        Some(Node::And(children)) => (children, next, fails),
                        Some(Node::Or(children)) => (children, holds, next),
                        _ => continue,
                    };
                    if let Some(child) = children.get(before) {
                        tasks.push(Task::Group { id, done: before, holds, fails });
                        tasks.push(Task::Node { id: *child, holds: on_hold, fails: on_fail });
                    }
                }
            }
        }
        program
    }

    /// The verdict about `labels`. Allocates nothing.
    pub(crate) fn run(&self, tree: &Tree, labels: &(impl Labels + ?Sized)) -> bool {
        let mut at = self.entry;
        loop {
            let step = match at {
                Exit::Verdict(verdict) => return verdict,
                Exit::Step(index) => self.steps.get(index),
            };
            let Some((step, Some(Node::Term(term)))) = step.map(|s| (s, tree.node(s.term))) else {
                return false;
            };
            at = if holds(term, labels) { step.holds } else { step.fails };
        }
    }
}

/// A missing label passes only `!=` and `not in`.
fn holds(term: &Term, labels: &(impl Labels + ?Sized)) -> bool {
    match term {
        Term::All | Term::Global => true,
        Term::Has { label } => labels.get(label).is_some(),
        Term::Compare { label, comparison, value } => {
            let value: &str = value;
            match (comparison, labels.get(label)) {
                (Comparison::NotEquals, actual) => actual != Some(value),
                (_, None) => false,
                (Comparison::Equals, Some(actual)) => actual == value,
                (Comparison::Contains, Some(actual)) => actual.contains(value),
                (Comparison::StartsWith, Some(actual)) => actual.starts_with(value),
                (Comparison::EndsWith, Some(actual)) => actual.ends_with(value),
            }
        }
        Term::In { label, values } => labels.get(label).is_some_and(|actual| among(actual, values)),
        Term::NotIn { label, values } => labels.get(label).is_none_or(|actual| !among(actual, values)),
    }
}

fn among(actual: &str, values: &[Box<str>]) -> bool {
    values.binary_search_by(|value| (**value).cmp(actual)).is_ok()
}
