//! Workloads of a host, attached by the plugin.

use crate::felix::host::Host;
use crate::felix::state::labels;
use anyhow::Result;
use ocicat_tests::node::{Call, PLUGINS};
use ocicat_tests::sandbox::{add_netns, in_netns};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::path::Path;

/// Attaches so many, each with a namespace of its own and the labels that policies select.
///
/// # Errors
/// Those of the plugin.
pub fn attach(host: &Host, store: &str, count: usize) -> Result<()> {
    for n in 0..count {
        let name = format!("{}-w{n}", host.name());
        add_netns(&name)?;
        let call = Call {
            program: Path::new(PLUGINS).join("calico"),
            stdin: configuration(store, n).to_string(),
            env: BTreeMap::from([
                ("CNI_COMMAND".to_owned(), "ADD".to_owned()),
                ("CNI_CONTAINERID".to_owned(), name.clone()),
                ("CNI_NETNS".to_owned(), format!("/run/netns/{name}")),
                ("CNI_IFNAME".to_owned(), "eth0".to_owned()),
                ("CNI_PATH".to_owned(), PLUGINS.to_owned()),
            ]),
        };
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
