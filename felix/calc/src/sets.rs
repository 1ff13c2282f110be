//! Members of the sets that rules name: addresses, and addresses with ports, of all endpoints a selector matches.
//!
//! An address counts once however many endpoints have it. Changes pile up until [`Sets::take`] fetches them, and what
//! came and went meanwhile is not told.

mod log;

use crate::label_index::{ItemId, LabelIndex, SelectorId};
use crate::rule::{NamedPort, SetDefinition, SetId};
use crate::slab::Slab;
use foldhash::HashMap;
pub use log::Log;
use model::net::Cidr;
use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::Arc;

/// A member of a set.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Member {
    /// Addresses.
    Net(Cidr),
    /// An address, a protocol number and a port.
    Port(IpAddr, u8, u16),
}

/// What a set's members are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SetKind {
    /// [`Member::Net`]
    Nets,
    /// [`Member::Port`]
    Ports,
}

/// What an item of the index has to offer, each thing once and in order.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Contents {
    nets: Box<[Cidr]>,
    ports: Box<[ContentPort]>,
}

impl Contents {
    /// These addresses or networks, and these named ports.
    pub fn new(nets: impl IntoIterator<Item = Cidr>, ports: impl IntoIterator<Item = ContentPort>) -> Self {
        Contents { nets: each_once(nets), ports: each_once(ports) }
    }

    /// What a workload with these addresses and named ports has to offer.
    pub fn of_workload(addresses: &[IpAddr], ports: &[ContentPort]) -> Self {
        Self::new(addresses.iter().copied().map(Cidr::host), ports.iter().cloned())
    }
}

fn each_once<T: Ord>(all: impl IntoIterator<Item = T>) -> Box<[T]> {
    let mut all: Vec<T> = all.into_iter().collect();
    all.sort_unstable();
    all.dedup();
    all.into()
}

/// A named port of an endpoint.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ContentPort {
    /// Its name.
    pub name: Arc<str>,
    /// Protocol number.
    pub protocol: u8,
    /// The port.
    pub port: u16,
}

/// What became of a set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SetChange {
    /// It is new, with these members.
    Create(SetKind, Vec<Member>),
    /// It was there: these came, these went.
    Update {
        /// Came.
        added: Vec<Member>,
        /// Went.
        removed: Vec<Member>,
    },
    /// No rule names it any more.
    Remove,
}

/// All sets in use, and those that went and of which that was not yet told.
#[derive(Debug, Default)]
pub struct Sets {
    sets: Slab<Set>,
    by_id: HashMap<SetId, SetNumber>,
    by_selector: HashMap<SelectorId, Vec<SetNumber>>,
    /// Sets about which something has to be told, each once.
    dirty: Vec<SetNumber>,
    used: usize,
}

type SetNumber = u32;

#[derive(Debug)]
struct Set {
    id: SetId,
    port: Option<NamedPort>,
    /// `None` for one that is not in use any more.
    used: Option<Used>,
    pending: Option<Pending>,
}

#[derive(Debug)]
struct Used {
    selector: SelectorId,
    users: u32,
    /// How many items have it.
    members: HashMap<Member, u32>,
}

/// What was not yet told of a set.
#[derive(Debug)]
enum Pending {
    /// Nothing of it was told yet: all members are.
    New,
    /// Members that came and went.
    Delta(Log),
    /// It was told with these members, and went since then.
    Gone(BTreeSet<Member>),
}

impl Sets {
    /// One more rule names this set.
    pub fn acquire<'a>(
        &mut self,
        definition: &SetDefinition,
        index: &mut LabelIndex,
        contents: &dyn Fn(ItemId) -> Option<&'a Contents>,
    ) {
        let number = match self.by_id.get(&definition.id) {
            Some(number) => *number,
            None => {
                let (id, port) = (definition.id.clone(), definition.port.clone());
                let number =
                    self.sets.add(Set { id: id.clone(), port, used: None, pending: Some(Pending::New) });
                self.by_id.insert(id, number);
                self.dirty.push(number);
                number
            }
        };
        let Some(set) = self.sets.get_mut(number) else { return };
        if let Some(used) = &mut set.used {
            used.users += 1;
            return;
        }
        let (selector, _) = index.add_selector(&definition.selector);
        let mut members: HashMap<Member, u32> = HashMap::default();
        for item in index.items(selector) {
            let Some(contents) = contents(item) else { continue };
            offered(contents, definition.port.as_ref(), &mut |member| {
                *members.entry(member).or_default() += 1
            });
        }
        set.used = Some(Used { selector, users: 1, members });
        self.by_selector.entry(selector).or_default().push(number);
        self.used += 1;
    }

    /// One rule less names this set.
    pub fn release(&mut self, id: &SetId, index: &mut LabelIndex) {
        let Some(number) = self.by_id.get(id).copied() else { return };
        let Some(set) = self.sets.get_mut(number) else { return };
        if let Some(used) = &mut set.used
            && used.users > 1
        {
            used.users -= 1;
            return;
        }
        let Some(Used { selector, members, .. }) = set.used.take() else { return };
        self.used -= 1;
        if let Some(numbers) = self.by_selector.get_mut(&selector) {
            numbers.retain(|other| *other != number);
            if numbers.is_empty() {
                self.by_selector.remove(&selector);
            }
        }
        index.release_selector(selector);
        let told = match set.pending.take() {
            // nobody has heard of it: it stays among the dirty, and is forgotten when it is its turn
            Some(Pending::New) => {
                set.pending = Some(Pending::New);
                return;
            }
            Some(Pending::Gone(told)) => told,
            Some(Pending::Delta(delta)) => {
                let mut told: BTreeSet<Member> = members.into_keys().collect();
                for (member, came) in delta.outcome() {
                    if came {
                        told.remove(&member);
                    } else {
                        told.insert(member);
                    }
                }
                told
            }
            None => {
                self.dirty.push(number);
                members.into_keys().collect()
            }
        };
        set.pending = Some(Pending::Gone(told));
    }

    /// An item that a selector matches offers this, or does so no longer.
    pub fn offer(&mut self, selector: SelectorId, contents: &Contents, begins: bool) {
        self.of_selector(selector, |port, each| offered(contents, port, &mut |member| each(member, begins)));
    }

    /// An item that a selector matches, before and after, offers something else.
    pub fn replace(&mut self, selector: SelectorId, was: &Contents, is: &Contents) {
        self.of_selector(selector, |port, each| match port {
            // of a network set with very many members few may have changed
            None => difference(&was.nets, &is.nets, |net, begins| each(Member::Net(net), begins)),
            Some(_) => {
                offered(was, port, &mut |member| each(member, false));
                offered(is, port, &mut |member| each(member, true));
            }
        });
    }

    /// Counts members of each set that has this selector: more of one, or less.
    fn of_selector(
        &mut self,
        selector: SelectorId,
        tell: impl Fn(Option<&NamedPort>, &mut dyn FnMut(Member, bool)),
    ) {
        let Some(numbers) = self.by_selector.get(&selector) else { return };
        for number in numbers {
            let Some(Set { port, used: Some(used), pending, .. }) = self.sets.get_mut(*number) else {
                continue;
            };
            let dirty = &mut self.dirty;
            tell(port.as_ref(), &mut |member, begins| {
                if count(&mut used.members, member, begins) {
                    note(pending, member, begins, || dirty.push(*number));
                }
            });
        }
    }

    /// Everything that has to be told, sets in order of their names, members in order.
    pub fn take(&mut self) -> Vec<(SetId, SetChange)> {
        let mut changes = Vec::new();
        for number in std::mem::take(&mut self.dirty) {
            let Some(set) = self.sets.get_mut(number) else { continue };
            let id = set.id.clone();
            if let Some(change) = set.take() {
                changes.push((id.clone(), change));
            }
            if set.used.is_none() {
                self.sets.remove(number);
                self.by_id.remove(&id);
            }
        }
        changes.sort_by(|a, b| a.0.cmp(&b.0));
        changes
    }

    /// What an item offers instead of what it offered, for a consumer that does not wait for [`Sets::take`]: the sets it was
    /// told that have all of the one get the other besides. What is taken away is for `take` to say.
    pub fn tell_ahead(&mut self, was: &Contents, is: &Contents) -> Vec<(SetId, SetChange)> {
        let mut changes = Vec::new();
        let mut numbers: Vec<SetNumber> = self.by_id.values().copied().collect();
        // the same state gives the same order of changes
        numbers.sort_unstable();
        for number in numbers {
            let Some(set) = self.sets.get_mut(number) else { continue };
            let (mut some, mut all) = (false, true);
            offered(was, set.port.as_ref(), &mut |member| (some, all) = (true, all && set.is_told(member)));
            let mut added = Vec::new();
            if some && all {
                offered(is, set.port.as_ref(), &mut |member| added.push(member));
                added.retain(|member| !set.is_told(*member));
            }
            if !added.is_empty() {
                let clean = set.pending.is_none();
                added.iter().for_each(|member| set.told(*member));
                if clean {
                    self.dirty.push(number);
                }
                changes.push((set.id.clone(), SetChange::Update { added, removed: Vec::new() }));
            }
        }
        changes
    }

    /// Every set that is told already, with all its members: in order of their names.
    pub fn whole(&self) -> Vec<(SetId, SetChange)> {
        let told = self.by_id.values().filter_map(|number| self.sets.get(*number));
        let told = told.filter(|set| !matches!(set.pending, Some(Pending::New)));
        let mut all: Vec<(SetId, SetChange)> =
            told.filter_map(|set| Some((set.id.clone(), set.whole(set.used.as_ref()?)))).collect();
        all.sort_by(|a, b| a.0.cmp(&b.0));
        all
    }

    /// How many sets are in use.
    pub fn len(&self) -> usize {
        self.used
    }

    /// Whether none is.
    pub fn is_empty(&self) -> bool {
        self.used == 0
    }
}

impl Used {
    fn sorted(&self) -> Vec<Member> {
        let mut members: Vec<Member> = self.members.keys().copied().collect();
        members.sort_unstable();
        members
    }
}

impl Set {
    /// Whether the consumer was told that it has this member.
    fn is_told(&self, member: Member) -> bool {
        let there = || self.used.as_ref().is_some_and(|used| used.members.contains_key(&member));
        match &self.pending {
            None => there(),
            Some(Pending::New) => false,
            Some(Pending::Delta(log)) => there() != log.differs(member),
            Some(Pending::Gone(told)) => told.contains(&member),
        }
    }

    /// The consumer was told of a member that it did not know.
    fn told(&mut self, member: Member) {
        let there = self.used.as_ref().is_some_and(|used| used.members.contains_key(&member));
        match self.pending.get_or_insert_with(|| Pending::Delta(Log::default())) {
            Pending::New => {}
            Pending::Delta(log) => log.push(member, there),
            Pending::Gone(told) => drop(told.insert(member)),
        }
    }

    fn whole(&self, used: &Used) -> SetChange {
        let kind = if self.port.is_some() { SetKind::Ports } else { SetKind::Nets };
        SetChange::Create(kind, used.sorted())
    }

    /// What has to be told of it.
    fn take(&mut self) -> Option<SetChange> {
        let (added, removed): (Vec<Member>, Vec<Member>) = match (self.pending.take()?, &self.used) {
            (Pending::New, Some(used)) => return Some(self.whole(used)),
            (Pending::New, None) => return None,
            (Pending::Gone(_) | Pending::Delta(_), None) => return Some(SetChange::Remove),
            (Pending::Delta(delta), Some(_)) => {
                let (added, removed): (Vec<_>, Vec<_>) =
                    delta.outcome().into_iter().partition(|(_, came)| *came);
                let members = |all: Vec<(Member, bool)>| all.into_iter().map(|(member, _)| member).collect();
                (members(added), members(removed))
            }
            (Pending::Gone(told), Some(used)) => (
                used.sorted().into_iter().filter(|member| !told.contains(member)).collect(),
                told.into_iter().filter(|member| !used.members.contains_key(member)).collect(),
            ),
        };
        (!added.is_empty() || !removed.is_empty()).then_some(SetChange::Update { added, removed })
    }
}

/// Counts one more or one less; whether the member came or went by it.
fn count(members: &mut HashMap<Member, u32>, member: Member, begins: bool) -> bool {
    if begins {
        let count = members.entry(member).or_default();
        *count += 1;
        return *count == 1;
    }
    match members.get_mut(&member) {
        Some(count) if *count > 1 => {
            *count -= 1;
            false
        }
        Some(_) => members.remove(&member).is_some(),
        None => false,
    }
}

fn note(pending: &mut Option<Pending>, member: Member, came: bool, now_dirty: impl FnOnce()) {
    let pending = pending.get_or_insert_with(|| {
        now_dirty();
        Pending::Delta(Log::default())
    });
    // a new set is told whole, and one that is back is compared with what was told
    if let Pending::Delta(log) = pending {
        log.push(member, came);
    }
}

/// The members of one item in a set.
fn offered(contents: &Contents, port: Option<&NamedPort>, each: &mut dyn FnMut(Member)) {
    let Some(wanted) = port else {
        contents.nets.iter().for_each(|net| each(Member::Net(*net)));
        return;
    };
    for port in contents.ports.iter().filter(|port| port.name == wanted.name) {
        if wanted.protocol.is_some_and(|protocol| protocol != port.protocol) {
            continue;
        }
        // a network has no ports, only single addresses do
        for net in contents.nets.iter().filter(|net| net.prefix() == net.family().bits()) {
            each(Member::Port(net.addr(), port.protocol, port.port));
        }
    }
}

/// What stands in only one of two ordered lists: `true` in the second.
pub(crate) fn difference<T: Ord + Copy>(was: &[T], is: &[T], mut each: impl FnMut(T, bool)) {
    let (mut was, mut is) = (was.iter().copied().peekable(), is.iter().copied().peekable());
    loop {
        match (was.peek().copied(), is.peek().copied()) {
            (Some(old), Some(new)) if old == new => {
                was.next();
                is.next();
            }
            (Some(old), new) if new.is_none_or(|new| old < new) => {
                was.next();
                each(old, false);
            }
            (_, Some(new)) => {
                is.next();
                each(new, true);
            }
            (_, None) => return,
        }
    }
}
