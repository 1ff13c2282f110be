//! The command tree, and which function answers which command.

mod cobra;
#[cfg(test)]
mod tests;
mod tree;

pub use tree::*;

use crate::io::{Failure, Io};
use crate::lab;
use crate::persona::Persona;
use clap::error::ErrorKind;
use clap::{Command as ClapCommand, CommandFactory, FromArgMatches};
use std::ffi::OsString;
use std::process::ExitCode;

/// Levels calicoctl's log knows.
const LOG_LEVELS: [&str; 6] = ["panic", "fatal", "error", "warn", "info", "debug"];

/// What a command line asks for.
#[derive(Debug)]
pub enum Asked {
    /// A help or version text.
    Text(String),
    /// A command.
    Command(Global, Command),
}

/// Reads the command line, program name included.
///
/// # Errors
/// A command line that means nothing, in cobra's words (`calicoctl.md` §1).
pub fn parse(persona: Persona, args: Vec<OsString>) -> Result<Asked, Failure> {
    let mut root = root(persona);
    let words: Vec<String> = args.iter().skip(1).map(|arg| arg.to_string_lossy().into_owned()).collect();
    let matches = match root.try_get_matches_from_mut(args) {
        Ok(matches) => matches,
        Err(error) if matches!(error.kind(), ErrorKind::DisplayHelp | ErrorKind::DisplayVersion) => {
            return Ok(Asked::Text(error.render().to_string()));
        }
        Err(error) => return Err(Failure::message(cobra::refusal(&error, &root, &words))),
    };
    let asked = if persona.is_calicoctl() {
        CalicoctlRoot::from_arg_matches(&matches).map(|cli| (cli.global, cli.command.map(Command::Admin)))
    } else {
        OcicatRoot::from_arg_matches(&matches).map(|cli| (cli.global, cli.command))
    };
    let (global, command) = asked.map_err(|e| Failure::message(cobra::refusal(&e, &root, &words)))?;
    if !LOG_LEVELS.contains(&global.log_level.as_str()) {
        let levels = LOG_LEVELS.join(", ");
        return Err(Failure::message(format!(
            "unknown log level: {}, expected one of: {levels}",
            global.log_level
        )));
    }
    match command.as_ref().map_or(Some(&[][..]), group_without_command) {
        Some(path) => Ok(Asked::Text(help(root, path))),
        None => command.map(|command| Asked::Command(global, command)).ok_or(Failure::message("no command")),
    }
}

/// Answers a command.
///
/// # Errors
/// What the command could not do.
pub fn dispatch(persona: Persona, asked: Asked, io: &mut Io) -> Result<ExitCode, Failure> {
    let (_global, command) = match asked {
        Asked::Text(text) => return io.print(&text).map(|()| ExitCode::SUCCESS),
        Asked::Command(global, command) => (global, command),
    };
    let _ = persona;
    match command {
        Command::House(House::Lab { command }) => Ok(lab::run(command)),
        Command::House(House::Cni { plugin }) => Ok(crate::cni::main(vec![plugin.into()])),
        Command::Admin(_) => Err(Failure::message("this command is not wired yet")),
    }
}

fn root(persona: Persona) -> ClapCommand {
    let root = if persona.is_calicoctl() { CalicoctlRoot::command() } else { OcicatRoot::command() };
    cobra::pflag_manners(root.name(persona.name()).bin_name(persona.name()))
}

/// The path of a command group that was named without one of its commands, or with an unknown one: cobra shows its
/// help and calls that success.
fn group_without_command(command: &Command) -> Option<&'static [&'static str]> {
    match command {
        Command::Admin(Admin::Ipam { command: None | Some(IpamCommand::Unknown(_)) }) => Some(&["ipam"]),
        Command::Admin(Admin::Datastore { command: None | Some(DatastoreCommand::Unknown(_)) }) => {
            Some(&["datastore"])
        }
        Command::Admin(Admin::Datastore {
            command: Some(DatastoreCommand::Migrate { command: None | Some(MigrateCommand::Unknown(_)) }),
        }) => Some(&["datastore", "migrate"]),
        _ => None,
    }
}

fn help(mut root: ClapCommand, path: &[&str]) -> String {
    root.build();
    let mut command = root;
    for name in path {
        if let Some(sub) = command.find_subcommand(name) {
            command = sub.clone();
        }
    }
    command.render_help().to_string()
}
