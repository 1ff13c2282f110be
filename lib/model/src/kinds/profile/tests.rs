use crate::Kind;
use crate::kinds::testing::{refusals, stored_spec};
use serde_json::json;

const PASS: &[&str] = &[];

#[test]
fn only_calicos_own_validators_hold() {
    for spec in [
        json!({"ingress": [{"action": "Permit"}]}),
        json!({"ingress": [{}]}),
        json!({"ingress": [{"action": "Deny", "http": {"methods": ["GET"]}}]}),
        json!({"ingress": [{"action": "Allow", "icmp": {"type": 8}}]}),
        json!({"egress": [{"action": "Allow", "source": {"selector": "global()"}}]}),
        json!({"egress": [{"action": "Allow", "destination": {"services": {}}}]}),
        json!({"egress": vec![json!({"action": "Deny"}); 1025]}),
    ] {
        assert_eq!(refusals(Kind::Profile, "p", spec.clone()), PASS, "{spec}");
    }
    assert_eq!(
        refusals(Kind::Profile, "p", json!({"ingress": [{"protocol": "GRE"}]})),
        ["Protocol = 'GRE' (protocol name invalid)"]
    );
    assert_eq!(
        refusals(Kind::Profile, "p", json!({"ingress": [{"icmp": {"type": 300}}]})),
        ["Type = '300' (Reason: failed to validate Field: Type because of Tag: lte )"]
    );
    assert_eq!(
        refusals(Kind::Profile, "p", json!({"egress": [{"destination": {"ports": [80]}}]})),
        [
            "Destination.Ports = '[80]' (rules with numeric port or port range must set protocol to TCP or UDP or SCTP)"
        ]
    );
}

#[test]
fn labels_to_apply_may_be_labels() {
    assert_eq!(refusals(Kind::Profile, "p", json!({"labelsToApply": {"a.b/c": "", "d": "x.y"}})), PASS);
    for labels in [json!({"bad key": "x"}), json!({"a": "no label!"}), json!({"a": "x".repeat(64)})] {
        let refused = refusals(Kind::Profile, "p", json!({"labelsToApply": labels}));
        assert_eq!(refused.len(), 1, "{refused:?}");
        assert!(
            refused[0].starts_with("LabelsToApply = '") && refused[0].ends_with("because of Tag: labels )")
        );
    }
}

#[test]
fn stored_form() {
    let spec = json!({"labelsToApply": {"b": "", "a": "1"}, "egress": [{"action": "Allow"}], "ingress": []});
    assert_eq!(
        stored_spec(Kind::Profile, "kns.shop", spec),
        r#"{"egress":[{"action":"Allow"}],"labelsToApply":{"a":"1","b":""}}"#
    );
    assert_eq!(stored_spec(Kind::Profile, "p", json!({})), "{}");
}
