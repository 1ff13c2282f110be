use crate::Kind;
use crate::kinds::testing::{created, document, read, refusals, refusals_of};
use serde_json::json;

const KIND: Kind = Kind::CalicoNodeStatus;

#[test]
fn a_skeleton_is_stored() {
    let stored = created(KIND, "s", json!({"classes": ["BGP"], "node": "n", "updatePeriodSeconds": 0}));
    assert_eq!(stored.spec().to_string(), r#"{"node":"n","classes":["BGP"],"updatePeriodSeconds":0}"#);
    assert_eq!(
        stored.object()["status"].to_string(),
        "{\"lastUpdated\":null,\"agent\":{\"birdV4\":{},\"birdV6\":{}},\"bgp\":{\"numberEstablishedV4\":0,\
         \"numberNotEstablishedV4\":0,\"numberEstablishedV6\":0,\"numberNotEstablishedV6\":0},\"routes\":{}}"
    );
}

#[test]
fn all_of_the_spec_is_required() {
    let tag = |field: &str, value: &str, tag: &str| {
        format!("{field} = '{value}' (Reason: failed to validate Field: {field} because of Tag: {tag} )")
    };
    let refused = refusals(KIND, "s", json!({}));
    assert_eq!(
        refused,
        [
            tag("Node", "", "required"),
            tag("Classes", "[]", "required"),
            tag("UpdatePeriodSeconds", "<nil>", "required")
        ]
    );
    let with = |node: &str, classes: serde_json::Value, period: u32| {
        refusals(KIND, "s", json!({"node": node, "classes": classes, "updatePeriodSeconds": period}))
    };
    assert_eq!(with("n", json!(["Agent"]), 86400), [""; 0]);
    assert_eq!(with("N", json!(["Agent"]), 1), [tag("Node", "N", "name")]);
    assert_eq!(with("n", json!(["Agent", "Agent"]), 1), [tag("Classes", "[Agent Agent]", "unique")]);
    assert_eq!(with("n", json!(["Agent"]), 86401), [tag("UpdatePeriodSeconds", "86401", "lte")]);
    assert_eq!(
        with("n", json!(["Weather"]), 1),
        [r#"spec.classes[0] (supported values: "Agent", "BGP", "Routes")"#]
    );
}

#[test]
fn a_report_is_read_back() {
    let mut document =
        document(KIND, "s", json!({"node": "n", "classes": ["BGP"], "updatePeriodSeconds": 1}));
    document["status"] = json!({
        "lastUpdated": "2026-11-21T00:00:00Z",
        "bgp": {"numberEstablishedV4": 1, "peersV4": [{"peerIP": "192.0.2.1", "type": "NodeMesh", "state": "Established"}]},
        "routes": {"routesV4": [{"type": "FIB", "destination": "10.0.0.0/26", "learnedFrom": {"sourceType": "NodeMesh"}}]},
    });
    let resource = read(document.clone());
    let status = &resource.object()["status"];
    assert_eq!(status["bgp"]["peersV4"][0]["state"], "Established");
    assert_eq!(status["bgp"]["numberNotEstablishedV6"], 0);
    assert_eq!(status["routes"]["routesV4"][0]["learnedFrom"], json!({"sourceType": "NodeMesh"}));
    document["status"]["bgp"]["peersV4"][0]["state"] = "Asleep".into();
    let refused = refusals_of(document);
    assert_eq!(refused.len(), 1);
    assert!(refused[0].starts_with("status.bgp.peersV4[0].state (supported values: \"Idle\""), "{refused:?}");
}
