//! A recorded scenario: the host as it was, the documents, our agent, and what it leaves beside what Calico's left.

use super::differences::DIFFERENCES;
use super::{Agent, dump, members, tables};
use crate::etcd::Snapshot;
use crate::node::{NAME, Node};
use crate::policy::object::{prefix, text, texts};
use crate::policy::stage::batch;
use crate::sandbox;
use anyhow::{Context, Result};
use serde::Deserialize;
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

/// What the agent may still do after it is ready (its status keys are written after a delay).
const SETTLING: Duration = Duration::from_secs(15);

/// `case.yaml`, as `tests/golden/README.md` describes it.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Scenario {
    /// Its name.
    pub case: String,
    /// What it is about.
    pub about: String,
    /// Settings beside the common ones.
    pub agent_environment: BTreeMap<String, String>,
    /// The documents loaded.
    pub datastore: String,
    /// Host ends of pairs that were up.
    pub workload_links: Vec<String>,
    /// How blocks came to be, where there are some.
    #[serde(default)]
    pub blocks: String,
    /// Commands run while the agent ran.
    #[serde(default)]
    pub then: Vec<Vec<String>>,
}

/// Where the recordings are.
pub fn directory() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("golden/felix")
}

/// A copy of the recordings that can be read inside a sandbox, whose directories may hide the original.
#[derive(Debug, Clone)]
pub struct Recording {
    /// The scenario.
    pub scenario: Scenario,
    /// Files by name (`routes.txt`, `before-routes.txt`).
    pub files: BTreeMap<String, String>,
    /// The variant of iptables it was recorded with; `None` for nftables.
    pub variant: Option<&'static str>,
}

/// All scenarios that were recorded with nftables, and those of which only the input is of use: there Calico's agent
/// gave up. VXLAN's are left out.
///
/// # Errors
/// A file cannot be read.
pub fn all() -> Result<Vec<Recording>> {
    // what does not depend on the backend was recorded once where there is no directory for nftables
    recorded(&["nftables", "iptables"], None)
}

/// All scenarios that were recorded with a variant of iptables, by its folder and its programs' name: of the nft variant
/// few are, whose others look as those of the legacy variant. VXLAN's are left out.
///
/// # Errors
/// A file cannot be read.
pub fn of_iptables(folder: &str, variant: &'static str) -> Result<Vec<Recording>> {
    recorded(&[folder, "iptables", "nftables"], Some(variant))
}

fn recorded(folders: &[&str], variant: Option<&'static str>) -> Result<Vec<Recording>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(directory())? {
        let path = entry?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if name.contains("vxlan") || !path.is_dir() {
            continue;
        }
        let text = fs::read_to_string(path.join("case.yaml")).with_context(|| name.clone())?;
        let scenario: Scenario = serde_saphyr::from_str(&text).with_context(|| name.clone())?;
        let backend = folders.iter().map(|backend| path.join(backend)).find(|one| one.is_dir());
        let mut files = BTreeMap::new();
        for file in fs::read_dir(backend.with_context(|| name.clone())?)? {
            let file = file?;
            files.insert(file.file_name().to_string_lossy().into_owned(), fs::read_to_string(file.path())?);
        }
        found.push(Recording { scenario, files, variant });
    }
    found.sort_by(|one, other| one.scenario.case.cmp(&other.scenario.case));
    Ok(found)
}

/// Sets the recorded host up in the calling thread's sandbox: two interfaces and the workloads' pairs.
fn set_up(scenario: &Scenario) -> Result<()> {
    fs::write("/proc/sys/net/ipv4/conf/default/rp_filter", "0")?;
    let mut text = String::new();
    sandbox::add_netns("outside")?;
    for (name, address, mac) in
        [("eth0", "192.0.2.11/24", "02:00:00:00:00:10"), ("eth1", "198.51.100.11/24", "02:00:00:00:00:11")]
    {
        writeln!(text, "link add {name} type veth peer name {name} netns outside")?;
        writeln!(text, "link set {name} address {mac} up\naddr add {address} dev {name}")?;
    }
    writeln!(text, "addr add 2001:db8::11/64 dev eth0 nodad")?;
    for link in &scenario.workload_links {
        writeln!(text, "link add {link} type veth peer name {link} netns outside")?;
        writeln!(text, "link set {link} address ee:ee:ee:ee:ee:ee up")?;
    }
    batch(None, &text)?;
    let names = ["eth0", "eth1"].into_iter().chain(scenario.workload_links.iter().map(String::as_str));
    let up: String = names.map(|name| format!("link set {name} up\n")).collect();
    batch(Some("outside"), &up)
}

/// Replays a scenario in the calling thread's sandbox; what differs from the recording, those on the list apart, and which
/// entries of the list were met.
///
/// # Errors
/// A step fails.
pub fn replay(recording: &Recording) -> Result<(Vec<String>, BTreeSet<usize>)> {
    let scenario = &recording.scenario;
    let node = Node::without_resources()?;
    set_up(scenario)?;
    node.apply(&scenario.datastore)?;
    if !scenario.blocks.is_empty() {
        blocks(&node)?;
    }
    let mut environment: Vec<(String, String)> =
        scenario.agent_environment.iter().map(|(name, value)| (name.clone(), value.clone())).collect();
    if let Some(variant) = recording.variant {
        environment.push(("FELIX_NFTABLESMODE".to_owned(), "Disabled".to_owned()));
        environment.push(("FELIX_IPTABLESBACKEND".to_owned(), variant.to_owned()));
    }
    let agent = Agent::start(NAME, &node.server().url(), &environment)?;
    let mut met = BTreeSet::new();
    let mut wrong = Vec::new();
    if !scenario.then.is_empty() {
        wrong.extend(settled(recording, "before-", &node, &mut met)?);
        for command in &scenario.then {
            let words: Vec<&str> = command.iter().map(String::as_str).collect();
            node.ocicat(&words, "")?.expect_ok(&words.join(" "))?;
        }
    }
    wrong.extend(settled(recording, "", &node, &mut met)?);
    if !wrong.is_empty() {
        wrong.push(format!("the agent's log:\n{}", agent.log()));
    }
    Ok((wrong, met))
}

/// The blocks of the endpoints' addresses, as the IPAM plugin left them: one a workload, of its node.
fn blocks(node: &Node) -> Result<()> {
    for (key, stored) in node.server().client.snapshot()? {
        if !key.contains("/workloadendpoints/") {
            continue;
        }
        let endpoint: Value = serde_json::from_str(&stored.value)?;
        let spec = &endpoint["spec"];
        for address in texts(spec, "ipNetworks").filter_map(prefix) {
            let Some(block) = address.widen(address.prefix() - 6) else { continue };
            let ordinal = block.offset_of(address.addr());
            let taken = |place: &u128| Some(*place) == ordinal;
            let allocations: Vec<Value> =
                (0..block.size()).map(|place| if taken(&place) { json!(0) } else { Value::Null }).collect();
            let free: Vec<u64> = (0..block.size())
                .filter(|place| !taken(place))
                .filter_map(|place| place.try_into().ok())
                .collect();
            let value = json!({
                "cidr": block.to_string(),
                "affinity": format!("host:{}", text(spec, "node")),
                "allocations": allocations,
                "unallocated": free,
                "attributes": [{"handle_id": text(spec, "containerID"), "secondary": {"node": text(spec, "node")}}],
                "sequenceNumber": 1,
                "deleted": false,
            });
            let family = block.family().number();
            let key = format!("/calico/ipam/v2/assignment/ipv{family}/block/{}", block.dashed());
            node.server().client.put(&key, &value.to_string())?;
        }
    }
    Ok(())
}

/// What differs once nothing changes any more, or at the deadline.
fn settled(
    recording: &Recording,
    prefix: &str,
    node: &Node,
    met: &mut BTreeSet<usize>,
) -> Result<Vec<String>> {
    let started = Instant::now();
    loop {
        let mut now = BTreeSet::new();
        let wrong = compare(recording, prefix, &node.server().client.snapshot()?, &mut now)?;
        if wrong.is_empty() || started.elapsed() > SETTLING {
            met.extend(now);
            return Ok(wrong);
        }
        thread::sleep(Duration::from_millis(100));
    }
}

fn compare(
    recording: &Recording,
    prefix: &str,
    store: &Snapshot,
    met: &mut BTreeSet<usize>,
) -> Result<Vec<String>> {
    let file = |name: &str| recording.files.get(&format!("{prefix}{name}"));
    let mut all = Vec::new();
    if let Some(text) = file("routes.txt") {
        let wanted = dump::recorded(text, |section, object| {
            let rewritten = DIFFERENCES.iter().enumerate().filter(|(_, one)| (one.rewrite)(section, object));
            met.extend(rewritten.map(|(place, _)| place));
        })?;
        all.extend(dump::difference(&wanted, &dump::here()?));
    }
    if let Some(text) = file("sysctl.txt") {
        let other = dump::other_sysctls(text).into_iter();
        all.extend(
            other.map(|(path, wanted, found)| format!("sysctl {path}: recorded {wanted}, is {found}")),
        );
    }
    if let Some(text) = file("status.txt") {
        all.extend(status(text, store));
    }
    if let Some(text) = file("nft.txt") {
        let (wanted, found) = (members::recorded(text), members::here()?);
        let sets: BTreeSet<_> = wanted.keys().chain(found.keys()).collect();
        for (family, id) in sets {
            let of = |sets: &members::Sets| sets.get(&(*family, id.clone())).cloned();
            // a set without members may be there or not
            if of(&wanted).unwrap_or_default() != of(&found).unwrap_or_default() {
                let (wanted, found) = (of(&wanted), of(&found));
                all.push(format!("set {id} of IPv{family}: recorded {wanted:?}, is {found:?}"));
            }
        }
    }
    for name in tables::FILES {
        if let (Some(text), Some(variant)) = (file(name), recording.variant) {
            all.extend(tables::difference(&recording.scenario.case, name, text, variant)?);
        }
    }
    Ok(all)
}

/// Endpoint-status files, the MTU file, and the agent's keys.
fn status(recorded: &str, store: &Snapshot) -> Vec<String> {
    let mut lines = recorded.lines().peekable();
    let mut wrong = Vec::new();
    let mut keys = BTreeMap::new();
    while let Some(line) = lines.next() {
        if let Some(list) = line.strip_prefix("endpoint-status files: [") {
            let wanted: BTreeSet<&str> = list
                .trim_end_matches(']')
                .split(", ")
                .map(|name| name.trim_matches('\''))
                .filter(|name| !name.is_empty())
                .collect();
            let found = names("/run/calico/endpoint-status");
            if wanted != found.iter().map(String::as_str).collect() {
                wrong.push(format!("endpoint-status files: recorded {wanted:?}, are {found:?}"));
            }
        } else if let Some(mtu) = line.strip_prefix("mtu file: ") {
            let found = fs::read_to_string("/var/lib/calico/mtu").unwrap_or_default();
            if found.trim() != mtu {
                wrong.push(format!("mtu file: recorded {mtu}, is {found:?}"));
            }
        } else if line.starts_with("/calico/felix/") {
            let (key, lease) = match line.strip_suffix(" (lease)") {
                Some(key) => (key, true),
                None => (line, false),
            };
            keys.insert(key.to_owned(), (lease, status_of(lines.next().unwrap_or_default())));
        }
    }
    let found: BTreeMap<String, (bool, String)> = store
        .iter()
        .filter(|(key, _)| key.starts_with("/calico/felix/"))
        .map(|(key, stored)| (key.clone(), (stored.lease, status_of(&stored.value))))
        .collect();
    // the agent's own report begins 10 s after it; most recordings were made before
    let mut found = found;
    if !keys.keys().any(|key| key.ends_with("status")) {
        found.retain(|key, _| !key.ends_with("/status") && !key.ends_with("/last_reported_status"));
    }
    if keys != found {
        wrong.push(format!("keys: recorded {keys:?}, are {found:?}"));
    }
    wrong
}

/// What must be equal of a status: of the agent's own report its fields, of an endpoint's what it says.
fn status_of(value: &str) -> String {
    let value: Value = serde_json::from_str(value).unwrap_or_default();
    match value["status"].as_str() {
        Some(status) => status.to_owned(),
        None => value
            .as_object()
            .into_iter()
            .flat_map(|all| all.keys().cloned())
            .collect::<BTreeSet<_>>()
            .into_iter()
            .collect::<Vec<_>>()
            .join(","),
    }
}

fn names(directory: &str) -> BTreeSet<String> {
    let entries = fs::read_dir(directory).into_iter().flatten().flatten();
    entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect()
}
