use crate::Kind;
use crate::kinds::testing::{refusals, stored_spec, unreadable};
use serde_json::{Value, json};

const SKNP: Kind = Kind::StagedKubernetesNetworkPolicy;
const PASS: &[&str] = &[];

#[test]
fn names_may_have_any_number_of_labels() {
    assert_eq!(refusals(SKNP, "a.b.c.d", json!({})), PASS);
    let refused = refusals(SKNP, &"a".repeat(254), json!({}));
    assert_eq!(
        refused.iter().filter(|r| r.ends_with("(name is too long by 1 bytes)")).count(),
        2,
        "{refused:?}"
    );
}

#[test]
fn stored_form() {
    assert_eq!(stored_spec(SKNP, "p", json!({})), r#"{"stagedAction":"Set","podSelector":{}}"#);
    let spec = json!({
        "policyTypes": ["Ingress"],
        "egress": [{"to": [{"ipBlock": {"except": ["10.1.0.0/16"], "cidr": "10.0.0.0/8"}}]}],
        "ingress": [{
            "from": [{"namespaceSelector": {}, "podSelector": {"matchExpressions": [{"operator": "Exists", "key": "k"}]}}],
            "ports": [{"endPort": 90, "port": 80, "protocol": "TCP"}, {"port": "80"}, {}]
        }],
        "podSelector": {"matchLabels": {"b": "1", "a": "2"}},
    });
    assert_eq!(
        stored_spec(SKNP, "p", spec),
        "{\"stagedAction\":\"Set\",\"podSelector\":{\"matchLabels\":{\"a\":\"2\",\"b\":\"1\"}},\"ingress\":[{\"ports\":\
         [{\"protocol\":\"TCP\",\"port\":80,\"endPort\":90},{\"port\":\"80\"},{}],\"from\":[{\"podSelector\":\
         {\"matchExpressions\":[{\"key\":\"k\",\"operator\":\"Exists\"}]},\"namespaceSelector\":{}}]}],\"egress\":[{\"to\":\
         [{\"ipBlock\":{\"cidr\":\"10.0.0.0/8\",\"except\":[\"10.1.0.0/16\"]}}]}],\"policyTypes\":[\"Ingress\"]}"
    );
}

#[test]
fn ports_must_be_ports() {
    let with = |ports: Value| refusals(SKNP, "p", json!({"ingress": [{"ports": ports}]}));
    for good in [
        json!([]),
        json!([{"port": 80}]),
        json!([{"port": "dns"}]),
        json!([{"port": 80, "endPort": 80}]),
        json!([{"protocol": "UDP"}]),
    ] {
        assert_eq!(with(good.clone()), PASS, "{good}");
    }
    for (bad, reason) in [
        (json!([{"port": 70000}]), "invalid port 70000: invalid port format (70000)"),
        (
            json!([{"port": 90, "endPort": 80}]),
            "invalid port 90:80: minimum port number (90) is greater than maximum port number (80) in port range",
        ),
        (json!([{"port": "a b"}]), "invalid port a b: invalid name for named port (a b)"),
        (
            json!([{"port": "dns", "endPort": 80}]),
            "invalid port dns:80: invalid name for named port (dns:80)",
        ),
    ] {
        let refused = with(bad);
        assert_eq!(refused.len(), 1, "{refused:?}");
        assert!(refused[0].starts_with("PolicySpec = '"), "{refused:?}");
        assert!(
            refused[0].contains("(conversion to stagednetworkpolicy failed policy: p: error with rule "),
            "{refused:?}"
        );
        assert!(
            refused[0]
                .ends_with(&format!("(k8s rule couldn't be converted: failed to parse k8s port: {reason}))")),
            "{refused:?}"
        );
    }
}

#[test]
fn every_bad_rule_is_listed() {
    let bad = json!({"ports": [{"port": 70000}]});
    let refused = refusals(SKNP, "p", json!({"ingress": [bad, {}], "egress": [bad]}));
    assert_eq!(refused.len(), 1);
    assert!(refused[0].contains("failed policy: p: error with the following rules:\n-  "), "{refused:?}");
    assert_eq!(refused[0].matches("-  {").count(), 2);
}

#[test]
fn directions_are_counted_and_not_read() {
    assert_eq!(refusals(SKNP, "p", json!({"policyTypes": ["Ingress", "Ingress"]})), PASS);
    assert_eq!(
        refusals(SKNP, "p", json!({"policyTypes": ["a", "b", "c"]})),
        ["spec.policyTypes (must have at most 2 items)"]
    );
}

#[test]
fn a_deletion_says_nothing() {
    assert_eq!(refusals(SKNP, "p", json!({"stagedAction": "Delete"})), PASS);
    assert_eq!(refusals(SKNP, "p", json!({"stagedAction": "Delete", "podSelector": {}})), PASS);
    for more in [json!({"podSelector": {"matchLabels": {"a": "b"}}}), json!({"policyTypes": ["Ingress"]})] {
        let mut spec = more;
        spec["stagedAction"] = "Delete".into();
        let refused = refusals(SKNP, "p", spec);
        assert_eq!(refused.len(), 1, "{refused:?}");
        assert!(refused[0].starts_with("StagedKubernetesNetworkPolicySpec = '"), "{refused:?}");
        assert!(refused[0].ends_with("(Spec fields should all be zero-value if stagedAction is Delete)"));
    }
}

#[test]
fn unknown_fields_are_named_deep_down() {
    let error = unreadable(SKNP, "p", json!({"egress": [{"to": [{"ipBlock": {"cidr": "x", "net": 1}}]}]}));
    assert!(error.contains("spec.egress[0].to[0].ipBlock.net"), "{error}");
}
