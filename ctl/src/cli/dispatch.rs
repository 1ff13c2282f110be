//! Which function answers which command.

use super::{
    Admin, Asked, Command, ConfigArgs, DatastoreCommand, Global, House, IpamCommand, MigrateCommand,
    NodeCommand,
};
use crate::bgp;
use crate::bgpd_command;
use crate::cni_install::{self, CniCommand};
use crate::crud::{self, Get, LabelFlags, Target};
use crate::datastore_command;
use crate::felix_command;
use crate::io::{Failure, Io};
use crate::ipam_command;
use crate::lab;
use crate::namespace::NamespaceFlags;
use crate::node_command;
use crate::persona::Persona;
use crate::print::Format;
use crate::session::{self, Session};
use crate::status_command;
use crate::tally::Verb;
use crate::version;
use crate::why;
use observe::log::{Format as LogFormat, LogConfig, parse_format, parse_level};
use std::process::ExitCode;

/// Answers a command.
///
/// # Errors
/// What the command could not do.
pub fn dispatch(persona: Persona, asked: Asked, io: &mut Io) -> Result<ExitCode, Failure> {
    let (global, command) = match asked {
        Asked::Text(text) => return io.print(&text).map(|()| ExitCode::SUCCESS),
        Asked::Command(global, command) => (global, *command),
    };
    match command {
        Command::House(House::Lab { command }) => Ok(lab::run(command)),
        Command::House(House::Bgpd(args)) => {
            let level = global.log_level.as_deref();
            // where the command line does not say, BGPConfiguration does (logSeverityScreen)
            log_at(level.unwrap_or("info"), level.is_none(), &variable)?;
            runtime()?.block_on(bgpd_command::run(&args, &global, &variable)).map(|()| ExitCode::SUCCESS)
        }
        Command::House(House::Felix(args)) => match &args.command {
            Some(command) => {
                start_log(persona, global.log_level.as_deref())?;
                runtime()?.block_on(felix_command::ask(command, io)).map(|()| ExitCode::SUCCESS)
            }
            None => {
                let level = global.log_level.as_deref();
                // where the command line does not say, the parameter LogSeverityScreen does
                log_at(level.unwrap_or("info"), level.is_none(), &variable)?;
                let ran = runtime()?.block_on(felix_command::run(&args.run, &global, &variable));
                ran.map(|()| ExitCode::SUCCESS)
            }
        },
        Command::House(House::Status(args)) => {
            start_log(persona, global.log_level.as_deref())?;
            runtime()?.block_on(status_command::run(&args, io)).map(|()| ExitCode::SUCCESS)
        }
        Command::House(House::Bgp { command }) => {
            start_log(persona, global.log_level.as_deref())?;
            let Some(command) = command else { return Ok(ExitCode::SUCCESS) };
            runtime()?.block_on(bgp::run(&command, io)).map(|()| ExitCode::SUCCESS)
        }
        Command::House(House::Why(args)) => {
            start_log(persona, global.log_level.as_deref())?;
            runtime()?.block_on(why::run(&args, &global, &variable, io)).map(|()| ExitCode::SUCCESS)
        }
        Command::House(House::Cni { command }) => match command {
            CniCommand::Install(args) => {
                cni_install::install(&args, &variable, io).map(|()| ExitCode::SUCCESS)
            }
            CniCommand::Uninstall(args) => cni_install::uninstall(&args, io).map(|()| ExitCode::SUCCESS),
            CniCommand::Plugin(words) => Ok(crate::cni::main(words)),
        },
        Command::Admin(Admin::Node { command: Some(NodeCommand::Run(args)) }) if !args.explain => {
            let level = global.log_level.as_deref();
            // where the command line does not say, the parameter LogSeverityScreen does
            let shaped = |name: &str| node_command::run::variable(&args, name);
            log_at(level.unwrap_or("info"), level.is_none(), &shaped)?;
            node_command::run::start(&args, &variable, |sockets| {
                runtime()?.block_on(node_command::run::agent(&args, &global, &variable, sockets))
            })
        }
        Command::Admin(command) => {
            start_log(persona, global.log_level.as_deref())?;
            runtime()?.block_on(Call { persona, global }.run(command, io)).map(|()| ExitCode::SUCCESS)
        }
    }
}

fn runtime() -> Result<tokio::runtime::Runtime, Failure> {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::Message(format!("cannot start the runtime: {error}")))
}

/// One call of the program.
struct Call {
    persona: Persona,
    global: Global,
}

impl Call {
    async fn run(&self, command: Admin, io: &mut Io) -> Result<(), Failure> {
        let persona = self.persona;
        match command {
            Admin::Create { files, skip_exists, place } => {
                let Some(given) = self.files(&files, io)? else { return Ok(()) };
                let session = self.session(&place.config).await?;
                crud::write(&session, Verb::Create, skip_exists, &place, &given, io).await
            }
            Admin::Apply { files, place } => {
                let Some(given) = self.files(&files, io)? else { return Ok(()) };
                let session = self.session(&place.config).await?;
                crud::write(&session, Verb::Apply, false, &place, &given, io).await
            }
            Admin::Replace { files, place } => {
                let Some(given) = self.files(&files, io)? else { return Ok(()) };
                let session = self.session(&place.config).await?;
                crud::write(&session, Verb::Replace, false, &place, &given, io).await
            }
            Admin::Delete { words, files, skip_not_exists, place } => {
                let given = match crud::target(persona, &words, &files, "", io)? {
                    None => return Ok(()),
                    Some(Target::Given(given)) => given,
                    Some(Target::All(_)) => return Err(Failure::message("resource name may not be empty")),
                };
                let session = self.session(&place.config).await?;
                crud::write(&session, Verb::Delete, skip_not_exists, &place, &given, io).await
            }
            Admin::Validate { files, place } => match self.files(&files, io)? {
                Some(given) => crud::validate(persona, &place, &given, io),
                None => Ok(()),
            },
            Admin::Get { words, files, all_namespaces, output, export, place } => {
                const PREFIX: &str = "failed to get resources: ";
                let format = Format::parse(&output, persona)?;
                let Some(target) = crud::target(persona, &words, &files, PREFIX, io)? else { return Ok(()) };
                let session = self.session(&place.config).await.map_err(|failure| match failure {
                    Failure::Message(text) => Failure::Message(format!("{PREFIX}{text}")),
                    other => other,
                })?;
                let flags = NamespaceFlags { all: all_namespaces, ..NamespaceFlags::one(place.namespace) };
                crud::get(&session, &target, &Get { format: &format, flags: &flags, export }, io).await
            }
            Admin::Patch { words, patch, place, .. } => {
                let session = self.session(&place.config).await?;
                crud::patch(&session, &words, &patch, &place, io).await
            }
            Admin::Label { words, overwrite, remove, place } => {
                let session = self.session(&place.config).await?;
                crud::label(&session, &words, LabelFlags { remove, overwrite }, &place, io).await
            }
            Admin::Ipam { command } => self.ipam(command, io).await,
            Admin::Node { command } => match command {
                Some(command) => node_command::run(&command, &self.global, &variable, io).await,
                None => Ok(()),
            },
            Admin::Datastore { command: None, serve } if serve.data_dir.is_some() => {
                self.ours("--data-dir")?;
                datastore_command::serve(&serve).await
            }
            Admin::Datastore { command, .. } => self.datastore(command, io).await,
            Admin::Version { client, poll, config } => {
                version::run(persona, (client, poll.as_deref()), &config, &self.global, &variable, io).await
            }
        }
    }

    /// The resources of commands that take files only.
    fn files(
        &self,
        files: &super::FileArgs,
        io: &mut Io,
    ) -> Result<Option<Vec<crate::input::Given>>, Failure> {
        match crud::target(self.persona, &[], files, "", io)? {
            Some(Target::Given(given)) => Ok(Some(given)),
            Some(Target::All(_)) | None => Ok(None),
        }
    }

    /// Refuses what calicoctl does not have when called as calicoctl.
    fn ours(&self, word: &str) -> Result<(), Failure> {
        match self.persona {
            Persona::Ocicat => Ok(()),
            persona => Err(Failure::Message(format!("unknown word for {}: {word}", persona.name()))),
        }
    }

    async fn session(&self, config: &ConfigArgs) -> Result<Session, Failure> {
        Session::open(self.persona, config, &self.global, &variable).await
    }

    async fn ipam(&self, command: Option<IpamCommand>, io: &mut Io) -> Result<(), Failure> {
        let Some(command) = command else { return Ok(()) };
        let config = match &command {
            IpamCommand::Show { config, .. }
            | IpamCommand::Configure { config, .. }
            | IpamCommand::Release { config, .. } => config,
            IpamCommand::Unknown(_) => return Ok(()),
        };
        let session = self.session(config).await?;
        ipam_command::run(&session, &command, io).await
    }

    async fn datastore(&self, command: Option<DatastoreCommand>, io: &mut Io) -> Result<(), Failure> {
        match command {
            Some(DatastoreCommand::Backup { file, source }) => {
                self.ours("backup")?;
                datastore_command::backup(&file, &source, &self.global, &variable, io).await
            }
            Some(DatastoreCommand::Restore { file, data_dir }) => {
                self.ours("restore")?;
                datastore_command::restore(&file, &data_dir, io)
            }
            Some(DatastoreCommand::Migrate { to: Some(to), source, .. }) => {
                self.ours("--to")?;
                datastore_command::migrate_to(&to, &source, &self.global, &variable, io).await
            }
            Some(DatastoreCommand::Migrate { command: Some(MigrateCommand::Lock { config }), .. }) => {
                datastore_command::set_ready(&self.session(&config).await?, false, io).await
            }
            Some(DatastoreCommand::Migrate { command: Some(MigrateCommand::Unlock { config }), .. }) => {
                datastore_command::set_ready(&self.session(&config).await?, true, io).await
            }
            Some(DatastoreCommand::MigratePolicyNames { config }) => {
                datastore_command::migrate_policy_names(&self.session(&config).await?, io).await
            }
            _ => Ok(()),
        }
    }
}

/// Variable that says what shape the log has.
const LOG_FORMAT: &str = "OCICAT_LOG_FORMAT";

/// Logs to standard error. calicoctl is silent unless asked; under our own name what is odd in the datastore is told.
fn start_log(persona: Persona, level: Option<&str>) -> Result<(), Failure> {
    let level = match level {
        // Go's levels for what ends a program: nothing of ours logs there.
        Some("panic" | "fatal") => "none",
        Some(level) => level,
        None if persona.is_calicoctl() => "none",
        None => "warn",
    };
    log_at(level, false, &variable)
}

/// Logs to standard error at a level, which resources may change if it is adjustable, in the shape that a variable says.
fn log_at(level: &str, adjustable: bool, env: session::Environment<'_>) -> Result<(), Failure> {
    let format = match env(LOG_FORMAT).filter(|word| !word.is_empty()) {
        Some(word) => {
            parse_format(&word).map_err(|error| Failure::Message(format!("{LOG_FORMAT}: {error}")))?
        }
        None => LogFormat::default(),
    };
    if let Ok(level) = parse_level(level) {
        // Started twice (in tests), it logs as before.
        let _ = observe::log::init(&LogConfig { level, adjustable, format, ..LogConfig::default() });
    }
    Ok(())
}

fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok()
}
