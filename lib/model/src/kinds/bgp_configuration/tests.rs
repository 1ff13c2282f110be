use super::*;
use crate::admission::{Operation, admit, validate};
use crate::schema::decode_strict;
use serde_json::json;

fn errors(spec: Value) -> Vec<String> {
    let document = json!({"metadata": {"name": "default"}, "spec": spec});
    let resource = decode_strict(Kind::BGPConfiguration, document).unwrap();
    validate(&resource).err().into_iter().flat_map(|e| e.fields).map(|field| field.to_string()).collect()
}

#[test]
fn communities_are_numbers_of_16_or_32_bits_or_defined_names() {
    let used = |community: &str| {
        errors(json!({
            "communities": [{"name": "known", "value": "1:2"}],
            "prefixAdvertisements": [{"cidr": "10.0.0.0/8", "communities": [community]}],
        }))
    };
    for good in ["known", "65535:0", "4294967295:1:2"] {
        assert_eq!(used(good), Vec::<String>::new(), "{good}");
    }
    let name = "Spec.PrefixAdvertisement[].Communities[]";
    assert_eq!(
        used("1:2:4294967296"),
        [format!("{name} = '1:2:4294967296' (invalid community value, expected 32 bit value)")]
    );
    assert_eq!(used("other"), [format!("{name} = 'other' (community used is invalid or not defined.)")]);

    let defined = errors(json!({
        "communities": [{"name": "a", "value": "x"}], "prefixAdvertisements": [{"cidr": "10.0.0.0/8"}]
    }));
    assert_eq!(defined.len(), 2, "{defined:?}");
    assert!(defined[0].starts_with("Spec.Communities[].Value = 'x'"));
    assert!(
        defined[1].starts_with("spec.communities[0].value (spec.communities[0].value in body should match")
    );
}

#[test]
fn settings_of_the_mesh_need_the_mesh() {
    let found = errors(json!({"nodeToNodeMeshEnabled": false, "nodeMeshMaxRestartTime": "30s"}));
    assert_eq!(found, ["spec (nodeMeshMaxRestartTime cannot be set when nodeToNodeMeshEnabled is false)"]);
    assert!(errors(json!({"nodeMeshMaxRestartTime": "30s"})).is_empty());
}

#[test]
fn single_fields() {
    let names = |spec: Value| -> Vec<String> {
        errors(spec).iter().map(|error| error.split([' ', '(']).next().unwrap().to_owned()).collect()
    };
    assert_eq!(names(json!({"ignoredInterfaces": ["eth*", "*"]})), ["IgnoredInterfaces[1]"]);
    assert_eq!(names(json!({"localWorkloadPeeringIPV4": "fe80::1"})), ["LocalWorkloadPeeringIPV4"]);
    assert_eq!(names(json!({"ipv4NormalRoutePriority": 0})), ["spec.ipv4NormalRoutePriority"]);
    assert_eq!(names(json!({"prefixAdvertisements": [{"communities": ["1:2"]}]})), ["CIDR"]);
    assert_eq!(names(json!({"prefixAdvertisements": [{"cidr": "10.0.0.1/8"}]})), ["CIDR"]);
    assert_eq!(names(json!({"bindMode": "All"})), ["spec.bindMode"]);
    assert_eq!(names(json!({"asNumber": 4_200_000_000_u32})), ["BGPConfiguration"]);
    assert_eq!(names(json!({"logSeverityScreen": "warning"})), Vec::<String>::new());
    assert_eq!(names(json!({"listenPort": 0})), Vec::<String>::new());
}

#[test]
fn what_holds_for_the_cluster_is_refused_for_a_node() {
    let mut node = decode_strict(
        Kind::BGPConfiguration,
        json!({"metadata": {"name": "node.n1"}, "spec": {"asNumber": 1, "nodeToNodeMeshEnabled": true}}),
    )
    .unwrap();
    let error = admit(&mut node, Operation::Create).unwrap_err();
    let names: Vec<_> = error.fields.iter().map(|field| field.name.as_str()).collect();
    assert_eq!(names, ["BGPConfiguration.Spec.NodeToNodeMeshEnabled", "BGPConfiguration.Spec.ASNumber"]);
}
