//! Claims and releases of whole blocks: `ipam.md` §5.4, §5.5, §7.5 of the contract.

use super::{World, cidr, host, text};
use crate::{
    claim_affinity, release_affinity, release_host_affinities, release_pool_affinities, remove_host,
};
use model::key::{Key, Owner};
use serde_json::json;

fn world() -> World {
    let mut world = World::bare();
    world.pool("p", json!({"cidr": "10.80.0.0/28", "blockSize": 30}));
    world.pool("six", json!({"cidr": "fd00::/120", "blockSize": 122}));
    world
}

#[test]
fn a_range_is_claimed_but_for_what_is_anothers() {
    let mut world = world();
    world.run(claim_affinity(host("node-2"), cidr("10.80.0.4/30"))).unwrap();
    let outcome = world.run(claim_affinity(host("node-1"), cidr("10.80.0.0/28"))).unwrap();
    assert_eq!(outcome.claimed, ["10.80.0.0/30", "10.80.0.8/30", "10.80.0.12/30"].map(cidr));
    assert_eq!(outcome.refused, [cidr("10.80.0.4/30")]);
    assert_eq!(world.affinity("node-1", "10.80.0.4/30"), None);
    let again = world.run(claim_affinity(host("node-1"), cidr("10.80.0.0/30"))).unwrap();
    assert_eq!(again.claimed, [cidr("10.80.0.0/30")]);
    let block = world.block("10.80.0.0/30").unwrap();
    assert_eq!(
        block.sequence_number,
        u64::try_from(world.now.as_nanosecond()).unwrap(),
        "a claim is no update"
    );
}

#[test]
fn ranges_must_be_pieces_of_a_pool() {
    let mut world = world();
    for (range, error) in [
        ("10.99.0.0/28", "The requested CIDR (10.99.0.0/28) is not within any configured pools."),
        ("10.80.0.0/24", "The requested CIDR (10.80.0.0/24) is not within any configured pools."),
        ("10.80.0.0/31", "The requested CIDR (10.80.0.0/31) is smaller than the minimum."),
    ] {
        assert_eq!(text(world.run(claim_affinity(host("node-1"), cidr(range)))), error);
        assert_eq!(text(world.run(release_affinity(host("node-1"), cidr(range), false))), error);
    }
    world.pool("vast", json!({"cidr": "fd01::/64"}));
    let error = text(world.run(claim_affinity(host("node-1"), cidr("fd01::/64"))));
    assert!(error.contains("more than 65536 blocks"), "{error}");
}

#[test]
fn an_empty_block_goes_and_one_in_use_stays_without_an_owner() {
    let mut world = world();
    world.run(claim_affinity(host("node-1"), cidr("10.80.0.0/29"))).unwrap();
    let used = cidr(&world.add("node-1", "h").unwrap().replace(".1/", ".0/")).to_string();
    let empty = if used == "10.80.0.0/30" { "10.80.0.4/30" } else { "10.80.0.0/30" };
    let error = text(world.run(release_affinity(host("node-1"), cidr("10.80.0.0/29"), true)));
    assert_eq!(error, format!("block '{used}' is not empty"));
    assert_eq!(world.block(empty), None, "the others are done all the same");
    let before = world.block(&used).unwrap();
    world.run(release_affinity(host("node-1"), cidr("10.80.0.0/29"), false)).unwrap();
    let after = world.block(&used).unwrap();
    assert_eq!((after.affinity, after.affinity_claim_time), (None, None));
    assert_eq!(after.sequence_number, before.sequence_number + 1);
    assert_eq!(world.affinity("node-1", &used), None);
    world.del("h");
    assert_eq!(world.block(&used), None);
}

#[test]
fn a_host_gives_up_both_families_and_nobody_elses() {
    let mut world = world();
    world.run(claim_affinity(host("node-1"), cidr("10.80.0.0/30"))).unwrap();
    world.run(claim_affinity(host("node-1"), cidr("fd00::/122"))).unwrap();
    world.run(claim_affinity(host("node-2"), cidr("10.80.0.8/30"))).unwrap();
    world.run(claim_affinity(host("node-10"), cidr("10.80.0.12/30"))).unwrap();
    world.put(&Key::IpamHost("node-1".into()), json!(null));
    world.run(release_host_affinities("node-1".into(), true)).unwrap();
    let blocks: Vec<String> = world.keys().into_iter().filter(|key| key.contains("/assignment/")).collect();
    assert_eq!(blocks.len(), 2, "{blocks:?}");
    world.run(remove_host("node-1".into())).unwrap();
    assert!(!world.keys().contains(&"/calico/ipam/v2/host/node-1".to_owned()));
}

#[test]
fn a_pool_takes_its_blocks_from_all_hosts() {
    let mut world = world();
    world.run(claim_affinity(host("node-1"), cidr("10.80.0.0/30"))).unwrap();
    world.run(claim_affinity(host("node-2"), cidr("10.80.0.8/30"))).unwrap();
    world.run(claim_affinity(Owner::Virtual("load-balancer".into()), cidr("10.80.0.12/30"))).unwrap();
    world.run(claim_affinity(host("node-1"), cidr("fd00::/122"))).unwrap();
    world.interference.push(Box::new(|world| drop(world.add("node-2", "late").unwrap())));
    world.run(release_pool_affinities(cidr("10.80.0.0/28"))).unwrap();
    assert_eq!(world.block("10.80.0.0/30"), None);
    let late = world.block("10.80.0.8/30").unwrap();
    assert_eq!(late.affinity, None, "what was assigned meanwhile stays");
    assert!(world.block("fd00::/122").is_some(), "another pool's");
    assert!(world.block("10.80.0.12/30").is_some(), "a virtual owner's");
}

#[test]
fn stale_affinities_go_without_touching_the_block() {
    let mut world = world();
    world.run(claim_affinity(host("node-2"), cidr("10.80.0.0/30"))).unwrap();
    world.put_affinity("node-1", "10.80.0.0/30", "confirmed");
    world.put_affinity("node-1", "10.80.0.4/30", "pendingDeletion");
    let before = world.block("10.80.0.0/30");
    world.run(release_host_affinities("node-1".into(), true)).unwrap();
    assert_eq!(world.block("10.80.0.0/30"), before);
    assert!(!world.keys().iter().any(|key| key.contains("/host/node-1/")));
}

#[test]
fn many_blocks_are_given_up_in_transactions_that_the_store_takes() {
    let mut world = World::bare();
    world.pool("ones", json!({"cidr": "10.80.0.0/24", "blockSize": 32}));
    world.run(claim_affinity(host("node-1"), cidr("10.80.0.0/24"))).unwrap();
    assert_eq!(world.keys().len(), 512);
    world.run(remove_host("node-1".into())).unwrap();
    assert!(world.keys().is_empty());
}

#[test]
fn claiming_a_block_that_is_being_given_up_makes_that_fail() {
    let mut world = world();
    world.run(claim_affinity(host("node-1"), cidr("10.80.0.0/30"))).unwrap();
    let before = world.block("10.80.0.0/30").unwrap();
    world.run(claim_affinity(host("node-1"), cidr("10.80.0.0/30"))).unwrap();
    assert!(world.writes().is_empty(), "a confirmed block is left alone");
    world.put_affinity("node-1", "10.80.0.0/30", "pendingDeletion");
    world.run(claim_affinity(host("node-1"), cidr("10.80.0.0/30"))).unwrap();
    assert_eq!(world.affinity("node-1", "10.80.0.0/30").unwrap(), "confirmed");
    let after = world.block("10.80.0.0/30").unwrap();
    assert_eq!(after.sequence_number, before.sequence_number + 1, "its compare-and-swap of the block fails");
}
