//! A real etcd, or our own store in its place, and a view of it that shares no code with the product.

use crate::binaries::{Build, programs};
use crate::process::{Background, Ending, wait_for};
use anyhow::{Context, Result, bail};
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use nix::sys::signal::Signal;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::Command;
use std::time::Duration;

/// Where Debian's package puts the server.
const SERVER: &str = "/usr/bin/etcd";

/// With this variable set to `embedded` tests run on our own store instead.
const STORE: &str = "OCICAT_TEST_STORE";

/// One answer must come within this time.
const ANSWER: Duration = Duration::from_secs(10);

/// A stored value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stored {
    /// Value as text; bytes that are no UTF-8 are replaced.
    pub value: String,
    /// Revision of the last write.
    pub revision: i64,
    /// Bound to a lease.
    pub lease: bool,
}

/// All keys at one moment.
pub type Snapshot = BTreeMap<String, Stored>;

/// What changed from one snapshot to the next. A write of an equal value is no change.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Changes {
    /// New and changed keys with their values.
    pub put: BTreeMap<String, String>,
    /// Keys that are gone.
    pub del: Vec<String>,
}

/// What led from `before` to `after`.
pub fn changes(before: &Snapshot, after: &Snapshot) -> Changes {
    let put = after
        .iter()
        .filter(|(key, now)| {
            before.get(*key).is_none_or(|then| then.value != now.value || then.lease != now.lease)
        })
        .map(|(key, now)| (key.clone(), now.value.clone()))
        .collect();
    let del = before.keys().filter(|key| !after.contains_key(*key)).cloned().collect();
    Changes { put, del }
}

/// A client that speaks etcd's JSON gateway over plain HTTP, one connection a request.
#[derive(Debug, Clone)]
pub struct Client {
    address: SocketAddr,
}

impl Client {
    /// A client of the server at `address`.
    pub fn new(address: SocketAddr) -> Self {
        Self { address }
    }

    /// Every key and value.
    ///
    /// # Errors
    /// The server does not answer, or not with JSON.
    pub fn snapshot(&self) -> Result<Snapshot> {
        let answer = self.call("/v3/kv/range", &json!({"key": encode("\0"), "range_end": encode("\0")}))?;
        let mut all = Snapshot::new();
        for entry in answer["kvs"].as_array().into_iter().flatten() {
            let stored = Stored {
                value: decode(&entry["value"])?,
                revision: entry["mod_revision"].as_str().unwrap_or("0").parse()?,
                lease: entry["lease"].as_str().is_some_and(|lease| lease != "0"),
            };
            all.insert(decode(&entry["key"])?, stored);
        }
        Ok(all)
    }

    /// Writes one key.
    ///
    /// # Errors
    /// The server does not answer or refuses.
    pub fn put(&self, key: &str, value: &str) -> Result<()> {
        self.call("/v3/kv/put", &json!({"key": encode(key), "value": encode(value)})).map(drop)
    }

    /// Removes one key, there or not.
    ///
    /// # Errors
    /// The server does not answer or refuses.
    pub fn delete(&self, key: &str) -> Result<()> {
        self.call("/v3/kv/deleterange", &json!({"key": encode(key)})).map(drop)
    }

    /// Removes every key.
    ///
    /// # Errors
    /// The server does not answer or refuses.
    pub fn reset(&self) -> Result<()> {
        self.call("/v3/kv/deleterange", &json!({"key": encode("\0"), "range_end": encode("\0")})).map(drop)
    }

    /// Forgets every revision before the present one.
    ///
    /// # Errors
    /// The server does not answer or refuses.
    pub fn compact(&self) -> Result<()> {
        let revision = self.revision()?;
        self.call("/v3/kv/compaction", &json!({"revision": revision.to_string(), "physical": true})).map(drop)
    }

    /// The store's present revision: how many transactions have written.
    ///
    /// # Errors
    /// The server does not answer.
    pub fn revision(&self) -> Result<i64> {
        let now = self.call("/v3/kv/range", &json!({"key": encode("\0")}))?;
        Ok(now["header"]["revision"].as_str().unwrap_or_default().parse()?)
    }

    /// Whether the server says that it can be used; it does so to those too who may not read anything.
    pub fn healthy(&self) -> bool {
        self.get("/health").is_ok_and(|(_, text)| text.contains("\"health\":\"true\""))
    }

    /// Status and content of what the server answers to a plain GET.
    ///
    /// # Errors
    /// The server does not answer.
    pub fn get(&self, path: &str) -> Result<(u16, String)> {
        self.http("GET", path, "")
    }

    /// Its metrics in Prometheus' text format.
    ///
    /// # Errors
    /// The server does not answer.
    pub fn metrics(&self) -> Result<String> {
        Ok(self.get("/metrics")?.1)
    }

    /// How many unary requests of each gRPC method the server has handled, from its metrics.
    ///
    /// # Errors
    /// The server does not answer.
    pub fn handled(&self) -> Result<BTreeMap<String, u64>> {
        let text = self.metrics()?;
        let mut counts = BTreeMap::new();
        for line in text.lines().filter(|line| line.starts_with("grpc_server_handled_total{")) {
            let (labels, number) = line.rsplit_once(' ').context("a metric without value")?;
            let method = labels.split("grpc_method=\"").nth(1).and_then(|rest| rest.split('"').next());
            let count: f64 = number.parse()?;
            if let Some(method) = method.filter(|_| count > 0.0) {
                *counts.entry(method.to_owned()).or_default() += count as u64;
            }
        }
        Ok(counts)
    }

    fn call(&self, path: &str, body: &Value) -> Result<Value> {
        let (_, text) = self.http("POST", path, &body.to_string())?;
        let answer: Value = serde_json::from_str(&text).with_context(|| format!("{path}: {text}"))?;
        if let Some(error) = answer.get("error").and_then(Value::as_str) {
            bail!("etcd {path}: {error}");
        }
        Ok(answer)
    }

    fn http(&self, method: &str, path: &str, body: &str) -> Result<(u16, String)> {
        let mut stream = TcpStream::connect_timeout(&self.address, ANSWER)
            .with_context(|| format!("etcd at {}", self.address))?;
        stream.set_read_timeout(Some(ANSWER))?;
        // HTTP/1.0: the answer ends with the connection, no chunks to put together.
        write!(
            stream,
            "{method} {path} HTTP/1.0\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        )?;
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer)?;
        let answer = String::from_utf8_lossy(&answer).into_owned();
        let (head, content) = answer.split_once("\r\n\r\n").context("etcd: no HTTP answer")?;
        let status = head.split(' ').nth(1).and_then(|word| word.parse().ok()).context("etcd: no status")?;
        Ok((status, content.to_owned()))
    }
}

fn encode(text: &str) -> String {
    BASE64_STANDARD.encode(text)
}

fn decode(field: &Value) -> Result<String> {
    let bytes = BASE64_STANDARD.decode(field.as_str().unwrap_or_default())?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// Which server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Store {
    /// Debian's etcd.
    Etcd,
    /// Our own.
    Embedded,
}

impl Store {
    /// What the environment asks tests to run on.
    pub fn wanted() -> Self {
        match std::env::var_os(STORE) {
            Some(store) if store == "embedded" => Store::Embedded,
            _ => Store::Etcd,
        }
    }
}

/// A running server; dropped, it is killed. Its data directory belongs to the caller.
#[derive(Debug)]
pub struct Server {
    process: Background,
    /// A client of it.
    pub client: Client,
    address: SocketAddr,
}

impl Server {
    /// Starts a server whose clients connect to `address`; `data` is an empty directory.
    ///
    /// # Errors
    /// Package `etcd-server` is missing, or the server does not answer within 20 s.
    pub fn start(data: &Path, address: SocketAddr) -> Result<Self> {
        Self::start_with(data, address, "http", &[])
    }

    /// Like [`Server::start`] on a free port of loopback.
    ///
    /// # Errors
    /// As [`Server::start`].
    pub fn start_anywhere(data: &Path) -> Result<Self> {
        let start = || Self::start(data, free_port()?);
        // a port that was free may be somebody else's by then; etcd has noted its address all the same
        start().or_else(|_| {
            let _ = std::fs::remove_dir_all(data.join("member"));
            start()
        })
    }

    /// Like [`Server::start`], with more arguments (`--cert-file=…`); with scheme `https` it is not waited for beyond its
    /// port, since only the caller has the certificates.
    ///
    /// # Errors
    /// As [`Server::start`].
    pub fn start_with(data: &Path, address: SocketAddr, scheme: &str, more: &[String]) -> Result<Self> {
        Self::start_as(Store::wanted(), data, address, scheme, more)
    }

    /// Like [`Server::start_with`], of this store.
    ///
    /// # Errors
    /// As [`Server::start`].
    pub fn start_as(
        store: Store,
        data: &Path,
        address: SocketAddr,
        scheme: &str,
        more: &[String],
    ) -> Result<Self> {
        let clients = format!("{scheme}://{address}");
        if store == Store::Embedded {
            return Self::await_answer(embedded(data, &clients, more)?, address, scheme);
        }
        if !Path::new(SERVER).exists() {
            bail!("{SERVER} is missing: install package etcd-server");
        }
        let peers = format!("http://{}", free_port()?);
        let mut command = Command::new(SERVER);
        command
            .env_clear()
            .arg(format!("--data-dir={}", data.display()))
            .args([format!("--listen-client-urls={clients}"), format!("--advertise-client-urls={clients}")])
            .args([format!("--listen-peer-urls={peers}"), format!("--initial-advertise-peer-urls={peers}")])
            .arg(format!("--initial-cluster=default={peers}"))
            .args(["--log-level=error", "--logger=zap"])
            .args(more);
        Self::await_answer(command, address, scheme)
    }

    fn await_answer(command: Command, address: SocketAddr, scheme: &str) -> Result<Self> {
        let mut server = Self { process: Background::start(command)?, client: Client::new(address), address };
        wait_for("etcd's first answer", Duration::from_secs(20), || {
            if server.process.ended().is_some() {
                return Some(false);
            }
            let up = match scheme {
                "http" => server.client.healthy(),
                _ => TcpStream::connect(address).is_ok(),
            };
            up.then_some(true)
        })
        .and_then(|up| if up { Ok(()) } else { bail!("etcd ended at once; is {address} taken?") })?;
        Ok(server)
    }

    /// Where clients connect.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// `http://…` of it.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Ends it in order, as an operator does, and waits for its end.
    ///
    /// # Errors
    /// It does not end within 60 s, or not with success.
    pub fn stop(mut self) -> Result<()> {
        self.process.signal(Signal::SIGTERM)?;
        let ending = wait_for("the server's end", Duration::from_secs(60), || self.process.ended())?;
        match ending {
            // etcd ends with the signal that it was sent
            Ending::Exit(0) | Ending::Signal(15) => Ok(()),
            other => bail!("the server ended with {other}"),
        }
    }

    /// The process, to stop or to continue it.
    pub fn process(&self) -> &Background {
        &self.process
    }
}

/// Our own store in etcd's place; `more` are etcd's flags for certificates.
fn embedded(data: &Path, url: &str, more: &[String]) -> Result<Command> {
    let mut command = Command::new(programs(Build::Plain)?.join("ocicat"));
    command.env_clear().args(["datastore", "--listen", url, "--data-dir"]).arg(data);
    for flag in more {
        match flag.split_once('=') {
            Some(("--cert-file", file)) => command.args(["--cert", file]),
            Some(("--key-file", file)) => command.args(["--key", file]),
            Some(("--trusted-ca-file", file)) => command.args(["--client-ca", file]),
            // ours, where etcd has commands
            Some((flag @ ("--users" | "--quota" | "--auto-compaction-retention"), value)) => {
                command.args([flag, value])
            }
            // what that flag asks for follows from --client-ca
            _ if flag.starts_with("--client-cert-auth") => &mut command,
            _ => bail!("the embedded store has nothing for etcd's {flag}"),
        };
    }
    Ok(command)
}

/// A port of loopback that nobody listens on now.
///
/// # Errors
/// No port is free.
pub fn free_port() -> Result<SocketAddr> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stored(value: &str) -> Stored {
        Stored { value: value.to_owned(), revision: 1, lease: false }
    }

    #[test]
    fn changes_are_new_changed_and_gone_keys() {
        let before = Snapshot::from([
            ("same".to_owned(), stored("1")),
            ("changed".to_owned(), stored("1")),
            ("gone".to_owned(), stored("1")),
        ]);
        let after = Snapshot::from([
            ("same".to_owned(), Stored { revision: 9, ..stored("1") }),
            ("changed".to_owned(), stored("2")),
            ("new".to_owned(), stored("3")),
        ]);
        let found = changes(&before, &after);
        assert_eq!(found.put.keys().map(String::as_str).collect::<Vec<_>>(), ["changed", "new"]);
        assert_eq!(found.del, ["gone"]);
        assert_eq!(changes(&after, &after), Changes::default());
    }

    #[test]
    fn a_real_server_stores_shows_counts_and_forgets() {
        let data = tempfile::tempdir().unwrap();
        let server = Server::start_anywhere(data.path()).unwrap();
        let client = &server.client;
        client.put("/a", "größer").unwrap();
        client.put("/b", "{}").unwrap();
        let first = client.snapshot().unwrap();
        assert_eq!(first["/a"].value, "größer");
        client.delete("/a").unwrap();
        client.compact().unwrap();
        assert_eq!(changes(&first, &client.snapshot().unwrap()).del, ["/a"]);
        assert!(client.handled().unwrap()["Put"] >= 2);
        client.reset().unwrap();
        assert!(client.snapshot().unwrap().is_empty());
    }
}
