//! Calico's standing rules around the filters: what is taken, sent, aggregated and programmed without anybody asking.
//! Source: `bgp.md` §5, §6, §7, §9 of the contract.

use crate::configuration::{Advertisement, ClusterRoutes};
use crate::pool::PoolFacts;
use bgp_rib::policy::{Condition, Operation, PrefixMatch, Rule, Verdict};
use bgp_wire::{Family, Prefix};
use model::v3::EncapMode;
use std::collections::BTreeMap;

/// `LOCAL_PREF` of a route is this less its metric.
const PRIORITY_BASE: u32 = 2_147_483_647;
/// Preference of routes of elevated priority, above that of the node's own routes.
const OVERRIDE: u32 = 200;
/// Devices whose routes lead to other nodes' blocks: what is learnt through them is not told on inside.
const CLUSTER_DEVICES: [&str; 2] = ["*.cali", "*.calico"];
/// Device of IP in IP.
const IPIP_DEVICE: &str = "tunl0";
/// Devices of the eBPF dataplane.
const BPF_DEVICES: &str = "bpf*.cali";

/// What the standing rules of one family are made of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Standing<'a> {
    pub(crate) family: Family,
    /// Metric of ordinary routes.
    pub(crate) normal_priority: u32,
    pub(crate) cluster_routes: ClusterRoutes,
    /// Pools of this family.
    pub(crate) pools: Vec<&'a PoolFacts>,
    /// This node's blocks of this family; whether they are aggregated, which only confirmed ones are.
    pub(crate) blocks: BTreeMap<Prefix, bool>,
    /// Advertisements of this family, and the resource they stand in.
    pub(crate) advertisements: Vec<&'a Advertisement>,
    pub(crate) advertised_by: String,
    /// The network this node is in.
    pub(crate) subnet: Option<Prefix>,
    /// Addresses of other nodes that WireGuard leads to; empty where this node has none itself.
    pub(crate) wireguard_peers: Vec<Prefix>,
}

impl Standing<'_> {
    /// What follows the filters on import.
    pub(crate) fn import(&self) -> Vec<Rule> {
        let elevated = Condition::LocalPrefAbove(PRIORITY_BASE - self.normal_priority);
        vec![step("elevated priority is preferred", vec![elevated], vec![Operation::Prefer(OVERRIDE)])]
    }

    /// What comes before the filters on export.
    pub(crate) fn before_export(&self) -> Vec<Rule> {
        vec![step(
            "LOCAL_PREF follows priority",
            Vec::new(),
            vec![Operation::DerivePriority(self.normal_priority)],
        )]
    }

    /// What follows the filters on export.
    pub(crate) fn export(&self) -> Vec<Rule> {
        let mut rules = Vec::new();
        for pool in self.pools.iter().filter(|pool| !pool.exported) {
            let name = format!("IPPool {}: disableBGPExport", pool.name);
            rules.push(decide(name, vec![inside(pool.prefix)], Verdict::Reject));
        }
        let mut devices: Vec<String> = CLUSTER_DEVICES.map(str::to_owned).to_vec();
        if !self.cluster_routes.ipip {
            devices.push(IPIP_DEVICE.to_owned());
        }
        let through_cluster = vec![Condition::External(false), Condition::Interface(devices)];
        rules.push(decide("cluster routes are not told on inside the AS", through_cluster, Verdict::Reject));
        let through_bpf = vec![Condition::Interface(vec![BPF_DEVICES.to_owned()])];
        rules.push(decide("routes of the eBPF dataplane stay here", through_bpf, Verdict::Reject));
        rules.extend(self.advertisements.iter().map(|advertisement| {
            let operations = advertisement.communities.iter().copied().map(Operation::AddCommunity).collect();
            let name = format!("{}: prefixAdvertisements {}", self.advertised_by, advertisement.prefix);
            step(name, vec![inside(advertisement.prefix)], operations)
        }));
        for (block, _) in self.blocks.iter().filter(|(_, aggregated)| **aggregated) {
            let elevated = vec![inside(*block), Condition::MetricBelow(self.normal_priority)];
            let exactly =
                Condition::Prefix(vec![PrefixMatch { prefix: *block, min: block.len(), max: block.len() }]);
            rules.push(decide(format!("block {block} of this node"), vec![exactly], Verdict::Accept));
            rules.push(decide(
                format!("block {block} of this node: elevated priority"),
                elevated,
                Verdict::Accept,
            ));
            rules.push(decide(
                format!("block {block} of this node: aggregated"),
                vec![inside(*block)],
                Verdict::Reject,
            ));
        }
        for pool in self.pools.iter().filter(|pool| pool.exported) {
            rules.push(decide(
                format!("IPPool {}: exported", pool.name),
                vec![inside(pool.prefix)],
                Verdict::Accept,
            ));
        }
        rules.push(decide("outside of every IPPool", Vec::new(), Verdict::Reject));
        rules
    }

    /// What is put into the kernel, and how.
    pub(crate) fn kernel(&self) -> Vec<Rule> {
        let by_bgp = || Condition::LearntByBgp(true);
        let mut rules = vec![
            step(
                "metric follows LOCAL_PREF",
                vec![by_bgp()],
                vec![Operation::DerivePriority(self.normal_priority)],
            ),
            step(
                "elevated priority is preferred",
                vec![by_bgp(), Condition::MetricBelow(self.normal_priority)],
                vec![Operation::Prefer(OVERRIDE)],
            ),
        ];
        if !self.wireguard_peers.is_empty() {
            let through = vec![Condition::NextHop(self.wireguard_peers.clone())];
            rules.push(decide("WireGuard: Felix programs routes to this node", through, Verdict::Reject));
        }
        for pool in &self.pools {
            rules.extend(self.kernel_of(pool));
        }
        rules
    }

    /// The kernel's rules of one pool. IPv4 needs to know the local network; IPv6 pools are only ever held back.
    fn kernel_of(&self, pool: &PoolFacts) -> Vec<Rule> {
        let v4 = self.family == Family::Ipv4Unicast;
        let of = |what: &str| format!("IPPool {}: {what}", pool.name);
        let here = || vec![inside(pool.prefix)];
        let reject = |what: &str| vec![decide(of(what), here(), Verdict::Reject)];
        let accept = |what: &str| vec![decide(of(what), here(), Verdict::Accept)];
        let subnet = match self.subnet {
            Some(subnet) => Some(subnet),
            None if v4 => return Vec::new(),
            None => None,
        };
        if pool.vxlan != EncapMode::Never {
            return reject("VXLAN routes are Felix's");
        }
        let encapsulated = pool.ipip != EncapMode::Never;
        match (encapsulated, self.cluster_routes) {
            (true, ClusterRoutes { ipip: false, .. }) => reject("IP in IP routes are Felix's"),
            (false, ClusterRoutes { no_encap: false, .. }) => reject("cluster routes are Felix's"),
            _ if !v4 => Vec::new(),
            (false, _) => accept("not encapsulated"),
            (true, _) => {
                let mut rules = Vec::new();
                if let (EncapMode::CrossSubnet, Some(subnet)) = (pool.ipip, subnet) {
                    let near = vec![inside(pool.prefix), Condition::NextHop(vec![subnet])];
                    rules.push(decide(of("next hop in the local subnet"), near, Verdict::Accept));
                }
                rules.push(Rule {
                    operations: vec![Operation::Tunnel(IPIP_DEVICE.to_owned())],
                    ..decide(of("IP in IP"), here(), Verdict::Accept)
                });
                rules
            }
        }
    }
}

fn inside(prefix: Prefix) -> Condition {
    Condition::Prefix(vec![PrefixMatch { prefix, min: prefix.len(), max: prefix.family().bits() }])
}

fn step(name: impl AsRef<str>, conditions: Vec<Condition>, operations: Vec<Operation>) -> Rule {
    Rule { name: name.as_ref().into(), conditions, operations, verdict: None }
}

fn decide(name: impl AsRef<str>, conditions: Vec<Condition>, verdict: Verdict) -> Rule {
    Rule { name: name.as_ref().into(), conditions, operations: Vec::new(), verdict: Some(verdict) }
}
