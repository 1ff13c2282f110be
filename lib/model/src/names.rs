//! Names that are made from other names: workload endpoints and host interfaces.
//!
//! Sources: `datamodel.md` §3.1 (endpoint names), `cni.md` §6.1 (interface names) of the contract.

use sha1::{Digest, Sha1};
use std::fmt;

/// Orchestrator of pods.
pub const ORCHESTRATOR_K8S: &str = "k8s";
/// Orchestrator of containers that are no pods.
pub const ORCHESTRATOR_CNI: &str = "cni";
/// Orchestrator of Docker networks.
pub const ORCHESTRATOR_LIBNETWORK: &str = "libnetwork";
/// Prefix of host interfaces when nothing else is configured.
pub const DEFAULT_INTERFACE_PREFIX: &str = "cali";
/// Longest interface name of Linux, in bytes.
pub const MAX_INTERFACE_NAME: usize = 15;
/// How much of an identifier goes into an interface name.
const INTERFACE_SUFFIX: usize = 11;

/// The four parts of a workload endpoint's name, unescaped.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct WepName {
    /// Node.
    pub node: String,
    /// Orchestrator.
    pub orchestrator: String,
    /// Pod of `k8s`, container of `cni`, `libnetwork` of `libnetwork`, workload of any other.
    pub workload: String,
    /// Endpoint: the interface's name inside.
    pub endpoint: String,
}

/// Why a name cannot be made or read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum WepNameError {
    /// A part is missing.
    #[error("{0} must not be empty")]
    Empty(&'static str),
    /// A part would read as another one.
    #[error("{part} must not begin or end with \"-\": \"{value}\"")]
    Dash {
        /// Which part.
        part: &'static str,
        /// Its value.
        value: String,
    },
    /// A text of fewer or more than four parts.
    #[error("\"{0}\" is not of the form <node>-<orchestrator>-<workload>-<endpoint>")]
    Form(String),
}

impl WepName {
    /// Name of a pod's endpoint.
    pub fn k8s(node: &str, pod: &str, endpoint: &str) -> Self {
        Self::new(node, ORCHESTRATOR_K8S, pod, endpoint)
    }

    /// Name of the endpoint of a container that is no pod.
    pub fn cni(node: &str, container: &str, endpoint: &str) -> Self {
        Self::new(node, ORCHESTRATOR_CNI, container, endpoint)
    }

    /// Name of a Docker network's endpoint.
    pub fn libnetwork(node: &str, endpoint: &str) -> Self {
        Self::new(node, ORCHESTRATOR_LIBNETWORK, ORCHESTRATOR_LIBNETWORK, endpoint)
    }

    /// Name from its parts.
    pub fn new(node: &str, orchestrator: &str, workload: &str, endpoint: &str) -> Self {
        Self {
            node: node.to_owned(),
            orchestrator: orchestrator.to_owned(),
            workload: workload.to_owned(),
            endpoint: endpoint.to_owned(),
        }
    }

    /// The name's text.
    ///
    /// # Errors
    /// When a part is empty, or begins or ends with a dash.
    pub fn compose(&self) -> Result<String, WepNameError> {
        let [node, orchestrator, workload, endpoint] = self.segments()?;
        Ok(format!("{node}-{orchestrator}-{workload}-{endpoint}"))
    }

    /// What the names of all endpoints of this workload begin with. It also begins names of other nodes
    /// (`a-` is a prefix of `a--b-…`), so whoever searches by it has to look at `spec.node` again.
    ///
    /// # Errors
    /// As [`WepName::compose`]; the endpoint is not looked at.
    pub fn workload_prefix(&self) -> Result<String, WepNameError> {
        Ok(format!(
            "{}-{}-{}-",
            segment("node", &self.node)?,
            segment("orchestrator", &self.orchestrator)?,
            segment("workload", &self.workload)?
        ))
    }

    /// Reads a name.
    ///
    /// # Errors
    /// When it has not four parts or one of them is empty.
    pub fn parse(text: &str) -> Result<Self, WepNameError> {
        let form = || WepNameError::Form(text.to_owned());
        let mut parts = vec![String::new()];
        let mut letters = text.chars().peekable();
        while let Some(letter) = letters.next() {
            let part = parts.last_mut().ok_or_else(form)?;
            if letter != '-' {
                part.push(letter);
            } else if part.is_empty() {
                return Err(form());
            } else if letters.next_if_eq(&'-').is_some() {
                part.push('-');
            } else {
                parts.push(String::new());
            }
        }
        let whole = |part: &String| !part.is_empty() && !part.ends_with('-');
        match parts.as_slice() {
            [node, orchestrator, workload, endpoint] if parts.iter().all(whole) => {
                Ok(Self::new(node, orchestrator, workload, endpoint))
            }
            _ => Err(form()),
        }
    }

    fn segments(&self) -> Result<[String; 4], WepNameError> {
        Ok([
            segment("node", &self.node)?,
            segment("orchestrator", &self.orchestrator)?,
            segment("workload", &self.workload)?,
            segment("endpoint", &self.endpoint)?,
        ])
    }
}

impl fmt::Display for WepName {
    /// For messages; a name that cannot be composed is printed with its parts as they are.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.compose() {
            Ok(text) => f.write_str(&text),
            Err(_) => write!(f, "{}-{}-{}-{}", self.node, self.orchestrator, self.workload, self.endpoint),
        }
    }
}

fn segment(part: &'static str, value: &str) -> Result<String, WepNameError> {
    if value.is_empty() {
        return Err(WepNameError::Empty(part));
    }
    if value.starts_with('-') || value.ends_with('-') {
        return Err(WepNameError::Dash { part, value: value.to_owned() });
    }
    Ok(value.replace('-', "--"))
}

/// Host interface of a pod: the prefix and 11 hex digits of the SHA-1 of `<namespace>.<pod>`.
pub fn pod_interface(prefix: &str, namespace: &str, pod: &str) -> String {
    let digest = Sha1::digest(format!("{namespace}.{pod}").as_bytes());
    let hex: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
    format!("{prefix}{}", hex.chars().take(INTERFACE_SUFFIX).collect::<String>())
}

/// Host interface of a container that is no pod: `cali` and the first 11 characters of its identifier.
pub fn container_interface(container: &str) -> String {
    let suffix: String = container.chars().take(INTERFACE_SUFFIX).collect();
    format!("{DEFAULT_INTERFACE_PREFIX}{suffix}")
}

/// The prefix for pods in a list such as `tap,cali`: its first element; `cali` when the list is empty.
pub fn interface_prefix(list: &str) -> &str {
    match list.split(',').next() {
        Some(first) if !first.is_empty() => first,
        _ => DEFAULT_INTERFACE_PREFIX,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn names_of_the_contract() {
        let cases = [
            (WepName::k8s("node-1", "pod-name", "eth0"), "node--1-k8s-pod--name-eth0"),
            (WepName::cni("node-1", "abcdefa0123456", "eth0"), "node--1-cni-abcdefa0123456-eth0"),
            (WepName::libnetwork("node-1", "abcdefgh"), "node--1-libnetwork-libnetwork-abcdefgh"),
            (WepName::new("n", "openstack", "w-1", "tap"), "n-openstack-w--1-tap"),
        ];
        for (name, text) in cases {
            assert_eq!(name.compose().unwrap(), text);
            assert_eq!(WepName::parse(text).unwrap(), name);
            assert_eq!(name.to_string(), text);
        }
    }

    #[test]
    fn the_search_prefix_ends_before_the_endpoint() {
        let name = WepName::cni("node-1", "c-1", "");
        assert_eq!(name.workload_prefix().unwrap(), "node--1-cni-c--1-");
    }

    #[test]
    fn parts_that_would_be_read_otherwise_are_refused() {
        assert_eq!(WepName::cni("", "c", "e").compose(), Err(WepNameError::Empty("node")));
        for (name, part) in [
            (WepName::cni("-n", "c", "e"), "node"),
            (WepName::cni("n", "c-", "e"), "workload"),
            (WepName::cni("n", "c", "-"), "endpoint"),
        ] {
            assert!(matches!(name.compose(), Err(WepNameError::Dash { part: p, .. }) if p == part), "{name}");
        }
    }

    #[test]
    fn texts_of_another_form_are_refused() {
        for text in ["", "a", "a-b-c", "a-b-c-", "-a-b-c", "a-b-c-d-e", "a---b-c", "a-b-c-d-", "--a-b-c-d"] {
            assert!(WepName::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn interfaces() {
        assert_eq!(pod_interface("tap", "shop", "web-0"), "tapa4fc3c48bd8");
        assert_eq!(pod_interface("cali", "shop", "web-0"), "calia4fc3c48bd8");
        assert_eq!(container_interface("pod1-0123456789abcdef"), "calipod1-012345");
        assert_eq!(container_interface("plain"), "caliplain");
        assert_eq!(interface_prefix("tap,cali"), "tap");
        assert_eq!(interface_prefix(""), "cali");
        assert_eq!(interface_prefix(",x"), "cali");
    }

    proptest! {
        #[test]
        fn what_is_composed_is_read_back(
            node in "[a-z.]([-a-z.]{0,8}[a-z.])?", orchestrator in "[a-z]{1,4}",
            workload in "[a-z]([-a-z]{0,8}[a-z])?", endpoint in "[a-z]([-a-z]{0,8}[a-z])?",
        ) {
            let name = WepName::new(&node, &orchestrator, &workload, &endpoint);
            let text = name.compose().unwrap();
            prop_assert_eq!(WepName::parse(&text).unwrap(), name.clone());
            prop_assert!(text.starts_with(&name.workload_prefix().unwrap()));
        }

        #[test]
        fn no_text_panics(text in "\\PC{0,20}|[-a]{0,12}") {
            if let Ok(name) = WepName::parse(&text) {
                prop_assert_eq!(name.compose().ok(), Some(text));
            }
        }
    }
}
