//! Signatures other parts build on; the bodies follow.
#![allow(clippy::unimplemented)]

use crate::*;
use model::ipam::{AllocationBlock, IpamConfig};
use model::key::Owner;
use model::net::Cidr;
use std::net::IpAddr;

macro_rules! later {
    ($($name:ident($($arg:ident: $ty:ty),*) -> $out:ty;)*) => {$(
        /// Follows.
        pub fn $name($($arg: $ty),*) -> Plan<Result<$out, PlanError>> {
            $(let _ = $arg;)*
            unimplemented!()
        }
    )*};
}

later! {
    auto_assign(request: AutoAssignRequest) -> AutoAssignOutcome;
    assign_ip(request: AssignIpRequest) -> Assigned;
    release_ips(releases: Vec<Release>) -> ReleaseOutcome;
    release_by_handles(handles: Vec<String>) -> Option<Vec<IpAddr>>;
    ips_by_handle(handle: String) -> Vec<Assigned>;
    release_host_affinities(host: String, must_be_empty: bool) -> ();
    release_pool_affinities(pool: Cidr) -> ();
    remove_host(host: String) -> ();
    claim_affinity(owner: Owner, range: Cidr) -> ClaimOutcome;
    release_affinity(owner: Owner, range: Cidr, must_be_empty: bool) -> ();
    config() -> IpamConfig;
    set_config(config: IpamConfig) -> ();
    utilization(pools: Vec<String>) -> Vec<PoolUtilization>;
    lookup(address: IpAddr) -> Option<Lookup>;
    blocks() -> Vec<AllocationBlock>;
}
