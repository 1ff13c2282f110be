use super::*;
use crate::admission::validate;
use crate::schema::decode_strict;
use serde_json::json;

#[test]
fn a_deleted_affinity_cannot_be_written() {
    let write = |spec: Value| {
        let resource =
            decode_strict(Kind::BlockAffinity, json!({"metadata": {"name": "a"}, "spec": spec})).unwrap();
        validate(&resource).is_ok()
    };
    assert!(write(json!({"state": "confirmed", "node": "n", "cidr": "10.0.0.0/26"})));
    assert!(write(json!({"cidr": "10.0.0.0/26", "deleted": "false"})));
    assert!(!write(json!({"cidr": "10.0.0.0/26", "deleted": true})));
    assert!(!write(json!({"cidr": "10.0.0.0/26", "deleted": "true"})));
    assert!(!write(json!({"state": "lost", "cidr": "10.0.0.0/26"})));
    assert!(!write(json!({"state": "pending"})));
}
