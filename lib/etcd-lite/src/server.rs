//! The server: opens a data directory, which it then has for itself, and answers etcd's clients.

use crate::auth::Users;
use crate::authority::Named;
use crate::cluster::Urls;
use crate::disk::{self, Disk, DiskError};
use crate::dispatch::Dispatch;
use crate::engine::{Settings, Source};
use crate::gather::Gathered;
use crate::jobs::{Engine, Owner};
use crate::metrics::Traffic;
use etcd_client::{Channel, Client};
use futures::StreamExt;
use mvcc::Limits;
use nix::fcntl::{Flock, FlockArg};
use std::fs::{DirBuilder, File};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpListener;
use tonic::transport::server::TcpIncoming;
use tonic::transport::{Certificate, Identity, ServerTlsConfig};
use tower::ServiceExt;
use tower::util::BoxCloneSyncService;

/// Who has a data directory holds a lock on this file in it.
const LOCK: &str = "lock";
/// How long superseded values are kept: what the Kubernetes API server asks of its etcd. In memory and on disk history would
/// grow without bound where nobody compacts.
const RETENTION: Duration = Duration::from_secs(300);
/// How often etcd tells an idle watch of its progress.
const PROGRESS: Duration = Duration::from_secs(600);

/// How to open a store.
#[derive(Debug)]
pub struct Options {
    /// Directory of the database; made when it is not there.
    pub data_dir: PathBuf,
    /// Size in bytes at which writes are refused; `None` for the size of the disk.
    pub quota: Option<u64>,
    /// Who may log in; `None` lets everybody do everything.
    pub users: Option<Users>,
    /// How often an idle watch that asked for it is told of its progress.
    pub progress_interval: Duration,
    /// How long history is kept at least before it is compacted without being asked; `None` for ever, as etcd does.
    pub retention: Option<Duration>,
}

impl Options {
    /// A store in `data_dir` with etcd's defaults, except that it keeps history for five minutes.
    pub fn new(data_dir: impl Into<PathBuf>) -> Self {
        Self {
            data_dir: data_dir.into(),
            quota: None,
            users: None,
            progress_interval: PROGRESS,
            retention: Some(RETENTION),
        }
    }
}

/// Certificates of the server, PEM.
#[derive(Clone)]
pub struct Tls {
    /// The server's certificate.
    pub certificate: String,
    /// Its key.
    pub key: String,
    /// Clients must have a certificate of this authority.
    pub client_ca: Option<String>,
}

/// Why there is no server.
#[derive(Debug, thiserror::Error)]
pub enum ServerError {
    /// Another process has the directory.
    #[error("{} is in use by another process: a data directory has one server; stop that one, or give another directory", .0.display())]
    InUse(PathBuf),
    /// The directory.
    #[error("{}: {source}", .path.display())]
    Directory {
        /// Which.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The database.
    #[error(transparent)]
    Disk(#[from] DiskError),
    /// Certificates that cannot be used, or a socket that failed.
    #[error("cannot serve: {0}")]
    Serve(String),
}

/// A lock on a data directory, held as long as it lives.
#[derive(Debug)]
pub struct DirectoryLock {
    _file: Flock<File>,
}

impl DirectoryLock {
    /// Takes it.
    ///
    /// # Errors
    /// Another process has it, or the directory cannot be written.
    pub fn take(directory: &Path) -> Result<Self, ServerError> {
        let failed = |source| ServerError::Directory { path: directory.to_path_buf(), source };
        DirBuilder::new().recursive(true).mode(0o700).create(directory).map_err(failed)?;
        let file = File::options()
            .create(true)
            .truncate(false)
            .write(true)
            .open(directory.join(LOCK))
            .map_err(failed)?;
        match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
            Ok(file) => Ok(Self { _file: file }),
            Err((_, nix::errno::Errno::EWOULDBLOCK)) => Err(ServerError::InUse(directory.to_path_buf())),
            Err((_, errno)) => Err(failed(errno.into())),
        }
    }
}

/// An open store. [`Server::client`] is the way to it from the same process, [`Server::serve`] from others.
pub struct Server {
    engine: Engine,
    owner: Owner,
    dispatch: Dispatch,
    urls: Urls,
    traffic: Arc<Traffic>,
    _lock: DirectoryLock,
}

impl Server {
    /// Opens the store, or makes one. Blocks while it is read.
    ///
    /// # Errors
    /// The directory is in use or cannot be written; the database is damaged or foreign, and is left as it is.
    pub fn open(options: Options) -> Result<Self, ServerError> {
        let directory = options.data_dir;
        let lock = DirectoryLock::take(&directory)?;
        let settings = Settings {
            limits: Limits::default(),
            quota: options.quota,
            progress: options.progress_interval,
            retention: options.retention,
        };
        let (engine, owner, _) = Engine::start(source(directory), settings)?;
        let (urls, traffic) = (Urls::default(), Arc::new(Traffic::default()));
        let dispatch =
            Dispatch::new(&engine, options.users.map(Arc::new), Arc::clone(&urls), Arc::clone(&traffic));
        Ok(Self { engine, owner, dispatch, urls, traffic, _lock: lock })
    }

    /// A client in this process: requests do not leave it.
    ///
    /// # Errors
    /// The client library refuses, which it has no reason to.
    pub async fn client(&self) -> Result<Client, etcd_client::Error> {
        let service = self.dispatch.clone().map_err(Into::into);
        Client::from_channel(Channel::Custom(BoxCloneSyncService::new(service)), None).await
    }

    /// Answers clients that connect to `listener` for as long as it is polled. `url` is what it is told to clients as.
    ///
    /// # Errors
    /// Certificates that cannot be used, a socket that fails.
    pub async fn serve(
        &self,
        listener: TcpListener,
        url: &str,
        tls: Option<&Tls>,
    ) -> Result<(), ServerError> {
        let failed = |error: tonic::transport::Error| ServerError::Serve(chain(&error));
        if let Ok(mut urls) = self.urls.write() {
            urls.push(url.to_owned());
        }
        let mut server = tonic::transport::Server::builder()
            .accept_http1(true)
            // a watch is a stream that stays
            .max_concurrent_streams(Some(u32::MAX));
        if let Some(tls) = tls {
            let mut config = ServerTlsConfig::new().identity(Identity::from_pem(&tls.certificate, &tls.key));
            if let Some(authority) = &tls.client_ca {
                config = config.client_ca_root(Certificate::from_pem(authority));
            }
            server = server.tls_config(config).map_err(failed)?;
        }
        let incoming = TcpIncoming::from(listener).with_nodelay(Some(true)).map(|taken| {
            taken.map(|connection| Named::new(Gathered::new(connection), Arc::clone(&self.traffic)))
        });
        server.serve_with_incoming(self.dispatch.clone(), incoming).await.map_err(failed)
    }

    /// Waits until nothing that is asked is answered any more, by an error of this program.
    pub async fn ended(&self) {
        self.owner.ended().await;
    }

    /// Ends in order: everything answered is on disk in any case, and what is left of each lease is kept too.
    pub fn stop(self) {
        let _ = self.engine.after_commit(crate::engine::Core::end);
        self.owner.join();
    }
}

fn source(directory: PathBuf) -> Source {
    let (for_free, for_size) = (directory.clone(), directory.join(disk::FILE));
    Source {
        open: Box::new(move || Disk::open(&directory)),
        free: Box::new(move || {
            let space = nix::sys::statvfs::statvfs(&for_free).ok()?;
            Some(space.blocks_available() * space.fragment_size())
        }),
        size: Box::new(move || std::fs::metadata(&for_size).map_or(0, |meta| meta.len())),
    }
}

fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}
