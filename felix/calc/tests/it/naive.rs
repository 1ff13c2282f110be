//! Sets evaluated without any index, from the raw values.

use crate::support::Dataplane;
use felix_calc::rule::SetDefinition;
use felix_calc::sets::Member;
use model::net::Cidr;
use model::v3::Protocol;
use model::{Key, Kind};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};

/// Something that selectors are about.
struct Item {
    labels: BTreeMap<String, String>,
    profiles: Vec<String>,
    nets: Vec<Cidr>,
    ports: Vec<(String, u8, u16)>,
}

fn texts(value: &Value) -> Vec<String> {
    value.as_array().into_iter().flatten().map(|text| text.as_str().unwrap().to_owned()).collect()
}

fn pairs(value: &Value) -> BTreeMap<String, String> {
    let pairs = value.as_object().into_iter().flatten();
    pairs.map(|(key, value)| (key.clone(), value.as_str().unwrap().to_owned())).collect()
}

fn cidr(text: &str) -> Cidr {
    Cidr::parse_masked(text).unwrap_or_else(|_| Cidr::host(text.parse().unwrap()))
}

fn item(key: &Key, object: &Value) -> Option<Item> {
    let Key::Resource { kind, namespace, .. } = key else { return None };
    let spec = &object["spec"];
    let mut item = Item {
        labels: pairs(&object["metadata"]["labels"]),
        profiles: texts(&spec["profiles"]),
        nets: Vec::new(),
        ports: Vec::new(),
    };
    for port in spec["ports"].as_array().into_iter().flatten() {
        let protocol: Protocol = serde_json::from_value(port["protocol"].clone()).unwrap();
        let number = u16::try_from(port["port"].as_u64().unwrap()).unwrap();
        item.ports.push((port["name"].as_str().unwrap().into(), protocol.number().unwrap(), number));
    }
    let addresses = match kind {
        Kind::WorkloadEndpoint => {
            item.labels.insert("projectcalico.org/namespace".into(), namespace.clone());
            let orchestrator = spec["orchestrator"].as_str().unwrap_or_default();
            item.labels.insert("projectcalico.org/orchestrator".into(), orchestrator.into());
            if let Some(account) = spec["serviceAccountName"].as_str() {
                item.labels.insert("projectcalico.org/serviceaccount".into(), account.into());
            }
            "ipNetworks"
        }
        Kind::HostEndpoint => "expectedIPs",
        Kind::NetworkSet => {
            item.labels.insert("projectcalico.org/namespace".into(), namespace.clone());
            item.profiles.push(format!("kns.{namespace}"));
            "nets"
        }
        Kind::GlobalNetworkSet => "nets",
        _ => return None,
    };
    item.nets = texts(&spec[addresses]).iter().map(|text| cidr(text)).collect();
    (*kind != Kind::WorkloadEndpoint || !item.nets.is_empty()).then_some(item)
}

fn members(
    set: &SetDefinition,
    items: &[Item],
    given: &BTreeMap<String, BTreeMap<String, String>>,
) -> BTreeSet<Member> {
    let mut members = BTreeSet::new();
    for item in items {
        let mut labels = item.labels.clone();
        for profile in &item.profiles {
            for (key, value) in given.get(profile).into_iter().flatten() {
                labels.entry(key.clone()).or_insert_with(|| value.clone());
            }
        }
        if !set.selector.matches(&labels) {
            continue;
        }
        let Some(wanted) = &set.port else {
            members.extend(item.nets.iter().copied().map(Member::Net));
            continue;
        };
        for (name, protocol, port) in &item.ports {
            if **name == *wanted.name && wanted.protocol.is_none_or(|only| only == *protocol) {
                let single = item.nets.iter().filter(|net| net.prefix() == net.family().bits());
                members.extend(single.map(|net| Member::Port(net.addr(), *protocol, *port)));
            }
        }
    }
    members
}

/// The members of every set are what an evaluation of these values gives; values that are refused are not among them.
pub fn check(dataplane: &Dataplane, values: &BTreeMap<String, Vec<u8>>) {
    let refused: BTreeSet<String> = dataplane.reports.keys().map(Key::path).collect();
    let mut items = Vec::new();
    let mut given = BTreeMap::new();
    for (path, value) in values.iter().filter(|(path, _)| !refused.contains(*path)) {
        let Some(key) = Key::parse(path) else { continue };
        // of a kind that does not matter
        let Ok(object) = serde_json::from_slice::<Value>(value) else { continue };
        if let Key::Resource { kind: Kind::Profile, name, .. } = &key {
            given.insert(name.clone(), pairs(&object["spec"]["labelsToApply"]));
        }
        items.extend(item(&key, &object));
    }
    let policies =
        dataplane.endpoints.values().flat_map(|endpoint| &endpoint.tiers).flat_map(|tier| &tier.policies);
    let sets = policies.flat_map(|policy| &policy.sets);
    for set in sets.chain(dataplane.profiles.values().flat_map(|profile| &profile.sets)) {
        assert_eq!(dataplane.sets[&set.id], members(set, &items, &given), "{}", set.selector);
    }
}
