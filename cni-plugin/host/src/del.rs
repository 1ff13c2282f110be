//! DEL: removes whatever is there of a workload, and is content with what is not.

use crate::address::{Own, Source, is_own};
use crate::azure::{AZURE_IPAM, Azure};
use crate::delegate::Delegate;
use crate::detach::{Detached, detach, remove_host_end};
use crate::endpoint;
use crate::failpoint::failpoint;
use crate::host::Host;
use crate::node;
use crate::session::{self, Questions};
use cni_protocol::delegate::{PodCidrs, put_pod_cidrs, wants_pod_cidrs};
use cni_protocol::identity::Identity;
use cni_protocol::{CniError, Request};
use datastore::Datastore;
use ipam::Ipam;
use std::sync::Arc;

/// Detaches a workload (`cni.md` §8 of the contract). Link and endpoint go before the addresses are given back, so that
/// nobody gets an address that still answers elsewhere; a source that fails does not keep the rest from going.
///
/// # Errors
/// Ready to be printed; to be repeated by the runtime.
pub(crate) async fn del(host: &Host, request: &Request) -> Result<(), CniError> {
    let conf = &request.conf;
    node::check_file(conf)?;
    let id = node::identity(host, request);
    let store = session::connect(host, conf).await?;
    let questions =
        Questions { endpoints: endpoint::own_key(&id)?.path(), exact: true, ..Questions::default() };
    let facts = session::ask(&store, &questions).await?;
    let environment = &request.environment;
    // The kernel takes its time to remove a link; the store is asked meanwhile.
    let (detached, deleted) = futures::join!(
        detach(host, &environment.netns, &environment.ifname),
        endpoint::delete(&store, &id, facts.endpoints.first()),
    );
    let detached = detached?;
    if let Some(interface) = deleted?
        && detached == Detached::NoNamespace
        && !interface.is_empty()
    {
        remove_host_end(host, &interface).await?;
    }
    source(host, request, &id, store)?.release().await?;
    failpoint("cni-del-addresses");
    Ok(())
}

/// Where a workload's addresses go back to.
///
/// # Errors
/// The configuration names an IPAM plugin that is not there.
pub(crate) fn source(
    host: &Host,
    request: &Request,
    id: &Identity,
    store: Arc<dyn Datastore>,
) -> Result<Source, CniError> {
    let conf = &request.conf;
    if is_own(conf) {
        return Ok(Source::Own(Box::new(Own::to_release(Ipam::new(store), conf, id, true))));
    }
    if conf.ipam.plugin == AZURE_IPAM {
        return Ok(Source::Azure(Box::new(Azure::new(host, request))));
    }
    let mut document = conf.raw().clone();
    if wants_pod_cidrs(&document) {
        put_pod_cidrs(&mut document, &id.node, &PodCidrs::dummies())?;
    }
    Ok(Source::Plugin(Box::new(Delegate::new(&host.executor, request, &document)?)))
}
