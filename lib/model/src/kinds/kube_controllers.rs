//! KubeControllersConfiguration. Source: `resources.md` §1.20 of the contract.

use super::{items_of, text_of};
use crate::admission::Operation;
use crate::error::{FieldError, ValidationError};
use crate::kind::Kind;
use crate::resource::Resource;
use crate::schema::field::{Default, TEXT, duration, int, int32, list, object, text, text_map};
use crate::schema::metadata::check_annotation_map;
use crate::schema::{Check, Context, Field, KindSchema, Object, Path, Tag, Type, tags};
use serde_json::{Map, Value, json};
use std::collections::BTreeSet;

const ON_OFF: Check = Check::Enum(&["Enabled", "Disabled"]);
const ENABLED_OR_DISABLED: Tag = tags::one_of!("Enabled", "Disabled");
const LEVELS: Check = Check::Enum(&["None", "Debug", "Info", "Warning", "Error", "Fatal", "Panic"]);

static SPEC: Object = Object::new(&[
    text("logSeverityScreen").check(LEVELS),
    text("healthChecks").tag(ENABLED_OR_DISABLED).check(ON_OFF).default(Default::Text("Enabled")),
    duration("etcdV3CompactionPeriod"),
    int("prometheusMetricsPort").pointer().check(Check::Min(0)).check(Check::Max(65535)),
    object("controllers", &CONTROLLERS).always(),
    int32("debugProfilePort").pointer().check(Check::Min(0)).check(Check::Max(65535)),
]);

static CONTROLLERS: Object = Object::new(&[
    object("node", &NODE).pointer(),
    object("policy", &PERIODIC).pointer(),
    object("workloadEndpoint", &PERIODIC).pointer(),
    object("serviceAccount", &PERIODIC).pointer(),
    object("namespace", &PERIODIC).pointer(),
    object("loadBalancer", &LOAD_BALANCER).pointer(),
    object("migration", &MIGRATION).pointer(),
]);

static NODE: Object = Object::new(&[
    duration("reconcilerPeriod"),
    text("syncLabels").tag(ENABLED_OR_DISABLED).check(ON_OFF),
    object("hostEndpoint", &HOST_ENDPOINT).pointer(),
    duration("leakGracePeriod"),
]);

static HOST_ENDPOINT: Object = Object::new(&[
    text("autoCreate").tag(ENABLED_OR_DISABLED).check(ON_OFF),
    text("createDefaultHostEndpoint").tag(Tag::new("createDefaultHostEndpoint", |value| {
        matches!(value.as_str(), Some("Enabled" | "Disabled"))
    })),
    list("templates", &Field::item(Type::Object(&TEMPLATE))),
]);

static TEMPLATE: Object = Object::new(&[
    text("generateName").tag(tags::NAME).check(Check::MaxLength(253)),
    list("interfaceCIDRs", TEXT).tag(tags::CIDRS),
    text("interfacePattern").tag(tags::REGEXP),
    text_map("labels").tag(tags::LABELS),
    text_map("annotations"),
    text("nodeSelector").tag(tags::SELECTOR),
])
.rule(template);

static PERIODIC: Object = Object::new(&[duration("reconcilerPeriod")]);

static LOAD_BALANCER: Object = Object::new(&[text("assignIPs")
    .check(Check::Enum(&["AllServices", "RequestedServicesOnly"]))
    .default(Default::Text("AllServices"))]);

static MIGRATION: Object = Object::new(&[text("policyNameMigrator")
    .tag(ENABLED_OR_DISABLED)
    .check(Check::Enum(&["Disabled", "Enabled"]))
    .default(Default::Text("Enabled"))]);

static STATUS: Object = Object::new(&[object("runningConfig", &SPEC).pointer(), text_map("environmentVars")]);

/// The kind.
pub(crate) static SCHEMA: KindSchema = KindSchema {
    status: Some(object("status", &STATUS).always()),
    prepare: Some(prepare),
    finish: Some(finish),
    ..KindSchema::new(Kind::KubeControllersConfiguration, &SPEC)
};

fn template(_: &Context<'_>, template: &Map<String, Value>, _: &Path<'_>, out: &mut Vec<FieldError>) {
    let annotations = template.get("annotations").and_then(Value::as_object).into_iter().flatten();
    check_annotation_map(annotations.filter_map(|(key, value)| Some((key.as_str(), value.as_str()?))), out);
}

/// What Calico's client fills in, and what it asks of templates before it validates.
fn prepare(resource: &mut Resource, _: Operation<'_>) -> Result<(), ValidationError> {
    let spec = resource.spec_mut();
    spec.entry("prometheusMetricsPort").or_insert_with(|| json!(9094));
    let node = spec.get_mut("controllers").and_then(|controllers| controllers.get_mut("node"));
    let Some(Value::Object(node)) = node else { return Ok(()) };
    node.entry("leakGracePeriod").or_insert_with(|| json!("15m0s"));
    match node.get("hostEndpoint") {
        Some(Value::Object(host_endpoint)) => check_templates(host_endpoint),
        _ => Ok(()),
    }
}

/// Templates have names of their own, and something to find interfaces by.
fn check_templates(host_endpoint: &Map<String, Value>) -> Result<(), ValidationError> {
    const TEMPLATES: &str = "KubeControllersConfiguration.Node.HostEndpoint.Templates";
    let refuse = |field: String, reason: &str| Err(ValidationError::one(FieldError::at(field, reason)));
    let mut names = BTreeSet::new();
    for template in items_of(host_endpoint, "templates").filter_map(Value::as_object) {
        let name = text_of(template, "generateName");
        if name.is_empty() {
            return refuse(TEMPLATES.to_owned(), "Template name must be specified");
        }
        if name.len() > 253 {
            return refuse(TEMPLATES.to_owned(), "Template name must be shorter than 253 characters");
        }
        if !names.insert(name) {
            return refuse(format!("{TEMPLATES}.{name}"), "Template name must be unique");
        }
        let finds_none = items_of(template, "interfaceCIDRs").next().is_none();
        if finds_none && text_of(template, "interfacePattern").is_empty() {
            return refuse(
                format!("{TEMPLATES}.{name}"),
                "InterfaceCIDRs or InterfacePattern must be specified",
            );
        }
    }
    Ok(())
}

fn finish(resource: &Resource, _: Operation<'_>) -> Result<(), ValidationError> {
    super::only_default(resource, "a Kube Controllers Configuration")
}

#[cfg(test)]
mod tests;
