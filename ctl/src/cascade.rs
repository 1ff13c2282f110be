//! Deleting what other objects hang on: a node takes its endpoints, addresses and settings along, a pool gives its
//! blocks up first. Source: `datamodel.md` §10 and `ipam.md` §7.5 of the contract.
//!
//! The object itself goes last, so that a deletion that was interrupted is completed by repeating it.

#[cfg(test)]
mod tests;

use datastore::{Client, ClientError, DeleteOptions, ListOptions, StoreError, codec, identity};
use ipam::{Ipam, IpamError, Release};
use model::ipam::AllocationBlock;
use model::v3::{IPPoolSpec, NodeSpec, WorkloadEndpointSpec};
use model::{Kind, Resource};
use mvcc::{Compare, Op, PutRequest, Txn};
use serde_json::Value;
use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

/// How long every node gets to see that a pool is disabled before its blocks are taken away.
const POOL_GRACE: Duration = Duration::from_millis(500);
/// How often disabling a pool is tried when others write it too.
const DISABLE_ATTEMPTS: usize = 5;

/// Deletes a resource and what hangs on it.
///
/// # Errors
/// As [`Client::delete`]; what cannot be cleaned up stops the deletion before the object itself is gone.
pub async fn delete(
    client: &Client,
    kind: Kind,
    namespace: &str,
    name: &str,
    options: DeleteOptions,
) -> Result<(), ClientError> {
    match kind {
        Kind::Node => delete_node(client, name, options).await,
        Kind::IPPool => delete_pool(client, name, options).await,
        _ => client.delete(kind, namespace, name, options).await.map(drop),
    }
}

async fn delete_node(client: &Client, name: &str, options: DeleteOptions) -> Result<(), ClientError> {
    let node = current(client, Kind::Node, name, &options).await?;
    let endpoints = client.list(Kind::WorkloadEndpoint, ListOptions::default()).await?.items;
    let endpoints: Vec<Resource> = endpoints.into_iter().filter(|endpoint| on_node(endpoint, name)).collect();

    let ipam = Ipam::new(Arc::clone(client.store()));
    let addresses = addresses_of(&node, &endpoints);
    if !addresses.is_empty() {
        let blocks = ipam.blocks().await.map_err(from_ipam)?;
        let releases = releases(&blocks, &addresses, name);
        if !releases.is_empty() {
            ipam.release_ips(releases).await.map_err(from_ipam)?;
        }
    }
    for endpoint in &endpoints {
        gone(client, endpoint).await?;
    }
    ipam.remove_host(name).await.map_err(from_ipam)?;
    for kind in [Kind::BGPPeer, Kind::HostEndpoint] {
        for object in client.list(kind, ListOptions::default()).await?.items {
            if on_node(&object, name) {
                gone(client, &object).await?;
            }
        }
    }
    for kind in [Kind::FelixConfiguration, Kind::BGPConfiguration] {
        gone(client, &Resource::new(kind, "", &format!("node.{name}"))).await?;
    }
    client.delete(Kind::Node, "", name, options).await.map(drop)
}

async fn delete_pool(client: &Client, name: &str, options: DeleteOptions) -> Result<(), ClientError> {
    let pool = current(client, Kind::IPPool, name, &options).await?;
    // A pool without a readable CIDR has no blocks.
    if let Ok(cidr) = pool.typed_spec::<IPPoolSpec>().map_err(drop).and_then(|spec| spec.net().map_err(drop))
    {
        disable(client, &pool).await?;
        tokio::time::sleep(POOL_GRACE).await;
        let ipam = Ipam::new(Arc::clone(client.store()));
        ipam.release_pool_affinities(cidr).await.map_err(from_ipam)?;
    }
    // Disabling wrote a new version; the uid says that it is still the same pool.
    let uid = (!pool.uid().is_empty()).then(|| pool.uid().to_owned());
    client.delete(Kind::IPPool, "", name, DeleteOptions { revision: None, uid }).await.map(drop)
}

/// The object to delete, checked against the caller's conditions before anything is touched.
async fn current(
    client: &Client,
    kind: Kind,
    name: &str,
    options: &DeleteOptions,
) -> Result<Resource, ClientError> {
    let found = client.get(kind, "", name).await?;
    if options.uid.as_deref().is_some_and(|uid| uid != found.uid()) {
        return Err(ClientError::DoesNotExist { id: identity(kind, "", name) });
    }
    if options.revision.as_deref().is_some_and(|revision| revision != found.resource_version()) {
        return Err(ClientError::UpdateConflict {
            id: identity(kind, "", name),
            current: Some(Box::new(found)),
        });
    }
    Ok(found)
}

/// Sets `spec.disabled` without validation: a pool that today's rules refuse can be deleted too.
async fn disable(client: &Client, pool: &Resource) -> Result<(), ClientError> {
    let mut pool = pool.clone();
    for _ in 0..DISABLE_ATTEMPTS {
        if pool.spec().get("disabled") == Some(&Value::Bool(true)) {
            return Ok(());
        }
        let revision = datastore::parse_revision(pool.resource_version())?;
        pool.spec_mut().insert("disabled".into(), true.into());
        let key = pool.key().path();
        let put = Op::Put(PutRequest::new(key.clone(), codec::encode(&pool)));
        let write = Txn {
            compare: vec![Compare::mod_revision(key, revision)],
            success: vec![put],
            failure: Vec::new(),
        };
        if client.store().txn(write).await?.succeeded {
            return Ok(());
        }
        pool = client.get(Kind::IPPool, "", pool.name()).await?;
    }
    Err(ClientError::UpdateConflict { id: datastore::identity_of(&pool), current: Some(Box::new(pool)) })
}

/// Deletes one object; gone already is as good.
async fn gone(client: &Client, object: &Resource) -> Result<(), ClientError> {
    match client.delete(object.kind(), object.namespace(), object.name(), DeleteOptions::default()).await {
        Err(ClientError::DoesNotExist { .. }) => Ok(()),
        done => done.map(drop),
    }
}

fn on_node(object: &Resource, node: &str) -> bool {
    object.spec().get("node").and_then(Value::as_str) == Some(node)
}

/// Addresses that only this node and its workloads use.
fn addresses_of(node: &Resource, endpoints: &[Resource]) -> BTreeSet<IpAddr> {
    let mut addresses = BTreeSet::new();
    for spec in endpoints.iter().filter_map(|endpoint| endpoint.typed_spec::<WorkloadEndpointSpec>().ok()) {
        addresses.extend(spec.nets().map(|net| net.addr()));
    }
    if let Ok(spec) = node.typed_spec::<NodeSpec>() {
        let bgp = spec.bgp.unwrap_or_default();
        let wireguard = spec.wireguard.unwrap_or_default();
        let tunnels = [
            bgp.ipv4_ipip_tunnel_addr,
            spec.ipv4_vxlan_tunnel_addr,
            spec.ipv6_vxlan_tunnel_addr,
            wireguard.interface_ipv4_address,
            wireguard.interface_ipv6_address,
        ];
        addresses.extend(tunnels.iter().filter_map(|text| text.parse::<IpAddr>().ok()));
    }
    addresses
}

/// The allocations of these addresses that are this node's, each with its handle and sequence number: what somebody
/// else has got since is not touched.
fn releases(blocks: &[AllocationBlock], addresses: &BTreeSet<IpAddr>, node: &str) -> Vec<Release> {
    let mut releases = Vec::new();
    for &address in addresses {
        let Some(block) = blocks.iter().find(|block| block.cidr.contains(address)) else { continue };
        let Some(ordinal) = block.cidr.offset_of(address).and_then(|offset| usize::try_from(offset).ok())
        else {
            continue;
        };
        let Some(attribute) = block.attribute(ordinal).filter(|attribute| attribute.released_at.is_none())
        else {
            continue;
        };
        if attribute.secondary.get("node").is_none_or(|owner| owner == node) {
            releases.push(Release {
                address,
                handle: attribute.handle.clone(),
                sequence_number: block.sequence_for.get(&ordinal).copied(),
            });
        }
    }
    releases
}

fn from_ipam(error: IpamError) -> ClientError {
    match error {
        IpamError::Store(error) => ClientError::Store(error),
        IpamError::Plan(refusal) => ClientError::Store(StoreError::Server(refusal.to_string())),
    }
}
