//! `ocicat felix` as its users have it: a process in a node's namespaces, with a real etcd and the real kernel.

use nix::sys::signal::Signal;
use ocicat_tests::binaries::{Build, programs};
use ocicat_tests::node::{NAME, Node, PLUGINS, WEB};
use ocicat_tests::process::{Background, run, tool, wait_for};
use ocicat_tests::sandbox;
use serde_json::Value;
use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

/// How long the agent may take for anything.
const PATIENCE: Duration = Duration::from_secs(30);

/// A running agent.
struct Agent(Background);

impl Agent {
    fn start(node: &Node, environment: &BTreeMap<String, String>) -> Self {
        let mut command = Command::new(Path::new(PLUGINS).join("ocicat"));
        command.args(["felix", "--node", NAME]).env("ETCD_ENDPOINTS", node.server().url()).envs(environment);
        Agent(Background::start_logging(command, Path::new("/run/felix.log")).unwrap())
    }

    /// What `ocicat status` says; none before it answers.
    fn status(&self) -> Option<Value> {
        let mut command = Command::new(Path::new(PLUGINS).join("ocicat"));
        command.args(["felix", "status", "-o", "json"]);
        let output = run(command, "", PATIENCE).unwrap();
        output.ok().then(|| serde_json::from_str(&output.expect_ok("status").unwrap()).unwrap())
    }

    /// Waits until the page is as wanted.
    fn wait(&mut self, what: &str, right: impl Fn(&Value) -> bool) -> Value {
        let mut last = None;
        let found = wait_for(what, PATIENCE, || {
            last = self.status();
            last.clone().filter(|status| right(status))
        });
        let log = || fs::read_to_string("/run/felix.log").unwrap_or_default();
        found.unwrap_or_else(|error| {
            panic!("{error}: {last:?}, it ended with {:?}\n{}", self.0.ended(), log())
        })
    }

    /// Waits until everything stored is enforced.
    fn caught_up(&mut self) -> Value {
        self.wait("everything is enforced", |status| status["waiting"] == "" && enforces_all(status))
    }
}

fn enforces_all(status: &Value) -> bool {
    status["enforcedRevision"] == status["knownRevision"] && status["knownRevision"] != 0
}

/// The interfaces of the recordings' node, and a link for each of these workloads.
fn links(workloads: &[&str]) {
    let ip = |line: &str| tool("ip", &line.split(' ').collect::<Vec<_>>()).unwrap();
    for (name, four, six) in
        [("eth0", "192.0.2.11/24", Some("2001:db8::11/64")), ("eth1", "198.51.100.11/24", None)]
    {
        ip(&format!("link add {name} type veth peer name far-{name}"));
        ip(&format!("addr add {four} dev {name}"));
        if let Some(six) = six {
            ip(&format!("addr add {six} dev {name} nodad"));
        }
        ip(&format!("link set {name} up"));
        ip(&format!("link set far-{name} up"));
    }
    for workload in workloads {
        ip(&format!("link add {workload} type veth peer name p{workload}"));
        ip(&format!("link set {workload} up"));
        ip(&format!("link set p{workload} up"));
    }
}

/// Status as the recordings write it.
fn told(node: &Node) -> String {
    let entries = fs::read_dir("/run/calico/endpoint-status").into_iter().flatten();
    let mut files: Vec<String> =
        entries.map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned()).collect();
    files.sort();
    let files: Vec<String> = files.iter().map(|name| format!("'{name}'")).collect();
    let mtu = fs::read_to_string("/var/lib/calico/mtu").unwrap_or_default();
    let mut text = format!("endpoint-status files: [{}]\nmtu file: {mtu}\n", files.join(", "));
    for (key, stored) in node.server().client.snapshot().unwrap() {
        if key.starts_with("/calico/felix/") && !key.ends_with("status") {
            text.push_str(&format!("{key}\n{}\n", stored.value));
        }
    }
    text
}

/// A recording without the agent's own report, whose time nobody can repeat.
fn without_report(text: &str) -> String {
    let mut lines = text.lines();
    let mut kept = String::new();
    while let Some(line) = lines.next() {
        if line.starts_with('/') && line.trim_end_matches(" (lease)").ends_with("status") {
            lines.next();
            continue;
        }
        kept.push_str(line);
        kept.push('\n');
    }
    kept
}

/// Files, keys and MTU are the recordings', for every scenario but those of an encapsulation that is not carried.
#[test]
fn status_is_told_as_recorded() {
    let recordings = Path::new(env!("CARGO_MANIFEST_DIR")).join("golden/felix");
    let mut names: Vec<String> = fs::read_dir(&recordings)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.retain(|name| recordings.join(name).is_dir() && !name.starts_with("routes-vxlan"));
    names.sort();
    assert!(names.len() > 30, "{names:?}");
    let mut wrong = Vec::new();
    for name in names {
        let folder = recordings.join(&name);
        let status = ["nftables", "iptables"].map(|backend| folder.join(backend).join("status.txt"));
        let Some(recorded) = status.iter().find_map(|path| fs::read_to_string(path).ok()) else { continue };
        let case: Value =
            serde_saphyr::from_str(&fs::read_to_string(folder.join("case.yaml")).unwrap()).unwrap();
        let found =
            sandbox::within("gold-host", programs(Build::Plain).unwrap(), || Ok(one_recording(&case)))
                .unwrap();
        let recorded = without_report(&recorded);
        if found != recorded {
            wrong.push(format!("{name}: recorded\n{recorded}found\n{found}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

fn one_recording(case: &Value) -> String {
    let node = Node::without_resources().unwrap();
    node.apply(case["datastore"].as_str().unwrap()).unwrap();
    let workloads: Vec<&str> =
        case["workload_links"].as_array().unwrap().iter().filter_map(Value::as_str).collect();
    links(&workloads);
    let mut environment = BTreeMap::from([("FELIX_HEALTHENABLED".to_owned(), "true".to_owned())]);
    for (name, value) in case["agent_environment"].as_object().into_iter().flatten() {
        environment.insert(name.clone(), value.as_str().map_or_else(|| value.to_string(), str::to_owned));
    }
    let mut agent = Agent::start(&node, &environment);
    agent.caught_up();
    for words in case["then"].as_array().into_iter().flatten() {
        let words: Vec<&str> = words.as_array().unwrap().iter().filter_map(Value::as_str).collect();
        node.ocicat(&words, "").unwrap().expect_ok("then").unwrap();
    }
    let mut before = String::new();
    // settled: nothing that is told changes within some looks at a state that is enforced
    let mut same = 0;
    wait_for("status is told", PATIENCE, || {
        let status = agent.status().filter(enforces_all)?;
        let now = format!("{}{}", told(&node), status["endpoints"]);
        same = if now == before { same + 1 } else { 0 };
        before = now;
        std::thread::sleep(Duration::from_millis(50));
        (same == 5).then_some(())
    })
    .unwrap();
    told(&node)
}

const DENIED: &str = "
apiVersion: projectcalico.org/v3
kind: GlobalNetworkPolicy
metadata: {name: deny-web}
spec: {selector: app == 'web', types: [Ingress], ingress: [{action: Deny}]}
";

fn ruleset() -> String {
    tool("nft", &["list", "ruleset"]).unwrap()
}

/// Nothing is enforced while the datastore is locked; settings are taken while running; bad objects and parameters without
/// effect are told; a datastore that is away takes nothing back; the end neither.
#[test]
fn a_node_is_kept_as_the_datastore_says() {
    sandbox::within("gold-host", programs(Build::Plain).unwrap(), || {
        let node = Node::start()?;
        node.apply(WEB)?;
        node.apply(DENIED)?;
        node.ocicat(&["datastore", "migrate", "lock"], "")?.expect_ok("lock")?;
        links(&["caliweb1"]);
        let mut agent = Agent::start(&node, &BTreeMap::from([("FELIX_BPFENABLED".to_owned(), "true".to_owned())]));
        let status = agent.wait("it has read", |status| status["inSync"] == true);
        assert!(status["waiting"].as_str().unwrap().contains("datastoreReady"), "{status}");
        assert!(!ruleset().contains("ocicat"), "nothing is put into the kernel");
        node.ocicat(&["datastore", "migrate", "unlock"], "")?.expect_ok("unlock")?;
        let status = agent.caught_up();
        assert_eq!(status["endpoints"]["up"], 1, "{status}");
        assert!(status["configuration"][0].as_str().unwrap().starts_with("BPFEnabled in the environment"), "{status}");
        assert!(ruleset().contains("GlobalNetworkPolicy deny-web") && ruleset().contains(" drop"), "{}", ruleset());
        assert!(tool("ip", &["route", "show", "dev", "caliweb1"])?.contains("10.64.0.2"));

        // a setting, without a restart
        assert!(!ruleset().contains("reject"), "{}", ruleset());
        node.apply("{apiVersion: projectcalico.org/v3, kind: FelixConfiguration, metadata: {name: default}, spec: {nftablesFilterDenyAction: Reject}}")?;
        wait_for("packets are rejected", PATIENCE, || ruleset().contains("reject").then_some(()))?;
        agent.caught_up();

        // an object that cannot be read counts as absent and is named
        node.server().client.put(
            "/calico/resources/v3/projectcalico.org/globalnetworkpolicies/bad",
            "{\"kind\":\"GlobalNetworkPolicy\",\"metadata\":{\"name\":\"bad\"},\"spec\":{\"selector\":\"app ==\"}}",
        )?;
        agent.wait("it is refused", |status| {
            status["objects"].as_array().unwrap().iter().any(|text| text.as_str().unwrap().contains("GlobalNetworkPolicy bad"))
        });
        let mut metrics = Command::new(Path::new(PLUGINS).join("ocicat"));
        metrics.args(["felix", "metrics"]);
        let metrics = run(metrics, "", PATIENCE)?.expect_ok("metrics")?;
        assert!(metrics.lines().any(|line| line == "felix_objects_refused 1"), "{metrics}");
        assert!(metrics.lines().any(|line| line == "felix_active_local_endpoints 1"), "{metrics}");

        // the datastore goes away; what somebody takes away is put back all the same
        drop(node);
        tool("nft", &["delete", "table", "ip", "ocicat"])?;
        wait_for("the table is back", PATIENCE, || ruleset().contains("deny-web").then_some(()))?;
        let before = ruleset();
        agent.0.signal(Signal::SIGTERM)?;
        wait_for("it ends", PATIENCE, || agent.0.ended())?;
        assert_eq!(before.matches("deny-web").count(), ruleset().matches("deny-web").count());
        assert!(fs::exists("/run/calico/endpoint-status/cni default%2Fweb1 eth0")?);
        Ok(())
    })
    .unwrap();
}
