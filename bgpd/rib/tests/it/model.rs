//! The same speaker without any cleverness: everything is computed from all that was announced, each time.

use crate::neighbor::Neighbor;
use bgp_rib::policy::{Community, Condition, LOCAL_PREF_BASE, Operation, Policy, PrefixMatch, Rule, Verdict};
use bgp_rib::{Local, NextHopMode, PeerId, PeerSettings, Source};
use bgp_wire::{Attributes, Family, Nlri, Prefix};
use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

pub const ROUTER_ID: Ipv4Addr = Ipv4Addr::new(10, 255, 0, 254);
pub const NO_EXPORT: u32 = 0xffff_ff01;

/// Policies for the tests, each as data and as what it means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Accept,
    Reject,
    /// Rejects what lies in the upper half of the prefixes, gives priority 500 to the rest.
    Halves,
    /// Adds a community to everything, rejects MED 2.
    Tag,
    /// Prepends 65099 to longer prefixes, prefers those with MED 1.
    Prepend,
}

pub const KINDS: [Kind; 5] = [Kind::Accept, Kind::Reject, Kind::Halves, Kind::Tag, Kind::Prepend];

fn upper() -> Prefix {
    Prefix::new([10, 0, 8, 0].into(), 21).unwrap()
}

fn rule(conditions: Vec<Condition>, operations: Vec<Operation>, verdict: Option<Verdict>) -> Rule {
    Rule { name: "rule".into(), conditions, operations, verdict }
}

impl Kind {
    pub fn policy(self) -> Arc<Policy> {
        let within = |min, max| Condition::Prefix(vec![PrefixMatch { prefix: upper(), min, max }]);
        let all = Prefix::new([0, 0, 0, 0].into(), 0).unwrap();
        let long = Condition::Prefix(vec![PrefixMatch { prefix: all, min: 25, max: 32 }]);
        let rules = match self {
            Kind::Accept | Kind::Reject => vec![],
            Kind::Halves => vec![
                rule(vec![within(21, 32)], vec![], Some(Verdict::Reject)),
                rule(vec![], vec![Operation::SetPriority(500)], None),
            ],
            Kind::Tag => vec![
                rule(vec![], vec![Operation::AddCommunity(Community::Standard(7))], None),
                rule(vec![Condition::Priority(LOCAL_PREF_BASE - 102)], vec![], Some(Verdict::Reject)),
            ],
            Kind::Prepend => vec![
                rule(vec![long], vec![Operation::PrependAsPath(vec![65099])], None),
                rule(vec![Condition::Community(Community::Standard(1))], vec![Operation::Prefer(150)], None),
            ],
        };
        let otherwise = if self == Kind::Reject { Verdict::Reject } else { Verdict::Accept };
        Arc::new(Policy { rules, otherwise })
    }

    /// What it means: the attributes and the preference, or nothing.
    fn apply(
        self,
        prefix: Prefix,
        mut a: Attributes,
        mut preference: u32,
        bgp: bool,
    ) -> Option<(Attributes, u32)> {
        match self {
            Kind::Accept => {}
            Kind::Reject => return None,
            Kind::Halves => {
                if upper().covers(prefix) {
                    return None;
                }
                a.local_pref = Some(LOCAL_PREF_BASE - 500);
            }
            Kind::Tag => {
                a.add_community(7);
                if a.local_pref.or(bgp.then_some(100)) == Some(102) {
                    return None;
                }
            }
            Kind::Prepend => {
                if prefix.family() == Family::Ipv4Unicast && prefix.len() >= 25 {
                    a.as_path = a.as_path.prepend(65099, 1);
                }
                if a.communities.contains(&1) {
                    preference = 150;
                }
            }
        }
        Some((a, preference))
    }
}

/// A neighbour as the model knows it.
pub struct Peer {
    pub neighbor: Neighbor,
    pub settings: PeerSettings,
    pub import: Kind,
    pub export: Kind,
    /// What it announced, and whether that is stale.
    pub announced: BTreeMap<Nlri, (Attributes, bool)>,
}

#[derive(Default)]
pub struct Model {
    pub peers: Vec<Peer>,
    pub local: BTreeMap<(Prefix, Source), Local>,
    pub unreachable: BTreeSet<IpAddr>,
}

/// A path that may be used.
#[derive(Clone)]
pub struct Usable {
    /// Index of the peer; none for our own.
    peer: Option<usize>,
    path_id: u32,
    attributes: Attributes,
    preference: u32,
    local: Option<Local>,
}

impl Model {
    fn external(&self, path: &Usable) -> bool {
        path.peer.is_none_or(|peer| self.peers[peer].neighbor.session.codec.external)
    }

    pub fn usable(&self, prefix: Prefix) -> Vec<Usable> {
        let mut usable = Vec::new();
        for ((_, source), local) in self.local.iter().filter(|((p, _), _)| *p == prefix) {
            let attributes = Attributes::new(
                bgp_wire::Origin::Igp,
                bgp_wire::AsPath::empty(),
                IpAddr::V4(Ipv4Addr::UNSPECIFIED),
            );
            let preference = source.preference();
            usable.push(Usable {
                peer: None,
                path_id: 0,
                attributes,
                preference,
                local: Some(local.clone()),
            });
        }
        for (number, peer) in self.peers.iter().enumerate() {
            for (nlri, (attributes, _)) in peer.announced.iter().filter(|(nlri, _)| nlri.prefix == prefix) {
                let session = &peer.neighbor.session;
                let looped = attributes.as_path.occurrences(session.local_as)
                    > peer.settings.allow_own_as as usize
                    || attributes.originator_id() == Some(ROUTER_ID)
                    || attributes.cluster_list().contains(&ROUTER_ID)
                    || attributes.next_hop == session.local_address;
                if looped || self.unreachable.contains(&attributes.next_hop) {
                    continue;
                }
                let Some((attributes, preference)) = peer.import.apply(prefix, attributes.clone(), 100, true)
                else {
                    continue;
                };
                let path_id = nlri.path_id;
                usable.push(Usable { peer: Some(number), path_id, attributes, preference, local: None });
            }
        }
        usable
    }

    /// RFC 4271 §9.1.2, one step after the other.
    fn best(&self, mut paths: Vec<Usable>) -> Option<Usable> {
        fn keep<K: Ord>(paths: &mut Vec<Usable>, key: impl Fn(&Usable) -> K) {
            let Some(least) = paths.iter().map(&key).min() else { return };
            paths.retain(|path| key(path) == least);
        }
        let identifier = |path: &Usable| {
            let peer = path.peer.map(|peer| self.peers[peer].neighbor.session.router_id);
            path.attributes.originator_id().or(peer).unwrap_or(Ipv4Addr::UNSPECIFIED)
        };
        keep(&mut paths, |p| u32::MAX - p.preference);
        keep(&mut paths, |p| u32::MAX - p.attributes.local_pref.unwrap_or(100));
        keep(&mut paths, |p| p.attributes.as_path.hops());
        keep(&mut paths, |p| p.attributes.origin);
        let all = paths.clone();
        paths.retain(|path| {
            let rival = |other: &Usable| {
                other.attributes.as_path.neighbor() == path.attributes.as_path.neighbor()
                    && other.attributes.med.unwrap_or(0) < path.attributes.med.unwrap_or(0)
            };
            !all.iter().any(rival)
        });
        keep(&mut paths, |p| !self.external(p));
        keep(&mut paths, identifier);
        keep(&mut paths, |p| p.attributes.cluster_list().len());
        keep(&mut paths, |p| p.peer.map(|peer| self.peers[peer].settings.address));
        keep(&mut paths, |p| p.path_id);
        paths.into_iter().next()
    }

    /// What a path looks like to a neighbour.
    fn export(&self, prefix: Prefix, path: &Usable, to: usize) -> Option<Attributes> {
        let target = &self.peers[to];
        let session = &target.neighbor.session;
        let external = session.codec.external;
        if path.peer == Some(to) {
            return None;
        }
        let from_internal = !self.external(path);
        let from_client = path.peer.is_some_and(|peer| self.peers[peer].settings.rr_client);
        if from_internal && !external && !from_client && !target.settings.rr_client {
            return None;
        }
        if external && path.attributes.communities.contains(&NO_EXPORT) {
            return None;
        }
        let (mut a, _) = target.export.apply(prefix, path.attributes.clone(), 0, path.local.is_none())?;
        if external {
            a.local_pref = None;
            if path.peer.is_some() {
                a.med = None;
            }
            a.as_path = a.as_path.prepend(session.local_as, 1);
            a.edit_rare(|rare| {
                rare.originator_id = None;
                rare.cluster_list = Box::default();
            });
        } else {
            let normal = path.local.as_ref().map(|local| LOCAL_PREF_BASE - local.metric.unwrap_or(1024));
            a.local_pref = a.local_pref.or(normal).or(Some(100));
            if from_internal {
                let router_id = self.peers[path.peer?].neighbor.session.router_id;
                a.edit_rare(|rare| {
                    rare.originator_id = rare.originator_id.or(Some(router_id));
                    rare.cluster_list = [&[ROUTER_ID], &*rare.cluster_list].concat().into();
                });
            }
        }
        let keep = match target.settings.next_hop {
            NextHopMode::Own => false,
            NextHopMode::Keep => true,
            NextHopMode::Auto => !external,
        };
        if path.peer.is_none() || !keep {
            a.next_hop = match prefix.family() {
                Family::Ipv4Unicast => session.local_address,
                Family::Ipv6Unicast => target.settings.local_addresses.ipv6?,
            };
        }
        Some(a)
    }

    /// Everything a neighbour should have been told; several for a prefix with ADD-PATH only.
    pub fn expected(&self, to: usize) -> Vec<(Prefix, Attributes)> {
        let codec = self.peers[to].neighbor.session.codec;
        let announced = self.peers.iter().flat_map(|peer| peer.announced.keys().map(|nlri| nlri.prefix));
        let prefixes: BTreeSet<Prefix> =
            announced.chain(self.local.keys().map(|(prefix, _)| *prefix)).collect();
        let mut expected = Vec::new();
        for prefix in prefixes.into_iter().filter(|prefix| codec.carries(prefix.family())) {
            let usable = self.usable(prefix);
            let add_path = *codec.add_path_send.get(prefix.family());
            let paths = if add_path { usable } else { self.best(usable).into_iter().collect() };
            expected.extend(paths.iter().filter_map(|path| Some((prefix, self.export(prefix, path, to)?))));
        }
        expected
    }

    /// The peer whose path is the best, by the RIB's name.
    pub fn best_peer(&self, prefix: Prefix) -> Option<PeerId> {
        let best = self.best(self.usable(prefix))?;
        Some(best.peer.map_or(PeerId::LOCAL, |peer| self.peers[peer].neighbor.id))
    }
}
