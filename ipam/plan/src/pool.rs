//! Pools, and which of them a request may use.

use crate::PlanError;
use crate::request::HostReserved;
use model::net::{Cidr, Family};
use model::v3::{AssignmentMode, IPPoolSpec, PoolUse};
use model::{Kind, Resource};
use selector::{Labels, Selector};
use std::net::IpAddr;

/// What address management needs to know about a pool.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Pool {
    pub(crate) name: String,
    pub(crate) cidr: Cidr,
    /// Prefix length of its blocks.
    pub(crate) block_prefix: u8,
    /// New addresses may be taken.
    pub(crate) enabled: bool,
    pub(crate) node_selector: String,
    namespace_selector: String,
    allowed_uses: Vec<PoolUse>,
    automatic: bool,
}

impl Pool {
    /// Reads a stored pool; `None` for one without a readable CIDR, which no address can be taken from.
    pub(crate) fn read(resource: &Resource) -> Option<Pool> {
        debug_assert_eq!(resource.kind(), Kind::IPPool);
        let spec: IPPoolSpec = resource.typed_spec().ok()?;
        Some(Pool {
            name: resource.name().to_owned(),
            cidr: spec.net().ok()?,
            block_prefix: spec.block_prefix(),
            enabled: resource.is_allocatable_pool(),
            automatic: spec.assignment_mode == AssignmentMode::Automatic,
            node_selector: spec.node_selector,
            namespace_selector: spec.namespace_selector,
            allowed_uses: spec.allowed_uses,
        })
    }

    /// The block of this pool that an address lies in.
    pub(crate) fn block_of(&self, address: IpAddr) -> Option<Cidr> {
        if self.cidr.contains(address) { Cidr::new(address, self.block_prefix) } else { None }
    }

    /// Whether the pool selects a node, by its labels.
    pub(crate) fn selects_node(&self, labels: &impl Labels) -> Result<bool, PlanError> {
        self.selects("nodeSelector", &self.node_selector, labels)
    }

    /// Whether every node is selected, so that its labels need not be known.
    pub(crate) fn selects_every_node(&self) -> bool {
        is_everything(&self.node_selector)
    }

    fn selects(&self, field: &'static str, text: &str, labels: &impl Labels) -> Result<bool, PlanError> {
        if is_everything(text) {
            return Ok(true);
        }
        let selector = Selector::parse(text).map_err(|e| PlanError::Selector {
            pool: self.name.clone(),
            field,
            text: text.to_owned(),
            reason: e.to_string(),
        })?;
        Ok(selector.matches(labels))
    }

    /// Refuses a use the pool does not allow.
    pub(crate) fn check_use(&self, address: IpAddr, intended: PoolUse) -> Result<(), PlanError> {
        if self.allowed_uses.contains(&intended) {
            return Ok(());
        }
        let allowed: Vec<&str> = self.allowed_uses.iter().map(|allowed| allowed.as_str()).collect();
        Err(PlanError::UseNotAllowed {
            address,
            pool: self.name.clone(),
            intended,
            allowed: allowed.join(" "),
        })
    }
}

/// Whether a selector needs no labels to hold.
fn is_everything(selector: &str) -> bool {
    matches!(selector.trim(), "" | "all()")
}

/// The enabled pool an address lies in.
pub(crate) fn enabled_pool_of(pools: &[Pool], address: IpAddr) -> Option<&Pool> {
    pools.iter().find(|pool| pool.enabled && pool.cidr.contains(address))
}

/// Who asks, as far as pools look at it.
pub(crate) struct Asker<'a, N, S> {
    /// Name for messages.
    pub(crate) name: &'a str,
    /// Labels of its node; none for owners that are not nodes.
    pub(crate) node_labels: Option<&'a N>,
    /// Labels of the workload's namespace.
    pub(crate) namespace_labels: &'a S,
    pub(crate) intended: PoolUse,
    /// What it keeps of each IPv4 block.
    pub(crate) host_reserved: Option<&'a HostReserved>,
}

/// The pools of a family that a request may use, in listing order: `ipam.md` §3 of the contract.
pub(crate) fn select<N: Labels, S: Labels>(
    pools: &[Pool],
    family: Family,
    named: &[Cidr],
    asker: &Asker<'_, N, S>,
) -> Result<Vec<Pool>, PlanError> {
    let enabled: Vec<&Pool> =
        pools.iter().filter(|pool| pool.enabled && pool.cidr.family() == family).collect();
    let longest = match asker.host_reserved {
        Some(kept) if family == Family::V4 => kept.longest_prefix(family.bits()),
        _ => family.bits(),
    };
    let qualified: Vec<&Pool> = enabled.iter().copied().filter(|pool| pool.block_prefix <= longest).collect();
    if qualified.is_empty() {
        return Err(PlanError::NoQualifiedPool);
    }
    if !named.is_empty() {
        let of_cidr =
            |cidr: &Cidr| qualified.iter().find(|pool| pool.cidr == *cidr).map(|pool| (*pool).clone());
        let chosen = named.iter().map(|cidr| of_cidr(cidr).ok_or(PlanError::PoolNotEnabled(*cidr)));
        return of_use(chosen.collect::<Result<_, _>>()?, asker.intended);
    }
    let mut chosen = Vec::new();
    for pool in enabled.into_iter().filter(|pool| pool.automatic) {
        let node = match asker.node_labels {
            Some(labels) => pool.selects_node(labels)?,
            None => true,
        };
        if node && pool.selects("namespaceSelector", &pool.namespace_selector, asker.namespace_labels)? {
            chosen.push(pool.clone());
        }
    }
    if chosen.is_empty() {
        return Err(PlanError::NoPoolForNode(asker.name.to_owned()));
    }
    of_use(chosen, asker.intended)
}

fn of_use(mut pools: Vec<Pool>, intended: PoolUse) -> Result<Vec<Pool>, PlanError> {
    pools.retain(|pool| pool.allowed_uses.contains(&intended));
    if pools.is_empty() { Err(PlanError::NoPoolForUse(intended)) } else { Ok(pools) }
}
