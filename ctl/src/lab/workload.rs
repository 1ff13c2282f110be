//! Workloads: a namespace each, attached as a container runtime does, by executing the plugin.

use super::directory::Directory;
use super::place::Place;
use super::plan::{NODE_PROGRAMS, WORKLOAD_LINK, Workload};
use super::state::Attached;
use super::tool::{self, Said};
use anyhow::{Context, Result, bail};
use kernel::Netns;
use serde_json::Value;

/// What the runtime will know the workload by.
pub fn planned(workload: &Workload) -> Attached {
    // A runtime's ids are 64 random hex digits.
    let id = || uuid::Uuid::new_v4().simple().to_string();
    let container_id = format!("{}{}", id(), id());
    Attached {
        name: workload.name.clone(),
        node: workload.node.clone(),
        host_interface: format!("cali{}", container_id.get(..11).unwrap_or_default()),
        container_id,
        ipv4: None,
        ipv6: None,
    }
}

/// Makes the workload's namespace, within the node's own /run.
///
/// # Errors
/// The kernel refuses.
pub fn make_netns(node: &Place, workload: &Workload) -> Result<Netns> {
    let path = workload.netns();
    node.run(|| Ok(Netns::create_at(path.as_ref())?))
}

/// The workload's namespace.
///
/// # Errors
/// It is not there.
pub fn place(directory: &Directory, workload: &Workload) -> Result<Place> {
    let path = workload.netns();
    let netns = directory.place(&workload.node)?.run(|| Ok(Netns::open(&path)?))?;
    Ok(Place::of(netns))
}

/// Attaches it: executes the plugin with ADD and takes the addresses from its result.
///
/// # Errors
/// The plugin refuses, with its words, or its result has no addresses.
pub fn add(
    directory: &Directory,
    node: &Place,
    workload: &Workload,
    known: &mut Attached,
    config: &str,
) -> Result<()> {
    let what = format!("CNI ADD of {}", workload.name);
    let out = execute(directory, node, "ADD", workload, known, config)?.good(&what)?;
    let result: Value =
        serde_json::from_str(&out).with_context(|| format!("{what}: its result is no JSON: {out}"))?;
    (known.ipv4, known.ipv6) = addresses(&result);
    if known.ipv4.is_none() && known.ipv6.is_none() {
        bail!("{what}: its result has no address: {out}");
    }
    Ok(())
}

/// Detaches it: executes the plugin with DEL, which does without an agent that has died.
///
/// # Errors
/// The plugin refuses, with its words.
pub fn del(
    directory: &Directory,
    node: &Place,
    workload: &Workload,
    known: &Attached,
    config: &str,
) -> Result<()> {
    let mut config: serde_json::Map<String, Value> = serde_json::from_str(config)?;
    config.insert("agent_fallback".to_owned(), Value::Bool(true));
    let config = serde_json::to_string(&config)?;
    execute(directory, node, "DEL", workload, known, &config)?
        .good(&format!("CNI DEL of {}", workload.name))?;
    Ok(())
}

fn execute(
    directory: &Directory,
    node: &Place,
    verb: &str,
    workload: &Workload,
    known: &Attached,
    config: &str,
) -> Result<Said> {
    let plugin = format!("{NODE_PROGRAMS}/calico");
    let environment = [
        ("CNI_COMMAND", verb.to_string()),
        ("CNI_CONTAINERID", known.container_id.clone()),
        ("CNI_NETNS", workload.netns()),
        ("CNI_IFNAME", WORKLOAD_LINK.to_string()),
        ("CNI_PATH", NODE_PROGRAMS.to_string()),
    ];
    tool::run(node, directory.path(), &[&plugin], &environment, config)
}

/// The addresses in a result of any version: `ip4.ip` and `ip6.ip` up to 0.2.0, the list `ips` later.
fn addresses(result: &Value) -> (Option<String>, Option<String>) {
    let bare = |value: &Value| value.as_str().and_then(|text| text.split('/').next()).map(str::to_string);
    let old = |field: &str| result.get(field).and_then(|part| part.get("ip")).and_then(bare);
    let list: Vec<String> = result
        .get("ips")
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
        .filter_map(|entry| entry.get("address").and_then(bare))
        .collect();
    let new = |v6: bool| list.iter().find(|address| address.contains(':') == v6).cloned();
    (old("ip4").or_else(|| new(false)), old("ip6").or_else(|| new(true)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn addresses_are_found_in_every_form_of_result() {
        let both = (Some("10.0.0.1".to_string()), Some("2001:db8::1".to_string()));
        let old = json!({"cniVersion": "0.2.0", "ip4": {"ip": "10.0.0.1/32"}, "ip6": {"ip": "2001:db8::1/128"}, "dns": {}});
        assert_eq!(addresses(&old), both);
        let new = json!({"cniVersion": "1.0.0", "ips": [{"address": "2001:db8::1/128"}, {"address": "10.0.0.1/32"}]});
        assert_eq!(addresses(&new), both);
        assert_eq!(addresses(&json!({"ip4": {"ip": "10.0.0.1/32"}})), (both.0, None));
        assert_eq!(addresses(&json!({"ips": [{}], "ip4": 7})), (None, None));
        assert_eq!(addresses(&json!([])), (None, None));
    }

    #[test]
    fn ids_are_a_runtimes_and_name_the_host_end() {
        let workload = Workload { name: "w1".into(), node: "node-1".into() };
        let (one, two) = (planned(&workload), planned(&workload));
        assert_eq!(one.container_id.len(), 64);
        assert_ne!(one.container_id, two.container_id);
        assert_eq!(one.host_interface, format!("cali{}", &one.container_id[..11]));
        assert_eq!(one.host_interface.len(), 15);
    }
}
