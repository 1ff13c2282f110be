use super::*;
use serde_json::json;

fn endpoint(spec: Value) -> Resource {
    let mut endpoint = Resource::new(Kind::WorkloadEndpoint, "shop", "");
    *endpoint.spec_mut() = spec.as_object().unwrap().clone();
    endpoint
}

#[test]
fn each_orchestrator_has_its_identifiers() {
    // datamodel.md §3.1
    for (spec, name) in [
        (
            json!({"node": "node-1", "orchestrator": "k8s", "pod": "pod-name", "endpoint": "eth0"}),
            "node--1-k8s-pod--name-eth0",
        ),
        (
            json!({"node": "node-1", "orchestrator": "cni", "containerID": "abc", "endpoint": "eth0"}),
            "node--1-cni-abc-eth0",
        ),
        (
            json!({"node": "node-1", "orchestrator": "libnetwork", "endpoint": "abcdefgh"}),
            "node--1-libnetwork-libnetwork-abcdefgh",
        ),
        (
            json!({"node": "n", "orchestrator": "openstack", "workload": "vm", "endpoint": "e"}),
            "n-openstack-vm-e",
        ),
    ] {
        assert_eq!(endpoint_name(&endpoint(spec)).unwrap(), name);
    }
}

#[test]
fn every_missing_identifier_is_named() {
    let refused = |spec| endpoint_name(&endpoint(spec)).unwrap_err().to_string();
    assert_eq!(
        refused(json!({"orchestrator": "cni", "endpoint": "-e"})),
        "error with the following fields:\n-  node (field should be assigned)\n-  containerID (field should be assigned)\n\
         -  endpoint = '-e' (field must not begin or end with a '-')\n"
    );
    assert!(refused(json!({"node": "n", "orchestrator": "k8s", "endpoint": "e"})).contains("pod (field"));
    assert!(
        refused(json!({"node": 5, "orchestrator": "x", "workload": "w", "endpoint": "e"}))
            .contains("node (field")
    );
}

#[test]
fn labels_follow_other_fields() {
    let mut made = endpoint(json!({"orchestrator": "cni"}));
    made.set_meta_entry("labels", "projectcalico.org/namespace", "of the user");
    force_labels(&mut made);
    assert_eq!(made.label("projectcalico.org/namespace"), Some("shop"));
    assert_eq!(made.label("projectcalico.org/orchestrator"), Some("cni"));
    let mut policy = Resource::new(Kind::StagedGlobalNetworkPolicy, "", "p");
    force_labels(&mut policy);
    assert_eq!(policy.label(TIER_LABEL), Some("default"));
    let mut set = Resource::new(Kind::NetworkSet, "shop", "s");
    force_labels(&mut set);
    assert_eq!(set.labels().count(), 0);
}

#[test]
fn identity_is_checked_by_scope() {
    let refused = |kind, namespace: &str, name: &str| {
        let mut resource = Resource::new(kind, namespace, name);
        resource.set_meta_text("namespace", namespace);
        check_identity(&resource).map_err(|error| error.to_string())
    };
    assert!(refused(Kind::IPPool, "", "p").is_ok());
    assert!(refused(Kind::NetworkSet, "shop", "s").is_ok());
    assert!(refused(Kind::IPPool, "", "").unwrap_err().contains("Metadata.Name"));
    assert!(refused(Kind::IPPool, "shop", "p").unwrap_err().contains("non-namespaced"));
    assert!(refused(Kind::NetworkSet, "", "s").unwrap_err().contains("not specified"));
}

#[test]
fn tiers_are_shown_with_what_they_mean() {
    let mut tier = Resource::new(Kind::Tier, "", "t");
    tier.spec_mut().insert("defaultAction".into(), Value::Null);
    present(&mut tier);
    assert_eq!(tier.spec(), &json!({"defaultAction": "Deny", "order": 1_000_000}));
    let mut full = Resource::new(Kind::Tier, "", "t");
    full.spec_mut().insert("order".into(), json!(5));
    full.spec_mut().insert("defaultAction".into(), json!("Pass"));
    let before = full.clone();
    present(&mut full);
    assert_eq!(full, before);
}
