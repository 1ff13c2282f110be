//! The renderer against the evaluator, and against itself started afresh.

mod accumulated;
mod interpreter;

mod history;
mod hosts;
mod verdicts;
