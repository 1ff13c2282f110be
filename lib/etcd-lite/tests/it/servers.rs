//! The two servers: Debian's etcd as a process, ours in this one, both on loopback ports of their own.

use etcd_client::Client;
use etcd_lite::{Options, Server, Users};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};
use tempfile::TempDir;

const PATIENCE: Duration = Duration::from_secs(30);

pub(crate) fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

/// A directory in memory, where syncing costs nothing.
pub(crate) fn quick_directory() -> TempDir {
    TempDir::new_in("/dev/shm").unwrap()
}

pub(crate) struct Etcd {
    child: Child,
    pub(crate) url: String,
    _data: TempDir,
}

impl Etcd {
    pub(crate) fn start() -> Self {
        let data = quick_directory();
        let (port, peer) = (free_port(), format!("http://127.0.0.1:{}", free_port()));
        let url = format!("http://127.0.0.1:{port}");
        let child = Command::new("/usr/bin/etcd")
            .env_clear()
            .args(["--listen-client-urls", &url, "--advertise-client-urls", &url])
            .args(["--listen-peer-urls", &peer, "--initial-advertise-peer-urls", &peer])
            .args([
                "--initial-cluster",
                &format!("default={peer}"),
                "--logger",
                "zap",
                "--log-level",
                "error",
            ])
            .arg("--data-dir")
            .arg(data.path())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("cannot run /usr/bin/etcd: install package etcd-server");
        let deadline = Instant::now() + PATIENCE;
        while TcpStream::connect(("127.0.0.1", port)).is_err() {
            assert!(Instant::now() < deadline, "etcd did not start");
            std::thread::sleep(Duration::from_millis(10));
        }
        Self { child, url, _data: data }
    }
}

impl Drop for Etcd {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Ours, on a thread of its own.
pub(crate) struct Ours {
    pub(crate) url: String,
    stop: Option<tokio::sync::oneshot::Sender<()>>,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl Ours {
    pub(crate) fn start(directory: &Path) -> Self {
        // history goes when a test says so
        Self::start_with(Options { retention: None, ..Options::new(directory) })
    }

    pub(crate) fn with_users(directory: &Path, users: &str) -> Self {
        let users = Some(Users::parse(users).unwrap());
        Self::start_with(Options { users, ..Options::new(directory) })
    }

    pub(crate) fn start_with(options: Options) -> Self {
        let server = Server::open(options).unwrap();
        let port = free_port();
        let url = format!("http://127.0.0.1:{port}");
        let (stop, stopped) = tokio::sync::oneshot::channel();
        let (told, ready) = std::sync::mpsc::channel();
        let own = url.clone();
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                let listener = tokio::net::TcpListener::bind(("127.0.0.1", port)).await.unwrap();
                told.send(()).unwrap();
                tokio::select! {
                    result = server.serve(listener, &own, None) => result.unwrap(),
                    _ = stopped => {}
                }
            });
            server.stop();
        });
        ready.recv_timeout(PATIENCE).unwrap();
        Self { url, stop: Some(stop), thread: Some(thread) }
    }

    /// An orderly end.
    pub(crate) fn stop(mut self) {
        self.finish();
    }

    fn finish(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

impl Drop for Ours {
    fn drop(&mut self) {
        self.finish();
    }
}

pub(crate) async fn connect(url: &str) -> Client {
    Client::connect([url], None).await.unwrap()
}

/// Debian's etcdctl.
pub(crate) fn etcdctl(url: &str, words: &[&str]) -> Output {
    Command::new("/usr/bin/etcdctl")
        .env_clear()
        .env("ETCDCTL_API", "3")
        .args(["--endpoints", url])
        .args(words)
        .output()
        .expect("cannot run /usr/bin/etcdctl: install package etcd-client")
}

/// What etcdctl printed; it must have succeeded.
pub(crate) fn must(url: &str, words: &[&str]) -> String {
    let output = etcdctl(url, words);
    assert!(output.status.success(), "etcdctl {words:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).into_owned()
}
