//! The configuration a runtime reads: a usual one, or a given one with Calico's placeholders. Source: `cni.md` §9 of the
//! contract.

use super::step::read;
use crate::session;
use serde_json::{Value, json};
use std::path::{Path, PathBuf};

/// Calico's name for it.
pub(super) const NAME: &str = "10-calico.conflist";
/// Where files of TLS are put, in the directory of configurations.
const TLS: &str = "calico-tls";
/// Plugins that belong into the list where they are installed, and what they take.
const OTHERS: [(&str, &str); 2] = [("portmap", "portMappings"), ("bandwidth", "bandwidth")];

/// Calico's placeholders, the variable that fills each, and what it is where nobody says.
const PLACEHOLDERS: [(&str, &str, Option<&str>); 14] = [
    ("__LOG_LEVEL__", "LOG_LEVEL", Some("info")),
    ("__LOG_FILE_PATH__", "LOG_FILE_PATH", Some("/var/log/calico/cni/cni.log")),
    ("__LOG_FILE_MAX_SIZE__", "LOG_FILE_MAX_SIZE", Some("100")),
    ("__LOG_FILE_MAX_AGE__", "LOG_FILE_MAX_AGE", Some("30")),
    ("__LOG_FILE_MAX_COUNT__", "LOG_FILE_MAX_COUNT", Some("10")),
    ("__DATASTORE_TYPE__", "DATASTORE_TYPE", Some("etcdv3")),
    ("__KUBERNETES_NODE_NAME__", "KUBERNETES_NODE_NAME", None),
    ("__CNI_MTU__", "CNI_MTU", Some("0")),
    ("__ETCD_ENDPOINTS__", "ETCD_ENDPOINTS", None),
    ("__ETCD_DISCOVERY_SRV__", "ETCD_DISCOVERY_SRV", Some("")),
    ("__ETCD_KEY_FILE__", "ETCD_KEY_FILE", Some("")),
    ("__ETCD_CERT_FILE__", "ETCD_CERT_FILE", Some("")),
    ("__ETCD_CA_CERT_FILE__", "ETCD_CA_CERT_FILE", Some("")),
    ("__REQUIRE_MTU_FILE__", "REQUIRE_MTU_FILE", Some("false")),
];

/// Fields of the usual configuration that say how the datastore is reached, by the variable that fills them.
const CONNECTION: [(&str, &str); 5] = [
    ("etcd_endpoints", "ETCD_ENDPOINTS"),
    ("etcd_discovery_srv", "ETCD_DISCOVERY_SRV"),
    ("etcd_key_file", "ETCD_KEY_FILE"),
    ("etcd_cert_file", "ETCD_CERT_FILE"),
    ("etcd_ca_cert_file", "ETCD_CA_CERT_FILE"),
];

/// A list with the plugin, and with those others that are installed: one that is not would keep pods from starting.
pub(super) fn usual(bin_dir: &Path, env: session::Environment<'_>) -> String {
    let mut calico = json!({
        "type": "calico",
        "log_level": "__LOG_LEVEL__",
        "log_file_path": "__LOG_FILE_PATH__",
        "datastore_type": "__DATASTORE_TYPE__",
        "ipam": {"type": "calico-ipam"},
    });
    if let Some(fields) = calico.as_object_mut() {
        for (field, variable) in CONNECTION {
            // those that TLS_ASSETS_DIR has are filled from there
            let assets = variable.ends_with("_FILE") && env("TLS_ASSETS_DIR").is_some();
            if assets || env(variable).is_some() {
                fields.insert(field.to_owned(), Value::String(format!("__{variable}__")));
            }
        }
    }
    let others = OTHERS
        .iter()
        .filter(|(plugin, _)| bin_dir.join(plugin).exists())
        .map(|(plugin, capability)| json!({"type": plugin, "capabilities": {*capability: true}}));
    let plugins: Vec<Value> = std::iter::once(calico).chain(others).collect();
    format!("{:#}\n", json!({"name": "k8s-pod-network", "cniVersion": "1.0.0", "plugins": plugins}))
}

/// Fills the placeholders; what comes out is a configuration.
///
/// # Errors
/// One has no value, or nobody fills it; the text is no configuration. In words.
pub(super) fn fill(text: &str, value: &dyn Fn(&str) -> Option<String>) -> Result<String, String> {
    let mut text = text.to_owned();
    for (placeholder, variable, default) in PLACEHOLDERS {
        if !text.contains(placeholder) {
            continue;
        }
        let value = value(variable)
            .or(default.map(str::to_owned))
            .ok_or_else(|| format!("the CNI configuration needs {placeholder}, and {variable} is not set"))?;
        text = text.replace(placeholder, &escaped(&value));
    }
    if let Some(left) = placeholder(&text) {
        return Err(format!(
            "the CNI configuration has {left}, which is filled on Kubernetes alone; write its value"
        ));
    }
    let value: Value =
        serde_json::from_str(&text).map_err(|error| format!("the CNI configuration is no JSON: {error}"))?;
    let has_name = value.get("name").is_some_and(Value::is_string);
    let is_list = value.get("plugins").and_then(Value::as_array).is_some_and(|list| !list.is_empty());
    if !has_name || !(is_list || value.get("type").is_some_and(Value::is_string)) {
        return Err("the CNI configuration has to have a name, and type or plugins".to_owned());
    }
    Ok(text)
}

/// As the inside of a string of JSON.
fn escaped(value: &str) -> String {
    let quoted = Value::String(value.to_owned()).to_string();
    quoted.trim_start_matches('"').strip_suffix('"').unwrap_or_default().to_owned()
}

/// The first `__WORD__` there is.
fn placeholder(text: &str) -> Option<&str> {
    let is_word = |word: &&str| {
        let inside = word.trim_matches('_');
        word.starts_with("__")
            && word.ends_with("__")
            && !inside.is_empty()
            && inside.bytes().all(|byte| byte.is_ascii_uppercase() || byte == b'_' || byte.is_ascii_digit())
    };
    text.split(|letter: char| !letter.is_ascii_alphanumeric() && letter != '_').find(is_word)
}

/// Files of TLS that are put beside the configuration, and what the configuration calls them.
#[derive(Debug, Default)]
pub(super) struct TlsAssets {
    pub(super) files: Vec<(PathBuf, Vec<u8>)>,
    values: Vec<(&'static str, String)>,
}

impl TlsAssets {
    /// What a variable is because of them.
    pub(super) fn value(&self, variable: &str) -> Option<String> {
        self.values.iter().find(|(name, _)| *name == variable).map(|(_, value)| value.clone())
    }
}

/// Those in the directory that TLS_ASSETS_DIR names. CNI_NET_DIR is what the runtime calls the directory of configurations.
pub(super) fn tls_assets(conf_dir: &Path, env: session::Environment<'_>) -> Result<TlsAssets, String> {
    let Some(source) = env("TLS_ASSETS_DIR").map(PathBuf::from) else { return Ok(TlsAssets::default()) };
    let seen = env("CNI_NET_DIR").map_or_else(|| conf_dir.to_owned(), PathBuf::from);
    let mut assets = TlsAssets::default();
    for (name, variable) in
        [("etcd-ca", "ETCD_CA_CERT_FILE"), ("etcd-cert", "ETCD_CERT_FILE"), ("etcd-key", "ETCD_KEY_FILE")]
    {
        if let Some(bytes) = read(&source.join(name))? {
            assets.files.push((conf_dir.join(TLS).join(name), bytes));
            assets.values.push((variable, seen.join(TLS).join(name).display().to_string()));
        }
    }
    Ok(assets)
}
