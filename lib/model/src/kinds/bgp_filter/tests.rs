use super::*;
use crate::admission::validate;
use crate::schema::decode_strict;
use serde_json::json;

fn errors(rules: &str, rule: Value) -> Vec<String> {
    let document = json!({"metadata": {"name": "a"}, "spec": {rules: [rule]}});
    let resource = decode_strict(Kind::BGPFilter, document).unwrap();
    validate(&resource).err().into_iter().flat_map(|e| e.fields).map(|field| field.to_string()).collect()
}

#[test]
fn prefixes_have_their_familys_bounds() {
    let rule = |cidr: &str, max: i64| json!({"action": "Accept", "cidr": cidr, "matchOperator": "In", "prefixLength": {"max": max}});
    assert!(errors("importV4", rule("10.0.0.0/8", 32)).is_empty());
    assert!(errors("exportV6", rule("fd00::/8", 128)).is_empty());
    assert_eq!(errors("importV4", rule("10.0.0.0/8", 33)).len(), 2);
    assert_eq!(errors("importV6", rule("fd00::/8", 129)).len(), 2);
    assert!(errors("importV6", rule("10.0.0.0/8", 8))[0].starts_with("CIDR = '10.0.0.0/8'"));
    let found = errors("importV4", json!({"action": "Accept", "prefixLength": {"min": 8}}));
    assert_eq!(found, ["spec.importV4[0] (prefixLength requires cidr to be set)"]);
}

#[test]
fn matches_are_checked() {
    for (bad, name) in [
        (json!({"action": "Drop"}), "spec.exportV4[0].action (supported values: \"Accept\", \"Reject\")"),
        (json!({"action": "Accept", "source": "Local"}), "spec.exportV4[0].source (supported"),
        (json!({"action": "Accept", "peerType": "both"}), "spec.exportV4[0].peerType (supported"),
        (json!({"action": "Accept", "interface": "a b"}), "Interface = 'a b'"),
        (
            json!({"action": "Accept", "communities": {"values": ["1:2", "1:3"]}}),
            "spec.exportV4[0].communities.values (must have at most 1 item)",
        ),
        (
            json!({"action": "Accept", "communities": {"values": []}}),
            "spec.exportV4[0].communities.values (spec.exportV4[0].communities.values in body should have at least 1 items)",
        ),
        (
            json!({"action": "Accept", "communities": {"values": ["x"]}}),
            "spec.exportV4[0].communities.values[0] (spec",
        ),
        (json!({"action": "Accept", "priority": 0}), "spec.exportV4[0].priority (spec"),
        (
            json!({"action": "Accept", "asPathPrefix": [4_200_000_000_u32]}),
            "BGPFilter (Checked value must be of type integer with format int32 in spec.exportV4[0].asPathPrefix[0])",
        ),
    ] {
        let found = errors("exportV4", bad.clone());
        assert!(matches!(found.as_slice(), [one] if one.starts_with(name)), "{bad}: {found:?}");
    }
}

#[test]
fn operations_stand_alone_and_on_accepted_routes() {
    let with = |operations: Value| errors("importV4", json!({"action": "Accept", "operations": operations}));
    assert!(with(json!([{"setPriority": {"value": 5}}, {"prependASPath": {"prefix": [1]}}])).is_empty());
    assert!(with(json!([{}]))[0].starts_with(
        "spec.importV4[0].operations[0] (spec.importV4[0].operations[0] in body should have at least 1"
    ));
    assert!(
        with(json!([{"prependASPath": {"prefix": vec![1; 11]}}]))[0]
            .ends_with("(must have at most 10 items)")
    );
    assert!(with(json!([{"setPriority": {"value": 0}}]))[0].contains("greater than or equal to 1"));
    assert!(with(json!([{"addCommunity": {"value": "x"}}]))[0].contains("should match"));
    assert!(
        with(vec![json!({"setPriority": {"value": 5}}); 11].into())[0]
            .ends_with("(must have at most 10 items)")
    );
}
