//! Nothing is leaked: a plugin that dies at any step leaves nothing that DEL, or the same ADD again, does not clean up.
//!
//! The steps are the rows of the table in `cni-plugin/DESIGN.md`; each names the failpoint that stands for it. Built with the
//! feature `failpoints`, a program aborts at the place that `OCICAT_FAILPOINT` names.

use anyhow::{Context, Result};
use ocicat_tests::binaries::{Build, programs};
use ocicat_tests::node::{Container, NAME, Node};
use ocicat_tests::process::Ending;
use ocicat_tests::sandbox;
use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

/// SIGABRT: what a failpoint ends with.
const ABORTED: Ending = Ending::Signal(6);

/// Every failpoint that the step table names, with the verb of its table row's section.
fn failpoints() -> Vec<String> {
    let design = Path::new(env!("CARGO_MANIFEST_DIR")).join("../cni-plugin/DESIGN.md");
    let text = fs::read_to_string(design).expect("cni-plugin/DESIGN.md");
    let cells = text.lines().filter(|line| line.starts_with('|')).flat_map(|line| line.split('|'));
    let names = cells.flat_map(|cell| cell.split('`').skip(1).step_by(2));
    let points: BTreeSet<&str> =
        names.filter(|name| name.starts_with("cni-") || name.starts_with("ipam-")).collect();
    points.into_iter().map(str::to_owned).collect()
}

#[test]
fn every_step_of_add_may_be_the_last() {
    let mut reached = BTreeSet::new();
    let all = failpoints();
    assert!(all.len() >= 10, "the step table names only {all:?}");
    sandbox::within(NAME, programs(Build::Failpoints).unwrap(), || {
        let node = Node::start()?;
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
    let container = Container::start("pod1")?;
    let died = node.call("ADD", &container).env("OCICAT_FAILPOINT", point).run()?;
    let reached = died.ending == ABORTED;
    if !reached {
        assert!(died.ok(), "neither aborted nor succeeded: {died:?}");
    }
    if then == "ADD" {
        node.add(&container)?;
        node.assert_whole("after the second ADD")?;
    }
    gone(node, &container)?;
    Ok(reached)
}

fn dies_in_del(node: &Node, point: &str) -> Result<bool> {
    let container = Container::start("pod1")?;
    node.add(&container)?;
    let died = node.call("DEL", &container).env("OCICAT_FAILPOINT", point).run()?;
    let reached = died.ending == ABORTED;
    assert!(reached || died.ok(), "neither aborted nor succeeded: {died:?}");
    gone(node, &container)?;
    Ok(reached)
}

/// DEL, and what must be true after it.
fn gone(node: &Node, container: &Container) -> Result<()> {
    node.del(container)?;
    node.assert_whole("after DEL")?;
    assert_eq!(node.held()?, Vec::<String>::new(), "still held after DEL");
    Ok(())
}

#[test]
fn a_container_that_vanished_is_cleaned_up_all_the_same() {
    sandbox::within(NAME, programs(Build::Plain).unwrap(), || {
        let node = Node::start()?;
        let container = Container::start("pod1")?;
        node.add(&container)?;
        sandbox::del_netns(&container.netns)?;
        gone(&node, &container)?;
        gone(&node, &container)
    })
    .unwrap();
}
