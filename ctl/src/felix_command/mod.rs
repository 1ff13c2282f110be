//! `ocicat felix`: the node agent as a program of its own, and what people ask it. Source: `felix.md` §1 of the contract.

pub mod show;

use crate::cli::{ConfigArgs, Global};
use crate::io::{Failure, Io};
use crate::session;
use clap::{Args, Subcommand};
use felix::Config;
use felix::client::{Client, ClientError, DEFAULT_SOCKET};
use felix_config::{Connection, Local, Stored, resolve};
use kernel::{Conntrack, Namespaces, NetfilterOf, SystemNamespaces};
use observe::health::Health;
use observe::shutdown::Shutdown;
use std::path::{Path, PathBuf};

/// Where Calico's agent looks for its file unless told otherwise.
const DEFAULT_FILE: &str = "/etc/calico/felix.cfg";
/// Where the CNI plugin looks for the MTU of workloads.
pub const MTU_FILE: &str = "/var/lib/calico/mtu";

/// `felix`.
#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true)]
pub struct FelixArgs {
    /// Ask a running agent, instead of being one.
    #[command(subcommand)]
    pub command: Option<FelixCommand>,
    /// How to run.
    #[command(flatten)]
    pub run: RunArgs,
}

/// The agent itself.
#[derive(Debug, Args)]
pub struct RunArgs {
    /// Name of the node; else FELIX_FELIXHOSTNAME, NODENAME, /var/lib/calico/nodename, or HOSTNAME
    #[arg(long, value_name = "NAME")]
    pub node: Option<String>,
    /// File with parameters; it need not exist
    #[arg(short, long, default_value = DEFAULT_FILE, value_name = "PATH")]
    pub file: PathBuf,
    /// Answer `ocicat status` and `ocicat felix params` at this socket
    #[arg(long, default_value = DEFAULT_SOCKET, value_name = "PATH")]
    pub socket: PathBuf,
    /// Where from.
    #[command(flatten)]
    pub config: ConfigArgs,
}

/// Commands of `ocicat felix`.
#[derive(Debug, Subcommand)]
pub enum FelixCommand {
    /// List all parameters: type, default, whether the agent acts on them, value, and where it comes from
    Params {
        /// Only those with this in their name
        #[arg(value_name = "WORD")]
        word: Option<String>,
        /// Whom to ask.
        #[command(flatten)]
        args: AskArgs,
    },
    /// Show the agent as a whole
    Status {
        /// Whom to ask.
        #[command(flatten)]
        args: AskArgs,
    },
    /// Show the agent's metrics in the Prometheus text format
    Metrics {
        /// Whom to ask.
        #[command(flatten)]
        args: AskArgs,
    },
}

/// Which agent, and how to print.
#[derive(Debug, Args)]
pub struct AskArgs {
    /// Socket of the agent
    #[arg(long, default_value = DEFAULT_SOCKET, value_name = "PATH")]
    pub socket: PathBuf,
    /// ps (table) or json
    #[arg(short, long, default_value = "ps", value_name = "FORMAT")]
    pub output: String,
}

/// Runs the agent until SIGTERM or SIGINT.
///
/// # Errors
/// Settings that cannot work; a socket or the kernel that cannot be opened.
pub async fn run(args: &RunArgs, global: &Global, env: session::Environment<'_>) -> Result<(), Failure> {
    let local = local(environment(), &args.file)?;
    let node = node_name(args, &local, env)?;
    let connection = local.connection();
    if connection.datastore.as_deref().is_some_and(|kind| kind != "etcdv3") {
        return Err(failed("DatastoreType: this agent reads etcdv3 only"));
    }
    let variable = |name: &str| of_connection(&connection, name).or_else(|| env(name));
    let client =
        session::connect(&args.config, global, &variable).map_err(session::OpenError::into_failure)?;
    let kernel = SystemNamespaces.current().map_err(failed)?;
    let netfilter = NetfilterOf(kernel.netns().clone());
    let flows = Conntrack::open(kernel.netns()).map_err(failed)?;
    let shutdown = Shutdown::default();
    shutdown.on_signals().map_err(failed)?;
    let config = Config {
        node,
        local,
        store: client.store().clone(),
        source: "etcd".to_owned(),
        // a node's agent has a place for it
        snapshot: None,
        kernel,
        netfilter: Box::new(netfilter),
        flows: Box::new(flows),
        socket: args.socket.clone(),
        mtu_file: MTU_FILE.into(),
        health: Health::default(),
        // a process of its own: nobody else writes in it
        acknowledger: felix::Acknowledger::default(),
    };
    felix::run(config, shutdown).await.map_err(failed)
}

/// Answers a command.
///
/// # Errors
/// The agent does not answer.
pub async fn ask(command: &FelixCommand, io: &mut Io) -> Result<(), Failure> {
    match command {
        FelixCommand::Params { word, args } => {
            let mut answer = match Client::dial(&args.socket).await {
                Ok(mut client) => client.params().await.map_err(refused)?,
                Err(ClientError::Socket(_)) => {
                    // What is stored is the agent's to tell; what is written here can be shown without it.
                    let note = "no agent answers here: values are of this environment and file alone\n";
                    io.err.write_all(note.as_bytes())?;
                    felix::describe(&resolve(
                        &local(environment(), Path::new(DEFAULT_FILE))?,
                        &Stored::default(),
                        "",
                    ))
                }
                Err(error) => return Err(refused(error)),
            };
            if let Some(word) = word {
                let word = word.to_lowercase();
                answer.params.retain(|param| param.name.to_lowercase().contains(&word));
            }
            io.answer(&args.output, || show::params_json(&answer), || show::params_text(&answer))
        }
        FelixCommand::Status { args } => status(args, io).await,
        FelixCommand::Metrics { args } => {
            let metrics =
                Client::dial(&args.socket).await.map_err(refused)?.metrics().await.map_err(refused)?;
            io.print(&metrics)
        }
    }
}

/// The agent's page.
///
/// # Errors
/// The agent does not answer.
pub async fn status(args: &AskArgs, io: &mut Io) -> Result<(), Failure> {
    let mut client = Client::dial(&args.socket).await.map_err(refused)?;
    let status = client.status().await.map_err(refused)?;
    io.answer(&args.output, || show::status_json(&status), || show::status_text(&status))
}

fn failed(error: impl std::fmt::Display) -> Failure {
    Failure::Message(format!("ocicat felix: {error}"))
}

fn refused(error: ClientError) -> Failure {
    Failure::Message(error.to_string())
}

/// The process's environment; a name or value that is no text is nobody's.
pub fn environment() -> impl Iterator<Item = (String, String)> {
    std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
}

/// Felix's parameters among variables, and in a file that need not exist.
///
/// # Errors
/// The file cannot be read, or a line of it says nothing.
pub fn local(variables: impl IntoIterator<Item = (String, String)>, file: &Path) -> Result<Local, Failure> {
    let local = Local::new(variables);
    match std::fs::read_to_string(file) {
        Ok(text) => local.with_file(&text).map_err(|error| failed(format!("{}: {error}", file.display()))),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(local),
        Err(error) => Err(failed(format!("{}: {error}", file.display()))),
    }
}

/// What the agent's own parameters say about the datastore, by the names of the usual variables.
fn of_connection(connection: &Connection, name: &str) -> Option<String> {
    match name {
        "ETCD_ENDPOINTS" => connection.endpoints.clone(),
        "ETCD_CA_CERT_FILE" => connection.authority.clone(),
        "ETCD_CERT_FILE" => connection.certificate.clone(),
        "ETCD_KEY_FILE" => connection.key.clone(),
        _ => None,
    }
}

/// `--node`, or what Calico's programs ask.
fn node_name(args: &RunArgs, local: &Local, env: session::Environment<'_>) -> Result<String, Failure> {
    let given = args.node.clone().or_else(|| local.node());
    given.or_else(|| session::node_name(env)).ok_or_else(|| {
        failed("which node is this? Give its name with --node, or in FELIX_FELIXHOSTNAME or NODENAME")
    })
}

#[cfg(test)]
mod tests;
