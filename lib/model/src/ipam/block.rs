//! An allocation block: a piece of a pool, and who has which address in it.

use super::{time, to_bytes, unreadable};
use crate::key::{Key, Owner};
use crate::net::Cidr;
use crate::resource::StoredError;
use jiff::Timestamp;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::{Map, Value};
use std::collections::BTreeMap;

/// What addresses of a block share: the handle they were asked for under, and notes about their owner.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Attribute {
    /// The handle, if there is one.
    #[serde(rename = "handle_id", default, skip_serializing_if = "Option::is_none")]
    pub handle: Option<String>,
    /// Notes about the active owner.
    #[serde(default, deserialize_with = "null_is_empty", skip_serializing_if = "BTreeMap::is_empty")]
    pub secondary: BTreeMap<String, String>,
    /// Notes about the owner that a live migration moves to.
    #[serde(
        rename = "alternateOwnerAttrs",
        default,
        deserialize_with = "null_is_empty",
        skip_serializing_if = "BTreeMap::is_empty"
    )]
    pub alternate: BTreeMap<String, String>,
    /// When the address was released: it is cooling down and belongs to nobody.
    #[serde(rename = "releasedAt", default, with = "time", skip_serializing_if = "Option::is_none")]
    pub released_at: Option<Timestamp>,
    /// Fields we do not know.
    #[serde(flatten)]
    pub rest: Map<String, Value>,
}

/// Value of a block key.
///
/// Ordinal = place of an address in the block, from 0.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "Wire")]
pub struct AllocationBlock {
    /// The block.
    #[serde(serialize_with = "as_text")]
    pub cidr: Cidr,
    /// Owner as text (`host:<node>`, `virtual:<name>`); none for a block that outlived its owner.
    pub affinity: Option<String>,
    /// When the owner claimed it.
    #[serde(with = "time", skip_serializing_if = "Option::is_none")]
    pub affinity_claim_time: Option<Timestamp>,
    /// Ordinal → place in `attributes`, or none for a free address. As long as the block is large.
    pub allocations: Vec<Option<usize>>,
    /// Free ordinals, the next to give out first.
    pub unallocated: Vec<usize>,
    /// What allocated addresses refer to.
    pub attributes: Vec<Attribute>,
    /// Grows by one with every update; a new block begins at the current unix nanoseconds.
    #[serde(rename = "sequenceNumber")]
    pub sequence_number: u64,
    /// Ordinal → the block's sequence number when it was allocated. May lack old allocations.
    #[serde(rename = "sequenceNumberForAllocation")]
    pub sequence_for: BTreeMap<usize, u64>,
    /// Only meaningful in the Kubernetes datastore.
    pub deleted: bool,
    /// Fields we do not know.
    #[serde(flatten)]
    pub rest: Map<String, Value>,
}

/// The value as it may be found: fields of old releases, nulls for lists, gaps.
#[derive(Deserialize)]
struct Wire {
    cidr: String,
    #[serde(default)]
    affinity: Option<String>,
    /// Owner's bare name; written by old releases instead of `affinity`.
    #[serde(default, rename = "hostAffinity")]
    host_affinity: Option<String>,
    #[serde(default, with = "time")]
    affinity_claim_time: Option<Timestamp>,
    #[serde(default, deserialize_with = "null_is_empty")]
    allocations: Vec<Option<usize>>,
    #[serde(default, deserialize_with = "null_is_empty")]
    unallocated: Vec<usize>,
    #[serde(default, deserialize_with = "null_is_empty")]
    attributes: Vec<Attribute>,
    #[serde(default, rename = "sequenceNumber")]
    sequence_number: u64,
    #[serde(default, rename = "sequenceNumberForAllocation", deserialize_with = "null_is_empty")]
    sequence_for: BTreeMap<usize, u64>,
    #[serde(default)]
    deleted: bool,
    #[serde(flatten)]
    rest: Map<String, Value>,
}

impl TryFrom<Wire> for AllocationBlock {
    type Error = String;

    fn try_from(wire: Wire) -> Result<Self, String> {
        let cidr = Cidr::parse_masked(&wire.cidr).map_err(|e| format!("cidr: {e}"))?;
        let size = size_of(&cidr).ok_or_else(|| format!("cidr: {cidr} is too large for a block"))?;
        let mut rest = wire.rest;
        // the per-block flag of old releases; strictness is a setting of the cluster now
        rest.shift_remove("strictAffinity");
        let affinity = wire.affinity.filter(|a| !a.is_empty());
        let mut block = AllocationBlock {
            cidr,
            affinity: affinity.or_else(|| {
                wire.host_affinity.filter(|h| !h.is_empty()).map(|h| Owner::Host(h).affinity_text())
            }),
            affinity_claim_time: wire.affinity_claim_time,
            allocations: wire.allocations,
            unallocated: wire.unallocated,
            attributes: wire.attributes,
            sequence_number: wire.sequence_number,
            sequence_for: wire.sequence_for,
            deleted: wire.deleted,
            rest,
        };
        block.allocations.resize(size, None);
        block.mend();
        Ok(block)
    }
}

impl AllocationBlock {
    /// Largest block we read: a /12 of IPv4. Calico's largest is a /20; the rest is room for hand-made data, and a
    /// guard against a value that would make us allocate without bound.
    pub const MAX_SIZE: usize = 1 << 20;

    /// A new block with every address free; `None` when `cidr` is too large to be a block.
    pub fn new(
        cidr: Cidr,
        owner: Option<&Owner>,
        claimed: Option<Timestamp>,
        sequence_number: u64,
    ) -> Option<Self> {
        let size = size_of(&cidr)?;
        Some(Self {
            cidr,
            affinity: owner.map(Owner::affinity_text),
            affinity_claim_time: claimed,
            allocations: vec![None; size],
            unallocated: (0..size).collect(),
            attributes: Vec::new(),
            sequence_number,
            sequence_for: BTreeMap::new(),
            deleted: false,
            rest: Map::new(),
        })
    }

    /// Reads a stored value; zero bytes are a block that nobody owns or uses.
    pub fn decode(cidr: &Cidr, value: &[u8]) -> Result<Self, StoredError> {
        let key = Key::Block(*cidr);
        if value.is_empty() {
            return Self::new(*cidr, None, None, 0)
                .ok_or_else(|| StoredError { key: key.path(), reason: "too large for a block".into() });
        }
        let block: Self = serde_json::from_slice(value).map_err(|e| unreadable(&key, &e))?;
        if block.cidr != *cidr {
            return Err(StoredError {
                key: key.path(),
                reason: format!("the value is that of block {}", block.cidr),
            });
        }
        Ok(block)
    }

    /// The value to store.
    pub fn encode(&self) -> Vec<u8> {
        to_bytes(self)
    }

    /// Number of addresses.
    pub fn size(&self) -> usize {
        self.allocations.len()
    }

    /// The owner, if there is one whose text we understand.
    pub fn owner(&self) -> Option<Owner> {
        self.affinity.as_deref().and_then(Owner::parse_affinity)
    }

    /// What is noted for an ordinal; none when it is free.
    pub fn attribute(&self, ordinal: usize) -> Option<&Attribute> {
        let index = (*self.allocations.get(ordinal)?)?;
        self.attributes.get(index)
    }

    /// Whatever hand-made or damaged data says, no reader of this type may give an address out twice or stumble over
    /// an index: an ordinal is free when it is in `unallocated` once and has no allocation.
    fn mend(&mut self) {
        let mut seen = vec![false; self.allocations.len()];
        let allocations = &self.allocations;
        self.unallocated.retain(|ordinal| match (allocations.get(*ordinal), seen.get_mut(*ordinal)) {
            (Some(None), Some(seen)) if !*seen => {
                *seen = true;
                true
            }
            _ => false,
        });
        let known = self.attributes.len();
        let mut lost = false;
        for slot in self.allocations.iter_mut().flatten().filter(|index| **index >= known) {
            *slot = known;
            lost = true;
        }
        if lost {
            self.attributes.push(Attribute::default());
        }
    }
}

fn size_of(cidr: &Cidr) -> Option<usize> {
    usize::try_from(cidr.size()).ok().filter(|size| *size <= AllocationBlock::MAX_SIZE)
}

fn as_text<S: Serializer>(cidr: &Cidr, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(cidr)
}

fn null_is_empty<'de, D: Deserializer<'de>, T: Default + Deserialize<'de>>(
    deserializer: D,
) -> Result<T, D::Error> {
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}
