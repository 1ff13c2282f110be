//! What every operation looks at first: settings, pools, reservations.

use crate::PlanError;
use crate::plan::Port;
use crate::pool::Pool;
use crate::reservations::Reservations;
use crate::workspace::pairs;
use model::ipam::IpamConfig;
use model::key::{Key, block_prefix, resource_prefix};
use model::net::{Cidr, Family};
use model::v3::IPReservationSpec;
use model::{Kind, Resource};
use mvcc::{KeyValue, OpResponse, RangeRequest};
use std::collections::BTreeMap;
use std::net::IpAddr;

/// Settings and pools as of one revision.
#[derive(Debug, Clone)]
pub(crate) struct Scene {
    pub(crate) config: IpamConfig,
    /// All pools, enabled or not, in listing order.
    pub(crate) pools: Vec<Pool>,
    pub(crate) reserved: Reservations,
}

/// How many reads [`Scene::reads`] asks for.
pub(crate) const READS: usize = 3;

impl Scene {
    /// What has to be read for it.
    pub(crate) fn reads() -> [RangeRequest; READS] {
        [
            RangeRequest::key(Key::IpamConfig.path()),
            RangeRequest::prefix(resource_prefix(Kind::IPPool, None)),
            RangeRequest::prefix(resource_prefix(Kind::IPReservation, None)),
        ]
    }

    /// Reads the scene, and `others` at the same revision; the answers to these come back in their order.
    pub(crate) async fn read(
        port: &Port,
        others: Vec<RangeRequest>,
    ) -> Result<(Scene, Vec<OpResponse>), PlanError> {
        let answer = port.read(Self::reads().into_iter().chain(others).collect()).await;
        let mut responses = answer.responses;
        let rest = responses.split_off(READS.min(responses.len()));
        Ok((Scene::of(&responses)?, rest))
    }

    /// The scene by the answers to [`Scene::reads`].
    pub(crate) fn of(responses: &[OpResponse]) -> Result<Scene, PlanError> {
        let config = match pairs(responses, 0).first() {
            Some(stored) => IpamConfig::decode(&stored.value)?,
            None => IpamConfig::default(),
        };
        let pools =
            pairs(responses, 1).iter().filter_map(|kv| Pool::read(&resource(Kind::IPPool, kv)?)).collect();
        let reserved = pairs(responses, 2)
            .iter()
            .filter_map(|kv| resource(Kind::IPReservation, kv)?.typed_spec::<IPReservationSpec>().ok())
            .flat_map(|spec| spec.nets().collect::<Vec<Cidr>>())
            .collect();
        Ok(Scene { config, pools, reserved })
    }

    /// The pool an address lies in, enabled or not.
    pub(crate) fn pool_of(&self, address: IpAddr) -> Option<&Pool> {
        self.pools.iter().find(|pool| pool.cidr.contains(address))
    }
}

/// A stored resource; as when listing elsewhere, one that cannot be read is left out.
pub(crate) fn resource(kind: Kind, stored: &KeyValue) -> Option<Resource> {
    serde_json::from_slice(&stored.value).ok().map(|object| Resource::from_object(kind, object))
}

/// Labels of a stored node.
pub(crate) fn labels(stored: &KeyValue) -> BTreeMap<String, String> {
    resource(Kind::Node, stored)
        .map(|node| node.labels().map(|(key, value)| (key.to_owned(), value.to_owned())).collect())
        .unwrap_or_default()
}

/// The CIDRs of all blocks of a family, in the order of their keys. Reads no values.
pub(crate) async fn block_cidrs(port: &Port, family: Family) -> Vec<Cidr> {
    let request = RangeRequest { keys_only: true, ..RangeRequest::prefix(block_prefix(family)) };
    let answer = port.read(vec![request]).await;
    pairs(&answer.responses, 0).iter().filter_map(|kv| block_cidr(&kv.key)).collect()
}

/// The block a key is of.
pub(crate) fn block_cidr(key: &[u8]) -> Option<Cidr> {
    match Key::parse(std::str::from_utf8(key).ok()?)? {
        Key::Block(cidr) => Some(cidr),
        _ => None,
    }
}

/// The block of an affinity key.
pub(crate) fn affinity_cidr(key: &[u8]) -> Option<Cidr> {
    match Key::parse(std::str::from_utf8(key).ok()?)? {
        Key::Affinity(_, cidr) => Some(cidr),
        _ => None,
    }
}
