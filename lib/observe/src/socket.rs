//! The local gRPC socket of a process: each part adds its service, `ocicat` commands dial it.
//!
//! Only root can connect (mode 0600). A stale socket file of a dead process is replaced; one that answers is
//! somebody's, and refused.

use crate::health::Health;
use crate::metrics::{Metrics, Shown};
use crate::proto::observe_server::{Observe, ObserveServer};
use crate::proto::{HealthRequest, HealthResponse, MetricsRequest, MetricsResponse, Part};
use crate::shutdown::Shutdown;
use nix::errno::Errno;
use nix::sys::socket::{AddressFamily, SockFlag, SockType, UnixAddr, connect, socket};
use std::os::fd::AsRawFd;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};
use tokio::net::UnixStream;
use tokio_stream::wrappers::UnixListenerStream;
use tonic::service::{Routes, RoutesBuilder};
use tonic::transport::{Channel, Endpoint, Server};
use tonic::{Request, Response, Status};

/// How long questions under way may take at the end, and whoever holds a connection open without asking.
const DRAIN: Duration = Duration::from_secs(2);

/// Why the socket cannot be served or dialled.
#[derive(Debug, thiserror::Error)]
pub enum SocketError {
    /// Another process answers there.
    #[error("{path}: another process is listening; stop it or choose another socket")]
    InUse {
        /// The socket.
        path: PathBuf,
    },
    /// It cannot be made.
    #[error("{path}: {source}")]
    Bind {
        /// The socket.
        path: PathBuf,
        /// The system's words.
        source: std::io::Error,
    },
    /// Nothing answers there.
    #[error("{path}: {reason}; is the agent running on this node?")]
    Dial {
        /// The socket.
        path: PathBuf,
        /// The system's words.
        reason: String,
    },
    /// The task that serves it died.
    #[error("the local socket's server died: {0}")]
    Died(String),
    /// The server failed while running.
    #[error("{path}: {source}")]
    Serve {
        /// The socket.
        path: PathBuf,
        /// The library's words.
        source: tonic::transport::Error,
    },
}

/// Makes a socket that only root can connect to, in the place of one that nobody serves. It needs no runtime, so that whoever
/// holds it for a process that is away can make it.
///
/// # Errors
/// When another process listens there or the file cannot be made.
pub fn listen(path: &Path) -> Result<UnixListener, SocketError> {
    if is_served(path) {
        return Err(SocketError::InUse { path: path.to_owned() });
    }
    let make = || {
        match std::fs::remove_file(path) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        path.parent().map_or(Ok(()), std::fs::create_dir_all)?;
        let listener = UnixListener::bind(path)?;
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600))?;
        Ok(listener)
    };
    make().map_err(|source| SocketError::Bind { path: path.to_owned(), source })
}

/// Whether somebody listens there; one whose queue is full does too.
fn is_served(path: &Path) -> bool {
    let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
    let Ok(socket) = socket(AddressFamily::Unix, SockType::Stream, flags, None) else { return false };
    let Ok(address) = UnixAddr::new(path) else { return false };
    matches!(connect(socket.as_raw_fd(), &address), Ok(()) | Err(Errno::EAGAIN))
}

/// A socket about to be served.
pub struct LocalSocket {
    path: PathBuf,
    listener: tokio::net::UnixListener,
    routes: RoutesBuilder,
}

impl LocalSocket {
    /// [`listen`]s at `path`, with health and metrics as its first service. Within a tokio runtime.
    ///
    /// # Errors
    /// Those of `listen`.
    pub fn bind(path: &Path, health: Health, metrics: Option<Metrics>) -> Result<Self, SocketError> {
        let listener = listen(path)?;
        let bind = |source| SocketError::Bind { path: path.to_owned(), source };
        listener.set_nonblocking(true).map_err(bind)?;
        let listener = tokio::net::UnixListener::from_std(listener).map_err(bind)?;
        let mut routes = Routes::builder();
        routes.add_service(ObserveServer::new(Service { health, metrics }));
        Ok(Self { path: path.to_owned(), listener, routes })
    }

    /// The routes, for a part to add its service.
    pub fn routes(&mut self) -> &mut RoutesBuilder {
        &mut self.routes
    }

    /// Serves while a part works; however that ends, `shutdown` is triggered for this reason and the file removed.
    ///
    /// # Errors
    /// What the part ends with; else that the server failed.
    pub async fn serve_while<T, E: From<SocketError>>(
        self,
        shutdown: &Shutdown,
        reason: &str,
        part: impl Future<Output = Result<T, E>>,
    ) -> Result<T, E> {
        let server = tokio::spawn(self.serve(shutdown.clone()));
        let ended = part.await;
        shutdown.trigger(reason);
        let served = server.await.map_err(|error| SocketError::Died(error.to_string()))?;
        let done = ended?;
        served.map_err(E::from).map(|()| done)
    }

    /// Serves until `shutdown` fires, lets questions under way end within 2 seconds, then removes the file.
    ///
    /// # Errors
    /// When the server fails.
    pub async fn serve(self, shutdown: Shutdown) -> Result<(), SocketError> {
        let ends = shutdown.clone();
        let serving = Server::builder().add_routes(self.routes.routes()).serve_with_incoming_shutdown(
            UnixListenerStream::new(self.listener),
            async move {
                ends.wait().await;
            },
        );
        let overdue = async {
            shutdown.wait().await;
            tokio::time::sleep(DRAIN).await;
        };
        let served = tokio::select! {
            served = serving => served,
            () = overdue => Ok(()),
        };
        // the next start replaces what cannot be removed now
        let _ = std::fs::remove_file(&self.path);
        served.map_err(|source| SocketError::Serve { path: self.path, source })
    }
}

/// Dials a local socket.
///
/// # Errors
/// When nothing answers.
pub async fn dial(path: &Path) -> Result<Channel, SocketError> {
    let target = path.to_owned();
    let connector = tower::service_fn(move |_| {
        let target = target.clone();
        async move { UnixStream::connect(target).await.map(hyper_util::rt::TokioIo::new) }
    });
    // the address is never looked at: the connector knows the path
    Endpoint::from_static("http://localhost").connect_with_connector(connector).await.map_err(|error| {
        let reason = std::error::Error::source(&error).map_or_else(|| error.to_string(), ToString::to_string);
        SocketError::Dial { path: path.to_owned(), reason }
    })
}

struct Service {
    health: Health,
    metrics: Option<Metrics>,
}

#[tonic::async_trait]
impl Observe for Service {
    async fn health(&self, _: Request<HealthRequest>) -> Result<Response<HealthResponse>, Status> {
        let parts: Vec<Part> = self
            .health
            .parts(Instant::now())
            .into_iter()
            .map(|part| Part {
                name: part.name,
                live: part.report.live,
                ready: part.report.ready,
                reason: part.report.reason,
                age_ms: part.age.map_or(u64::MAX, |age| u64::try_from(age.as_millis()).unwrap_or(u64::MAX)),
            })
            .collect();
        let (live, ready) = (parts.iter().all(|p| p.live), parts.iter().all(|p| p.ready));
        Ok(Response::new(HealthResponse { live, ready, parts }))
    }

    async fn metrics(&self, _: Request<MetricsRequest>) -> Result<Response<MetricsResponse>, Status> {
        let metrics = self.metrics.as_ref().ok_or_else(|| Status::unavailable("metrics are switched off"))?;
        Ok(Response::new(MetricsResponse { text: metrics.read(Shown::All).await }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::health::Report;
    use crate::proto::observe_client::ObserveClient;

    #[test]
    fn one_that_answers_nobody_is_served_however_many_wait() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("run/cni.sock");
        let held = listen(&path).unwrap();
        nix::sys::socket::listen(&held, nix::sys::socket::Backlog::new(0).unwrap()).unwrap();
        let _waits = std::os::unix::net::UnixStream::connect(&path).unwrap();
        let reason = listen(&path).unwrap_err().to_string();
        assert!(reason.contains("another process is listening"), "{reason}");
        drop(held);
        listen(&path).unwrap();
    }

    #[test]
    fn a_socket_serves_health_refuses_a_second_server_and_replaces_a_stale_file() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("run/ocicat.sock");
        runtime.block_on(async {
            let bounded = tokio::time::timeout(Duration::from_secs(20), async {
                let error = dial(&path).await.unwrap_err().to_string();
                assert!(error.contains("ocicat.sock") && error.contains("is the agent running"), "{error}");

                let health = Health::default();
                let part = health.register("felix", None);
                part.report(Report::not_ready("resync"), Instant::now());
                let shutdown = Shutdown::default();
                let socket = LocalSocket::bind(&path, health, None).unwrap();
                assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
                let server = tokio::spawn(socket.serve(shutdown.clone()));

                let mut client = ObserveClient::new(dial(&path).await.unwrap());
                let answer = client.health(HealthRequest {}).await.unwrap().into_inner();
                assert!(answer.live && !answer.ready);
                assert_eq!(answer.parts[0].reason, "resync");
                let status = client.metrics(MetricsRequest {}).await.unwrap_err();
                assert_eq!(status.code(), tonic::Code::Unavailable);

                let second = LocalSocket::bind(&path, Health::default(), None);
                assert!(matches!(second, Err(SocketError::InUse { .. })));

                // Neither who still holds a connection nor who never said a word keeps the process from ending.
                let silent = UnixStream::connect(&path).await.unwrap();
                shutdown.trigger("test over");
                server.await.unwrap().unwrap();
                assert!(!path.exists());
                drop((client, silent));

                drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
                assert!(path.exists(), "a dead process left its file");
                LocalSocket::bind(&path, Health::default(), None).unwrap();
            });
            bounded.await.unwrap();
        });
    }
}
