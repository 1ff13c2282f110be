use super::*;
use crate::admission::{Operation, admit, validate};
use crate::schema::decode_strict;
use serde_json::json;

fn pool(spec: Value) -> Resource {
    decode_strict(Kind::IPPool, json!({"metadata": {"name": "p"}, "spec": spec})).unwrap()
}

fn admitted(spec: Value) -> Result<Value, String> {
    let mut pool = pool(spec);
    admit(&mut pool, Operation::Create).map_err(|e| e.to_string())?;
    Ok(pool.spec().clone())
}

#[test]
fn defaults_follow_the_family() {
    assert_eq!(
        admitted(json!({"cidr": "FD5F:009C::/64"})).unwrap().to_string(),
        r#"{"cidr":"fd5f:9c::/64","vxlanMode":"Never","ipipMode":"Never","blockSize":122,"nodeSelector":"all()","allowedUses":["Workload","Tunnel"],"assignmentMode":"Automatic"}"#
    );
    assert_eq!(admitted(json!({"cidr": "10.0.0.0/16"})).unwrap()["blockSize"], 26);
}

#[test]
fn what_identifies_a_pool_cannot_change() {
    let mut old = pool(json!({"cidr": "fd00::/48", "allowedUses": ["LoadBalancer"]}));
    admit(&mut old, Operation::Create).unwrap();
    let mut same = pool(json!({"cidr": "FD00:0::/48", "allowedUses": ["LoadBalancer"]}));
    assert_eq!(admit(&mut same, Operation::Update { old: &old }), Ok(()));
    let mut new = pool(json!({"cidr": "fd01::/48", "blockSize": 124}));
    let error = admit(&mut new, Operation::Update { old: &old }).unwrap_err();
    let names: Vec<_> = error.fields.iter().map(|field| field.name.as_str()).collect();
    assert_eq!(names, ["IPPool.Spec.CIDR", "IPPool.Spec.BlockSize", "IPPool.Spec.AllowedUses"]);
}

#[test]
fn a_disabled_pool_may_be_smaller_than_a_block() {
    assert!(admitted(json!({"cidr": "10.0.0.0/30"})).unwrap_err().contains("too small"));
    assert!(admitted(json!({"cidr": "10.0.0.0/30", "disabled": true})).is_ok());
}

#[test]
fn pools_for_services_stand_apart() {
    let with = |more: Value| {
        let mut spec = json!({"cidr": "10.0.0.0/16", "allowedUses": ["LoadBalancer"]});
        spec.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        admitted(spec)
    };
    assert!(with(json!({})).is_ok());
    assert!(with(json!({"vxlanMode": "Always"})).is_err());
    assert!(with(json!({"disableBGPExport": true})).is_err());
    assert!(with(json!({"nodeSelector": "has(x)"})).is_err());
}

#[test]
fn validation_alone_fills_in_nothing() {
    assert_eq!(validate(&pool(json!({"cidr": "10.0.0.0/16", "namespaceSelector": "has(x)"}))), Ok(()));
    let error = admitted(json!({"cidr": "10.0.0.0/16", "namespaceSelector": "has(x)"})).unwrap_err();
    assert_eq!(error, "error with field spec (IP Pool with AllowedUse Tunnel cannot have namespaceSelector)");
}

#[test]
fn a_text_that_is_no_prefix_is_explained_as_upstream_does() {
    assert!(parse_trouble("x").ends_with(r#"netip.ParsePrefix("x"): no '/'"#));
    assert!(parse_trouble("10.0.0.0/33").ends_with("prefix length out of range"));
    assert!(parse_trouble("x/24").ends_with(r#"ParseAddr("x"): unable to parse IP"#));
    assert!(parse_trouble("10.0.0.0/x").ends_with(r#"bad bits after slash: "x""#));
}

#[test]
fn a_status_is_kept_as_it_is() {
    let status = json!({"conditions": [{"type": "Allocatable", "status": "False", "reason": "CIDROverlap"}]});
    let document = json!({"metadata": {"name": "p"}, "spec": {"cidr": "10.0.0.0/16"}, "status": status});
    let mut pool = decode_strict(Kind::IPPool, document).unwrap();
    admit(&mut pool, Operation::Create).unwrap();
    assert_eq!(pool.object()["status"], status);
    assert!(!pool.is_allocatable_pool());
}
