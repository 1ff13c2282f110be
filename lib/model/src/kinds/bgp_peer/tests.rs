use super::*;
use crate::admission::validate;
use crate::schema::decode_strict;
use serde_json::json;

fn errors(spec: Value) -> Vec<String> {
    let resource = decode_strict(Kind::BGPPeer, json!({"metadata": {"name": "a"}, "spec": spec})).unwrap();
    validate(&resource).err().into_iter().flat_map(|e| e.fields).map(|field| field.to_string()).collect()
}

#[test]
fn a_peer_is_given_in_one_way() {
    for good in [
        json!({"peerIP": "192.0.2.1", "asNumber": 1}),
        json!({"peerSelector": "has(x)"}),
        json!({"localWorkloadSelector": "has(x)", "asNumber": 1}),
        json!({"peerIP": "[fd00::1]:179", "reachableBy": "fd00::2"}),
    ] {
        assert_eq!(errors(good.clone()), Vec::<String>::new(), "{good}");
    }
    for (bad, text) in [
        (json!({"node": "a", "nodeSelector": "all()"}), "node and nodeSelector"),
        (json!({"peerIP": "192.0.2.1", "peerSelector": "all()"}), "peerIP and peerSelector"),
        (json!({"peerSelector": "all()", "asNumber": 5}), "asNumber must be empty"),
        (
            json!({"peerIP": "192.0.2.1", "localWorkloadSelector": "all()", "asNumber": 1}),
            "peerIP must be empty",
        ),
        (json!({"peerSelector": "all()", "localWorkloadSelector": "all()"}), "peerSelector must be empty"),
        (json!({"localWorkloadSelector": "all()"}), "asNumber is required"),
        (json!({"reachableBy": "192.0.2.1"}), "reachableBy requires peerIP"),
        (json!({"keepOriginalNextHop": true, "nextHopMode": "Auto"}), "keepOriginalNextHop and nextHopMode"),
    ] {
        let found = errors(bad.clone());
        assert!(found.iter().any(|error| error.starts_with(&format!("spec ({text}"))), "{bad}: {found:?}");
    }
}

#[test]
fn single_fields() {
    for (bad, name) in [
        (json!({"filters": ["good", "Bad"]}), "Filters[1] = 'Bad'"),
        (
            json!({"nextHopMode": "Guess"}),
            "spec.nextHopMode (supported values: \"Auto\", \"Self\", \"Keep\")",
        ),
        (json!({"sourceAddress": "Any"}), "spec.sourceAddress (supported"),
        (json!({"localASNumber": 4_200_000_000_u32}), "BGPPeer (Checked value"),
        (json!({"reachableBy": "x", "peerIP": "192.0.2.1"}), "ReachableBy = 'x'"),
        (
            json!({"reachableBy": "fd00::1", "peerIP": "192.0.2.1:179"}),
            "ReachableBy = 'fd00::1' (ReachableBy and",
        ),
        (json!({"nodeSelector": "x x"}), "NodeSelector = 'x x'"),
    ] {
        let found = errors(bad.clone());
        assert!(matches!(found.as_slice(), [one] if one.starts_with(name)), "{bad}: {found:?}");
    }
    let decoded = |spec: Value| decode_strict(Kind::BGPPeer, json!({"spec": spec}));
    assert!(decoded(json!({"ttlSecurity": 256})).is_err());
    assert_eq!(decoded(json!({"asNumber": 0, "ttlSecurity": 0})).unwrap().spec(), &json!({"ttlSecurity": 0}));
}
