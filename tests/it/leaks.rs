//! Nothing is leaked: a plugin that dies at any step leaves nothing that DEL, or the same ADD again, does not clean up.
//!
//! The steps are the rows of the table in `cni-plugin/DESIGN.md`; each names the failpoint that stands for it. Built with the
//! feature `failpoints`, a program aborts at the place that `OCICAT_FAILPOINT` names.

use anyhow::{Context, Result};
use ocicat_tests::binaries::{Build, programs};
use ocicat_tests::failpoints::named_in;
use ocicat_tests::node::{Call, Container, NAME, Node, documents};
use ocicat_tests::process::Ending;
use ocicat_tests::sandbox;
use serde_json::json;
use std::collections::BTreeSet;

/// SIGABRT: what a failpoint ends with.
const ABORTED: Ending = Ending::Signal(6);

/// Every failpoint of a call without an agent.
fn failpoints() -> Vec<String> {
    let mut points = failpoints_of(&["cni-", "ipam-"]);
    // what an agent's calls write together
    points.retain(|point| !point.starts_with("ipam-shared-"));
    points
}

/// Every failpoint that the step tables name and that begins in one of these ways.
pub fn failpoints_of(prefixes: &[&str]) -> Vec<String> {
    named_in("cni-plugin/DESIGN.md", prefixes)
}

/// What the store holds before an ADD, so that it comes by a certain write of `ipam`. Each pool is one block.
struct Scene {
    /// What it is for, as the failpoint names the write; other failpoints take the first scene.
    write: &'static str,
    /// State of the one block of each family.
    block: Block,
    /// What a runtime is told to pass on.
    arguments: &'static str,
    /// Whether an ADD can be met at all.
    can_be_met: bool,
}

/// A block, IPv4 and IPv6 alike.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Block {
    /// Not made.
    Absent,
    /// This node's, with room.
    Own,
    /// This node's, without its affinity.
    OwnWithoutAffinity,
    /// Another node's, empty, claimed now or long ago.
    Others { long_ago: bool },
    /// Another node's, without room; an affinity says that it is this node's.
    StaleAndFull,
}

const fn scene(write: &'static str, block: Block) -> Scene {
    Scene { write, block, arguments: "", can_be_met: true }
}

const SCENES: [Scene; 8] = [
    scene("ipam-assign", Block::Own),
    scene("ipam-claim", Block::Absent),
    scene("ipam-resume", Block::OwnWithoutAffinity),
    scene("ipam-steal", Block::Others { long_ago: true }),
    scene("ipam-borrow", Block::Others { long_ago: false }),
    Scene { can_be_met: false, ..scene("ipam-repair", Block::StaleAndFull) },
    Scene { arguments: "IP=10.64.0.5", ..scene("ipam-assign-ip", Block::Own) },
    Scene { arguments: "IP=10.64.0.5", ..scene("ipam-claim-ip", Block::Absent) },
];

impl Scene {
    fn of(point: &str) -> &'static Scene {
        let write = point.trim_end_matches("-before").trim_end_matches("-after");
        SCENES.iter().find(|scene| scene.write == write).unwrap_or(&SCENES[0])
    }

    /// Sets it up in an empty store; returns what hangs loose in it by itself.
    fn set(&self, node: &Node) -> Result<Vec<String>> {
        let client = &node.server().client;
        client.reset()?;
        // pools of one block each
        node.apply(&documents(&[NAME], &[("four", "10.64.0.0/28", 28), ("six", "fd5f:64::/124", 124)]))?;
        let affinity = |host: &str, family: u8, block: &str| {
            let value = json!({"state": "confirmed", "deleted": false}).to_string();
            client.put(&format!("/calico/ipam/v2/host/{host}/ipv{family}/block/{block}"), &value)
        };
        for (family, cidr, name) in
            [(4, "10.64.0.0/28", "10.64.0.0-28"), (6, "fd5f:64::/124", "fd5f:64::-124")]
        {
            let owner = match self.block {
                Block::Absent => continue,
                Block::Own | Block::OwnWithoutAffinity => NAME,
                Block::Others { .. } | Block::StaleAndFull => "other",
            };
            let now = jiff::Timestamp::now().to_string();
            let long_ago = self.block == Block::Others { long_ago: true };
            let full = self.block == Block::StaleAndFull;
            let free: Vec<u32> = if full { Vec::new() } else { (0..16).collect() };
            let allocations = vec![if full { json!(0) } else { json!(null) }; 16];
            let attributes = if full { json!([{"handle_id": "other.c9"}]) } else { json!([]) };
            let block = json!({
                "cidr": cidr,
                "affinity": format!("host:{owner}"),
                "affinity_claim_time": if long_ago { "2020-01-01T00:00:00Z" } else { &now },
                "allocations": allocations,
                "unallocated": free,
                "attributes": attributes,
                "deleted": false,
                "sequenceNumber": 1,
                "sequenceNumberForAllocation": {},
            });
            client
                .put(&format!("/calico/ipam/v2/assignment/ipv{family}/block/{name}"), &block.to_string())?;
            if self.block != Block::OwnWithoutAffinity {
                affinity(owner, family, name)?;
            }
            if full {
                affinity(NAME, family, name)?;
            }
        }
        node.loose()
    }

    fn add(&self, node: &Node, container: &Container) -> Call {
        let call = node.call("ADD", container);
        if self.arguments.is_empty() { call } else { call.env("CNI_ARGS", self.arguments) }
    }
}

#[test]
fn every_step_may_be_the_last() {
    let mut reached = BTreeSet::new();
    let all = failpoints();
    assert!(all.len() >= 27, "the step tables name only {all:?}");
    for scene in &SCENES {
        for side in ["before", "after"] {
            let point = format!("{}-{side}", scene.write);
            assert!(all.contains(&point), "the step tables do not name {point}");
        }
    }
    sandbox::within(NAME, programs(Build::Failpoints).unwrap(), || {
        let node = Node::without_resources()?;
        for point in &all {
            for then in ["DEL", "ADD"] {
                if dies_in_add(&node, point, then).with_context(|| format!("{point}, then {then}"))? {
                    reached.insert(point.clone());
                }
            }
            if dies_in_del(&node, point).with_context(|| format!("{point} in DEL"))? {
                reached.insert(point.clone());
            }
        }
        Ok(())
    })
    .unwrap();
    let missed: Vec<&String> = all.iter().filter(|point| !reached.contains(*point)).collect();
    assert!(missed.is_empty(), "no execution came by {missed:?}");
}

/// Whether ADD came by the failpoint; afterwards `then` must leave all owned, and a last DEL nothing at all.
fn dies_in_add(node: &Node, point: &str, then: &str) -> Result<bool> {
    let scene = Scene::of(point);
    let before = scene.set(node)?;
    let container = Container::start("pod1")?;
    let died = scene.add(node, &container).env("OCICAT_FAILPOINT", point).run()?;
    let reached = died.ending == ABORTED;
    if !reached {
        assert!(died.ok() == scene.can_be_met, "neither aborted nor as expected: {died:?}");
    }
    if then == "ADD" {
        let again = scene.add(node, &container).run()?;
        assert!(again.ok() == scene.can_be_met, "the second ADD: {again:?}");
        nothing_new(node, &before, "after the second ADD")?;
    }
    gone(node, &container, &before)?;
    sandbox::del_netns(&container.netns)?;
    Ok(reached)
}

fn dies_in_del(node: &Node, point: &str) -> Result<bool> {
    let scene = Scene::of(point);
    let before = scene.set(node)?;
    let container = Container::start("pod1")?;
    let added = scene.add(node, &container).run()?;
    assert!(added.ok() == scene.can_be_met, "{added:?}");
    let died = node.call("DEL", &container).env("OCICAT_FAILPOINT", point).run()?;
    let reached = died.ending == ABORTED;
    assert!(reached || died.ok(), "neither aborted nor succeeded: {died:?}");
    gone(node, &container, &before)?;
    sandbox::del_netns(&container.netns)?;
    Ok(reached)
}

/// DEL, and what must be true after it.
fn gone(node: &Node, container: &Container, before: &[String]) -> Result<()> {
    node.del(container)?;
    nothing_new(node, before, "after DEL")?;
    assert_eq!(node.held()?, Vec::<String>::new(), "still held after DEL");
    Ok(())
}

/// Fails if anything hangs loose but what did so `before`.
fn nothing_new(node: &Node, before: &[String], when: &str) -> Result<()> {
    let new: Vec<String> = node.loose()?.into_iter().filter(|loose| !before.contains(loose)).collect();
    anyhow::ensure!(new.is_empty(), "{when}:\n  {}", new.join("\n  "));
    Ok(())
}

#[test]
fn a_container_that_vanished_is_cleaned_up_all_the_same() {
    sandbox::within(NAME, programs(Build::Plain).unwrap(), || {
        let node = Node::start()?;
        let container = Container::start("pod1")?;
        node.add(&container)?;
        sandbox::del_netns(&container.netns)?;
        gone(&node, &container, &[])?;
        gone(&node, &container, &[])
    })
    .unwrap();
}
