//! The renderer against the evaluator, and against itself started afresh, and what the kernel says to it.

pub mod accumulated;
pub mod interpreter;

mod history;
mod hosts;
mod kernel;
mod nodes;
mod parts;
pub mod verdicts;
