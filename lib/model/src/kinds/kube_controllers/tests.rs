use crate::Kind;
use crate::kinds::testing::{create, created, refusals, stored_spec};
use serde_json::{Value, json};

const KIND: Kind = Kind::KubeControllersConfiguration;
const PASS: &[&str] = &[];

#[test]
fn defaults() {
    let stored = created(KIND, "default", json!({}));
    assert_eq!(
        stored.spec().to_string(),
        r#"{"healthChecks":"Enabled","prometheusMetricsPort":9094,"controllers":{}}"#
    );
    assert_eq!(stored.object()["status"], json!({}));
    assert_eq!(
        stored_spec(
            KIND,
            "default",
            json!({"prometheusMetricsPort": 0, "controllers": {"node": {}, "loadBalancer": {}, "migration": {}, "policy": {}}})
        ),
        "{\"healthChecks\":\"Enabled\",\"prometheusMetricsPort\":0,\"controllers\":{\"node\":{\"leakGracePeriod\":\"15m0s\"},\
         \"policy\":{},\"loadBalancer\":{\"assignIPs\":\"AllServices\"},\"migration\":{\"policyNameMigrator\":\"Enabled\"}}}"
    );
}

#[test]
fn there_is_one() {
    assert_eq!(
        create(KIND, "mine", json!({})).expect_err("refused"),
        "Cannot create a Kube Controllers Configuration resource with a name other than \"default\""
    );
    assert_eq!(refusals(KIND, "mine", json!({})), PASS);
}

#[test]
fn words_and_numbers() {
    let both = |spec: Value| refusals(KIND, "default", spec);
    assert_eq!(
        both(json!({"logSeverityScreen": "debug"})),
        [
            r#"spec.logSeverityScreen (supported values: "None", "Debug", "Info", "Warning", "Error", "Fatal", "Panic")"#
        ]
    );
    assert_eq!(
        both(json!({"healthChecks": "On"})),
        [
            "HealthChecks = 'On' (Reason: failed to validate Field: HealthChecks because of Tag: oneof )",
            r#"spec.healthChecks (supported values: "Enabled", "Disabled")"#
        ]
    );
    assert_eq!(
        both(json!({"prometheusMetricsPort": 65536})),
        [
            "spec.prometheusMetricsPort (spec.prometheusMetricsPort in body should be less than or equal to 65535)"
        ]
    );
    assert_eq!(
        both(json!({"debugProfilePort": -1})),
        ["spec.debugProfilePort (spec.debugProfilePort in body should be greater than or equal to 0)"]
    );
    assert_eq!(
        both(json!({"controllers": {"loadBalancer": {"assignIPs": "Some"}}})),
        [
            r#"spec.controllers.loadBalancer.assignIPs (supported values: "AllServices", "RequestedServicesOnly")"#
        ]
    );
    let host = |fields: Value| both(json!({"controllers": {"node": {"hostEndpoint": fields}}}));
    assert_eq!(
        host(json!({"createDefaultHostEndpoint": "Perhaps"})),
        [
            "CreateDefaultHostEndpoint = 'Perhaps' (Reason: failed to validate Field: CreateDefaultHostEndpoint because of Tag: createDefaultHostEndpoint )"
        ]
    );
}

#[test]
fn templates() {
    let spec =
        |templates: Value| json!({"controllers": {"node": {"hostEndpoint": {"templates": templates}}}});
    let prefix = "error with field KubeControllersConfiguration.Node.HostEndpoint.Templates";
    for (templates, error) in [
        (json!([{}]), format!("{prefix} (Template name must be specified)")),
        (
            json!([{"generateName": "a".repeat(254)}]),
            format!("{prefix} (Template name must be shorter than 253 characters)"),
        ),
        (
            json!([{"generateName": "a"}]),
            format!("{prefix}.a (InterfaceCIDRs or InterfacePattern must be specified)"),
        ),
        (
            json!([{"generateName": "a", "interfacePattern": "x"}, {"generateName": "a", "interfacePattern": "y"}]),
            format!("{prefix}.a (Template name must be unique)"),
        ),
    ] {
        assert_eq!(create(KIND, "default", spec(templates)).expect_err("refused"), error);
    }
    let one = |field: &str, value: Value| {
        let mut template = json!({"generateName": "a", "interfacePattern": "x"});
        template[field] = value;
        refusals(KIND, "default", spec(json!([template])))
    };
    assert_eq!(one("interfaceCIDRs", json!(["10.0.0.1", "fd00::/8"])), PASS);
    for (field, value, tag) in [
        ("generateName", json!("A_"), "name"),
        ("interfaceCIDRs", json!(["x"]), "cidrs"),
        ("interfacePattern", json!("("), "regexp"),
        ("labels", json!({"bad key": ""}), "labels"),
        ("nodeSelector", json!("x"), "selector"),
    ] {
        let refused = one(field, value);
        assert_eq!(refused.len(), 1, "{refused:?}");
        assert!(refused[0].ends_with(&format!("because of Tag: {tag} )")), "{refused:?}");
    }
    assert!(
        one("annotations", json!({"bad key": ""}))[0].starts_with("Metadata.Annotations (key) = 'bad key'")
    );
}
