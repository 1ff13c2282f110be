//! Destinations and paths of one family.
//!
//! A destination is found by its prefix through an index that holds numbers only; the prefix lies in the destination.
//! Its paths are a list through the path table. Number 0 is no destination and no path, so that fresh entries are empty.

use crate::chunked::Chunked;
use crate::index::Index;
use crate::mix::mix;
use bgp_wire::{Family, Ipv4Prefix, Ipv6Prefix, Nlri, NlriIter, Prefix};

/// Address part of a prefix: what the two families differ in.
pub(crate) trait Address: Copy + Default + Eq + std::fmt::Debug {
    /// The family.
    const FAMILY: Family;
    /// Address and length of a prefix; `None` if it is of the other family.
    fn split(prefix: Prefix) -> Option<(Self, u8)>;
    /// The prefix again.
    fn join(self, len: u8) -> Prefix;
    /// Reads the next route of a message: path identifier, address, length.
    fn next(routes: &mut NlriIter<'_>) -> Option<(u32, Self, u8)>;
    /// All its bits, folded to 64.
    fn folded(self) -> u64;
}

impl Address for u32 {
    const FAMILY: Family = Family::Ipv4Unicast;

    #[inline]
    fn split(prefix: Prefix) -> Option<(Self, u8)> {
        match prefix {
            Prefix::V4(p) => Some((u32::from(p.addr()), p.len())),
            Prefix::V6(_) => None,
        }
    }

    #[inline]
    fn join(self, len: u8) -> Prefix {
        Prefix::V4(Ipv4Prefix::from_bits(self, len))
    }

    #[inline]
    fn next(routes: &mut NlriIter<'_>) -> Option<(u32, Self, u8)> {
        routes.next_v4()
    }

    #[inline]
    fn folded(self) -> u64 {
        u64::from(self)
    }
}

impl Address for [u32; 4] {
    const FAMILY: Family = Family::Ipv6Unicast;

    #[inline]
    fn split(prefix: Prefix) -> Option<(Self, u8)> {
        match prefix {
            Prefix::V4(_) => None,
            Prefix::V6(p) => Some((words(p.addr().to_bits()), p.len())),
        }
    }

    #[inline]
    fn join(self, len: u8) -> Prefix {
        let bits = self.into_iter().fold(0u128, |bits, word| bits << 32 | u128::from(word));
        Prefix::V6(Ipv6Prefix::from_bits(bits, len))
    }

    #[inline]
    fn next(routes: &mut NlriIter<'_>) -> Option<(u32, Self, u8)> {
        routes.next_v6().map(|(path_id, bits, len)| (path_id, words(bits), len))
    }

    #[inline]
    fn folded(self) -> u64 {
        let [a, b, c, d] = self.map(u64::from);
        (c << 32 | d) ^ mix((a << 32 | b) ^ 0x2545_f491_4f6c_dd1d)
    }
}

/// An IPv6 address in words: a table of them has no gaps.
fn words(bits: u128) -> [u32; 4] {
    [(bits >> 96) as u32, (bits >> 64) as u32, (bits >> 32) as u32, bits as u32]
}

/// A destination.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Dest<A> {
    addr: A,
    /// First of its paths: the best one, if [`Dest::HAS_BEST`]. In a free entry, the next free one.
    pub head: u32,
    len: u8,
    /// See the constants.
    pub flags: u8,
}

impl<A: Address> Dest<A> {
    /// It is in use.
    const LIVE: u8 = 1;
    /// Its first path is the best.
    pub const HAS_BEST: u8 = 2;
    /// It stands in the queue of changes for groups.
    pub const QUEUED: u8 = 4;
    /// It stands in the queue of changes for the FIB.
    pub const FIB_QUEUED: u8 = 8;
    /// It has no path, and everybody was told: it goes when there is time, unless it is announced again before.
    pub const VACANT: u8 = 16;
    /// It stands in the list of those that may be vacant.
    const LISTED: u8 = 32;

    /// Its prefix.
    pub fn prefix(&self) -> Prefix {
        self.addr.join(self.len)
    }

    /// Whether the flag is set.
    pub fn is(&self, flag: u8) -> bool {
        self.flags & flag != 0
    }
}

/// One path to a destination.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Path {
    /// Its attributes as the decision and others see them, import policy applied; 0 in a free entry.
    pub set: u32,
    /// Path identifier it was received with (RFC 7911); the kind of source in what we originate.
    pub path_id: u32,
    /// Next path of the destination, or next free entry.
    pub next: u32,
    /// Number of the peer it came from.
    pub peer: u16,
    /// See the constants.
    pub flags: u16,
}

impl Path {
    /// Kept over a restart or a refresh of its peer, which has not announced it again yet (RFC 4724 §4.2, RFC 7313 §4).
    pub const STALE: u16 = 1;
    /// Import policy rejects it.
    pub const REJECTED: u16 = 2;
    /// It has been through us or through our AS (RFC 4271 §9.1.2, RFC 4456 §8), or its next hop is ourselves (§6.3).
    pub const LOOPED: u16 = 4;
    /// Withdrawn, but neighbours that were told of it by its identifier have not been told so yet.
    pub const DEAD: u16 = 8;
    /// Import policy changed it: what came before lies in a table of its own.
    pub const CHANGED: u16 = 16;
    /// What keeps a path out of the decision, whatever its next hop.
    pub const UNUSABLE: u16 = Path::REJECTED | Path::LOOPED | Path::DEAD;

    /// Whether the flag is set.
    pub fn is(&self, flag: u16) -> bool {
        self.flags & flag != 0
    }
}

/// How many routes are looked up together: about as many reads as a processor has under way at once.
pub(crate) const STRETCH: usize = 16;

/// A route and where its destination is.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Place<A> {
    /// Its path identifier.
    pub path_id: u32,
    addr: A,
    hash: u32,
    /// Number of its destination; 0 if there was none when it was looked up.
    pub dest: u32,
    len: u8,
}

impl<A: Address> Place<A> {
    /// The route's prefix.
    #[inline]
    pub fn prefix(&self) -> Prefix {
        self.addr.join(self.len)
    }
}

/// All destinations of a family.
#[derive(Debug)]
pub(crate) struct Table<A> {
    index: Index,
    dests: Chunked<Dest<A>>,
    paths: Chunked<Path>,
    /// Highest numbers that were ever used.
    dests_end: u32,
    paths_end: u32,
    free_dest: u32,
    free_path: u32,
    /// Destinations that are vacant, or were when they were listed.
    vacated: Vec<u32>,
    /// How many are vacant.
    vacant: usize,
    /// How many were made since [`Table::take_made`] asked.
    made: usize,
    seed: u64,
}

/// Where prefixes lie in the index is not to be foreseen.
#[inline]
fn hash<A: Address>(seed: u64, addr: A, len: u8) -> u32 {
    (mix(addr.folded() ^ u64::from(len) << 56 ^ seed ^ 0x2545_f491_4f6c_dd1d) >> 32) as u32
}

impl<A: Address> Table<A> {
    /// Empty. `seed` makes it unpredictable which prefixes lie close together in the index.
    pub fn new(seed: u64) -> Self {
        Table {
            index: Index::default(),
            dests: Chunked::default(),
            paths: Chunked::default(),
            dests_end: 0,
            paths_end: 0,
            free_dest: 0,
            free_path: 0,
            vacated: Vec::new(),
            vacant: 0,
            made: 0,
            seed,
        }
    }

    /// How many destinations there are, without vacant ones.
    pub fn len(&self) -> usize {
        self.index.len() - self.vacant
    }

    /// All numbers of destinations, those free now among them.
    pub fn numbers(&self) -> std::ops::RangeInclusive<u32> {
        1..=self.dests_end
    }

    /// The destination of this number.
    #[inline]
    pub fn dest(&self, dest: u32) -> &Dest<A> {
        self.dests.get(dest)
    }

    /// The destination of this number, to change.
    #[inline]
    pub fn dest_mut(&mut self, dest: u32) -> &mut Dest<A> {
        self.dests.get_mut(dest)
    }

    /// Whether this number is a destination at present.
    pub fn is_live(&self, dest: u32) -> bool {
        self.dests.get(dest).is(Dest::<A>::LIVE)
    }

    /// The path of this number.
    #[inline]
    pub fn path(&self, path: u32) -> &Path {
        self.paths.get(path)
    }

    /// The path of this number, to change.
    #[inline]
    pub fn path_mut(&mut self, path: u32) -> &mut Path {
        self.paths.get_mut(path)
    }

    /// The paths of a destination with their numbers, the best first.
    pub fn paths_of(&self, dest: u32) -> impl Iterator<Item = (u32, &Path)> {
        let mut next = if self.is_live(dest) { self.dest(dest).head } else { 0 };
        std::iter::from_fn(move || {
            let number = next;
            if number == 0 {
                return None;
            }
            let path = self.path(number);
            next = path.next;
            Some((number, path))
        })
    }

    /// The best path of a destination.
    #[inline]
    pub fn best(&self, dest: u32) -> Option<(u32, &Path)> {
        let entry = self.dest(dest);
        entry.is(Dest::<A>::HAS_BEST).then(|| (entry.head, self.path(entry.head)))
    }

    /// The destination of a prefix.
    #[inline]
    pub fn find(&self, prefix: Prefix) -> Option<u32> {
        let (addr, len) = A::split(prefix)?;
        self.find_hashed(hash(self.seed, addr, len), addr, len)
    }

    #[inline]
    fn find_hashed(&self, hash: u32, addr: A, len: u8) -> Option<u32> {
        self.index.find(hash, |dest| {
            let dest = self.dests.get(dest);
            dest.addr == addr && dest.len == len
        })
    }

    #[inline]
    fn place(&self, path_id: u32, addr: A, len: u8) -> Place<A> {
        Place { path_id, addr, hash: hash(self.seed, addr, len), dest: 0, len }
    }

    /// Where a route's destination is; `None` for a route of the other family.
    pub fn look_up(&self, nlri: Nlri) -> Option<Place<A>> {
        let (addr, len) = A::split(nlri.prefix)?;
        let place = self.place(nlri.path_id, addr, len);
        Some(Place { dest: self.find_hashed(place.hash, addr, len).unwrap_or(0), ..place })
    }

    /// Looks up the next [`STRETCH`] routes, their waits for memory overlapping; the first path of each is at hand then.
    #[inline]
    pub fn look_up_each(&self, routes: &mut NlriIter<'_>, places: &mut Vec<Place<A>>) {
        places.clear();
        let mut seen = 0;
        while places.len() < STRETCH
            && let Some((path_id, addr, len)) = A::next(routes)
        {
            let place = self.place(path_id, addr, len);
            seen ^= self.index.touch(place.hash);
            places.push(place);
        }
        for place in places.iter_mut() {
            place.dest = self.find_hashed(place.hash, place.addr, place.len).unwrap_or(0);
        }
        for place in places.iter() {
            seen ^= self.first(place).set;
        }
        std::hint::black_box(seen);
    }

    /// The first path of a route's destination, if it had one when it was looked up.
    #[inline]
    pub fn first(&self, place: &Place<A>) -> &Path {
        self.paths.get(self.dests.get(place.dest).head)
    }

    /// Has at hand what [`Table::free_dest`] will read of these.
    pub fn fetch(&self, dests: &[u32]) {
        let entries = dests.iter().map(|dest| self.dests.get(*dest));
        let seen = entries.fold(0, |seen, e| seen ^ self.index.touch(hash(self.seed, e.addr, e.len)));
        std::hint::black_box(seen);
    }

    /// The destination of a route that was looked up, made if there is none.
    #[inline]
    pub fn find_or_make(&mut self, place: &Place<A>) -> u32 {
        let Place { addr, len, hash, dest, .. } = *place;
        if dest != 0 {
            return dest;
        }
        // The same prefix may have come twice since then.
        if let Some(dest) = self.find_hashed(hash, addr, len) {
            return dest;
        }
        let dest = match self.free_dest {
            0 => {
                self.dests_end += 1;
                self.dests_end
            }
            free => {
                self.free_dest = self.dests.get(free).head;
                free
            }
        };
        self.index.insert(hash, dest);
        self.made += 1;
        *self.dests.get_mut(dest) = Dest { addr, head: 0, len, flags: Dest::<A>::LIVE };
        dest
    }

    /// A destination has no paths, and nobody has to hear of it any more.
    pub fn vacate(&mut self, dest: u32) {
        let entry = self.dests.get_mut(dest);
        if !entry.is(Dest::<A>::VACANT) {
            entry.flags |= Dest::<A>::VACANT;
            self.vacant += 1;
        }
        if !entry.is(Dest::<A>::LISTED) {
            entry.flags |= Dest::<A>::LISTED;
            self.vacated.push(dest);
        }
    }

    /// A destination is about to change: it is not vacant any more.
    #[inline]
    pub fn occupy(&mut self, dest: u32) -> &mut Dest<A> {
        let entry = self.dests.get_mut(dest);
        if entry.is(Dest::<A>::VACANT) {
            entry.flags &= !Dest::<A>::VACANT;
            self.vacant -= 1;
        }
        entry
    }

    /// Takes vacant destinations off the list, looking at `most` of it, for [`Table::free_dest`].
    pub fn take_vacated(&mut self, most: usize) -> Vec<u32> {
        let mut taken = self.vacated.split_off(self.vacated.len().saturating_sub(most));
        taken.retain(|dest| {
            let entry = self.dests.get_mut(*dest);
            entry.flags &= !Dest::<A>::LISTED;
            entry.is(Dest::<A>::VACANT)
        });
        if self.vacated.is_empty() {
            self.vacated = Vec::new();
        }
        taken
    }

    /// Whether [`Table::take_vacated`] may have something.
    pub fn has_vacated(&self) -> bool {
        !self.vacated.is_empty()
    }

    /// How many destinations were made since this was asked last.
    pub fn take_made(&mut self) -> usize {
        std::mem::take(&mut self.made)
    }

    /// Forgets a vacant destination.
    pub fn free_dest(&mut self, dest: u32) {
        let entry = *self.dests.get(dest);
        if !entry.is(Dest::<A>::VACANT) {
            return;
        }
        self.vacant -= 1;
        self.index.remove(hash(self.seed, entry.addr, entry.len), dest);
        *self.dests.get_mut(dest) = Dest { head: self.free_dest, ..Dest::default() };
        self.free_dest = dest;
        if self.index.is_empty() {
            *self = Table::new(self.seed);
        }
    }

    /// Adds a path behind the first, without attributes yet.
    #[inline]
    pub fn add_path(&mut self, dest: u32, path_id: u32, peer: u16) -> u32 {
        let number = match self.free_path {
            0 => {
                self.paths_end += 1;
                self.paths_end
            }
            free => {
                self.free_path = self.paths.get(free).next;
                free
            }
        };
        let head = self.dests.get(dest).head;
        let next = if head == 0 {
            self.dests.get_mut(dest).head = number;
            0
        } else {
            std::mem::replace(&mut self.paths.get_mut(head).next, number)
        };
        *self.paths.get_mut(number) = Path { set: 0, path_id, next, peer, flags: 0 };
        number
    }

    /// Takes a path out of its destination and forgets it. The destination has no best path then until the next decision.
    pub fn free_path(&mut self, dest: u32, path: u32) {
        self.unlink(dest, path);
        *self.paths.get_mut(path) = Path { next: self.free_path, ..Path::default() };
        self.free_path = path;
    }

    fn unlink(&mut self, dest: u32, path: u32) {
        let next = self.path(path).next;
        let head = self.dest(dest).head;
        if head == path {
            let entry = self.dest_mut(dest);
            entry.head = next;
            entry.flags &= !Dest::<A>::HAS_BEST;
            return;
        }
        let mut at = head;
        while at != 0 && self.path(at).next != path {
            at = self.path(at).next;
        }
        if at != 0 {
            self.path_mut(at).next = next;
        }
    }

    /// Makes this path the first and best of its destination; 0 for none.
    #[inline]
    pub fn set_best(&mut self, dest: u32, path: u32) {
        if path == 0 {
            self.dest_mut(dest).flags &= !Dest::<A>::HAS_BEST;
            return;
        }
        let head = self.dest(dest).head;
        if head != path {
            self.unlink(dest, path);
            self.path_mut(path).next = head;
        }
        let entry = self.dest_mut(dest);
        entry.head = path;
        entry.flags |= Dest::<A>::HAS_BEST;
    }
}
