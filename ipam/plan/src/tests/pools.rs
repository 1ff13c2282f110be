//! Which pools a request may use: `ipam.md` §3 of the contract.

use super::{World, cidr, text};
use crate::request::AutoAssignRequest;
use model::key::{Key, Owner};
use model::v3::PoolUse;
use model::{Kind, net::Cidr};
use serde_json::json;

fn request() -> AutoAssignRequest {
    AutoAssignRequest::for_workload("node-1", 1, 0)
}

fn named(pools: &[&str]) -> AutoAssignRequest {
    AutoAssignRequest { v4_pools: pools.iter().map(|pool| cidr(pool)).collect(), ..request() }
}

fn block_of(world: &mut World, request: AutoAssignRequest) -> Cidr {
    world.auto(request).unwrap().v4.assigned[0].block
}

#[test]
fn no_pool_is_qualified() {
    let mut world = World::bare();
    assert_eq!(text(world.auto(request())), "cannot find a qualified ippool");
    world.pool("six", json!({"cidr": "fd00::/64"}));
    world.pool("off", json!({"cidr": "10.81.0.0/24", "disabled": true}));
    assert_eq!(text(world.auto(request())), "cannot find a qualified ippool");
    let key = Key::resource(Kind::IPPool, "", "going");
    let spec = json!({"cidr": "10.82.0.0/24"});
    world.put(
        &key,
        json!({"metadata": {"name": "going", "deletionTimestamp": "2026-01-01T00:00:00Z"}, "spec": spec}),
    );
    assert_eq!(text(world.auto(request())), "cannot find a qualified ippool");
    let refused = json!({"conditions": [{"type": "Allocatable", "status": "False"}]});
    world.put(&key, json!({"metadata": {"name": "going"}, "spec": spec, "status": refused}));
    assert_eq!(text(world.auto(request())), "cannot find a qualified ippool");
    world.put(&key, json!({"metadata": {"name": "going"}, "spec": {"cidr": "not a cidr"}}));
    assert_eq!(text(world.auto(request())), "cannot find a qualified ippool");
}

#[test]
fn named_pools_must_be_there_and_are_then_the_only_ones() {
    let mut world = World::bare();
    world.pool("a", json!({"cidr": "10.81.0.0/24"}));
    world.pool("by-hand", json!({"cidr": "10.82.0.0/24", "assignmentMode": "Manual"}));
    world.pool("elsewhere", json!({"cidr": "10.83.0.0/24", "nodeSelector": "rack == 'r9'"}));
    world.pool("off", json!({"cidr": "10.84.0.0/24", "disabled": true}));
    world.pool("namespaced", json!({"cidr": "10.85.0.0/24", "namespaceSelector": "team == 'x'"}));
    for (pool, within) in [("10.82.0.0/24", true), ("10.83.0.0/24", true), ("10.85.0.0/24", true)] {
        assert_eq!(cidr(pool).covers(&block_of(&mut world, named(&[pool]))), within);
    }
    for pool in ["10.84.0.0/24", "10.99.0.0/24"] {
        let error = text(world.auto(named(&["10.81.0.0/24", pool])));
        assert_eq!(error, format!("the given pool ({pool}) does not exist, or is not enabled"));
    }
    let six = AutoAssignRequest { v4_pools: vec![cidr("fd00::/64")], ..request() };
    assert_eq!(text(world.auto(six)), "provided IPv4 IPPools list contains one or more IPv6 IPPools");
    let four = AutoAssignRequest { v6_pools: vec![cidr("10.81.0.0/24")], ..request() };
    assert_eq!(text(world.auto(four)), "provided IPv6 IPPools list contains one or more IPv4 IPPools");
}

#[test]
fn unnamed_pools_are_those_that_select_node_and_namespace() {
    let mut world = World::bare();
    world.pool("a-manual", json!({"cidr": "10.81.0.0/24", "assignmentMode": "Manual"}));
    world.pool("b-rack", json!({"cidr": "10.82.0.0/24", "nodeSelector": "rack == 'r2'"}));
    world.pool("c-team", json!({"cidr": "10.83.0.0/24", "namespaceSelector": "team == 'x'"}));
    assert_eq!(text(world.auto(request())), "no configured Calico pools for node node-1");
    let of_team = AutoAssignRequest { namespace_labels: [("team".into(), "x".into())].into(), ..request() };
    assert!(cidr("10.83.0.0/24").covers(&block_of(&mut world, of_team)));
    let other_node = AutoAssignRequest { owner: Owner::Host("node-2".into()), ..request() };
    assert!(cidr("10.82.0.0/24").covers(&block_of(&mut world, other_node)));
}

#[test]
fn the_first_pool_in_listing_order_is_used_first() {
    let mut world = World::bare();
    world.pool("b", json!({"cidr": "10.81.0.0/30", "blockSize": 30}));
    world.pool("a", json!({"cidr": "10.82.0.0/30", "blockSize": 30}));
    let order: Vec<Cidr> = (0..5).map(|_| block_of(&mut world, request())).collect();
    assert_eq!(order[0], cidr("10.82.0.0/30"));
    assert_eq!(order[4], cidr("10.81.0.0/30"));
}

#[test]
fn uses() {
    let mut world = World::bare();
    world.pool("tunnels", json!({"cidr": "10.82.0.0/24", "allowedUses": ["Tunnel"]}));
    assert_eq!(
        text(world.auto(request())),
        "cannot find a qualified ippool, no pools match the required use (Workload)"
    );
    let tunnel = AutoAssignRequest { intended_use: PoolUse::Tunnel, ..request() };
    assert!(world.auto(tunnel.clone()).is_ok());
    world.pool("both", json!({"cidr": "10.81.0.0/24"}));
    assert!(world.auto(request()).is_ok(), "a pool that names no use is for workloads and tunnels");
    let service = AutoAssignRequest { intended_use: PoolUse::LoadBalancer, ..request() };
    assert!(text(world.auto(service)).ends_with("(LoadBalancer)"));
}

#[test]
fn the_node_must_exist_and_a_virtual_owner_needs_none() {
    let mut world = World::small();
    let unknown = AutoAssignRequest { owner: Owner::Host("node-9".into()), ..request() };
    assert_eq!(text(world.auto(unknown)), "resource does not exist: Node(node-9) with error: <nil>");
    world.pool("lb", json!({"cidr": "10.90.0.0/28", "blockSize": 30, "allowedUses": ["LoadBalancer"]}));
    let service = AutoAssignRequest {
        owner: Owner::Virtual("load-balancer".into()),
        intended_use: PoolUse::LoadBalancer,
        ..request()
    };
    let block = block_of(&mut world, service);
    assert_eq!(world.block(&block.to_string()).unwrap().affinity.as_deref(), Some("virtual:load-balancer"));
    let affinity = format!("/calico/ipam/v2/virtual/load-balancer/ipv4/block/{}", block.dashed());
    assert!(world.keys().contains(&affinity));
}

#[test]
fn a_selector_that_cannot_be_read_is_named() {
    let mut world = World::bare();
    world.pool("odd", json!({"cidr": "10.81.0.0/24", "nodeSelector": "rack =="}));
    let error = text(world.auto(request()));
    assert!(error.starts_with("IP pool \"odd\": nodeSelector 'rack ==': "), "{error}");
}
