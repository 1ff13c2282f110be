//! The renderer against the evaluator, against itself started afresh, and against the kernel.

pub mod accumulated;
pub mod interpreter;

mod history;
mod hosts;
mod kernel;
pub mod verdicts;
mod workloads;
