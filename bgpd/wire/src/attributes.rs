//! The attributes of a route, in one small value: a set is kept once for all routes that share it, so its size and the
//! cost of comparing it count a million times.

use crate::as_path::AsPath;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::LazyLock;

/// ORIGIN (RFC 4271 §5.1.1), best first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub enum Origin {
    /// 0.
    #[default]
    Igp,
    /// 1.
    Egp,
    /// 2.
    Incomplete,
}

impl Origin {
    /// The value of this octet.
    pub fn from_number(number: u8) -> Option<Self> {
        match number {
            0 => Some(Origin::Igp),
            1 => Some(Origin::Egp),
            2 => Some(Origin::Incomplete),
            _ => None,
        }
    }

    /// Its octet on the wire.
    pub fn number(self) -> u8 {
        match self {
            Origin::Igp => 0,
            Origin::Egp => 1,
            Origin::Incomplete => 2,
        }
    }
}

/// AGGREGATOR (RFC 4271 §5.1.7).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Aggregator {
    /// The AS that aggregated.
    pub asn: u32,
    /// Its speaker.
    pub router_id: Ipv4Addr,
}

/// An optional transitive attribute we do not know: passed on with the partial bit set (RFC 4271 §9), which is set as soon
/// as it has been read.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct UnknownAttribute {
    /// Attribute type code.
    pub code: u8,
    /// The flags as received; the bit for extended length is not among them.
    pub flags: u8,
    /// Its value.
    pub value: Box<[u8]>,
}

/// What few routes have, apart, so that the others stay small.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct RareAttributes {
    /// Link-local next hop beside the global one (RFC 2545 §3).
    pub link_local: Option<Ipv6Addr>,
    /// AGGREGATOR.
    pub aggregator: Option<Aggregator>,
    /// ORIGINATOR_ID (RFC 4456 §8).
    pub originator_id: Option<Ipv4Addr>,
    /// CLUSTER_LIST (RFC 4456 §8), nearest first.
    pub cluster_list: Box<[Ipv4Addr]>,
    /// Extended communities (RFC 4360), each its eight octets.
    pub extended_communities: Box<[u64]>,
    /// Large communities (RFC 8092), without duplicates.
    pub large_communities: Box<[[u32; 3]]>,
    /// Unknown optional transitive attributes, in the order they came.
    pub unknown: Box<[UnknownAttribute]>,
    /// Known attributes that somebody on the way did not know: their partial bit stays (RFC 4271 §5). One bit each, see
    /// `table::partial_bit`.
    pub(crate) partial: u8,
}

static NOTHING_RARE: LazyLock<RareAttributes> = LazyLock::new(RareAttributes::default);

/// The attributes of a route. Equal sets compare and hash equal however they were made.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Attributes {
    /// ORIGIN.
    pub origin: Origin,
    /// ATOMIC_AGGREGATE is present.
    pub atomic_aggregate: bool,
    /// NEXT_HOP, or the (global) next hop of MP_REACH_NLRI.
    pub next_hop: IpAddr,
    /// MULTI_EXIT_DISC.
    pub med: Option<u32>,
    /// LOCAL_PREF.
    pub local_pref: Option<u32>,
    /// AS_PATH.
    pub as_path: AsPath,
    /// Communities (RFC 1997), as they came.
    pub communities: Box<[u32]>,
    /// `None` exactly when nothing is in it.
    rare: Option<Box<RareAttributes>>,
}

impl Attributes {
    /// A set of the mandatory ones.
    pub fn new(origin: Origin, as_path: AsPath, next_hop: IpAddr) -> Self {
        Attributes {
            origin,
            atomic_aggregate: false,
            next_hop,
            med: None,
            local_pref: None,
            as_path,
            communities: Box::default(),
            rare: None,
        }
    }

    /// What few routes have.
    pub fn rare(&self) -> &RareAttributes {
        self.rare.as_deref().unwrap_or(&NOTHING_RARE)
    }

    /// Changes what few routes have.
    pub fn edit_rare(&mut self, edit: impl FnOnce(&mut RareAttributes)) {
        let mut rare = self.rare.take().map(|rare| *rare).unwrap_or_default();
        edit(&mut rare);
        self.set_rare(rare);
    }

    pub(crate) fn set_rare(&mut self, rare: RareAttributes) {
        self.rare = (rare != *NOTHING_RARE).then(|| Box::new(rare));
    }

    /// ORIGINATOR_ID (RFC 4456 §8).
    pub fn originator_id(&self) -> Option<Ipv4Addr> {
        self.rare().originator_id
    }

    /// CLUSTER_LIST (RFC 4456 §8), nearest first.
    pub fn cluster_list(&self) -> &[Ipv4Addr] {
        &self.rare().cluster_list
    }

    /// Large communities (RFC 8092).
    pub fn large_communities(&self) -> &[[u32; 3]] {
        &self.rare().large_communities
    }

    /// Extended communities (RFC 4360), each its eight octets.
    pub fn extended_communities(&self) -> &[u64] {
        &self.rare().extended_communities
    }

    /// Adds a standard community at the end, unless it is there.
    pub fn add_community(&mut self, community: u32) {
        if !self.communities.contains(&community) {
            let mut all = std::mem::take(&mut self.communities).into_vec();
            all.push(community);
            self.communities = all.into();
        }
    }

    /// Adds a large community at the end, unless it is there.
    pub fn add_large_community(&mut self, community: [u32; 3]) {
        if !self.large_communities().contains(&community) {
            self.edit_rare(|rare| {
                let mut all = std::mem::take(&mut rare.large_communities).into_vec();
                all.push(community);
                rare.large_communities = all.into();
            });
        }
    }

    /// Octets this set occupies outside of itself.
    pub fn heap_size(&self) -> usize {
        let rare = self.rare.as_deref().map_or(0, |rare| {
            size_of::<RareAttributes>()
                + size_of_val(&*rare.cluster_list)
                + size_of_val(&*rare.extended_communities)
                + size_of_val(&*rare.large_communities)
                + rare.unknown.iter().map(|u| size_of::<UnknownAttribute>() + u.value.len()).sum::<usize>()
        });
        self.as_path.heap_size() + size_of_val(&*self.communities) + rare
    }
}
