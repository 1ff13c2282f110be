//! The network configuration on standard input (`cni.md` §2 and §3 of the contract).
//!
//! The raw JSON is kept, so that a delegated IPAM plugin gets every field, known or not.

use crate::reader::{FieldError, Section};
use serde_json::{Map, Value};

/// Default of `nodename_file`.
pub const NODENAME_FILE: &str = "/var/lib/calico/nodename";
/// Where the node agent leaves the MTU it found.
pub const MTU_FILE: &str = "/var/lib/calico/mtu";
/// Default of `ipam_lock_file`.
pub const IPAM_LOCK_FILE: &str = "/var/run/calico/ipam.lock";
/// Default of `endpoint_status_dir`.
pub const ENDPOINT_STATUS_DIR: &str = "/var/run/calico/endpoint-status";
/// Default of `dataplane_timeout_seconds`.
pub const DATAPLANE_TIMEOUT_SECONDS: u32 = 10;
/// The IPAM type that is done here.
pub const CALICO_IPAM: &str = "calico-ipam";
/// The IPAM type whose routes a pod gets instead of the default route.
pub const HOST_LOCAL: &str = "host-local";
/// The Mesos label that is a namespace.
const NAMESPACE_LABEL: &str = "projectcalico.org/namespace";

/// Configuration keys that go to the datastore client, and the variables they overwrite there.
const DATASTORE_KEYS: [(&str, &str); 9] = [
    ("datastore_type", "DATASTORE_TYPE"),
    ("etcd_endpoints", "ETCD_ENDPOINTS"),
    ("etcd_discovery_srv", "ETCD_DISCOVERY_SRV"),
    ("etcd_scheme", "ETCD_SCHEME"),
    ("etcd_authority", "ETCD_AUTHORITY"),
    ("etcd_key_file", "ETCD_KEY_FILE"),
    ("etcd_cert_file", "ETCD_CERT_FILE"),
    ("etcd_ca_cert_file", "ETCD_CA_CERT_FILE"),
    ("calico_api_group", "CALICO_API_GROUP"),
];

/// The same for keys that are numbers.
const DATASTORE_NUMBERS: [(&str, &str); 2] = [("qps", "K8S_CLIENT_QPS"), ("burst", "K8S_CLIENT_BURST")];

/// The configuration.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct NetConf {
    raw: Map<String, Value>,
    /// `name`: the network; part of the handle, and the profile's name when `policy.type` is empty.
    pub name: String,
    /// `mtu`: 0 for the MTU file's, or the kernel's default.
    pub mtu: u32,
    /// `require_mtu_file`
    pub require_mtu_file: bool,
    /// `num_queues`: transmit and receive queues of the pair, at least 1.
    pub num_queues: u32,
    /// `device_type`
    pub device_type: DeviceType,
    /// `nodename`: the node's name, before any other source.
    pub nodename: String,
    /// `nodename_file`
    pub nodename_file: String,
    /// `nodename_file_optional`
    pub nodename_file_optional: bool,
    /// `hostname` (deprecated): the node's name, after the file.
    pub hostname: String,
    /// Variables for the datastore client, in the order of the contract.
    pub datastore: Vec<(&'static str, String)>,
    /// Logging.
    pub log: LogConf,
    /// `ipam`
    pub ipam: IpamConf,
    /// `ipam_lock_file`
    pub ipam_lock_file: String,
    /// `policy.type`: `k8s`, or empty for a profile of the network's name.
    pub policy_type: String,
    /// `kubernetes.kubeconfig`
    pub kubeconfig: String,
    /// `kubernetes.k8s_api_root`, else `policy.k8s_api_root`.
    pub k8s_api_root: String,
    /// `kubernetes.node_name`: the node whose pod CIDRs are looked up.
    pub k8s_node_name: String,
    /// `container_settings.allow_ip_forwarding`
    pub allow_ip_forwarding: bool,
    /// `feature_control.ip_addrs_no_ipam`
    pub ip_addrs_no_ipam: bool,
    /// `feature_control.floating_ips`
    pub floating_ips: bool,
    /// `include_default_routes`
    pub include_default_routes: bool,
    /// `readiness_gates`
    pub readiness_gates: Vec<String>,
    /// `policy_setup_timeout_seconds`
    pub policy_setup_timeout_seconds: i64,
    /// `endpoint_status_dir`
    pub endpoint_status_dir: String,
    /// `dataplane_timeout_seconds` (ours): how long ADD waits until the agent's dataplane has the workload in force; 0 for
    /// not at all.
    pub dataplane_timeout_seconds: u32,
    /// `dataplane_timeout_action` (ours)
    pub dataplane_timeout_action: TimeoutAction,
    /// Labels of Mesos, without the namespace.
    pub labels: Vec<(String, String)>,
    /// The namespace among the labels of Mesos.
    pub labels_namespace: Option<String>,
}

/// `device_type`
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum DeviceType {
    /// Empty or `veth`.
    #[default]
    Veth,
    /// `netkit`
    Netkit,
    /// Anything else, refused when a device is needed.
    Unknown(String),
}

/// `dataplane_timeout_action`: what becomes of an ADD whose workload is not in force in time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum TimeoutAction {
    /// Empty or `fail`: it is taken back, and the runtime tries again.
    #[default]
    Fail,
    /// `proceed`: it succeeds. No packet passes before policy is in force all the same.
    Proceed,
}

/// Keys that begin with `log_`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct LogConf {
    /// `log_level`
    pub level: LogLevel,
    /// `log_file_path`; empty for none.
    pub file: String,
    /// `log_file_max_size` in megabytes.
    pub max_size_mb: u64,
    /// `log_file_max_age` in days.
    pub max_age_days: u64,
    /// `log_file_max_count`: how many rotated files are kept.
    pub max_count: usize,
}

/// `log_level`; any other word is `info`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum LogLevel {
    /// Everything.
    Debug,
    /// What happened.
    #[default]
    Info,
    /// What failed.
    Error,
}

/// The `ipam` section.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct IpamConf {
    /// `type`: the IPAM plugin's name.
    pub plugin: String,
    /// `assign_ipv4` is not `"false"`.
    pub assign_ipv4: bool,
    /// `assign_ipv6` is `"true"`.
    pub assign_ipv6: bool,
    /// `ipv4_pools`: CIDRs or names.
    pub ipv4_pools: Vec<String>,
    /// `ipv6_pools`: CIDRs or names.
    pub ipv6_pools: Vec<String>,
}

impl NetConf {
    /// Reads a configuration that [`crate::request`] found to be a JSON object.
    ///
    /// # Errors
    /// Names the first field of a wrong type, with its path.
    pub fn read(raw: Map<String, Value>) -> Result<NetConf, FieldError> {
        let root = Section::root(&raw);
        let policy = root.section("policy")?;
        for key in ["k8s_auth_token", "k8s_client_certificate", "k8s_client_key", "k8s_certificate_authority"]
        {
            policy.text(key)?;
        }
        let kubernetes = root.section("kubernetes")?;
        let features = root.section("feature_control")?;
        let (labels, labels_namespace) = mesos_labels(&root)?;
        Ok(NetConf {
            name: root.text("name")?,
            mtu: bounded(&root, "mtu", 0, 65_535)?.unwrap_or(0),
            require_mtu_file: root.flag("require_mtu_file")?,
            num_queues: bounded(&root, "num_queues", 0, 4_096)?.unwrap_or(1).max(1),
            device_type: match root.text("device_type")?.as_str() {
                "" | "veth" => DeviceType::Veth,
                "netkit" => DeviceType::Netkit,
                other => DeviceType::Unknown(other.to_owned()),
            },
            nodename: root.text("nodename")?,
            nodename_file: or_default(root.text("nodename_file")?, NODENAME_FILE),
            nodename_file_optional: root.flag("nodename_file_optional")?,
            hostname: root.text("hostname")?,
            datastore: datastore_variables(&root)?,
            log: LogConf {
                level: match root.text("log_level")?.to_ascii_lowercase().as_str() {
                    "debug" => LogLevel::Debug,
                    "error" => LogLevel::Error,
                    _ => LogLevel::Info,
                },
                file: root.text("log_file_path")?,
                max_size_mb: positive(&root, "log_file_max_size", 100)?,
                max_age_days: positive(&root, "log_file_max_age", 30)?,
                max_count: usize::try_from(positive(&root, "log_file_max_count", 10)?).unwrap_or(usize::MAX),
            },
            ipam: ipam_section(&root)?,
            ipam_lock_file: or_default(root.text("ipam_lock_file")?, IPAM_LOCK_FILE),
            policy_type: policy.text("type")?,
            kubeconfig: kubernetes.text("kubeconfig")?,
            k8s_api_root: or_default(kubernetes.text("k8s_api_root")?, &policy.text("k8s_api_root")?),
            k8s_node_name: kubernetes.text("node_name")?,
            allow_ip_forwarding: root.section("container_settings")?.flag("allow_ip_forwarding")?,
            ip_addrs_no_ipam: features.flag("ip_addrs_no_ipam")?,
            floating_ips: features.flag("floating_ips")?,
            include_default_routes: root.flag("include_default_routes")?,
            readiness_gates: root.texts("readiness_gates")?,
            policy_setup_timeout_seconds: root.number("policy_setup_timeout_seconds")?.unwrap_or(0),
            endpoint_status_dir: or_default(root.text("endpoint_status_dir")?, ENDPOINT_STATUS_DIR),
            dataplane_timeout_seconds: bounded(&root, "dataplane_timeout_seconds", 0, 3_600)?
                .unwrap_or(DATAPLANE_TIMEOUT_SECONDS),
            dataplane_timeout_action: match root.text("dataplane_timeout_action")?.as_str() {
                "" | "fail" => TimeoutAction::Fail,
                "proceed" => TimeoutAction::Proceed,
                _ => return Err(root.refuse("dataplane_timeout_action", "\"fail\" or \"proceed\"")),
            },
            labels,
            labels_namespace,
            raw,
        })
    }

    /// The configuration as it came.
    pub fn raw(&self) -> &Map<String, Value> {
        &self.raw
    }

    /// The value of a variable for the datastore client: the configuration's, else the process's.
    pub fn datastore_variable(&self, name: &str, process: &dyn Fn(&str) -> Option<String>) -> Option<String> {
        let configured = self.datastore.iter().find(|(variable, _)| *variable == name);
        configured.map(|(_, value)| value.clone()).or_else(|| process(name))
    }
}

fn or_default(text: String, default: &str) -> String {
    if text.is_empty() { default.to_owned() } else { text }
}

fn bounded(root: &Section<'_>, key: &str, least: u32, most: u32) -> Result<Option<u32>, FieldError> {
    let Some(number) = root.number(key)? else { return Ok(None) };
    match u32::try_from(number) {
        Ok(number) if (least..=most).contains(&number) => Ok(Some(number)),
        _ => Err(root.refuse(key, &format!("a number from {least} to {most}"))),
    }
}

/// A number for which 0 means the default.
fn positive(root: &Section<'_>, key: &str, default: u64) -> Result<u64, FieldError> {
    match root.number(key)? {
        None | Some(0) => Ok(default),
        Some(number) => u64::try_from(number).map_err(|_| root.refuse(key, "a number from 0 on")),
    }
}

fn datastore_variables(root: &Section<'_>) -> Result<Vec<(&'static str, String)>, FieldError> {
    let mut variables = Vec::new();
    for (key, variable) in DATASTORE_KEYS {
        let value = root.text(key)?;
        if !value.is_empty() {
            variables.push((variable, value));
        }
    }
    for (key, variable) in DATASTORE_NUMBERS {
        if let Some(number) = root.number(key)? {
            variables.push((variable, number.to_string()));
        }
    }
    Ok(variables)
}

fn ipam_section(root: &Section<'_>) -> Result<IpamConf, FieldError> {
    let ipam = root.section("ipam")?;
    let plugin = ipam.text("type")?;
    if plugin != CALICO_IPAM {
        // Another plugin's keys are its own business, whatever their names.
        return Ok(IpamConf { plugin, assign_ipv4: true, ..IpamConf::default() });
    }
    let switch = |key: &str| ipam.optional_text(key, "the text \"true\" or \"false\", in double quotes");
    Ok(IpamConf {
        plugin,
        assign_ipv4: switch("assign_ipv4")?.as_deref() != Some("false"),
        assign_ipv6: switch("assign_ipv6")?.as_deref() == Some("true"),
        ipv4_pools: ipam.texts("ipv4_pools")?,
        ipv6_pools: ipam.texts("ipv6_pools")?,
    })
}

type Labels = (Vec<(String, String)>, Option<String>);

fn mesos_labels(root: &Section<'_>) -> Result<Labels, FieldError> {
    let list = root
        .section("args")?
        .section("org.apache.mesos")?
        .section("network_info")?
        .section("labels")?
        .sections("labels")?;
    let (mut labels, mut namespace) = (Vec::new(), None);
    for label in list {
        let (key, value) = (label.text("key")?, label.text("value")?);
        if key == NAMESPACE_LABEL {
            namespace = Some(value);
        } else {
            labels.push((key, value));
        }
    }
    Ok((labels, namespace))
}

#[cfg(test)]
mod tests;
