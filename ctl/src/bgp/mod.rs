//! `ocicat bgp …`: the speaker's settings and state for people.

mod options;

use crate::io::{Failure, Io};
use clap::Subcommand;

/// Commands of `ocicat bgp`.
#[derive(Debug, Subcommand)]
pub enum BgpCommand {
    /// List the annotations that say what Calico's BGP resources cannot
    Options,
}

/// Answers a command.
///
/// # Errors
/// What it could not do.
pub fn run(command: &BgpCommand, io: &mut Io) -> Result<(), Failure> {
    match command {
        BgpCommand::Options => io.print(&options::text()),
    }
}
