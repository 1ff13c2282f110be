//! The renderer against the evaluator, and against itself started afresh.

pub mod accumulated;
mod interpreter;

mod history;
mod hosts;
mod verdicts;
