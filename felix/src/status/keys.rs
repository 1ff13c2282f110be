//! Names and values of status keys (`datamodel.md` §5 of the contract).

use felix_calc::endpoint::{Endpoint, EndpointKey};
use felix_dataplane::Status;
use serde_json::json;
use std::time::Duration;

/// A status in a word.
pub(crate) fn word(status: Status) -> &'static str {
    match status {
        Status::Up => "up",
        Status::Down => "down",
        Status::Error => "error",
    }
}

/// What people call an endpoint.
pub(crate) fn title(key: &EndpointKey) -> String {
    match key {
        EndpointKey::Workload(namespace, name) => format!("WorkloadEndpoint {namespace}/{name}"),
        EndpointKey::Host(name) => format!("HostEndpoint {name}"),
    }
}

/// The value of an endpoint's key.
pub(super) fn value(status: Status) -> String {
    json!({"status": word(status)}).to_string()
}

/// The key of an endpoint; none for one without a name of its own.
pub(super) fn path(
    region: Option<&str>,
    node: &str,
    key: &EndpointKey,
    endpoint: &Endpoint,
) -> Option<String> {
    match (key, endpoint) {
        (EndpointKey::Host(name), _) => Some(format!("{}{}", hosts(node), escape(name))),
        (EndpointKey::Workload(..), Endpoint::Workload(workload)) => {
            let id = &workload.id;
            let [orchestrator, name, endpoint] =
                [&id.orchestrator, &id.workload, &id.endpoint].map(|part| escape(part));
            Some(format!("{}{orchestrator}/{name}/endpoint/{endpoint}", workloads(region, node)))
        }
        (EndpointKey::Workload(..), Endpoint::Host(_)) => None,
    }
}

/// All keys of this node's workloads begin so.
pub(super) fn workloads(region: Option<&str>, node: &str) -> String {
    format!("{}workload/", of_node(region, node))
}

/// All keys of this node's host endpoints begin so.
pub(super) fn hosts(node: &str) -> String {
    format!("/calico/felix/v1/host/{node}/endpoint/")
}

/// The agent's own keys: with a lease, and to stay.
pub(super) fn reports(region: Option<&str>, node: &str) -> [String; 2] {
    let base = of_node(region, node);
    [format!("{base}status"), format!("{base}last_reported_status")]
}

/// The agent's own report at `now`.
pub(super) fn report(now: jiff::Timestamp, uptime: Duration, first: bool) -> String {
    let time = now.strftime("%Y-%m-%dT%H:%M:%SZ").to_string();
    json!({"time": time, "uptime": uptime.as_secs_f64(), "first_update": first}).to_string()
}

/// What all status keys of a node begin with where FelixConfiguration and the environment name no OpenStack region
/// (`datamodel.md` §5 of the contract).
pub fn status_prefix(node: &str) -> String {
    of_node(None, node)
}

fn of_node(region: Option<&str>, node: &str) -> String {
    let region = region.map_or_else(|| "no-region".to_owned(), |region| format!("region-{region}"));
    format!("/calico/felix/v2/{region}/host/{node}/")
}

fn escape(segment: &str) -> String {
    segment.replace('%', "%25").replace('/', "%2f")
}

#[cfg(test)]
mod tests {
    use super::*;
    use felix_calc::endpoint::{Host, HostInterface, Workload, WorkloadId};

    fn workload(orchestrator: &str, workload: &str) -> (EndpointKey, Endpoint) {
        let id = WorkloadId {
            orchestrator: orchestrator.to_owned(),
            workload: workload.to_owned(),
            endpoint: "eth0".to_owned(),
        };
        let workload = Workload { id, ..Workload::default() };
        (EndpointKey::Workload("default".to_owned(), "any".to_owned()), Endpoint::Workload(workload))
    }

    /// As in the recording `status-keys`.
    #[test]
    fn keys_and_values_are_the_recordings() {
        let (key, endpoint) = workload("cni", "default/web1");
        assert_eq!(
            path(None, "node-1", &key, &endpoint).unwrap(),
            "/calico/felix/v2/no-region/host/node-1/workload/cni/default%2fweb1/endpoint/eth0"
        );
        let host = Host {
            interface: HostInterface::All,
            expected: Box::default(),
            ports: Box::default(),
            profiles: Box::default(),
        };
        assert_eq!(
            path(None, "node-1", &EndpointKey::Host("node-1-eth0".to_owned()), &Endpoint::Host(host))
                .unwrap(),
            "/calico/felix/v1/host/node-1/endpoint/node-1-eth0"
        );
        assert_eq!(
            reports(None, "node-1"),
            [
                "/calico/felix/v2/no-region/host/node-1/status",
                "/calico/felix/v2/no-region/host/node-1/last_reported_status"
            ]
        );
        assert_eq!(value(Status::Up), r#"{"status":"up"}"#);
        let now = "2026-11-21T03:53:24.5Z".parse().unwrap();
        assert_eq!(
            report(now, Duration::from_millis(10_250), true),
            r#"{"time":"2026-11-21T03:53:24Z","uptime":10.25,"first_update":true}"#
        );
    }

    #[test]
    fn a_region_and_odd_names_have_their_place() {
        let (key, endpoint) = workload("k8s", "a%b/c");
        assert_eq!(
            path(Some("north"), "n", &key, &endpoint).unwrap(),
            "/calico/felix/v2/region-north/host/n/workload/k8s/a%25b%2fc/endpoint/eth0"
        );
    }
}
