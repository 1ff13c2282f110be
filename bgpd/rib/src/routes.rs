//! Routes of one family: what came in (Adj-RIB-In), what was chosen (Loc-RIB), and who has to be told.
//!
//! Input changes paths and decides their destinations at once; destinations that may look different to anybody are queued,
//! each once. [`Routes::flush`] takes the queue to the groups and forgets what is no more.

use crate::decision::{Candidate, decide};
use crate::group::{Change, Group, NOBODY};
use crate::groups::Groups;
use crate::import::{Imported, Offer};
use crate::peer::{LimitExceeded, MaxPrefixAction, PeerId};
use crate::shared::Shared;
use crate::table::{Address, Dest, Path, Place, STRETCH, Table};
use bgp_wire::{Nlri, NlriBytes};
use std::collections::{BTreeMap, BTreeSet};

/// See the module.
#[derive(Debug)]
pub(crate) struct Routes<A> {
    pub table: Table<A>,
    /// Sets from before import policy, of paths that it changed.
    before: BTreeMap<u32, u32>,
    pub groups: Groups,
    queue: Vec<Change>,
    pub fib_queue: Vec<u32>,
    /// Neighbours that shall be in the group of their profile.
    joining: Vec<PeerId>,
    /// Neighbours whose paths have to be looked at again.
    reconsider: BTreeSet<PeerId>,
    /// Every destination has to be looked at again.
    reconsider_all: bool,
    candidates: Vec<Candidate>,
    places: Vec<Place<A>>,
}

impl<A: Address> Routes<A> {
    pub fn new(seed: u64) -> Self {
        Routes {
            table: Table::new(seed),
            before: BTreeMap::new(),
            groups: Groups::default(),
            queue: Vec::new(),
            fib_queue: Vec::new(),
            joining: Vec::new(),
            reconsider: BTreeSet::new(),
            reconsider_all: false,
            candidates: Vec::new(),
            places: Vec::with_capacity(STRETCH),
        }
    }

    /// Takes the routes of a message.
    pub fn announce_all(
        &mut self,
        offer: &mut Offer,
        nlri: NlriBytes<'_>,
        shared: &mut Shared,
    ) -> Option<LimitExceeded> {
        let mut exceeded = None;
        self.each_place(nlri, shared, |routes, place, shared| {
            let told = routes.announce_at(offer, place, shared);
            exceeded = exceeded.or(told);
        });
        exceeded
    }

    /// Looks the routes of a message up, some at a time, and does `work` for each.
    #[inline]
    fn each_place(
        &mut self,
        nlri: NlriBytes<'_>,
        shared: &mut Shared,
        mut work: impl FnMut(&mut Self, &Place<A>, &mut Shared),
    ) {
        let (mut routes, mut places) = (nlri.iter(), std::mem::take(&mut self.places));
        loop {
            self.table.look_up_each(&mut routes, &mut places);
            if places.is_empty() {
                break;
            }
            // What they have now is let go.
            shared.sets.touch(places.iter().map(|place| self.table.first(place).set));
            places.iter().for_each(|place| work(self, place, shared));
        }
        self.places = places;
    }

    /// Takes one route.
    pub fn announce(&mut self, offer: &mut Offer, nlri: Nlri, shared: &mut Shared) -> Option<LimitExceeded> {
        let place = self.table.look_up(nlri)?;
        self.announce_at(offer, &place, shared)
    }

    fn announce_at(
        &mut self,
        offer: &mut Offer,
        place: &Place<A>,
        shared: &mut Shared,
    ) -> Option<LimitExceeded> {
        let imported = offer.import(place.prefix(), shared);
        let dest = self.table.find_or_make(place);
        let path_id = place.path_id;
        let source = offer.peer.0 as u16;
        let mut exceeded = None;
        let found = self.table.paths_of(dest).find(|(_, p)| p.peer == source && p.path_id == path_id);
        let number = match found.map(|(number, path)| (number, *path)) {
            Some((number, path)) if !path.is(Path::DEAD) => {
                let same = path.set == imported.set && path.flags & !Path::STALE == imported.flags;
                let same_before = path.is(Path::CHANGED).then(|| self.before.get(&number)).flatten();
                if same && same_before.is_none_or(|before| *before == offer.set) {
                    self.table.path_mut(number).flags = imported.flags;
                    return None;
                }
                self.touch(dest, shared);
                self.drop_sets(number, shared);
                number
            }
            found => {
                let (taken, told) = self.count(offer.peer, shared);
                exceeded = told;
                if !taken {
                    if found.is_none() && self.table.dest(dest).head == 0 {
                        self.touch(dest, shared);
                    }
                    return exceeded;
                }
                self.touch(dest, shared);
                match found {
                    Some((number, _)) => number,
                    None => self.table.add_path(dest, path_id, source),
                }
            }
        };
        self.put_sets(number, imported, offer.set, shared);
        self.decide(dest, shared);
        exceeded
    }

    /// Counts one more path of a peer; whether it is taken, and what the peer's owner has to be told.
    fn count(&self, peer: PeerId, shared: &mut Shared) -> (bool, Option<LimitExceeded>) {
        let Some(entry) = shared.peers.get_mut(peer) else { return (true, None) };
        let paths = entry.paths.get_mut(A::FAMILY);
        match entry.settings.max_prefixes {
            Some(max) if *paths >= max.limit => {
                let told = std::mem::replace(entry.told.get_mut(A::FAMILY), true);
                let taken = max.action == MaxPrefixAction::Warn;
                *paths += u32::from(taken);
                (taken, (!told).then_some(LimitExceeded { family: A::FAMILY, max }))
            }
            _ => {
                *paths += 1;
                (true, None)
            }
        }
    }

    /// Takes back the routes of a message.
    pub fn withdraw_each(&mut self, peer: PeerId, nlri: NlriBytes<'_>, shared: &mut Shared) {
        self.each_place(nlri, shared, |routes, place, shared| routes.withdraw_at(peer, place, shared));
    }

    /// Takes back one route.
    pub fn withdraw(&mut self, peer: PeerId, nlri: Nlri, shared: &mut Shared) {
        if let Some(place) = self.table.look_up(nlri) {
            self.withdraw_at(peer, &place, shared);
        }
    }

    fn withdraw_at(&mut self, peer: PeerId, place: &Place<A>, shared: &mut Shared) {
        // Number 0, where there is no destination, has no paths.
        let (dest, path_id, source) = (place.dest, place.path_id, peer.0 as u16);
        let found = self.table.paths_of(dest).find(|(_, p)| p.peer == source && p.path_id == path_id);
        if let Some((number, path)) = found
            && !path.is(Path::DEAD)
        {
            self.remove(dest, number, shared);
        }
    }

    fn remove(&mut self, dest: u32, number: u32, shared: &mut Shared) {
        self.touch(dest, shared);
        self.drop_sets(number, shared);
        let peer = PeerId(u32::from(self.table.path(number).peer));
        if let Some(entry) = shared.peers.get_mut(peer) {
            let paths = entry.paths.get_mut(A::FAMILY);
            *paths = paths.saturating_sub(1);
            if entry.settings.max_prefixes.is_some_and(|max| *paths < max.limit) {
                *entry.told.get_mut(A::FAMILY) = false;
            }
        }
        if self.groups.tells_paths() {
            let path = self.table.path_mut(number);
            (path.set, path.flags) = (0, Path::DEAD);
        } else {
            self.table.free_path(dest, number);
            if self.table.dest(dest).head == 0 {
                return;
            }
        }
        self.decide(dest, shared);
    }

    fn put_sets(&mut self, number: u32, imported: Imported, before: u32, shared: &mut Shared) {
        let path = self.table.path_mut(number);
        (path.set, path.flags) = (imported.set, imported.flags);
        shared.sets.retain(imported.set, 1);
        if imported.flags & Path::CHANGED != 0 {
            shared.sets.retain(before, 1);
            self.before.insert(number, before);
        }
    }

    fn drop_sets(&mut self, number: u32, shared: &mut Shared) {
        let path = self.table.path(number);
        shared.sets.release(path.set);
        if path.is(Path::CHANGED)
            && let Some(before) = self.before.remove(&number)
        {
            shared.sets.release(before);
        }
    }

    /// The set of a path before import policy.
    pub fn set_before(&self, number: u32) -> u32 {
        self.before.get(&number).copied().unwrap_or(self.table.path(number).set)
    }

    /// Queues a destination that is about to change.
    #[inline]
    fn touch(&mut self, dest: u32, shared: &Shared) {
        let source = self.table.best(dest).map_or(NOBODY, |(_, path)| path.peer);
        let entry = self.table.occupy(dest);
        if !entry.is(Dest::<A>::QUEUED) {
            entry.flags |= Dest::<A>::QUEUED;
            self.queue.push(Change { dest, source });
        }
        if shared.config.fib && !entry.is(Dest::<A>::FIB_QUEUED) {
            entry.flags |= Dest::<A>::FIB_QUEUED;
            self.fib_queue.push(dest);
        }
    }

    /// Puts the best path of a destination first.
    #[inline]
    fn decide(&mut self, dest: u32, shared: &Shared) {
        let head = self.table.dest(dest).head;
        let first = self.table.path(head);
        if first.next == 0 {
            let usable = head != 0 && shared.facts().usable(first);
            self.table.set_best(dest, if usable { head } else { 0 });
            return;
        }
        let mut candidates = std::mem::take(&mut self.candidates);
        self.candidates(dest, shared, &mut candidates);
        decide(&mut candidates);
        self.table.set_best(dest, candidates.first().map_or(0, |best| best.path));
        self.candidates = candidates;
    }

    /// Puts the usable paths of a destination into `into`.
    pub fn candidates(&self, dest: u32, shared: &Shared, into: &mut Vec<Candidate>) {
        into.clear();
        let facts = shared.facts();
        into.extend(self.table.paths_of(dest).filter_map(|(number, path)| facts.candidate(number, path)));
    }

    /// All paths that `wanted` says yes to, with their destinations.
    fn select(&self, wanted: impl Fn(&Path) -> bool) -> Vec<(u32, u32)> {
        let mut selected = Vec::new();
        for dest in self.table.numbers() {
            let paths = self.table.paths_of(dest).filter(|(_, path)| !path.is(Path::DEAD) && wanted(path));
            selected.extend(paths.map(|(number, _)| (dest, number)));
        }
        selected
    }

    /// Takes back everything of a neighbour that `wanted` says yes to.
    pub fn withdraw_all(&mut self, peer: PeerId, shared: &mut Shared, wanted: impl Fn(&Path) -> bool) {
        if *shared.peers.get(peer).paths.get(A::FAMILY) == 0 {
            return;
        }
        for (dest, number) in self.select(|path| u32::from(path.peer) == peer.0 && wanted(path)) {
            self.remove(dest, number, shared);
        }
    }

    /// Marks everything of a neighbour as stale.
    pub fn mark_stale(&mut self, peer: PeerId) {
        for (_, number) in self.select(|path| u32::from(path.peer) == peer.0) {
            self.table.path_mut(number).flags |= Path::STALE;
        }
    }

    /// A neighbour's policy, class or address is another: its paths are looked at again with the next flush.
    pub fn reconsider(&mut self, peer: PeerId) {
        self.reconsider.insert(peer);
    }

    /// Something that every route carries is another.
    pub fn reconsider_all(&mut self, shared: &mut Shared) {
        for group in self.groups.iter_mut() {
            group.export.forget_all(shared);
        }
        self.reconsider_all = true;
    }

    /// A neighbour that is up shall be in the group of its profile.
    pub fn join(&mut self, peer: PeerId) {
        self.joining.push(peer);
    }

    /// A neighbour is sent nothing any more.
    pub fn part(&mut self, peer: PeerId, shared: &mut Shared) {
        self.joining.retain(|other| *other != peer);
        self.groups.part(peer, shared);
    }

    /// Looks again at what policies and next hops changed under.
    fn look_again(&mut self, changed_next_hops: &BTreeSet<u32>, shared: &mut Shared) {
        let (peers, all) = (std::mem::take(&mut self.reconsider), std::mem::take(&mut self.reconsider_all));
        if !all && peers.is_empty() && changed_next_hops.is_empty() {
            return;
        }
        for dest in self.table.numbers() {
            let paths = || self.table.paths_of(dest).filter(|(_, path)| !path.is(Path::DEAD));
            let mine = |path: &Path| all || peers.contains(&PeerId(u32::from(path.peer)));
            let moved = |path: &Path| changed_next_hops.contains(&shared.sets.get(path.set).key.next_hop);
            let numbers: Vec<u32> =
                paths().filter(|(_, path)| mine(path)).map(|(number, _)| number).collect();
            if !(all && self.table.is_live(dest))
                && numbers.is_empty()
                && !paths().any(|(_, path)| moved(path))
            {
                continue;
            }
            self.touch(dest, shared);
            for number in numbers {
                self.import_again(dest, number, shared);
            }
            self.decide(dest, shared);
        }
    }

    fn import_again(&mut self, dest: u32, number: u32, shared: &mut Shared) {
        let (peer, before) = (PeerId(u32::from(self.table.path(number).peer)), self.set_before(number));
        let mut offer = Offer::new(A::FAMILY, peer, before, shared);
        let imported = offer.import(self.table.dest(dest).prefix(), shared);
        let stale = self.table.path(number).flags & Path::STALE;
        // Counted on before the old ones are let go: they may be the same.
        shared.sets.retain(before, 1);
        self.drop_sets(number, shared);
        self.put_sets(number, Imported { flags: imported.flags | stale, ..imported }, before, shared);
        shared.sets.release(before);
    }

    /// Whether a flush would do something.
    pub fn has_work(&self) -> bool {
        !self.queue.is_empty()
            || !self.joining.is_empty()
            || !self.reconsider.is_empty()
            || self.reconsider_all
            || self.groups.iter().any(Group::wants_refill)
    }

    /// Tells everybody what changed.
    pub fn flush(&mut self, changed_next_hops: &BTreeSet<u32>, shared: &mut Shared) {
        self.look_again(changed_next_hops, shared);
        let mut queue = std::mem::take(&mut self.queue);
        for group in self.groups.iter_mut() {
            group.process(&self.table, queue.iter().copied(), shared);
        }
        for peer in std::mem::take(&mut self.joining) {
            self.groups.settle(peer, &self.table, shared);
        }
        for group in self.groups.iter_mut() {
            group.refill(&self.table, shared);
        }
        queue.iter().for_each(|change| self.clean_up(change.dest));
        // What comes may take more room, but not beside what went.
        let made = self.table.take_made();
        self.tidy(made);
        queue.clear();
        queue.shrink_to(1 << 16);
        self.queue = queue;
    }

    /// Forgets dead paths, and gives the destination up if nothing is left of it.
    fn clean_up(&mut self, dest: u32) {
        let entry = self.table.dest_mut(dest);
        entry.flags &= !Dest::<A>::QUEUED;
        if entry.head != 0 && self.table.paths_of(dest).any(|(_, path)| path.is(Path::DEAD)) {
            let dead: Vec<u32> = self
                .table
                .paths_of(dest)
                .filter(|(_, p)| p.is(Path::DEAD))
                .map(|(number, _)| number)
                .collect();
            for number in dead {
                for group in self.groups.iter_mut() {
                    group.forget(&self.table, dest, number);
                }
                let best = self.table.best(dest).map(|(number, _)| number);
                self.table.free_path(dest, number);
                self.table.set_best(dest, best.filter(|best| *best != number).unwrap_or(0));
            }
        }
        self.vacate_if_empty(dest);
    }

    /// Gives up a destination without paths that nobody has to hear of any more.
    pub fn vacate_if_empty(&mut self, dest: u32) {
        let entry = self.table.dest(dest);
        let busy = Dest::<A>::QUEUED | Dest::<A>::FIB_QUEUED;
        if self.table.is_live(dest) && entry.head == 0 && !entry.is(busy) {
            self.table.vacate(dest);
        }
    }

    /// Forgets destinations that were given up, `most` at most; whether there are more.
    pub fn tidy(&mut self, most: usize) -> bool {
        let mut left = most;
        while left > 0 && self.table.has_vacated() {
            let some = left.min(STRETCH);
            left -= some;
            let vacated = self.table.take_vacated(some);
            self.table.fetch(&vacated);
            for dest in vacated {
                for group in self.groups.iter_mut() {
                    group.forget(&self.table, dest, 0);
                    group.forget_number(dest);
                }
                self.table.free_dest(dest);
            }
        }
        self.table.has_vacated()
    }
}
