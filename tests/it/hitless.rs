//! An agent's death, end and replacement under traffic: no packet is lost, nothing in the kernel changes, and a neighbour keeps
//! its routes.

use crate::monitor::Monitor;
use anyhow::{Context, Result, ensure};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use ocicat_tests::binaries::{Build, programs};
use ocicat_tests::node::{Container, NAME, Node, PATIENCE, PLUGINS};
use ocicat_tests::probe::{Echo, Losses, Probe};
use ocicat_tests::process::{Background, tool, wait_for};
use ocicat_tests::router::{Kind, Router};
use ocicat_tests::sandbox::{self, in_netns};
use std::collections::BTreeSet;
use std::fs;
use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::process::Command;
use std::thread;
use std::time::Duration;

/// Where the agents' words go.
pub const LOG: &str = "/run/agent.log";
/// The namespace of the neighbour, and its BIRD's address.
pub const FAR: &str = "far";
/// How long packets go while one thing is done to the agent.
const TRAFFIC: Duration = Duration::from_secs(30);
/// Where workloads answer.
const PORT: u16 = 7;

/// A neighbour that learns the node's blocks, routes by them, and is told nothing but its own subnet.
const BIRD: &str = "
router id 192.0.2.2;
protocol device {}
protocol direct { ipv4; interface \"eth0\"; }
protocol kernel { ipv4 { export where source = RTS_BGP; }; }
protocol bgp node {
    local 192.0.2.2 as 65002;
    neighbor 192.0.2.11 as 64512;
    graceful restart on;
    ipv4 { import all; export none; };
}
";

pub const PEER: &str = "
apiVersion: projectcalico.org/v3
kind: BGPConfiguration
metadata: {name: default}
spec: {nodeToNodeMeshEnabled: false, asNumber: 64512}
---
apiVersion: projectcalico.org/v3
kind: BGPPeer
metadata: {name: far}
spec: {peerIP: 192.0.2.2, asNumber: 65002}
---
apiVersion: projectcalico.org/v3
kind: GlobalNetworkPolicy
metadata: {name: echo}
spec:
  selector: has(net-a)
  ingress:
  - {action: Allow, protocol: UDP, destination: {ports: [7]}}
  egress: [{action: Allow}]
";

/// What is done to the agent that a parent has.
type Step = fn(&mut Background, Pid) -> Result<()>;

/// The node's link to its neighbour.
pub fn wire() -> Result<()> {
    sandbox::add_netns(FAR)?;
    for line in [
        "link add eth0 type veth peer name eth0 netns far",
        "addr add 192.0.2.11/24 dev eth0",
        "link set eth0 up",
        "-n far addr add 192.0.2.2/24 dev eth0",
        "-n far link set eth0 up",
    ] {
        tool("ip", &line.split(' ').collect::<Vec<_>>())?;
    }
    Ok(())
}

/// The agent, with a parent.
pub fn start() -> Result<Background> {
    let mut command = Command::new(Path::new(PLUGINS).join("ocicat"));
    command.args(["node", "run", "--name", NAME]).env_remove("HOSTNAME").env_remove("NODENAME");
    command.env("ETCD_ENDPOINTS", "http://127.0.0.1:2379").env("NO_DEFAULT_POOLS", "true");
    Background::start_logging(command, Path::new(LOG))
}

/// The neighbour, in its namespace.
pub fn neighbour() -> Result<Router> {
    Router::start(Kind::Bird, Some(FAR), BIRD)
}

/// One that gives a session up after three seconds without a word.
pub fn hasty_neighbour() -> Result<Router> {
    let hasty = BIRD.replace("graceful restart on;", "hold time 3; keepalive time 1;");
    Router::start(Kind::Bird, Some(FAR), &hasty)
}

/// The process of the agent that a parent has, other than those before.
fn agent_of(parent: &Background, before: &BTreeSet<i32>) -> Result<Pid> {
    let path = format!("/proc/{0}/task/{0}/children", parent.pid());
    let children = || -> Option<Pid> {
        let text = fs::read_to_string(&path).ok()?;
        let new = |pid: &i32| !before.contains(pid);
        text.split_whitespace().filter_map(|pid| pid.parse().ok()).find(new).map(Pid::from_raw)
    };
    wait_for("an agent", PATIENCE, children)
}

/// Until it says that it enforces, and its session is up.
fn is_ready(bird: &Router) -> Result<()> {
    let enforces = || {
        let log = fs::read_to_string(LOG).unwrap_or_default();
        log.contains("this node enforces what the datastore holds").then_some(())
    };
    wait_for("the agent to enforce", PATIENCE, enforces)?;
    wait_for("the session", PATIENCE, || is_established(bird).then_some(()))
}

pub fn is_established(bird: &Router) -> bool {
    bird.query("show protocols node").is_ok_and(|said| said.contains("Established"))
}

/// What the neighbour forwards by.
pub fn learnt() -> Result<String> {
    tool("ip", &["-n", FAR, "route", "show", "proto", "bird"])
}

/// Sends from one workload to the other, and from the neighbour to both, while `work` is done.
fn under_traffic(workloads: &[(String, IpAddr)], work: impl FnOnce() -> Result<()>) -> Result<()> {
    let [(_, first), (second, to)] = workloads else { anyhow::bail!("two workloads") };
    let at = |address: &IpAddr| SocketAddr::new(*address, PORT);
    let probes = [
        ("inside the node", in_netns(second, || Probe::start(at(first)))??),
        ("from the neighbour", in_netns(FAR, || Probe::start(at(first)))??),
        ("from the neighbour to the other", in_netns(FAR, || Probe::start(at(to)))??),
    ];
    let done = thread::scope(|scope| {
        let timer = scope.spawn(|| thread::sleep(TRAFFIC));
        let done = work();
        timer.join().map_err(|_| anyhow::anyhow!("the timer"))?;
        done
    });
    for (which, probe) in probes {
        let losses: Losses = probe.finish()?;
        ensure!(losses.sent > 20_000, "{which}: only {} packets are no traffic", losses.sent);
        ensure!(losses.gaps.is_empty(), "{which}: {losses:?}\n{}", fs::read_to_string(LOG)?);
    }
    done
}

#[test]
fn an_agents_death_end_and_replacement_are_noticed_by_nobody() {
    sandbox::within(NAME, programs(Build::Plain).unwrap(), || {
        wire()?;
        let node = Node::start()?;
        node.apply(PEER)?;
        let mut parent = start()?;
        let bird = neighbour()?;
        is_ready(&bird)?;
        let mut workloads = Vec::new();
        let mut echoes = Vec::new();
        for name in ["one", "two"] {
            let container = Container::start(name)?;
            let addresses = node.add(&container)?;
            let address = *addresses.iter().find(|address| address.is_ipv4()).context("IPv4")?;
            echoes.push(in_netns(name, || Echo::start(SocketAddr::new(address, PORT)))??);
            workloads.push((name.to_owned(), address));
        }
        wait_for("the neighbour to route", PATIENCE, || {
            learnt().ok().filter(|routes| routes.contains("10.64.")).map(drop)
        })?;
        let routes = learnt()?;
        let monitors = [Monitor::of_rules()?, Monitor::of_links()?];
        let mut agents = BTreeSet::from([agent_of(&parent, &BTreeSet::new())?.as_raw()]);
        let steps: [(&str, Step); 3] = [
            ("killed", |_, agent| Ok(kill(agent, Signal::SIGKILL)?)),
            ("ended and started", |parent, _| {
                parent.signal(Signal::SIGTERM)?;
                wait_for("the end", PATIENCE, || parent.ended())?;
                *parent = start()?;
                Ok(())
            }),
            ("replaced by another build", |_, agent| {
                let program = Path::new(PLUGINS).join("ocicat");
                fs::copy(&program, program.with_extension("new"))?;
                fs::rename(program.with_extension("new"), &program)?;
                Ok(kill(agent, Signal::SIGKILL)?)
            }),
        ];
        for (number, (what, step)) in steps.into_iter().enumerate() {
            let mark = format!("first-{}", "x".repeat(number));
            monitors.iter().try_for_each(|monitor| monitor.mark(&mark).map(drop))?;
            let agent = agent_of(&parent, &BTreeSet::new())?;
            fs::write(LOG, "")?;
            under_traffic(&workloads, || {
                step(&mut parent, agent)?;
                agents.insert(agent_of(&parent, &agents)?.as_raw());
                is_ready(&bird)?;
                ensure!(learnt()? == routes, "the neighbour routes otherwise");
                Ok(())
            })
            .context(what)?;
            for monitor in &monitors {
                let second = format!("second-{}", "x".repeat(10 + number));
                let said = monitor.said_between(&mark, &second)?;
                ensure!(said.is_empty(), "{what}: {}: {said:#?}", monitor.log);
            }
            ensure!(learnt()? == routes, "{what}: the neighbour routes otherwise");
        }
        ensure!(agents.len() == 4, "{agents:?}");
        drop(echoes);
        parent.signal(Signal::SIGTERM)
    })
    .unwrap();
}
