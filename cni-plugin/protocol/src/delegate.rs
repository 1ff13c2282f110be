//! Handing the request on to another IPAM plugin (`cni.md` §3 of the contract).

use crate::error::CniError;
use crate::text;
use model::net::{Family, parse_parts};
use serde_json::{Map, Value};

/// Stands for the node's IPv4 pod CIDR, in any case.
const USE_POD_CIDR: &str = "usepodcidr";
/// Stands for the node's IPv6 pod CIDR, in any case.
const USE_POD_CIDR_V6: &str = "usepodcidripv6";

/// Checks the name of a plugin before it is looked for.
///
/// # Errors
/// When it is empty or would leave the directories of `CNI_PATH`.
pub fn check_name(plugin: &str) -> Result<(), CniError> {
    if plugin.is_empty() {
        return Err(CniError::internal("no plugin name provided"));
    }
    if plugin.contains('/') {
        return Err(CniError::internal(format!("invalid plugin name: {plugin}")));
    }
    Ok(())
}

/// The directories of `CNI_PATH`.
pub fn directories(path: &str) -> Vec<&str> {
    path.split(':').filter(|directory| !directory.is_empty()).collect()
}

/// The error for a plugin that none of the directories holds.
pub fn not_found(plugin: &str, path: &str) -> CniError {
    CniError::internal(format!(
        "failed to find plugin {} in path [{}]",
        text::quote(plugin),
        directories(path).join(" ")
    ))
}

/// The node's pod CIDRs, one a family.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct PodCidrs {
    /// IPv4.
    pub v4: Option<String>,
    /// IPv6.
    pub v6: Option<String>,
}

impl PodCidrs {
    /// What stands in for the pod CIDRs on DEL, where host-local looks only at the container.
    pub fn dummies() -> PodCidrs {
        PodCidrs { v4: Some("0.0.0.0/0".into()), v6: Some("::/0".into()) }
    }

    /// Sorts the node's CIDRs by family; entries that are no CIDR are skipped.
    ///
    /// # Errors
    /// When there are none, or two of one family.
    pub fn of_node(node: &str, cidrs: &[String]) -> Result<PodCidrs, CniError> {
        let mut found = PodCidrs::default();
        for text in cidrs {
            let Ok((_, cidr)) = parse_parts(text) else { continue };
            let slot = match cidr.family() {
                Family::V4 => &mut found.v4,
                Family::V6 => &mut found.v6,
            };
            if slot.replace(text.clone()).is_some() {
                return Err(CniError::internal("ClusterCIDR contains two ranges of the same type"));
            }
        }
        if found == PodCidrs::default() {
            return Err(CniError::internal(format!("no podCidr for node {node}")));
        }
        Ok(found)
    }
}

/// Whether the `ipam` section asks for the node's pod CIDRs anywhere.
pub fn wants_pod_cidrs(conf: &Map<String, Value>) -> bool {
    let mut wanted = false;
    let mut probe = conf.clone();
    for_subnets(&mut probe, &mut |subnet| wanted |= family_wanted(subnet).is_some());
    wanted
}

/// Puts the node's pod CIDRs into the `ipam` section, at its top level and in `ranges[][]`.
///
/// # Errors
/// When the node has none of the family that is asked for.
pub fn put_pod_cidrs(conf: &mut Map<String, Value>, node: &str, cidrs: &PodCidrs) -> Result<(), CniError> {
    let mut missing = false;
    for_subnets(conf, &mut |subnet| {
        let cidr = match family_wanted(subnet) {
            None => return,
            Some(Family::V4) => &cidrs.v4,
            Some(Family::V6) => &cidrs.v6,
        };
        match cidr {
            Some(cidr) => *subnet = Value::from(cidr.as_str()),
            None => missing = true,
        }
    });
    if missing { Err(CniError::internal(format!("no podCidr for node {node}"))) } else { Ok(()) }
}

fn family_wanted(subnet: &Value) -> Option<Family> {
    match subnet.as_str()?.to_ascii_lowercase().as_str() {
        USE_POD_CIDR => Some(Family::V4),
        USE_POD_CIDR_V6 => Some(Family::V6),
        _ => None,
    }
}

fn for_subnets(conf: &mut Map<String, Value>, visit: &mut dyn FnMut(&mut Value)) {
    let Some(Value::Object(ipam)) = conf.get_mut("ipam") else { return };
    if let Some(subnet) = ipam.get_mut("subnet") {
        visit(subnet);
    }
    let Some(Value::Array(sets)) = ipam.get_mut("ranges") else { return };
    for range in sets.iter_mut().filter_map(Value::as_array_mut).flatten() {
        if let Some(subnet) = range.as_object_mut().and_then(|range| range.get_mut("subnet")) {
            visit(subnet);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn object(value: Value) -> Map<String, Value> {
        value.as_object().unwrap().clone()
    }

    #[test]
    fn names_and_paths() {
        assert_eq!(check_name("").unwrap_err().msg, "no plugin name provided");
        assert_eq!(check_name("../x").unwrap_err().msg, "invalid plugin name: ../x");
        assert!(check_name("host-local").is_ok());
        assert_eq!(
            not_found("no-such-ipam", "/opt/cni/bin").msg,
            r#"failed to find plugin "no-such-ipam" in path [/opt/cni/bin]"#
        );
        assert_eq!(not_found("x", "/a:/b").msg, r#"failed to find plugin "x" in path [/a /b]"#);
    }

    #[test]
    fn pod_cidrs_are_put_in_and_nothing_else_changes() {
        let mut conf = object(json!({
            "name": "n", "unknown": {"kept": [1]},
            "ipam": {"type": "host-local", "subnet": "usePodCidr", "dataDir": "/x",
                     "ranges": [[{"subnet": "USEPODCIDR", "gateway": "g"}, {"subnet": "10.9.0.0/24"}],
                                [{"subnet": "usePodCidrIPv6"}]]}
        }));
        assert!(wants_pod_cidrs(&conf));
        let cidrs = PodCidrs::of_node("n1", &["10.1.0.0/24".into(), "fd00:1::/64".into()]).unwrap();
        put_pod_cidrs(&mut conf, "n1", &cidrs).unwrap();
        assert_eq!(
            Value::Object(conf),
            json!({
                "name": "n", "unknown": {"kept": [1]},
                "ipam": {"type": "host-local", "subnet": "10.1.0.0/24", "dataDir": "/x",
                         "ranges": [[{"subnet": "10.1.0.0/24", "gateway": "g"}, {"subnet": "10.9.0.0/24"}],
                                    [{"subnet": "fd00:1::/64"}]]}
            })
        );
    }

    #[test]
    fn configurations_that_do_not_ask() {
        for conf in [
            json!({}),
            json!({"ipam": 1}),
            json!({"ipam": {"subnet": 5, "ranges": {}}}),
            json!({"ipam": {"subnet": "10.0.0.0/24", "ranges": [1, [2, {}]]}}),
        ] {
            let mut conf = object(conf);
            let before = conf.clone();
            assert!(!wants_pod_cidrs(&conf));
            put_pod_cidrs(&mut conf, "n1", &PodCidrs::default()).unwrap();
            assert_eq!(conf, before);
        }
    }

    #[test]
    fn nodes_without_the_right_cidrs() {
        assert_eq!(PodCidrs::of_node("n1", &[]).unwrap_err().msg, "no podCidr for node n1");
        assert_eq!(
            PodCidrs::of_node("n1", &["10.0.0.0/24".into(), "10.1.0.0/24".into()]).unwrap_err().msg,
            "ClusterCIDR contains two ranges of the same type"
        );
        let mut conf = object(json!({"ipam": {"subnet": "usePodCidrIPv6"}}));
        let v4_only = PodCidrs::of_node("n1", &["10.0.0.0/24".into(), "rubbish".into()]).unwrap();
        assert_eq!(put_pod_cidrs(&mut conf, "n1", &v4_only).unwrap_err().msg, "no podCidr for node n1");
        put_pod_cidrs(&mut conf, "n1", &PodCidrs::dummies()).unwrap();
        assert_eq!(conf["ipam"]["subnet"], "::/0");
    }
}
