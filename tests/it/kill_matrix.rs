//! An agent may die after every effect that felix and bgpd have on the kernel, the disk and the datastore: what is left has an
//! owner as soon as there is a next one, and what was asked is answered. (The rows of the CNI part: `agent_calls`, `leaks`.)

use crate::agent::four::put;
use crate::agent::{status, wish};
use crate::hitless::{FAR, PEER, is_established, wire};

use anyhow::{Context, Result, ensure};
use ocicat_tests::agent::{BACKENDS, dump};
use ocicat_tests::binaries::{Build, programs};
use ocicat_tests::failpoints::named_in;
use ocicat_tests::node::{Container, NAME, Node, PATIENCE};
use ocicat_tests::node_agent::{NodeAgent, died_at, died_at_within, enforces, log, uplink};
use ocicat_tests::process::{Ending, Output, tool, wait_for};
use ocicat_tests::router::{Kind, Router};
use ocicat_tests::sandbox;
use std::collections::BTreeSet;
use std::fs;
use std::time::Duration;

/// While it is there, the agent dies.
const ARMED: &str = "/run/armed";
/// Where the CNI plugin and BGP look for endpoints that are up.
const STATUS_FILES: &str = "/var/run/calico/endpoint-status";
/// What an agent may take to come by a failpoint after the call that leads to it has been answered.
const LATER: Duration = Duration::from_secs(4);

/// Keys of endpoints' statuses, written soon.
const REPORTING: [(&str, &str); 2] =
    [("FELIX_ENDPOINTREPORTINGENABLED", "true"), ("FELIX_ENDPOINTREPORTINGDELAYSECS", "1")];

/// What only comes with another backend than our own tables.
const OF_BACKENDS: [&str; 2] = ["felix-iptables-", "felix-backend-"];

fn points_of_felix() -> Vec<String> {
    let mut all = named_in("felix/dataplane/DESIGN.md", &["felix-"]);
    all.retain(|point| !OF_BACKENDS.iter().any(|prefix| point.starts_with(prefix)));
    all.extend(named_in("felix/DESIGN.md", &["felix-status-"]));
    all
}

#[test]
fn felix_may_die_at_every_step() {
    let all = points_of_felix();
    assert!(all.len() >= 7, "the step tables name only {all:?}");
    let mut reached = BTreeSet::new();
    sandbox::within(NAME, programs(Build::Failpoints).unwrap(), || {
        uplink()?;
        let node = Node::start()?;
        // one that stays
        let stays = Container::start("stays")?;
        let agent = NodeAgent::start_with(&node, &REPORTING)?;
        node.add(&stays)?;
        agent.kill()?;
        let agent = NodeAgent::start_with(&node, &REPORTING)?;
        enforces(&node)?;
        let before = Settled::now(&node)?;
        agent.kill()?;
        for point in &all {
            for verb in ["ADD", "DEL"] {
                if dies(&node, point, verb, &before)
                    .with_context(|| format!("{point} in {verb}\n{}", log()))?
                {
                    reached.insert(point.clone());
                }
            }
        }
        Ok(())
    })
    .unwrap();
    let missed: Vec<&String> = all.iter().filter(|point| !reached.contains(*point)).collect();
    assert!(missed.is_empty(), "no execution came by {missed:?}");
}

/// From each backend to another, by a start and while it runs: all is written, and all of the other one goes. Where the agent
/// dies on the way, the next one ends where one does that never died.
#[test]
fn felix_may_die_at_every_step_from_one_backend_to_another() {
    let all = named_in("felix/dataplane/DESIGN.md", &OF_BACKENDS);
    assert!(all.len() >= 8, "the step table names only {all:?}");
    let mut reached: BTreeSet<(String, usize)> = BTreeSet::new();
    sandbox::within(NAME, programs(Build::Failpoints).unwrap(), || {
        uplink()?;
        let node = Node::start()?;
        let stays = Container::start("stays")?;
        let agent = NodeAgent::start(&node, None)?;
        node.add(&stays)?;
        agent.kill()?;
        let ends = |number: usize| -> Result<BTreeSet<String>> {
            put(&node, &own_wish(number))?;
            let agent = NodeAgent::start(&node, None)?;
            enforces(&node)?;
            let told = status(&node).map(|status| status["dataplane"]["backend"].clone());
            ensure!(told.as_ref().is_some_and(|told| told == BACKENDS[number].0), "{told:?}: {}", log());
            let there = dump::canonical()?;
            agent.kill()?;
            Ok(there)
        };
        let whole = [ends(0)?, ends(1)?, ends(2)?];
        // our own tables after those of the nft variant, and so on
        ends(0)?;
        for point in &all {
            for number in [1, 2, 0] {
                // by a start where that comes by the point, or by a change of settings
                let live = point == "felix-backend-comes";
                let agent = match live {
                    true => {
                        let armed = format!("{point}@{ARMED}");
                        let agent = NodeAgent::start(&node, Some(&armed))?;
                        enforces(&node)?;
                        fs::write(ARMED, "")?;
                        put(&node, &own_wish(number))?;
                        agent
                    }
                    false => {
                        put(&node, &own_wish(number))?;
                        NodeAgent::start(&node, Some(point))?
                    }
                };
                let stored = node.server().client.revision()?;
                let died = wait_for("its end, or all in force", PATIENCE, || {
                    let died = log().contains(&format!("died at failpoint {point}\n"));
                    (died || enforced(&node).is_some_and(|revision| revision >= stored)).then_some(died)
                })?;
                agent.kill()?;
                fs::write("/run/agent.log", "")?;
                let _ = fs::remove_file(ARMED);
                if died {
                    reached.insert((point.clone(), number));
                }
                let there = ends(number)?;
                let wrong: Vec<&String> = there.symmetric_difference(&whole[number]).collect();
                ensure!(wrong.is_empty(), "{point}, to {}: {wrong:#?}\n{}", BACKENDS[number].0, log());
            }
        }
        Ok(())
    })
    .unwrap();
    let is_reached = |point: &&String| {
        // each variant writes all tables; sets come with the first one, and go with the last
        let by: &[usize] = match point.as_str() {
            "felix-iptables-sets" => &[1],
            "felix-iptables-sets-gone" => &[0],
            "felix-backend-comes" => &[1, 0],
            "felix-backend-left" => &[1, 2, 0],
            _ => &[1, 2],
        };
        by.iter().all(|number| reached.contains(&((**point).clone(), *number)))
    };
    let missed: Vec<&String> = all.iter().filter(|point| !is_reached(point)).collect();
    assert!(missed.is_empty(), "no execution came by {missed:?}: {reached:?}");
}

/// The node's own FelixConfiguration: the one that is made for it at its first start says `Auto`, as Calico's client does.
fn own_wish(number: usize) -> serde_json::Value {
    let mut wish = wish(BACKENDS[number].0);
    wish["metadata"]["name"] = format!("node.{NAME}").into();
    wish
}

fn enforced(node: &Node) -> Option<i64> {
    let text = node.ocicat(&["felix", "status", "-o", "json"], "").ok()?.stdout;
    let status: serde_json::Value = serde_json::from_str(&text).ok()?;
    (status["waiting"] == "").then(|| status["enforcedRevision"].as_i64()).flatten()
}

/// What there is when nobody but the workload that stays is attached.
#[derive(Debug, PartialEq, Eq)]
struct Settled {
    kernel: BTreeSet<String>,
    files: BTreeSet<String>,
    keys: BTreeSet<String>,
    held: Vec<String>,
}

impl Settled {
    fn now(node: &Node) -> Result<Self> {
        let entries = fs::read_dir(STATUS_FILES).into_iter().flatten().flatten();
        let keys = node.server().client.snapshot()?.into_keys();
        Ok(Self {
            kernel: dump::canonical()?,
            files: entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect(),
            keys: keys
                .filter(|key| key.starts_with("/calico/felix/") && key.contains("/workload/"))
                .collect(),
            held: node.held()?,
        })
    }

    /// Waits until all is so again, and nothing is without an owner.
    fn again(&self, node: &Node, when: &str) -> Result<()> {
        let same = wait_for(when, PATIENCE, || {
            (node.loose().ok()?.is_empty() && Self::now(node).ok()? == *self).then_some(())
        });
        same.with_context(|| format!("{:?}\nnow: {:#?}\nbefore: {self:#?}", node.loose(), Self::now(node)))
    }
}

fn code(output: &Output) -> u64 {
    let said: serde_json::Value = serde_json::from_str(&output.stdout).unwrap_or_default();
    said["code"].as_u64().unwrap_or_default()
}

/// Whether the agent died there while a call was carried out. The next one leaves nothing without an owner, and the call made
/// again does what it should.
fn dies(node: &Node, point: &str, verb: &str, before: &Settled) -> Result<bool> {
    let armed = format!("{point}@{ARMED}");
    let variables: Vec<_> = REPORTING.into_iter().chain([("OCICAT_FAILPOINT", armed.as_str())]).collect();
    let container = Container::start("comes")?;
    let call = |verb: &str| {
        let mut configuration = node.configuration();
        configuration["agent_timeout_seconds"] = serde_json::json!(20);
        node.call(verb, &container).configuration(&configuration).run()
    };
    let agent = NodeAgent::start_with(node, &variables)?;
    enforces(node)?;
    if verb == "DEL" {
        call("ADD")?.expect_ok("ADD")?;
        if point.starts_with("felix-status-") {
            // what goes has to be there first
            wait_for("the status", PATIENCE, || {
                let now = Settled::now(node).ok()?;
                (now.files.len() > before.files.len() && now.keys.len() > before.keys.len()).then_some(())
            })?;
        }
    }
    fs::write(ARMED, "")?;
    let answered = call(verb)?;
    let died = died_at_within(point, LATER).is_ok();
    fs::remove_file(ARMED)?;
    if answered.ok() || !died {
        answered.clone().expect_ok(verb)?;
    } else {
        // its agent is dead: the call waits for the next one, which dies too, until its time is over
        ensure!(answered.ending == Ending::Exit(1) && code(&answered) == 11, "{answered:?}");
    }
    agent.kill()?;
    fs::write("/run/agent.log", "")?;
    let agent = NodeAgent::start_with(node, &REPORTING)?;
    enforces(node)?;
    if verb == "ADD" {
        if !answered.ok() {
            before.again(node, "after the restart")?;
        }
        call("ADD")?.expect_ok("the ADD again")?;
        ensure!(node.loose()?.is_empty(), "{:?}", node.loose()?);
    }
    call("DEL")?.expect_ok("the DEL again")?;
    before.again(node, "after the DEL")?;
    agent.kill()?;
    sandbox::del_netns(&container.netns)?;
    Ok(died)
}

/// A neighbour that tells these destinations.
fn bird(destinations: &[&str]) -> Result<Router> {
    let routes: String = destinations.iter().map(|to| format!("route {to} blackhole; ")).collect();
    let text = format!(
        "router id 192.0.2.2;
        protocol device {{}}
        protocol static {{ ipv4; {routes} }}
        protocol bgp node {{
            local 192.0.2.2 as 65002;
            neighbor 192.0.2.11 as 64512;
            graceful restart on;
            ipv4 {{ import all; export where source = RTS_STATIC; }};
        }}"
    );
    Router::start(Kind::Bird, Some(FAR), &text)
}

#[test]
fn bgpd_may_die_at_every_step() {
    let all = named_in("bgpd/DESIGN.md", &["bgpd-"]);
    assert_eq!(all, ["bgpd-fib"]);
    sandbox::within(NAME, programs(Build::Failpoints).unwrap(), || {
        wire()?;
        let node = Node::start()?;
        node.apply(PEER)?;
        let routes = || -> Result<BTreeSet<String>> {
            let text = tool("ip", &["route", "show", "proto", "81"])?;
            Ok(text.lines().filter_map(|line| line.split(' ').next()).map(str::to_owned).collect())
        };
        let has = |what: &str, wanted: &[&str]| -> Result<()> {
            let wanted: BTreeSet<String> = wanted.iter().map(|to| (*to).to_owned()).collect();
            wait_for(what, PATIENCE, || {
                let now = routes().ok()?;
                // blocks of this node are the speaker's too
                (now.iter().filter(|to| to.starts_with("198.")).cloned().collect::<BTreeSet<_>>() == wanted)
                    .then_some(())
            })
            .with_context(|| format!("{:?}\n{}", routes(), log()))
        };
        let network = |more: &[(&'static str, &'static str)]| {
            let with = [("CALICO_NETWORKING_BACKEND", "bird")];
            NodeAgent::start_with(&node, &with.into_iter().chain(more.iter().copied()).collect::<Vec<_>>())
        };
        let neighbour = bird(&["198.18.1.0/24", "198.18.2.0/24", "198.18.3.0/24"])?;
        let agent = network(&[("OCICAT_FAILPOINT", "bgpd-fib")])?;
        died_at("bgpd-fib")?;
        agent.kill()?;
        ensure!(!routes()?.is_empty(), "it died before anything was done");
        let agent = network(&[])?;
        has("all routes", &["198.18.1.0/24", "198.18.2.0/24", "198.18.3.0/24"])?;
        agent.kill()?;
        // one goes while nobody looks, and another comes
        drop(neighbour);
        let neighbour = bird(&["198.18.1.0/24", "198.18.3.0/24", "198.18.4.0/24"])?;
        let agent = network(&[("OCICAT_FAILPOINT", "bgpd-fib")])?;
        died_at("bgpd-fib")?;
        agent.kill()?;
        let agent = network(&[])?;
        wait_for("the session", PATIENCE, || is_established(&neighbour).then_some(()))?;
        has("the routes there are now", &["198.18.1.0/24", "198.18.3.0/24", "198.18.4.0/24"])?;
        agent.kill()
    })
    .unwrap();
}
