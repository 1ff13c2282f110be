use crate::Kind;
use crate::kinds::testing::{document, refusals, refusals_of, stored_spec};
use serde_json::json;

const KINDS: [Kind; 2] = [Kind::NetworkSet, Kind::GlobalNetworkSet];
const PASS: &[&str] = &[];

#[test]
fn nets_are_addresses_or_cidrs() {
    for kind in KINDS {
        assert_eq!(
            refusals(kind, "s", json!({"nets": ["10.0.0.1", "10.0.0.1/8", "fd00::1", "fd00::/8"]})),
            PASS
        );
        assert_eq!(
            refusals(kind, "s", json!({"nets": ["10.0.0.0/8", "10.0.0.0/40"]})),
            ["Nets[1] = '10.0.0.0/40' (Reason: failed to validate Field: Nets[1] because of Tag: cidr )"]
        );
    }
}

#[test]
fn nets_are_stored_as_given() {
    let nets = json!({"nets": ["2001:DB8::1/64", "10.0.0.1/8", "10.0.0.1/8"]});
    assert_eq!(stored_spec(Kind::NetworkSet, "s", nets.clone()), nets.to_string());
    assert_eq!(stored_spec(Kind::GlobalNetworkSet, "s", json!({"nets": []})), "{}");
}

#[test]
fn a_set_claims_no_namespace() {
    for kind in KINDS {
        let mut document = document(kind, "s", json!({}));
        document["metadata"]["labels"] = json!({"projectcalico.org/namespace": "x", "role": "db"});
        assert_eq!(
            refusals_of(document),
            [
                "Metadata.Labels (label) = 'projectcalico.org/namespace' (projectcalico.org/namespace is not a valid label name)"
            ]
        );
    }
}
