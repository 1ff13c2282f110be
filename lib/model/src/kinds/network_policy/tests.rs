use crate::admission::{Operation, admit};
use crate::kinds::testing::{create, created, document, read, refusals, refusals_of, stored_spec};
use crate::{DEFAULT_TIER, Kind, TIER_LABEL};
use serde_json::{Value, json};

const NP: Kind = Kind::NetworkPolicy;
const PASS: &[&str] = &[];

#[test]
fn directions_follow_the_rules() {
    let rule = json!([{"action": "Deny"}]);
    for (spec, types) in [
        (json!({}), json!(["Ingress"])),
        (json!({"ingress": rule}), json!(["Ingress"])),
        (json!({"egress": rule}), json!(["Egress"])),
        (json!({"ingress": rule, "egress": rule}), json!(["Ingress", "Egress"])),
        (json!({"ingress": rule, "types": ["Egress"]}), json!(["Egress"])),
        (json!({"egress": rule, "types": []}), json!(["Egress"])),
        (json!({"egress": [], "ingress": []}), json!(["Ingress"])),
    ] {
        assert_eq!(created(NP, "p", spec.clone()).spec()["types"], types, "{spec}");
    }
}

#[test]
fn the_tier_is_filled_in_and_labelled() {
    let policy = created(NP, "p", json!({}));
    assert_eq!(policy.spec()["tier"], DEFAULT_TIER);
    assert_eq!(policy.label(TIER_LABEL), Some(DEFAULT_TIER));
    let policy = created(NP, "p", json!({"tier": "platform"}));
    assert_eq!(policy.label(TIER_LABEL), Some("platform"));
}

#[test]
fn a_users_tier_label_is_overwritten() {
    let mut document = document(NP, "p", json!({"tier": "platform"}));
    document["metadata"]["labels"] = json!({TIER_LABEL: "mine", "a": "b"});
    let mut policy = read(document);
    admit(&mut policy, Operation::Create).expect("a good policy");
    assert_eq!(policy.label(TIER_LABEL), Some("platform"));
    assert_eq!(policy.label("a"), Some("b"));
    policy.spec_mut().insert("tier".into(), "default".into());
    let old = policy.clone();
    admit(&mut policy, Operation::Update { old: &old }).expect("a good policy");
    assert_eq!(policy.label(TIER_LABEL), Some("default"));
}

#[test]
fn stored_order_of_fields() {
    let spec = json!({
        "performanceHints": ["AssumeNeededOnEveryNode"], "serviceAccountSelector": "has(a)", "types": ["Egress"],
        "selector": "has(b)", "egress": [{"action": "Deny"}], "order": 1e2, "tier": "t",
    });
    assert_eq!(
        stored_spec(NP, "p", spec),
        "{\"tier\":\"t\",\"order\":100,\"egress\":[{\"action\":\"Deny\"}],\"selector\":\"has(b)\",\
         \"types\":[\"Egress\"],\"serviceAccountSelector\":\"has(a)\",\
         \"performanceHints\":[\"AssumeNeededOnEveryNode\"]}"
    );
}

#[test]
fn an_order_of_zero_is_kept() {
    assert_eq!(created(NP, "p", json!({"order": 0})).spec()["order"], 0);
    assert_eq!(created(NP, "p", json!({"order": -1.5})).spec()["order"], -1.5);
    assert_eq!(created(NP, "p", json!({"order": null})).spec().get("order"), None);
}

#[test]
fn names() {
    let label = "name must consist of lower case alphanumeric characters or '-' (regex: [a-z0-9]([-a-z0-9]*[a-z0-9])?)";
    let long_label = "a".repeat(64);
    for good in ["p", "a.b", "a-b.c-d", "knp.default.x", "knp.default.x.y.z", "ossg.default.a.b", &long_label]
    {
        assert_eq!(refusals(NP, good, json!({})), PASS, "{good}");
    }
    for bad in ["a.b.c", "knp.other.a"] {
        assert_eq!(refusals(NP, bad, json!({})), [format!("Metadata.Name = '{bad}' ({label})")]);
    }
    for bad in ["A", "a..b", "-a", "a_b", "a.", "knp.default."] {
        let refused = refusals(NP, bad, json!({}));
        assert_eq!(refused.len(), 2, "{refused:?}");
        assert_eq!(refused[1], format!("Metadata.Name = '{bad}' ({label})"));
    }
    let long = "a".repeat(260);
    let refused = refusals(NP, &long, json!({}));
    // the metadata's own check and the policy's
    assert_eq!(refused, vec![format!("Metadata.Name = '{long}' (name is too long by 7 bytes)"); 2]);
}

#[test]
fn the_namespaces_text_is_not_judged() {
    let mut document = document(NP, "p", json!({}));
    document["metadata"]["namespace"] = "Shop_1".into();
    assert_eq!(refusals_of(document), PASS);
}

#[test]
fn labels_are_complained_about_twice() {
    let mut document = document(NP, "p", json!({}));
    document["metadata"]["labels"] = json!({"a": "not a label!"});
    let refused = refusals_of(document);
    assert_eq!(refused.len(), 2);
    assert_eq!(refused[0], refused[1]);
}

#[test]
fn directions() {
    assert_eq!(
        refusals(NP, "p", json!({"types": ["Egress", "Egress"]})),
        ["NetworkPolicySpec.Types = '[Egress Egress]' ('Egress' type specified more than once)"]
    );
    assert_eq!(
        refusals(NP, "p", json!({"types": ["Inbound"]})),
        [r#"spec.types[0] (supported values: "Ingress", "Egress")"#]
    );
    assert_eq!(
        refusals(NP, "p", json!({"types": ["Ingress", "Egress", "Ingress"]})),
        [
            "NetworkPolicySpec.Types = '[Ingress Egress Ingress]' ('Ingress' type specified more than once)",
            "spec.types (must have at most 2 items)"
        ]
    );
}

#[test]
fn hints() {
    assert_eq!(refusals(NP, "p", json!({"performanceHints": ["AssumeNeededOnEveryNode"]})), PASS);
    let twice = json!({"performanceHints": ["AssumeNeededOnEveryNode", "AssumeNeededOnEveryNode"]});
    let refused = refusals(NP, "p", twice);
    assert_eq!(refused.len(), 1);
    assert!(refused[0].ends_with("because of Tag: unique )"), "{refused:?}");
    assert_eq!(
        refusals(NP, "p", json!({"performanceHints": ["Fast"]})),
        [
            "PerformanceHints[0] = 'Fast' (Reason: failed to validate Field: PerformanceHints[0] because of Tag: oneof )",
            r#"spec.performanceHints[0] (supported values: "AssumeNeededOnEveryNode")"#
        ]
    );
}

#[test]
fn selectors() {
    for field in ["selector", "serviceAccountSelector"] {
        assert_eq!(refusals(NP, "p", json!({field: "a == 'b'"})), PASS);
        assert_eq!(
            refusals(NP, "p", json!({field: "global()"})),
            ["spec (global() can only be used in an EntityRule namespaceSelector)"]
        );
        let refused = refusals(NP, "p", json!({field: "x x"}));
        assert_eq!(refused.len(), 1);
        assert!(refused[0].ends_with("because of Tag: selector )"), "{refused:?}");
    }
}

#[test]
fn tiers_have_names() {
    assert_eq!(
        refusals(NP, "p", json!({"tier": "No Tier"})),
        ["Tier = 'No Tier' (Reason: failed to validate Field: Tier because of Tag: name )"]
    );
}

#[test]
fn fields_of_global_policies_are_unknown() {
    for field in ["doNotTrack", "preDNAT", "applyOnForward", "namespaceSelector", "stagedAction"] {
        let error = crate::kinds::testing::unreadable(NP, "p", json!({field: Value::Null}));
        assert!(error.contains(&format!("spec.{field}")), "{error}");
    }
}

#[test]
fn a_refused_policy_is_not_admitted() {
    let error =
        create(NP, "p", json!({"ingress": [{"action": "x"}], "selector": "("})).expect_err("two errors");
    assert_eq!(
        error,
        "error with the following fields:\n\
         -  Selector = '(' (Reason: failed to validate Field: Selector because of Tag: selector )\n\
         -  spec.ingress[0].action (supported values: \"Allow\", \"Deny\", \"Log\", \"Pass\")\n"
    );
}

#[test]
fn fields_of_newer_versions_survive_a_write() {
    let mut policy = created(NP, "p", json!({"ingress": [{"action": "Allow"}]}));
    policy.spec_mut().insert("newField".into(), json!({"a": 1}));
    policy.spec_mut()["ingress"][0]["newer"] = json!(true);
    let old = policy.clone();
    admit(&mut policy, Operation::Update { old: &old }).expect("a good policy");
    assert_eq!(policy.spec()["newField"], json!({"a": 1}));
    assert_eq!(policy.spec()["ingress"][0]["newer"], true);
}

#[test]
fn absurdly_long_lists_are_refused_in_little_time_and_memory() {
    let refused = refusals(NP, "p", json!({"types": vec!["Ingress"; 20_000]}));
    assert!(refused.len() < 20, "{}", refused.len());
    let hints: Vec<String> = (0..20_000).map(|n| n.to_string()).collect();
    assert!(!refusals(NP, "p", json!({"performanceHints": hints})).is_empty());
}
