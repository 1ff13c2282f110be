use crate::Kind;
use crate::kinds::testing::{create, refusals, stored_spec};
use serde_json::{Value, json};

const GNP: Kind = Kind::GlobalNetworkPolicy;
const PASS: &[&str] = &[];

fn spec(spec: Value) -> Vec<String> {
    refusals(GNP, "p", spec)
}

#[test]
fn untracked_and_before_nat_exclude_each_other() {
    assert_eq!(
        spec(json!({"preDNAT": true, "doNotTrack": true, "applyOnForward": true})),
        ["spec (preDNAT and doNotTrack cannot both be true)"]
    );
    assert_eq!(spec(json!({"preDNAT": false, "doNotTrack": true, "applyOnForward": true})), PASS);
}

#[test]
fn both_need_forwarding() {
    let reason = ["spec (applyOnForward must be true if either preDNAT or doNotTrack is true)"];
    for field in ["preDNAT", "doNotTrack"] {
        assert_eq!(spec(json!({field: true})), reason);
        assert_eq!(spec(json!({field: true, "applyOnForward": false})), reason);
        assert_eq!(spec(json!({field: true, "applyOnForward": true})), PASS);
    }
    assert_eq!(spec(json!({"applyOnForward": true})), PASS);
}

#[test]
fn before_nat_there_is_no_egress() {
    let policy = json!({"preDNAT": true, "applyOnForward": true, "egress": [{"action": "Allow"}]});
    assert_eq!(spec(policy.clone()), ["spec (preDNAT policy cannot have any egress rules)"]);
    // on a write the directions are filled in first
    assert_eq!(
        create(GNP, "p", policy).expect_err("refused"),
        "error with the following fields:\n\
         -  spec (preDNAT policy cannot have any egress rules)\n\
         -  spec (preDNAT policy cannot have 'Egress' type)\n"
    );
    assert_eq!(
        spec(json!({"preDNAT": true, "applyOnForward": true, "types": ["Ingress", "Egress"]})),
        ["spec (preDNAT policy cannot have 'Egress' type)"]
    );
}

#[test]
fn global_is_for_rules_only() {
    for field in ["selector", "serviceAccountSelector", "namespaceSelector"] {
        assert_eq!(
            spec(json!({field: "has(a) || global()"})),
            ["spec (global() can only be used in an EntityRule namespaceSelector)"]
        );
    }
}

#[test]
fn names_are_one_or_two_labels() {
    for good in ["p", "tier.p", "knp.default", &"a".repeat(100)] {
        assert_eq!(refusals(GNP, good, json!({})), PASS, "{good}");
    }
    for bad in ["a.b.c", "knp.default.x", "ossg.default.x"] {
        assert_eq!(refusals(GNP, bad, json!({})).len(), 1, "{bad}");
    }
}

#[test]
fn types_are_named_after_the_kind() {
    assert_eq!(
        spec(json!({"types": ["Ingress", "Ingress"]})),
        ["GlobalNetworkPolicySpec.Types = '[Ingress Ingress]' ('Ingress' type specified more than once)"]
    );
}

#[test]
fn stored_order_of_fields() {
    let given = json!({
        "namespaceSelector": "has(n)", "applyOnForward": true, "doNotTrack": true, "preDNAT": false, "types": ["Ingress"],
        "serviceAccountSelector": "has(s)", "order": 1,
    });
    assert_eq!(
        stored_spec(GNP, "p", given),
        "{\"tier\":\"default\",\"order\":1,\"types\":[\"Ingress\"],\"doNotTrack\":true,\"applyOnForward\":true,\
         \"serviceAccountSelector\":\"has(s)\",\"namespaceSelector\":\"has(n)\"}"
    );
}
