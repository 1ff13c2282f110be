//! The node agent: what the datastore holds becomes what the kernel does.
//!
//! ```text
//!  Follow ─► Feed (calc) ─► Changes ─► Dataplane ─► kernel
//!               │ settings                │ statuses
//!               ▼                         ▼
//!           Settled (felix/config)     files, keys in the store, gRPC, metrics, health
//! ```
//!
//! One OS thread, one current-thread runtime, one owner of all state: [`run`] is the loop (`shell`). Around it:
//!
//! * `configuration`: parameters from all sources, applied while running.
//! * `status`: what is told about endpoints and the agent, on disk and in the datastore.
//! * [`Acknowledger`]: endpoints that other parts of the process have written, and wait for.
//! * `observers`: health and metrics over HTTP. `service`, [`client`]: people who ask, over the local socket.

mod acknowledge;
pub mod client;
mod configuration;
mod memory;
mod mtu;
mod observers;
mod pace;
mod params;
mod service;
mod shell;
mod status;
mod whole_file;

pub use acknowledge::Acknowledger;
pub use mtu::MtuFileError;
pub use params::describe;
pub use status::status_prefix;

use datastore::{Datastore, SnapshotPlace};
use felix_config::Local;
use kernel::{Flows, Kernel, Netfilter};
use observe::health::Health;
use observe::metrics::Metrics;
use observe::shutdown::Shutdown;
use observe::socket::LocalSocket;
use std::path::PathBuf;
use std::sync::Arc;
use tokio::sync::mpsc;

/// Generated messages and service stubs of `proto/felix.proto`.
#[allow(missing_docs, clippy::all, clippy::unwrap_used, clippy::expect_used)]
pub mod proto {
    tonic::include_proto!("ocicat.felix.v1");
}

/// Questions that may wait for the loop.
const QUESTIONS: usize = 16;

/// What an agent is told once and for all; everything else comes from the datastore.
pub struct Config {
    /// The node's name.
    pub node: String,
    /// Environment and configuration file.
    pub local: Local,
    /// Where Calico's resources are.
    pub store: Arc<dyn Datastore>,
    /// The same for people.
    pub source: String,
    /// Where what it holds is kept, for a start at which it does not answer; `None` where it cannot be away.
    pub snapshot: Option<SnapshotPlace>,
    /// The kernel of its network namespace.
    pub kernel: Arc<dyn Kernel>,
    /// Netfilter of the same.
    pub netfilter: Box<dyn Netfilter>,
    /// Connection tracking of the same.
    pub flows: Box<dyn Flows>,
    /// Where to answer questions.
    pub socket: PathBuf,
    /// Where the CNI plugin finds the MTU of workloads.
    pub mtu_file: PathBuf,
    /// Where it reports, with the other parts of its process.
    pub health: Health,
    /// Where the other parts of its process ask about endpoints they wrote.
    pub acknowledger: Acknowledger,
}

/// Why an agent cannot run, or cannot go on.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// A local source has a value with which Calico's agent does not start either.
    #[error("{0}")]
    Parameter(String),
    /// The kernel cannot be followed.
    #[error(transparent)]
    Kernel(#[from] kernel::KernelError),
    /// There is no MTU file, and `requireMTUFile` says that there has to be one.
    #[error("RequireMTUFile: {0}")]
    MtuFile(#[from] MtuFileError),
    /// The local socket cannot be served.
    #[error(transparent)]
    Socket(#[from] observe::socket::SocketError),
}

/// Runs an agent until `shutdown` fires. To be called on a current-thread runtime of its own. What it put into the kernel
/// stays: packets of workloads are judged as before.
///
/// # Errors
/// What it cannot do without: a configuration that means something, the kernel, its local socket.
pub async fn run(config: Config, shutdown: Shutdown) -> Result<(), RunError> {
    let health = config.health.clone();
    let metrics = Metrics::of_process();
    let mut socket = LocalSocket::bind(&config.socket, health.clone(), metrics.clone())?;
    let (questions, asked) = mpsc::channel(QUESTIONS);
    socket.routes().add_service(proto::felix_server::FelixServer::new(service::Service(questions)));
    let observers = observers::Observers::new(health, metrics);
    let agent = async { shell::Shell::new(config, observers).await?.run(asked, shutdown.clone()).await };
    socket.serve_while(&shutdown, "the agent has ended", agent).await
}
