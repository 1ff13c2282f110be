use crate::Kind;
use crate::TIER_LABEL;
use crate::kinds::testing::{create, created, refusals, stored_spec};
use serde_json::json;

const KINDS: [(Kind, &str, &str); 2] = [
    (Kind::StagedNetworkPolicy, "StagedNetworkPolicySpec", "NetworkPolicySpec.Types"),
    (Kind::StagedGlobalNetworkPolicy, "StagedGlobalNetworkPolicySpec", "GlobalNetworkPolicySpec.Types"),
];
const PASS: &[&str] = &[];

#[test]
fn actions() {
    for (kind, ..) in KINDS {
        for action in ["Set", "Delete", "Learn", "Ignore"] {
            assert_eq!(refusals(kind, "p", json!({"stagedAction": action})), PASS);
        }
        assert_eq!(
            refusals(kind, "p", json!({"stagedAction": "Maybe"})),
            [r#"spec.stagedAction (supported values: "Set", "Delete", "Learn", "Ignore")"#]
        );
        assert_eq!(
            stored_spec(kind, "p", json!({})),
            r#"{"stagedAction":"Set","tier":"default","types":["Ingress"]}"#
        );
    }
}

#[test]
fn a_deletion_says_nothing_but_its_tier() {
    for (kind, spec_name, _) in KINDS {
        let stored = stored_spec(kind, "p", json!({"stagedAction": "Delete", "tier": "platform"}));
        assert_eq!(stored, r#"{"stagedAction":"Delete","tier":"platform"}"#);
        assert_eq!(created(kind, "p", json!({"stagedAction": "Delete"})).label(TIER_LABEL), Some("default"));
        for (field, value) in
            [("order", json!(0)), ("ingress", json!([{"action": "Allow"}])), ("selector", json!("all()"))]
        {
            let refused = refusals(kind, "p", json!({"stagedAction": "Delete", field: value}));
            assert_eq!(refused.len(), 1, "{refused:?}");
            assert!(refused[0].starts_with(&format!("{spec_name} = '")), "{refused:?}");
            assert!(
                refused[0].ends_with(
                    "(Spec fields, except Tier, should all be zero-value if stagedAction is Delete)"
                ),
                "{refused:?}"
            );
        }
        // what is empty says nothing
        assert_eq!(
            refusals(kind, "p", json!({"stagedAction": "Delete", "ingress": [], "selector": ""})),
            PASS
        );
        // directions are dropped on a write, but are too much for a mere validation
        assert!(create(kind, "p", json!({"stagedAction": "Delete", "types": ["Ingress"]})).is_ok());
        assert_eq!(refusals(kind, "p", json!({"stagedAction": "Delete", "types": ["Ingress"]})).len(), 1);
    }
}

#[test]
fn other_actions_are_checked_as_the_policy() {
    for (kind, _, types) in KINDS {
        let refused = refusals(kind, "p", json!({"stagedAction": "Learn", "types": ["Egress", "Egress"]}));
        assert_eq!(
            refused,
            [format!("{types} = '[Egress Egress]' ('Egress' type specified more than once)")]
        );
        let refused = refusals(kind, "p", json!({"ingress": [{"action": "Nope"}]}));
        assert_eq!(refused.len(), 1, "{refused:?}");
        assert_eq!(refusals(kind, "a.b.c", json!({})).len(), 1);
    }
    assert_eq!(
        refusals(Kind::StagedGlobalNetworkPolicy, "p", json!({"preDNAT": true})),
        ["spec (applyOnForward must be true if either preDNAT or doNotTrack is true)"]
    );
    assert_eq!(refusals(Kind::StagedNetworkPolicy, "knp.default.a.b", json!({})), PASS);
}
