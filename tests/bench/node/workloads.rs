//! Workloads of a host, attached by the plugin.

use crate::felix::host::Host;
use crate::felix::state::labels;
use anyhow::Result;
use ocicat_tests::node::{Call, Container};
use ocicat_tests::sandbox::in_netns;
use serde_json::{Value, json};

/// Attaches so many, each with a namespace of its own and the labels that policies select.
///
/// # Errors
/// Those of the plugin.
pub fn attach(host: &Host, store: &str, count: usize) -> Result<()> {
    for n in 0..count {
        let container = Container::start(&format!("{}-w{n}", host.name()))?;
        let call = Call::new("ADD", &container, &configuration(store, n));
        in_netns(host.name(), || call.run())??.expect_ok("ADD")?;
    }
    Ok(())
}

fn configuration(store: &str, n: usize) -> Value {
    let labels: Vec<Value> =
        labels(n).into_iter().map(|(key, value)| json!({"key": key, "value": value})).collect();
    json!({
        "cniVersion": "1.0.0", "name": "open", "type": "calico", "log_level": "error", "etcd_endpoints": store,
        "ipam": {"type": "calico-ipam", "assign_ipv4": "true", "assign_ipv6": "false"},
        "args": {"org.apache.mesos": {"network_info": {"labels": {"labels": labels}}}},
    })
}
