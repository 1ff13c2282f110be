//! What is in the store has a form that Calico knows: every key parses, and is written as it was read.

use model::Key;
use ocicat_tests::binaries::{Build, programs};
use ocicat_tests::golden::case::{corpus_dir, load};
use ocicat_tests::node::{Container, NAME, Node};
use ocicat_tests::sandbox;
use std::collections::BTreeSet;

/// What is wrong with a key, if anything.
fn fault(key: &str) -> Option<String> {
    match Key::parse(key) {
        None => Some(format!("{key}: not a form of datamodel.md")),
        Some(parsed) if parsed.path() != key => Some(format!("{key}: would be written as {}", parsed.path())),
        Some(_) => None,
    }
}

#[test]
fn every_key_that_calico_wrote_is_known_and_kept() {
    let mut keys = BTreeSet::new();
    for located in load(&corpus_dir()).unwrap() {
        for step in located.case.steps {
            let change = step.etcd.unwrap_or_default();
            keys.extend(change.put.into_iter().chain(step.put).map(|pair| pair.key));
            keys.extend(change.del.into_iter().chain(step.del));
        }
    }
    assert!(keys.len() > 300, "{}", keys.len());
    let faults: Vec<String> = keys.iter().filter_map(|key| fault(key)).collect();
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

#[test]
fn every_key_that_a_node_leaves_is_known() {
    sandbox::within(NAME, programs(Build::Plain).unwrap(), || {
        let node = Node::start()?;
        for name in ["pod1", "pod2", "pod3"] {
            node.add(&Container::start(name)?)?;
        }
        node.ocicat(&["ipam", "configure", "--strictaffinity=true"], "")?.expect_ok("ipam configure")?;
        let keys = node.server().client.snapshot()?;
        let has = |part: &str| keys.keys().any(|key| key.contains(part));
        for part in
            ["/ipam/v2/config", "/ipam/v2/handle/", "/block/", "/workloadendpoints/", "/profiles/", "/tiers/"]
        {
            assert!(has(part), "nothing of {part}");
        }
        let faults: Vec<String> = keys.keys().filter_map(|key| fault(key)).collect();
        assert!(faults.is_empty(), "{}", faults.join("\n"));
        Ok(())
    })
    .unwrap();
}
