//! `ocicat node run` as its users have it: a process in a node's namespaces, with a real datastore and the real kernel.

use nix::sys::signal::Signal;
use ocicat_tests::binaries::{Build, programs};
use ocicat_tests::node::{Node, PLUGINS};
use ocicat_tests::node_agent::uplink;
use ocicat_tests::process::{Background, Ending, Output, run, tool, wait_for};
use ocicat_tests::sandbox;
use serde_json::{Value, json};
use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

/// The node's name.
const NAME: &str = "node-1";
/// How long anything may take.
const PATIENCE: Duration = Duration::from_secs(30);
/// Where the agent's words go.
const LOG: &str = "/run/agent.log";

fn ocicat(arguments: &[&str]) -> Command {
    let mut command = Command::new(Path::new(PLUGINS).join("ocicat"));
    // nothing of this machine's environment decides
    command.args(arguments).env_remove("HOSTNAME").env_remove("NODENAME");
    command
}

fn asked(arguments: &[&str], environment: &[(&str, &str)]) -> Output {
    let mut command = ocicat(arguments);
    command.envs(environment.iter().copied());
    run(command, "", PATIENCE).unwrap()
}

/// An agent in the background.
struct Agent(Background);

impl Agent {
    fn start(arguments: &[&str], environment: &[(&str, &str)]) -> Self {
        let mut command = ocicat(&[&["node", "run"][..], arguments].concat());
        command.envs(environment.iter().copied());
        Agent(Background::start_logging(command, Path::new(LOG)).unwrap())
    }

    fn wait<T>(&mut self, what: &str, look: impl FnMut() -> Option<T>) -> T {
        wait_for(what, PATIENCE, look).unwrap_or_else(|error| {
            let log = fs::read_to_string(LOG).unwrap_or_default();
            panic!("{error}; it ended with {:?}\n{log}", self.0.ended())
        })
    }

    /// Waits until Felix enforces and the speaker answers.
    fn ready(&mut self) {
        self.wait("the agent", || {
            let status = asked(&["felix", "status", "-o", "json"], &[]);
            let status: Value = serde_json::from_str(&status.stdout).ok()?;
            (status["waiting"] == "" && status["enforcedRevision"] != 0).then_some(())?;
            asked(&["node", "status"], &[]).ok().then_some(())
        });
    }
}

/// The host's interface, as most tests have it.
fn eth0() {
    uplink().unwrap();
}

fn stored(node: &Node, key: &str) -> Option<Value> {
    let key = format!("/calico/resources/v3/projectcalico.org/{key}");
    let pairs = node.server().client.snapshot().unwrap();
    pairs.get(&key).map(|stored| serde_json::from_str(&stored.value).unwrap())
}

fn within(work: impl FnOnce() -> anyhow::Result<()> + Send) {
    sandbox::within("Host-A", programs(Build::Plain).unwrap(), work).unwrap();
}

#[test]
fn a_node_registers_itself_and_runs_its_parts() {
    within(|| {
        eth0();
        let node = Node::without_resources()?;
        let url = node.server().url();
        fs::remove_file("/var/lib/calico/nodename")?;
        fs::write(
            "/run/node.env",
            format!("# of this node\nETCD_ENDPOINTS={url}\nIP6=autodetect\nAS=64600\n"),
        )?;
        let arguments = ["--file", "/run/node.env"];
        let environment = [("NODENAME", NAME), ("AS", "64700"), ("CALICO_IPV4POOL_CIDR", "10.64.0.0/16")];
        let mut agent = Agent::start(&arguments, &environment);
        agent.ready();
        let spec = stored(&node, "nodes/node-1").unwrap()["spec"].clone();
        assert_eq!(
            spec["bgp"],
            json!({"asNumber": 64700, "ipv4Address": "192.0.2.11/24", "ipv6Address": "2001:db8::11/64"})
        );
        let interfaces = spec["interfaces"].as_array().unwrap();
        let eth0 = interfaces.iter().find(|one| one["name"] == "eth0").unwrap();
        assert!(eth0["addresses"].as_array().unwrap().contains(&json!("192.0.2.11")), "{spec}");
        assert_eq!(stored(&node, "ippools/default-ipv4-ippool").unwrap()["spec"]["cidr"], "10.64.0.0/16");
        assert!(stored(&node, "ippools/default-ipv6-ippool").is_some());
        let own = stored(&node, "felixconfigurations/node.node-1").unwrap();
        assert_eq!(own["spec"]["defaultEndpointToHostAction"], "Return");
        let information = stored(&node, "clusterinformations/default").unwrap();
        assert_eq!(information["spec"]["datastoreReady"], true);
        assert_eq!(fs::read_to_string("/var/lib/calico/nodename")?, NAME);
        let tables = tool("nft", &["list", "tables"])?;
        assert!(tables.contains("table ip ocicat"), "{tables}");

        let second = asked(&["node", "run", "--file", "/run/node.env", "--name", NAME], &[]);
        assert!(second.stderr.contains("another agent runs on this node (process"), "{}", second.stderr);

        // a second start finds everything, and writes nothing
        let revision = |node: &Node| -> anyhow::Result<i64> {
            let pairs = node.server().client.snapshot()?;
            let resources = pairs.iter().filter(|(key, _)| key.starts_with("/calico/resources/"));
            Ok(resources.map(|(_, stored)| stored.revision).max().unwrap_or_default())
        };
        let before = revision(&node)?;
        agent.0.signal(Signal::SIGTERM)?;
        let ending = wait_for("its end", PATIENCE, || agent.0.ended())?;
        assert_eq!(ending, Ending::Exit(0), "{}", fs::read_to_string(LOG)?);
        let mut agent = Agent::start(&arguments, &environment);
        agent.ready();
        assert_eq!(revision(&node)?, before, "nothing had to be written");
        let tables = tool("nft", &["list", "tables"])?;
        assert!(tables.contains("table ip ocicat"), "{tables}");
        Ok(())
    });
}

#[test]
fn what_is_decided_is_explained_and_nothing_is_written() {
    within(|| {
        eth0();
        let node = Node::without_resources()?;
        let url = node.server().url();
        let environment =
            [("ETCD_ENDPOINTS", url.as_str()), ("IP_AUTODETECTION_METHOD", "cidr=192.0.2.0/24")];
        let arguments = ["node", "run", "--explain", "--name", "n", "--ip6", "2001:db8::7"];
        let said = asked(&arguments, &environment);
        assert!(said.ok(), "{}", said.stderr);
        let line = |what: &str| {
            let line = said.stdout.lines().find(|line| line.starts_with(what)).unwrap_or_default();
            line.split_whitespace().collect::<Vec<_>>().join(" ")
        };
        assert_eq!(line("node name"), "node name n NODENAME is set");
        assert_eq!(line("datastore answers"), "datastore answers yes the node will be made");
        assert_eq!(line("IPv4"), "IPv4 address 192.0.2.11/24 detected on eth0 by cidr=192.0.2.0/24");
        assert!(
            line("IPv6").contains("2001:db8::7/128 IP6 is set; no link of this host has it"),
            "{}",
            said.stdout
        );
        assert!(line("AS number").contains("64512"), "{}", said.stdout);
        assert_eq!(stored(&node, "nodes/n"), None);

        let gone = [("ETCD_ENDPOINTS", "http://127.0.0.1:1")];
        let said = asked(&["node", "run", "--explain", "--name", "n"], &gone);
        assert!(said.stdout.contains("datastore answers   no"), "{}", said.stdout);
        Ok(())
    });
}

#[test]
fn what_cannot_work_is_refused_with_its_reason() {
    within(|| {
        eth0();
        let node = Node::without_resources()?;
        node.apply(
            "{apiVersion: projectcalico.org/v3, kind: Node, metadata: {name: other}, spec: {bgp: {ipv4Address: 192.0.2.11/24}}}",
        )?;
        let url = node.server().url();
        let refused = |arguments: &[&str], variable: (&str, &str)| {
            let environment = [("ETCD_ENDPOINTS", url.as_str()), ("NODENAME", NAME), variable];
            let said = asked(&[&["node", "run"][..], arguments].concat(), &environment);
            assert!(!said.ok(), "{}", said.stdout);
            said.stderr
        };
        fs::write("/run/bad.env", "IP=1.2.3\nIPP=1\n")?;
        fs::write("/run/worse.env", "IP 1.2.3.4\n")?;
        for (arguments, variable, says) in [
            (&["--datastore", "mysql"][..], ("A", "b"), "--datastore \"mysql\": expected etcd or embedded"),
            (&["--ip", "2001:db8::1"], ("A", "b"), "IP=\"2001:db8::1\" (option): expected an IPv4 address"),
            (&["--file", "/run/bad.env"], ("A", "b"), "IP=\"1.2.3\" (file, line 1)"),
            (
                &["--file", "/run/worse.env"],
                ("A", "b"),
                "/run/worse.env: line 1: \"IP 1.2.3.4\" is no NAME=value",
            ),
            (&[], ("CALICO_ROUTER_ID", "me"), "CALICO_ROUTER_ID=\"me\""),
            (&[], ("IP_AUTODETECTION_METHOD", "interface=wlan.*"), "no IPv4 address found"),
            (&[], ("IP", "autodetect"), "192.0.2.11 conflict: node other says that it has this address"),
        ] {
            let said = refused(arguments, variable);
            assert!(said.contains(says), "{arguments:?} {variable:?}: {said}");
        }
        assert_eq!(stored(&node, "nodes/node-1"), None, "nothing is half written");
        Ok(())
    });
}

#[test]
fn a_datastore_of_its_own_needs_no_other() {
    within(|| {
        eth0();
        fs::create_dir_all("/var/lib/calico")?;
        let mut agent = Agent::start(&["--datastore", "embedded", "--name", NAME], &[]);
        agent.ready();
        let own = [("ETCD_ENDPOINTS", "http://127.0.0.1:2379"), ("DATASTORE_TYPE", "etcdv3")];
        let nodes = asked(&["get", "nodes", "-o", "json"], &own);
        assert!(nodes.stdout.contains("192.0.2.11/24"), "{} {}", nodes.stdout, nodes.stderr);
        agent.0.signal(Signal::SIGKILL)?;
        wait_for("its end", PATIENCE, || agent.0.ended())?;
        let mut agent = Agent::start(&["--datastore", "embedded", "--name", NAME], &[]);
        agent.ready();
        let again = asked(&["get", "nodes", "-o", "json"], &own);
        let uid =
            |text: &str| serde_json::from_str::<Value>(text).unwrap()["items"][0]["metadata"]["uid"].clone();
        assert_eq!(uid(&again.stdout), uid(&nodes.stdout), "what was stored is there");
        Ok(())
    });
}

/// Whoever starts before the datastore does its work as soon as that answers.
#[test]
fn a_datastore_that_comes_later_is_waited_for() {
    within(|| {
        eth0();
        let environment = [("ETCD_ENDPOINTS", "http://127.0.0.1:2379")];
        let mut agent = Agent::start(&["--name", NAME], &environment);
        agent.wait("its parts", || fs::metadata("/run/ocicat/felix.sock").is_ok().then_some(()));
        let node = Node::without_resources()?;
        agent.ready();
        agent.wait("the node", || stored(&node, "nodes/node-1"));
        Ok(())
    });
}
