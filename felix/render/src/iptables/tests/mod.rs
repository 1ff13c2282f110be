//! The renderer against the evaluator, and against itself started afresh, and what the kernel says to it.

pub mod accumulated;
mod interpreter;

mod history;
mod hosts;
mod kernel;
mod nodes;
mod parts;
mod verdicts;
