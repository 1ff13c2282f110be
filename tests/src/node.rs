//! A node as a container runtime sees it: etcd, pools, a Node of its name, and plugins to execute.

use crate::etcd::Server;
use crate::process::{Output, run, wait_for};
use crate::sandbox;
use crate::verifier::{KernelView, verify};
use anyhow::{Context, Result, bail};
use nix::sys::signal::Signal;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::fs;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

/// The node's name.
pub const NAME: &str = "node-1";

/// What one program may take before a test calls it hanging.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// Where a sandbox has the plugins.
pub const PLUGINS: &str = "/opt/cni/bin";

/// Pools of most tests: enough for many workloads in each family, in blocks of 16.
const POOLS: [Pool<'_>; 2] = [("four", "10.64.0.0/20", 28), ("six", "fd5f:64::/112", 124)];

/// A workload `web1` of the node, labelled `app: web`, with a profile that lets everything pass.
pub const WEB: &str = "
apiVersion: projectcalico.org/v3
kind: Profile
metadata: {name: open}
spec: {ingress: [{action: Allow}], egress: [{action: Allow}]}
---
apiVersion: projectcalico.org/v3
kind: WorkloadEndpoint
metadata: {name: node--1-cni-web1-eth0, namespace: default, labels: {app: web}}
spec:
  node: node-1
  orchestrator: cni
  containerID: web1
  endpoint: eth0
  interfaceName: caliweb1
  mac: 0a:00:00:00:01:6f
  ipNetworks: [10.64.0.2/32, 'fd5f:64::2/128']
  profiles: [open]
";

/// An IP pool: its name, its addresses, and the prefix length of its blocks.
pub type Pool<'a> = (&'a str, &'a str, u8);

/// The documents of nodes and pools that have nothing else to say.
pub fn documents(nodes: &[impl AsRef<str>], pools: &[Pool<'_>]) -> String {
    let document = |kind, name: &str, spec: String| {
        format!("{{apiVersion: projectcalico.org/v3, kind: {kind}, metadata: {{name: {name}}}{spec}}}\n---\n")
    };
    let nodes = nodes.iter().map(|name| document("Node", name.as_ref(), String::new()));
    let pools = pools.iter().map(|(name, cidr, size)| {
        document("IPPool", name, format!(", spec: {{cidr: '{cidr}', blockSize: {size}}}"))
    });
    nodes.chain(pools).collect()
}

/// A node with its store. Lives on a thread inside a sandbox.
#[derive(Debug)]
pub struct Node {
    server: Server,
}

/// One container that plugins are run for.
#[derive(Debug, Clone)]
pub struct Container {
    /// `CNI_CONTAINERID`.
    pub id: String,
    /// Name of its network namespace.
    pub netns: String,
}

impl Container {
    /// A container with a new namespace.
    ///
    /// # Errors
    /// The namespace cannot be made.
    pub fn start(id: &str) -> Result<Self> {
        sandbox::add_netns(id)?;
        Ok(Self { id: id.to_owned(), netns: id.to_owned() })
    }
}

impl Node {
    /// Starts etcd at its usual address and writes the node and two pools, one a family.
    ///
    /// # Errors
    /// etcd does not start, or `ocicat` refuses the pools.
    pub fn start() -> Result<Self> {
        let node = Self::without_resources()?;
        node.apply(&documents(&[NAME], &POOLS))?;
        Ok(node)
    }

    /// Starts etcd and writes nothing into it.
    ///
    /// # Errors
    /// etcd does not start.
    pub fn without_resources() -> Result<Self> {
        let data = Path::new("/run/etcd");
        fs::create_dir_all(data)?;
        fs::create_dir_all("/var/lib/calico")?;
        fs::write("/var/lib/calico/nodename", NAME)?;
        Ok(Self { server: Server::start(data, SocketAddr::from(([127, 0, 0, 1], 2379)))? })
    }

    /// Starts the store's server again on what it had, whether it runs or was killed.
    ///
    /// # Errors
    /// It does not start.
    pub fn restart_store(&mut self) -> Result<()> {
        let address = self.server.address();
        let _ = self.server.process().signal(Signal::SIGKILL);
        wait_for("the end of etcd", PATIENCE, || (!self.server.client.healthy()).then_some(()))?;
        self.server = Server::start(Path::new("/run/etcd"), address)?;
        Ok(())
    }

    /// The store's server.
    pub fn server(&self) -> &Server {
        &self.server
    }

    /// Runs `ocicat` against the store.
    ///
    /// # Errors
    /// It cannot be started.
    pub fn ocicat(&self, arguments: &[&str], stdin: &str) -> Result<Output> {
        let mut command = Command::new(Path::new(PLUGINS).join("ocicat"));
        command.args(arguments).env("DATASTORE_TYPE", "etcdv3").env("ETCD_ENDPOINTS", self.server.url());
        run(command, stdin, PATIENCE)
    }

    /// Applies documents.
    ///
    /// # Errors
    /// `ocicat apply` refuses them.
    pub fn apply(&self, documents: &str) -> Result<()> {
        self.ocicat(&["apply", "-f", "-"], documents)?.expect_ok("ocicat apply").map(drop)
    }

    /// The usual network configuration: addresses of both families from any pool.
    pub fn configuration(&self) -> Value {
        json!({
            "cniVersion": "1.0.0",
            "name": "net-a",
            "type": "calico",
            "log_level": "error",
            "etcd_endpoints": self.server.url(),
            "ipam": {"type": "calico-ipam", "assign_ipv4": "true", "assign_ipv6": "true"},
        })
    }

    /// An execution of the plugin, as a container runtime does it.
    pub fn call(&self, verb: &str, container: &Container) -> Call {
        Call::new(verb, container, &self.configuration())
    }

    /// Runs ADD and returns the addresses given.
    ///
    /// # Errors
    /// It fails; the text shows what it said.
    pub fn add(&self, container: &Container) -> Result<Vec<IpAddr>> {
        let output = self.call("ADD", container).run()?;
        addresses(&output.expect_ok("ADD")?)
    }

    /// Runs DEL.
    ///
    /// # Errors
    /// It fails; the text shows what it said.
    pub fn del(&self, container: &Container) -> Result<()> {
        self.call("DEL", container).run()?.expect_ok("DEL").map(drop)
    }

    /// What hangs loose between store, node and all containers now.
    ///
    /// # Errors
    /// etcd or `ip` fails.
    pub fn loose(&self) -> Result<Vec<String>> {
        let kernel = KernelView::read(&sandbox::netns_names())?;
        Ok(verify(&self.server.client.snapshot()?, &kernel))
    }

    /// Fails, naming it, if anything hangs loose.
    ///
    /// # Errors
    /// Something does.
    pub fn assert_whole(&self, when: &str) -> Result<()> {
        let loose = self.loose()?;
        if loose.is_empty() {
            return Ok(());
        }
        bail!("{when}:\n  {}", loose.join("\n  "))
    }

    /// Waits until nobody holds anything, and nothing is left of who did.
    ///
    /// # Errors
    /// Something stays; the text names it.
    pub fn wait_for_nothing(&self, when: &str) -> Result<()> {
        let nothing = || (self.held().ok()?.is_empty() && self.loose().ok()?.is_empty()).then_some(());
        wait_for(when, PATIENCE, nothing).with_context(|| format!("{:?} {:?}", self.held(), self.loose()))
    }

    /// Handles and endpoints that are stored: what a workload holds.
    ///
    /// # Errors
    /// etcd fails.
    pub fn held(&self) -> Result<Vec<String>> {
        let holds = |key: &String| key.contains("/ipam/v2/handle/") || key.contains("/workloadendpoints/");
        Ok(self.server.client.snapshot()?.into_keys().filter(holds).collect())
    }
}

/// An execution that is not yet started.
#[derive(Debug, Clone)]
pub struct Call {
    /// The plugin.
    pub program: PathBuf,
    /// Network configuration.
    pub stdin: String,
    /// The whole environment.
    pub env: BTreeMap<String, String>,
}

impl Call {
    /// As a container runtime does it.
    pub fn new(verb: &str, container: &Container, configuration: &Value) -> Self {
        Self {
            program: Path::new(PLUGINS).join("calico"),
            stdin: configuration.to_string(),
            env: BTreeMap::from([
                ("CNI_COMMAND".to_owned(), verb.to_owned()),
                ("CNI_CONTAINERID".to_owned(), container.id.clone()),
                ("CNI_NETNS".to_owned(), format!("/var/run/netns/{}", container.netns)),
                ("CNI_IFNAME".to_owned(), "eth0".to_owned()),
                ("CNI_PATH".to_owned(), PLUGINS.to_owned()),
                ("PATH".to_owned(), "/usr/sbin:/usr/bin:/sbin:/bin".to_owned()),
            ]),
        }
    }

    /// With another program of the plugin directory.
    pub fn program(mut self, name: &str) -> Self {
        self.program = Path::new(PLUGINS).join(name);
        self
    }

    /// With one more variable, or another value of it.
    pub fn env(mut self, name: &str, value: &str) -> Self {
        self.env.insert(name.to_owned(), value.to_owned());
        self
    }

    /// With this configuration.
    pub fn configuration(mut self, configuration: &Value) -> Self {
        self.stdin = configuration.to_string();
        self
    }

    /// As a command, whose standard input is still to be given.
    pub fn command(&self) -> Command {
        let mut command = Command::new(&self.program);
        command.env_clear().envs(&self.env);
        command
    }

    /// Runs it.
    ///
    /// # Errors
    /// The plugin cannot be started.
    pub fn run(&self) -> Result<Output> {
        run(self.command(), &self.stdin, PATIENCE)
    }
}

/// The addresses of a CNI result of version 0.3.0 or later.
///
/// # Errors
/// It is no such result.
pub fn addresses(result: &str) -> Result<Vec<IpAddr>> {
    let result: Value = serde_json::from_str(result).with_context(|| format!("no CNI result: {result}"))?;
    let list = result["ips"].as_array().context("a result without ips")?;
    list.iter()
        .map(|entry| {
            let text = entry["address"].as_str().context("an address")?;
            let (address, _) = text.split_once('/').context("an address with its prefix")?;
            Ok(address.parse()?)
        })
        .collect()
}
