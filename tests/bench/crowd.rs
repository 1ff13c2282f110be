//! A crowd of ADDs at once, and how soon the plugin says something.

use crate::cni::reference;
use crate::frame::{Subject, in_turns, print};
use anyhow::{Context, Result, ensure};
use ocicat_tests::node::{Call, Container, NAME, Node, documents};
use ocicat_tests::node_agent::{NodeAgent, uplink};
use std::io::{Read, Write};
use std::os::unix::net::UnixListener;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// ADDs at once.
const CROWD: usize = 64;

/// Starts a plugin and gives it its configuration.
fn start(call: &Call) -> Result<Child> {
    let mut child = call
        .command()
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .context("start the plugin")?;
    child.stdin.take().context("its input")?.write_all(call.stdin.as_bytes())?;
    Ok(child)
}

/// Runs all at once; the time until the last one has ended.
fn together(calls: &[Call]) -> Result<Duration> {
    let started = Instant::now();
    let children: Vec<Child> = calls.iter().map(start).collect::<Result<_>>()?;
    for mut child in children {
        ensure!(child.wait()?.success(), "a plugin of the crowd failed");
    }
    Ok(started.elapsed())
}

/// 64 ADDs at once through an agent that has attached a workload before, and 64 DELs.
pub fn at_once(rounds: usize) -> Result<()> {
    uplink()?;
    let node = &Node::without_resources()?;
    // so that the crowd finds room in one block
    node.apply(&documents(&[NAME], &[("four", "10.64.0.0/20", 25)]))?;
    let _agent = NodeAgent::start(node, None)?;
    let mut ours = node.configuration();
    ours["ipam"] = serde_json::json!({"type": "calico-ipam", "assign_ipv4": "true", "assign_ipv6": "false"});
    let resident = Container::start("resident")?;
    node.call("ADD", &resident).configuration(&ours).run()?.expect_ok("ADD")?;
    let containers: Vec<Container> =
        (0..CROWD).map(|number| Container::start(&format!("pod{number}"))).collect::<Result<_>>()?;
    let subject = |name, program: &'static str, configuration: serde_json::Value| {
        let containers = &containers;
        let calls = move |verb: &str| -> Vec<Call> {
            let call = |container| node.call(verb, container).program(program).configuration(&configuration);
            containers.iter().map(call).collect()
        };
        Subject {
            name,
            sample: Box::new(move || Ok(vec![together(&calls("ADD"))?, together(&calls("DEL"))?])),
        }
    };
    let mut subjects =
        [subject("calico, IPv4", "calico", ours), subject("ptp + host-local", "ptp", reference())];
    let samples = in_turns(rounds, &mut subjects)?;
    print(&format!("{CROWD} at once, through the agent, all of them"), &["ADD", "DEL"], &subjects, &samples);
    Ok(())
}

/// From the start of the plugin to its first byte on the agent's socket, beside the whole life of `/bin/true`.
pub fn first_byte(rounds: usize) -> Result<()> {
    let node = &Node::start()?;
    let container = &Container::start("pod")?;
    std::fs::create_dir_all("/run/ocicat")?;
    let listener = &UnixListener::bind("/run/ocicat/cni.sock")?;
    let mut subjects = [
        Subject {
            name: "calico",
            sample: Box::new(move || {
                let started = Instant::now();
                let mut child = start(&node.call("ADD", container))?;
                let (mut stream, _) = listener.accept()?;
                stream.read_exact(&mut [0])?;
                let took = started.elapsed();
                child.kill()?;
                child.wait()?;
                Ok(vec![took])
            }),
        },
        Subject {
            name: "/bin/true",
            sample: Box::new(|| {
                let started = Instant::now();
                ensure!(Command::new("/bin/true").status()?.success());
                Ok(vec![started.elapsed()])
            }),
        },
    ];
    let samples = in_turns(rounds, &mut subjects)?;
    print("the plugin's first byte on the agent's socket, from its start", &["byte"], &subjects, &samples);
    Ok(())
}
