//! From changed destinations to messages: routes of one set and one source next to each other, attributes encoded once.

use crate::export::Profile;
use crate::log::{Segment, messages};
use crate::set::Sets;
use crate::table::{Address, Table};
use bgp_wire::{Codec, Family, Message, Nlri, PerFamily, RefreshSubtype, RouteRefresh, UpdateEncoder};
use std::collections::BTreeMap;

/// One route to be told.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Entry {
    /// Number of the peer that is not told, because it is the source; 0 if all are told.
    pub source: u16,
    /// Set to announce it with.
    pub set: u32,
    pub dest: u32,
    /// With ADD-PATH, the path.
    pub path: u32,
}

/// Octets after which a new segment begins.
const SEGMENT: usize = 256 << 10;
/// Routes of one set that are written at a stretch.
const STRETCH: usize = 16 << 10;

/// Collects the changes of a flush, then writes them.
#[derive(Debug, Default)]
pub(crate) struct Writer {
    announced: Vec<Entry>,
    withdrawn: Vec<Entry>,
    /// For one member only: what is announced to it and withdrawn from it.
    private: BTreeMap<u16, (Vec<Entry>, Vec<Entry>)>,
    encoder: UpdateEncoder,
}

impl Writer {
    /// A route is announced to all but its source.
    #[inline]
    pub fn announce(&mut self, entry: Entry) {
        self.announced.push(entry);
    }

    /// A route is withdrawn from all but its source.
    #[inline]
    pub fn withdraw(&mut self, entry: Entry) {
        self.withdrawn.push(entry);
    }

    /// A route is announced to one member.
    pub fn announce_to(&mut self, member: u16, entry: Entry) {
        self.private.entry(member).or_default().0.push(entry);
    }

    /// A route is withdrawn from one member.
    pub fn withdraw_from(&mut self, member: u16, entry: Entry) {
        self.private.entry(member).or_default().1.push(entry);
    }

    /// Writes what was collected.
    pub fn write<A: Address>(&mut self, profile: &Profile, table: &Table<A>, sets: &Sets) -> Vec<Segment> {
        let mut private = Vec::new();
        for (member, entries) in std::mem::take(&mut self.private) {
            let mut out = Vec::new();
            self.write_to(profile, table, sets, entries, &mut out);
            private.push((member, out.into_boxed_slice()));
        }
        let (mut announced, mut withdrawn) =
            (std::mem::take(&mut self.announced), std::mem::take(&mut self.withdrawn));
        let (mut segments, mut out, mut skips) = (Vec::new(), Vec::new(), Vec::<(u16, u32, u32)>::new());
        withdrawn.sort_by_key(|entry| entry.source);
        announced.sort_by_key(|entry| (entry.set, entry.source));
        let withdrawals = withdrawn.chunk_by(|a, b| a.source == b.source);
        let announcements = announced.chunk_by(|a, b| (a.set, a.source) == (b.set, b.source));
        for run in withdrawals.chain(announcements).flat_map(|run| run.chunks(STRETCH)) {
            let start = out.len() as u32;
            self.run(profile, table, sets, run, &mut out);
            let source = run.first().map_or(0, |entry| entry.source);
            if source != 0 {
                match skips.last_mut() {
                    Some((last, _, end)) if *last == source && *end == start => *end = out.len() as u32,
                    _ => skips.push((source, start, out.len() as u32)),
                }
            }
            if out.len() >= SEGMENT {
                segments.push(Segment::new(std::mem::take(&mut out), std::mem::take(&mut skips), Vec::new()));
            }
        }
        segments.push(Segment::new(out, skips, private));
        announced.clear();
        withdrawn.clear();
        // A burst does not keep its memory.
        announced.shrink_to(STRETCH);
        withdrawn.shrink_to(STRETCH);
        (self.announced, self.withdrawn) = (announced, withdrawn);
        segments
    }

    /// Writes announcements and withdrawals for one member.
    pub fn write_to<A: Address>(
        &mut self,
        profile: &Profile,
        table: &Table<A>,
        sets: &Sets,
        (mut announced, withdrawn): (Vec<Entry>, Vec<Entry>),
        out: &mut Vec<u8>,
    ) {
        announced.sort_by_key(|entry| entry.set);
        self.run(profile, table, sets, &withdrawn, out);
        for run in announced.chunk_by(|a, b| a.set == b.set) {
            self.run(profile, table, sets, run, out);
        }
    }

    /// Writes routes of one set; withdrawals, if it is 0.
    fn run<A: Address>(
        &mut self,
        profile: &Profile,
        table: &Table<A>,
        sets: &Sets,
        run: &[Entry],
        out: &mut Vec<u8>,
    ) {
        let Some(first) = run.first() else { return };
        let nlri = |entry: &Entry| Nlri { path_id: entry.path, prefix: table.dest(entry.dest).prefix() };
        let routes = run.iter().map(nlri);
        if first.set == 0 {
            self.encoder.withdraw(profile.family, &profile.codec, routes, out);
        } else {
            // Sets that leave no room for a route were sorted out before they got here.
            let attributes = sets.get(first.set).attributes();
            let _ = self.encoder.announce(attributes, profile.family, &profile.codec, routes, out);
        }
    }

    /// Writes withdrawals of routes whose destinations are gone.
    pub fn withdraw_nlri(&mut self, profile: &Profile, mut gone: Vec<Nlri>, out: &mut Vec<u8>) {
        gone.sort_unstable();
        gone.dedup();
        self.encoder.withdraw(profile.family, &profile.codec, gone, out);
    }
}

/// The routes that messages of ours are about.
pub(crate) fn read_back(profile: &Profile, bytes: &[u8], mut each: impl FnMut(Nlri)) {
    let families = PerFamily::from_fn(|family| family == profile.family);
    let codec = Codec { families, add_path_receive: profile.codec.add_path_send, ..profile.codec };
    for message in messages(bytes) {
        if let Ok(Message::Update(update)) = bgp_wire::decode(message, &codec) {
            update.withdrawn().flatten().for_each(&mut each);
            update.reaches().flat_map(|reach| reach.nlri).for_each(&mut each);
        }
    }
}

/// Appends the mark before everything is sent again (RFC 7313 §4).
pub(crate) fn begin_of_refresh(family: Family, out: &mut Vec<u8>) {
    RouteRefresh { family: family.into(), subtype: RefreshSubtype::Begin }.encode(out);
}

/// Appends the mark after everything was sent again.
pub(crate) fn end_of_refresh(family: Family, out: &mut Vec<u8>) {
    RouteRefresh { family: family.into(), subtype: RefreshSubtype::End }.encode(out);
}
