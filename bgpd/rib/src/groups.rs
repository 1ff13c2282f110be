//! The groups of one family, and which of them each neighbour is in.

use crate::export::Profile;
use crate::group::{Change, Group, NOBODY};
use crate::member::Member;
use crate::peer::PeerId;
use crate::shared::Shared;
use crate::table::{Address, Table};

/// See the module. A group without members does not exist.
#[derive(Debug, Default)]
pub(crate) struct Groups {
    groups: Vec<Option<Group>>,
    /// By the neighbour's number.
    places: Vec<Option<usize>>,
    /// How many know paths by their numbers.
    with_paths: usize,
}

impl Groups {
    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = &Group> {
        self.groups.iter().flatten()
    }

    /// All of them, to change.
    pub fn iter_mut(&mut self) -> impl Iterator<Item = &mut Group> {
        self.groups.iter_mut().flatten()
    }

    /// Whether some neighbour knows paths by their numbers.
    pub fn tells_paths(&self) -> bool {
        self.with_paths > 0
    }

    fn place(&self, peer: PeerId) -> Option<usize> {
        *self.places.get(peer.index())?
    }

    /// The group a neighbour is in.
    pub fn of(&self, peer: PeerId) -> Option<&Group> {
        self.groups.get(self.place(peer)?)?.as_ref()
    }

    /// The group a neighbour is in, to change.
    pub fn of_mut(&mut self, peer: PeerId) -> Option<&mut Group> {
        let place = self.place(peer)?;
        self.groups.get_mut(place)?.as_mut()
    }

    /// A neighbour is sent nothing any more.
    pub fn part(&mut self, peer: PeerId, shared: &mut Shared) {
        let Some(place) = self.places.get_mut(peer.index()).and_then(Option::take) else { return };
        if let Some(Some(group)) = self.groups.get_mut(place) {
            group.part(peer.0 as u16);
        }
        self.dissolve_if_empty(place, shared);
    }

    fn dissolve_if_empty(&mut self, place: usize, shared: &mut Shared) {
        if let Some(slot) = self.groups.get_mut(place)
            && let Some(group) = slot
            && group.members.is_empty()
        {
            group.dissolve(shared);
            self.with_paths -= usize::from(group.add_path());
            *slot = None;
        }
    }

    /// Puts a neighbour into the group of its profile, with what it was told taken along.
    pub fn settle<A: Address>(&mut self, peer: PeerId, table: &Table<A>, shared: &mut Shared) {
        let Some(profile) = Profile::of(shared.peers.get(peer), A::FAMILY) else { return };
        let same = |group: &Option<Group>| group.as_ref().is_some_and(|g| g.export.profile == profile);
        let (number, from) = (peer.0 as u16, self.place(peer));
        let to = match self.groups.iter().position(same) {
            Some(to) if from == Some(to) => return,
            Some(to) => to,
            None => self.make(profile, table, shared),
        };
        let member = from.and_then(|from| self.take(number, from, to, table, shared));
        if let Some(Some(group)) = self.groups.get_mut(to) {
            match member {
                Some(member) => group.admit(number, member),
                None => group.join(number),
            }
        }
        if self.places.len() <= peer.index() {
            self.places.resize(peer.index() + 1, None);
        }
        if let Some(place) = self.places.get_mut(peer.index()) {
            *place = Some(to);
        }
    }

    fn make<A: Address>(&mut self, profile: Profile, table: &Table<A>, shared: &mut Shared) -> usize {
        let mut group = Group::new(profile);
        group.process(table, table.numbers().map(|dest| Change { dest, source: NOBODY }), shared);
        let free = self.groups.iter().position(Option::is_none).unwrap_or_else(|| {
            self.groups.push(None);
            self.groups.len() - 1
        });
        self.with_paths += usize::from(group.add_path());
        if let Some(slot) = self.groups.get_mut(free) {
            *slot = Some(group);
        }
        free
    }

    /// Takes a member out of its group; it lags by what the other group tells differently.
    fn take<A: Address>(
        &mut self,
        peer: u16,
        from: usize,
        to: usize,
        table: &Table<A>,
        shared: &mut Shared,
    ) -> Option<Member> {
        let mut member = self.groups.get_mut(from)?.as_mut()?.part(peer)?;
        let mut lag = member.lag.take().unwrap_or_default();
        if let (Some(Some(old)), Some(Some(new))) = (self.groups.get(from), self.groups.get(to)) {
            let differs = |dest: &u32| old.told_to(table, peer, *dest) != new.told_to(table, peer, *dest);
            table.numbers().filter(differs).for_each(|dest| lag.mark(dest));
        }
        self.dissolve_if_empty(from, shared);
        Some(Member { lag: Some(lag), ..member })
    }
}
