use super::*;
use crate::admission::validate;
use crate::schema::decode_strict;
use serde_json::json;

fn names(spec: Value) -> Vec<String> {
    let resource =
        decode_strict(Kind::HostEndpoint, json!({"metadata": {"name": "a"}, "spec": spec})).unwrap();
    validate(&resource).err().into_iter().flat_map(|e| e.fields).map(|field| field.name).collect()
}

#[test]
fn an_interface_is_found_by_name_or_address() {
    assert_eq!(names(json!({"node": "n", "interfaceName": "*"})), Vec::<String>::new());
    assert_eq!(names(json!({"node": "n", "expectedIPs": ["10.0.0.1"]})), Vec::<String>::new());
    assert_eq!(names(json!({"node": "n"})), ["spec"]);
    assert_eq!(names(json!({})), ["spec", "spec"]);
    assert_eq!(names(json!({"node": "n", "interfaceName": "eth*"})), ["InterfaceName"]);
}

#[test]
fn ports_have_a_name_a_number_and_a_protocol() {
    let port = |port: Value| names(json!({"node": "n", "interfaceName": "*", "ports": [port]}));
    assert_eq!(port(json!({"name": "ssh", "protocol": 6, "port": 22})), Vec::<String>::new());
    assert_eq!(port(json!({"protocol": "TCP", "port": 22})), ["Name"]);
    assert_eq!(port(json!({"name": "ssh", "protocol": "TCP"})), ["Port", "spec.ports[0].port"]);
    assert_eq!(port(json!({"name": "ssh", "port": 22})), ["Protocol", "EndpointPort.Protocol"]);
}
