//! What has to be in the datastore before the agents start, and what they and others will put there: whatever of it is
//! not there yet is the lab's, noted before it is made.

use super::fabric;
use super::plan::{Etcd, Plan};
use super::shape::Fabric;
use super::state::Created;
use anyhow::{Context, Result, bail};
use datastore::{Client, ClientError, ConnectConfig, Datastore, ListOptions};
use model::{Kind, Resource};
use serde_json::Value;
use std::sync::Arc;

/// What others make after us, from the pools of the lab to its policies, with the word `ocicat delete` knows its kind by.
pub const MADE_LATER: [(&str, Kind, &str); 6] = [
    ("ippool", Kind::IPPool, "lab-small"),
    ("ippool", Kind::IPPool, "lab-large"),
    ("ippool", Kind::IPPool, "lab-ipv6"),
    ("profile", Kind::Profile, "frontend"),
    ("networkpolicy", Kind::NetworkPolicy, "lab-w2-from-w1"),
    ("globalnetworkpolicy", Kind::GlobalNetworkPolicy, "lab-w3-to-w1"),
];
/// What the first agent makes for all.
const OF_CLUSTER: [(&str, Kind, &str); 3] = [
    ("felixconfiguration", Kind::FelixConfiguration, "default"),
    ("bgpconfiguration", Kind::BGPConfiguration, "default"),
    ("ipamconfiguration", Kind::IPAMConfiguration, "default"),
];
/// The pools agents make where a family has none, with a sign of the family.
const DEFAULT_POOLS: [(char, &str); 2] = [('.', "default-ipv4-ippool"), (':', "default-ipv6-ippool")];

/// Notes what is going to be made, and makes what the agents must find; to be called inside the network of a node. `note` is told
/// of each resource before it is made.
///
/// # Errors
/// The datastore cannot be reached or refuses; a fabric with a router is wanted where others have a mesh.
pub fn run(plan: &Plan, mut note: impl FnMut(Created) -> Result<()>) -> Result<()> {
    let fabric = plan.shape.fabric;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let client = Client::new(connect(&plan.etcd)?);
        if fabric.has_router() {
            no_mesh_of_others(&client, fabric).await?;
        }
        for (word, kind, name) in to_come(plan, &cidrs(&client).await?) {
            if !exists(&client, kind, &name).await? {
                note(Created { kind: word.to_string(), name })?;
            }
        }
        if fabric.has_router() {
            without_mesh(&client).await?;
        }
        Ok(())
    })
}

/// Everything that will be made, by whomever.
fn to_come(plan: &Plan, present: &[String]) -> Vec<(&'static str, Kind, String)> {
    let mut all: Vec<(&'static str, Kind, String)> = Vec::new();
    for node in &plan.nodes {
        all.push(("node", Kind::Node, node.name.clone()));
        all.push(("felixconfiguration", Kind::FelixConfiguration, format!("node.{}", node.name)));
    }
    let pools = DEFAULT_POOLS.iter().filter(|(sign, _)| !present.iter().any(|cidr| cidr.contains(*sign)));
    all.extend(pools.map(|(_, name)| ("ippool", Kind::IPPool, (*name).to_string())));
    let named = OF_CLUSTER.into_iter().chain(MADE_LATER);
    all.extend(named.map(|(word, kind, name)| (word, kind, name.to_string())));
    all.extend(fabric::peer_names(plan).into_iter().map(|name| ("bgppeer", Kind::BGPPeer, name)));
    all
}

/// CIDRs of the pools that are there.
async fn cidrs(client: &Client) -> Result<Vec<String>> {
    let pools = client.list(Kind::IPPool, ListOptions::default()).await?;
    let cidr = |pool: &Resource| pool.spec().get("cidr").and_then(Value::as_str).map(str::to_string);
    Ok(pools.items.iter().filter_map(cidr).collect())
}

/// Says that nodes have no mesh, before the first of them asks.
async fn without_mesh(client: &Client) -> Result<()> {
    let mut resource = Resource::new(Kind::BGPConfiguration, "", "default");
    resource.spec_mut().insert("nodeToNodeMeshEnabled".to_string(), false.into());
    match client.create(resource).await {
        Ok(_) | Err(ClientError::AlreadyExists { .. }) => Ok(()),
        Err(error) => Err(error).context("create BGPConfiguration default"),
    }
}

/// Nodes around a router have no mesh, and whether there is one is said once for all nodes of a datastore: where others
/// have one it stays.
async fn no_mesh_of_others(client: &Client, fabric: Fabric) -> Result<()> {
    match client.get(Kind::BGPConfiguration, "", "default").await {
        Ok(found) if found.spec().get("nodeToNodeMeshEnabled") != Some(&Value::Bool(false)) => bail!(
            "--fabric {fabric} needs a datastore without a node-to-node mesh, and BGPConfiguration default of this one leaves it \
             on for all its nodes: set nodeToNodeMeshEnabled to false there, or give an etcd without that resource"
        ),
        Ok(_) | Err(ClientError::DoesNotExist { .. }) => Ok(()),
        Err(error) => Err(error).context("look for BGPConfiguration default"),
    }
}

/// The datastore as a node sees it.
///
/// # Errors
/// Its addresses are none.
pub fn connect(etcd: &Etcd) -> Result<Arc<dyn Datastore>> {
    let endpoints = etcd.endpoints().join(",");
    let variable = |name: &str| (name == "ETCD_ENDPOINTS").then(|| endpoints.clone());
    Ok(datastore::connect(&ConnectConfig::from_env(&variable))?)
}

async fn exists(client: &Client, kind: Kind, name: &str) -> Result<bool> {
    let namespace = if kind.namespaced() { "default" } else { "" };
    match client.get(kind, namespace, name).await {
        Ok(_) => Ok(true),
        Err(ClientError::DoesNotExist { .. }) => Ok(false),
        Err(error) => Err(error).with_context(|| format!("look for {name}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lab::shape::Shape;

    #[test]
    fn what_agents_make_is_noted() {
        let plan = Plan::new(Etcd::Own, Shape { nodes: 2, fabric: Fabric::Segment, ..Shape::default() });
        let names = |present: &[&str]| -> Vec<String> {
            let present: Vec<String> = present.iter().map(|text| text.to_string()).collect();
            to_come(&plan, &present).into_iter().map(|(word, _, name)| format!("{word} {name}")).collect()
        };
        let all = names(&[]);
        for expected in [
            "node node-1",
            "node node-2",
            "felixconfiguration node.node-2",
            "ippool default-ipv4-ippool",
            "ippool default-ipv6-ippool",
            "bgpconfiguration default",
            "profile frontend",
        ] {
            assert!(all.iter().any(|name| name == expected), "{expected}: {all:?}");
        }
        let without = |gone: &[&str]| {
            all.iter().filter(|name| !gone.contains(&name.as_str())).cloned().collect::<Vec<_>>()
        };
        assert_eq!(names(&["10.0.0.0/24"]), without(&["ippool default-ipv4-ippool"]));
        assert_eq!(names(&["fd00::/48"]), without(&["ippool default-ipv6-ippool"]));
    }

    #[test]
    fn every_pool_of_the_file_is_noted() {
        let pools = super::super::plan::POOLS;
        let named: Vec<&str> = pools.lines().filter_map(|line| line.strip_prefix("  name: ")).collect();
        let noted: Vec<&str> =
            MADE_LATER.iter().filter(|(word, ..)| *word == "ippool").map(|(_, _, n)| *n).collect();
        assert_eq!(named, noted);
    }
}
