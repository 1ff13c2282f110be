//! The command line: what it may say ([`tree`], [`store`]), how it is read, and who answers ([`dispatch`]).

mod cobra;
mod dispatch;
mod store;
#[cfg(test)]
mod tests;
mod tree;

pub use cobra::pflag_bool;
pub use dispatch::dispatch;
pub use store::*;
pub use tree::*;

use crate::bgp::BgpCommand;
use crate::io::Failure;
use crate::persona::Persona;
use clap::error::ErrorKind;
use clap::{Command as ClapCommand, CommandFactory, FromArgMatches};
use std::ffi::OsString;

/// Levels calicoctl's log knows.
const LOG_LEVELS: [&str; 6] = ["panic", "fatal", "error", "warn", "info", "debug"];

/// What a command line asks for.
#[derive(Debug)]
pub enum Asked {
    /// A help or version text.
    Text(String),
    /// A command.
    Command(Global, Box<Command>),
}

/// Reads the command line, program name included.
///
/// # Errors
/// A command line that means nothing, in cobra's words (`calicoctl.md` §1).
pub fn parse(persona: Persona, args: Vec<OsString>) -> Result<Asked, Failure> {
    let mut root = root(persona);
    let args = cobra::plain_switches(&root, args).map_err(Failure::Message)?;
    let words: Vec<String> = args.iter().skip(1).map(|arg| arg.to_string_lossy().into_owned()).collect();
    let matches = match root.try_get_matches_from_mut(args) {
        Ok(matches) => matches,
        Err(error) if matches!(error.kind(), ErrorKind::DisplayHelp | ErrorKind::DisplayVersion) => {
            return Ok(Asked::Text(ending_line(error.render().to_string())));
        }
        Err(error) => return Err(Failure::message(cobra::refusal(&error, &root, &words))),
    };
    let asked = if persona.is_calicoctl() {
        CalicoctlRoot::from_arg_matches(&matches).map(|cli| (cli.global, cli.command.map(Command::Admin)))
    } else {
        OcicatRoot::from_arg_matches(&matches).map(|cli| (cli.global, cli.command))
    };
    let (global, command) = asked.map_err(|e| Failure::message(cobra::refusal(&e, &root, &words)))?;
    if let Some(level) = global.log_level.as_deref().filter(|level| !LOG_LEVELS.contains(level)) {
        let levels = LOG_LEVELS.join(", ");
        return Err(Failure::message(format!("unknown log level: {level}, expected one of: {levels}")));
    }
    let Some(command) = command else { return Ok(Asked::Text(help(root, &[]))) };
    match group(&command) {
        None => Ok(Asked::Command(global, Box::new(command))),
        // cobra takes an unknown word for a wish for help; a script is better told.
        Some((path, Some(word))) if !persona.is_calicoctl() => {
            Err(Failure::Message(cobra::unknown_command(&descend(root, path), &word.to_string_lossy())))
        }
        Some((path, _)) => Ok(Asked::Text(help(root, path))),
    }
}

fn root(persona: Persona) -> ClapCommand {
    let root = if persona.is_calicoctl() { CalicoctlRoot::command() } else { OcicatRoot::command() };
    let root = if persona.is_calicoctl() { root.mut_subcommand("datastore", calicos) } else { root };
    cobra::pflag_manners(root.name(persona.name()).bin_name(persona.name()))
}

/// `datastore` shown without what calicoctl does not have.
fn calicos(command: ClapCommand) -> ClapCommand {
    const OURS: [&str; 9] =
        ["data_dir", "listen", "cert", "key", "client_ca", "users", "quota", "to", "from_dir"];
    let plain = |command: ClapCommand| {
        command.mut_args(|arg| if OURS.contains(&arg.get_id().as_str()) { arg.hide(true) } else { arg })
    };
    plain(command)
        .mut_subcommand("backup", |ours| ours.hide(true))
        .mut_subcommand("restore", |ours| ours.hide(true))
        .mut_subcommand("migrate", plain)
}

/// The path of a command group that was named without one of its commands, and the unknown word after it.
fn group(command: &Command) -> Option<(&'static [&'static str], Option<&OsString>)> {
    match command {
        Command::Admin(Admin::Ipam { command: None }) => Some((&["ipam"], None)),
        Command::Admin(Admin::Ipam { command: Some(IpamCommand::Unknown(words)) }) => {
            Some((&["ipam"], words.first()))
        }
        Command::Admin(Admin::Node { command: None }) => Some((&["node"], None)),
        Command::Admin(Admin::Node { command: Some(NodeCommand::Unknown(words)) }) => {
            Some((&["node"], words.first()))
        }
        Command::House(House::Bgp { command: None }) => Some((&["bgp"], None)),
        Command::House(House::Bgp { command: Some(BgpCommand::Unknown(words)) }) => {
            Some((&["bgp"], words.first()))
        }
        Command::Admin(Admin::Datastore { command: None, serve }) => {
            serve.data_dir.is_none().then_some((&["datastore"], None))
        }
        Command::Admin(Admin::Datastore { command: Some(DatastoreCommand::Unknown(words)), .. }) => {
            Some((&["datastore"], words.first()))
        }
        Command::Admin(Admin::Datastore {
            command: Some(DatastoreCommand::Migrate { command, to, .. }),
            ..
        }) => match command {
            None if to.is_some() => None,
            None => Some((&["datastore", "migrate"], None)),
            Some(MigrateCommand::Unknown(words)) => Some((&["datastore", "migrate"], words.first())),
            Some(_) => None,
        },
        _ => None,
    }
}

/// The command at a path, knowing its full name.
fn descend(mut root: ClapCommand, path: &[&str]) -> ClapCommand {
    root.build();
    path.iter().fold(root, |command, name| command.find_subcommand(name).cloned().unwrap_or(command))
}

fn help(root: ClapCommand, path: &[&str]) -> String {
    ending_line(descend(root, path).render_help().to_string())
}

fn ending_line(mut text: String) -> String {
    if !text.ends_with('\n') {
        text.push('\n');
    }
    text
}
