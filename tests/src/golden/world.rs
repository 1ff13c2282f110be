//! The host a case runs on: etcd at the recorded address, the recorded host's name, a container namespace or two.

use super::case::{Case, Dump, Step};
use crate::etcd::{Client, Server};
use crate::process::{Output, run, tool};
use crate::sandbox;
use anyhow::{Context, Result};
use std::collections::BTreeMap;
use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::process::Command;
use std::time::Duration;

/// Where the recordings reached etcd.
const ETCD: (Ipv4Addr, u16) = (Ipv4Addr::LOCALHOST, 2379);

/// The recording host's name.
pub const HOSTNAME: &str = "gold-host";

/// What a program may take; upstream was given the same before it counted as hanging.
const DEADLINE: Duration = Duration::from_secs(40);

/// A sandbox with etcd, reset for each case. Lives on a thread that entered [`sandbox::enter`] before.
#[derive(Debug)]
pub struct World {
    server: Server,
    bootstrap: BTreeMap<String, String>,
}

impl World {
    /// Starts etcd. `bootstrap` is what the first write into an empty store creates.
    ///
    /// # Errors
    /// Etcd does not start.
    pub fn start(bootstrap: BTreeMap<String, String>) -> Result<Self> {
        let data = Path::new("/run/etcd");
        fs::create_dir_all(data)?;
        let server = Server::start(data, SocketAddr::from(ETCD))?;
        Ok(Self { server, bootstrap })
    }

    /// The store.
    pub fn etcd(&self) -> &Client {
        &self.server.client
    }

    /// Makes everything as it was before the recording of `case`.
    ///
    /// # Errors
    /// A tool or etcd fails.
    pub fn reset(&self, path: &str, case: &Case) -> Result<()> {
        self.etcd().reset()?;
        if !starts_empty(path, case) {
            for (key, value) in &self.bootstrap {
                self.etcd().put(key, value)?;
            }
        }
        for directory in ["/var/lib/calico", "/var/lib/cni", "/var/log/calico", "/run/calico", "/run/work"] {
            let _ = fs::remove_dir_all(directory);
        }
        fs::create_dir_all("/var/lib/calico")?;
        fs::create_dir_all("/run/work")?;
        fs::write("/var/lib/calico/nodename", "node-1")?;
        for name in containers(case) {
            sandbox::add_netns(&name)?;
        }
        for link in host_links()? {
            // The other end's namespace may be on its way out, and take the link along at any moment.
            let _ = tool("ip", &["link", "del", &link]);
        }
        for forwarding in ["ipv4/ip_forward", "ipv6/conf/all/forwarding"] {
            fs::write(Path::new("/proc/sys/net").join(forwarding), "0")?;
        }
        Ok(())
    }

    /// Runs the step's program with its files, environment and input.
    ///
    /// # Errors
    /// The program cannot be started.
    pub fn run(&self, step: &Step) -> Result<Output> {
        let work = Path::new("/run/work");
        fs::remove_dir_all(work)?;
        fs::create_dir_all(work)?;
        for (name, content) in &step.files {
            let file = work.join(name);
            fs::create_dir_all(file.parent().context("a file's directory")?)?;
            fs::write(file, content)?;
        }
        let (program, arguments) = step.run.split_first().context("a step with a program")?;
        let mut command = Command::new(Path::new("/opt/cni/bin").join(program));
        command.args(arguments).current_dir(work).env_clear();
        command.env("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin");
        if program == "calicoctl" {
            command.env("DATASTORE_TYPE", "etcdv3").env("ETCD_ENDPOINTS", self.server.url());
            // The recorded programs said they were this build, or none.
            let stamp = if step.stamped { "v3.33.0-0.dev 87c15906f20c" } else { "" };
            command.env("OCICAT_CALICOCTL_STAMP", stamp);
        }
        command.envs(&step.env);
        run(command, step.stdin.as_deref().unwrap_or_default(), DEADLINE)
    }

    /// Runs a step's `shell` command.
    ///
    /// # Errors
    /// It fails.
    pub fn shell(&self, script: &str) -> Result<()> {
        tool("sh", &["-c", script]).map(drop)
    }

    /// Files in the working directory that were not there before the step.
    ///
    /// # Errors
    /// One cannot be read as text.
    pub fn wrote(&self, step: &Step) -> Result<BTreeMap<String, String>> {
        let mut new = BTreeMap::new();
        for entry in fs::read_dir("/run/work")?.flatten() {
            let name = entry.file_name().to_string_lossy().into_owned();
            if entry.path().is_file() && !step.files.contains_key(&name) {
                new.insert(name, fs::read_to_string(entry.path())?);
            }
        }
        Ok(new)
    }

    /// The dump that a recording calls `name`, of a container's namespace or the host's.
    ///
    /// # Errors
    /// `ip` fails.
    pub fn dump(&self, netns: Option<&str>, name: &str, like: &Dump) -> Result<Dump> {
        if let Dump::Sysctls(names) = like {
            let mut values = BTreeMap::new();
            for sysctl in names.keys() {
                let value = sandbox::sysctl(netns, sysctl)?.unwrap_or_else(|| "absent".to_owned());
                values.insert(sysctl.clone(), value);
            }
            return Ok(Dump::Sysctls(values));
        }
        let what: &[&str] = match (name, netns) {
            ("ip link", _) => &["-d", "link", "show"],
            ("ip addr", _) => &["addr", "show"],
            ("ip route", Some(_)) => &["-4", "route", "show", "table", "all"],
            ("ip route", None) => &["route", "show"],
            ("ip -6 route", _) => &["-6", "route", "show"],
            _ => &["neigh", "show"],
        };
        let place: Vec<&str> = netns.map_or(Vec::new(), |netns| vec!["-n", netns]);
        let answer = tool("ip", &[&place, &["-j"][..], what].concat())?;
        let objects: Vec<serde_json::Value> = match answer.trim() {
            "" => Vec::new(),
            text => serde_json::from_str(text)?,
        };
        let lines = objects.iter().filter(|object| netns.is_some() || object["ifname"] != "lo");
        Ok(Dump::Lines(lines.map(|object| format!("{object}\n")).collect()))
    }
}

/// A store without even ClusterInformation: where the recording shows its creation, or the title says so.
fn starts_empty(path: &str, case: &Case) -> bool {
    let creates = |step: &Step| {
        step.etcd.iter().flat_map(|change| &change.put).any(|pair| pair.key.ends_with("/tiers/kube-admin"))
    };
    path.ends_with("/store-empty") || case.steps.iter().any(creates)
}

/// Namespaces that the case's container runtime had made: all that its programs are pointed at and that existed when the
/// kernel was dumped.
fn containers(case: &Case) -> Vec<String> {
    let mut names: Vec<String> = case
        .steps
        .iter()
        .filter(|step| step.run.first().is_some_and(|program| program == "calico"))
        .filter_map(container)
        .filter(|name| name != "nosuch")
        .collect();
    names.sort();
    names.dedup();
    names
}

/// The namespace a step's program is pointed at.
pub fn container(step: &Step) -> Option<String> {
    let path = step.env.get("CNI_NETNS")?.strip_prefix("/var/run/netns/")?;
    Some(path.to_owned())
}

/// The namespace that was dumped after a step: the one it is pointed at, else the case's usual one.
pub fn dumped_container(step: &Step) -> String {
    container(step).unwrap_or_else(|| "pod1".to_owned())
}

fn host_links() -> Result<Vec<String>> {
    let links: Vec<serde_json::Value> = serde_json::from_str(&tool("ip", &["-j", "link", "show"])?)?;
    let names = links.iter().filter_map(|link| link["ifname"].as_str());
    Ok(names.filter(|name| *name != "lo").map(str::to_owned).collect())
}
