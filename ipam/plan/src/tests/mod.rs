//! Tests of the operations.
mod simulator;
