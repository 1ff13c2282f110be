//! What others in the store forbid a write, as conditions of the same transaction: a check and the write it allows
//! cannot be separated by somebody else's write. Source: `datamodel.md` §10, `ipam.md` §5.5 of the contract.

use crate::codec::{self, is_tiered_policy};
use crate::error::{ClientError, identity, identity_of};
use crate::rules;
use crate::{Datastore, StoreError};
use model::key::{block_prefix, resource_prefix};
use model::net::Cidr;
use model::v3::IPPoolSpec;
use model::{FieldError, Key, Kind, Resource, ValidationError};
use mvcc::{
    Compare, CompareResult, CompareTarget, KeyRange, KeyValue, OpResponse, RangeRequest, Revision, Txn,
};
use serde_json::Value;

/// Conditions that a create of this resource needs besides its own.
pub(crate) async fn for_create(
    store: &dyn Datastore,
    resource: &Resource,
) -> Result<Vec<Compare>, ClientError> {
    match resource.kind() {
        kind if is_tiered_policy(kind) => for_policy(store, resource).await,
        Kind::BGPPeer => for_peer(store, resource).await,
        Kind::IPPool => for_pool(store, resource).await,
        _ => Ok(Vec::new()),
    }
}

/// Conditions that an update needs besides its own.
pub(crate) async fn for_update(
    store: &dyn Datastore,
    resource: &Resource,
) -> Result<Vec<Compare>, ClientError> {
    match resource.kind() {
        Kind::BGPPeer => for_peer(store, resource).await,
        _ => Ok(Vec::new()),
    }
}

/// Conditions that a delete needs.
pub(crate) async fn for_delete(
    store: &dyn Datastore,
    kind: Kind,
    name: &str,
) -> Result<Vec<Compare>, ClientError> {
    if kind != Kind::Tier {
        return Ok(Vec::new());
    }
    if matches!(name, "default" | "kube-admin" | "kube-baseline") {
        let reason = Some(format!("Cannot delete {name} tier"));
        return Err(ClientError::NotSupported { operation: "Delete", id: name.to_owned(), reason });
    }
    let kinds =
        || Kind::ALL.iter().copied().filter(|kind| is_tiered_policy(*kind)).map(|k| resource_prefix(k, None));
    let (revision, answers) = read(store, kinds().map(RangeRequest::prefix).collect()).await?;
    let used = answers
        .iter()
        .flatten()
        .filter_map(|pair| codec::decode(pair).ok())
        .any(|policy| rules::tier_of(&policy) == name);
    if used {
        let reason = Some("Cannot delete a non-empty tier".to_owned());
        return Err(ClientError::NotSupported { operation: "delete", id: name.to_owned(), reason });
    }
    Ok(kinds().map(|prefix| unchanged(prefix, revision)).collect())
}

async fn for_policy(store: &dyn Datastore, policy: &Resource) -> Result<Vec<Compare>, ClientError> {
    let tier = rules::tier_of(policy);
    let key = Key::resource(Kind::Tier, "", tier).path();
    let mut request = RangeRequest::key(key.clone());
    request.count_only = true;
    if store.range(request).await?.count == 0 {
        return Err(ClientError::DoesNotExist { id: identity(Kind::Tier, "", tier) });
    }
    Ok(vec![Compare::exists(key)])
}

async fn for_peer(store: &dyn Datastore, peer: &Resource) -> Result<Vec<Compare>, ClientError> {
    let filters = peer.spec().get("filters").and_then(Value::as_array);
    let names: Vec<&str> = filters.into_iter().flatten().filter_map(Value::as_str).collect();
    if names.is_empty() {
        return Ok(Vec::new());
    }
    let keys: Vec<String> =
        names.iter().map(|name| Key::resource(Kind::BGPFilter, "", name).path()).collect();
    let (_, answers) = read(store, keys.iter().map(|key| RangeRequest::key(key.clone())).collect()).await?;
    let missing: Vec<&str> =
        names.iter().zip(&answers).filter(|(_, pairs)| pairs.is_empty()).map(|(name, _)| *name).collect();
    if !missing.is_empty() {
        let value = format!("[{}]", missing.join(" "));
        let refused = FieldError::new("BGPPeer.Spec.Filters", value, "BGPFilter(s) not found");
        return Err(ClientError::field(refused));
    }
    Ok(keys.into_iter().map(Compare::exists).collect())
}

async fn for_pool(store: &dyn Datastore, pool: &Resource) -> Result<Vec<Compare>, ClientError> {
    let spec: IPPoolSpec = pool.typed_spec()?;
    let Ok(cidr) = spec.net() else { return Ok(Vec::new()) };
    let pools_prefix = resource_prefix(Kind::IPPool, None);
    let mut blocks = RangeRequest::prefix(block_prefix(cidr.family()));
    blocks.keys_only = true;
    let (revision, answers) = read(store, vec![RangeRequest::prefix(pools_prefix.clone()), blocks]).await?;
    let [pools, blocks] = answers.as_slice() else { return Ok(Vec::new()) };
    let pools: Vec<Resource> = pools.iter().filter_map(|pair| codec::decode(pair).ok()).collect();
    if let Some(current) = pools.iter().find(|other| other.name() == pool.name()) {
        let current = Some(Box::new(current.clone()));
        return Err(ClientError::AlreadyExists { id: identity_of(pool), detail: None, current });
    }
    let mut wrong: Vec<FieldError> = pools.iter().filter_map(|other| overlap(pool, cidr, other)).collect();
    let size = spec.block_prefix();
    if blocks.iter().filter_map(block_of).any(|block| block.overlaps(&cidr) && block.prefix() != size) {
        wrong.push(FieldError::new(
            "IPPool.Spec.BlockSize",
            size.to_string(),
            "IPPool blocksSize conflicts with existing allocations that use a different blockSize",
        ));
    }
    ValidationError::check(wrong)?;
    Ok(vec![unchanged(pools_prefix, revision)])
}

fn overlap(pool: &Resource, cidr: Cidr, other: &Resource) -> Option<FieldError> {
    let spec: IPPoolSpec = other.typed_spec().ok()?;
    let theirs = spec.net().ok().filter(|theirs| theirs.overlaps(&cidr))?;
    let reason = format!("IPPool({}) CIDR overlaps with IPPool({}) CIDR {theirs}", pool.name(), other.name());
    Some(FieldError::new("IPPool.Spec.CIDR", cidr.to_string(), reason))
}

fn block_of(pair: &KeyValue) -> Option<Cidr> {
    match Key::parse(std::str::from_utf8(&pair.key).ok()?)? {
        Key::Block(cidr) => Some(cidr),
        _ => None,
    }
}

/// Nothing under the prefix was written after `revision`. Deletions do not show, and need not.
fn unchanged(prefix: String, revision: Revision) -> Compare {
    Compare {
        range: KeyRange::prefix(prefix),
        target: CompareTarget::Mod(revision + 1),
        result: CompareResult::Less,
    }
}

/// Several reads at one revision.
async fn read(
    store: &dyn Datastore,
    requests: Vec<RangeRequest>,
) -> Result<(Revision, Vec<Vec<KeyValue>>), StoreError> {
    let response = store.txn(Txn::reads(requests)).await?;
    let answers = response
        .responses
        .into_iter()
        .map(|answer| match answer {
            OpResponse::Range(range) => range.kvs,
            _ => Vec::new(),
        })
        .collect();
    Ok((response.revision, answers))
}
