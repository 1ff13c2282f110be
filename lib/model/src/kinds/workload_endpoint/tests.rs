use super::*;
use crate::admission::{Operation, admit, validate};
use crate::schema::decode_strict;
use serde_json::json;

fn endpoint(more: Value) -> Resource {
    let mut spec = json!({
        "node": "node-1", "orchestrator": "cni", "containerID": "abc", "endpoint": "eth0", "interfaceName": "cali1"
    });
    spec.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    let metadata = json!({"name": "node--1-cni-abc-eth0", "namespace": "default"});
    decode_strict(Kind::WorkloadEndpoint, json!({"metadata": metadata, "spec": spec})).unwrap()
}

fn refused(more: Value) -> Vec<String> {
    validate(&endpoint(more)).err().into_iter().flat_map(|e| e.fields).map(|field| field.name).collect()
}

#[test]
fn the_name_follows_from_the_spec() {
    let name = |spec: Value| {
        let mut resource = Resource::new(Kind::WorkloadEndpoint, "default", "");
        resource.object_mut().insert("spec".into(), spec);
        admit(&mut resource, Operation::Create)
            .map_err(|e| e.to_string())
            .map(|()| resource.name().to_owned())
    };
    let base = json!({"node": "n-1", "endpoint": "eth0", "interfaceName": "c", "pod": "p-0", "workload": "vm", "containerID": "ab"});
    let with = |orchestrator: &str| {
        let mut spec = base.clone();
        spec["orchestrator"] = orchestrator.into();
        name(spec)
    };
    assert_eq!(with("k8s"), Ok("n--1-k8s-p--0-eth0".into()));
    assert_eq!(with("cni"), Ok("n--1-cni-ab-eth0".into()));
    assert_eq!(with("libnetwork"), Ok("n--1-libnetwork-libnetwork-eth0".into()));
    assert_eq!(with("openstack"), Ok("n--1-openstack-vm-eth0".into()));
    assert_eq!(with(""), Err("error with field orchestrator (field should be assigned)".into()));
    let missing = json!({"node": "n", "orchestrator": "k8s", "endpoint": "eth0", "interfaceName": "c"});
    assert_eq!(name(missing), Err("error with field pod (field should be assigned)".into()));
    let dash =
        json!({"node": "n-", "orchestrator": "k8s", "pod": "p", "endpoint": "eth0", "interfaceName": "c"});
    assert_eq!(name(dash), Err("error with field node = 'n-' (must not begin or end with '-')".into()));
}

#[test]
fn labels_are_forced_on_writes_only() {
    let mut given = endpoint(json!({}));
    given.set_meta_entry("labels", "projectcalico.org/orchestrator", "wrong");
    assert_eq!(validate(&given), Ok(()));
    admit(&mut given, Operation::Create).unwrap();
    let labels: Vec<_> = given.labels().collect();
    assert_eq!(
        labels,
        [("projectcalico.org/namespace", "default"), ("projectcalico.org/orchestrator", "cni")]
    );
}

#[test]
fn addresses_stand_alone_and_nats_inside_of_them() {
    assert_eq!(
        refused(json!({"ipNetworks": ["10.0.0.1/32", "10.0.0.2", "fd00::1/128"]})),
        Vec::<String>::new()
    );
    assert_eq!(refused(json!({"ipNetworks": ["10.0.0.0/31"]})), ["IPNetworks"]);
    assert_eq!(refused(json!({"ipNetworks": ["x"]})), ["IPNetworks[0]"]);
    let nat = |internal: &str, external: &str| {
        let nats = json!([{"internalIP": internal, "externalIP": external}]);
        refused(json!({"ipNetworks": ["10.0.0.1/32", "fd00::1"], "ipNATs": nats}))
    };
    assert_eq!(nat("10.0.0.1", "192.0.2.1"), Vec::<String>::new());
    assert_eq!(nat("10.0.0.9", "192.0.2.1"), ["IPNATs"]);
    assert_eq!(nat("fd00::1", "192.0.2.1"), ["IPNAT.ExternalIP"]);
    assert_eq!(nat("10.0.0.1", "x"), ["ExternalIP"]);
}

#[test]
fn ports_have_a_name_or_a_host_port() {
    let port = |port: Value| refused(json!({"ports": [port]}));
    assert_eq!(port(json!({"name": "http", "protocol": "TCP", "port": 80})), Vec::<String>::new());
    assert_eq!(port(json!({"protocol": "UDP", "port": 53, "hostPort": 5353})), Vec::<String>::new());
    assert_eq!(port(json!({"protocol": "UDP", "port": 53})), ["WorkloadEndpointPort.Name"]);
    assert_eq!(port(json!({"name": "a", "protocol": "UDP", "port": 0})), ["Port"]);
    assert_eq!(port(json!({"name": "a", "protocol": "ICMP", "port": 1})), ["WorkloadEndpointPort.Protocol"]);
    assert_eq!(port(json!({"name": "Bad_Name", "protocol": "TCP", "port": 1})), ["Name"]);
    assert_eq!(port(json!({"name": "a", "protocol": "TCP", "port": 1, "hostIP": "x"})), ["HostIP"]);
}

#[test]
fn limits_have_bounds() {
    let limits = |limits: Value| refused(json!({"qosControls": limits}));
    assert_eq!(
        limits(json!({"ingressBandwidth": 1000, "egressMaxConnections": 1, "dscp": "AF21"})),
        Vec::<String>::new()
    );
    assert_eq!(limits(json!({"ingressBandwidth": 999})), ["IngressBandwidth"]);
    assert_eq!(limits(json!({"egressPacketRate": 10_001})), ["EgressPacketRate"]);
    assert_eq!(
        limits(json!({"ingressBandwidth": 5000, "ingressPeakrate": 5000})),
        ["QoSControls.IngressPeakrate"]
    );
    assert_eq!(limits(json!({"dscp": 64})), ["DSCP"]);
    assert_eq!(limits(json!({"dscp": "AF99"})), ["DSCP"]);
}

#[test]
fn names_of_interfaces_and_containers() {
    assert_eq!(refused(json!({"interfaceName": ""})), ["InterfaceName"]);
    assert_eq!(refused(json!({"interfaceName": "sixteen-letters-"})), ["InterfaceName"]);
    assert_eq!(refused(json!({"containerID": "a_b"})), ["ContainerID"]);
    assert_eq!(
        refused(json!({"ipv4Gateway": "fe80::1", "ipv6Gateway": "10.0.0.1"})),
        ["IPv4Gateway", "IPv6Gateway"]
    );
}
