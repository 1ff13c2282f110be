//! The BGP speaker of a node, or of a router without one.
//!
//! One OS thread, one current-thread runtime, one owner of all speaker state ([`shell`](crate)): [`run`] is the loop. Around
//! the core ([`speaker`]: sessions and RIB, no I/O) stand the sources of what happens:
//!
//! * [`transport`]: sockets. [`kernel_side`]: batches, events and looks; [`fib`] and [`next_hop`] decide what is in
//!   them. [`source`]: the datastore. `files`, `secrets`: what lies beside it.
//! * `service`, [`client`]: people who ask, over the local socket.

pub mod client;
pub mod fib;
mod files;
pub mod kernel_side;
pub mod next_hop;
mod secrets;
mod service;
mod shell;
pub mod source;
pub mod speaker;
pub mod transport;

pub use bgp_config::{BadRouterId, RouterId};
pub use secrets::DEFAULT_SECRETS;

use datastore::directory::FileProblem;
use datastore::{Datastore, SnapshotPlace};
use kernel::Kernel;
use observe::health::Health;
use observe::metrics::Metrics;
use observe::shutdown::Shutdown;
use observe::socket::LocalSocket;
use std::path::PathBuf;
use std::sync::Arc;
use tokio::sync::{mpsc, watch};

/// Generated messages and service stubs of `proto/bgp.proto`.
#[allow(missing_docs, clippy::all, clippy::unwrap_used, clippy::expect_used)]
pub mod proto {
    tonic::include_proto!("ocicat.bgp.v1");
}

/// Questions that may wait for the loop.
const QUESTIONS: usize = 16;

/// What a speaker is told once and for all; everything else comes from the datastore.
pub struct Config {
    /// The node's name.
    pub node: String,
    /// Where Calico's resources are.
    pub store: Arc<dyn Datastore>,
    /// The same for people.
    pub source: String,
    /// Where what it holds is kept, for a start at which it does not answer; `None` where it cannot be away.
    pub snapshot: Option<SnapshotPlace>,
    /// What is wrong with a directory's files, where the store is one.
    pub problems: Option<watch::Receiver<Vec<FileProblem>>>,
    /// The kernel of its network namespace.
    pub kernel: Arc<dyn Kernel>,
    /// Routes are put into the kernel.
    pub programs_kernel: bool,
    /// Where to answer questions.
    pub socket: PathBuf,
    /// What the BGP identifier is made of.
    pub router_id: RouterId,
    /// Where passwords are.
    pub secrets: PathBuf,
    /// Where Felix says which endpoints are up.
    pub endpoint_status: PathBuf,
    /// Where it reports, with the other parts of its process.
    pub health: Health,
}

/// The name it reports under.
pub const HEALTH: &str = "bgpd";

/// Why a speaker cannot run, or cannot go on.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// The kernel cannot be followed.
    #[error(transparent)]
    Kernel(#[from] kernel::KernelError),
    /// The sockets cannot be waited for.
    #[error(transparent)]
    Transport(#[from] transport::TransportError),
    /// The local socket cannot be served.
    #[error(transparent)]
    Socket(#[from] observe::socket::SocketError),
}

/// Runs a speaker until `shutdown` fires. To be called on a current-thread runtime of its own.
///
/// # Errors
/// What it cannot do without: the kernel, sockets, its local socket.
pub async fn run(config: Config, shutdown: Shutdown) -> Result<(), RunError> {
    let health = config.health.clone();
    let reporter = health.register(HEALTH, None);
    let metrics = Metrics::of_process();
    let mut socket = LocalSocket::bind(&config.socket, health, metrics)?;
    let (questions, asked) = mpsc::channel(QUESTIONS);
    socket.routes().add_service(proto::bgp_server::BgpServer::new(service::Service(questions)));
    let speaker = async { shell::Shell::new(config, reporter).await?.run(asked, shutdown.clone()).await };
    socket.serve_while(&shutdown, "the speaker has ended", speaker).await
}
