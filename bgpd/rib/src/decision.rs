//! Which path is the best (RFC 4271 §9.1.2, RFC 4456 §9), and which are as good for forwarding.
//!
//! The steps are those of [`Step`], each taking away what is worse than the best that is left. MED is compared within
//! one neighbour AS only, so it is no order of paths: all paths are looked at each time, and the outcome depends on no
//! order of arrival.

use crate::next_hop::NextHops;
use crate::peer::PeerId;
use crate::peers::Peers;
use crate::set::Sets;
use crate::table::Path;
use std::cmp::Reverse;
use std::fmt;
use std::net::IpAddr;

/// Steps of the decision in their order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Step {
    /// Preference of the source.
    Preference,
    /// Higher LOCAL_PREF (RFC 4271 §9.1.1).
    LocalPref,
    /// Shorter AS path (§9.1.2.2 a).
    AsPath,
    /// Lower ORIGIN (b).
    Origin,
    /// Lower MED from the same neighbour AS (c).
    Med,
    /// External before internal (d).
    External,
    /// Lower cost of the next hop (e).
    NextHop,
    /// Lower ORIGINATOR_ID or BGP identifier (f, RFC 4456 §9).
    RouterId,
    /// Shorter CLUSTER_LIST (RFC 4456 §9).
    ClusterList,
    /// Lower address of the neighbour (g).
    Address,
    /// Lower path identifier.
    PathId,
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Step::Preference => "preference of the source",
            Step::LocalPref => "higher LOCAL_PREF",
            Step::AsPath => "shorter AS_PATH",
            Step::Origin => "lower ORIGIN",
            Step::Med => "lower MULTI_EXIT_DISC from the same AS",
            Step::External => "external before internal",
            Step::NextHop => "nearer next hop",
            Step::RouterId => "lower router or originator identifier",
            Step::ClusterList => "shorter CLUSTER_LIST",
            Step::Address => "lower neighbour address",
            Step::PathId => "lower path identifier",
        })
    }
}

/// What the steps before MED compare; greater is better.
type First = (u32, u32, Reverse<u32>, Reverse<u8>);
/// What the steps between MED and the tie-breaks compare; smaller is better.
type Second = (bool, u32);
/// The tie-breaks; smaller is better.
type Third = (u32, usize, IpAddr, u32);

/// A path that may be used, as the steps see it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Candidate {
    /// Its number.
    pub path: u32,
    first: First,
    neighbor_as: u32,
    med: u32,
    second: Second,
    third: Third,
}

/// What the decision looks at.
#[derive(Clone, Copy)]
pub(crate) struct Facts<'a> {
    pub sets: &'a Sets,
    pub next_hops: &'a NextHops,
    pub peers: &'a Peers,
}

impl Facts<'_> {
    /// Whether a path may be used at all.
    #[inline]
    pub fn usable(&self, path: &Path) -> bool {
        !path.is(Path::UNUSABLE) && self.next_hops.metric(self.sets.get(path.set).key.next_hop).is_some()
    }

    /// The path as the steps see it, if it may be used.
    pub fn candidate(&self, number: u32, path: &Path) -> Option<Candidate> {
        if path.is(Path::UNUSABLE) {
            return None;
        }
        let set = self.sets.get(path.set);
        let metric = self.next_hops.metric(set.key.next_hop)?;
        let peer = self.peers.get(PeerId(u32::from(path.peer)));
        let attributes = set.attributes();
        let router_id = attributes.originator_id().unwrap_or(peer.router_id());
        Some(Candidate {
            path: number,
            first: (
                set.key.preference,
                set.local_pref,
                Reverse(set.hops),
                Reverse(attributes.origin.number()),
            ),
            neighbor_as: set.neighbor_as,
            med: attributes.med.unwrap_or(0),
            second: (!peer.is_external(), metric),
            third: (router_id.into(), attributes.cluster_list().len(), peer.settings.address, path.path_id),
        })
    }
}

/// Leaves the candidates that are as good as the best up to the cost of the next hop, the best of them first.
pub(crate) fn decide(candidates: &mut Vec<Candidate>) {
    let Some(first) = candidates.iter().map(|c| c.first).max() else { return };
    candidates.retain(|c| c.first == first);
    if candidates.len() > 1 {
        candidates.sort_unstable_by_key(|c| (c.neighbor_as, c.med));
        let mut lowest: Option<(u32, u32)> = None;
        candidates.retain(|c| match lowest {
            Some((neighbor, med)) if neighbor == c.neighbor_as => med == c.med,
            _ => {
                lowest = Some((c.neighbor_as, c.med));
                true
            }
        });
        if let Some(second) = candidates.iter().map(|c| c.second).min() {
            candidates.retain(|c| c.second == second);
        }
        candidates.sort_unstable_by_key(|c| (c.third, c.path));
    }
}

/// The step in which `winner` beats `other`; both are candidates of one destination.
pub(crate) fn step_between(winner: &Candidate, other: &Candidate, all: &[Candidate]) -> Option<Step> {
    let ((wp, wl, wh, wo), (op, ol, oh, oo)) = (winner.first, other.first);
    let rival =
        |c: &Candidate| c.first == winner.first && c.neighbor_as == other.neighbor_as && c.med < other.med;
    let ((wx, wm), (ox, om)) = (winner.second, other.second);
    let ((wr, wc, wa, wi), (or, oc, oa, oi)) = (winner.third, other.third);
    let steps = [
        (wp != op, Step::Preference),
        (wl != ol, Step::LocalPref),
        (wh != oh, Step::AsPath),
        (wo != oo, Step::Origin),
        (all.iter().any(rival), Step::Med),
        (wx != ox, Step::External),
        (wm != om, Step::NextHop),
        (wr != or, Step::RouterId),
        (wc != oc, Step::ClusterList),
        (wa != oa, Step::Address),
        (wi != oi, Step::PathId),
    ];
    steps.into_iter().find(|(differs, _)| *differs).map(|(_, step)| step)
}
