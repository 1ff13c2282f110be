//! Who has the routes of a block: one row each (`felix.md` §8, `bgp.md` §9 of the contract).

use crate::support::{NODE, Node};
use felix_calc::{BlockRoute, Options, Report};
use model::Key;
use model::net::Cidr;
use serde_json::json;

const NODES: &str = "
kind: Node
apiVersion: projectcalico.org/v3
metadata: {name: node-1}
spec: {bgp: {ipv4Address: 192.0.2.11/24, ipv6Address: 'fd01::11/64'}}
---
kind: Node
apiVersion: projectcalico.org/v3
metadata: {name: near}
spec: {bgp: {ipv4Address: 192.0.2.12/24, ipv6Address: 'fd01::12/64'}}
---
kind: Node
apiVersion: projectcalico.org/v3
metadata: {name: far}
spec: {bgp: {ipv4Address: 198.51.100.13/24, ipv6Address: 'fd09::13/64'}}
---
kind: Node
apiVersion: projectcalico.org/v3
metadata: {name: internal}
spec: {addresses: [{address: 192.0.2.14, type: InternalIP}, {address: 203.0.113.14, type: ExternalIP}]}
";

fn pool(cidr: &str, modes: &str) -> String {
    format!(
        "kind: IPPool\napiVersion: projectcalico.org/v3\nmetadata: {{name: p}}\nspec: {{cidr: {cidr}{modes}}}\n"
    )
}

/// A block whose third address a workload on `borrower` has.
fn block(node: &mut Node, cidr: &str, owner: &str, borrower: Option<&str>) {
    let attributes = borrower.map(|node| json!({"handle_id": "h", "secondary": {"node": node}}));
    let value = json!({"cidr": cidr, "affinity": owner, "unallocated": [],
        "allocations": [null, null, borrower.map(|_| 0)], "attributes": attributes.into_iter().collect::<Vec<_>>()});
    node.put(&Key::Block(cidr.parse().unwrap()).path(), value.to_string());
}

fn cluster(options: Options, pools: &str) -> Node {
    let mut node = Node::new(options);
    node.apply(NODES);
    node.apply(pools);
    node
}

/// Routes as `ip route` would say them.
fn routes(node: &Node) -> Vec<String> {
    let one = |(to, route): (&Cidr, &BlockRoute)| match route {
        BlockRoute::Via { gateway, from } => format!("{to} via {gateway} from {from}"),
        BlockRoute::Unreachable => format!("unreachable {to}"),
        BlockRoute::Blackhole => format!("blackhole {to}"),
    };
    node.told.routes.iter().map(one).collect()
}

#[test]
fn every_encapsulation_and_owner_of_routes() {
    let default = Options::default;
    let all = || Options { no_encap_routes: true, ..default() };
    let none = || Options { ipip_routes: false, ..default() };
    let near = "10.64.1.0/26 via 192.0.2.12 from 192.0.2.11";
    let far = "10.64.2.0/26 via 198.51.100.13 from 192.0.2.11";
    let (lost_near, lost_far) = ("unreachable 10.64.1.0/26", "unreachable 10.64.2.0/26");
    let own = "blackhole 10.64.0.0/26";
    for (modes, options, expected) in [
        ("", default(), vec![]),
        ("", all(), vec![own, near, far]),
        (", ipipMode: Always", default(), vec![own, lost_near, lost_far]),
        (", ipipMode: CrossSubnet", default(), vec![own, near, lost_far]),
        // the near ones are the BGP speaker's; what must not leave in clear is nobody's but ours
        (", ipipMode: CrossSubnet", none(), vec![lost_far]),
        (", ipipMode: Always", none(), vec![lost_near, lost_far]),
        (", vxlanMode: Always", none(), vec![own, lost_near, lost_far]),
        (", vxlanMode: CrossSubnet", none(), vec![own, near, lost_far]),
        (", vxlanMode: CrossSubnet, disabled: true", none(), vec![own, near, lost_far]),
    ] {
        let mut node = cluster(options, &pool("10.64.0.0/16", modes));
        block(&mut node, "10.64.0.0/26", "host:node-1", None);
        block(&mut node, "10.64.1.0/26", "host:near", None);
        block(&mut node, "10.64.2.0/26", "host:far", None);
        block(&mut node, "10.64.3.0/26", "virtual:load-balancer", None);
        block(&mut node, "10.65.0.0/26", "host:near", None);
        assert_eq!(routes(&node), expected, "{modes}");
    }
}

#[test]
fn ipv6_has_its_own_addresses_and_subnets() {
    let mut node = cluster(Options::default(), &pool("'fd64::/48'", ", vxlanMode: CrossSubnet"));
    block(&mut node, "fd64::/122", "host:node-1", None);
    block(&mut node, "fd64::40/122", "host:near", None);
    block(&mut node, "fd64::80/122", "host:far", None);
    block(&mut node, "fd64::c0/122", "host:internal", None);
    let expected = [
        "blackhole fd64::/122",
        "fd64::40/122 via fd01::12 from fd01::11",
        "unreachable fd64::80/122",
        "unreachable fd64::c0/122",
    ];
    assert_eq!(routes(&node), expected);
}

#[test]
fn borrowed_addresses_go_to_who_has_them() {
    let options = Options { no_encap_routes: true, ..Options::default() };
    let mut node = cluster(options, &pool("10.64.0.0/16", ""));
    block(&mut node, "10.64.0.0/26", "host:node-1", Some("near"));
    block(&mut node, "10.64.1.0/26", "host:near", Some(NODE));
    block(&mut node, "10.64.2.0/26", "host:near", Some("internal"));
    block(&mut node, "10.64.3.0/26", "host:near", Some("near"));
    let near = |to: &str| format!("{to} via 192.0.2.12 from 192.0.2.11");
    let expected = [
        "blackhole 10.64.0.0/26".to_owned(),
        near("10.64.0.2/32"),
        near("10.64.1.0/26"),
        near("10.64.2.0/26"),
        "10.64.2.2/32 via 192.0.2.14 from 192.0.2.11".to_owned(),
        near("10.64.3.0/26"),
    ];
    assert_eq!(routes(&node), expected);
    // given back
    block(&mut node, "10.64.0.0/26", "host:node-1", None);
    assert!(!routes(&node).contains(&near("10.64.0.2/32")));
    // a block of one address is the workload's own route, never a blackhole
    block(&mut node, "10.64.9.9/32", "host:node-1", None);
    assert!(routes(&node).iter().all(|route| !route.contains("10.64.9.9")));
}

/// Overlapping blocks are none of Calico's doing; still the smaller one says who has its addresses.
#[test]
fn a_block_inside_of_another_has_its_own_route() {
    let options = Options { no_encap_routes: true, ..Options::default() };
    let of = |node: &Node| {
        routes(node).into_iter().filter(|route| route.starts_with("10.64.1.2/32")).collect::<Vec<_>>()
    };
    for inner_first in [false, true] {
        let mut node = cluster(options.clone(), &pool("10.64.0.0/16", ""));
        for inner in [inner_first, !inner_first] {
            match inner {
                true => block(&mut node, "10.64.1.2/32", "host:far", None),
                false => block(&mut node, "10.64.1.0/26", "host:near", Some("internal")),
            }
        }
        assert_eq!(of(&node), ["10.64.1.2/32 via 198.51.100.13 from 192.0.2.11"]);
        node.delete(&Key::Block("10.64.1.2/32".parse().unwrap()).path());
        assert_eq!(of(&node), ["10.64.1.2/32 via 192.0.2.14 from 192.0.2.11"]);
    }
}

#[test]
fn routes_follow_nodes_pools_and_settings() {
    let options = Options { no_encap_routes: true, ..Options::default() };
    let mut node = cluster(options, &pool("10.64.0.0/16", ""));
    block(&mut node, "10.64.1.0/26", "host:near", None);
    block(&mut node, "10.64.4.0/26", "host:nobody", None);
    assert_eq!(routes(&node), ["10.64.1.0/26 via 192.0.2.12 from 192.0.2.11"]);
    node.apply("kind: Node\napiVersion: projectcalico.org/v3\nmetadata: {name: near}\nspec: {bgp: {ipv4Address: 192.0.2.99/24}}");
    assert_eq!(routes(&node), ["10.64.1.0/26 via 192.0.2.99 from 192.0.2.11"]);
    node.delete("/calico/resources/v3/projectcalico.org/nodes/near");
    assert_eq!(routes(&node), [""; 0]);
    node.apply(&pool("10.64.0.0/16", ", ipipMode: Always"));
    assert_eq!(routes(&node), ["unreachable 10.64.1.0/26", "unreachable 10.64.4.0/26"]);
    node.delete("/calico/resources/v3/projectcalico.org/ippools/p");
    assert_eq!(routes(&node), [""; 0]);
}

#[test]
fn the_smallest_pool_around_a_block_is_its_pool() {
    let mut node = cluster(Options::default(), &pool("10.64.0.0/16", ""));
    let raw = json!({"spec": {"cidr": "10.64.1.0/24", "vxlanMode": "Always"}}).to_string();
    node.put("/calico/resources/v3/projectcalico.org/ippools/z", raw);
    block(&mut node, "10.64.1.0/26", "host:near", None);
    block(&mut node, "10.64.2.0/26", "host:near", None);
    assert_eq!(routes(&node), ["unreachable 10.64.1.0/26"]);
}

#[test]
fn a_pool_that_is_not_carried_is_reported_until_it_is_gone() {
    let mut node = cluster(Options::default(), &pool("10.64.0.0/16", ", ipipMode: CrossSubnet"));
    let key = Key::parse("/calico/resources/v3/projectcalico.org/ippools/p").unwrap();
    let expected =
        Report::NotCarried { pool: "10.64.0.0/16".parse().unwrap(), field: "ipipMode", mode: "CrossSubnet" };
    assert_eq!(node.told.reports[&key], [expected]);
    node.apply(&pool("10.64.0.0/16", ""));
    assert!(node.told.reports.is_empty());
    assert_eq!(node.feed.reports().count(), 0);
}

#[test]
fn sets_of_pools_and_hosts() {
    let pools = pool("10.64.0.0/16", ", natOutgoing: true, disabled: true")
        + "---\nkind: IPPool\napiVersion: projectcalico.org/v3\nmetadata: {name: lb}\nspec: {cidr: 10.65.0.0/16, allowedUses: [LoadBalancer]}\n"
        + "---\nkind: IPPool\napiVersion: projectcalico.org/v3\nmetadata: {name: v6}\nspec: {cidr: 'fd64::/48'}\n";
    let mut node = cluster(Options::default(), &pools);
    assert_eq!(node.members("network-ip-pools"), ["10.64.0.0/16", "fd64::/48"]);
    assert_eq!(node.members("masq-ipam-pools"), ["10.64.0.0/16"]);
    assert!(!node.told.sets.contains_key("all-hosts-net"));
    // IP in IP needs the nodes' IPv4 addresses
    let ipip = Options { ipip_enabled: Some(true), ..Options::default() };
    node.feed.set_options(ipip);
    node.settle();
    let v4 = ["192.0.2.11/32", "192.0.2.12/32", "192.0.2.14/32", "198.51.100.13/32"];
    assert_eq!(node.members("all-hosts-net"), v4);
    let spared = Options {
        masquerade_spares_hosts: true,
        external_nodes: vec!["203.0.113.0/24".parse().unwrap()],
        ..Options::default()
    };
    node.feed.set_options(spared);
    node.settle();
    let both = [&v4[..], &["203.0.113.0/24", "fd01::11/128", "fd01::12/128", "fd09::13/128"]].concat();
    assert_eq!(node.members("all-hosts-net"), both);
    node.feed.set_options(Options::default());
    node.settle();
    assert!(!node.told.sets.contains_key("all-hosts-net"));
    // a pool with IP in IP asks for it itself, one that is switched off does not matter
    node.apply(&pool("10.64.0.0/16", ", ipipMode: Always"));
    assert_eq!(node.members("all-hosts-net"), v4);
    node.feed.set_options(Options { ipip_enabled: Some(false), ..Options::default() });
    node.settle();
    assert!(!node.told.sets.contains_key("all-hosts-net"));
}
