use crate::kinds::testing::{create, created, document, read, refusals};
use crate::{Kind, WELL_KNOWN_TIERS};
use serde_json::{Value, json};

const PASS: &[&str] = &[];

fn tier(name: &str, spec: Value) -> Vec<String> {
    refusals(Kind::Tier, name, spec)
}

#[test]
fn what_is_missing_is_filled_in() {
    let stored = created(Kind::Tier, "t", json!({}));
    assert_eq!(stored.spec().to_string(), r#"{"order":1000000,"defaultAction":"Deny"}"#);
    assert_eq!(stored.object()["status"], json!({}));
    let stored = created(Kind::Tier, "t", json!({"order": 0, "defaultAction": "Pass"}));
    assert_eq!(stored.spec().to_string(), r#"{"order":0,"defaultAction":"Pass"}"#);
}

#[test]
fn actions() {
    for good in ["Deny", "Pass"] {
        assert_eq!(tier("t", json!({"defaultAction": good})), PASS);
    }
    let tag = |action: &str| {
        format!(
            "DefaultAction = '{action}' (Reason: failed to validate Field: DefaultAction because of Tag: oneof )"
        )
    };
    let last = "Tier (\"spec.defaultAction\" must validate all the schemas (allOf))";
    assert_eq!(
        tier("t", json!({"defaultAction": "Log"})),
        [&tag("Log"), r#"spec.defaultAction (supported values: "Pass", "Deny")"#, last]
    );
    assert_eq!(
        tier("t", json!({"defaultAction": "deny"})),
        [
            &tag("deny"),
            r#"spec.defaultAction (supported values: "Allow", "Deny", "Log", "Pass")"#,
            r#"spec.defaultAction (supported values: "Pass", "Deny")"#,
            last
        ]
    );
}

#[test]
fn names_are_one_label_that_fits_in_a_label() {
    assert_eq!(tier(&"a".repeat(63), json!({})), PASS);
    assert_eq!(
        tier("a.b", json!({})),
        [
            "Metadata.Name = 'a.b' (name must consist of lower case alphanumeric characters or '-' (regex: [a-z0-9]([-a-z0-9]*[a-z0-9])?))"
        ]
    );
    let long = "a".repeat(65);
    assert_eq!(tier(&long, json!({})), [format!("Metadata.Name = '{long}' (name is too long by 2 bytes)")]);
}

#[test]
fn the_built_in_tiers_stay_as_they_are() {
    for (name, order, action) in WELL_KNOWN_TIERS {
        let other = if action == "Pass" { "Deny" } else { "Pass" };
        assert_eq!(tier(name, json!({"order": order, "defaultAction": action})), PASS);
        assert_eq!(
            tier(name, json!({"order": order, "defaultAction": other})),
            [format!("Tier (The '{name}' tier must have default action '{action}')")]
        );
        for bad in [json!({"order": order + 1, "defaultAction": action}), json!({"defaultAction": action})] {
            assert_eq!(tier(name, bad), [format!("Tier ({name} tier order must be {order})")]);
        }
    }
    // absent means Deny, also where Pass is wanted
    assert_eq!(tier("default", json!({"order": 1_000_000})), PASS);
    assert_eq!(tier("kube-admin", json!({"order": 1000})).len(), 1);
    assert!(create(Kind::Tier, "default", json!({})).is_ok());
    assert!(create(Kind::Tier, "kube-admin", json!({"defaultAction": "Pass"})).is_err());
}

#[test]
fn conditions_are_read_and_checked() {
    let condition = json!({
        "type": "Ready", "status": "True", "lastTransitionTime": "2026-11-21T00:00:00Z", "reason": "Ok", "message": ""
    });
    let mut document = document(Kind::Tier, "t", json!({}));
    document["status"] = json!({"conditions": [condition]});
    let read_back = read(document.clone());
    assert_eq!(
        read_back.object()["status"].to_string(),
        "{\"conditions\":[{\"type\":\"Ready\",\"status\":\"True\",\"lastTransitionTime\":\"2026-11-21T00:00:00Z\",\
         \"reason\":\"Ok\",\"message\":\"\"}]}"
    );
    document["status"]["conditions"][0]["status"] = "Maybe".into();
    assert_eq!(
        crate::kinds::testing::refusals_of(document),
        [r#"status.conditions[0].status (supported values: "True", "False", "Unknown")"#]
    );
}
