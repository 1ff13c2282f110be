//! The one agent of a node.
//!
//! ```text
//!  environment, file ─► startup (pure) ─► register ─► Node, pools, configurations in the datastore
//!                          ▲                              ┌─ felix ─┐
//!  links, addresses ─► inventory              supervise ──┼─ bgpd   ├─ a thread and a runtime each
//!                                                         └─ store ─┘
//! ```
//!
//! * [`run`]: the whole of it; [`explain`]: what it would decide, and why, without doing it.
//! * `register`: what `calico/node` writes when a node starts.
//! * [`supervise`]: parts beside each other; one that panics or ends is reported and started again, the others go on.
//! * [`parent`], [`Sockets`]: sockets that outlive the agent. [`Notifier`]: what a service manager is told.
//! * `parts`: which there are, and how each is started. `inventory`: what the host has. `lock`: one agent a node. `memory`: one place for
//!   all threads to have theirs from.

mod backoff;
mod explain;
mod inventory;
mod lock;
mod memory;
mod notify;
pub mod parent;
mod parts;
mod register;
mod sockets;
pub mod supervise;

pub use explain::explain;
pub use lock::LockError;
pub use notify::{Notifier, NotifyError};
pub use sockets::{Sockets, SocketsError};

use bgpd::{BadRouterId, RouterId};
use datastore::ConnectError;
use felix_config::settings::MAIN_LOOP;
use kernel::{KernelError, Namespaces};
use node_startup::settings::SettingErrors;
use node_startup::{Choice, Settings, Variables};
use observe::health::{Health, Report};
use observe::shutdown::Shutdown;
use parts::Given;
use register::{RegisterError, Registrar};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};
use supervise::Supervisor;

/// Where the parts' sockets and the agent's lock lie.
pub const RUN: &str = "/run/ocicat";
/// Where the embedded datastore lies unless told otherwise.
pub const DATA: &str = "/var/lib/ocicat/datastore";
/// Where the records of attached workloads lie: they outlive a power cut.
pub const ATTACHMENTS: &str = "/var/lib/ocicat/cni";
/// Where snapshots of what the datastore held lie, for a start at which it does not answer.
pub const STATE: &str = "/var/lib/ocicat/state";
/// Where Calico's programs, and ours, find the name of their node.
pub const NODENAME_FILE: &str = "/var/lib/calico/nodename";
/// Where the embedded datastore is served: to this host alone.
pub const EMBEDDED_LISTEN: &str = "http://127.0.0.1:2379";

/// How long the datastore may take at a start before the parts are started without the node being registered.
const FIRST_TRY: Duration = Duration::from_secs(5);
/// How soon a registration that failed is tried again.
const AGAIN: Duration = Duration::from_secs(2);

/// What an agent is told once and for all.
pub struct Config {
    /// The node's name.
    pub name: String,
    /// Calico's variables.
    pub variables: Variables,
    /// Felix's own parameters, from environment and file.
    pub felix: felix_config::Local,
    /// The datastore is one of our own, in this directory.
    pub embedded: Option<PathBuf>,
    /// How the datastore is reached, where it is not our own.
    pub connection: datastore::ConnectConfig,
    /// Sockets that somebody holds for the agent.
    pub sockets: Sockets,
    /// Who wants to know how the agent is.
    pub notifier: Option<Notifier>,
    /// Network namespaces: each part opens the kernel of its own on its own thread.
    pub namespaces: Arc<dyn Namespaces>,
    /// Where sockets and lock lie.
    pub run: PathBuf,
    /// Where passwords of BGP peers are.
    pub secrets: PathBuf,
    /// Where the name of the node is written for others.
    pub nodename_file: PathBuf,
    /// What tells the CNI plugin that an agent is in charge of this node.
    pub marker: PathBuf,
    /// Where the records of what CNI plugins attached are kept.
    pub attachments: PathBuf,
    /// Where the parts keep what the datastore held.
    pub state: PathBuf,
    /// Where the CNI plugin finds the MTU of workloads.
    pub mtu_file: PathBuf,
    /// Where Felix says which endpoints are up.
    pub endpoint_status: PathBuf,
}

/// Why an agent cannot run.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// Variables that mean nothing.
    #[error("{0}")]
    Settings(#[from] SettingErrors),
    /// Another agent runs.
    #[error(transparent)]
    Lock(#[from] LockError),
    /// The datastore's address is none.
    #[error(transparent)]
    Connect(#[from] ConnectError),
    /// The kernel does not answer.
    #[error(transparent)]
    Kernel(#[from] KernelError),
    /// The node cannot be registered as it is.
    #[error(transparent)]
    Register(#[from] RegisterError),
    /// The BGP identifier.
    #[error(transparent)]
    RouterId(#[from] BadRouterId),
    /// A part has no thread.
    #[error("{0}")]
    Part(String),
    /// What others have to know cannot be written down.
    #[error("{path}: {reason}; the CNI plugin has to find it")]
    File {
        /// The file.
        path: PathBuf,
        /// The system's words.
        reason: String,
    },
}

/// Runs an agent until `shutdown` fires. What its parts put into the kernel stays.
///
/// # Errors
/// What it cannot do without, or must not do: see [`RunError`].
pub async fn run(mut config: Config, shutdown: Shutdown) -> Result<(), RunError> {
    memory::share();
    let settings = Settings::read(&config.variables)?;
    let router_id = RouterId::parse(config.variables.get(RouterId::VARIABLE).unwrap_or_default())?;
    for (name, line) in config.variables.unknown() {
        tracing::warn!(name, line, "the file sets a variable that nobody reads");
    }
    let _lock = lock::take(&config.run, lock::AGENT)?;
    let health = Health::default();
    let mut supervisor = Supervisor::new(health.clone(), shutdown.clone());
    let connection = match &config.embedded {
        Some(directory) => {
            let held = config.sockets.datastore.take();
            supervisor.start(parts::store(directory.clone(), held)).map_err(RunError::Part)?;
            parts::embedded_connection()
        }
        None => config.connection.clone(),
    };
    let store = datastore::connect(&connection)?;
    let registrar = Registrar::new(&config, &settings, store)?;
    let parts: &[&str] = if settings.networking { &[MAIN_LOOP, bgpd::HEALTH] } else { &[MAIN_LOOP] };
    let notifier = config.notifier.take();
    let told = async {
        if let Some(notifier) = notifier {
            notifier.run(health.clone(), parts, shutdown.clone()).await;
        }
    };
    let works = async {
        let worked = work(config, connection, router_id, &settings, &registrar, &mut supervisor).await;
        shutdown.trigger("the agent has ended");
        worked
    };
    let (worked, ()) = futures::join!(works, told);
    supervisor.join().await;
    worked
}

/// Registers the node, starts what needs it, and keeps it registered until the end.
async fn work(
    config: Config,
    connection: datastore::ConnectConfig,
    router_id: RouterId,
    settings: &Settings,
    registrar: &Registrar,
    supervisor: &mut Supervisor,
) -> Result<(), RunError> {
    let (health, shutdown) = (supervisor.health().clone(), supervisor.shutdown().clone());
    let registered = register_first(registrar, settings, &shutdown).await?;
    write_nodename(&config)?;
    mark(&config.marker)?;
    let acknowledger = felix::Acknowledger::default();
    let given = Arc::new(Given { config, connection, router_id, health: health.clone(), acknowledger });
    supervisor.start(parts::felix(&given)).map_err(RunError::Part)?;
    if settings.networking {
        supervisor.start(parts::bgpd(&given)).map_err(RunError::Part)?;
    }
    supervisor.start(parts::cni(&given)).map_err(RunError::Part)?;
    keep_registered(registrar, settings, registered, &health, &shutdown).await
}

/// Registers before the parts start, so that they find their node; a datastore that does not answer does not keep them
/// from starting: what the kernel has is looked after all the same.
async fn register_first(
    registrar: &Registrar,
    settings: &Settings,
    shutdown: &Shutdown,
) -> Result<bool, RunError> {
    let patience = sleep((!settings.wait_for_datastore).then_some(FIRST_TRY));
    let registered = async {
        loop {
            match registrar.register().await {
                Ok(()) => return Ok(true),
                Err(error) if error.is_final() => return Err(error.into()),
                Err(error) => tracing::warn!(%error, "the node is not registered yet"),
            }
            tokio::time::sleep(AGAIN).await;
        }
    };
    tokio::select! {
        registered = registered => registered,
        () = shutdown.wait() => Ok(false),
        () = patience => {
            tracing::warn!("the datastore does not answer: the parts start before the node is registered");
            Ok(false)
        }
    }
}

/// Registers until it is done, and again as often as addresses are to be looked at.
async fn keep_registered(
    registrar: &Registrar,
    settings: &Settings,
    mut registered: bool,
    health: &Health,
    shutdown: &Shutdown,
) -> Result<(), RunError> {
    let reporter = health.register("node", None);
    let detects = [&settings.ipv4, &settings.ipv6].iter().any(|address| address.choice == Choice::Detect);
    let poll = settings.poll.filter(|_| detects && settings.networking);
    let report = |registered: bool| {
        let report =
            if registered { Report::ok() } else { Report::not_ready("the node is not registered yet") };
        reporter.report(report, Instant::now());
    };
    loop {
        report(registered);
        let next = if registered { poll } else { Some(AGAIN) };
        tokio::select! {
            () = shutdown.wait() => return Ok(()),
            () = sleep(next) => {}
        }
        match registrar.register().await {
            Ok(()) => registered = true,
            Err(error) if error.is_final() && !registered => return Err(error.into()),
            // an address that is gone for a moment is no reason to leave the workloads alone
            Err(error) => tracing::warn!(%error, "the node's registration"),
        }
    }
}

async fn sleep(time: Option<Duration>) {
    match time {
        Some(time) => tokio::time::sleep(time).await,
        None => std::future::pending().await,
    }
}

fn write_nodename(config: &Config) -> Result<(), RunError> {
    let path = &config.nodename_file;
    if std::fs::read_to_string(path).is_ok_and(|known| known == config.name) {
        return Ok(());
    }
    // others read it at any time: whole or not at all
    let fresh = path.with_extension("new");
    let made = path.parent().map_or(Ok(()), std::fs::create_dir_all);
    made.and_then(|()| std::fs::write(&fresh, &config.name))
        .and_then(|()| std::fs::rename(&fresh, path))
        .map_err(|error| RunError::File { path: path.clone(), reason: error.to_string() })
}

/// From now on nobody is attached past the agent.
fn mark(marker: &Path) -> Result<(), RunError> {
    let made = marker.parent().map_or(Ok(()), std::fs::create_dir_all);
    made.and_then(|()| std::fs::write(marker, ""))
        .map_err(|error| RunError::File { path: marker.to_owned(), reason: error.to_string() })
}
