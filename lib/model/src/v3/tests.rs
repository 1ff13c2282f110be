use super::*;
use crate::{Kind, Resource};
use serde_json::json;

fn resource(kind: Kind, spec: serde_json::Value) -> Resource {
    let mut resource = Resource::new(kind, "", "x");
    resource.object_mut().insert("spec".into(), spec);
    resource
}

#[test]
fn an_old_pool_gets_the_meaning_of_what_it_lacks() {
    let pool: IPPoolSpec = resource(Kind::IPPool, json!({"cidr": "10.0.0.0/16"})).typed_spec().unwrap();
    assert_eq!(pool.block_prefix(), 26);
    assert!(
        pool.allows(PoolUse::Workload) && pool.allows(PoolUse::Tunnel) && !pool.allows(PoolUse::LoadBalancer)
    );
    assert_eq!(pool.assignment_mode, AssignmentMode::Automatic);
    let pool: IPPoolSpec =
        resource(Kind::IPPool, json!({"cidr": "fd00::/48", "allowedUses": [], "blockSize": null}))
            .typed_spec()
            .unwrap();
    assert_eq!(pool.block_prefix(), 122);
    assert!(pool.allows(PoolUse::Tunnel));
}

#[test]
fn values_of_newer_versions_do_not_break_reading() {
    let spec = json!({"cidr": "10.0.0.0/16", "ipipMode": "Quantum", "allowedUses": ["Workload", "Moon"], "new": {"a": 1}});
    let pool: IPPoolSpec = resource(Kind::IPPool, spec).typed_spec().unwrap();
    assert_eq!(pool.ipip_mode, EncapMode::Never);
    assert_eq!(pool.allowed_uses, [PoolUse::Workload, PoolUse::Unknown]);
}

#[test]
fn a_spec_round_trips() {
    let spec = json!({
        "orchestrator": "k8s", "node": "n", "pod": "p", "endpoint": "eth0", "ipNetworks": ["10.0.0.1/32", "10.0.0.2"],
        "interfaceName": "cali1", "ports": [{"name": "", "protocol": "UDP", "port": 53, "hostPort": 5353, "hostIP": ""},
        {"name": "x", "protocol": 6, "port": 53, "hostPort": 0, "hostIP": ""}], "qosControls": {"ingressBandwidth": 1000}
    });
    let typed: WorkloadEndpointSpec = resource(Kind::WorkloadEndpoint, spec.clone()).typed_spec().unwrap();
    assert_eq!(serde_json::to_value(&typed).unwrap(), spec);
    assert_eq!(typed.nets().map(|n| n.to_string()).collect::<Vec<_>>(), ["10.0.0.1/32", "10.0.0.2/32"]);
}

#[test]
fn a_node_knows_its_addresses() {
    let node: NodeSpec =
        resource(Kind::Node, json!({"bgp": {"ipv4Address": "192.0.2.5/24", "ipv6Address": "2001:db8::5"}}))
            .typed_spec()
            .unwrap();
    let (addr, net) = node.ipv4().unwrap();
    assert_eq!((addr.to_string(), net.to_string()), ("192.0.2.5".into(), "192.0.2.0/24".into()));
    assert_eq!(node.ipv6().unwrap().1.to_string(), "2001:db8::5/128");
    assert_eq!(NodeSpec::default().ipv4(), None);
}

#[test]
fn a_wrong_type_is_an_error_that_names_the_key() {
    let error = resource(Kind::IPPool, json!({"cidr": 5})).typed_spec::<IPPoolSpec>().unwrap_err();
    assert!(error.to_string().contains("ippools/x"), "{error}");
}
