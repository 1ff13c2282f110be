//! Status files of local workloads: the neighbours of `localWorkloadSelector`.
//! Source: `bgp.md` §4.3, `felix.md` §8 (endpoint-status files) of the contract.

use serde::Deserialize;
use std::net::IpAddr;

/// What an endpoint-status file says that matters to BGP. The file exists while the endpoint is up.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct WorkloadStatus {
    /// Host side of the workload's interface.
    pub iface_name: String,
    /// Its IPv4 addresses as /32.
    pub ipv4_nets: Vec<String>,
    /// Its IPv6 addresses as /128.
    pub ipv6_nets: Vec<String>,
    /// The BGPPeer whose `localWorkloadSelector` picks it; empty for none.
    pub bgp_peer_name: String,
}

impl WorkloadStatus {
    /// Reads a file's content.
    ///
    /// # Errors
    /// What is wrong with it as JSON.
    pub fn parse(content: &[u8]) -> Result<Self, serde_json::Error> {
        serde_json::from_slice(content)
    }

    /// The first address of each family that can be read.
    pub(crate) fn addresses(&self) -> impl Iterator<Item = IpAddr> {
        let first = |nets: &[String], v4: bool| {
            nets.iter().find_map(|net| {
                let addr: IpAddr = net.split('/').next()?.parse().ok()?;
                (addr.is_ipv4() == v4).then_some(addr)
            })
        };
        first(&self.ipv4_nets, true).into_iter().chain(first(&self.ipv6_nets, false))
    }
}
