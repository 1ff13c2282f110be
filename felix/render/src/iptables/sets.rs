//! IP sets (`felix.md` §7 of the contract): for each set of the calculation one a family, and those that the node itself
//! fills.

use super::names;
use super::ruleset::{Member, SetKind, SetShape, Update};
use felix_calc::rule::SetId;
use felix_calc::sets::{Member as Stored, SetChange, SetKind as StoredKind};
use felix_calc::static_sets::{MASQUERADED_POOLS, POOLS};
use foldhash::HashMap;
use model::net::{Cidr, Family, family_of};
use std::collections::BTreeSet;
use std::net::IpAddr;

/// Addresses of the host itself.
pub const THIS_HOST: &str = "this-host";
/// Named by rules that are always there.
const ALWAYS: [&str; 2] = [POOLS, MASQUERADED_POOLS];
/// Workloads whose packets leave the cluster with a DSCP value.
pub const DSCP_SOURCES: &str = "dscp-src-net";

/// All sets.
#[derive(Debug)]
pub struct Sets {
    sets: HashMap<SetId, Set>,
    told: HashMap<(Family, SetId), SetShape>,
    dirty: BTreeSet<SetId>,
    families: Vec<Family>,
    max: u32,
}

#[derive(Debug)]
struct Set {
    kind: SetKind,
    /// With how many members of the calculation stand for each: the whole and its halves overlap.
    members: HashMap<Member, u32>,
    /// Members that may have changed since the last update, and whether they were told then.
    changed: HashMap<Member, bool>,
    /// It was made anew since the last update.
    renewed: bool,
}

impl Sets {
    /// None, of these families and at most so many members each.
    pub fn new(families: Vec<Family>, max: u32) -> Self {
        let empty = || ALWAYS.map(|id| (id.into(), Set::new(SetKind::Net)));
        Sets {
            sets: empty().into_iter().collect(),
            told: HashMap::default(),
            dirty: ALWAYS.map(Into::into).into(),
            families,
            max,
        }
    }

    /// The settings are these now.
    pub fn configure(&mut self, families: Vec<Family>, max: u32) {
        if (&self.families, self.max) != (&families, max) {
            (self.families, self.max) = (families, max);
            self.all_dirty();
        }
    }

    /// What is wanted of every set may be another thing.
    pub fn all_dirty(&mut self) {
        self.dirty.extend(self.sets.keys().cloned());
    }

    /// A set came, changed or went.
    pub fn apply(&mut self, id: &SetId, change: &SetChange) {
        match change {
            SetChange::Create(kind, members) => {
                let kind = match kind {
                    StoredKind::Nets => SetKind::Net,
                    StoredKind::Ports => SetKind::IpPort,
                };
                let mut set = Set::new(kind);
                members.iter().for_each(|member| set.change(member, true));
                self.sets.insert(id.clone(), set);
            }
            SetChange::Update { added, removed } => {
                let Some(set) = self.sets.get_mut(id) else { return };
                removed.iter().for_each(|member| set.change(member, false));
                added.iter().for_each(|member| set.change(member, true));
            }
            SetChange::Remove if ALWAYS.contains(&&**id) => {
                self.sets.insert(id.clone(), Set::new(SetKind::Net));
            }
            SetChange::Remove => {
                self.sets.remove(id);
            }
        }
        self.dirty.insert(id.clone());
    }

    /// Whether there is a set of this name.
    pub fn contains(&self, id: &str) -> bool {
        self.sets.contains_key(id)
    }

    /// Whether a set has members of a family.
    pub fn has_members(&self, id: &str, family: Family) -> bool {
        let of_family = |set: &Set| set.members.keys().any(|member| family_of_member(member) == family);
        self.sets.get(id).is_some_and(of_family)
    }

    /// A set that the node fills has these addresses now.
    pub fn set_addresses(&mut self, id: &str, kind: SetKind, addresses: &BTreeSet<IpAddr>) {
        let id: SetId = id.into();
        let set = self.sets.entry(id.clone()).or_insert_with(|| Set::new(kind));
        let wanted = |member: &Member| match member {
            Member::Net { address, .. } => addresses.contains(address),
            _ => false,
        };
        let gone: Vec<Member> = set.members.keys().filter(|member| !wanted(member)).copied().collect();
        gone.iter().for_each(|member| set.count(*member, false));
        for member in addresses.iter().map(|address| net(&Cidr::host(*address))) {
            if !set.members.contains_key(&member) {
                set.count(member, true);
            }
        }
        self.dirty.insert(id);
    }

    /// What has to be told, removals apart; `wanted` says which sets there are of a family.
    pub fn take(&mut self, wanted: impl Fn(&str, Family) -> bool, updates: &mut Vec<Update>) -> Vec<Update> {
        let mut removals = Vec::new();
        for id in std::mem::take(&mut self.dirty) {
            let mut set = self.sets.get_mut(&id);
            let changed = set.as_mut().map(|set| std::mem::take(&mut set.changed)).unwrap_or_default();
            let renewed = set.as_mut().is_none_or(|set| std::mem::take(&mut set.renewed));
            for family in [Family::V4, Family::V6] {
                let set = set.as_deref().filter(|_| self.families.contains(&family) && wanted(&id, family));
                let shape = set.map(|set| SetShape { kind: set.kind, max: self.max });
                let key = (family, id.clone());
                let told = self.told.get(&key).copied();
                let name = names::set(&id, family);
                let stays = told == shape && !renewed;
                if told.is_some() && !stays {
                    let gone = Update::Set { family, name: name.clone(), shape: None };
                    // one that is made anew is a removal and a creation, in this order
                    if shape.is_some() { &mut *updates } else { &mut removals }.push(gone);
                }
                let (Some(set), Some(shape)) = (set, shape) else {
                    self.told.remove(&key);
                    continue;
                };
                let (added, removed) = match stays {
                    true => set.difference(&changed, family),
                    false => {
                        updates.push(Update::Set { family, name: name.clone(), shape: Some(shape) });
                        self.told.insert(key, shape);
                        (set.of_family(family), Vec::new())
                    }
                };
                if !added.is_empty() || !removed.is_empty() {
                    updates.push(Update::Members { family, set: name, added, removed });
                }
            }
        }
        removals
    }
}

impl Set {
    fn new(kind: SetKind) -> Self {
        Set { kind, members: HashMap::default(), changed: HashMap::default(), renewed: true }
    }

    fn change(&mut self, member: &Stored, comes: bool) {
        match member {
            // the kernel's hash of networks has no place for the whole
            Stored::Net(whole) if whole.prefix() == 0 => {
                for half in halves(whole.family()) {
                    self.count(half, comes);
                }
            }
            Stored::Net(one) => self.count(net(one), comes),
            Stored::Port(address, protocol, port) => {
                self.count(Member::Port { address: *address, protocol: *protocol, port: *port }, comes);
            }
        }
    }

    fn count(&mut self, member: Member, comes: bool) {
        let was = self.members.get(&member).copied().unwrap_or(0);
        let now = if comes { was + 1 } else { was.saturating_sub(1) };
        match now {
            0 => self.members.remove(&member),
            now => self.members.insert(member, now),
        };
        if !self.renewed && (was == 0) != (now == 0) {
            self.changed.entry(member).or_insert(was > 0);
        }
    }

    fn of_family(&self, family: Family) -> Vec<Member> {
        let mut members: Vec<Member> =
            self.members.keys().filter(|member| family_of_member(member) == family).copied().collect();
        members.sort_unstable();
        members
    }

    /// Members that came and went.
    fn difference(&self, changed: &HashMap<Member, bool>, family: Family) -> (Vec<Member>, Vec<Member>) {
        let of_family = changed.iter().filter(|(member, _)| family_of_member(member) == family);
        let differs = of_family.filter(|(member, told)| self.members.contains_key(member) != **told);
        let (mut added, mut removed): (Vec<Member>, Vec<Member>) =
            differs.map(|(member, _)| *member).partition(|member| self.members.contains_key(member));
        added.sort_unstable();
        removed.sort_unstable();
        (added, removed)
    }
}

fn net(net: &Cidr) -> Member {
    Member::Net { address: net.addr(), length: net.prefix() }
}

fn halves(family: Family) -> [Member; 2] {
    let half = |top: u8| match family {
        Family::V4 => IpAddr::from([top, 0, 0, 0]),
        Family::V6 => IpAddr::from([u16::from(top) << 8, 0, 0, 0, 0, 0, 0, 0]),
    };
    [0, 0x80].map(|top| Member::Net { address: half(top), length: 1 })
}

fn family_of_member(member: &Member) -> Family {
    match member {
        Member::Net { address, .. }
        | Member::Port { address, .. }
        | Member::Pair { from: (address, _), .. } => family_of(*address),
    }
}

/// Addresses of the host's interfaces as its table of local routes has them.
pub fn of_host<'a>(addresses: impl Iterator<Item = &'a IpAddr>) -> BTreeSet<IpAddr> {
    let mut all: BTreeSet<IpAddr> = addresses.copied().collect();
    // the loopback network is local as a whole
    let loopback = |address: &IpAddr| matches!(address, IpAddr::V4(address) if address.is_loopback());
    if all.iter().any(loopback) {
        all.insert(IpAddr::from([127, 0, 0, 0]));
    }
    all
}
