//! CHECK: whether kernel and datastore still have what ADD brought about.

use super::Agent;
use super::add::later;
use super::record::{HostEnd, Key, Record, State};
use crate::attach::open;
use crate::bounded::{self, ipam_failed, within};
use crate::endpoint::{self, Existing};
use crate::host::Host;
use crate::node;
use crate::session::{self, Questions};
use cni_protocol::{CniError, CniResult, Request};
use datastore::Datastore;
use ipam::Ipam;
use kernel::{Kernel, KernelError, RouteFilter};
use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::Arc;

/// Compares; nothing is changed.
///
/// # Errors
/// Everything that is not as ADD left it, in one message. Code 11: the datastore does not answer.
pub(crate) async fn check(host: &Host, agent: &Agent, request: &Request) -> Result<(), CniError> {
    node::check_file(&request.conf)?;
    let key = Key::of(request);
    let _turn = agent.turn(&key).await;
    let known = agent.records().get(&key).filter(|record| record.state == State::Attached);
    let (record, store, stored) = match known {
        Some(record) => {
            let store = record.connect(host).await?;
            let facts = super::owed::ask(&store, &record).await.map_err(later)?;
            let stored = facts.endpoints.first().map(Existing::read).transpose()?;
            (record, store, stored)
        }
        None => of_store(host, request).await.map_err(later)?,
    };
    let record = Record { netns: request.environment.netns.clone(), ..record };
    let mut wrong = Wrong::default();
    wrong.endpoint(&record, stored.as_ref());
    if record.is_ours() {
        wrong.addresses(&record, &store).await?;
    }
    let looking = async {
        let here = host.namespaces.current().map_err(CniError::internal)?;
        wrong.host(&record, &*here).await.map_err(CniError::internal)?;
        match open(host, &record.netns) {
            Ok(container) => wrong.container(&record, &*container).await.map_err(CniError::internal),
            Err(error) => {
                wrong.0.push(error.to_string());
                Ok(())
            }
        }
    };
    within(bounded::KERNEL, "looking at the links", looking).await?;
    wrong.previous(&record, request)?;
    wrong.end(&key)
}

/// What the datastore says of an attachment that was made before there was an agent.
async fn of_store(
    host: &Host,
    request: &Request,
) -> Result<(Record, Arc<dyn Datastore>, Option<Existing>), CniError> {
    let id = node::identity(host, request);
    let mut record = Record::by_configuration(host, request, &id)?;
    let store = session::connect(host, &request.conf).await?;
    let questions = Questions { endpoints: endpoint::search_prefix(&id)?, ..Questions::default() };
    let facts = session::ask(&store, &questions).await?;
    let stored = endpoint::of_workload(&facts.endpoints, &id)?;
    if let Some(existing) = &stored {
        record.mac.clone_from(&existing.spec.mac);
        record.addresses = existing.spec.nets().map(|net| net.addr()).collect();
        record.host_end = Some(HostEnd { name: existing.spec.interface_name.clone(), ..HostEnd::default() });
    }
    Ok((record, store, stored))
}

/// What is wrong.
#[derive(Default)]
struct Wrong(Vec<String>);

impl Wrong {
    fn endpoint(&mut self, record: &Record, stored: Option<&Existing>) {
        let Some(Existing { spec, .. }) = stored else {
            return self.0.push(format!("the datastore has no endpoint {}", record.endpoint));
        };
        if !spec.container_id.is_empty() && spec.container_id != record.key.container {
            self.0.push(format!("the endpoint belongs to container {}", spec.container_id));
        }
        let name = record.host_end.as_ref().map(|end| end.name.as_str()).unwrap_or_default();
        if spec.interface_name != name {
            self.0.push(format!("the endpoint is at interface {:?}, not {name:?}", spec.interface_name));
        }
        let nets: BTreeSet<IpAddr> = spec.nets().map(|net| net.addr()).collect();
        if nets != record.addresses.iter().copied().collect() {
            self.0.push(format!("the endpoint has addresses {nets:?}, not {:?}", record.addresses));
        }
    }

    async fn addresses(&mut self, record: &Record, store: &Arc<dyn Datastore>) -> Result<(), CniError> {
        let ipam = Ipam::new(Arc::clone(store));
        let held: BTreeSet<IpAddr> = match ipam.ips_by_handle(&record.handle).await {
            Ok(held) => held.into_iter().map(|assigned| assigned.address).collect(),
            Err(ipam::IpamError::Plan(ipam::PlanError::NoHandle(_))) => BTreeSet::new(),
            Err(error) => return Err(later(ipam_failed(&error, &error))),
        };
        for address in record.addresses.iter().filter(|address| !held.contains(address)) {
            self.0.push(format!("{address} is not assigned under handle {}", record.handle));
        }
        Ok(())
    }

    async fn host(&mut self, record: &Record, here: &dyn Kernel) -> Result<(), KernelError> {
        let Some(end) = &record.host_end else { return Ok(()) };
        let Some(link) = here.link(&end.name).await? else {
            self.0.push(format!("this host has no link {}", end.name));
            return Ok(());
        };
        if end.index.is_some_and(|index| index != link.index) {
            self.0.push(format!("link {} is another one", end.name));
        }
        if !link.up {
            self.0.push(format!("link {} is down", end.name));
        }
        let filter = RouteFilter { link: Some(link.index), ..RouteFilter::default() };
        let routed: BTreeSet<IpAddr> =
            here.routes(filter).await?.iter().map(|route| route.dst.addr).collect();
        for address in record.addresses.iter().filter(|address| !routed.contains(address)) {
            self.0.push(format!("this host has no route to {address} over {}", end.name));
        }
        Ok(())
    }

    async fn container(&mut self, record: &Record, container: &dyn Kernel) -> Result<(), KernelError> {
        let name = &record.key.interface;
        let Some(link) = container.link(name).await? else {
            self.0.push(format!("the container has no interface {name}"));
            return Ok(());
        };
        if !link.up {
            self.0.push(format!("interface {name} of the container is down"));
        }
        let mac = link.mac.map(|mac| mac.to_string()).unwrap_or_default();
        if !record.mac.is_empty() && mac != record.mac {
            self.0.push(format!("interface {name} has hardware address {mac}, not {}", record.mac));
        }
        let there = container.addresses(Some(link.index)).await?;
        let there: BTreeSet<IpAddr> = there.iter().map(|address| address.net.addr).collect();
        for address in record.addresses.iter().filter(|address| !there.contains(address)) {
            self.0.push(format!("interface {name} of the container does not have {address}"));
        }
        Ok(())
    }

    /// The runtime's copy of ADD's result, where it sends one.
    fn previous(&mut self, record: &Record, request: &Request) -> Result<(), CniError> {
        let Some(previous) = request.conf.raw().get("prevResult") else { return Ok(()) };
        let bytes = serde_json::to_vec(previous).map_err(CniError::internal)?;
        let previous = CniResult::from_json(&bytes, request.version)
            .map_err(|error| CniError::internal(format!("prevResult: {error}")))?;
        let told: BTreeSet<IpAddr> = previous.ips.iter().map(|ip| ip.address.addr).collect();
        for address in record.addresses.iter().filter(|address| !told.contains(address)) {
            self.0.push(format!("prevResult does not have {address}"));
        }
        Ok(())
    }

    fn end(self, key: &Key) -> Result<(), CniError> {
        if self.0.is_empty() {
            return Ok(());
        }
        Err(CniError::internal(format!("{key} is not as ADD left it: {}", self.0.join("; "))))
    }
}
