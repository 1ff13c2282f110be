//! The laws of the house, held over `cargo metadata` and the sources: arrows, purity, one owner for each dear
//! library, file sizes, one version of each dependency, nothing of a machine in the tree.

use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;

/// Our crates (without the `ocicat-` prefix) and what each may depend on directly. An arrow that is not here is forbidden.
const ARROWS: &[(&str, &[&str])] = &[
    // base
    ("selector", &[]),
    ("delta", &[]),
    ("mvcc", &[]),
    ("model", &["selector"]),
    ("cni-protocol", &["model"]),
    // engines
    ("syncer", &["mvcc"]),
    ("ipam-plan", &["model", "mvcc", "selector"]),
    ("felix-calc", &["delta", "model", "selector"]),
    ("felix-render", &["delta", "felix-calc", "model", "netfilter", "selector"]),
    ("felix-config", &["felix-calc", "felix-render", "model", "selector"]),
    ("bgp-wire", &[]),
    ("bgp-session", &["bgp-wire"]),
    ("bgp-rib", &["bgp-wire"]),
    ("bgp-config", &["bgp-wire", "bgp-session", "bgp-rib", "model", "selector"]),
    // I/O libraries
    ("observe", &[]),
    ("failpoint", &[]),
    ("netfilter", &[]),
    ("kernel", &["netfilter"]),
    ("datastore", &["model", "mvcc", "syncer"]),
    ("etcd-lite", &["failpoint", "mvcc", "observe"]),
    // parts and shells
    ("ipam", &["ipam-plan", "datastore", "failpoint", "model", "mvcc", "selector"]),
    ("cni-host", &["cni-protocol", "ipam", "datastore", "failpoint", "kernel", "model", "mvcc", "observe"]),
    (
        "felix-dataplane",
        &["felix-calc", "felix-render", "model", "netfilter", "kernel", "delta", "failpoint"],
    ),
    (
        "bgpd",
        &[
            "bgp-wire",
            "bgp-session",
            "bgp-rib",
            "bgp-config",
            "model",
            "mvcc",
            "syncer",
            "datastore",
            "kernel",
            "observe",
            "delta",
            "failpoint",
        ],
    ),
    (
        "felix",
        &[
            "felix-calc",
            "felix-config",
            "felix-dataplane",
            "model",
            "mvcc",
            "syncer",
            "datastore",
            "delta",
            "failpoint",
            "kernel",
            "observe",
        ],
    ),
    ("node-startup", &["model"]),
    (
        "node",
        &[
            "node-startup",
            "model",
            "mvcc",
            "datastore",
            "kernel",
            "observe",
            "felix",
            "felix-config",
            "bgpd",
            "cni-host",
            "etcd-lite",
        ],
    ),
    // programs
    ("cni-plugin", &["cni-protocol"]),
    (
        "ocicat",
        &[
            "model",
            "selector",
            "datastore",
            "etcd-lite",
            "mvcc",
            "failpoint",
            "ipam",
            "kernel",
            "observe",
            "cni-host",
            "cni-protocol",
            "bgpd",
            "bgp-config",
            "felix-calc",
            "felix-render",
            "felix",
            "felix-config",
            "node",
            "node-startup",
        ],
    ),
    ("tests", &["model", "mvcc", "datastore", "ipam", "ipam-plan", "kernel", "netfilter", "felix-calc"]),
];

/// Crates that do no I/O: no runtime, socket, file, clock or environment, not even below them.
const PURE: &[&str] = &[
    "selector",
    "delta",
    "mvcc",
    "model",
    "cni-protocol",
    "syncer",
    "ipam-plan",
    "bgp-wire",
    "bgp-session",
    "bgp-rib",
    "bgp-config",
    "netfilter",
    "felix-calc",
    "felix-render",
    "felix-config",
    "node-startup",
];

/// Third-party crates that mean I/O; none may lie below a pure crate.
const IO_CRATES: &[&str] = &[
    "tokio",
    "mio",
    "nix",
    "socket2",
    "rtnetlink",
    "netlink-proto",
    "netlink-sys",
    "etcd-client",
    "tonic",
    "hyper",
    "rustls",
    "tracing-subscriber",
    "tempfile",
];

/// Words of `std` that a pure crate's sources may not contain.
const IO_WORDS: &[&str] = &[
    "std::fs",
    "std::env",
    "std::process",
    "std::thread",
    "std::io::stdin",
    "std::io::stdout",
    "std::io::stderr",
    "TcpStream",
    "TcpListener",
    "UdpSocket",
    "UnixStream",
    "Instant::now",
    "SystemTime",
    "Timestamp::now",
    "Zoned::now",
    "println!",
    "eprintln!",
];

/// Libraries that only these crates of ours may use directly.
const OWNERS: &[(&str, &[&str])] = &[
    ("rtnetlink", &["kernel"]),
    ("netlink-packet-route", &["kernel"]),
    ("netlink-packet-core", &["kernel"]),
    ("netlink-proto", &["kernel"]),
    ("netlink-sys", &["kernel"]),
    ("etcd-client", &["datastore", "etcd-lite"]),
    ("redb", &["etcd-lite"]),
    ("tonic", &["observe", "datastore", "bgpd", "felix", "etcd-lite"]),
    ("tokio-rustls", &["cni-host"]),
    ("ruzstd", &["cni-host"]),
    ("serde-saphyr", &["model", "datastore", "tests"]),
];

/// Dependencies that exist in two versions, and why that has to be borne.
const TWO_VERSIONS: &[(&str, &str)] = &[
    ("base64", "serde-saphyr is one minor version ahead of tonic"),
    ("getrandom", "ring still asks for 0.2"),
    ("hashbrown", "metrics-util is one minor version behind indexmap"),
    ("rand_core", "metrics-util draws its random numbers from an older rand"),
    ("syn", "proc-macros only, never in a binary: some have moved to 3, some not"),
];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("tests/ lies in the workspace").to_path_buf()
}

fn metadata() -> Value {
    let output = Command::new(env!("CARGO"))
        .args([
            "metadata",
            "--format-version",
            "1",
            "--offline",
            "--filter-platform",
            "x86_64-unknown-linux-gnu",
        ])
        .current_dir(root())
        .output()
        .expect("cargo runs");
    assert!(output.status.success(), "cargo metadata: {}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).expect("cargo prints JSON")
}

fn text<'a>(value: &'a Value, field: &str) -> &'a str {
    value[field].as_str().unwrap_or_default()
}

/// The short name of one of our crates: `ocicat-model` → `model`; `ocicat` keeps its name.
fn short(name: &str) -> &str {
    name.strip_prefix("ocicat-").unwrap_or(name)
}

/// Package id → (name, version, is ours), and package id → ids it links in a shipped build.
struct Graph {
    packages: BTreeMap<String, (String, String, bool)>,
    normal: BTreeMap<String, Vec<String>>,
}

fn graph() -> Graph {
    let metadata = metadata();
    let members: BTreeSet<&str> =
        metadata["workspace_members"].as_array().unwrap().iter().filter_map(Value::as_str).collect();
    let mut packages = BTreeMap::new();
    for package in metadata["packages"].as_array().unwrap() {
        let id = text(package, "id").to_owned();
        let ours = members.contains(id.as_str());
        packages.insert(id, (text(package, "name").to_owned(), text(package, "version").to_owned(), ours));
    }
    let mut normal = BTreeMap::new();
    for node in metadata["resolve"]["nodes"].as_array().unwrap() {
        let links: Vec<String> = node["deps"]
            .as_array()
            .unwrap()
            .iter()
            .filter(|dep| dep["dep_kinds"].as_array().unwrap().iter().any(|kind| kind["kind"].is_null()))
            .map(|dep| text(dep, "pkg").to_owned())
            .collect();
        normal.insert(text(node, "id").to_owned(), links);
    }
    Graph { packages, normal }
}

impl Graph {
    fn ours(&self) -> impl Iterator<Item = (&str, &str)> {
        self.packages.iter().filter(|(_, p)| p.2).map(|(id, p)| (id.as_str(), short(&p.0)))
    }

    fn direct(&self, id: &str) -> impl Iterator<Item = &(String, String, bool)> {
        self.normal[id].iter().map(|id| &self.packages[id])
    }

    fn below(&self, id: &str) -> BTreeSet<&str> {
        let (mut seen, mut todo) = (BTreeSet::new(), vec![id]);
        while let Some(id) = todo.pop() {
            for next in &self.normal[id] {
                if seen.insert(next.as_str()) {
                    todo.push(next);
                }
            }
        }
        seen
    }
}

#[test]
fn every_arrow_between_our_crates_is_in_the_picture() {
    let graph = graph();
    let mut wrong = Vec::new();
    let known: BTreeMap<&str, &&[&str]> = ARROWS.iter().map(|(from, to)| (*from, to)).collect();
    for (id, name) in graph.ours() {
        let Some(allowed) = known.get(name) else {
            wrong.push(format!("{name} is not in ARROWS"));
            continue;
        };
        for (dependency, _, ours) in graph.direct(id) {
            if *ours && !allowed.contains(&short(dependency)) {
                wrong.push(format!("{name} → {}", short(dependency)));
            }
        }
    }
    assert!(wrong.is_empty(), "forbidden arrows: {wrong:#?}");
}

#[test]
fn pure_crates_stand_on_nothing_that_does_io() {
    let graph = graph();
    let mut wrong = Vec::new();
    for (id, name) in graph.ours().filter(|(_, name)| PURE.contains(name)) {
        for below in graph.below(id) {
            let dependency = graph.packages[below].0.as_str();
            if IO_CRATES.contains(&dependency) {
                wrong.push(format!("{name} stands on {dependency}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn pure_crates_ask_neither_clock_nor_system() {
    let mut wrong = Vec::new();
    for directory in [
        "lib/selector/src",
        "lib/delta/src",
        "lib/mvcc/src",
        "lib/model/src",
        "cni-plugin/protocol/src",
        "lib/syncer/src",
        "ipam/plan/src",
        "lib/netfilter/src",
        "felix/calc/src",
        "felix/render/src",
        "felix/config/src",
        "bgpd/wire/src",
        "bgpd/session/src",
        "bgpd/rib/src",
        "bgpd/config/src",
        // part of an I/O crate, and pure all the same: the daemon and the simulated network drive one speaker
        "bgpd/src/speaker",
    ] {
        for (path, source) in sources().into_iter().filter(|(path, _)| path.starts_with(directory)) {
            if is_test(&path) {
                continue;
            }
            let shipped = source.split("#[cfg(test)]").next().unwrap_or_default();
            for word in IO_WORDS.iter().filter(|word| shipped.contains(**word)) {
                wrong.push(format!("{path}: {word}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn dear_libraries_have_one_owner() {
    let graph = graph();
    let mut wrong = Vec::new();
    for (id, name) in graph.ours() {
        for (dependency, ..) in graph.direct(id) {
            if let Some((_, owners)) = OWNERS.iter().find(|(library, _)| library == dependency)
                && !owners.contains(&name)
            {
                wrong.push(format!("{name} → {dependency}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn each_dependency_has_one_version() {
    let graph = graph();
    let mut versions: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for (id, _) in graph.ours() {
        for below in graph.below(id) {
            let (name, version, _) = &graph.packages[below];
            versions.entry(name).or_default().insert(version);
        }
    }
    let doubled: BTreeSet<&str> =
        versions.iter().filter(|(_, v)| v.len() > 1).map(|(name, _)| *name).collect();
    let allowed: BTreeSet<&str> = TWO_VERSIONS.iter().map(|(name, _)| *name).collect();
    assert_eq!(doubled, allowed, "left: found; right: TWO_VERSIONS (take away what no longer occurs)");
}

fn is_test(path: &str) -> bool {
    path.split('/').any(|part| matches!(part, "tests" | "test" | "benches" | "fuzz" | "tests.rs" | "test.rs"))
}

/// Every Rust file under version control's eyes: path from the root, and text.
fn sources() -> Vec<(String, String)> {
    let mut found = Vec::new();
    let mut todo = vec![root()];
    while let Some(directory) = todo.pop() {
        for entry in std::fs::read_dir(&directory).unwrap().map(Result::unwrap) {
            let path = entry.path();
            let name = entry.file_name().to_string_lossy().into_owned();
            if path.is_dir() {
                if name != "target" && !name.starts_with('.') {
                    todo.push(path);
                }
            } else if name.ends_with(".rs") {
                let relative = path.strip_prefix(root()).unwrap().display().to_string();
                found.push((relative, std::fs::read_to_string(&path).unwrap()));
            }
        }
    }
    found
}

#[test]
fn files_hold_one_idea() {
    let long: Vec<String> = sources()
        .into_iter()
        .filter(|(path, _)| !is_test(path))
        .map(|(path, source)| (path, source.lines().count()))
        .filter(|(_, lines)| *lines > 500)
        .map(|(path, lines)| format!("{path}: {lines} lines"))
        .collect();
    assert!(long.is_empty(), "over 500 lines: {long:#?}");
}

#[test]
fn nothing_of_a_machine_or_registry_is_in_the_tree() {
    // assembled, so that this file does not find itself
    let words: Vec<String> = [
        ["/work", "/"],
        ["crates", ".io"],
        ["docker", ".io"],
        ["quay", ".io"],
        ["/root", "/."],
        ["registry.npm", "js"],
    ]
    .iter()
    .map(|parts| parts.concat())
    .collect();
    let listed = Command::new("git").args(["ls-files", "-z"]).current_dir(root()).output().expect("git runs");
    assert!(listed.status.success(), "git ls-files: {}", String::from_utf8_lossy(&listed.stderr));
    let mut wrong = Vec::new();
    for path in String::from_utf8_lossy(&listed.stdout)
        .split('\0')
        .filter(|p| !p.is_empty() && !p.ends_with("Cargo.lock"))
    {
        let Ok(text) = std::fs::read_to_string(root().join(path)) else { continue };
        for word in words.iter().filter(|word| text.contains(word.as_str())) {
            wrong.push(format!("{path}: {word}"));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}
