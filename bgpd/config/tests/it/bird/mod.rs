//! A reader of BIRD 1.6 configurations, as far as Calico writes them: sessions and settings as data, filters as trees
//! that are evaluated on routes.

mod eval;
mod lexer;
mod parser;

pub use eval::{Route, Verdict, like};
pub use parser::{Config, Statement, with_arguments};
