//! Recordings of Calico's agent: the same sets with the same members, and the same routes of blocks.

use crate::support::{NODE, Node, stored};
use felix_calc::rule::SetId;
use felix_calc::sets::Member;
use felix_calc::{BlockRoute, Options};
use model::net::{Cidr, Family};
use model::{Kind, document, key::Key};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::path::{Path, PathBuf};

/// Sets of upstream that are not made from what is stored, or serve what is not carried: the host's own addresses (the
/// dataplane knows them), DSCP marks, tunnels' ends.
const NOT_OURS: [&str; 3] = ["this-host", "dscp-src-net", "all-vxlan-net"];

/// Scenarios in which upstream's agent exited.
const GAVE_UP: [&str; 2] = ["reject", "reject-host-endpoint"];

/// Longest name of an ipset, so that the recorded ones are cut.
const NAME_LENGTH: usize = 31;

type Recorded = BTreeMap<String, BTreeSet<String>>;

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/golden/felix")
}

fn read(scenario: &str, file: &str) -> String {
    let path = folder().join(scenario).join(file);
    std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

fn scenarios() -> Vec<String> {
    let entries = std::fs::read_dir(folder()).unwrap();
    let mut names: Vec<String> =
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

struct Case {
    documents: String,
    then: Vec<Vec<String>>,
}

fn case(scenario: &str) -> Case {
    let case = document::parse(&read(scenario, "case.yaml"), scenario).unwrap().remove(0).value;
    let words = |step: &Value| step.as_array().unwrap().iter().map(|w| w.as_str().unwrap().into()).collect();
    Case {
        documents: case["datastore"].as_str().unwrap().to_owned(),
        then: case["then"].as_array().into_iter().flatten().map(words).collect(),
    }
}

/// What of the scenario's settings matters here; reading them is not this crate's affair.
fn options(pairs: &[(String, Vec<u8>)]) -> Options {
    let mut options = Options::default();
    for (_, value) in pairs.iter().filter(|(key, _)| key.contains("/felixconfigurations/default")) {
        let spec = &serde_json::from_slice::<Value>(value).unwrap()["spec"];
        options.masquerade_spares_hosts = spec["natOutgoingExclusions"] == "IPPoolsAndHostIPs";
        options.no_encap_routes = spec["programClusterRoutes"] == "EnabledNoEncapOnly";
    }
    options
}

fn recorded_sets(scenario: &str, file: &str) -> Recorded {
    let mut sets = Recorded::new();
    for line in read(scenario, file).lines() {
        let words: Vec<&str> = line.split_whitespace().collect();
        let name = words[1].to_owned();
        if NOT_OURS.iter().any(|other| name.ends_with(other)) {
            continue;
        }
        match words[0] {
            "create" => assert!(sets.insert(name, BTreeSet::new()).is_none()),
            "add" => assert!(sets.get_mut(&name).unwrap().insert(words[2].to_owned())),
            other => panic!("{other}"),
        }
    }
    sets
}

/// Our sets in upstream's terms: one a family, everything in halves.
fn as_recorded(sets: &BTreeMap<SetId, BTreeSet<Member>>) -> Recorded {
    let mut out = Recorded::new();
    for family in [Family::V4, Family::V6] {
        for (id, members) in sets {
            let name: String = format!("cali{}0{id}", family.number()).chars().take(NAME_LENGTH).collect();
            let members = members.iter().filter(|member| family_of(member) == family).flat_map(texts);
            assert!(out.insert(name, members.collect()).is_none());
        }
    }
    out
}

fn family_of(member: &Member) -> Family {
    match member {
        Member::Net(net) => net.family(),
        Member::Port(address, ..) => model::net::family_of(*address),
    }
}

fn texts(member: &Member) -> Vec<String> {
    match member {
        Member::Net(net) if net.prefix() == net.family().bits() => vec![net.addr().to_string()],
        Member::Net(net) if net.prefix() == 0 => match net.family() {
            Family::V4 => vec!["0.0.0.0/1".into(), "128.0.0.0/1".into()],
            Family::V6 => vec!["::/1".into(), "8000::/1".into()],
        },
        Member::Net(net) => vec![net.to_string()],
        Member::Port(address, protocol, port) => {
            let protocol = match protocol {
                6 => "tcp",
                17 => "udp",
                132 => "sctp",
                other => panic!("{other}"),
            };
            vec![format!("{address},{protocol}:{port}")]
        }
    }
}

/// IPv6 addresses of nodes are in a set only where it is wanted for them; upstream has no set then, we have one of both.
fn without_empty_hosts(mut sets: Recorded) -> Recorded {
    sets.retain(|name, members| !name.ends_with("all-hosts-net") || !members.is_empty());
    sets
}

#[test]
fn sets_and_their_members_are_those_of_every_scenario() {
    let mut seen = 0;
    for scenario in scenarios() {
        // tunnels are not carried; where upstream's agent gave up, it left no sets
        if scenario.starts_with("routes-vxlan") || GAVE_UP.contains(&scenario.as_str()) {
            continue;
        }
        let case = case(&scenario);
        let pairs = stored(&case.documents);
        let mut node = Node::new(options(&pairs));
        for (key, value) in pairs {
            node.put(&key, value);
        }
        let compare = |node: &Node, file: &str| {
            let recorded = without_empty_hosts(recorded_sets(&scenario, file));
            let ours = without_empty_hosts(as_recorded(&node.told.sets));
            assert_eq!(ours, recorded, "{scenario}: {file}");
            recorded.len()
        };
        if !case.then.is_empty() {
            compare(&node, "iptables/before-ipset.txt");
            for step in &case.then {
                let [verb, kind, name] = &step[..] else { panic!("{step:?}") };
                assert_eq!(verb, "delete");
                node.delete(&Key::resource(Kind::from_alias(kind).unwrap(), "default", name).path());
            }
        }
        seen += compare(&node, "iptables/ipset.txt");
        // nothing recorded is refused; the encapsulated pools are reported
        let refused: Vec<_> = node.told.reports.iter().collect();
        assert!(refused.iter().all(|(key, _)| key.path().contains("/ippools/")), "{scenario}: {refused:?}");
    }
    assert_eq!(seen, 190);
}

fn block(cidr: &str, node: &str) -> (String, Vec<u8>) {
    let key = Key::Block(cidr.parse().unwrap()).path();
    let value = serde_json::json!({"cidr": cidr, "affinity": format!("host:{node}"), "allocations": [],
        "unallocated": [], "attributes": []});
    (key, value.to_string().into())
}

/// Routes of blocks as `routes.txt` has them: protocol 80.
fn recorded_routes(scenario: &str) -> BTreeMap<Cidr, BlockRoute> {
    let address = |text: &str| -> IpAddr { text.parse().unwrap() };
    let mut routes = BTreeMap::new();
    for line in read(scenario, "nftables/routes.txt").lines().filter(|line| line.starts_with('{')) {
        let route: Value = serde_json::from_str(line).unwrap();
        if route["protocol"] != "80" {
            continue;
        }
        let to = route["dst"].as_str().unwrap().parse().unwrap();
        let via = || {
            assert_eq!((&route["dev"], &route["flags"]), (&"eth0".into(), &serde_json::json!(["onlink"])));
            let gateway = address(route["gateway"].as_str().unwrap());
            BlockRoute::Via { gateway, from: address("192.0.2.11") }
        };
        routes.insert(to, if route["type"] == "blackhole" { BlockRoute::Blackhole } else { via() });
    }
    routes
}

#[test]
fn routes_of_blocks_are_those_recorded() {
    let scenario = "routes-no-encap";
    let pairs = stored(&case(scenario).documents);
    let mut node = Node::new(options(&pairs));
    // what the IPAM plugin made for the two workloads
    let blocks = [block("10.64.84.128/26", NODE), block("10.64.247.0/26", "node-2")];
    for (key, value) in pairs.into_iter().chain(blocks) {
        node.put(&key, value);
    }
    let recorded = recorded_routes(scenario);
    assert_eq!(recorded.len(), 2);
    assert_eq!(node.told.routes, recorded);
}
