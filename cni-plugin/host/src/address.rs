//! Where addresses come from: our own address manager in this process, or another IPAM plugin.

use crate::azure::Azure;
use crate::bounded::{self, within};
use crate::delegate::Delegate;
use crate::lock;
use cni_protocol::config::CALICO_IPAM;
use cni_protocol::identity::Identity;
use cni_protocol::result::{CniResult, IpConfig, Prefixed, RouteEntry};
use cni_protocol::{CniError, NetConf, Request, pools};
use ipam::{AssignIpRequest, Assigned, AutoAssignRequest, Ipam, IpamError, PlanError, Release};
use jiff::Timestamp;
use model::key::Owner;
use model::net::{Cidr, Family};
use model::v3::PoolUse;
use std::collections::BTreeMap;
use std::net::IpAddr;

/// A source of addresses for one workload.
#[derive(Clone)]
pub(crate) enum Source {
    /// Our own.
    Own(Box<Own>),
    /// Another plugin.
    Plugin(Box<Delegate>),
    /// The plugin that has to be told what it gave before.
    Azure(Box<Azure>),
}

impl Source {
    /// Gives addresses. On an error nothing is left of them that this call could still take back.
    ///
    /// # Errors
    /// In the source's words.
    pub(crate) async fn assign(&self) -> Result<CniResult, CniError> {
        match self {
            Source::Own(own) => own.assign().await,
            Source::Plugin(plugin) => plugin.add().await,
            Source::Azure(plugin) => plugin.add().await,
        }
    }

    /// Addresses that an earlier call for this workload on this node left.
    ///
    /// # Errors
    /// When the store fails.
    pub(crate) async fn leftovers(&self) -> Result<Vec<Release>, CniError> {
        match self {
            Source::Own(own) => within(bounded::IPAM, "looking for left addresses", own.leftovers()).await,
            Source::Plugin(_) | Source::Azure(_) => Ok(Vec::new()),
        }
    }

    /// Takes exactly these addresses back.
    ///
    /// # Errors
    /// When the store fails, or one of them belongs to somebody else by now.
    pub(crate) async fn release_exactly(&self, addresses: Vec<Release>) -> Result<(), CniError> {
        match self {
            Source::Own(own) => {
                within(bounded::IPAM, "releasing addresses", own.release_exactly(addresses)).await
            }
            Source::Plugin(_) | Source::Azure(_) => Ok(()),
        }
    }

    /// Takes the workload's addresses back; having none is fine.
    ///
    /// # Errors
    /// In the source's words.
    pub(crate) async fn release(&self) -> Result<(), CniError> {
        match self {
            Source::Own(own) => own.release().await,
            Source::Plugin(plugin) => plugin.del().await,
            Source::Azure(plugin) => plugin.del().await,
        }
    }
}

/// Our own address manager, asked for one workload.
#[derive(Clone)]
pub(crate) struct Own {
    ipam: Ipam,
    lock: String,
    /// What is released; the first one is what is assigned under.
    handles: Vec<String>,
    attributes: BTreeMap<String, String>,
    node: String,
    wish: Wish,
}

/// What is asked for.
#[derive(Clone)]
enum Wish {
    /// This address.
    Given(IpAddr),
    /// One address of each of these families, from these pools where there are any.
    Any { v4: bool, v6: bool, v4_pools: Vec<Cidr>, v6_pools: Vec<Cidr> },
}

impl Own {
    /// Addresses of `identity` as the configuration asks for them; `named` are the pools' CIDRs by name.
    ///
    /// # Errors
    /// When a pool of the configuration is neither a CIDR nor a name, or of the wrong family.
    pub(crate) fn new(
        ipam: Ipam,
        request: &Request,
        identity: &Identity,
        named: &BTreeMap<String, Cidr>,
    ) -> Result<Self, CniError> {
        let conf = &request.conf.ipam;
        let resolve = |entries: &[String], family| {
            pools::resolve(entries, family, &|name| named.get(name).copied()).map_err(CniError::internal)
        };
        let wish = match request.args.ip {
            Some(ip) => Wish::Given(ip),
            None => Wish::Any {
                v4: conf.assign_ipv4,
                v6: conf.assign_ipv6,
                v4_pools: resolve(&conf.ipv4_pools, Family::V4)?,
                v6_pools: resolve(&conf.ipv6_pools, Family::V6)?,
            },
        };
        let mut attributes = BTreeMap::from([
            ("node".to_owned(), identity.node.clone()),
            ("timestamp".to_owned(), model::ipam::go_time_text(Timestamp::now())),
        ]);
        if let Some(pod) = &identity.pod {
            attributes.insert("pod".to_owned(), pod.clone());
            attributes.insert("namespace".to_owned(), identity.namespace.clone());
        }
        Ok(Self { attributes, wish, ..Self::to_release(ipam, &request.conf, identity, false) })
    }

    /// For giving addresses back only; `legacy` also those under the handle of old releases.
    pub(crate) fn to_release(ipam: Ipam, conf: &NetConf, identity: &Identity, legacy: bool) -> Self {
        let mut handles = vec![identity.handle()];
        if legacy {
            handles.push(identity.legacy_handle());
        }
        Self {
            ipam,
            lock: conf.ipam_lock_file.clone(),
            handles,
            attributes: BTreeMap::new(),
            node: identity.node.clone(),
            wish: Wish::Any { v4: false, v6: false, v4_pools: Vec::new(), v6_pools: Vec::new() },
        }
    }

    async fn assign(&self) -> Result<CniResult, CniError> {
        if let Wish::Any { v4: false, v6: false, .. } = self.wish {
            return Ok(CniResult::default());
        }
        let _lock = lock::take(&self.lock).await;
        let mut unsure = true;
        let assigning = async {
            let result = self.assign_locked().await;
            // A refusal wrote nothing; a store that did not answer may have carried the write out.
            unsure = matches!(result, Err(IpamError::Store(_)));
            result.map_err(|error| bounded::ipam_failed(&error, words(&error)))
        };
        let result = within(bounded::IPAM, "assigning addresses", assigning).await;
        if result.is_err()
            && unsure
            && let Err(error) = within(bounded::UNDO, "undo", self.release_locked()).await
        {
            tracing::warn!(%error, "cannot tell whether addresses were assigned; DEL will release them");
        }
        result
    }

    async fn assign_locked(&self) -> Result<CniResult, IpamError> {
        let handle = self.handles.first().cloned();
        let owner = Owner::Host(self.node.clone());
        let addresses: Vec<Prefixed> = match &self.wish {
            Wish::Given(address) => {
                let given = AssignIpRequest {
                    address: *address,
                    owner,
                    handle,
                    attributes: self.attributes.clone(),
                    intended_use: Some(PoolUse::Workload),
                    max_per_handle: 0,
                    host_reserved: None,
                };
                vec![Prefixed::host(self.ipam.assign_ip(given).await?.address)]
            }
            Wish::Any { .. } => {
                let Some(wanted) = self.wanted() else { return Ok(CniResult::default()) };
                let outcome = self.ipam.auto_assign(wanted).await?;
                prefixed(outcome.v4.assigned.iter().chain(&outcome.v6.assigned))
            }
        };
        Ok(result(&addresses))
    }

    /// What is asked of the address manager, where no address is named.
    pub(crate) fn wanted(&self) -> Option<AutoAssignRequest> {
        let Wish::Any { v4, v6, v4_pools, v6_pools } = &self.wish else { return None };
        Some(AutoAssignRequest {
            handle: self.handles.first().cloned(),
            attributes: self.attributes.clone(),
            v4_pools: v4_pools.clone(),
            v6_pools: v6_pools.clone(),
            ..AutoAssignRequest::for_workload(&self.node, usize::from(*v4), usize::from(*v6))
        })
    }

    async fn leftovers(&self) -> Result<Vec<Release>, CniError> {
        let Some(handle) = self.handles.first() else { return Ok(Vec::new()) };
        let assigned = match self.ipam.ips_by_handle(handle).await {
            Err(IpamError::Plan(PlanError::NoHandle(_))) => return Ok(Vec::new()),
            assigned => assigned.map_err(|error| bounded::ipam_failed(&error, &error))?,
        };
        let mut found = Vec::new();
        for Assigned { address, .. } in assigned {
            let kept = match self.ipam.lookup(address).await {
                // Released by somebody else just now.
                Err(IpamError::Plan(PlanError::InCooldown(_))) | Ok(None) => continue,
                Err(error) => return Err(bounded::ipam_failed(&error, &error)),
                Ok(Some(kept)) => kept,
            };
            // The same container under another node's name is that node's business.
            if kept.attributes.get("node") == Some(&self.node) {
                let (handle, sequence_number) = (kept.handle, kept.sequence_number);
                found.push(Release { address, handle, sequence_number });
            }
        }
        Ok(found)
    }

    async fn release_exactly(&self, addresses: Vec<Release>) -> Result<(), CniError> {
        let _lock = lock::take(&self.lock).await;
        let released = self.ipam.release_ips(addresses).await;
        let outcome = released.map_err(|error| bounded::ipam_failed(&error, &error))?;
        match outcome.failed.into_iter().next() {
            Some((block, error)) => Err(CniError::internal(format!("block {block}: {error}"))),
            None => Ok(()),
        }
    }

    async fn release(&self) -> Result<(), CniError> {
        let _lock = lock::take(&self.lock).await;
        within(bounded::IPAM, "releasing addresses", self.release_locked()).await
    }

    async fn release_locked(&self) -> Result<(), CniError> {
        // None of the handles known: nothing to give back.
        let released = self.ipam.release_by_handles(self.handles.clone()).await;
        released.map(drop).map_err(|error| bounded::ipam_failed(&error, &error))
    }
}

/// Addresses with the length of their block's prefix.
pub(crate) fn prefixed<'a>(assigned: impl IntoIterator<Item = &'a Assigned>) -> Vec<Prefixed> {
    let prefixed = |assigned: &Assigned| Prefixed { addr: assigned.address, prefix: assigned.block.prefix() };
    assigned.into_iter().map(prefixed).collect()
}

/// What `calico-ipam` answers with these addresses.
pub(crate) fn result(addresses: &[Prefixed]) -> CniResult {
    CniResult {
        ips: addresses
            .iter()
            .map(|address| IpConfig { interface: None, address: *address, gateway: None })
            .collect(),
        routes: addresses.iter().map(|dst| RouteEntry { dst: *dst, gw: None }).collect(),
        ..CniResult::default()
    }
}

/// An error of the address manager in the words of `calico-ipam`.
fn words(error: &IpamError) -> String {
    match error {
        IpamError::Plan(PlanError::Short(short)) => {
            format!("failed to request IPv{} addresses: {short}", short.family.number())
        }
        other => other.to_string(),
    }
}

/// Whether the addresses come from our own address manager.
pub(crate) fn is_own(conf: &NetConf) -> bool {
    conf.ipam.plugin == CALICO_IPAM
}
