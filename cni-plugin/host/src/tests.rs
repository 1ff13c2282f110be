//! Whole calls on a host in memory.

mod acknowledge;
mod add;
mod azure;
mod del;
mod faults;
mod ipam_program;
mod kernel;
mod pods;
