//! Which parts there are, and how each is started. Each opens its own sockets, on its own
//! runtime, or takes over what is held for it.

use crate::supervise::Part;
use crate::{Config, EMBEDDED_LISTEN};
use bgpd::RouterId;
use datastore::{ConnectConfig, SnapshotPlace};
use futures::future::{BoxFuture, LocalBoxFuture};
use kernel::{Conntrack, NetfilterOf};
use observe::health::Health;
use observe::shutdown::Shutdown;
use std::net::TcpListener;
use std::path::PathBuf;
use std::sync::Arc;

/// What the parts are started with, each time.
pub struct Given {
    /// The agent's configuration.
    pub config: Config,
    /// How the datastore is reached.
    pub connection: ConnectConfig,
    /// What the BGP identifier is made of.
    pub router_id: RouterId,
    /// Where all report.
    pub health: Health,
    /// Where the CNI server asks felix.
    pub acknowledger: felix::Acknowledger,
}

impl Given {
    /// Where a part keeps what it knows of the datastore.
    fn snapshot(&self, part: &str) -> SnapshotPlace {
        let ConnectConfig { etcd_endpoints, etcd_discovery_srv, .. } = &self.connection;
        SnapshotPlace {
            path: self.config.state.join(part).with_extension("snapshot"),
            source: [etcd_endpoints.as_str(), etcd_discovery_srv].join(" ").trim().to_owned(),
        }
    }
}

/// How the embedded datastore is reached.
pub fn embedded_connection() -> ConnectConfig {
    ConnectConfig::from_env(&|name| (name == "ETCD_ENDPOINTS").then(|| EMBEDDED_LISTEN.to_owned()))
}

/// Where CNI plugins ask, among the parts' sockets.
pub const CNI_SOCKET: &str = "cni.sock";

/// The embedded datastore, in this directory; at this socket, where somebody holds it for the agent.
pub fn store(directory: PathBuf, held: Option<TcpListener>) -> Part {
    part("datastore", move |shutdown| {
        serve_store(directory.clone(), held.as_ref().map(TcpListener::try_clone), shutdown)
    })
}

/// Makes the embedded datastore's socket.
///
/// # Errors
/// Its address is taken; in words.
pub fn bind_datastore() -> Result<TcpListener, String> {
    let address = EMBEDDED_LISTEN.trim_start_matches("http://");
    TcpListener::bind(address)
        .map_err(|error| format!("{EMBEDDED_LISTEN}: {error}; the embedded datastore listens there"))
}

/// Policy and routes of workloads.
pub fn felix(given: &Arc<Given>) -> Part {
    let given = given.clone();
    part("felix", move |shutdown| run_felix(given.clone(), shutdown))
}

/// Routes to and from others.
pub fn bgpd(given: &Arc<Given>) -> Part {
    let given = given.clone();
    part("bgpd", move |shutdown| run_bgpd(given.clone(), shutdown))
}

/// Attaching and detaching workloads, for CNI plugins that ask.
pub fn cni(given: &Arc<Given>) -> Part {
    let given = given.clone();
    part("cni", move |shutdown| serve_cni(given.clone(), shutdown))
}

fn part<F>(name: &'static str, run: impl Fn(Shutdown) -> F + Send + 'static) -> Part
where
    F: Future<Output = Result<(), String>> + 'static,
{
    let run = move |shutdown| -> LocalBoxFuture<'static, _> { Box::pin(run(shutdown)) };
    Part { name, run: Box::new(run) }
}

fn words(error: impl std::fmt::Display) -> String {
    error.to_string()
}

async fn serve_store(
    directory: PathBuf,
    held: Option<std::io::Result<TcpListener>>,
    shutdown: Shutdown,
) -> Result<(), String> {
    let listener = match held {
        Some(held) => held.map_err(words)?,
        None => bind_datastore()?,
    };
    listener.set_nonblocking(true).map_err(words)?;
    let listener = tokio::net::TcpListener::from_std(listener).map_err(words)?;
    let server = etcd_lite::Server::open(etcd_lite::Options::new(directory)).map_err(words)?;
    let result = tokio::select! {
        result = server.serve(listener, EMBEDDED_LISTEN, None) => result.map_err(words),
        () = server.ended() => Err("its store has died; the log says why".to_owned()),
        () = shutdown.wait() => Ok(()),
    };
    server.stop();
    result
}

/// Felix, as ADD waits for it.
struct Felix {
    node: String,
    acknowledger: felix::Acknowledger,
}

impl cni_host::Dataplane for Felix {
    fn node(&self) -> &str {
        &self.node
    }

    fn in_force(&self, written: mvcc::Event) -> BoxFuture<'_, ()> {
        Box::pin(self.acknowledger.in_force(written))
    }
}

async fn serve_cni(given: Arc<Given>, shutdown: Shutdown) -> Result<(), String> {
    let Given { config, acknowledger, health, .. } = &*given;
    let agent = cni_host::Agent::open(&config.attachments).map_err(words)?;
    let felix = Felix { node: config.name.clone(), acknowledger: acknowledger.clone() };
    let listener = match &config.sockets.cni {
        Some(held) => held.try_clone().map_err(words)?,
        None => observe::socket::listen(&config.run.join(CNI_SOCKET)).map_err(words)?,
    };
    let served =
        cni_host::server::serve(listener, agent, Some(Arc::new(felix)), health.clone(), shutdown).await;
    served.map_err(words)
}

async fn run_felix(given: Arc<Given>, shutdown: Shutdown) -> Result<(), String> {
    let config = &given.config;
    let kernel = config.namespaces.current().map_err(words)?;
    let netfilter = NetfilterOf(kernel.netns().clone());
    let flows = Conntrack::open(kernel.netns()).map_err(words)?;
    let felix = felix::Config {
        node: config.name.clone(),
        local: config.felix.clone(),
        store: datastore::connect(&given.connection).map_err(words)?,
        source: "etcd".to_owned(),
        snapshot: Some(given.snapshot("felix")),
        kernel,
        netfilter: Box::new(netfilter),
        flows: Box::new(flows),
        socket: config.run.join("felix.sock"),
        mtu_file: config.mtu_file.clone(),
        health: given.health.clone(),
        acknowledger: given.acknowledger.clone(),
    };
    felix::run(felix, shutdown).await.map_err(words)
}

async fn run_bgpd(given: Arc<Given>, shutdown: Shutdown) -> Result<(), String> {
    let config = &given.config;
    let bgpd = bgpd::Config {
        node: config.name.clone(),
        store: datastore::connect(&given.connection).map_err(words)?,
        source: "etcd".to_owned(),
        snapshot: Some(given.snapshot("bgpd")),
        problems: None,
        kernel: config.namespaces.current().map_err(words)?,
        programs_kernel: true,
        socket: config.run.join("bgpd.sock"),
        router_id: given.router_id,
        secrets: config.secrets.clone(),
        endpoint_status: config.endpoint_status.clone(),
        health: given.health.clone(),
    };
    bgpd::run(bgpd, shutdown).await.map_err(words)
}
