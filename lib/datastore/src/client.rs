//! Create, read, update and delete resources, with Calico's transactions, rules and errors.
//! Source: `datamodel.md` §2 and §10 of the contract.

use crate::error::{ClientError, identity, identity_of, parse_revision};
use crate::prepare::{self, Prepared};
use crate::{Datastore, codec, guard, rules};
use model::key::resource_prefix;
use model::{Key, Kind, Resource};
use mvcc::{Compare, DeleteRequest, KeyValue, Op, OpResponse, RangeRequest, Revision, Txn};
use serde_json::Value;
use std::sync::Arc;

/// How often a write is tried whose conditions on *other* objects changed under it.
const ATTEMPTS: usize = 20;

/// Resources of one store. Cheap to clone.
#[derive(Clone)]
pub struct Client {
    store: Arc<dyn Datastore>,
}

/// What to list.
#[derive(Debug, Clone, Default)]
pub struct ListOptions {
    /// Only this namespace; all when absent. Ignored for cluster-scoped kinds.
    pub namespace: Option<String>,
    /// Only names that begin so.
    pub name_prefix: Option<String>,
    /// As it was at this revision; now when absent.
    pub revision: Option<Revision>,
}

/// Resources of one kind at one revision, in the order of their keys; tiers in their own order.
#[derive(Debug, Clone, Default)]
pub struct ResourceList {
    /// The store's revision when the list was made.
    pub revision: Revision,
    /// The resources.
    pub items: Vec<Resource>,
}

/// Conditions of a delete.
#[derive(Debug, Clone, Default)]
pub struct DeleteOptions {
    /// Only if it was last written at this revision.
    pub revision: Option<String>,
    /// Only if it has this uid.
    pub uid: Option<String>,
}

impl std::fmt::Debug for Client {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Client").finish_non_exhaustive()
    }
}

impl Client {
    /// Resources in `store`.
    pub fn new(store: Arc<dyn Datastore>) -> Self {
        Self { store }
    }

    /// The store below, for transactions of several objects.
    pub fn store(&self) -> &Arc<dyn Datastore> {
        &self.store
    }

    /// Stores a new resource and returns it with identity, time of creation and revision.
    ///
    /// # Errors
    /// `AlreadyExists`; `Validation`; `DoesNotExist` for a policy whose tier is missing; `NotSupported` for
    /// ClusterInformation, which only [`Client::ensure_initialized`] makes.
    pub async fn create(&self, resource: Resource) -> Result<Resource, ClientError> {
        if resource.kind() == Kind::Profile && resource.name() == rules::DEFAULT_ALLOW_PROFILE {
            let name = rules::DEFAULT_ALLOW_PROFILE;
            let detail =
                format!("{name} already exists. The profile \"{name}\" is default provided by Calico");
            return Err(ClientError::AlreadyExists { id: name.into(), detail: Some(detail), current: None });
        }
        rules::refuse_protected(&resource, "create")?;
        let prepared = prepare::prepare_create(resource)?;
        if prepared.resource.kind() == Kind::Node {
            self.ensure_initialized(crate::Bootstrap::default()).await?;
        }
        let id = identity_of(&prepared.resource);
        for _ in 0..ATTEMPTS {
            let others = guard::for_create(&*self.store, &prepared.resource).await?;
            match self.write(prepared.clone(), others).await? {
                Written::Done(resource) => return Ok(resource),
                Written::Refused(Some(pair)) => {
                    return Err(ClientError::AlreadyExists { id, detail: None, current: readable(&pair) });
                }
                // what it depends on changed
                Written::Refused(None) => {}
            }
        }
        Err(ClientError::UpdateConflict { id, current: None })
    }

    /// Replaces a resource; its `resourceVersion` says which version it was made from.
    ///
    /// # Errors
    /// `DoesNotExist`; `UpdateConflict` when it changed meanwhile; `Validation`; `NotSupported` for what cannot be
    /// written.
    pub async fn update(&self, resource: Resource) -> Result<Resource, ClientError> {
        rules::refuse_protected(&resource, "Update")?;
        let revision = prepare::check_update(&resource)?;
        let id = identity_of(&resource);
        for _ in 0..ATTEMPTS {
            let Some(pair) = self.pair(&resource.key()).await? else {
                return Err(ClientError::DoesNotExist { id });
            };
            if pair.mod_revision != revision {
                return Err(ClientError::UpdateConflict { id, current: readable(&pair) });
            }
            let prepared = prepare::prepare_update(&codec::decode(&pair)?, resource.clone())?;
            let others = guard::for_update(&*self.store, &prepared.resource).await?;
            if let Written::Done(resource) = self.write(prepared, others).await? {
                return Ok(resource);
            }
        }
        Err(ClientError::UpdateConflict { id, current: None })
    }

    /// Reads one resource; `namespace` is ignored for cluster-scoped kinds.
    ///
    /// # Errors
    /// `DoesNotExist`; `Stored` when the stored value is damaged.
    pub async fn get(&self, kind: Kind, namespace: &str, name: &str) -> Result<Resource, ClientError> {
        if kind == Kind::Profile && name == rules::DEFAULT_ALLOW_PROFILE {
            return Ok(rules::default_allow_profile());
        }
        let key = key_of(kind, namespace, name)?;
        let missing = || ClientError::DoesNotExist { id: id_of(&key) };
        let pair = self.pair(&key).await?.ok_or_else(missing)?;
        let mut resource = codec::decode(&pair)?;
        if rules::is_hidden(&resource) {
            return Err(missing());
        }
        rules::present(&mut resource);
        Ok(resource)
    }

    /// Lists resources of a kind. What cannot be read is left out, with a line in the log.
    ///
    /// # Errors
    /// Only those of the store.
    pub async fn list(&self, kind: Kind, options: ListOptions) -> Result<ResourceList, ClientError> {
        let namespace = options.namespace.as_deref().filter(|namespace| !namespace.is_empty());
        let name_prefix = options.name_prefix.as_deref().unwrap_or_default();
        let mut prefix = resource_prefix(kind, namespace);
        if !kind.namespaced() || namespace.is_some() {
            prefix.push_str(name_prefix);
        }
        let mut request = RangeRequest::prefix(prefix);
        request.revision = options.revision.unwrap_or(0);
        let response = self.store.range(request).await?;
        let mut items: Vec<Resource> = response
            .kvs
            .iter()
            .filter(|pair| name_in_key(pair).starts_with(name_prefix))
            .filter_map(|pair| {
                codec::decode(pair).inspect_err(|error| tracing::warn!(%error, "left out of the list")).ok()
            })
            .filter(|resource| !rules::is_hidden(resource))
            .collect();
        items.iter_mut().for_each(rules::present);
        match kind {
            Kind::Profile if rules::DEFAULT_ALLOW_PROFILE.starts_with(name_prefix) => {
                items.push(rules::default_allow_profile());
            }
            Kind::Tier => items.sort_by(|a, b| tier_order(a).total_cmp(&tier_order(b))),
            _ => {}
        }
        Ok(ResourceList { revision: response.revision, items })
    }

    /// Deletes one resource and returns what it was.
    ///
    /// # Errors
    /// `DoesNotExist`, also when another uid was asked for; `UpdateConflict`; `NotSupported` for built-in objects
    /// and for tiers in use.
    pub async fn delete(
        &self,
        kind: Kind,
        namespace: &str,
        name: &str,
        options: DeleteOptions,
    ) -> Result<Resource, ClientError> {
        let key = key_of(kind, namespace, name)?;
        rules::refuse_protected(&Resource::new(kind, namespace, name), "Delete")?;
        let id = id_of(&key);
        let path = key.path();
        let mut own = Vec::new();
        if let Some(revision) = options.revision.as_deref().filter(|text| !text.is_empty()) {
            own.push(Compare::mod_revision(path.clone(), parse_revision(revision)?));
        }
        for _ in 0..ATTEMPTS {
            let mut compare = own.clone();
            if let Some(uid) = options.uid.as_deref().filter(|uid| !uid.is_empty()) {
                let pair = self.pair(&key).await?;
                let Some(pair) =
                    pair.filter(|pair| codec::decode(pair).is_ok_and(|found| found.uid() == uid))
                else {
                    return Err(ClientError::DoesNotExist { id });
                };
                compare.push(Compare::mod_revision(path.clone(), pair.mod_revision));
            }
            compare.extend(guard::for_delete(&*self.store, kind, name).await?);
            let response = self
                .store
                .txn(Txn {
                    compare,
                    success: vec![Op::Delete(DeleteRequest::key(path.clone()))],
                    failure: vec![Op::Range(RangeRequest::key(path.clone()))],
                })
                .await?;
            match response.responses.first() {
                Some(OpResponse::Delete(deleted)) => {
                    let pair = deleted.prevs.first().ok_or(ClientError::DoesNotExist { id: id.clone() })?;
                    // damaged or not, it is gone
                    return Ok(codec::decode(pair).unwrap_or_else(|_| Resource::new(kind, namespace, name)));
                }
                answer => {
                    let Some(pair) = answer.and_then(|answer| answer.kvs().first()) else {
                        return Err(ClientError::DoesNotExist { id });
                    };
                    if own.iter().any(|c| c.target != mvcc::CompareTarget::Mod(pair.mod_revision)) {
                        return Err(ClientError::UpdateConflict { id, current: readable(pair) });
                    }
                }
            }
        }
        Err(ClientError::UpdateConflict { id, current: None })
    }

    /// The stored pair of a key.
    pub(crate) async fn pair(&self, key: &Key) -> Result<Option<KeyValue>, ClientError> {
        Ok(self.store.range(RangeRequest::key(key.path())).await?.kvs.into_iter().next())
    }

    /// Sends one prepared write under further conditions.
    pub(crate) async fn write(
        &self,
        prepared: Prepared,
        others: Vec<Compare>,
    ) -> Result<Written, ClientError> {
        let mut txn = prepared.clone().into_txn();
        txn.compare.extend(others);
        let response = self.store.txn(txn).await?;
        if response.succeeded {
            let mut resource = prepared.stored_at(response.revision);
            rules::present(&mut resource);
            return Ok(Written::Done(resource));
        }
        let pair = response.responses.first().and_then(|answer| answer.kvs().first()).cloned();
        Ok(Written::Refused(pair))
    }
}

/// What became of a write.
pub(crate) enum Written {
    /// It happened.
    Done(Resource),
    /// A condition did not hold; with what is stored under the key.
    Refused(Option<KeyValue>),
}

fn key_of(kind: Kind, namespace: &str, name: &str) -> Result<Key, ClientError> {
    if name.is_empty() {
        return Err(ClientError::InsufficientIdentifiers("name"));
    }
    if kind.namespaced() && namespace.is_empty() {
        return Err(ClientError::InsufficientIdentifiers("namespace"));
    }
    Ok(Key::resource(kind, namespace, name))
}

fn id_of(key: &Key) -> String {
    match key {
        Key::Resource { kind, namespace, name } => identity(*kind, namespace, name),
        other => other.path(),
    }
}

fn readable(pair: &KeyValue) -> Option<Box<Resource>> {
    codec::decode(pair).ok().map(Box::new)
}

/// The name by which a resource is found; legacy policies have another for users.
fn name_in_key(pair: &KeyValue) -> &str {
    let path = std::str::from_utf8(&pair.key).unwrap_or_default();
    path.rsplit_once('/').map_or(path, |(_, name)| name)
}

fn tier_order(tier: &Resource) -> f64 {
    tier.spec().get("order").and_then(Value::as_f64).unwrap_or(f64::INFINITY)
}
