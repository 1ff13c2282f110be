//! `ocicat bgpd` without etcd: resources in a directory, its answers as JSON.

use crate::node::PLUGINS;
use crate::process::{Background, run, wait_for};
use crate::router::table::{Entry, Family, Table};
use anyhow::{Context, Result, anyhow};
use serde_json::Value;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;
use tempfile::TempDir;

/// Until its socket answers, and for each question.
const PATIENCE: Duration = Duration::from_secs(30);

/// A running speaker in a named network namespace of a [`crate::sandbox`].
#[derive(Debug)]
pub struct Speaker {
    netns: String,
    node: String,
    options: Vec<String>,
    directory: TempDir,
    program: Option<Background>,
}

impl Speaker {
    /// Starts the speaker of a node and waits until it answers.
    ///
    /// # Errors
    /// It does not answer in time; the text shows what it logged.
    pub fn start(netns: &str, node: &str, resources: &str, options: &[&str]) -> Result<Self> {
        let directory = tempfile::Builder::new().prefix("speaker").tempdir()?;
        fs::create_dir_all(directory.path().join("resources"))?;
        fs::create_dir_all(directory.path().join("secrets"))?;
        let mut speaker = Self {
            netns: netns.to_owned(),
            node: node.to_owned(),
            options: options.iter().map(|option| (*option).to_owned()).collect(),
            directory,
            program: None,
        };
        speaker.set_resources(resources)?;
        speaker.launch()?;
        Ok(speaker)
    }

    /// Starts it again after [`Speaker::kill`].
    ///
    /// # Errors
    /// As [`Speaker::start`].
    pub fn launch(&mut self) -> Result<()> {
        let mut command = self.inside();
        command.args(["bgpd", "--node", &self.node, "--resources"]).arg(self.path("resources"));
        command.arg("--secrets").arg(self.path("secrets")).arg("--socket").arg(self.path("socket"));
        command.args(&self.options);
        self.program = Some(Background::start_logging(command, &self.path("log"))?);
        wait_for("the speaker's socket", PATIENCE, || {
            if self.program.as_mut().and_then(Background::ended).is_some() {
                return Some(Err(anyhow!("it ended")));
            }
            self.ask(&["status"]).ok().map(|_| Ok(()))
        })
        .flatten()
        .with_context(|| format!("ocicat bgpd said: {}", self.log()))
    }

    /// Ends it with `SIGKILL`.
    pub fn kill(&mut self) {
        self.program = None;
    }

    /// Replaces its resources; it follows them.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn set_resources(&self, resources: &str) -> Result<()> {
        let staged = self.path("resources.new");
        fs::write(&staged, resources)?;
        fs::rename(staged, self.path("resources/all.yaml"))?;
        Ok(())
    }

    /// Puts a password where it looks for Secrets.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn set_secret(&self, name: &str, key: &str, value: &str) -> Result<()> {
        let directory = self.path("secrets").join(name);
        fs::create_dir_all(&directory)?;
        fs::write(directory.join(key), value)?;
        Ok(())
    }

    /// `ocicat bgp … -o json`.
    ///
    /// # Errors
    /// It does not answer, or refuses the question.
    pub fn ask(&self, question: &[&str]) -> Result<Value> {
        let mut command = self.inside();
        command.arg("bgp").args(question).args(["-o", "json", "--socket"]).arg(self.path("socket"));
        let said = run(command, "", PATIENCE)?.expect_ok(&question.join(" "))?;
        serde_json::from_str(&said).with_context(|| format!("answer to {question:?}"))
    }

    /// Its sessions by the neighbour's address.
    ///
    /// # Errors
    /// As [`Speaker::ask`].
    pub fn peer(&self, address: &str) -> Result<Value> {
        let peers = self.ask(&["peers"])?;
        let found = peers.as_array().into_iter().flatten().find(|peer| peer["address"] == address);
        found.cloned().with_context(|| format!("no session with {address}: {peers}"))
    }

    /// Waits until the sessions with these addresses are up.
    ///
    /// # Errors
    /// They are not within half a minute; the text shows them all.
    pub fn wait_established(&self, addresses: &[&str]) -> Result<()> {
        let up = |address: &&str| self.peer(address).is_ok_and(|peer| peer["state"] == "Established");
        wait_for("sessions", PATIENCE, || addresses.iter().all(up).then_some(()))
            .with_context(|| format!("{:#}\n{}", self.ask(&["peers"]).unwrap_or_default(), self.log()))
    }

    /// Its best routes of a family that came by BGP.
    ///
    /// # Errors
    /// As [`Speaker::ask`].
    pub fn routes(&self, family: Family) -> Result<Table> {
        let routes = self.ask(&["routes"])?;
        let mut table = Table::new();
        for route in routes.as_array().into_iter().flatten() {
            let prefix = route["prefix"].as_str().unwrap_or_default();
            let next_hop = route["nextHop"].as_str().unwrap_or_default();
            if next_hop.is_empty() || prefix.contains(':') != (family == Family::Ipv6) {
                continue;
            }
            table.insert(prefix.to_owned(), vec![entry(route)]);
        }
        Ok(table)
    }

    /// A file of its directory.
    pub fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// Everything it logged.
    pub fn log(&self) -> String {
        fs::read_to_string(self.path("log")).unwrap_or_default()
    }

    /// The program, in its namespace.
    fn inside(&self) -> Command {
        let mut command = Command::new("ip");
        command.args(["netns", "exec", &self.netns]).arg(Path::new(PLUGINS).join("ocicat"));
        command
    }
}

fn entry(route: &Value) -> Entry {
    let all = route["communities"].as_str().unwrap_or_default();
    let (mut communities, mut large_communities) = (Vec::new(), Vec::new());
    for community in all.split_whitespace() {
        match community.matches(':').count() {
            1 => communities.push(community.to_owned()),
            _ => large_communities.push(community.to_owned()),
        }
    }
    communities.sort();
    large_communities.sort();
    Entry {
        next_hop: route["nextHop"].as_str().unwrap_or_default().to_owned(),
        as_path: route["asPath"].as_str().unwrap_or_default().to_owned(),
        local_pref: route["localPref"].as_u64(),
        med: route["med"].as_u64(),
        communities,
        large_communities,
        originator: None,
        clusters: Vec::new(),
    }
}
