//! `ocicat node run` in a sandbox: the agent that plugins ask.

use crate::node::{NAME, Node, PATIENCE, PLUGINS};
use crate::process::{Background, Ending, tool, wait_for};
use anyhow::{Context, Result};
use nix::sys::signal::Signal;
use std::fs;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::Command;

/// Where its words go.
const LOG: &str = "/run/agent.log";
/// Where it listens.
const SOCKET: &str = "/run/ocicat/cni.sock";

/// An agent in the background.
#[derive(Debug)]
pub struct NodeAgent(Background);

/// Gives the sandbox the interface that a node's address is found on.
///
/// # Errors
/// Those of `ip`.
pub fn uplink() -> Result<()> {
    for line in [
        "link add eth0 type veth peer name far",
        "addr add 192.0.2.11/24 dev eth0",
        "addr add 2001:db8::11/64 dev eth0 nodad",
        "link set eth0 up",
        "link set far up",
    ] {
        tool("ip", &line.split(' ').collect::<Vec<_>>())?;
    }
    Ok(())
}

impl NodeAgent {
    /// Starts it and waits until it listens; it dies at the failpoint, where one is named.
    ///
    /// # Errors
    /// It does not come; the text shows its log.
    pub fn start(node: &Node, failpoint: Option<&str>) -> Result<Self> {
        let mut command = Command::new(Path::new(PLUGINS).join("ocicat"));
        command.args(["node", "run", "--name", NAME]).env_remove("HOSTNAME").env_remove("NODENAME");
        command.env("DATASTORE_TYPE", "etcdv3").env("ETCD_ENDPOINTS", node.server().url());
        command.env("NO_DEFAULT_POOLS", "true").env("CALICO_NETWORKING_BACKEND", "none");
        command.envs(failpoint.map(|point| ("OCICAT_FAILPOINT", point)));
        let mut agent = Self(Background::start_logging(command, Path::new(LOG))?);
        wait_for("the agent's socket", PATIENCE, || {
            (agent.0.ended().is_some() || UnixStream::connect(SOCKET).is_ok()).then_some(())
        })?;
        match agent.0.ended() {
            None => Ok(agent),
            Some(ending) => anyhow::bail!("the agent ended with {ending}\n{}", log()),
        }
    }

    /// Waits until it has ended by itself.
    ///
    /// # Errors
    /// It runs on; the text shows its log.
    pub fn ended(&mut self) -> Result<Ending> {
        wait_for("the agent's end", PATIENCE, || self.0.ended()).with_context(log)
    }

    /// Whether it has ended.
    pub fn is_over(&mut self) -> bool {
        self.0.ended().is_some()
    }

    /// Kills it.
    ///
    /// # Errors
    /// It cannot be killed.
    pub fn kill(mut self) -> Result<()> {
        self.0.signal(Signal::SIGKILL)?;
        self.ended().map(drop)
    }
}

/// What agents of this sandbox have said.
pub fn log() -> String {
    fs::read_to_string(LOG).unwrap_or_default()
}
