//! What matters of an IPPool. Source: `bgp.md` §6, §9 of the contract.

use crate::reading::{Absent, Reading, of_cidr};
use bgp_wire::Prefix;
use model::Resource;
use model::v3::{EncapMode, IPPoolSpec};

/// A pool; whether it is disabled does not matter here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct PoolFacts {
    pub(crate) name: String,
    pub(crate) prefix: Prefix,
    pub(crate) vxlan: EncapMode,
    pub(crate) ipip: EncapMode,
    pub(crate) exported: bool,
}

impl PoolFacts {
    pub(crate) fn read(resource: &Resource, reading: &mut Reading) -> Result<Self, Absent> {
        let spec: IPPoolSpec = reading.spec(resource)?;
        match spec.net().ok().and_then(of_cidr) {
            Some(prefix) => Ok(PoolFacts {
                name: resource.name().to_owned(),
                prefix,
                vxlan: spec.vxlan_mode,
                ipip: spec.ipip_mode,
                exported: !spec.disable_bgp_export,
            }),
            None => reading.refuse("spec.cidr", spec.cidr, "is no CIDR: write one such as 10.0.0.0/16"),
        }
    }
}
