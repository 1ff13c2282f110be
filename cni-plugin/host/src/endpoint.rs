//! The workload's endpoint and its network's profile, as the rest of Calico sees them.

use crate::bounded::{by_store, store_failed};
use crate::failpoint::failpoint;
use crate::undo::{Done, Undo};
use bytes::Bytes;
use cni_protocol::CniError;
use cni_protocol::identity::Identity;
use datastore::{ClientError, Datastore, Prepared, codec, identity, prepare_create, prepare_update};
use ipam::Along;
use model::v3::WorkloadEndpointSpec;
use model::{Key, Kind, Resource};
use mvcc::{DeleteRequest, Event, EventKind, KeyValue, Op, RangeRequest, Revision, Txn, TxnResponse};
use serde_json::{Value, json};
use std::sync::Arc;

/// How often a delete is tried that others get in the way of (`cni.md` §8 of the contract).
const DELETE_TRIES: usize = 6;

/// Prefix of the keys of all endpoints the workload may have.
///
/// # Errors
/// When a part of the identity cannot stand in a name.
pub(crate) fn search_prefix(id: &Identity) -> Result<String, CniError> {
    let names = id.wep().workload_prefix().map_err(CniError::internal)?;
    Ok(Key::resource(Kind::WorkloadEndpoint, &id.namespace, &names).path())
}

/// The key of the workload's endpoint by its own interface name.
///
/// # Errors
/// As [`search_prefix`].
pub(crate) fn own_key(id: &Identity) -> Result<Key, CniError> {
    let name = id.wep_name().map_err(CniError::internal)?;
    Ok(Key::resource(Kind::WorkloadEndpoint, &id.namespace, &name))
}

/// An endpoint as it is stored.
#[derive(Debug, Clone)]
pub(crate) struct Existing {
    /// The pair's value.
    pub(crate) value: Bytes,
    /// The resource.
    pub(crate) resource: Resource,
    /// Its spec.
    pub(crate) spec: WorkloadEndpointSpec,
}

impl Existing {
    /// Its key in the datastore.
    pub(crate) fn key(&self) -> String {
        Key::resource(Kind::WorkloadEndpoint, self.resource.namespace(), self.resource.name()).path()
    }

    /// Reads a pair.
    ///
    /// # Errors
    /// Names the key of a value that is damaged.
    pub(crate) fn read(pair: &KeyValue) -> Result<Self, CniError> {
        let resource = codec::decode(pair).map_err(CniError::internal)?;
        let spec = resource.typed_spec().map_err(CniError::internal)?;
        Ok(Self { value: pair.value.clone(), resource, spec })
    }
}

/// The endpoint of this very workload among those a search by prefix found; its interface name may be another.
///
/// # Errors
/// When one that may be it cannot be read.
pub(crate) fn of_workload(pairs: &[KeyValue], id: &Identity) -> Result<Option<Existing>, CniError> {
    for pair in pairs {
        let existing = Existing::read(pair)?;
        let spec = &existing.spec;
        let same_workload = match &id.pod {
            Some(pod) => spec.pod == *pod,
            None => spec.container_id == id.container_id,
        };
        if spec.node == id.node && spec.orchestrator == id.orchestrator() && same_workload {
            return Ok(Some(existing));
        }
    }
    Ok(None)
}

/// What ADD knows about an endpoint.
#[derive(Debug, Clone)]
pub(crate) struct Wanted<'a> {
    /// Whose it is.
    pub(crate) id: &'a Identity,
    /// Labels besides those that follow from namespace and orchestrator.
    pub(crate) labels: &'a [(String, String)],
    /// Its addresses, as /32 and /128.
    pub(crate) addresses: Vec<String>,
    /// The host's interface.
    pub(crate) interface: String,
    /// The container's hardware address.
    pub(crate) mac: String,
}

impl Wanted<'_> {
    /// The write that creates it, or that gives the existing endpoint of the pod to this sandbox.
    fn prepare(&self, existing: Option<&Existing>) -> Result<Prepared, ClientError> {
        let id = self.id;
        let mut endpoint = match existing {
            Some(existing) => existing.resource.clone(),
            None => Resource::new(Kind::WorkloadEndpoint, &id.namespace, ""),
        };
        for (key, value) in self.labels {
            endpoint.set_meta_entry("labels", key, value);
        }
        // An endpoint that is taken over keeps its name, and with it its interface name.
        let interface = existing.map_or(id.ifname.as_str(), |existing| existing.spec.endpoint.as_str());
        let pod = id.pod.as_deref().unwrap_or_default();
        let fields: [(&str, Value); 9] = [
            ("orchestrator", id.orchestrator().into()),
            ("node", id.node.as_str().into()),
            ("containerID", id.container_id.as_str().into()),
            ("pod", pod.into()),
            ("endpoint", interface.into()),
            ("ipNetworks", json!(self.addresses)),
            ("profiles", json!([id.network])),
            ("interfaceName", self.interface.as_str().into()),
            ("mac", self.mac.as_str().into()),
        ];
        let spec = endpoint.spec_mut();
        for (field, value) in fields {
            if value != json!("") {
                spec.insert(field.into(), value);
            }
        }
        match existing {
            Some(existing) => prepare_update(&existing.resource, endpoint),
            None => prepare_create(endpoint),
        }
    }
}

/// An endpoint that is not there yet, to be written along with something else.
#[derive(Debug)]
pub(crate) struct Fresh {
    /// Its key.
    pub(crate) key: Bytes,
    /// Its value.
    pub(crate) value: Bytes,
    /// The write, if nobody has written it before.
    pub(crate) along: Along,
}

/// Prepares an endpoint that is not there yet.
///
/// # Errors
/// As [`write`], before anything is sent.
pub(crate) fn fresh(wanted: &Wanted<'_>) -> Result<Fresh, CniError> {
    let Prepared { key, compare, op, .. } = wanted.prepare(None).map_err(CniError::internal)?;
    let value = match &op {
        Op::Put(put) => put.value.clone(),
        _ => Bytes::new(),
    };
    Ok(Fresh { key, value, along: Along { compare: vec![compare], success: vec![op] } })
}

/// The write of the profile that workloads of a network share (`cni.md` §5 of the contract).
///
/// # Errors
/// When the network's name is none for a profile.
pub(crate) fn prepare_profile(id: &Identity) -> Result<Prepared, CniError> {
    let mut profile = Resource::new(Kind::Profile, "", &id.network);
    let ingress = match id.pod {
        Some(_) => json!([{"action": "Allow"}]),
        None => json!([{"action": "Allow", "source": {"selector": format!("has({})", id.network)}}]),
    };
    let spec = profile.spec_mut();
    spec.insert("ingress".into(), ingress);
    spec.insert("egress".into(), json!([{"action": "Allow"}]));
    spec.insert("labelsToApply".into(), json!({ id.network.as_str(): "" }));
    prepare_create(profile).map_err(CniError::internal)
}

/// Writes the endpoint, and the profile if it is not there, in one request; what the store will tell of it.
///
/// # Errors
/// When somebody else has written the endpoint meanwhile, or the store fails; what may have been written is in `undo`.
pub(crate) async fn write(
    store: &Arc<dyn Datastore>,
    wanted: &Wanted<'_>,
    existing: Option<&Existing>,
    profile: Option<Prepared>,
    undo: &mut Undo,
) -> Result<Option<Event>, CniError> {
    let prepared = wanted.prepare(existing).map_err(CniError::internal)?;
    let name = identity(Kind::WorkloadEndpoint, prepared.resource.namespace(), prepared.resource.name());
    let mut written = None;
    if let Op::Put(put) = &prepared.op {
        written = Some((prepared.key.clone(), put.value.clone()));
        // Before the request: one whose answer is lost may have been carried out.
        undo.push(Done::Endpoint {
            store: Arc::clone(store),
            key: prepared.key.clone(),
            ours: put.value.clone(),
            before: existing.map(|existing| existing.value.clone()),
        });
    }
    let answer = send(store, prepared, profile).await?;
    if answer.succeeded {
        failpoint("cni-add-endpoint");
        return Ok(written.map(|(key, value)| put_at(key, value, answer.revision)));
    }
    Err(CniError::internal(match existing {
        Some(_) => ClientError::UpdateConflict { id: name, current: None },
        None => ClientError::AlreadyExists { id: name, detail: None, current: None },
    }))
}

/// What the store will tell of a value written at a revision.
pub(crate) fn put_at(key: Bytes, value: Bytes, revision: Revision) -> Event {
    let kv = KeyValue { key, value, mod_revision: revision, create_revision: revision, version: 1, lease: 0 };
    Event { kind: EventKind::Put, kv, prev: None }
}

/// Adds the network's profile to an endpoint that a container has already; nothing is written where it is there.
///
/// # Errors
/// When the store fails, or others keep writing the endpoint.
pub(crate) async fn add_profile(
    store: &Arc<dyn Datastore>,
    id: &Identity,
    mut existing: Existing,
    profile: Option<Prepared>,
) -> Result<Existing, CniError> {
    for _ in 0..DELETE_TRIES {
        let missing = !existing.spec.profiles.contains(&id.network);
        if !missing && profile.is_none() {
            return Ok(existing);
        }
        let mut endpoint = existing.resource.clone();
        if missing {
            existing.spec.profiles.push(id.network.clone());
            endpoint.spec_mut().insert("profiles".into(), json!(existing.spec.profiles));
        }
        let prepared = prepare_update(&existing.resource, endpoint).map_err(CniError::internal)?;
        let answer = match missing {
            true => send(store, prepared, profile.clone()).await?,
            false => only_profile(store, profile.clone()).await?,
        };
        if answer.succeeded {
            return Ok(existing);
        }
        match answer.responses.first().and_then(|answer| answer.kvs().first()) {
            Some(pair) => existing = Existing::read(pair)?,
            None => break,
        }
    }
    let name = identity(Kind::WorkloadEndpoint, existing.resource.namespace(), existing.resource.name());
    Err(CniError::internal(ClientError::UpdateConflict { id: name, current: None }))
}

async fn send(
    store: &Arc<dyn Datastore>,
    endpoint: Prepared,
    profile: Option<Prepared>,
) -> Result<TxnResponse, CniError> {
    let mut txn = endpoint.into_txn();
    txn.success.extend(profile.map(unless_there));
    run(store, txn).await
}

async fn only_profile(
    store: &Arc<dyn Datastore>,
    profile: Option<Prepared>,
) -> Result<TxnResponse, CniError> {
    let success = profile.map(unless_there).into_iter().collect();
    run(store, Txn { compare: Vec::new(), success, failure: Vec::new() }).await
}

/// Somebody else may create the same profile at the same time; that is as good as doing it oneself.
fn unless_there(profile: Prepared) -> Op {
    Op::Txn(Box::new(Txn { compare: vec![profile.compare], success: vec![profile.op], failure: Vec::new() }))
}

async fn run(store: &Arc<dyn Datastore>, txn: Txn) -> Result<TxnResponse, CniError> {
    let writing = async { store.txn(txn).await.map_err(|error| store_failed(&error, &error)) };
    by_store("writing the endpoint", writing).await
}

/// The host interface of a stored endpoint that is this sandbox's to delete; none where it is a newer one's.
///
/// # Errors
/// A pod's endpoint is damaged.
pub(crate) fn own_interface(id: &Identity, pair: &KeyValue) -> Result<Option<String>, CniError> {
    match Existing::read(pair) {
        Ok(existing) => {
            let owner = existing.spec.container_id;
            if id.pod.is_some() && !owner.is_empty() && owner != id.container_id {
                tracing::info!(container = owner, "endpoint belongs to a newer sandbox, kept");
                return Ok(None);
            }
            Ok(Some(existing.spec.interface_name))
        }
        // The name of a container's endpoint says whose it is, whatever its value.
        Err(error) if id.pod.is_none() => {
            tracing::warn!(%error, "removing a damaged endpoint");
            Ok(Some(String::new()))
        }
        Err(error) => Err(error),
    }
}

/// Deletes a pair as it is; answers with the one that is there, where that is another.
pub(crate) fn deletion(pair: &KeyValue) -> Txn {
    Txn {
        compare: vec![mvcc::Compare::mod_revision(pair.key.clone(), pair.mod_revision)],
        success: vec![Op::Delete(DeleteRequest::key(pair.key.clone()))],
        failure: vec![Op::Range(RangeRequest::key(pair.key.clone()))],
    }
}

/// Deletes the workload's endpoint `found`, if it is still this sandbox's; a missing one is fine. Returns the host
/// interface of a deleted one.
///
/// # Errors
/// When others keep writing it, the store fails, or a pod's endpoint is damaged.
pub(crate) async fn delete(
    store: &Arc<dyn Datastore>,
    id: &Identity,
    found: Option<&KeyValue>,
) -> Result<Option<String>, CniError> {
    let mut found = found.cloned();
    for _ in 0..DELETE_TRIES {
        let Some(pair) = found else { return Ok(None) };
        let Some(interface) = own_interface(id, &pair)? else { return Ok(None) };
        let answer = run(store, deletion(&pair)).await?;
        if answer.succeeded {
            failpoint("cni-del-endpoint");
            return Ok(Some(interface));
        }
        found = answer.responses.first().and_then(|answer| answer.kvs().first()).cloned();
    }
    let key = own_key(id)?;
    let Key::Resource { name, .. } = &key else { return Ok(None) };
    let conflict = ClientError::UpdateConflict {
        id: identity(Kind::WorkloadEndpoint, &id.namespace, name),
        current: None,
    };
    Err(CniError::internal(format!(
        "error deleting endpoint: endpoint was modified before it could be deleted: {conflict}"
    )))
}
