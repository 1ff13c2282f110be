//! A node that starts where its datastore does not answer: after a power cut the state directory is there, and nothing else.

use crate::hitless::{FAR, LOG, PEER, is_established, learnt, neighbour, start, wire};
use crate::monitor::Monitor;
use anyhow::{Context, Result, ensure};
use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use ocicat_tests::binaries::{Build, programs};
use ocicat_tests::etcd::Server;
use ocicat_tests::node::{Container, NAME, Node, PATIENCE};
use ocicat_tests::probe::{Echo, Probe};
use ocicat_tests::process::{Background, tool, wait_for};
use ocicat_tests::sandbox::{self, in_netns};
use serde_json::Value;
use std::fs;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

/// Where the parts keep what the datastore held.
const STATE: &str = "/var/lib/ocicat/state";
/// What policy allows from the start, and what it allows later.
const PORT: u16 = 7;
const LATER: u16 = 8;

struct Workload {
    container: Container,
    address: IpAddr,
    _echoes: [Echo; 2],
}

fn workload(node: &Node, name: &str) -> Result<Workload> {
    let container = Container::start(name)?;
    let addresses = node.add(&container)?;
    let address = *addresses.iter().find(|address| address.is_ipv4()).context("IPv4")?;
    let echo = |port| in_netns(name, || Echo::start(SocketAddr::new(address, port)))?;
    Ok(Workload { container, address, _echoes: [echo(PORT)?, echo(LATER)?] })
}

/// Whether a datagram from one workload to a port of the other is answered.
fn answers(from: &Workload, to: &Workload, port: u16) -> Result<bool> {
    let socket = in_netns(&from.container.netns, || UdpSocket::bind("0.0.0.0:0"))??;
    socket.set_read_timeout(Some(Duration::from_millis(300)))?;
    socket.connect(SocketAddr::new(to.address, port))?;
    let _ = socket.send(b"there?");
    Ok(socket.recv(&mut [0; 16]).is_ok())
}

fn status(node: &Node) -> Option<Value> {
    serde_json::from_str(&node.ocicat(&["felix", "status", "-o", "json"], "").ok()?.stdout).ok()
}

/// Waits until felix says so.
fn felix(node: &Node, what: &str, says: impl Fn(&Value) -> bool) -> Result<Value> {
    let told = wait_for(what, PATIENCE, || status(node).filter(|status| says(status)));
    told.with_context(|| format!("{:#?}\n{}", status(node), fs::read_to_string(LOG).unwrap_or_default()))
}

/// Waits until both snapshots hold a text, and felix's another.
fn kept(both: &str, by_felix: &str) -> Result<()> {
    let holds = |part: &str, text: &str| {
        let bytes = fs::read(Path::new(STATE).join(part).with_extension("snapshot")).unwrap_or_default();
        bytes.windows(text.len()).any(|window| window == text.as_bytes())
    };
    wait_for("the snapshots", PATIENCE, || {
        (holds("felix", both) && holds("bgpd", both) && holds("felix", by_felix)).then_some(())
    })
}

/// The agent, its parent and the datastore are gone from one moment to the next.
fn cut(node: &Node, mut agent: Background) -> Result<()> {
    node.server().process().signal(Signal::SIGKILL)?;
    let group = Pid::from_raw(agent.pid().cast_signed());
    killpg(group, Signal::SIGKILL)?;
    wait_for("the agent's end", PATIENCE, || agent.ended())?;
    wait_for("the end of all it started", PATIENCE, || killpg(group, None).is_err().then_some(()))?;
    Ok(fs::write(LOG, "")?)
}

/// The kernel as it is after a boot: links, as a person has set them up, and nothing of an agent's.
fn empty_kernel() -> Result<()> {
    tool("nft", &["flush", "ruleset"])?;
    for protocol in ["80", "81", "boot"] {
        tool("ip", &["route", "flush", "proto", protocol])?;
    }
    for name in links()? {
        fs::write(format!("/proc/sys/net/ipv4/conf/{name}/proxy_arp"), "0")?;
        tool("ip", &["neigh", "flush", "dev", &name, "nud", "permanent"])?;
    }
    tool("ip", &["link", "del", "eth0"])?;
    sandbox::del_netns(FAR)?;
    wire()
}

/// The host's ends of workloads.
fn links() -> Result<Vec<String>> {
    let text = tool("ip", &["-br", "link"])?;
    let names = text.lines().filter_map(|line| line.split(['@', ' ']).next());
    Ok(names.filter(|name| name.starts_with("cali")).map(str::to_owned).collect())
}

#[test]
fn a_node_starts_without_its_datastore_as_it_last_was() {
    sandbox::within(NAME, programs(Build::Plain).unwrap(), || {
        wire()?;
        let mut node = Node::start()?;
        node.apply(PEER)?;
        let agent = start()?;
        let [first, second, third] = ["one", "two", "three"].map(|name| workload(&node, name));
        let (first, second, third) = (first?, second?, third?);
        kept("192.0.2.2", "cali")?;
        let held = node.held()?;
        let name =
            held.iter().find(|key| key.contains("three") && key.contains("endpoint")).context("three")?;
        kept("192.0.2.2", name)?;
        let revision =
            felix(&node, "what is enforced", |status| status["waiting"] == "")?["enforcedRevision"].clone();

        // a first power cut
        cut(&node, agent)?;
        empty_kernel()?;
        ensure!(!answers(&first, &second, PORT)?, "nothing routes any more");
        let agent = start()?;
        let bird = neighbour()?;
        let told = felix(&node, "what the snapshot says", |status| {
            !status["snapshot"].is_null() && status["waiting"] == ""
        })?;
        ensure!(told["enforcedRevision"] == told["snapshot"]["revision"], "{told:#}");
        ensure!(told["enforcedRevision"].as_i64() <= revision.as_i64(), "{told:#}");
        let page = node.ocicat(&["status"], "")?.stdout;
        ensure!(
            page.contains("from the snapshot of 2") && page.contains("the store is unreachable for"),
            "{page}"
        );
        wait_for("the route", PATIENCE, || answers(&first, &second, PORT).ok()?.then_some(()))?;
        ensure!(!answers(&first, &second, LATER)?, "policy is not in force");
        wait_for("the session", PATIENCE, || is_established(&bird).then_some(()))?;
        wait_for("the neighbour's routes", PATIENCE, || learnt().ok()?.contains("10.64.").then_some(()))?;
        let page = node.ocicat(&["bgp", "status"], "")?.stdout;
        ensure!(page.contains("resources are from the snapshot of"), "{page}");
        let fourth = Container::start("four")?;
        let add = node.call("ADD", &fourth).run()?;
        ensure!(add.stdout.contains("\"code\": 11") || add.stdout.contains("\"code\":11"), "{add:?}");
        node.del(&third.container)?;

        // the datastore comes back, and says something else
        let routes = learnt()?;
        let aside = Server::start(Path::new("/run/etcd"), "127.0.0.1:12379".parse()?)?;
        let client = aside.client.clone();
        let changed: Vec<(String, String)> = client
            .snapshot()?
            .into_iter()
            .filter(|(key, _)| key.contains("/globalnetworkpolicies/") && key.ends_with("echo"))
            .map(|(key, stored)| (key, stored.value.replace("[7]", "[7,8]")))
            .collect();
        ensure!(changed.len() == 1 && changed[0].1.contains("[7,8]"), "{changed:?}");
        client.put(&changed[0].0, &changed[0].1)?;
        aside.process().signal(Signal::SIGKILL)?;
        wait_for("its end", PATIENCE, || (!client.healthy()).then_some(()))?;
        drop(aside);
        let monitor = Monitor::of_links()?;
        monitor.mark("first-mark")?;
        let probe =
            in_netns(&first.container.netns, || Probe::start(SocketAddr::new(second.address, PORT)))??;
        let from_afar = in_netns(FAR, || Probe::start(SocketAddr::new(second.address, PORT)))??;
        let begin = Instant::now();
        node.restart_store()?;
        felix(&node, "what the datastore says", |status| {
            status["snapshot"].is_null() && status["waiting"] == "" && status["storeTrouble"] == ""
        })?;
        wait_for("what it allows now", PATIENCE, || answers(&first, &second, LATER).ok()?.then_some(()))?;
        thread::sleep(Duration::from_secs(3).saturating_sub(begin.elapsed()));
        for (which, probe) in [("inside", probe), ("from afar", from_afar)] {
            let losses = probe.finish()?;
            ensure!(losses.sent > 1_000 && losses.gaps.is_empty(), "{which}: {losses:?}");
        }
        let said = monitor.said_between("first-mark", "second-mark-longer")?;
        ensure!(said.iter().all(|line| line.contains("three") || line.contains("ocidel")), "{said:#?}");
        ensure!(learnt()? == routes && is_established(&bird), "the neighbour has noticed");
        wait_for("the release that was owed", PATIENCE, || {
            node.held().ok()?.iter().all(|key| !key.contains("three")).then_some(())
        })?;

        // a second power cut, and a disk that lost half of a file
        kept("192.0.2.2", "[7,8]")?;
        cut(&node, agent)?;
        let file = Path::new(STATE).join("felix.snapshot");
        let bytes = fs::read(&file)?;
        fs::write(&file, &bytes[..bytes.len() / 2])?;
        let mut agent = start()?;
        let told = felix(&node, "what is wrong with the file", |status| status["snapshotTrouble"] != "")?;
        let trouble = told["snapshotTrouble"].as_str().unwrap_or_default();
        ensure!(trouble.contains("felix.snapshot is not used: it is cut off or damaged"), "{told:#}");
        ensure!(told["snapshot"].is_null() && told["waiting"] != "", "{told:#}");
        ensure!(answers(&first, &second, LATER)?, "what the kernel has stays");
        node.restart_store()?;
        felix(&node, "the datastore", |status| status["waiting"] == "" && status["snapshotTrouble"] == "")?;
        kept("192.0.2.2", "[7,8]")?;
        agent.signal(Signal::SIGTERM)?;
        wait_for("its end", PATIENCE, || agent.ended()).map(drop)
    })
    .unwrap();
}
