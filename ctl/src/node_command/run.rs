//! `node run`: the one agent of a node.

use crate::bgpd_command::endpoint_status;
use crate::cli::{Global, NodeRunArgs};
use crate::felix_command;
use crate::io::{Failure, Io};
use crate::print::table;
use crate::session;
use datastore::ConnectConfig;
use kernel::SystemNamespaces;
use node::parent::{self, Role};
use node::{Config, NODENAME_FILE, Notifier, RUN, Sockets};
use node_startup::{Fact, Variables};
use observe::shutdown::Shutdown;
use std::io::ErrorKind;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;

/// The word for a datastore in the agent itself.
const EMBEDDED: &str = "embedded";

/// Explains what the agent would decide.
///
/// # Errors
/// Settings that mean nothing; the kernel.
pub async fn explain(
    args: &NodeRunArgs,
    global: &Global,
    env: session::Environment<'_>,
    io: &mut Io,
) -> Result<(), Failure> {
    let config = config(args, global, env)?;
    let named = Fact {
        what: "node name".to_owned(),
        value: config.name.clone(),
        why: why_named(&config.variables).to_owned(),
    };
    let mut facts = vec![named];
    facts.extend(node::explain(&config).await.map_err(failed)?);
    io.print(&explained(facts))
}

/// Becomes the agent, or its parent where nobody looks after it; to be called before any thread is started. In the agent
/// `run` runs it; the parent returns when the last agent has ended.
///
/// # Errors
/// Sockets that cannot be had; what `run` fails with.
pub fn start(
    args: &NodeRunArgs,
    env: session::Environment<'_>,
    run: impl FnOnce(Sockets) -> Result<(), Failure>,
) -> Result<ExitCode, Failure> {
    match parent::sockets(Path::new(RUN), args.datastore == EMBEDDED, env).map_err(failed)? {
        Role::Agent(sockets) => run(sockets).map(|()| ExitCode::SUCCESS),
        Role::Ended(code) => Ok(ExitCode::from(code)),
    }
}

/// Runs the agent until SIGTERM or SIGINT.
///
/// # Errors
/// Settings that cannot work; another agent; an address that is not found; the kernel.
pub async fn agent(
    args: &NodeRunArgs,
    global: &Global,
    env: session::Environment<'_>,
    sockets: Sockets,
) -> Result<(), Failure> {
    let notifier = Notifier::of(env).map_err(failed)?;
    let config = Config { sockets, notifier, ..config(args, global, env)? };
    let shutdown = Shutdown::default();
    shutdown.on_signals().map_err(failed)?;
    node::run(config, shutdown).await.map_err(failed)
}

fn config(args: &NodeRunArgs, global: &Global, env: session::Environment<'_>) -> Result<Config, Failure> {
    let variables = variables(args)?;
    // the environment of a test, or of this process, then the file
    let variable = |name: &str| env(name).or_else(|| variables.get(name).map(str::to_owned));
    let name = args
        .name
        .clone()
        .or_else(|| session::node_name(&variable))
        .ok_or_else(|| failed("which node is this? Give its name with --name, or in NODENAME"))?;
    let embedded = match args.datastore.as_str() {
        "etcd" => None,
        EMBEDDED => Some(args.data_dir.clone()),
        other => return Err(failed(format!("--datastore {other:?}: expected etcd or embedded"))),
    };
    let connection = match embedded {
        Some(_) => ConnectConfig::default(),
        None => {
            session::settings(&args.config, global, &variable).map_err(session::OpenError::into_failure)?
        }
    };
    let felix = felix_command::local(
        variables.all().map(|(name, value)| (name.to_owned(), value.to_owned())),
        &args.felix_config,
    )?;
    Ok(Config {
        name,
        felix,
        embedded,
        connection,
        sockets: Sockets::default(),
        notifier: None,
        namespaces: Arc::new(SystemNamespaces),
        run: RUN.into(),
        secrets: args.secrets.clone(),
        nodename_file: NODENAME_FILE.into(),
        marker: cni_protocol::handover::MARKER.into(),
        attachments: node::ATTACHMENTS.into(),
        state: node::STATE.into(),
        mtu_file: felix_command::MTU_FILE.into(),
        endpoint_status: endpoint_status(&variable),
        variables,
    })
}

/// What a variable says, in the environment or the file; a file that cannot be read says nothing here, and ends the start
/// with its reason later.
pub fn variable(args: &NodeRunArgs, name: &str) -> Option<String> {
    variables(args).ok()?.get(name).map(str::to_owned)
}

/// Options, environment, file.
fn variables(args: &NodeRunArgs) -> Result<Variables, Failure> {
    let mut variables = Variables::new(felix_command::environment());
    variables = match read(&args.file)? {
        Some(text) => {
            variables.with_file(&text).map_err(|error| failed(format!("{}: {error}", args.file.display())))?
        }
        None => variables,
    };
    let options = [
        ("NODENAME", &args.name),
        ("IP", &args.ip),
        ("IP6", &args.ip6),
        ("AS", &args.as_number),
        ("IP_AUTODETECTION_METHOD", &args.ip_autodetection_method),
        ("IP6_AUTODETECTION_METHOD", &args.ip6_autodetection_method),
        ("CALICO_NETWORKING_BACKEND", &args.backend),
        ("NO_DEFAULT_POOLS", &args.no_default_ippools.then(|| "true".to_owned())),
    ];
    for (name, value) in options {
        if let Some(value) = value {
            variables = variables.with_option(name, value);
        }
    }
    Ok(variables)
}

/// A file that need not exist.
fn read(file: &Path) -> Result<Option<String>, Failure> {
    match std::fs::read_to_string(file) {
        Ok(text) => Ok(Some(text)),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(failed(format!("{}: {error}", file.display()))),
    }
}

fn why_named(variables: &Variables) -> &'static str {
    match variables.get("NODENAME") {
        Some(_) => "NODENAME is set",
        None => "NODENAME is not set: /var/lib/calico/nodename, or HOSTNAME",
    }
}

fn explained(facts: Vec<Fact>) -> String {
    let rows: Vec<Vec<String>> =
        facts.into_iter().map(|fact| vec![fact.what, fact.value, fact.why]).collect();
    table::table(&rows).lines().map(|line| format!("{}\n", line.trim_end())).collect()
}

fn failed(error: impl std::fmt::Display) -> Failure {
    Failure::Message(format!("ocicat node: {error}"))
}
