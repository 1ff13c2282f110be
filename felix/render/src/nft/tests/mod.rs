//! The renderer against the evaluator, against itself started afresh, and against the kernel.

pub mod accumulated;
mod interpreter;

mod history;
mod hosts;
mod kernel;
mod verdicts;
mod workloads;
