//! The node agent as an administrator sees it: `ocicat felix` in a node's namespaces, what it leaves in kernel, files and
//! store, and what Calico's agent left there for the same input.
//!
//! * [`Agent`] starts the program and waits until it says it is ready.
//! * [`between`]: what may stand between an agent and iptables' programs.
//! * [`dump`] looks at the kernel with iproute2 and `nft`, in the form of the recordings; [`members`] reads sets,
//!   [`tables`] those of the iptables backend.
//! * [`scenario`] replays a recording of `tests/golden/felix` and says what differs; [`differences`] is the one list of
//!   what differs on purpose.

pub mod between;
pub mod differences;
pub mod dump;
pub mod members;
pub mod scenario;
pub mod tables;

use crate::node::PLUGINS;
use crate::process::{Background, Ending, wait_for};
use anyhow::{Context, Result, bail};
use nix::sys::signal::Signal;
use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

/// What may judge packets: its name and the settings that ask for it.
pub const BACKENDS: [(&str, &[(&str, &str)]); 3] = [
    ("nftables", &[("FELIX_NFTABLESMODE", "Enabled")]),
    ("iptables (legacy)", &[("FELIX_NFTABLESMODE", "Disabled"), ("FELIX_IPTABLESBACKEND", "Legacy")]),
    ("iptables (nft)", &[("FELIX_NFTABLESMODE", "Disabled"), ("FELIX_IPTABLESBACKEND", "NFT")]),
];

/// Our own tables, in [`BACKENDS`].
pub const OWN: usize = 0;
/// The legacy variant of iptables.
pub const LEGACY: usize = 1;
/// The nft variant of iptables.
pub const NFT: usize = 2;
/// Both variants of iptables.
pub const VARIANTS: [usize; 2] = [LEGACY, NFT];

/// The settings of the one with this number, counted round, and its name.
pub fn backend(number: usize) -> (&'static str, Vec<(String, String)>) {
    let (name, settings) = BACKENDS[number % BACKENDS.len()];
    (name, settings.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect())
}

/// Where health is asked for, as by default.
const HEALTH: ([u8; 4], u16) = ([127, 0, 0, 1], 9099);

/// How long an agent may take until everything is enforced, on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// A running agent.
#[derive(Debug)]
pub struct Agent {
    process: Background,
    log: PathBuf,
    /// Where in the log its own words begin.
    begun: usize,
}

impl Agent {
    /// Starts it with the settings of the recordings and these, and waits until it is ready.
    ///
    /// # Errors
    /// It ends, or is not ready in time; the text has the end of its log.
    pub fn start(node: &str, store: &str, more: &[(String, String)]) -> Result<Self> {
        let agent = Self::begin(node, store, more)?;
        agent.ready()
    }

    /// Starts it and waits for nothing.
    ///
    /// # Errors
    /// It cannot be started.
    pub fn begin(node: &str, store: &str, more: &[(String, String)]) -> Result<Self> {
        Self::begin_under(&[], node, store, more)
    }

    /// The same, by a program that starts another (`strace`), with its arguments.
    ///
    /// # Errors
    /// It cannot be started.
    pub fn begin_under(wrapper: &[&str], node: &str, store: &str, more: &[(String, String)]) -> Result<Self> {
        let log = Path::new("/run/felix.log").to_path_buf();
        let program = Path::new(PLUGINS).join("ocicat");
        let mut command = match wrapper.split_first() {
            Some((first, rest)) => {
                let mut command = Command::new(first);
                command.args(rest).arg(program);
                command
            }
            None => Command::new(program),
        };
        command
            .arg("felix")
            .env("DATASTORE_TYPE", "etcdv3")
            .env("ETCD_ENDPOINTS", store)
            .env("FELIX_FELIXHOSTNAME", node)
            .env("FELIX_HEALTHENABLED", "true")
            .env("FELIX_USAGEREPORTINGENABLED", "false")
            .envs(more.iter().map(|(name, value)| (name, value)));
        let begun = fs::read_to_string(&log).unwrap_or_default().len();
        let process = Background::start_logging(command, &log)?;
        Ok(Self { process, log, begun })
    }

    /// Waits until it is ready.
    ///
    /// # Errors
    /// As [`Agent::start`].
    pub fn ready(mut self) -> Result<Self> {
        let mut ended = None;
        let waited = wait_for("the agent's readiness", PATIENCE, || {
            ended = self.process.ended();
            (ended.is_some() || self.enforces() || is_ready()).then_some(())
        });
        match (waited, ended) {
            (Ok(()), None) => Ok(self),
            (_, Some(ending)) => bail!("the agent ended with {ending}\n{}", self.log()),
            (Err(error), None) => Err(error).with_context(|| self.log()),
        }
    }

    /// Whether it has said that it enforces what is stored. A host endpoint of every interface closes loopback too, and
    /// with it the way to its health report.
    fn enforces(&self) -> bool {
        let text = fs::read_to_string(&self.log).unwrap_or_default();
        text.get(self.begun..)
            .is_some_and(|text| text.contains("this node enforces what the datastore holds"))
    }

    /// Its process.
    pub fn process(&self) -> &Background {
        &self.process
    }

    /// Kills it, as a crash would, and waits for its end.
    ///
    /// # Errors
    /// It does not end.
    pub fn kill(mut self) -> Result<()> {
        self.process.signal(Signal::SIGKILL)?;
        wait_for("the agent's end", PATIENCE, || self.process.ended()).map(|_: Ending| ())
    }

    /// The last lines of its log.
    pub fn log(&self) -> String {
        let text = fs::read_to_string(&self.log).unwrap_or_default();
        let lines: Vec<&str> = text.lines().collect();
        lines[lines.len().saturating_sub(40)..].join("\n")
    }
}

/// Whether readiness is reported, in the calling thread's namespace.
pub fn is_ready() -> bool {
    let ask = || -> Result<String> {
        let mut stream = TcpStream::connect_timeout(&SocketAddr::from(HEALTH), Duration::from_secs(1))?;
        stream.set_read_timeout(Some(Duration::from_secs(2)))?;
        stream.write_all(b"GET /readiness HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        Ok(answer)
    };
    let answer = ask().unwrap_or_default();
    answer.starts_with("HTTP/1.1 200") || answer.starts_with("HTTP/1.1 204")
}
