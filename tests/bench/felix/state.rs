//! What is stored, in Calico's layout: a cluster of a given size seen by one node.
//!
//! Policy `i` selects `app == 'aI'` and lets in `role == 'rJ'`. Of 1,000 values of `app` each fifth is that of a local
//! endpoint, so that a fifth of the policies match one. 50 roles divide all endpoints between them.

use serde_json::{Value, json};
use std::fmt::Write;
use std::net::Ipv4Addr;

/// The node that is measured.
pub const NODE: &str = "node-1";

/// The local endpoint that probes are sent to.
pub const SERVER: usize = 0;

/// The local endpoint that sends them. Its role is the last.
pub const CLIENT: usize = 49;

/// The port that the policy [`probe_policy`] is about.
pub const PROBE_PORT: u16 = 7000;

/// The port of the first policy on the server's endpoint; each has its own.
pub const FIRST_PORT: u16 = 2000;

const APPS: usize = 1000;
const ROLES: usize = 50;
const RESOURCES: &str = "/calico/resources/v3/projectcalico.org";

/// A stored pair.
pub type Pair = (String, String);

/// How much there is.
#[derive(Debug, Clone, Copy, Default)]
pub struct State {
    /// Endpoints of [`NODE`], each with an interface.
    pub locals: usize,
    /// Endpoints of other nodes, 100 a node.
    pub remotes: usize,
    /// Policies as the head of this file says.
    pub policies: usize,
    /// Policies on the server's endpoint, each with a source selector and a port of its own. Where there are any, no other
    /// selects that endpoint.
    pub on_endpoint: usize,
    /// Other nodes that own a block of addresses each.
    pub blocks: usize,
    /// Other nodes in the rack of [`NODE`]: the first ones.
    pub rack: usize,
    /// CIDRs in a network set; where there are any, one more policy lets them in, and a second set of one CIDR.
    pub nets: usize,
}

impl State {
    /// All pairs, one after another.
    pub fn pairs(self) -> impl Iterator<Item = Pair> {
        let nodes = self.remotes.div_ceil(100).max(self.blocks);
        let sets = usize::from(self.nets > 0);
        basics()
            .into_iter()
            .chain((0..=nodes).map(move |n| node(n, n <= self.rack && self.rack > 0)))
            .chain((0..self.blocks).flat_map(block))
            .chain((0..self.locals + self.remotes).map(move |n| self.endpoint(n, Labels::default())))
            .chain((0..self.policies).map(policy))
            .chain((0..self.on_endpoint).map(move |i| policy_on_endpoint(i, self.on_endpoint)))
            .chain((0..sets).flat_map(move |_| {
                [
                    network_set("big", &cidrs(self.nets)),
                    network_set("small", &[cidr(self.nets)]),
                    net_policy(),
                ]
            }))
    }

    /// Endpoint `n`, local ones first.
    pub fn endpoint(self, n: usize, labels: Labels) -> Pair {
        let local = n < self.locals;
        let node = if local { NODE.to_owned() } else { format!("node-{}", 2 + (n - self.locals) / 100) };
        let workload = format!("w{n}");
        let app = match (local, n) {
            (true, SERVER) if self.on_endpoint > 0 => "server".to_owned(),
            (true, _) => local_app(n),
            (false, _) => format!("a{}", n % APPS),
        };
        let mut all = json!({
            "app": app, "role": role(n + labels.turn),
            "projectcalico.org/namespace": "default", "projectcalico.org/orchestrator": "cni",
        });
        match (local, n) {
            (true, SERVER) => all["probe"] = "server".into(),
            (true, CLIENT) => all["probe"] = "client".into(),
            _ => {}
        }
        if let Some(version) = labels.unused {
            all["version"] = version.to_string().into();
        }
        let name = format!("{}-cni-{workload}-eth0", node.replace('-', "--"));
        let value = json!({
            "kind": "WorkloadEndpoint", "apiVersion": "projectcalico.org/v3",
            "metadata": {"name": name, "namespace": "default", "uid": uid(n), "creationTimestamp": CREATED, "labels": all},
            "spec": {
                "orchestrator": "cni", "node": node, "containerID": workload, "endpoint": "eth0",
                "ipNetworks": [format!("{}/32", address(n))], "profiles": ["open"],
                "interfaceName": interface(n), "mac": mac(n),
            },
        });
        (format!("{RESOURCES}/workloadendpoints/default/{name}"), value.to_string())
    }
}

/// Labels of an endpoint that change.
#[derive(Debug, Clone, Copy, Default)]
pub struct Labels {
    /// Places by which its role has moved on.
    pub turn: usize,
    /// Value of a label that no selector uses.
    pub unused: Option<usize>,
}

fn local_app(n: usize) -> String {
    format!("a{}", n * 5 % APPS)
}

fn role(n: usize) -> String {
    format!("r{}", n % ROLES)
}

/// Labels that policies select of workload `n` of [`NODE`].
pub fn labels(n: usize) -> [(&'static str, String); 2] {
    [("app", local_app(n)), ("role", role(n))]
}

const CREATED: &str = "2026-11-21T03:01:38Z";

fn uid(n: usize) -> String {
    format!("d9d4b40a-4ad9-4944-80b9-{n:012x}")
}

/// Address of endpoint `n`.
pub fn address(n: usize) -> Ipv4Addr {
    // Some tens of addresses a node at most: the index is far below 2^20.
    Ipv4Addr::from(0x0a40_0001 + n as u32)
}

/// Host end of endpoint `n`.
pub fn interface(n: usize) -> String {
    format!("cali{n:07}")
}

/// MAC address of endpoint `n`.
pub fn mac(n: usize) -> String {
    let [_, b, c, d] = (n as u32).to_be_bytes();
    format!("0a:00:00:{b:02x}:{c:02x}:{d:02x}")
}

fn resource(plural: &str, kind: &str, name: &str, spec: &Value) -> Pair {
    let metadata = json!({"name": name, "uid": uid(0), "creationTimestamp": CREATED});
    with_metadata(plural, kind, name, metadata, spec)
}

fn with_metadata(plural: &str, kind: &str, name: &str, metadata: Value, spec: &Value) -> Pair {
    let mut value =
        json!({"kind": kind, "apiVersion": "projectcalico.org/v3", "metadata": metadata, "spec": spec});
    if matches!(kind, "Node" | "Tier") {
        value["status"] = json!({});
    }
    (format!("{RESOURCES}/{plural}/{name}"), value.to_string())
}

/// What every cluster has.
fn basics() -> Vec<Pair> {
    let tier = |name, order: u32, action| {
        resource("tiers", "Tier", name, &json!({"order": order, "defaultAction": action}))
    };
    vec![
        resource(
            "clusterinformations",
            "ClusterInformation",
            "default",
            &json!({"clusterGUID": "52715d24c0fe42da8aface8f98057c29", "datastoreReady": true}),
        ),
        tier("default", 1_000_000, "Deny"),
        tier("kube-admin", 1000, "Pass"),
        tier("kube-baseline", 10_000_000, "Pass"),
        resource(
            "ippools",
            "IPPool",
            "pool",
            &json!({
                "cidr": "10.64.0.0/12", "vxlanMode": "Never", "ipipMode": "Never", "blockSize": 26,
                "nodeSelector": "all()", "allowedUses": ["Workload", "Tunnel"], "assignmentMode": "Automatic",
            }),
        ),
        resource(
            "profiles",
            "Profile",
            "open",
            &json!({"ingress": [{"action": "Allow"}], "egress": [{"action": "Allow"}]}),
        ),
    ]
}

/// Node `n`, [`NODE`] being number 0.
fn node(n: usize, in_rack: bool) -> Pair {
    let name = format!("node-{}", n + 1);
    let spec = json!({"bgp": {"ipv4Address": format!("{}/{NODE_PREFIX}", node_address(n))}});
    let mut metadata = json!({"name": name, "uid": uid(0), "creationTimestamp": CREATED});
    if in_rack {
        metadata["labels"] = json!({"rack": RACK});
    }
    with_metadata("nodes", "Node", &name, metadata, &spec)
}

/// Length of the prefix that all nodes' addresses are in.
pub const NODE_PREFIX: u8 = 15;

/// Label `rack` of nodes in a rack.
const RACK: &str = "here";

/// Address of node `n`, [`NODE`] being number 0.
pub fn node_address(n: usize) -> Ipv4Addr {
    Ipv4Addr::from(0xc612_0002 + n as u32)
}

/// A full mesh of the nodes of the rack in place of one of all nodes.
pub fn mesh_of_the_rack() -> [Pair; 2] {
    let selector = format!("rack == '{RACK}'");
    let peers = json!({"nodeSelector": selector, "peerSelector": selector});
    [
        resource(
            "bgpconfigurations",
            "BGPConfiguration",
            "default",
            &json!({"nodeToNodeMeshEnabled": false}),
        ),
        resource("bgppeers", "BGPPeer", "rack", &peers),
    ]
}

/// Length of a block's prefix.
pub const BLOCK_PREFIX: u8 = 26;

/// Address of the block of node `n + 1`, [`NODE`] being number 0.
pub fn block_address(n: usize) -> Ipv4Addr {
    Ipv4Addr::from(0x0a48_0000 + (n as u32) * 64)
}

/// The block of another node, out of a part of the pool that no endpoint has.
fn block(n: usize) -> [Pair; 2] {
    let cidr = format!("{}/{BLOCK_PREFIX}", block_address(n));
    let (node, dashed) = (format!("node-{}", n + 2), cidr.replace('/', "-"));
    let value = json!({
        "cidr": cidr, "affinity": format!("host:{node}"), "affinity_claim_time": CREATED,
        "allocations": vec![Value::Null; 64], "unallocated": (0..64).collect::<Vec<_>>(), "attributes": [],
        "sequenceNumber": 1_795_230_783_616_464_229_u64, "sequenceNumberForAllocation": {}, "deleted": false,
    });
    let affinity = json!({"state": "confirmed", "deleted": false});
    [
        (format!("/calico/ipam/v2/host/{node}/ipv4/block/{dashed}"), affinity.to_string()),
        (format!("/calico/ipam/v2/assignment/ipv4/block/{dashed}"), value.to_string()),
    ]
}

fn global_policy(name: &str, order: u32, selector: &str, rule: &Value) -> Pair {
    let metadata = json!({
        "name": name, "uid": uid(0), "creationTimestamp": CREATED, "labels": {"projectcalico.org/tier": "default"},
        "annotations": {"projectcalico.org/metadata": json!({"name": name}).to_string()},
    });
    let spec = json!({"tier": "default", "order": order, "ingress": [rule], "selector": selector, "types": ["Ingress"]});
    with_metadata("globalnetworkpolicies", "GlobalNetworkPolicy", name, metadata, &spec)
}

/// Policy `i` of many.
pub fn policy(i: usize) -> Pair {
    // Policies of one `app` let in different roles.
    let role = (i * 7 + i / APPS) % ROLES;
    let rule = json!({"action": "Allow", "source": {"selector": format!("role == 'r{role}'")}});
    global_policy(&format!("p{i:05}"), 1000, &format!("app == 'a{}'", i % APPS), &rule)
}

/// Policy `i` of `count` on the server's endpoint. The last lets the client in.
fn policy_on_endpoint(i: usize, count: usize) -> Pair {
    let role = (i + ROLES * count + CLIENT + 1 - count) % ROLES;
    let rule = json!({
        "action": "Allow", "protocol": "TCP", "source": {"selector": format!("role == 'r{role}'")},
        "destination": {"ports": [usize::from(FIRST_PORT) + i]},
    });
    global_policy(&format!("q{i:05}"), 1000, "probe == 'server'", &rule)
}

/// The policy that decides about probes, before all others.
pub fn probe_policy(action: &str) -> Pair {
    let rule = json!({
        "action": action, "protocol": "UDP", "source": {"selector": "probe == 'client'"},
        "destination": {"ports": [PROBE_PORT]},
    });
    global_policy("a-probe", 1, "probe == 'server'", &rule)
}

fn net_policy() -> Pair {
    let rule = json!({"action": "Allow", "source": {"selector": "nets == 'many'"}});
    global_policy("nets", 2000, "probe == 'server'", &rule)
}

/// A network set of that name that policies know as `nets == 'many'`.
pub fn network_set(name: &str, nets: &[String]) -> Pair {
    let metadata =
        json!({"name": name, "uid": uid(0), "creationTimestamp": CREATED, "labels": {"nets": "many"}});
    with_metadata("globalnetworksets", "GlobalNetworkSet", name, metadata, &json!({"nets": nets}))
}

/// The first `count` CIDRs.
pub fn cidrs(count: usize) -> Vec<String> {
    (0..count).map(cidr).collect()
}

/// CIDR `n`: all different, of lengths /8 to /32 as evenly as there are networks of each.
pub fn cidr(n: usize) -> String {
    let mut text = String::new();
    let (address, length) = cidr_parts(n);
    // Writing to a string cannot fail.
    let _ = write!(text, "{address}/{length}");
    text
}

/// Networks of length 8 to 16 are few: this many of each are taken.
const SHORT: [usize; 9] = [16, 32, 64, 128, 256, 512, 1024, 2048, 4000];

fn cidr_parts(n: usize) -> (Ipv4Addr, u8) {
    let mut rest = n;
    let longer = 17_u8;
    for (length, count) in (8_u8..).zip(SHORT) {
        if rest < count {
            return (scattered(rest, length), length);
        }
        rest -= count;
    }
    let length = longer + (rest % 16) as u8;
    (scattered(rest / 16, length), length)
}

/// Network `k` of a length, the first bits in an order that is no order of addresses.
fn scattered(k: usize, length: u8) -> Ipv4Addr {
    let mask = (1_u64 << length) - 1;
    let network = (k as u64).wrapping_mul(0x9e37_79b1) & mask;
    Ipv4Addr::from((network << (32 - length)) as u32)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    fn values(state: State, part: &str) -> Vec<Value> {
        let found = state.pairs().filter(|(key, _)| key.contains(part));
        found.map(|(_, value)| serde_json::from_str(&value).unwrap()).collect()
    }

    #[test]
    fn a_fifth_of_the_policies_match_a_local_endpoint_and_roles_divide_all() {
        let state = State { locals: 200, remotes: 1000, policies: 10_000, ..State::default() };
        let endpoints = values(state, "/workloadendpoints/");
        let local = |value: &&Value| value["spec"]["node"] == NODE;
        let apps: BTreeSet<_> = endpoints
            .iter()
            .filter(local)
            .map(|value| value["metadata"]["labels"]["app"].to_string().replace('"', "'"))
            .collect();
        assert_eq!(apps.len(), 200);
        let policies = values(state, "/globalnetworkpolicies/");
        let active = policies.iter().filter(|value| {
            let selector = value["spec"]["selector"].as_str().unwrap();
            apps.contains(selector.trim_start_matches("app == "))
        });
        assert_eq!(active.count(), 2000);
        let roles: BTreeSet<_> =
            endpoints.iter().map(|value| value["metadata"]["labels"]["role"].clone().to_string()).collect();
        assert_eq!(roles.len(), 50);
        // no policy of the server's `app` lets the client in by its role
        for policy in policies.iter().filter(|value| value["spec"]["selector"] == "app == 'a0'") {
            assert_ne!(policy["spec"]["ingress"][0]["source"]["selector"], "role == 'r49'");
        }
    }

    #[test]
    fn policies_on_an_endpoint_differ_and_the_last_lets_the_client_in() {
        for count in [10, 1000] {
            let state = State { locals: 200, on_endpoint: count, ..State::default() };
            let rules: Vec<_> = values(state, "/globalnetworkpolicies/")
                .into_iter()
                .map(|value| value["spec"]["ingress"][0].clone())
                .collect();
            let different: BTreeSet<_> = rules.iter().map(ToString::to_string).collect();
            assert_eq!(different.len(), count);
            let last = rules.last().unwrap();
            assert_eq!(last["source"]["selector"], format!("role == 'r{}'", CLIENT % ROLES));
            assert_eq!(last["destination"]["ports"][0], usize::from(FIRST_PORT) + count - 1);
        }
    }

    #[test]
    fn networks_are_all_different_canonical_and_of_every_length() {
        let mut lengths = BTreeSet::new();
        let mut all = BTreeSet::new();
        for n in 0..100_001 {
            let (address, length) = cidr_parts(n);
            lengths.insert(length);
            assert_eq!(u32::from(address) & ((1_u64 << (32 - length)) - 1) as u32, 0, "{address}/{length}");
            assert!(all.insert((address, length)), "{address}/{length} twice");
        }
        assert_eq!(lengths, (8..=32).collect());
    }

    #[test]
    fn the_rack_is_the_node_and_so_many_others() {
        let labelled = |rack| {
            let state = State { blocks: 9, rack, ..State::default() };
            let nodes = values(state, "/nodes/");
            assert_eq!(nodes.len(), 10);
            nodes.iter().filter(|node| node["metadata"]["labels"]["rack"] == RACK).count()
        };
        assert_eq!((labelled(0), labelled(4)), (0, 5));
    }

    #[test]
    fn keys_are_all_different() {
        let state =
            State { locals: 3, remotes: 250, policies: 7, on_endpoint: 2, blocks: 5, rack: 2, nets: 10 };
        let keys: Vec<_> = state.pairs().map(|(key, _)| key).collect();
        assert_eq!(keys.iter().collect::<BTreeSet<_>>().len(), keys.len());
    }
}
