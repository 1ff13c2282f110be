//! The agent's sockets outlive it: held by its own parent, or handed over as systemd does it; and what a service manager hears.

use anyhow::{Context, Result};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use ocicat_tests::binaries::{Build, programs};
use ocicat_tests::node::{Container, NAME, Node, PLUGINS, addresses};
use ocicat_tests::process::{Background, Ending, tool, wait_for};
use ocicat_tests::sandbox;
use std::fs;
use std::os::fd::OwnedFd;
use std::os::unix::fs::MetadataExt;
use std::os::unix::net::{UnixDatagram, UnixListener, UnixStream};
use std::path::Path;
use std::process::Command;
use std::time::Duration;

const PATIENCE: Duration = Duration::from_secs(40);
const LOG: &str = "/run/agent.log";
const CNI: &str = "/run/ocicat/cni.sock";

fn said() -> String {
    fs::read_to_string(LOG).unwrap_or_default()
}

/// Waits for something the agent does; what it said is shown where it does not.
fn wait<T>(what: &str, look: impl FnMut() -> Option<T>) -> T {
    wait_for(what, PATIENCE, look).unwrap_or_else(|error| panic!("{error}\n{}", said()))
}

/// `node run` by this program, in this environment.
fn run(program: &str, arguments: &[&str], environment: &[(&str, &str)]) -> Result<Background> {
    let mut command = Command::new(program);
    command.args(["node", "run"]).args(arguments);
    command.env_clear().env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin").envs(environment.iter().copied());
    Background::start_logging(command, Path::new(LOG))
}

/// The agent, once one other than `before` has the node and its plugins are answered.
fn agent(before: Option<Pid>) -> Pid {
    wait("the agent", || {
        let pid = fs::read_to_string("/run/ocicat/node.lock").ok()?.parse().ok().map(Pid::from_raw)?;
        (Some(pid) != before && lives(pid)).then_some(pid)
    })
}

fn lives(pid: Pid) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit_once(')').is_some_and(|(_, rest)| !rest.trim_start().starts_with(['Z', 'X']))
}

fn is_gone(pid: Pid) {
    wait("its end", || (!lives(pid)).then_some(()));
}

/// Host interface, store, resources: what an agent finds.
fn node() -> Result<Node> {
    for line in
        ["link add eth0 type veth peer name far", "addr add 192.0.2.11/24 dev eth0", "link set eth0 up"]
    {
        tool("ip", &line.split(' ').collect::<Vec<_>>())?;
    }
    Node::start()
}

fn within(work: impl FnOnce() -> Result<()> + Send) {
    sandbox::within(NAME, programs(Build::Plain).unwrap(), work).unwrap();
}

/// Starts an ADD that finds nobody, lets `wake` bring somebody, and takes the answer.
fn add_meanwhile(node: &Node, container: &Container, wake: impl FnOnce() -> Result<()>) -> Result<()> {
    // whoever asks gets as far as the queue, though nobody lives who could answer
    let waits = UnixStream::connect(CNI).context("the socket is held")?;
    let answer = std::thread::scope(|scope| {
        let asked = scope.spawn(|| node.call("ADD", container).run());
        wake()?;
        asked.join().unwrap()
    })?;
    drop(waits);
    assert_eq!(addresses(&answer.expect_ok("ADD")?)?.len(), 2);
    Ok(())
}

#[test]
fn a_parent_holds_the_socket_over_the_death_of_its_agent() {
    within(|| {
        let node = node()?;
        let ocicat = format!("{PLUGINS}/ocicat");
        let environment = [("ETCD_ENDPOINTS", "http://127.0.0.1:2379"), ("NODENAME", NAME)];
        let mut parent = run(&ocicat, &[], &environment)?;
        let first = agent(None);
        assert_ne!(first.as_raw().unsigned_abs(), parent.pid());
        let containers = [Container::start("pod1")?, Container::start("pod2")?];
        node.add(&containers[0])?;

        // nobody starts another one while the parent sleeps
        parent.signal(Signal::SIGSTOP)?;
        kill(first, Signal::SIGKILL)?;
        is_gone(first);
        add_meanwhile(&node, &containers[1], || parent.signal(Signal::SIGCONT))?;
        let second = agent(Some(first));
        assert!(said().contains("the agent has died"), "{}", said());
        assert!(parent.ended().is_none());

        // an agent that is told to end, and not by its parent, has a successor too
        kill(second, Signal::SIGTERM)?;
        let third = agent(Some(second));
        for container in &containers {
            node.del(container)?;
        }
        assert_eq!(node.held()?, [""; 0]);

        // nobody else takes the socket away
        let mut other = run(&ocicat, &[], &environment)?;
        let ending = wait("the refusal", || other.ended());
        assert_eq!(ending, Ending::Exit(1));
        assert!(
            said().contains(&format!("another agent runs on this node (process {})", parent.pid())),
            "{}",
            said()
        );

        parent.signal(Signal::SIGTERM)?;
        assert_eq!(wait("both to end", || parent.ended()), Ending::Exit(0));
        assert!(!lives(third), "the parent ends after its agent");

        // a parent that is killed takes its agent along, and the next one does not wait for anybody
        let parent = run(&ocicat, &[], &environment)?;
        let fourth = agent(Some(third));
        parent.signal(Signal::SIGKILL)?;
        let mut next = run(&ocicat, &[], &environment)?;
        let fifth = agent(Some(fourth));
        assert!(!lives(fourth));
        next.signal(Signal::SIGINT)?;
        assert_eq!(wait("both to end", || next.ended()), Ending::Exit(0));
        assert!(!lives(fifth));
        Ok(())
    });
}

#[test]
fn the_next_agent_is_the_build_that_lies_there() {
    within(|| {
        let node = node()?;
        drop(node);
        fs::create_dir_all("/run/build")?;
        let place = |text: Option<&str>| -> Result<u64> {
            let fresh = "/run/build/fresh";
            match text {
                Some(text) => fs::write(fresh, text)?,
                None => drop(fs::copy(format!("{PLUGINS}/ocicat"), fresh)?),
            }
            fs::rename(fresh, "/run/build/ocicat")?;
            Ok(fs::metadata("/run/build/ocicat")?.ino())
        };
        let runs = |pid: Pid| fs::metadata(format!("/proc/{pid}/exe")).unwrap().ino();
        let old = place(None)?;
        let arguments = ["--datastore", "embedded"];
        let parent = run("/run/build/ocicat", &arguments, &[("NODENAME", NAME)])?;
        let first = agent(None);
        kill(first, Signal::SIGKILL)?;
        let second = agent(Some(first));
        assert_eq!(runs(second), old);

        let new = place(None)?;
        kill(second, Signal::SIGKILL)?;
        let third = agent(Some(second));
        assert_eq!(runs(third), new);
        assert_eq!(runs(Pid::from_raw(parent.pid().cast_signed())), old);
        // both sockets came with it: they are those of the first agent
        let nodes = wait("the datastore", || {
            let mut command = Command::new(format!("{PLUGINS}/ocicat"));
            command.args(["get", "nodes"]).env("ETCD_ENDPOINTS", "http://127.0.0.1:2379");
            ocicat_tests::process::run(command, "", PATIENCE).ok().filter(|output| output.ok())
        });
        assert!(nodes.stdout.contains(NAME), "{}", nodes.stdout);
        assert!(UnixStream::connect(CNI).is_ok());
        let holders = tool("ss", &["-xlpn"])?;
        let line = holders.lines().find(|line| line.contains(CNI)).context("the socket")?;
        assert!(
            line.contains(&format!("pid={third}")) && line.contains(&format!("pid={}", parent.pid())),
            "{line}"
        );

        // what cannot be executed is not tried for ever
        place(Some("no program"))?;
        kill(third, Signal::SIGKILL)?;
        let fourth = agent(Some(third));
        assert_eq!(runs(fourth), old, "as the parent is");
        assert!(said().contains("/run/build/ocicat"), "{}", said());
        Ok(())
    });
}

/// Hears what a service manager is told, up to something that says `end`.
fn hear(manager: &UnixDatagram, end: &str) -> Vec<String> {
    let mut heard = Vec::new();
    manager.set_read_timeout(Some(PATIENCE)).unwrap();
    loop {
        let mut bytes = [0; 4096];
        let length =
            manager.recv(&mut bytes).unwrap_or_else(|error| panic!("{error}: {heard:?}\n{}", said()));
        heard.extend(String::from_utf8_lossy(&bytes[..length]).lines().map(str::to_owned));
        if heard.iter().any(|line| line.starts_with(end)) {
            return heard;
        }
    }
}

/// A shell becomes the agent, as a service manager does: with its own number and the descriptors from 3 on.
fn handed(socket: OwnedFd, variables: &str) -> Result<Background> {
    let mut command = Command::new("/bin/sh");
    let script = format!("exec 3<&0 </dev/null; LISTEN_PID=$$ {variables} exec {PLUGINS}/ocicat node run");
    command.args(["-c", &script]).env_clear().env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin");
    command.envs([("ETCD_ENDPOINTS", "http://127.0.0.1:2379"), ("NODENAME", NAME)]);
    Background::start_with_input(command, socket, Path::new(LOG))
}

#[test]
fn a_service_manager_hands_the_socket_over_and_hears_how_the_agent_is() {
    within(|| {
        let node = node()?;
        fs::create_dir_all("/run/ocicat")?;
        let held = UnixListener::bind(CNI)?;
        let manager = UnixDatagram::bind("/run/notify")?;
        let variables = "LISTEN_FDS=1 LISTEN_FDNAMES=cni NOTIFY_SOCKET=/run/notify WATCHDOG_USEC=600000";
        let mut first = handed(held.try_clone()?.into(), variables)?;
        let heard = hear(&manager, "READY=1");
        assert!(heard.iter().any(|line| line.starts_with("EXTEND_TIMEOUT_USEC=")), "{heard:?}");
        assert!(heard.iter().any(|line| line.starts_with("STATUS=not ready: ")), "{heard:?}");
        assert!(hear(&manager, "WATCHDOG=1").len() < 10);
        hear(&manager, "WATCHDOG=1");
        assert_eq!(agent(None).as_raw().unsigned_abs(), first.pid(), "there is no parent");
        let containers = [Container::start("pod1")?, Container::start("pod2")?];
        node.add(&containers[0])?;

        let before = first.pid();
        first.signal(Signal::SIGTERM)?;
        let heard = hear(&manager, "STOPPING=1");
        assert!(heard.contains(&"STATUS=ends: SIGTERM".to_owned()), "{heard:?}");
        assert_eq!(wait("its end", || first.ended()), Ending::Exit(0));
        let mut second = None;
        add_meanwhile(&node, &containers[1], || {
            second = Some(handed(held.try_clone()?.into(), variables)?);
            Ok(())
        })?;
        hear(&manager, "READY=1");
        assert_ne!(second.context("the second")?.pid(), before);
        Ok(())
    });
}

#[test]
fn what_is_handed_over_wrongly_is_refused_with_its_reason() {
    within(|| {
        let _node = node()?;
        let unix = UnixListener::bind("/run/some.sock")?;
        let tcp = std::net::TcpListener::bind("127.0.0.1:0")?;
        let sockets: [OwnedFd; 2] = [unix.into(), tcp.into()];
        for (socket, variables, says) in [
            (0, "LISTEN_FDS=1 LISTEN_FDNAMES=ocicat-cni.socket", "FileDescriptorName="),
            (1, "LISTEN_FDS=1 LISTEN_FDNAMES=cni", "expected one unix socket"),
            (0, "LISTEN_FDS=2 LISTEN_FDNAMES=cni", "LISTEN_FDNAMES=\"cni\": expected 2 names"),
            (0, "LISTEN_FDS=9 LISTEN_FDNAMES=a:b:c:d:e:f:g:h:i", "is not open"),
            (
                0,
                "LISTEN_FDS=1 LISTEN_FDNAMES=cni NOTIFY_SOCKET=@n WATCHDOG_USEC=soon",
                "WATCHDOG_USEC=\"soon\"",
            ),
        ] {
            let mut refused = handed(sockets[socket].try_clone()?, variables)?;
            assert_eq!(wait(variables, || refused.ended()), Ending::Exit(1));
            assert!(said().contains(says), "{variables}: {}", said());
            fs::remove_file(LOG)?;
        }
        Ok(())
    });
}
