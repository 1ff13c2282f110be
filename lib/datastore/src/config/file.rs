//! The settings file, read strictly.

use super::{ConnectConfig, ConnectError, SETTINGS};
use model::kind::API_VERSION;
use serde_json::{Map, Value};

const KIND: &str = "CalicoAPIConfig";

/// Settings of the Kubernetes datastore: legal in the file, without meaning here.
const KUBERNETES: [&str; 14] = [
    "kubeconfig",
    "k8sAPIEndpoint",
    "k8sKeyFile",
    "k8sCertFile",
    "k8sCAFile",
    "k8sAPIToken",
    "k8sInsecureSkipTLSVerify",
    "k8sDisableNodePoll",
    "usePodCIDR",
    "kubeconfigInline",
    "k8sClientQPS",
    "k8sClientBurst",
    "k8sCurrentContext",
    "calicoAPIGroup",
];

/// Reads a settings file's text; `path` is for messages.
pub(super) fn parse(text: &str, path: &str) -> Result<ConnectConfig, ConnectError> {
    let syntax = |reason: String| ConnectError::Syntax { path: path.to_owned(), reason };
    let shape = |reason: String| ConnectError::Shape { path: path.to_owned(), reason };
    // JSON is read as such: not all of it is YAML
    let document: Value = match serde_json::from_str(text) {
        Ok(value) => value,
        Err(_) => serde_saphyr::from_str(text).map_err(|error| syntax(error.to_string()))?,
    };
    let document = match document {
        Value::Object(object) => object,
        Value::Null => Map::new(),
        _ => return Err(syntax("not an object with apiVersion, kind and spec".into())),
    };
    let mut spec = Map::new();
    for (field, value) in &document {
        match (field.as_str(), value) {
            ("apiVersion" | "kind", Value::String(_) | Value::Null) => {}
            ("metadata", Value::Object(_) | Value::Null) | ("spec", Value::Null) => {}
            ("spec", Value::Object(object)) => spec = object.clone(),
            ("apiVersion" | "kind", _) => return Err(syntax(format!("field {field} is not a text"))),
            ("metadata" | "spec", _) => return Err(syntax(format!("field {field} is not an object"))),
            _ => return Err(syntax(unknown_field(field))),
        }
    }
    let mut config = ConnectConfig::default();
    for (field, value) in &spec {
        if let Some((.., place)) = SETTINGS.iter().find(|(name, ..)| name == field) {
            *place(&mut config) = match value {
                Value::String(text) => text.clone(),
                Value::Null => String::new(),
                _ => return Err(syntax(format!("field spec.{field} is not a text: put it in quotes"))),
            };
        } else if !KUBERNETES.contains(&field.as_str()) {
            return Err(syntax(unknown_field(field)));
        }
    }
    let text_of = |field: &str| document.get(field).and_then(Value::as_str).unwrap_or_default();
    match (text_of("apiVersion"), text_of("kind")) {
        (API_VERSION, KIND) => Ok(config),
        (API_VERSION, kind) => Err(shape(format!("expected kind '{KIND}', got '{kind}'"))),
        (version, _) => Err(shape(format!("unknown APIVersion '{version}'"))),
    }
}

/// In the words of the tool people know.
fn unknown_field(field: &str) -> String {
    format!("error unmarshaling JSON: while decoding JSON: json: unknown field \"{field}\"")
}
