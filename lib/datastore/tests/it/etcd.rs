//! A real etcd of its own for each test: loopback, free ports, a temporary directory.

use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// How long etcd may take to answer its first request.
const START: Duration = Duration::from_secs(30);

/// A running server, or one that was stopped and can go on with its data. Killed on drop.
pub(crate) struct Etcd {
    directory: TempDir,
    port: u16,
    peer_port: u16,
    tls: Option<Pki>,
    child: Option<Child>,
}

impl Etcd {
    /// A fresh server over plain HTTP.
    pub(crate) fn start() -> Self {
        Self::launch(None)
    }

    /// A fresh server that demands client certificates.
    pub(crate) fn start_tls() -> Self {
        let directory = TempDir::new().unwrap();
        let pki = Pki::new(directory.path());
        let mut etcd =
            Self { directory, port: free_port(), peer_port: free_port(), tls: Some(pki), child: None };
        etcd.resume();
        etcd
    }

    fn launch(tls: Option<Pki>) -> Self {
        let directory = TempDir::new().unwrap();
        let mut etcd = Self { directory, port: free_port(), peer_port: free_port(), tls, child: None };
        etcd.resume();
        etcd
    }

    pub(crate) fn url(&self) -> String {
        let scheme = if self.tls.is_some() { "https" } else { "http" };
        format!("{scheme}://127.0.0.1:{}", self.port)
    }

    pub(crate) fn pki(&self) -> &Pki {
        self.tls.as_ref().unwrap()
    }

    /// Kills the server as a power failure would.
    pub(crate) fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            child.kill().unwrap();
            child.wait().unwrap();
        }
    }

    /// Removes its data, as if another store came to the same address.
    pub(crate) fn forget(&self) {
        std::fs::remove_dir_all(self.directory.path().join("data")).unwrap();
    }

    /// Starts the server again on the same data and port.
    pub(crate) fn resume(&mut self) {
        let peer = format!("http://127.0.0.1:{}", self.peer_port);
        let mut command = Command::new("/usr/bin/etcd");
        command
            .args(["--name", "test", "--initial-cluster", &format!("test={peer}")])
            .args(["--initial-advertise-peer-urls", &peer, "--listen-peer-urls", &peer])
            .args(["--listen-client-urls", &self.url(), "--advertise-client-urls", &self.url()])
            .args(["--logger", "zap", "--log-level", "error"])
            .arg("--data-dir")
            .arg(self.directory.path().join("data"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        command.env_clear().env("PATH", "/usr/bin:/bin");
        if let Some(pki) = &self.tls {
            command.arg("--client-cert-auth").arg("--trusted-ca-file").arg(&pki.ca);
            command.arg("--cert-file").arg(&pki.server.0).arg("--key-file").arg(&pki.server.1);
        }
        let child = command.spawn().expect("cannot run /usr/bin/etcd: install package etcd-server");
        self.child = Some(child);
        let deadline = Instant::now() + START;
        // it listens before it is ready, and lets requests wait
        while TcpStream::connect(("127.0.0.1", self.port)).is_err() {
            assert!(Instant::now() < deadline, "etcd did not start");
            if let Some(status) = self.child.as_mut().unwrap().try_wait().unwrap() {
                panic!("etcd ended at once: {status}");
            }
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// Runs etcdctl; whether it succeeded, and what it printed.
    pub(crate) fn ctl(&self, arguments: &[&str]) -> (bool, String) {
        let mut command = Command::new("/usr/bin/etcdctl");
        command.env_clear().env("ETCDCTL_API", "3").args(["--endpoints", &self.url()]);
        if let Some(pki) = &self.tls {
            command
                .arg("--cacert")
                .arg(&pki.ca)
                .arg("--cert")
                .arg(&pki.client.0)
                .arg("--key")
                .arg(&pki.client.1);
        }
        let output = command
            .args(arguments)
            .output()
            .expect("cannot run /usr/bin/etcdctl: install package etcd-client");
        (output.status.success(), String::from_utf8_lossy(&output.stdout).into_owned())
    }

    /// Runs etcdctl and insists.
    pub(crate) fn must(&self, arguments: &[&str]) -> String {
        let (ok, text) = self.ctl(arguments);
        assert!(ok, "etcdctl {arguments:?}: {text}");
        text
    }
}

impl Drop for Etcd {
    fn drop(&mut self) {
        self.kill();
    }
}

fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

/// A small public key infrastructure: certificate and key of each, made by `openssl`.
pub(crate) struct Pki {
    pub(crate) ca: PathBuf,
    pub(crate) server: (PathBuf, PathBuf),
    pub(crate) client: (PathBuf, PathBuf),
    /// A client certificate by an authority nobody trusts.
    pub(crate) stranger: (PathBuf, PathBuf),
}

impl Pki {
    fn new(directory: &Path) -> Self {
        let ca = authority(directory, "ca");
        let other = authority(directory, "other");
        let server = leaf(
            directory,
            &ca,
            "server",
            "subjectAltName=IP:127.0.0.1\nextendedKeyUsage=serverAuth,clientAuth",
        );
        let client = leaf(directory, &ca, "client", "extendedKeyUsage=clientAuth");
        let stranger = leaf(directory, &other, "stranger", "extendedKeyUsage=clientAuth");
        Self { ca: ca.0, server, client, stranger }
    }
}

fn authority(directory: &Path, name: &str) -> (PathBuf, PathBuf) {
    let pair = (directory.join(format!("{name}.pem")), directory.join(format!("{name}.key")));
    openssl(&[
        "req",
        "-x509",
        "-newkey",
        "ec",
        "-pkeyopt",
        "ec_paramgen_curve:prime256v1",
        "-nodes",
        "-days",
        "2",
    ])
    .args(["-subj", &format!("/CN={name}")])
    .arg("-out")
    .arg(&pair.0)
    .arg("-keyout")
    .arg(&pair.1)
    .run();
    pair
}

fn leaf(directory: &Path, issuer: &(PathBuf, PathBuf), name: &str, extensions: &str) -> (PathBuf, PathBuf) {
    let pair = (directory.join(format!("{name}.pem")), directory.join(format!("{name}.key")));
    let (request, config) = (directory.join(format!("{name}.csr")), directory.join(format!("{name}.ext")));
    std::fs::write(&config, extensions).unwrap();
    openssl(&["req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"])
        .args(["-subj", &format!("/CN={name}")])
        .arg("-out")
        .arg(&request)
        .arg("-keyout")
        .arg(&pair.1)
        .run();
    openssl(&["x509", "-req", "-days", "2", "-CAcreateserial"])
        .arg("-in")
        .arg(&request)
        .arg("-CA")
        .arg(&issuer.0)
        .arg("-CAkey")
        .arg(&issuer.1)
        .arg("-extfile")
        .arg(&config)
        .arg("-out")
        .arg(&pair.0)
        .run();
    pair
}

fn openssl(arguments: &[&str]) -> Command {
    let mut command = Command::new("openssl");
    command.args(arguments);
    command
}

trait Run {
    fn run(&mut self);
}

impl Run for Command {
    fn run(&mut self) {
        let output = self.output().expect("cannot run openssl: install package openssl");
        assert!(output.status.success(), "{self:?}: {}", String::from_utf8_lossy(&output.stderr));
    }
}
