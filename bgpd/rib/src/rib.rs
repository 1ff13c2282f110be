//! The RIB as its owner sees it: input, flush, output.

use crate::fib::FibRoute;
use crate::group::Group;
use crate::import::Offer;
use crate::member::Member;
use crate::next_hop::{NextHop, Resolution, Wanted};
use crate::origin::{BGP_PREFERENCE, Local, Source};
use crate::peer::{LimitExceeded, PeerId, PeerSettings, Session};
use crate::policy::evaluate::Compiled;
use crate::routes::Routes;
use crate::set::{Folded, Key};
use crate::shared::{RibConfig, Shared};
use crate::table::{Address, Path};
use bgp_wire::{
    AsPath, Attributes, Codec, Family, Nlri, Origin, PerFamily, Prefix, Reach, RefreshSubtype, UpdateView,
};
use std::hash::Hasher;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

/// The routes of a speaker.
///
/// Input ([`Rib::update`], [`Rib::peer_down`], [`Rib::originate`], …) only notes what changed; [`Rib::flush`] makes messages
/// of it, which each neighbour's connection takes by [`Rib::pending`] and [`Rib::advance`].
#[derive(Debug)]
pub struct Rib {
    pub(crate) shared: Shared,
    pub(crate) v4: Routes<u32>,
    pub(crate) v6: Routes<[u32; 4]>,
    recent: Vec<Recent>,
}

/// Attributes as they came in a message, and the set they are: most messages of a burst repeat one.
#[derive(Debug)]
struct Recent {
    peer: PeerId,
    codec: Codec,
    family: Family,
    key: Vec<u8>,
    hash: u64,
    /// 0 when the routes are to be taken as withdrawn.
    set: u32,
}

/// How many of them are remembered until the next flush.
const RECENT: usize = 8;

/// Calls a method of the family's routes.
macro_rules! of_family {
    ($rib:expr, $family:expr, $routes:ident => $body:expr) => {
        match $family {
            Family::Ipv4Unicast => {
                let $routes = &mut $rib.v4;
                $body
            }
            Family::Ipv6Unicast => {
                let $routes = &mut $rib.v6;
                $body
            }
        }
    };
}

impl Rib {
    /// With no neighbours and no routes.
    pub fn new(config: RibConfig) -> Self {
        let seed = config.seed;
        Rib { v4: Routes::new(seed), v6: Routes::new(!seed), shared: Shared::new(config), recent: Vec::new() }
    }

    /// Takes another configuration; what depends on it is looked at again with the next flush.
    pub fn set_config(&mut self, config: RibConfig) {
        let old = std::mem::replace(&mut self.shared.config, config);
        let new = &self.shared.config;
        for family in Family::ALL {
            if old.kernel.get(family) != new.kernel.get(family) {
                *self.shared.kernel.get_mut(family) = Arc::new(Compiled::new(new.kernel.get(family).clone()));
            }
        }
        self.shared.next_hops.track(new.track_next_hops);
        let seen = |c: &RibConfig| RibConfig { log_limit: 0, track_next_hops: false, seed: 0, ..c.clone() };
        if seen(&old) != seen(new) {
            self.v4.reconsider_all(&mut self.shared);
            self.v6.reconsider_all(&mut self.shared);
        }
    }

    /// Adds a neighbour, whose session is down. Beyond 65,534 of them the answer is one for which nothing ever happens.
    pub fn add_peer(&mut self, settings: PeerSettings) -> PeerId {
        self.shared.peers.add(settings).unwrap_or(PeerId(u32::MAX))
    }

    /// Takes other settings of a neighbour. Only what differs is done again, with the next flush.
    pub fn set_peer(&mut self, peer: PeerId, settings: PeerSettings) {
        let Some(old) = self.shared.peers.set(peer, settings) else { return };
        let entry = self.shared.peers.get(peer);
        let (new, up) = (entry.settings.clone(), entry.up);
        let renewed = old.rr_client != new.rr_client;
        if renewed {
            self.shared.peers.renew(peer);
        }
        for family in Family::ALL {
            let again = renewed
                || old.address != new.address
                || old.allow_own_as != new.allow_own_as
                || old.import.get(family) != new.import.get(family);
            of_family!(self, family, routes => {
                if again {
                    routes.reconsider(peer);
                }
                if up {
                    routes.join(peer);
                }
            });
        }
    }

    /// Forgets a neighbour and its routes.
    pub fn remove_peer(&mut self, peer: PeerId) {
        self.peer_down(peer, PerFamily::default());
        self.shared.peers.remove(peer);
    }

    /// What a neighbour was set to.
    pub fn settings(&self, peer: PeerId) -> &PeerSettings {
        &self.shared.peers.get(peer).settings
    }

    /// A session is Established: the neighbour is sent everything. Routes kept from its last session stay marked stale
    /// until they are announced again, the End-of-RIB comes, or [`Rib::stale_timeout`].
    pub fn peer_up(&mut self, peer: PeerId, session: Session) {
        let last = self.shared.peers.get(peer).session;
        let other = |last: Session| {
            (last.router_id, last.codec.external, last.local_as)
                != (session.router_id, session.codec.external, session.local_as)
        };
        if last.is_some_and(other) {
            // Another speaker than the one whose routes were kept.
            self.withdraw_all(peer, PerFamily { ipv4: true, ipv6: true });
        }
        self.withdraw_all(peer, PerFamily::from_fn(|family| !session.codec.carries(family)));
        self.shared.peers.renew(peer);
        let Some(entry) = self.shared.peers.get_mut(peer) else { return };
        entry.session = Some(session);
        entry.up = true;
        for family in Family::ALL.into_iter().filter(|family| session.codec.carries(*family)) {
            of_family!(self, family, routes => routes.join(peer));
        }
    }

    fn withdraw_all(&mut self, peer: PeerId, families: PerFamily<bool>) {
        for family in Family::ALL.into_iter().filter(|family| *families.get(*family)) {
            of_family!(self, family, routes => routes.withdraw_all(peer, &mut self.shared, |_| true));
        }
    }

    /// A session is down. Routes of the families in `keep` stay and are marked stale (RFC 4724 §4.2); those that were stale
    /// already go.
    pub fn peer_down(&mut self, peer: PeerId, keep: PerFamily<bool>) {
        let Some(entry) = self.shared.peers.get_mut(peer) else { return };
        entry.up = false;
        entry.told = PerFamily::default();
        self.v4.part(peer, &mut self.shared);
        self.v6.part(peer, &mut self.shared);
        for family in Family::ALL {
            let keep = *keep.get(family);
            of_family!(self, family, routes => {
                routes.withdraw_all(peer, &mut self.shared, |path| !keep || path.is(Path::STALE));
                if keep {
                    routes.mark_stale(peer);
                }
            });
        }
    }

    /// Takes an UPDATE that is not an End-of-RIB, while the session is up. Told at most once until the neighbour is below its bound again: that it
    /// announces too much.
    pub fn update(&mut self, peer: PeerId, update: &UpdateView<'_>) -> Option<LimitExceeded> {
        let session = self.shared.peers.get_mut(peer).filter(|entry| entry.up)?.session?;
        let mut exceeded = None;
        for nlri in update.withdrawn() {
            of_family!(self, nlri.family(), routes => routes.withdraw_each(peer, nlri, &mut self.shared));
        }
        for reach in update.reaches() {
            let family = reach.nlri.family();
            let set = self.recognise(peer, &session, update, &reach);
            of_family!(self, family, routes => {
                if set == 0 {
                    routes.withdraw_each(peer, reach.nlri, &mut self.shared);
                } else {
                    let mut offer = Offer::new(family, peer, set, &mut self.shared);
                    let told = routes.announce_all(&mut offer, reach.nlri, &mut self.shared);
                    exceeded = exceeded.or(told);
                }
            });
        }
        exceeded
    }

    /// The set of a message's attributes; 0 when its routes are to be taken as withdrawn.
    fn recognise(
        &mut self,
        peer: PeerId,
        session: &Session,
        update: &UpdateView<'_>,
        reach: &Reach<'_>,
    ) -> u32 {
        let (family, parts) = (reach.nlri.family(), update.attribute_key(reach));
        let mut hash = Folded(self.shared.config.seed);
        parts.iter().for_each(|part| hash.write(part));
        let hash = hash.finish();
        let same = |recent: &&Recent| {
            let about = (recent.hash, recent.peer, recent.family, &recent.codec);
            about == (hash, peer, family, &session.codec) && is_concat(&recent.key, parts)
        };
        if let Some(recent) = self.recent.iter().find(same) {
            return recent.set;
        }
        let parsed = update.attributes(reach);
        let set = if parsed.treat_as_withdraw {
            0
        } else {
            let next_hop = self.shared.next_hops.intern(next_hop(peer, parsed.attributes.next_hop));
            let key =
                Key { attributes: parsed.attributes, preference: BGP_PREFERENCE, next_hop, local: None };
            self.shared.sets.intern(key, &mut self.shared.next_hops)
        };
        self.shared.sets.retain(set, 1);
        let mut key = Vec::new();
        if self.recent.len() >= RECENT {
            let old = self.recent.remove(0);
            self.shared.sets.release(old.set);
            key = old.key;
            key.clear();
        }
        parts.iter().for_each(|part| key.extend_from_slice(part));
        self.recent.push(Recent { peer, codec: session.codec, family, key, hash, set });
        set
    }

    /// The neighbour has announced everything again that it still has (RFC 4724 §4.2).
    pub fn end_of_rib(&mut self, peer: PeerId, family: Family) {
        self.stale_timeout(peer, family);
    }

    /// Routes that are still stale go.
    pub fn stale_timeout(&mut self, peer: PeerId, family: Family) {
        of_family!(self, family, routes => {
            routes.withdraw_all(peer, &mut self.shared, |path| path.is(Path::STALE));
        });
    }

    /// A ROUTE-REFRESH came: a request is answered with everything (RFC 2918), the marks begin and end an answer to ours
    /// (RFC 7313 §4.2).
    pub fn refresh(&mut self, peer: PeerId, family: Family, subtype: RefreshSubtype) {
        let marked = self.shared.peers.get(peer).session.is_some_and(|session| session.enhanced_refresh);
        match subtype {
            RefreshSubtype::Request => of_family!(self, family, routes => {
                if let Some(group) = routes.groups.of_mut(peer) {
                    group.refresh(peer.0 as u16, marked);
                }
            }),
            RefreshSubtype::Begin => of_family!(self, family, routes => routes.mark_stale(peer)),
            RefreshSubtype::End => self.stale_timeout(peer, family),
            RefreshSubtype::Other(_) => {}
        }
    }

    /// Takes a route of our own, in place of the one of the same source.
    pub fn originate(&mut self, prefix: Prefix, local: Local) {
        let path_id = local.source.path_id();
        let attributes = Attributes::new(Origin::Igp, AsPath::empty(), IpAddr::V4(Ipv4Addr::UNSPECIFIED));
        let preference = local.source.preference();
        let key = Key { attributes, preference, next_hop: 0, local: Some(Box::new(local)) };
        let set = self.shared.sets.intern(key, &mut self.shared.next_hops);
        of_family!(self, prefix.family(), routes => {
            let mut offer = Offer::new(prefix.family(), PeerId::LOCAL, set, &mut self.shared);
            routes.announce(&mut offer, Nlri { path_id, prefix }, &mut self.shared);
        });
    }

    /// Takes back a route of our own.
    pub fn withdraw_origin(&mut self, prefix: Prefix, source: Source) {
        let nlri = Nlri { path_id: source.path_id(), prefix };
        of_family!(self, prefix.family(), routes => routes.withdraw(PeerId::LOCAL, nlri, &mut self.shared));
    }

    /// Next hops that became wanted or unwanted since the last time, in order. Each wanted one is to be answered by
    /// [`Rib::next_hop`], now and whenever the answer is another.
    pub fn take_wanted(&mut self) -> Vec<Wanted> {
        self.shared.next_hops.take_wanted()
    }

    /// How a next hop is reached.
    pub fn next_hop(&mut self, next_hop: NextHop, resolution: Resolution) {
        self.shared.next_hops.resolve(next_hop, resolution);
    }

    /// Whether [`Rib::flush`] would do something.
    pub fn wants_flush(&self) -> bool {
        self.shared.next_hops.has_changed() || self.v4.has_work() || self.v6.has_work()
    }

    /// Makes messages of all changes since the last time; answers the neighbours that have something to read.
    pub fn flush(&mut self) -> Vec<PeerId> {
        let next_hops = self.shared.next_hops.take_changed();
        self.v4.flush(&next_hops, &mut self.shared);
        self.v6.flush(&next_hops, &mut self.shared);
        for recent in self.recent.drain(..) {
            self.shared.sets.release(recent.set);
        }
        // What comes may take more room, but not beside what went. A set is listed when it is made, and when it goes.
        let made = self.shared.sets.take_made();
        self.sweep(2 * made);
        self.shared.peers.settle();
        let mut ready: Vec<PeerId> = Vec::new();
        self.v4.ready(&mut ready);
        self.v6.ready(&mut ready);
        ready.sort_unstable();
        ready.dedup();
        ready
    }

    /// Forgets some of what nobody needs any more, destinations without paths and attributes without routes: about `most` of
    /// each. Whether there is more. For moments in which there is nothing else to do: what is not forgotten yet is
    /// found again if it comes back. A flush forgets as many as were made since the last.
    pub fn tidy(&mut self, most: usize) -> bool {
        self.sweep(most);
        let more = [self.v4.tidy(most), self.v6.tidy(most), self.shared.sets.has_unused()];
        more.contains(&true)
    }

    /// Whether [`Rib::tidy`] would forget something.
    pub fn is_untidy(&self) -> bool {
        self.shared.sets.has_unused() || self.v4.table.has_vacated() || self.v6.table.has_vacated()
    }

    fn sweep(&mut self, most: usize) {
        for set in self.shared.sets.take_unused(most) {
            for group in self.v4.groups.iter_mut().chain(self.v6.groups.iter_mut()) {
                group.export.forget(set, &mut self.shared);
            }
            self.shared.sets.forget(set, &mut self.shared.next_hops);
        }
    }

    /// The messages a neighbour has not read, in pieces; every piece but the first starts with a message.
    pub fn pending(&self, peer: PeerId) -> impl Iterator<Item = &[u8]> {
        let number = peer.0 as u16;
        let (first, second) = match self.in_the_middle(peer) {
            Some(Family::Ipv6Unicast) => (self.v6.groups.of(peer), None),
            _ => (self.v4.groups.of(peer), self.v6.groups.of(peer)),
        };
        [first, second].into_iter().flatten().flat_map(move |group| pieces(group, number))
    }

    /// The family of the message that a neighbour is in the middle of.
    fn in_the_middle(&self, peer: PeerId) -> Option<Family> {
        if self.v6.unfinished(peer) > 0 { Some(Family::Ipv6Unicast) } else { None }
    }

    /// The neighbour has read that many octets of what was [pending](Rib::pending).
    pub fn advance(&mut self, peer: PeerId, octets: usize) {
        let rest = match self.in_the_middle(peer) {
            Some(Family::Ipv6Unicast) => octets,
            _ => self.v4.advance(peer, octets),
        };
        // A group's members for which it has nothing have been moved on by the flush.
        if rest > 0 {
            self.v6.advance(peer, rest);
        }
    }

    /// Octets left of the message that the neighbour is in the middle of: nothing else may be sent before them.
    pub fn unfinished(&self, peer: PeerId) -> usize {
        self.v4.unfinished(peer) + self.v6.unfinished(peer)
    }

    /// Tells all changes for the FIB since the last time: what shall stand there now, `None` for nothing.
    pub fn drain_fib(&mut self, mut each: impl FnMut(Prefix, Option<FibRoute>)) {
        self.v4.drain_fib(&self.shared, &mut each);
        self.v6.drain_fib(&self.shared, &mut each);
    }

    /// Attribute sets in memory.
    pub fn set_count(&self) -> usize {
        self.shared.sets.len()
    }
}

/// Whether the parts one after the other are the whole.
fn is_concat(mut whole: &[u8], parts: [&[u8]; 3]) -> bool {
    for part in parts {
        let Some(rest) = whole.strip_prefix(part) else { return false };
        whole = rest;
    }
    whole.is_empty()
}

fn pieces(group: &Group, peer: u16) -> impl Iterator<Item = &[u8]> {
    group.members.get(&peer).into_iter().flat_map(move |member: &Member| {
        let logged = member.lag.is_none().then(|| group.log.rest(peer, member.cursor));
        let own = Some(member.outbox.rest()).filter(|own| !own.is_empty());
        own.into_iter().chain(logged.into_iter().flatten())
    })
}

/// The key of a next hop: link-local addresses mean something on their neighbour's link only.
fn next_hop(peer: PeerId, address: IpAddr) -> NextHop {
    let link_local = matches!(address, IpAddr::V6(address) if address.is_unicast_link_local());
    NextHop { address, peer: link_local.then_some(peer) }
}

impl<A: Address> Routes<A> {
    /// Adds the members with something to read. Those who have nothing do not hold up the log: whoever tells routes that only
    /// others are told of never reads.
    fn ready(&mut self, ready: &mut Vec<PeerId>) {
        for group in self.groups.iter_mut() {
            let (members, log) = (&mut group.members, &mut group.log);
            for (peer, member) in members {
                let reads = member.lag.is_none();
                if !member.outbox.rest().is_empty()
                    || reads && log.rest(*peer, member.cursor).next().is_some()
                {
                    ready.push(PeerId(u32::from(*peer)));
                } else if reads {
                    log.advance(*peer, &mut member.cursor, 0);
                }
            }
        }
    }

    fn unfinished(&self, peer: PeerId) -> usize {
        let Some(group) = self.groups.of(peer) else { return 0 };
        let number = peer.0 as u16;
        group.members.get(&number).map_or(0, |member| match member.outbox.unfinished() {
            0 if member.lag.is_none() && member.outbox.rest().is_empty() => {
                group.log.unfinished(number, member.cursor)
            }
            octets => octets,
        })
    }

    /// Answers how many octets were not of this family.
    fn advance(&mut self, peer: PeerId, octets: usize) -> usize {
        let number = peer.0 as u16;
        let Some(group) = self.groups.of_mut(peer) else { return octets };
        let Some(member) = group.members.get_mut(&number) else { return octets };
        let rest = member.outbox.advance(octets);
        if member.lag.is_some() {
            return rest;
        }
        group.log.advance(number, &mut member.cursor, rest)
    }
}

#[cfg(test)]
mod tests;
