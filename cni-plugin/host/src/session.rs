//! The connection to the store, and the one read with which ADD and DEL begin.

use crate::bounded::{by_store, store_failed};
use crate::host::{Host, Variables};
use cni_protocol::{CniError, NetConf, StoreTrouble};
use datastore::{CLUSTER_INFORMATION, Datastore, codec, identity};
use model::net::Cidr;
use model::v3::{ClusterInformationSpec, IPPoolSpec};
use model::{Key, Kind, Resource};
use mvcc::{Compare, KeyValue, RangeRequest, Revision, Txn};
use std::collections::BTreeMap;
use std::sync::Arc;

/// Connects as configuration and process say.
///
/// # Errors
/// In the words of the way to the store.
pub(crate) async fn connect(host: &Host, conf: &NetConf) -> Result<Arc<dyn Datastore>, CniError> {
    let process = |name: &str| host.variable(name);
    connect_with(host, &|name: &str| conf.datastore_variable(name, &process)).await
}

/// Connects as variables say.
///
/// # Errors
/// As [`connect`].
pub(crate) async fn connect_with(
    host: &Host,
    variables: Variables<'_>,
) -> Result<Arc<dyn Datastore>, CniError> {
    let connecting = async { host.stores.connect(variables).await.map_err(CniError::internal) };
    by_store("connecting to the datastore", connecting).await
}

/// What is asked of the store at the start, at one revision.
#[derive(Debug, Default)]
pub(crate) struct Questions {
    /// Endpoints whose keys begin so.
    pub(crate) endpoints: String,
    /// Only the endpoint of exactly this key.
    pub(crate) exact: bool,
    /// Whether there is a profile of this name.
    pub(crate) profile: Option<String>,
    /// Whether there is a handle of this name.
    pub(crate) handle: Option<String>,
    /// Pools to look up by name.
    pub(crate) pools: Vec<String>,
    /// The node's pod CIDRs.
    pub(crate) node: Option<String>,
}

/// The answers.
#[derive(Debug, Default)]
pub(crate) struct Facts {
    /// The revision at which ClusterInformation was written that says the datastore is ready.
    pub(crate) ready: Revision,
    /// The endpoints, as stored.
    pub(crate) endpoints: Vec<KeyValue>,
    /// The profile is there.
    pub(crate) profile: bool,
    /// The handle is there.
    pub(crate) handle: bool,
    /// CIDRs of the pools that are there.
    pub(crate) pools: BTreeMap<String, Cidr>,
    /// The node's pod CIDRs.
    pub(crate) pod_cidrs: Vec<String>,
}

/// Asks everything in one request, and refuses while the datastore is locked or not set up.
///
/// # Errors
/// `error getting ClusterInformation: …`, or that Calico is not ready (`cni.md` §5 of the contract).
pub(crate) async fn ask(store: &Arc<dyn Datastore>, questions: &Questions) -> Result<Facts, CniError> {
    let mut ranges = vec![RangeRequest::key(cluster_information())];
    ranges.push(match questions.exact {
        true => RangeRequest::key(questions.endpoints.clone()),
        false => RangeRequest::prefix(questions.endpoints.clone()),
    });
    let profile = questions.profile.iter().map(|name| Key::resource(Kind::Profile, "", name));
    let handle = questions.handle.iter().map(|id| Key::Handle(id.clone()));
    let node = questions.node.iter().map(|name| Key::resource(Kind::Node, "", name));
    let pools = questions.pools.iter().map(|name| Key::resource(Kind::IPPool, "", name));
    let others: Vec<String> = profile.chain(handle).chain(node).chain(pools).map(|key| key.path()).collect();
    ranges.extend(others.into_iter().map(RangeRequest::key));
    let asking = async {
        store
            .txn(Txn::reads(ranges))
            .await
            .map_err(|error| store_failed(&error, format!("error getting ClusterInformation: {error}")))
    };
    let answer = by_store("reading from the datastore", asking).await?;
    let mut answers = answer.responses.iter().map(mvcc::OpResponse::kvs);
    let mut next = || answers.next().unwrap_or_default();
    let ready = check_ready(next().first())?;
    let mut facts = Facts { ready, endpoints: next().to_vec(), ..Facts::default() };
    if questions.profile.is_some() {
        facts.profile = !next().is_empty();
    }
    if questions.handle.is_some() {
        facts.handle = !next().is_empty();
    }
    if questions.node.is_some() {
        facts.pod_cidrs = next().first().map(pod_cidrs).transpose()?.unwrap_or_default();
    }
    for name in &questions.pools {
        if let Some(cidr) = next().first().map(pool_cidr).transpose()?.flatten() {
            facts.pools.insert(name.clone(), cidr);
        }
    }
    Ok(facts)
}

/// The key of ClusterInformation.
fn cluster_information() -> String {
    Key::resource(Kind::ClusterInformation, "", CLUSTER_INFORMATION).path()
}

/// That the datastore is still ready, having been so when [`Facts::ready`] was told.
pub(crate) fn still_ready(ready: Revision) -> Compare {
    Compare::mod_revision(cluster_information(), ready)
}

fn check_ready(pair: Option<&KeyValue>) -> Result<Revision, CniError> {
    let not_ready = |error: CniError| error.with_store(StoreTrouble::NotReady);
    let failed =
        |reason: String| not_ready(CniError::internal(format!("error getting ClusterInformation: {reason}")));
    let Some(pair) = pair else {
        let id = identity(Kind::ClusterInformation, "", CLUSTER_INFORMATION);
        return Err(failed(datastore::ClientError::DoesNotExist { id }.to_string()));
    };
    let spec: ClusterInformationSpec = codec::decode(pair)
        .and_then(|found| found.typed_spec())
        .map_err(|error| failed(error.to_string()))?;
    // Not said is not ready: nobody has finished setting the datastore up.
    if spec.datastore_ready == Some(true) {
        Ok(pair.mod_revision)
    } else {
        Err(not_ready(CniError::internal("Calico is currently not ready to process requests")))
    }
}

fn stored<T: serde::de::DeserializeOwned>(pair: &KeyValue) -> Result<T, CniError> {
    codec::decode(pair).and_then(|found| found.typed_spec()).map_err(CniError::internal)
}

fn pool_cidr(pair: &KeyValue) -> Result<Option<Cidr>, CniError> {
    Ok(Cidr::parse_masked(&stored::<IPPoolSpec>(pair)?.cidr).ok())
}

fn pod_cidrs(pair: &KeyValue) -> Result<Vec<String>, CniError> {
    let node: Resource = codec::decode(pair).map_err(CniError::internal)?;
    // Filled in from Kubernetes' node where there is one.
    let listed = node.object().get("status").and_then(|status| status.get("podCIDRs"));
    let texts = listed.and_then(serde_json::Value::as_array).into_iter().flatten();
    Ok(texts.filter_map(|text| Some(text.as_str()?.to_owned())).collect())
}
