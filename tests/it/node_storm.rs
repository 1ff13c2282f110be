//! Three nodes, sixty-four ADDs at once, and agents that are killed meanwhile: no address is held by two, and none is lost.

use anyhow::{Context, Result, ensure};
use nix::sys::signal::{Signal, kill, killpg};
use nix::unistd::{Pid, gettid};
use ocicat_tests::binaries::{Build, programs};
use ocicat_tests::etcd::Server;
use ocicat_tests::node::{Call, Container, PATIENCE, PLUGINS, Pool, addresses, documents};
use ocicat_tests::process::{Background, Output, run, tool, wait_for};
use ocicat_tests::random::{Random, seed};
use ocicat_tests::sandbox;
use ocicat_tests::verifier::{KernelView, verify};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::fs;
use std::net::{IpAddr, SocketAddr};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::Command;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;
use std::time::Duration;

const NODES: usize = 3;
/// Workloads of all nodes.
const WORKLOADS: usize = 64;
/// Deaths of each node's agent while workloads come, and again while they go: its parent waits twice as long each time.
const DEATHS: u32 = 4;
/// Calls of a runtime until it gives a workload up.
const TRIES: u32 = 30;
/// What all nodes may take for anything.
const PHASE: Duration = Duration::from_secs(180);
/// Where etcd is, for all nodes.
const STORE: &str = "192.0.2.1:2379";
/// The agent's socket, and where its words go.
const SOCKET: &str = "/run/ocicat/cni.sock";
const LOG: &str = "/run/agent.log";

const POOLS: [Pool<'_>; 2] = [("four", "10.64.0.0/24", 28), ("six", "fd5f:64::/120", 124)];

/// What all nodes share.
struct Storm {
    /// Who has which address, by what the plugins answered.
    held: Mutex<BTreeMap<IpAddr, String>>,
    /// Agents that were killed.
    deaths: AtomicU32,
    seed: u64,
}

#[test]
fn sixty_four_adds_over_three_nodes_survive_their_agents() {
    let seed = seed();
    let programs = programs(Build::Plain).unwrap();
    sandbox::within("outside", programs, || {
        // an address of its own: a bridge else takes a port's, and another one when that node has come to its end
        for line in [
            "link add segment address 02:00:00:00:00:01 type bridge",
            "addr add 192.0.2.1/24 dev segment",
            "link set segment up",
        ] {
            tool("ip", &line.split(' ').collect::<Vec<_>>())?;
        }
        fs::create_dir_all("/run/etcd")?;
        let store = Server::start(Path::new("/run/etcd"), STORE.parse::<SocketAddr>()?)?;
        ocicat(&["apply", "-f", "-"], &documents(&[""; 0], &POOLS))?.expect_ok("the pools")?;
        let storm = Storm { held: Mutex::default(), deaths: AtomicU32::default(), seed };
        thread::scope(|scope| {
            let (tell, told) = channel();
            let mut wired = Vec::new();
            let mut nodes = Vec::new();
            for number in 0..NODES {
                let (go, goes) = channel();
                wired.push(go);
                let (storm, tell) = (&storm, tell.clone());
                nodes.push(scope.spawn(move || {
                    let node = format!("node-{number}");
                    sandbox::within(&node, programs, move || live(number, storm, &tell, &goes))
                }));
            }
            drop(tell);
            let looked = watch(&store, &storm, &told, &wired);
            // whoever waits for a word goes home
            drop(wired);
            let lived: Result<()> = nodes.into_iter().try_for_each(|node| node.join().unwrap());
            let views = match (looked, lived) {
                // either may be why the other one ended
                (Err(looked), Err(lived)) => return Err(looked.context(format!("{lived:#}"))),
                (looked, lived) => lived.and(looked)?,
            };
            let snapshot = store.client.snapshot()?;
            let loose = verify(&snapshot, &views);
            ensure!(loose.is_empty(), "seed {seed}, detached:\n{}", loose.join("\n"));
            let left: Vec<&String> = snapshot
                .keys()
                .filter(|key| key.contains("/ipam/v2/handle/") || key.contains("/workloadendpoints/"))
                .collect();
            ensure!(left.is_empty(), "seed {seed}: {left:?}");
            ensure!(views.host_links.is_empty(), "seed {seed}: {:?}", views.host_links);
            Ok(())
        })?;
        let deaths = storm.deaths.load(Ordering::Relaxed);
        assert!(deaths >= 6, "only {deaths} agents died: the storm was none");
        Ok(())
    })
    .unwrap();
}

/// Lets the nodes go on together, and looks at what they have come to; what their kernels have in the end.
fn watch(store: &Server, storm: &Storm, told: &Receiver<Said>, wired: &[Sender<()>]) -> Result<KernelView> {
    let go = || wired.iter().try_for_each(|go| go.send(()));
    wire(told, wired)?;
    for _ in 0..NODES {
        ensure!(matches!(told.recv_timeout(PHASE)?, Said::Ready), "a node in a hurry");
    }
    go()?;
    let attached = views(told)?;
    let loose = verify(&store.client.snapshot()?, &attached);
    ensure!(loose.is_empty(), "seed {}, attached:\n{}", storm.seed, loose.join("\n"));
    let held = storm.held.lock().unwrap().len();
    ensure!(held == 2 * WORKLOADS, "seed {}: {held} addresses", storm.seed);
    go()?;
    views(told)
}

fn ocicat(arguments: &[&str], stdin: &str) -> Result<Output> {
    let mut command = Command::new(Path::new(PLUGINS).join("ocicat"));
    command.args(arguments).env("DATASTORE_TYPE", "etcdv3").env("ETCD_ENDPOINTS", format!("http://{STORE}"));
    run(command, stdin, PATIENCE)
}

/// What a node tells the outside.
enum Said {
    /// Its number, and a thread in its namespace.
    There(usize, Pid),
    /// Its agent runs.
    Ready,
    /// What its kernel has.
    Has(Box<KernelView>),
}

/// Gives each node its link as soon as it is there.
fn wire(told: &Receiver<Said>, wired: &[Sender<()>]) -> Result<()> {
    for _ in 0..NODES {
        let Said::There(number, thread) = told.recv_timeout(PHASE)? else {
            anyhow::bail!("a node in a hurry")
        };
        let (near, thread) = (format!("to-{number}"), thread.to_string());
        tool("ip", &["link", "add", &near, "type", "veth", "peer", "name", "eth0", "netns", &thread])?;
        tool("ip", &["link", "set", &near, "master", "segment", "up"])?;
        wired[number].send(())?;
    }
    Ok(())
}

/// What all nodes have.
fn views(told: &Receiver<Said>) -> Result<KernelView> {
    let mut all = KernelView::default();
    for _ in 0..NODES {
        let Said::Has(view) = told.recv_timeout(PHASE)? else { anyhow::bail!("a node twice") };
        all.host_links.extend(view.host_links);
        all.host_routes.extend(view.host_routes);
        all.host_neighbours.extend(view.host_neighbours);
        all.container_links.extend(view.container_links);
    }
    Ok(all)
}

/// A node's life, in its own namespaces.
fn live(number: usize, storm: &Storm, tell: &Sender<Said>, wired: &Receiver<()>) -> Result<()> {
    tell.send(Said::There(number, gettid()))?;
    wired.recv()?;
    let address = format!("192.0.2.{}/24", 11 + number);
    tool("ip", &["addr", "add", &address, "dev", "eth0"])?;
    tool("ip", &["link", "set", "eth0", "up"])?;
    let name = format!("node-{number}");
    fs::create_dir_all("/var/lib/calico")?;
    fs::write("/var/lib/calico/nodename", &name)?;
    let mut parent = start(&name)?;
    let mine = (0..WORKLOADS).filter(|workload| workload % NODES == number);
    let containers: Vec<Container> =
        mine.map(|workload| Container::start(&format!("w{workload:02}"))).collect::<Result<_>>()?;
    tell.send(Said::Ready)?;
    wired.recv()?;
    let dice = Random::new(storm.seed ^ ((number as u64) << 40));
    let come = at_once(&parent, storm, dice.clone(), &containers, |container| attach(storm, container));
    come.and_then(|()| whole()).with_context(log)?;
    tell.send(Said::Has(Box::new(what_the_kernel_has()?)))?;
    wired.recv()?;
    let go = at_once(&parent, storm, dice, &containers, |container| detach(storm, container));
    go.and_then(|()| whole()).with_context(log)?;
    // a DEL at a moment without a datastore leaves its release to the agent
    wait_for("what is owed to the datastore", PATIENCE, || (!has_endpoints(&name)?).then_some(()))
        .with_context(log)?;
    tell.send(Said::Has(Box::new(what_the_kernel_has()?)))?;
    let group = Pid::from_raw(parent.pid().cast_signed());
    killpg(group, Signal::SIGKILL)?;
    wait_for("the agent's end", PATIENCE, || parent.ended()).map(drop)
}

/// Whether the datastore has endpoints of a node, if it answers.
fn has_endpoints(node: &str) -> Option<bool> {
    let said = ocicat(&["get", "workloadendpoints", "-A", "-o", "json"], "").ok()?.expect_ok("get").ok()?;
    let said: Value = serde_json::from_str(&said).ok()?;
    Some(said["items"].as_array()?.iter().any(|endpoint| endpoint["spec"]["node"] == node))
}

/// What is there once the links are deleted that DEL has only put out of service.
fn what_the_kernel_has() -> Result<KernelView> {
    wait_for("the last link", PATIENCE, || {
        (!tool("ip", &["-br", "link"]).ok()?.contains("ocidel-")).then_some(())
    })
    .with_context(log)?;
    let mut view = KernelView::read(&sandbox::netns_names())?;
    // felix may have met a workload's new link while it knew the address of the try before, and a neighbour goes with its link
    view.host_neighbours.retain(|(_, link)| !view.host_links.contains(link));
    Ok(view)
}

fn log() -> String {
    fs::read_to_string(LOG).unwrap_or_default()
}

fn start(name: &str) -> Result<Background> {
    let mut command = Command::new(Path::new(PLUGINS).join("ocicat"));
    command.args(["node", "run", "--name", name]).env_remove("HOSTNAME").env_remove("NODENAME");
    command.env("ETCD_ENDPOINTS", format!("http://{STORE}"));
    command.env("NO_DEFAULT_POOLS", "true").env("CALICO_NETWORKING_BACKEND", "none");
    let parent = Background::start_logging(command, Path::new(LOG))?;
    wait_for("the agent's socket", PATIENCE, || UnixStream::connect(SOCKET).ok().map(drop))
        .with_context(log)?;
    whole()?;
    Ok(parent)
}

/// Waits until an agent enforces what is stored.
fn whole() -> Result<()> {
    wait_for("an agent that enforces", PATIENCE, || {
        let status = ocicat(&["felix", "status", "-o", "json"], "").ok()?.stdout;
        let status: Value = serde_json::from_str(&status).ok()?;
        (status["waiting"] == "" && status["knownRevision"] == status["enforcedRevision"]).then_some(())
    })
}

/// Does it for all containers at once, while the agent is killed now and then.
fn at_once(
    parent: &Background,
    storm: &Storm,
    mut dice: Random,
    containers: &[Container],
    work: impl Fn(&Container) -> Result<()> + Sync,
) -> Result<()> {
    let over = AtomicBool::new(false);
    thread::scope(|scope| {
        let running: Vec<_> = containers.iter().map(|container| scope.spawn(|| work(container))).collect();
        let killer = scope.spawn(|| {
            let children = format!("/proc/{0}/task/{0}/children", parent.pid());
            let mut killed = 0;
            while killed < DEATHS && !over.load(Ordering::Relaxed) {
                thread::sleep(Duration::from_millis(20 + dice.below(400)));
                let agent = fs::read_to_string(&children).unwrap_or_default();
                if let Some(agent) = agent.split_whitespace().next().and_then(|pid| pid.parse().ok()) {
                    killed += u32::from(kill(Pid::from_raw(agent), Signal::SIGKILL).is_ok());
                }
            }
            storm.deaths.fetch_add(killed, Ordering::Relaxed);
        });
        let done: Vec<Result<()>> = running.into_iter().map(|thread| thread.join().unwrap()).collect();
        over.store(true, Ordering::Relaxed);
        killer.join().unwrap();
        done.into_iter().collect()
    })
}

fn call(verb: &str, container: &Container) -> Result<Output> {
    let configuration = json!({"cniVersion": "1.0.0", "name": "net-a", "type": "calico", "log_level": "error",
        "datastore_type": "etcdv3", "etcd_endpoints": format!("http://{STORE}"), "agent_timeout_seconds": 30,
        "ipam": {"type": "calico-ipam", "assign_ipv4": "true", "assign_ipv6": "true"}});
    Call::new(verb, container, &configuration).run()
}

/// As a kubelet does: an ADD that fails is followed by DEL and another ADD.
fn attach(storm: &Storm, container: &Container) -> Result<()> {
    let mut last = None;
    for _ in 0..TRIES {
        let output = call("ADD", container)?;
        if output.ok() {
            for address in addresses(&output.stdout)? {
                let other = storm.held.lock().unwrap().insert(address, container.id.clone());
                ensure!(
                    other.is_none(),
                    "seed {}: {address} given to {} and {other:?}",
                    storm.seed,
                    container.id
                );
            }
            return Ok(());
        }
        last = Some(output);
        detach(storm, container)?;
    }
    anyhow::bail!("{} is never attached: {last:?}", container.id)
}

fn detach(storm: &Storm, container: &Container) -> Result<()> {
    let mut last = None;
    for _ in 0..TRIES {
        // from here on somebody else may get its addresses
        storm.held.lock().unwrap().retain(|_, holder| *holder != container.id);
        let output = call("DEL", container)?;
        if output.ok() {
            return Ok(());
        }
        last = Some(output);
    }
    anyhow::bail!("{} is never detached: {last:?}", container.id)
}
