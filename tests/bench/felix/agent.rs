//! `ocicat felix`, or the whole agent of a node, on a [`Host`].

use super::host::Host;
use super::state::NODE;
use crate::usage;
use anyhow::{Context, Result, bail};
use nix::sys::signal::Signal;
use ocicat_tests::node::PLUGINS;
use ocicat_tests::process::Background;
use ocicat_tests::sandbox::in_netns;
use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

/// Where the agent says whether it is ready, by default.
const HEALTH: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 9099);

/// How often readiness is asked for.
const POLL: Duration = Duration::from_millis(2);

/// Where its log goes.
const LOG: &str = "/run/bench-agent.log";

/// A running agent.
#[derive(Debug)]
pub struct Agent<'a> {
    process: Background,
    host: &'a Host,
    started: Instant,
}

impl<'a> Agent<'a> {
    /// Starts it.
    ///
    /// # Errors
    /// The program cannot be started.
    pub fn start(host: &'a Host, store: &str) -> Result<Self> {
        Self::start_with(host, store, &[])
    }

    /// Starts it with these settings besides.
    ///
    /// # Errors
    /// The program cannot be started.
    pub fn start_with(host: &'a Host, store: &str, settings: &[(&str, &str)]) -> Result<Self> {
        Self::execute(host, store, &["felix"], settings)
    }

    /// Starts the whole agent of the node, felix one of its parts.
    ///
    /// # Errors
    /// The program cannot be started.
    pub fn start_node(host: &'a Host, store: &str, settings: &[(&str, &str)]) -> Result<Self> {
        Self::execute(host, store, &["node", "run", "--name", NODE], settings)
    }

    fn execute(host: &'a Host, store: &str, arguments: &[&str], settings: &[(&str, &str)]) -> Result<Self> {
        let mut command = Command::new(Path::new(PLUGINS).join("ocicat"));
        command
            .args(arguments)
            .env("DATASTORE_TYPE", "etcdv3")
            .env("ETCD_ENDPOINTS", store)
            .env("FELIX_FELIXHOSTNAME", NODE)
            .env("FELIX_HEALTHENABLED", "true")
            .env("FELIX_IPV6SUPPORT", "false")
            .envs(settings.iter().copied());
        let started = Instant::now();
        // A child is born into the namespace of the thread that starts it.
        let process = in_netns(host.name(), || Background::start_logging(command, Path::new(LOG)))??;
        Ok(Self { process, host, started })
    }

    /// Time from its start until it says that it enforces what the store held.
    ///
    /// # Errors
    /// It ends, or is not ready in time.
    pub fn ready(&mut self, patience: Duration) -> Result<Duration> {
        loop {
            let answer =
                in_netns(self.host.name(), || -> Option<String> { http(HEALTH, "/readiness").ok() })?;
            let took = self.started.elapsed();
            if answer.as_deref().is_some_and(|text| text.contains(" 200 ") || text.contains(" 204 ")) {
                return Ok(took);
            }
            if let Some(ending) = self.process.ended() {
                bail!("the agent ended: {ending}\n{}", self.log());
            }
            if took > patience {
                bail!(
                    "the agent is not ready after {took:.1?}: {}\n{}",
                    answer.unwrap_or_default(),
                    self.log()
                );
            }
            thread::sleep(POLL);
        }
    }

    /// When it was started.
    pub fn started(&self) -> Instant {
        self.started
    }

    /// Kills it and waits for its end.
    ///
    /// # Errors
    /// It is gone already.
    pub fn kill(self) -> Result<()> {
        self.process.signal(Signal::SIGKILL)
    }

    /// See [`usage::memory`].
    ///
    /// # Errors
    /// It has ended.
    pub fn memory(&self, what: &str) -> Result<f64> {
        usage::memory(&[self.process.pid()], what)
    }

    /// See [`usage::cpu`].
    ///
    /// # Errors
    /// It has ended.
    pub fn cpu(&self) -> Result<f64> {
        usage::cpu(&[self.process.pid()])
    }

    /// Its process.
    pub fn pid(&self) -> u32 {
        self.process.pid()
    }

    /// Whether it has had child processes that have ended.
    ///
    /// # Errors
    /// It has ended.
    pub fn had_children(&self) -> Result<bool> {
        Ok(self.faults_of_children()? != 0)
    }

    /// Page faults of child processes that have ended: each has some, so with each that ends there are more.
    ///
    /// # Errors
    /// It has ended.
    pub fn faults_of_children(&self) -> Result<u64> {
        // `cminflt` of proc(5)
        self.stat(11)
    }

    /// Processor time of child processes that have ended, in seconds.
    ///
    /// # Errors
    /// It has ended.
    pub fn cpu_of_children(&self) -> Result<f64> {
        // `cutime` and `cstime`, in ticks
        let ticks = nix::unistd::sysconf(nix::unistd::SysconfVar::CLK_TCK)?.context("no clock")?;
        Ok((self.stat(16)? + self.stat(17)?) as f64 / ticks as f64)
    }

    /// A field of `/proc/PID/stat`, by its number in proc(5).
    fn stat(&self, number: usize) -> Result<u64> {
        let stat = usage::proc(self.process.pid(), "stat")?;
        let fields = stat.rsplit(')').next().unwrap_or_default();
        // the third is the first behind the name
        Ok(fields.split_whitespace().nth(number - 3).context("a cut stat")?.parse()?)
    }

    fn log(&self) -> String {
        let text = fs::read_to_string(LOG).unwrap_or_default();
        let lines: Vec<&str> = text.lines().collect();
        lines.iter().rev().take(20).rev().copied().collect::<Vec<_>>().join("\n")
    }
}

fn http(address: SocketAddr, path: &str) -> Result<String> {
    let mut stream = TcpStream::connect_timeout(&address, Duration::from_secs(1))?;
    stream.set_read_timeout(Some(Duration::from_secs(5)))?;
    write!(stream, "GET {path} HTTP/1.0\r\nHost: localhost\r\n\r\n")?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    Ok(answer)
}
