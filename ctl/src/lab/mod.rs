//! `ocicat lab`: a node, a datastore and workloads on this machine.

use std::process::ExitCode;

/// What the lab can do.
#[derive(Debug, clap::Subcommand)]
pub enum LabCommand {}

/// Runs one lab command.
pub fn run(command: LabCommand) -> ExitCode {
    match command {}
}
