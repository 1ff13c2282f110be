//! What a route looks like when it leaves: to whom it may go, export policy, and the attributes RFC 4271 §5 and RFC 4456
//! want on the way out.
//!
//! The outcome depends on the attribute set, its source, and which rules of the policy applied. It is remembered for each
//! set, so that a set is rewritten once for all its routes.

use crate::chunked::Chunked;
use crate::peer::{NextHopMode, PeerId};
use crate::peers::{Class, Peer};
use crate::policy::evaluate::{Compiled, Context, LOCAL_PREF_BASE, Subject};
use crate::policy::{Policy, Verdict};
use crate::set::{DEFAULT_LOCAL_PREF, Key, Set};
use crate::shared::{RibConfig, Shared};
use crate::table::Path;
use bgp_wire::{Attributes, Codec, Family, PerFamily, Prefix, UpdateEncoder};
use std::net::IpAddr;
use std::sync::Arc;

const NO_EXPORT: u32 = 0xffff_ff01;
const NO_ADVERTISE: u32 = 0xffff_ff02;
const NO_EXPORT_SUBCONFED: u32 = 0xffff_ff03;

/// Sets with more than this on the heap are tried out before they are sent, lest no route fits beside them.
const SUSPICIOUS: usize = 512;

/// Everything that makes a difference to what a neighbour is sent. Neighbours of one profile are one group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Profile {
    pub family: Family,
    pub codec: Codec,
    local_as: u32,
    rr_client: bool,
    next_hop: NextHopMode,
    /// Our own address as a next hop.
    own: Option<IpAddr>,
    policy: Arc<Policy>,
}

impl Profile {
    /// The profile of a neighbour that is up; `None` if the family is not agreed on.
    pub fn of(peer: &Peer, family: Family) -> Option<Profile> {
        let session = peer.session.filter(|session| peer.up && session.codec.carries(family))?;
        let usable = |address: &IpAddr| usable_next_hop(*address, family, &session.codec);
        let mut add_path_send = PerFamily::default();
        *add_path_send.get_mut(family) = *session.codec.add_path_send.get(family);
        let codec = Codec {
            families: PerFamily::default(),
            add_path_receive: PerFamily::default(),
            add_path_send,
            ..session.codec
        };
        let configured = *peer.settings.local_addresses.get(family);
        Some(Profile {
            family,
            codec,
            local_as: session.local_as,
            rr_client: peer.settings.rr_client && !codec.external,
            next_hop: peer.settings.next_hop,
            own: configured.filter(usable).or(Some(session.local_address).filter(usable)),
            policy: peer.settings.export.get(family).clone(),
        })
    }

    /// Whether routes go out with path identifiers, each path by itself.
    pub fn add_path(&self) -> bool {
        *self.codec.add_path_send.get(self.family)
    }

    /// Whether routes from such a source may go out at all (RFC 4456 §6: from a client to all, to clients from all).
    fn admits(&self, class: Class) -> bool {
        self.codec.external || self.rr_client || class != Class::Internal
    }

    fn rewrite(&self, source: &Peer, set: &Set, mut a: Attributes, config: &RibConfig) -> Option<Attributes> {
        let class = source.class();
        let ours = class == Class::Local;
        if self.codec.external {
            a.local_pref = None;
            if !ours {
                a.med = None;
            }
            if a.as_path.segments().any(|segment| segment.kind.is_confed()) {
                a.as_path = a.as_path.without_confed();
            }
            a.as_path = a.as_path.prepend(self.local_as, 1);
        } else {
            a.local_pref = a.local_pref.or(Some(match &set.key.local {
                Some(local) => {
                    let normal = *config.normal_priority.get(self.family);
                    LOCAL_PREF_BASE.saturating_sub(local.metric.unwrap_or(normal))
                }
                None => DEFAULT_LOCAL_PREF,
            }));
        }
        let reflected = !self.codec.external && matches!(class, Class::Client | Class::Internal);
        let foreign = self.codec.external && (a.originator_id().is_some() || !a.cluster_list().is_empty());
        if reflected || foreign || a.rare().link_local.is_some() {
            a.edit_rare(|rare| {
                rare.link_local = None;
                if reflected {
                    rare.originator_id = rare.originator_id.or(Some(source.router_id()));
                    let list = std::iter::once(config.cluster_id());
                    rare.cluster_list = list.chain(rare.cluster_list.iter().copied()).collect();
                } else {
                    rare.originator_id = None;
                    rare.cluster_list = Box::default();
                }
            });
        }
        let keep = !ours
            && match self.next_hop {
                NextHopMode::Own => false,
                NextHopMode::Keep => usable_next_hop(a.next_hop, self.family, &self.codec),
                NextHopMode::Auto => !self.codec.external,
            };
        if !keep {
            a.next_hop = self.own?;
        }
        usable_next_hop(a.next_hop, self.family, &self.codec).then_some(a)
    }
}

/// Whether routes of a family can be sent with this next hop (RFC 4760, RFC 8950).
fn usable_next_hop(next_hop: IpAddr, family: Family, codec: &Codec) -> bool {
    match (family, next_hop) {
        (_, address) if address.is_unspecified() => false,
        (Family::Ipv4Unicast, IpAddr::V6(_)) => codec.extended_next_hop,
        (Family::Ipv4Unicast, IpAddr::V4(_)) | (Family::Ipv6Unicast, IpAddr::V6(_)) => true,
        (Family::Ipv6Unicast, IpAddr::V4(_)) => false,
    }
}

/// Why a route does not go to a neighbour.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NotSent {
    /// It came from this neighbour.
    Source,
    /// It came from a speaker of our AS, and neither side is a client of ours (RFC 4456 §6).
    NotReflected,
    /// A well-known community forbids it (RFC 1997).
    Community,
    /// Export policy, by the rule of this name; without one, its end.
    Policy(Option<Arc<str>>),
    /// There is no next hop to send it with, or its attributes fill a whole message.
    NotSendable,
}

/// What came of a set for one source.
#[derive(Debug, Clone, Copy, Default)]
struct Remembered {
    applied: u64,
    /// [`NOTHING`] if it does not go out; 0 if nothing is remembered.
    out: u32,
    /// [`Peer::epoch`] of the source.
    epoch: u32,
}

const NOTHING: u32 = u32::MAX;

/// The way out to a group, with its memory.
#[derive(Debug)]
pub(crate) struct Export {
    pub profile: Profile,
    policy: Compiled,
    memory: Chunked<Remembered>,
}

impl Export {
    pub fn new(profile: Profile) -> Self {
        let policy = Compiled::new(profile.policy.clone());
        Export { policy, memory: Chunked::default(), profile }
    }

    /// The set a path goes out with; 0 if it does not.
    #[inline]
    pub fn set(&mut self, prefix: impl Fn() -> Prefix, path: &Path, shared: &mut Shared) -> u32 {
        let remembered = *self.memory.get(path.set);
        let epoch = shared.peers.get(PeerId(u32::from(path.peer))).epoch;
        let known = remembered.out != 0 && remembered.epoch == epoch;
        if self.policy.always.is_some() || self.policy.same_for_all_prefixes {
            if known {
                return if remembered.out == NOTHING { 0 } else { remembered.out };
            }
        } else {
            let mut subject = Subject::new(shared.sets.get(path.set));
            let outcome = self.policy.evaluate(&mut subject, &self.context(prefix()));
            if outcome.verdict == Verdict::Reject {
                return 0;
            }
            if known && remembered.applied == outcome.applied && self.policy.replayable {
                return if remembered.out == NOTHING { 0 } else { remembered.out };
            }
        }
        self.make(prefix(), path, shared)
    }

    fn context(&self, prefix: Prefix) -> Context {
        Context { prefix, external: Some(self.profile.codec.external) }
    }

    #[inline(never)]
    fn make(&mut self, prefix: Prefix, path: &Path, shared: &mut Shared) -> u32 {
        let (out, applied) = match self.try_make(prefix, path, shared) {
            Ok((attributes, applied)) => {
                let out = shared.sets.intern(Key::sent(attributes), &mut shared.next_hops);
                shared.sets.retain(out, 1);
                (out, applied)
            }
            Err((_, applied)) => (NOTHING, applied),
        };
        let epoch = shared.peers.get(PeerId(u32::from(path.peer))).epoch;
        let new = Remembered { applied, out, epoch };
        let old = std::mem::replace(self.memory.get_mut(path.set), new);
        if old.out != NOTHING {
            shared.sets.release(old.out);
        }
        if out == NOTHING { 0 } else { out }
    }

    fn try_make(
        &self,
        prefix: Prefix,
        path: &Path,
        shared: &Shared,
    ) -> Result<(Attributes, u64), (NotSent, u64)> {
        let (set, source) = (shared.sets.get(path.set), shared.peers.get(PeerId(u32::from(path.peer))));
        if !self.profile.admits(source.class()) {
            return Err((NotSent::NotReflected, 0));
        }
        let external = self.profile.codec.external;
        let forbids = |community: &u32| match *community {
            NO_ADVERTISE => true,
            NO_EXPORT | NO_EXPORT_SUBCONFED => external,
            _ => false,
        };
        if set.attributes().communities.iter().any(forbids) {
            return Err((NotSent::Community, 0));
        }
        let mut subject = Subject::new(set);
        let outcome = self.policy.evaluate(&mut subject, &self.context(prefix));
        if outcome.verdict == Verdict::Reject {
            return Err((NotSent::Policy(self.policy.rule_name(&outcome)), outcome.applied));
        }
        let attributes = subject.into_attributes();
        let not_sendable = (NotSent::NotSendable, outcome.applied);
        let made =
            self.profile.rewrite(source, set, attributes, &shared.config).ok_or(not_sendable.clone())?;
        if made.heap_size() > SUSPICIOUS {
            let (family, codec) = (self.profile.family, &self.profile.codec);
            let tried = UpdateEncoder::new().announce(&made, family, codec, [], &mut Vec::new());
            tried.map_err(|_| not_sendable)?;
        }
        Ok((made, outcome.applied))
    }

    /// Why a path does not go out to `peer`; the attributes it goes with if it does.
    pub fn explain(
        &self,
        prefix: Prefix,
        path: &Path,
        peer: PeerId,
        shared: &Shared,
    ) -> Result<Attributes, NotSent> {
        if u32::from(path.peer) == peer.0 {
            return Err(NotSent::Source);
        }
        self.try_make(prefix, path, shared).map(|(made, _)| made).map_err(|(why, _)| why)
    }

    /// Forgets what came of a set that is gone.
    pub fn forget(&mut self, set: u32, shared: &mut Shared) {
        if self.memory.get(set).out != 0 {
            let old = std::mem::take(self.memory.get_mut(set));
            if old.out != NOTHING {
                shared.sets.release(old.out);
            }
        }
    }

    /// Forgets everything, because sources or configuration changed.
    pub fn forget_all(&mut self, shared: &mut Shared) {
        for set in 0..self.memory.end() {
            self.forget(set, shared);
        }
        self.memory.clear();
    }
}
