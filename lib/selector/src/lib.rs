//! Label selectors: parse, canonicalise, evaluate.
//!
//! A selector such as `app == "web" && !has(debug)` picks endpoints, networks, namespaces and nodes by their labels.
//! The language is section 2 of `resources.md` of the contract.
//!
//! A text goes through three forms. `lexer` cuts it into tokens. `parser` builds a `tree` in an arena: nodes in
//! one vector that name their children by index, so that neither parsing, printing nor dropping recurses and no
//! nesting, however deep, can exhaust the stack. `program` translates the tree into tests with two exits each, where
//! to go on when the test holds and where when it does not; negation only swaps the exits. Evaluation is a walk over
//! these tests: no recursion, no allocation, and it ends, since exits lead only forward.
//!
//! The canonical text is the identity of a selector: two texts with the same canonical form are one selector, and
//! names of IP sets are made from its hash ([`Selector::unique_id`]).

mod error;
mod labels;
mod lexer;
mod need;
mod parser;
mod program;
mod selector;
mod tree;

pub use error::ParseError;
pub use labels::Labels;
pub use need::Need;
pub use selector::{Selector, unique_id};
