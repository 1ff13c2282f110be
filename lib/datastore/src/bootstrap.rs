//! What every cluster has from its first write on: ClusterInformation and the built-in tiers.
//! Source: `datamodel.md` §9 of the contract.

use crate::error::ClientError;
use crate::prepare;
use crate::{Client, StoreError, codec};
use model::{Key, Kind, Resource, WELL_KNOWN_TIERS};
use mvcc::{KeyValue, RangeRequest, Txn};
use serde_json::{Map, Value};
use std::time::Duration;

/// Name of the one ClusterInformation.
pub const CLUSTER_INFORMATION: &str = "default";

/// How often a lost race is run again.
const ATTEMPTS: u64 = 10;

/// What a program knows about its cluster; empty for what it does not know.
#[derive(Debug, Clone, Default)]
pub struct Bootstrap {
    /// Comma-separated types to add to the cluster's.
    pub cluster_type: String,
    /// Version to record.
    pub version: String,
}

impl Client {
    /// Makes ClusterInformation and the built-in tiers where they are missing, and completes the former. A datastore
    /// that is locked stays locked. One read; writes only what is missing.
    ///
    /// # Errors
    /// Those of the store; `Stored` when ClusterInformation is damaged; `UpdateConflict` when others keep changing
    /// it. Tiers that this user may not write are passed over.
    pub async fn ensure_initialized(&self, bootstrap: Bootstrap) -> Result<(), ClientError> {
        for attempt in 1..=ATTEMPTS {
            let tiers = WELL_KNOWN_TIERS.iter().map(|(name, ..)| tier_key(name));
            let reads =
                std::iter::once(information_key()).chain(tiers).map(|key| RangeRequest::key(key.path()));
            let answers = self.store().txn(Txn::reads(reads)).await?.responses;
            let mut pairs = answers.iter().map(|answer| answer.kvs().first());
            let mut done = match information_write(pairs.next().flatten(), &bootstrap)? {
                Some(write) => self.store().txn(write).await?.succeeded,
                None => true,
            };
            let missing =
                WELL_KNOWN_TIERS.iter().zip(pairs).filter(|(_, pair)| pair.is_none()).map(|(tier, _)| *tier);
            if let Some(write) = tiers_write(missing) {
                done &= match self.store().txn(write).await {
                    Ok(response) => response.succeeded,
                    Err(StoreError::Unauthorized(_)) => true,
                    Err(error) => return Err(error.into()),
                };
            }
            if done {
                return Ok(());
            }
            self.back_off(attempt).await;
        }
        Err(conflict())
    }

    /// Locks (false) or unlocks the datastore: address management and CNI wait while it is locked.
    ///
    /// # Errors
    /// `DoesNotExist` in a store that was never initialised; those of the store.
    pub async fn set_datastore_ready(&self, ready: bool) -> Result<(), ClientError> {
        for attempt in 1..=ATTEMPTS {
            let Some(pair) = self.pair(&information_key()).await? else {
                return Err(ClientError::DoesNotExist { id: information_id() });
            };
            let mut information = codec::decode(&pair)?;
            information.spec_mut().insert("datastoreReady".into(), ready.into());
            let write = prepare::replacement(information, pair.mod_revision).into_txn();
            if self.store().txn(write).await?.succeeded {
                return Ok(());
            }
            self.back_off(attempt).await;
        }
        Err(conflict())
    }

    async fn back_off(&self, attempt: u64) {
        tokio::time::sleep(Duration::from_millis(20 * attempt)).await;
    }
}

fn information_key() -> Key {
    Key::resource(Kind::ClusterInformation, "", CLUSTER_INFORMATION)
}

fn information_id() -> String {
    crate::identity(Kind::ClusterInformation, "", CLUSTER_INFORMATION)
}

fn conflict() -> ClientError {
    ClientError::UpdateConflict { id: information_id(), current: None }
}

fn tier_key(name: &str) -> Key {
    Key::resource(Kind::Tier, "", name)
}

/// The write that completes ClusterInformation; none when nothing is missing.
fn information_write(pair: Option<&KeyValue>, bootstrap: &Bootstrap) -> Result<Option<Txn>, ClientError> {
    let Some(pair) = pair else {
        let mut information = Resource::new(Kind::ClusterInformation, "", CLUSTER_INFORMATION);
        complete(information.spec_mut(), bootstrap);
        return Ok(Some(prepare::new(information).into_txn()));
    };
    let mut information = codec::decode(pair)?;
    let changed = complete(information.spec_mut(), bootstrap);
    Ok(changed.then(|| prepare::replacement(information, pair.mod_revision).into_txn()))
}

/// Fills in what is missing; true if something was.
fn complete(spec: &mut Map<String, Value>, bootstrap: &Bootstrap) -> bool {
    let before = spec.clone();
    if text(spec, "clusterGUID").is_empty() {
        spec.insert("clusterGUID".into(), uuid::Uuid::new_v4().simple().to_string().into());
    }
    let types = joined(text(spec, "clusterType"), &bootstrap.cluster_type);
    if types != text(spec, "clusterType") {
        spec.insert("clusterType".into(), types.into());
    }
    if !bootstrap.version.is_empty() && text(spec, "calicoVersion") != bootstrap.version {
        spec.insert("calicoVersion".into(), bootstrap.version.clone().into());
    }
    if spec.get("datastoreReady").is_none_or(Value::is_null) {
        spec.insert("datastoreReady".into(), true.into());
    }
    *spec != before
}

fn text<'a>(spec: &'a Map<String, Value>, field: &str) -> &'a str {
    spec.get(field).and_then(Value::as_str).unwrap_or_default()
}

/// The comma list `present` with those of `wanted` that it lacks.
fn joined(present: &str, wanted: &str) -> String {
    let items = |list| str::split(list, ',').filter(|item: &&str| !item.is_empty());
    let mut all: Vec<&str> = items(present).collect();
    for item in items(wanted) {
        if !all.contains(&item) {
            all.push(item);
        }
    }
    all.join(",")
}

/// One transaction that makes the given tiers; none when there are none.
fn tiers_write(tiers: impl Iterator<Item = (&'static str, u64, &'static str)>) -> Option<Txn> {
    let mut txn = Txn::default();
    for (name, order, action) in tiers {
        let mut tier = Resource::new(Kind::Tier, "", name);
        tier.spec_mut().insert("order".into(), order.into());
        tier.spec_mut().insert("defaultAction".into(), action.into());
        let prepared = prepare::new(tier);
        txn.compare.push(prepared.compare);
        txn.success.push(prepared.op);
    }
    (!txn.compare.is_empty()).then_some(txn)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_grow_without_repeating() {
        assert_eq!(joined("", ""), "");
        assert_eq!(joined("k8s,bgp", ""), "k8s,bgp");
        assert_eq!(joined("k8s", "bgp,k8s"), "k8s,bgp");
        assert_eq!(joined("", "bgp,bgp"), "bgp");
    }

    #[test]
    fn a_lock_is_never_lifted() {
        let mut spec = Map::from_iter([("datastoreReady".to_owned(), Value::Bool(false))]);
        assert!(complete(&mut spec, &Bootstrap::default()));
        assert_eq!(spec.get("datastoreReady"), Some(&Value::Bool(false)));
        assert!(!complete(&mut spec, &Bootstrap::default()), "nothing is left to do");
    }
}
