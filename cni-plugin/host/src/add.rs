//! ADD: the steps of the table in `DESIGN.md`, in their order.

mod offered;

use crate::address::{Own, Source, is_own};
use crate::agent::{self, add::Noted};
use crate::attach::{Attachment, attach, random_mac};
use crate::azure::{AZURE_IPAM, Azure};
use crate::delegate::{self, Delegate};
use crate::detach::remove_host_end;
use crate::endpoint::{self, Existing, Wanted};
use crate::failpoint::failpoint;
use crate::host::{Host, NO_KUBERNETES};
use crate::session::{self, Facts, Questions};
use crate::undo::{Done, Undo};
use crate::{acknowledge, gates, node, status};
use cni_protocol::config::{CALICO_IPAM, DeviceType, HOST_LOCAL};
use cni_protocol::delegate::{PodCidrs, put_pod_cidrs, wants_pod_cidrs};
use cni_protocol::identity::Identity;
use cni_protocol::result::{CniResult, Interface, IpConfig, Prefixed};
use cni_protocol::{CniError, Request, pools};
use datastore::{Datastore, Prepared};
use ipam::Ipam;
use kernel::Mac;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

/// Everything known about the workload before anything is changed.
struct Job<'a> {
    host: &'a Host,
    request: &'a Request,
    id: Identity,
    mtu: u32,
    store: Arc<dyn Datastore>,
    facts: Facts,
    /// To be written with the endpoint; none where it is there already, or policy comes from elsewhere.
    profile: Option<Prepared>,
}

/// Attaches a workload.
///
/// # Errors
/// Ready to be printed; what was done until then is taken back.
pub(crate) async fn add(host: &Host, request: &Request) -> Result<CniResult, CniError> {
    let conf = &request.conf;
    check(request)?;
    let gates = gates::parse(&conf.readiness_gates)?;
    node::check_file(conf)?;
    let mtu = node::mtu(host, conf)?;
    let id = node::identity(host, request);
    let store = session::connect(host, conf)
        .await
        .map_err(|error| CniError { msg: format!("error creating calico client: {}", error.msg), ..error })?;
    let (offered, facts) = match offered::offer(host, request, &id, &store).await? {
        (Some(offered), _) => {
            let facts = offered.facts();
            (Some(offered), facts)
        }
        (None, Some(facts)) => (None, facts),
        (None, None) => (None, asked(host, request, &id, &store).await?),
    };
    gates::wait(&gates).await?;
    check_pod(host, request, &id)?;
    let mut job = Job { host, request, id, mtu, store, facts, profile: None };
    if let Some(offered) = offered {
        if let Some(result) = job.take(offered).await? {
            return Ok(result);
        }
        job.facts = asked(host, request, &job.id, &job.store).await?;
    }
    let existing = endpoint::of_workload(&job.facts.endpoints, &job.id)?;
    if conf.policy_type.is_empty() && !job.facts.profile {
        job.profile = Some(endpoint::prepare_profile(&job.id)?);
    }
    match existing {
        Some(existing) if job.id.pod.is_none() => job.join(existing).await,
        existing => {
            let mut noted = agent::add::begin(host, request, &job.id, existing.as_ref().map(Existing::key))?;
            let mut undo = Undo::default();
            let shared = host.agent.as_ref().and_then(|agent| agent.shared(&job.store, &job.id.node));
            let result = job.attach(existing, &mut undo, &mut noted).await;
            let whole = match &result {
                Ok(_) => {
                    // the next one need not ask
                    shared.into_iter().for_each(|(shared, _)| shared.look());
                    true
                }
                Err(_) => undo.run().await,
            };
            noted.end(host, &result, whole).await?;
            result
        }
    }
}

/// Asks the store for all that is to be known.
async fn asked(
    host: &Host,
    request: &Request,
    id: &Identity,
    store: &Arc<dyn Datastore>,
) -> Result<Facts, CniError> {
    let facts = session::ask(store, &questions(request, id)?).await?;
    if let Some(agent) = &host.agent {
        agent.seen_ready(store, &id.node, facts.ready);
    }
    Ok(facts)
}

/// What can be refused before anything is asked.
fn check(request: &Request) -> Result<(), CniError> {
    let conf = &request.conf;
    if let DeviceType::Unknown(device) = &conf.device_type {
        let device = cni_protocol::text::quote(device);
        return Err(CniError::internal(format!(
            "unknown device_type {device} in CNI config (supported: \"veth\", \"netkit\")"
        )));
    }
    if conf.ip_addrs_no_ipam && !request.args.is_pod() {
        return Err(CniError::internal(
            "requested feature is not supported for this runtime: ip_addrs_no_ipam",
        ));
    }
    Ok(())
}

/// What a pod needs besides.
fn check_pod(host: &Host, request: &Request, id: &Identity) -> Result<(), CniError> {
    let conf = &request.conf;
    if id.pod.is_none() {
        return Ok(());
    }
    let master = host.variable("KUBERNETES_MASTER").unwrap_or_default();
    if conf.kubeconfig.is_empty() && conf.k8s_api_root.is_empty() && master.is_empty() {
        return Err(CniError::internal(NO_KUBERNETES));
    }
    if !conf.policy_type.is_empty() {
        return Err(CniError::internal(format!(
            "policy.type {}: reading pods from the Kubernetes API is not supported; leave policy.type out to have \
             the network's profile apply",
            cni_protocol::text::quote(&conf.policy_type)
        )));
    }
    if conf.policy_setup_timeout_seconds < 0 {
        return Err(CniError::internal(format!(
            "policy_setup_timeout_seconds: expected a number from 0 on, found {}",
            conf.policy_setup_timeout_seconds
        )));
    }
    Ok(())
}

fn questions(request: &Request, id: &Identity) -> Result<Questions, CniError> {
    let conf = &request.conf;
    let pods = wants_pod_cidrs(conf.raw());
    let node = if conf.k8s_node_name.is_empty() { &id.node } else { &conf.k8s_node_name };
    Ok(Questions {
        endpoints: endpoint::search_prefix(id)?,
        exact: false,
        profile: conf.policy_type.is_empty().then(|| id.network.clone()),
        handle: is_own(conf).then(|| id.handle()),
        pools: pool_names(request),
        node: pods.then(|| node.clone()),
    })
}

/// Names among the pools of the configuration.
pub(crate) fn pool_names(request: &Request) -> Vec<String> {
    let conf = &request.conf.ipam;
    if request.args.ip.is_some() {
        return Vec::new();
    }
    let mut names = pools::names(&conf.ipv4_pools);
    names.extend(pools::names(&conf.ipv6_pools));
    names.sort();
    names.dedup();
    names
}

impl Job<'_> {
    /// A container that has an endpoint already only joins another network: its profile is added.
    async fn join(self, existing: Existing) -> Result<CniResult, CniError> {
        let existing = endpoint::add_profile(&self.store, &self.id, existing, self.profile).await?;
        let addresses: Vec<Prefixed> =
            existing.spec.nets().map(|net| Prefixed { addr: net.addr(), prefix: net.prefix() }).collect();
        let ours = Interface { name: existing.spec.interface_name, ..Interface::default() };
        let theirs = Interface {
            name: self.id.ifname,
            mac: existing.spec.mac,
            mtu: 0,
            sandbox: self.request.environment.netns.clone(),
        };
        Ok(CniResult {
            interfaces: vec![ours, theirs],
            ips: on_container(&addresses),
            ..CniResult::default()
        })
    }

    async fn attach(
        mut self,
        existing: Option<Existing>,
        undo: &mut Undo,
        noted: &mut Noted,
    ) -> Result<CniResult, CniError> {
        let interface =
            self.id.host_interface(&self.host.variable("FELIX_INTERFACEPREFIX").unwrap_or_default());
        let source = self.source()?;
        if self.facts.handle {
            self.clear(&source, &interface).await?;
        }
        let given = source.assign().await?;
        undo.push(Done::Addresses(source));
        failpoint("cni-add-addresses");
        if given.ips.is_empty() {
            return Err(CniError::internal("IPAM plugin returned missing IP config"));
        }
        let dataplane = acknowledge::dataplane(self.host, self.request, &self.id);
        let addresses: Vec<IpAddr> = given.ips.iter().map(|ip| ip.address.addr).collect();
        noted.wait_until_free(&addresses).await?;
        let mac = random_mac();
        let attachment = self.attachment(&interface, &given, dataplane.is_none(), mac);
        noted.made(attach(self.host, &attachment, undo).await?);
        let mac = mac.to_string();
        let profile = self.profile.take();
        let wanted = self.wanted(&interface, &given, &mac);
        let written = endpoint::write(&self.store, &wanted, existing.as_ref(), profile, undo).await?;
        if let (Some(dataplane), Some(written)) = (dataplane, written) {
            acknowledge::wait(&*dataplane, written, self.request).await?;
        }
        self.wait_for_policy(existing.as_ref()).await;
        Ok(self.result(interface, given, mac))
    }

    /// What is to be made for a workload that was given these addresses.
    fn attachment(&self, interface: &str, given: &CniResult, host_routes: bool, mac: Mac) -> Attachment {
        Attachment {
            netns: self.request.environment.netns.clone(),
            netkit: self.request.conf.device_type == DeviceType::Netkit,
            ifname: self.id.ifname.clone(),
            host_interface: interface.to_owned(),
            mtu: self.mtu,
            mac,
            queues: self.request.conf.num_queues,
            addresses: given.ips.iter().map(|ip| ip.address.addr).collect(),
            routes: self.container_routes(given),
            forward: self.request.conf.allow_ip_forwarding,
            host_routes,
        }
    }

    /// The endpoint to be written.
    fn wanted(&self, interface: &str, given: &CniResult, mac: &str) -> Wanted<'_> {
        Wanted {
            id: &self.id,
            labels: &self.request.conf.labels,
            addresses: hosts(given).iter().map(ToString::to_string).collect(),
            interface: interface.to_owned(),
            mac: mac.to_owned(),
        }
    }

    /// What the runtime is told.
    fn result(&self, interface: String, given: CniResult, mac: String) -> CniResult {
        let sandbox = self.request.environment.netns.clone();
        let theirs = Interface { name: self.id.ifname.clone(), mac, mtu: self.mtu, sandbox };
        CniResult {
            interfaces: vec![Interface { name: interface, ..Interface::default() }, theirs],
            ips: on_container(&hosts(&given)),
            ..given
        }
    }

    /// Removes what an earlier ADD of this workload left when it died, or its DEL did. The link goes first: nobody else
    /// may get the addresses while it still answers for them.
    async fn clear(&self, source: &Source, interface: &str) -> Result<(), CniError> {
        let left = source.leftovers().await?;
        if left.is_empty() {
            return Ok(());
        }
        tracing::info!(
            handle = self.id.handle(),
            addresses = left.len(),
            "removing what an earlier attempt left"
        );
        remove_host_end(self.host, interface).await?;
        source.release_exactly(left).await
    }

    /// Where this workload's addresses come from.
    fn source(&self) -> Result<Source, CniError> {
        let conf = &self.request.conf;
        if is_own(conf) {
            // Done in this process, and yet the plugin has to be installed: who removed it wants no addresses given.
            delegate::find(CALICO_IPAM, &self.request.environment.path)?;
            let ipam = Ipam::new(Arc::clone(&self.store));
            return Ok(Source::Own(Box::new(Own::new(ipam, self.request, &self.id, &self.facts.pools)?)));
        }
        if conf.ipam.plugin == AZURE_IPAM {
            return Ok(Source::Azure(Box::new(Azure::new(self.host, self.request))));
        }
        let mut document = conf.raw().clone();
        if wants_pod_cidrs(&document) {
            let cidrs = PodCidrs::of_node(&self.id.node, &self.facts.pod_cidrs)?;
            put_pod_cidrs(&mut document, &self.id.node, &cidrs)?;
        }
        Ok(Source::Plugin(Box::new(Delegate::new(&self.host.executor, self.request, &document)?)))
    }

    /// Where the container sends through its gateway: everywhere, unless host-local has routes for a pod.
    fn container_routes(&self, given: &CniResult) -> Vec<Prefixed> {
        let everywhere = [IpAddr::V4(Ipv4Addr::UNSPECIFIED), IpAddr::V6(Ipv6Addr::UNSPECIFIED)]
            .map(|addr| Prefixed { addr, prefix: 0 });
        let conf = &self.request.conf;
        if self.id.pod.is_none() || conf.ipam.plugin != HOST_LOCAL || given.routes.is_empty() {
            return everywhere.to_vec();
        }
        let mut routes: Vec<Prefixed> = given.routes.iter().map(|route| route.dst).collect();
        if conf.include_default_routes {
            routes.extend(everywhere);
        }
        let mut seen = std::collections::BTreeSet::new();
        routes.retain(|route| seen.insert((route.addr, route.prefix)));
        routes
    }

    /// Waits until the agent says that policy is in place, where that is asked for.
    async fn wait_for_policy(&self, existing: Option<&Existing>) {
        let conf = &self.request.conf;
        let Ok(seconds @ 1..) = u64::try_from(conf.policy_setup_timeout_seconds) else { return };
        if self.id.pod.is_none() {
            return;
        }
        let interface = existing.map_or(self.id.ifname.as_str(), |existing| existing.spec.endpoint.as_str());
        let file = self.id.status_file(interface);
        status::wait(Path::new(&conf.endpoint_status_dir), &file, Duration::from_secs(seconds)).await;
    }
}

/// The addresses of a result, each for itself.
fn hosts(given: &CniResult) -> Vec<Prefixed> {
    given.ips.iter().map(|ip| Prefixed::host(ip.address.addr)).collect()
}

/// Addresses on the second interface of the result, the container's.
fn on_container(addresses: &[Prefixed]) -> Vec<IpConfig> {
    addresses
        .iter()
        .map(|address| IpConfig { interface: Some(1), address: *address, gateway: None })
        .collect()
}
