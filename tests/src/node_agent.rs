//! `ocicat node run` in a sandbox: the agent that plugins ask.

use crate::node::{NAME, Node, PATIENCE, PLUGINS};
use crate::process::{Background, tool, wait_for};
use anyhow::{Context, Result};
use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use std::fs;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

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
        let variables: Vec<(&str, &str)> =
            failpoint.map(|point| ("OCICAT_FAILPOINT", point)).into_iter().collect();
        Self::start_with(node, &variables)
    }

    /// The same with more variables.
    ///
    /// # Errors
    /// It does not come; the text shows its log.
    pub fn start_with(node: &Node, variables: &[(&str, &str)]) -> Result<Self> {
        let mut command = Command::new(Path::new(PLUGINS).join("ocicat"));
        command.args(["node", "run", "--name", NAME]).env_remove("HOSTNAME").env_remove("NODENAME");
        command.env("DATASTORE_TYPE", "etcdv3").env("ETCD_ENDPOINTS", node.server().url());
        command.env("NO_DEFAULT_POOLS", "true").env("CALICO_NETWORKING_BACKEND", "none");
        command.envs(variables.iter().copied());
        let mut agent = Self(Background::start_logging(command, Path::new(LOG))?);
        wait_for("the agent's socket", PATIENCE, || {
            (agent.0.ended().is_some() || UnixStream::connect(SOCKET).is_ok()).then_some(())
        })?;
        match agent.0.ended() {
            None => Ok(agent),
            Some(ending) => anyhow::bail!("the agent ended with {ending}\n{}", log()),
        }
    }

    /// Kills it, and whoever would start it again.
    ///
    /// # Errors
    /// Something of it stays.
    pub fn kill(mut self) -> Result<()> {
        let group = Pid::from_raw(self.0.pid().cast_signed());
        killpg(group, Signal::SIGKILL)?;
        wait_for("the agent's end", PATIENCE, || self.0.ended())?;
        wait_for("the end of all it started", PATIENCE, || killpg(group, None).is_err().then_some(()))
    }
}

/// Waits until an agent has died at a failpoint, and forgets that.
///
/// # Errors
/// It did not come by it; the text shows its log.
pub fn died_at(failpoint: &str) -> Result<()> {
    died_at_within(failpoint, PATIENCE)
}

/// The same with another time until it counts as not coming.
///
/// # Errors
/// Those of [`died_at`].
pub fn died_at_within(failpoint: &str, time: Duration) -> Result<()> {
    let said = format!("died at failpoint {failpoint}\n");
    wait_for("its end", time, || log().contains(&said).then_some(())).with_context(log)?;
    Ok(fs::write(LOG, "")?)
}

/// Waits until the agent says that it enforces what the datastore holds, and everything that has been stored by now.
///
/// # Errors
/// It does not; the text shows its log.
pub fn enforces(node: &Node) -> Result<()> {
    let stored = node.server().client.revision()?;
    wait_for("the agent to enforce", PATIENCE, || {
        let status = node.ocicat(&["felix", "status", "-o", "json"], "").ok()?.stdout;
        let status: serde_json::Value = serde_json::from_str(&status).ok()?;
        (status["waiting"] == "" && status["enforcedRevision"].as_i64()? >= stored).then_some(())
    })
    .with_context(log)
}

/// What agents of this sandbox have said.
pub fn log() -> String {
    fs::read_to_string(LOG).unwrap_or_default()
}
