//! Neighbours that are sent the same: what they were told (Adj-RIB-Out), and how they are told of changes.
//!
//! For each destination there is the number of the attribute set it was announced with, 0 for none; with ADD-PATH, for
//! each path. The neighbour a route came from is not told of it, so what one member was told is: the group's entry, unless
//! the destination's best path came from that member. A flush compares, encodes each difference once into the [log](crate::log)
//! and puts what concerns one member only (its own route became the best, or ceased to be) beside it.

use crate::chunked::Chunked;
use crate::export::{Export, Profile};
use crate::log::{Cursor, Log};
use crate::member::{Lag, Member};
use crate::shared::Shared;
use crate::table::{Address, Path, STRETCH, Table};
use crate::writer::{self, Entry, Writer};
use std::collections::BTreeMap;

/// Octets left to read with which a member that lags needs no more messages yet.
const ENOUGH: usize = 32 << 10;

/// A destination to look at again.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Change {
    /// Its number.
    pub dest: u32,
    /// Number of the peer its best path came from when everybody was told last; [`NOBODY`] if it had none.
    pub source: u16,
}

/// No peer.
pub(crate) const NOBODY: u16 = u16::MAX;

/// See the module.
#[derive(Debug)]
pub(crate) struct Group {
    pub export: Export,
    /// By destination, or by path with ADD-PATH.
    pub told: Chunked<u32>,
    pub members: BTreeMap<u16, Member>,
    pub log: Log,
    writer: Writer,
    /// How many members lag.
    pub lagging: usize,
}

impl Group {
    /// Nobody, told nothing.
    pub fn new(profile: Profile) -> Self {
        Group {
            export: Export::new(profile),
            told: Chunked::default(),
            members: BTreeMap::new(),
            log: Log::default(),
            writer: Writer::default(),
            lagging: 0,
        }
    }

    /// Whether paths are told by themselves.
    pub fn add_path(&self) -> bool {
        self.export.profile.add_path()
    }

    /// Looks at changed destinations and tells the members.
    pub fn process<A: Address>(
        &mut self,
        table: &Table<A>,
        changes: impl Iterator<Item = Change> + Clone,
        shared: &mut Shared,
    ) {
        let before = self.log.end();
        let readers = self.members.len() - self.lagging;
        let add_path = self.add_path();
        let mut ahead = changes.clone();
        for (n, change) in changes.enumerate() {
            if n % STRETCH == 0 && !add_path {
                // What was told is let go.
                shared.sets.touch(ahead.by_ref().take(STRETCH).map(|change| *self.told.get(change.dest)));
            }
            let changed = if add_path {
                self.compare_paths(table, change.dest, shared, readers > 0)
            } else {
                self.compare_best(table, change, shared, readers > 0)
            };
            if changed && self.lagging > 0 {
                for lag in self.members.values_mut().filter_map(|member| member.lag.as_deref_mut()) {
                    lag.mark(change.dest);
                }
            }
        }
        if readers > 0 {
            let profile = &self.export.profile;
            for segment in self.writer.write(profile, table, &shared.sets) {
                self.log.push(segment, readers as u32);
            }
            self.leave_behind(table, before, shared.config.log_limit);
        }
    }

    fn compare_best<A: Address>(
        &mut self,
        table: &Table<A>,
        change: Change,
        shared: &mut Shared,
        write: bool,
    ) -> bool {
        let dest = change.dest;
        let old = *self.told.get(dest);
        let (new, source) = match table.best(dest) {
            Some((_, path)) => (self.export.set(|| table.dest(dest).prefix(), path, shared), path.peer),
            None => (0, NOBODY),
        };
        let moved = old != 0 && new != 0 && change.source != source;
        if old == new && !moved {
            return false;
        }
        if old != new {
            *self.told.get_mut(dest) = new;
            if new != 0 {
                shared.sets.retain(new, 1);
            }
            shared.sets.release(old);
        }
        if write {
            if new == 0 {
                self.writer.withdraw(Entry { source: self.as_member(change.source), set: 0, dest, path: 0 });
            } else {
                let source = self.as_member(source);
                let entry = Entry { source, set: new, dest, path: 0 };
                if old != new {
                    self.writer.announce(entry);
                }
                if moved && source != 0 {
                    self.writer.withdraw_from(source, Entry { set: 0, ..entry });
                }
                let before = self.as_member(change.source);
                if moved && old == new && before != 0 {
                    self.writer.announce_to(before, entry);
                }
            }
        }
        true
    }

    fn compare_paths<A: Address>(
        &mut self,
        table: &Table<A>,
        dest: u32,
        shared: &mut Shared,
        write: bool,
    ) -> bool {
        let mut changed = false;
        for (number, path) in table.paths_of(dest) {
            let old = *self.told.get(number);
            let new = if shared.facts().usable(path) {
                self.export.set(|| table.dest(dest).prefix(), path, shared)
            } else {
                0
            };
            if old == new {
                continue;
            }
            changed = true;
            *self.told.get_mut(number) = new;
            shared.sets.retain(new, 1);
            shared.sets.release(old);
            if write {
                let entry = Entry { source: self.as_member(path.peer), set: new, dest, path: number };
                if new == 0 { self.writer.withdraw(entry) } else { self.writer.announce(entry) }
            }
        }
        changed
    }

    /// The peer, if it is one of us; 0 otherwise, which nobody skips.
    fn as_member(&self, peer: u16) -> u16 {
        if self.members.contains_key(&peer) { peer } else { 0 }
    }

    /// What a member was told, were it told everything: the set, and the path with ADD-PATH.
    pub fn told_to<A: Address>(&self, table: &Table<A>, peer: u16, dest: u32) -> Vec<(u32, u32)> {
        if self.add_path() {
            let paths = table.paths_of(dest).filter(|(_, path)| path.peer != peer);
            return paths
                .map(|(number, _)| (number, *self.told.get(number)))
                .filter(|(_, set)| *set != 0)
                .collect();
        }
        let told = *self.told.get(dest);
        let other = table.best(dest).is_some_and(|(_, path)| path.peer != peer);
        if told != 0 && other { vec![(0, told)] } else { Vec::new() }
    }

    /// Of what the group tells about a destination: the peers it came from.
    pub fn sources<A: Address>(&self, table: &Table<A>, dest: u32) -> impl Iterator<Item = u16> {
        let (add_path, best) = (self.add_path(), table.best(dest).map(|(number, _)| number));
        let alone = move |(number, _): &(u32, &Path)| add_path || best == Some(*number);
        let told = move |(number, path): (u32, &Path)| {
            let entry = if add_path { number } else { dest };
            (*self.told.get(entry) != 0).then_some(path.peer)
        };
        table.paths_of(dest).take(if add_path { usize::MAX } else { 1 }).filter(alone).filter_map(told)
    }

    /// Members that had not read everything before this flush and hold more than the limit leave the log.
    fn leave_behind<A: Address>(&mut self, table: &Table<A>, before: Cursor, limit: usize) {
        while self.log.len() > limit {
            let late = |member: &Member| {
                member.lag.is_none()
                    && self.log.is_last(member.cursor)
                    && self.log.is_before(member.cursor, before)
            };
            let late: Vec<u16> =
                self.members.iter().filter(|(_, m)| late(m)).map(|(peer, _)| *peer).collect();
            if late.is_empty() {
                return;
            }
            self.leave(table, &late);
        }
    }

    /// Takes in a neighbour that was told nothing yet.
    pub fn join(&mut self, peer: u16) {
        self.admit(peer, Member { lag: Some(Box::new(Lag::whole())), ..Member::default() });
    }

    /// Takes in a member, which lags.
    pub fn admit(&mut self, peer: u16, member: Member) {
        self.members.insert(peer, member);
        self.lagging += 1;
    }

    /// Lets a member go; what it has not read of the log is in its outbox then.
    pub fn part(&mut self, peer: u16) -> Option<Member> {
        let mut member = self.members.remove(&peer)?;
        if member.lag.is_some() {
            self.lagging -= 1;
        } else {
            let tail = self.log.unfinished(peer, member.cursor);
            member.outbox.append(tail, self.log.rest(peer, member.cursor));
            self.log.leave(member.cursor);
        }
        Some(member)
    }

    /// Sends everything again to a member that asks for it (RFC 2918), marked if both sides know marks (RFC 7313).
    pub fn refresh(&mut self, peer: u16, marked: bool) {
        let Some(mut member) = self.part(peer) else { return };
        if marked {
            writer::begin_of_refresh(self.export.profile.family, member.outbox.open());
        }
        let mut lag = member.lag.take().unwrap_or_default();
        (lag.walk, lag.again) = (Some(1), true);
        lag.end_of_refresh |= marked;
        self.admit(peer, Member { lag: Some(lag), ..member });
    }

    /// Whether [`Group::refill`] would make messages for anybody. A member may have something left to read: a refresh begins
    /// with a mark.
    pub fn wants_refill(&self) -> bool {
        self.lagging > 0 && self.members.values().any(|m| m.lag.is_some() && m.outbox.rest().len() < ENOUGH)
    }

    /// Makes messages for those who lag and have little left to read.
    pub fn refill<A: Address>(&mut self, table: &Table<A>, shared: &Shared) {
        if self.lagging == 0 {
            return;
        }
        let peers: Vec<u16> =
            self.members.iter().filter(|(_, m)| m.lag.is_some()).map(|(peer, _)| *peer).collect();
        for peer in peers {
            while let Some(mut member) = self.members.remove(&peer) {
                let more = self.refill_one(peer, &mut member, table, shared);
                self.members.insert(peer, member);
                if !more {
                    break;
                }
            }
        }
    }

    /// Whether the member could take more.
    fn refill_one<A: Address>(
        &mut self,
        peer: u16,
        member: &mut Member,
        table: &Table<A>,
        shared: &Shared,
    ) -> bool {
        const BATCH: usize = 2048;
        let Some(lag) = member.lag.as_deref_mut() else { return false };
        if member.outbox.rest().len() >= ENOUGH {
            return false;
        }
        let out = member.outbox.open();
        let gone = std::mem::take(&mut lag.gone);
        self.writer.withdraw_nlri(&self.export.profile, gone, out);
        let marked = lag.take_marked(BATCH);
        let mut entries = Vec::new();
        let mut withdrawn = Vec::new();
        let mut wanted = marked.len();
        for dest in marked {
            self.entries(table, peer, dest, &mut entries, Some(&mut withdrawn));
        }
        while wanted < BATCH
            && let Some(dest) = lag.walk
        {
            lag.walk = Some(dest + 1).filter(|next| table.numbers().contains(next));
            self.entries(table, peer, dest, &mut entries, None);
            wanted += 1;
        }
        self.writer.write_to(&self.export.profile, table, &shared.sets, (entries, withdrawn), out);
        if !lag.is_done() {
            return true;
        }
        if lag.end_of_refresh {
            writer::end_of_refresh(self.export.profile.family, out);
        }
        if lag.end_of_rib {
            bgp_wire::end_of_rib(self.export.profile.family, out);
        }
        member.lag = None;
        member.cursor = self.log.end();
        self.lagging -= 1;
        false
    }

    fn entries<A: Address>(
        &self,
        table: &Table<A>,
        peer: u16,
        dest: u32,
        announced: &mut Vec<Entry>,
        withdrawn: Option<&mut Vec<Entry>>,
    ) {
        if !table.is_live(dest) {
            return;
        }
        let told = self.told_to(table, peer, dest);
        let entry = |(path, set)| Entry { source: 0, set, dest, path };
        if let Some(withdrawn) = withdrawn {
            if !self.add_path() {
                if told.is_empty() {
                    withdrawn.push(entry((0, 0)));
                }
            } else {
                let untold = |number: &u32| *self.told.get(*number) == 0;
                let others = table.paths_of(dest).filter(|(_, path)| path.peer != peer);
                withdrawn
                    .extend(others.map(|(number, _)| number).filter(untold).map(|number| entry((number, 0))));
            }
        }
        announced.extend(told.into_iter().map(entry));
    }

    /// A destination, or one of its paths, is about to be forgotten: who has not been told yet must remember.
    pub fn forget<A: Address>(&mut self, table: &Table<A>, dest: u32, path: u32) {
        if self.lagging == 0 || (path != 0) != self.add_path() {
            return;
        }
        for lag in self.members.values_mut().filter_map(|member| member.lag.as_deref_mut()) {
            if lag.is_marked(dest) {
                let prefix = table.dest(dest).prefix();
                lag.gone.push(bgp_wire::Nlri { path_id: path, prefix });
            }
        }
    }

    /// A destination is forgotten: its number means nothing any more.
    pub fn forget_number(&mut self, dest: u32) {
        if self.lagging > 0 {
            for lag in self.members.values_mut().filter_map(|member| member.lag.as_deref_mut()) {
                lag.unmark(dest);
            }
        }
    }

    /// Gives back every set it counts on, because nobody is left.
    pub fn dissolve(&mut self, shared: &mut Shared) {
        let numbers = 0..self.told.end();
        for number in numbers {
            shared.sets.release(*self.told.get(number));
        }
        self.told.clear();
        self.export.forget_all(shared);
    }
}
