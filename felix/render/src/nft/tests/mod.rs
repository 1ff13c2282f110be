//! The renderer against the evaluator, against itself started afresh, and against the kernel.

mod accumulated;
mod interpreter;

mod history;
mod hosts;
mod kernel;
mod verdicts;
mod workloads;
