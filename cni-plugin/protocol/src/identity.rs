//! Who the workload is (`cni.md` §4 and §6.1, `ipam.md` §8 of the contract).

use crate::request::Request;
use model::names::{self, WepName, WepNameError};

/// Namespace of workloads that are no pods.
pub const DEFAULT_NAMESPACE: &str = "default";

/// What identifies a workload.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// The pod's name; `None` for a container that is no pod.
    pub pod: Option<String>,
    /// Namespace of the endpoint.
    pub namespace: String,
    /// `CNI_CONTAINERID`
    pub container_id: String,
    /// `CNI_IFNAME`
    pub ifname: String,
    /// The node's name.
    pub node: String,
    /// The network's name.
    pub network: String,
}

impl Identity {
    /// The identity that a request has on `node`. `test_namespace` stands in for `default`.
    pub fn new(request: &Request, node: &str, test_namespace: Option<&str>) -> Identity {
        let pod = request.args.is_pod().then(|| request.args.pod.clone());
        let namespace = if pod.is_some() {
            request.args.namespace.clone()
        } else if let Some(namespace) = request.conf.labels_namespace.as_deref().filter(|n| !n.is_empty()) {
            namespace.to_owned()
        } else {
            test_namespace.filter(|n| !n.is_empty()).unwrap_or(DEFAULT_NAMESPACE).to_owned()
        };
        Identity {
            pod,
            namespace,
            container_id: request.environment.container_id.clone(),
            ifname: request.environment.ifname.clone(),
            node: node.to_owned(),
            network: request.conf.name.clone(),
        }
    }

    /// `k8s` or `cni`.
    pub fn orchestrator(&self) -> &'static str {
        if self.pod.is_some() { names::ORCHESTRATOR_K8S } else { names::ORCHESTRATOR_CNI }
    }

    /// Parts of the endpoint's name.
    pub fn wep(&self) -> WepName {
        match &self.pod {
            Some(pod) => WepName::k8s(&self.node, pod, &self.ifname),
            None => WepName::cni(&self.node, &self.container_id, &self.ifname),
        }
    }

    /// The endpoint's name.
    ///
    /// # Errors
    /// When a part cannot stand in a name.
    pub fn wep_name(&self) -> Result<String, WepNameError> {
        self.wep().compose()
    }

    /// Name of the interface on the host; `prefixes` is the list of `FELIX_INTERFACEPREFIX`, for pods only.
    pub fn host_interface(&self, prefixes: &str) -> String {
        match &self.pod {
            Some(pod) => names::pod_interface(names::interface_prefix(prefixes), &self.namespace, pod),
            None => names::container_interface(&self.container_id),
        }
    }

    /// IPAM handle.
    pub fn handle(&self) -> String {
        format!("{}.{}", self.network, self.container_id)
    }

    /// Handle of addresses that old releases gave.
    pub fn legacy_handle(&self) -> String {
        match &self.pod {
            Some(pod) => format!("{}.{pod}", self.namespace),
            None => self.container_id.clone(),
        }
    }

    /// The workload in Felix's status files.
    pub fn workload_id(&self) -> String {
        match &self.pod {
            Some(pod) => format!("{}/{pod}", self.namespace),
            None => self.container_id.clone(),
        }
    }

    /// Name of the file by which Felix says that the endpoint is programmed: three fields, escaped as URL path
    /// segments, joined by spaces (`cni.md` §10 of the contract).
    pub fn status_file(&self, endpoint: &str) -> String {
        format!("{} {} {}", escape(self.orchestrator()), escape(&self.workload_id()), escape(endpoint))
    }
}

/// Escapes what may not stand in one segment of a URL's path.
fn escape(segment: &str) -> String {
    let mut out = String::with_capacity(segment.len());
    for byte in segment.bytes() {
        if byte.is_ascii_alphanumeric() || b"-_.~$&+:=@".contains(&byte) {
            out.push(char::from(byte));
        } else {
            out.push_str(&format!("%{byte:02X}"));
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::args::CniArgs;
    use crate::config::NetConf;
    use crate::environment::Environment;
    use crate::version::Version;

    fn identity(args: &str, conf: serde_json::Value, test_namespace: Option<&str>) -> Identity {
        let request = Request {
            environment: Environment {
                container_id: "pod1-0123456789abcdef".into(),
                ifname: "eth0".into(),
                ..Environment::default()
            },
            args: CniArgs::parse(args).unwrap(),
            conf: NetConf::read(conf.as_object().unwrap().clone()).unwrap(),
            version: Version::V100,
        };
        Identity::new(&request, "node-1", test_namespace)
    }

    #[test]
    fn a_container() {
        let id = identity("", serde_json::json!({"name": "net-a"}), None);
        assert_eq!(id.orchestrator(), "cni");
        assert_eq!(id.namespace, "default");
        assert_eq!(id.wep_name().unwrap(), "node--1-cni-pod1--0123456789abcdef-eth0");
        assert_eq!(id.host_interface("tap"), "calipod1-012345");
        assert_eq!(id.handle(), "net-a.pod1-0123456789abcdef");
        assert_eq!(id.legacy_handle(), "pod1-0123456789abcdef");
        assert_eq!(identity("", serde_json::json!({"name": "n"}), Some("test")).namespace, "test");
    }

    #[test]
    fn a_pod() {
        let id = identity(
            "K8S_POD_NAMESPACE=shop;K8S_POD_NAME=web-0",
            serde_json::json!({"name": "net-a"}),
            Some("test"),
        );
        assert_eq!(id.orchestrator(), "k8s");
        assert_eq!(id.namespace, "shop");
        assert_eq!(id.wep_name().unwrap(), "node--1-k8s-web--0-eth0");
        assert_eq!(id.host_interface("tap,cali"), "tapa4fc3c48bd8");
        assert_eq!(id.handle(), "net-a.pod1-0123456789abcdef");
        assert_eq!(id.legacy_handle(), "shop.web-0");
        assert_eq!(id.status_file("eth0"), "k8s shop%2Fweb-0 eth0");
    }

    #[test]
    fn mesos_names_the_namespace() {
        let conf = serde_json::json!({"name": "net-a", "args": {"org.apache.mesos": {"network_info": {"labels": {"labels": [
            {"key": "projectcalico.org/namespace", "value": "team-x"}]}}}}});
        assert_eq!(identity("", conf.clone(), None).namespace, "team-x");
        assert_eq!(identity("K8S_POD_NAMESPACE=shop;K8S_POD_NAME=web-0", conf, None).namespace, "shop");
    }
}
