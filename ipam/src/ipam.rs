//! The operations, each one plan carried out.

use crate::IpamError;
use crate::carry::carry;
use datastore::Datastore;
use ipam_plan::{
    AssignIpRequest, Assigned, AutoAssignOutcome, AutoAssignRequest, ClaimOutcome, EnsureBlockRequest,
    EnsuredBlocks, Lookup, OwnerChange, Plan, PlanError, PoolUtilization, Release, ReleaseOutcome,
};
use model::ipam::{AllocationBlock, IpamConfig};
use model::key::Owner;
use model::net::Cidr;
use std::net::IpAddr;
use std::sync::Arc;

/// The address manager over a datastore. Cheap to clone; keeps no state of its own, so any number may work at once, on
/// any number of hosts, beside Calico's.
#[derive(Clone)]
pub struct Ipam {
    store: Arc<dyn Datastore>,
}

impl Ipam {
    /// An address manager over `store`.
    pub fn new(store: Arc<dyn Datastore>) -> Self {
        Self { store }
    }

    async fn run<T>(&self, plan: Plan<Result<T, PlanError>>) -> Result<T, IpamError> {
        carry(self.store.as_ref(), plan).await
    }

    /// Assigns addresses from the owner's blocks, claiming, taking over or borrowing as the settings allow
    /// (`ipam.md` §4, §5 of the contract). Both families and the handle are written in one transaction; with a block
    /// at hand that takes two reads and one write, one after another.
    pub async fn auto_assign(&self, request: AutoAssignRequest) -> Result<AutoAssignOutcome, IpamError> {
        self.run(ipam_plan::auto_assign(request)).await
    }

    /// Assigns one given address (`ipam.md` §6).
    pub async fn assign_ip(&self, request: AssignIpRequest) -> Result<Assigned, IpamError> {
        self.run(ipam_plan::assign_ip(request)).await
    }

    /// Has a node have a block of each family asked for, claiming one where it has none with an address free
    /// (`ipam.md` §5.5).
    pub async fn ensure_block(&self, request: EnsureBlockRequest) -> Result<EnsuredBlocks, IpamError> {
        self.run(ipam_plan::ensure_block(request)).await
    }

    /// Changes who is noted to use an address, such as at the end of a live migration (`ipam.md` §8).
    pub async fn change_owner(&self, change: OwnerChange) -> Result<(), IpamError> {
        self.run(ipam_plan::change_owner(change)).await
    }

    /// Gives addresses back (`ipam.md` §7.2).
    pub async fn release_ips(&self, releases: Vec<Release>) -> Result<ReleaseOutcome, IpamError> {
        self.run(ipam_plan::release_ips(releases)).await
    }

    /// Gives back all addresses of a handle and returns them (`ipam.md` §7.3); [`PlanError::NoHandle`] if it has
    /// none.
    pub async fn release_by_handle(&self, handle: &str) -> Result<Vec<IpAddr>, IpamError> {
        let released = self.release_by_handles(vec![handle.to_owned()]).await?;
        match released {
            Some(released) => Ok(released),
            None => Err(PlanError::NoHandle(handle.to_owned()).into()),
        }
    }

    /// Gives back all addresses of several handles in one go; `None` if none of them exists.
    pub async fn release_by_handles(&self, handles: Vec<String>) -> Result<Option<Vec<IpAddr>>, IpamError> {
        self.run(ipam_plan::release_by_handles(handles)).await
    }

    /// Addresses kept under a handle; [`PlanError::NoHandle`] if it does not exist.
    pub async fn ips_by_handle(&self, handle: &str) -> Result<Vec<Assigned>, IpamError> {
        self.run(ipam_plan::ips_by_handle(handle.to_owned())).await
    }

    /// Gives up all of a node's blocks, of both families (`ipam.md` §7.5). Blocks in use stay without an owner, or, if
    /// they `must_be_empty`, stay as they are and the first is named in the error after the rest is done.
    pub async fn release_host_affinities(&self, host: &str, must_be_empty: bool) -> Result<(), IpamError> {
        self.run(ipam_plan::release_host_affinities(host.to_owned(), must_be_empty)).await
    }

    /// Takes all blocks of a pool from their nodes (`ipam.md` §7.5); for a pool that is about to go.
    pub async fn release_pool_affinities(&self, pool: Cidr) -> Result<(), IpamError> {
        self.run(ipam_plan::release_pool_affinities(pool)).await
    }

    /// Forgets a node: its affinities, and the marker old releases wrote (`ipam.md` §7.5).
    pub async fn remove_host(&self, host: &str) -> Result<(), IpamError> {
        self.run(ipam_plan::remove_host(host.to_owned())).await
    }

    /// Claims every block of a range (`ipam.md` §5.5).
    pub async fn claim_affinity(&self, owner: Owner, range: Cidr) -> Result<ClaimOutcome, IpamError> {
        self.run(ipam_plan::claim_affinity(owner, range)).await
    }

    /// Gives up every block of a range (`ipam.md` §5.5).
    pub async fn release_affinity(
        &self,
        owner: Owner,
        range: Cidr,
        must_be_empty: bool,
    ) -> Result<(), IpamError> {
        self.run(ipam_plan::release_affinity(owner, range, must_be_empty)).await
    }

    /// The settings in force; reading never writes them (`ipam.md` §2).
    pub async fn config(&self) -> Result<IpamConfig, IpamError> {
        self.run(ipam_plan::config()).await
    }

    /// Changes the settings, after checking that they agree with each other.
    pub async fn set_config(&self, config: IpamConfig) -> Result<(), IpamError> {
        self.run(ipam_plan::set_config(config)).await
    }

    /// How full pools are (`ipam.md` §13): those named by name or CIDR, in listing order; with none named all of them,
    /// and blocks outside every pool.
    pub async fn utilization(&self, pools: Vec<String>) -> Result<Vec<PoolUtilization>, IpamError> {
        self.run(ipam_plan::utilization(pools)).await
    }

    /// Who has an address; none if it is free, [`PlanError::InCooldown`] if it waits.
    pub async fn lookup(&self, address: IpAddr) -> Result<Option<Lookup>, IpamError> {
        self.run(ipam_plan::lookup(address)).await
    }

    /// All blocks, in the order of their keys, IPv4 first.
    pub async fn blocks(&self) -> Result<Vec<AllocationBlock>, IpamError> {
        self.run(ipam_plan::blocks()).await
    }
}
