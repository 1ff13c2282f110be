//! Members of the sets that rules name: addresses, and addresses with ports, of all endpoints a selector matches.
//!
//! An address counts once however many endpoints have it. Changes pile up until [`Sets::take`] fetches them, and what
//! came and went meanwhile is not told.

use crate::label_index::{ItemId, LabelIndex, SelectorId};
use crate::rule::{NamedPort, SetDefinition, SetId};
use model::net::Cidr;
use std::collections::{BTreeMap, BTreeSet, HashMap};
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

/// What an item of the index has to offer.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Contents {
    /// Its addresses or networks.
    pub nets: Box<[Cidr]>,
    /// Its named ports.
    pub ports: Box<[ContentPort]>,
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

/// All sets in use.
#[derive(Debug, Default)]
pub struct Sets {
    sets: HashMap<SetId, Set>,
    by_selector: HashMap<SelectorId, Vec<SetId>>,
    /// Sets about which something has to be told.
    dirty: BTreeMap<SetId, Pending>,
}

#[derive(Debug)]
struct Set {
    selector: SelectorId,
    port: Option<NamedPort>,
    users: u32,
    /// How many items have it.
    members: HashMap<Member, u32>,
}

/// What was not yet told of a set.
#[derive(Debug)]
enum Pending {
    /// Nothing of it was told yet: all members are.
    New,
    /// `true` for a member that came, `false` for one that went.
    Delta(BTreeMap<Member, bool>),
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
        if let Some(set) = self.sets.get_mut(&definition.id) {
            set.users += 1;
            return;
        }
        let (selector, _) = index.add_selector(&definition.selector);
        let mut members: HashMap<Member, u32> = HashMap::new();
        for item in index.items(selector) {
            let Some(contents) = contents(item) else { continue };
            offered(contents, definition.port.as_ref(), |member| *members.entry(member).or_default() += 1);
        }
        let id = definition.id.clone();
        // one that went and is back is compared with what was told
        self.dirty.entry(id.clone()).or_insert(Pending::New);
        self.by_selector.entry(selector).or_default().push(id.clone());
        self.sets.insert(id, Set { selector, port: definition.port.clone(), users: 1, members });
    }

    /// One rule less names this set.
    pub fn release(&mut self, id: &SetId, index: &mut LabelIndex) {
        let Some(set) = self.sets.get_mut(id) else { return };
        set.users -= 1;
        if set.users > 0 {
            return;
        }
        let Some(set) = self.sets.remove(id) else { return };
        if let Some(ids) = self.by_selector.get_mut(&set.selector) {
            ids.retain(|other| other != id);
            if ids.is_empty() {
                self.by_selector.remove(&set.selector);
            }
        }
        index.release_selector(set.selector);
        let told = match self.dirty.remove(id) {
            // nobody has heard of it
            Some(Pending::New) => return,
            Some(Pending::Gone(told)) => told,
            Some(Pending::Delta(delta)) => {
                let mut told: BTreeSet<Member> = set.members.into_keys().collect();
                for (member, came) in delta {
                    if came {
                        told.remove(&member);
                    } else {
                        told.insert(member);
                    }
                }
                told
            }
            None => set.members.into_keys().collect(),
        };
        self.dirty.insert(id.clone(), Pending::Gone(told));
    }

    /// An item that a selector matches offers this, or does so no longer.
    pub fn offer(&mut self, selector: SelectorId, contents: &Contents, begins: bool) {
        let Some(ids) = self.by_selector.get(&selector) else { return };
        for id in ids {
            let Some(set) = self.sets.get_mut(id) else { continue };
            let Set { port, members, .. } = set;
            let dirty = &mut self.dirty;
            offered(contents, port.as_ref(), |member| {
                if count(members, member, begins) {
                    note(dirty, id, member, begins);
                }
            });
        }
    }

    /// Everything that has to be told, sets in order of their names, members in order.
    pub fn take(&mut self) -> Vec<(SetId, SetChange)> {
        let dirty = std::mem::take(&mut self.dirty);
        dirty.into_iter().filter_map(|(id, pending)| Some((id.clone(), self.change(&id, pending)?))).collect()
    }

    fn change(&self, id: &SetId, pending: Pending) -> Option<SetChange> {
        let set = self.sets.get(id);
        let sorted = |set: &Set| {
            let mut members: Vec<Member> = set.members.keys().copied().collect();
            members.sort_unstable();
            members
        };
        let (added, removed): (Vec<Member>, Vec<Member>) = match (pending, set) {
            (Pending::New, Some(set)) => {
                let kind = if set.port.is_some() { SetKind::Ports } else { SetKind::Nets };
                return Some(SetChange::Create(kind, sorted(set)));
            }
            (Pending::New, None) => return None,
            (Pending::Gone(_) | Pending::Delta(_), None) => return Some(SetChange::Remove),
            (Pending::Delta(delta), Some(_)) => {
                let (added, removed): (Vec<_>, Vec<_>) = delta.into_iter().partition(|(_, came)| *came);
                let members = |all: Vec<(Member, bool)>| all.into_iter().map(|(member, _)| member).collect();
                (members(added), members(removed))
            }
            (Pending::Gone(told), Some(set)) => (
                sorted(set).into_iter().filter(|member| !told.contains(member)).collect(),
                told.into_iter().filter(|member| !set.members.contains_key(member)).collect(),
            ),
        };
        (!added.is_empty() || !removed.is_empty()).then_some(SetChange::Update { added, removed })
    }

    /// How many sets are in use.
    pub fn len(&self) -> usize {
        self.sets.len()
    }

    /// Whether none is.
    pub fn is_empty(&self) -> bool {
        self.sets.is_empty()
    }

    /// The members of a set, in no particular order.
    pub fn members(&self, id: &str) -> impl Iterator<Item = Member> {
        self.sets.get(id).into_iter().flat_map(|set| set.members.keys().copied())
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

fn note(dirty: &mut BTreeMap<SetId, Pending>, id: &SetId, member: Member, came: bool) {
    let pending = dirty.entry(id.clone()).or_insert_with(|| Pending::Delta(BTreeMap::new()));
    // a new set is told whole, and one that is back is compared with what was told
    if let Pending::Delta(delta) = pending {
        match delta.get(&member) {
            // it went and came, or came and went
            Some(before) if *before != came => {
                delta.remove(&member);
            }
            _ => {
                delta.insert(member, came);
            }
        }
    }
}

/// The members of one item in a set.
fn offered(contents: &Contents, port: Option<&NamedPort>, mut each: impl FnMut(Member)) {
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
