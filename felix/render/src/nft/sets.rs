//! The sets that rules name: for each set of the calculation one set of the kernel a family and prefix length.
//!
//! Single addresses lie in a hash set, and so do the prefixes of each other length, which are looked up with the address
//! masked. A set of ranges instead would take milliseconds for one change among many. The set of single addresses is
//! there while the identifier is in use, those of other lengths while something is in them.

use super::names;
use super::packet::{address_type, bytes, table};
use super::ruleset::{SetShape, Update};
use felix_calc::rule::{SetDefinition, SetId};
use felix_calc::sets::{Log, Member, SetChange, SetKind};
use foldhash::{HashMap, HashSet, HashSetExt as _};
use model::net::Family;
use netfilter::nft::{DataType, Element};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// Where the members of a set are, for packets of one family.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Layout {
    /// Prefix length and name of the set that holds these; single addresses first, then longer ones before shorter ones.
    pub lengths: Vec<(u8, Arc<str>)>,
}

/// Who knows where members are.
pub trait Layouts {
    /// `None` for a set that is not there.
    fn layout(&self, id: &str, family: Family) -> Option<&Layout>;
}

/// All sets of the calculation.
#[derive(Debug)]
pub struct Sets {
    sets: HashMap<SetId, Set>,
    /// What is said of a set where it is listed.
    texts: HashMap<SetId, String>,
    /// What the kernel was told to have.
    told: HashMap<SetId, Told>,
    dirty: BTreeSet<SetId>,
    families: Vec<Family>,
}

/// Family and prefix length of the members that lie in one set of the kernel.
type Place = (Family, u8);

/// Sets of the kernel.
type Told = BTreeMap<Place, Arc<str>>;

/// What one set of the kernel is told.
struct Changes {
    /// Its elements were told before; else all of them are.
    told: bool,
    added: Vec<Element>,
    removed: Vec<Element>,
}

#[derive(Debug)]
struct Set {
    kind: SetKind,
    members: HashSet<Member>,
    counts: BTreeMap<Place, usize>,
    layouts: [Layout; 2],
    /// What came and went since the last update.
    pending: Log,
    /// It was made anew since the last update: what was told of it before says nothing.
    renewed: bool,
}

impl Layouts for Sets {
    fn layout(&self, id: &str, family: Family) -> Option<&Layout> {
        let layout = self.sets.get(id)?.layout(family);
        (!layout.lengths.is_empty()).then_some(layout)
    }
}

impl Sets {
    /// None, for packets of these families.
    pub fn new(families: Vec<Family>) -> Self {
        Sets {
            sets: HashMap::default(),
            texts: HashMap::default(),
            told: HashMap::default(),
            dirty: BTreeSet::new(),
            families,
        }
    }

    /// The families that have tables.
    pub fn set_families(&mut self, families: Vec<Family>) {
        if self.families != families {
            self.families = families;
            self.dirty.extend(self.sets.keys().cloned());
        }
    }

    /// Remembers what sets are about.
    pub fn describe<'a>(&mut self, definitions: impl IntoIterator<Item = &'a SetDefinition>) {
        for set in definitions {
            self.texts.entry(set.id.clone()).or_insert_with(|| match &set.port {
                None => set.selector.to_string(),
                Some(port) => format!("port {} of {}", port.name, set.selector),
            });
        }
    }

    /// A set came, changed or went.
    pub fn apply(&mut self, id: &SetId, change: &SetChange) {
        match change {
            SetChange::Create(kind, members) => {
                let mut set = Set {
                    kind: *kind,
                    members: HashSet::with_capacity(members.len()),
                    counts: BTreeMap::new(),
                    layouts: [Layout::default(), Layout::default()],
                    pending: Log::default(),
                    renewed: true,
                };
                set.change(members, true);
                self.sets.insert(id.clone(), set);
            }
            SetChange::Update { added, removed } => {
                let Some(set) = self.sets.get_mut(id) else { return };
                set.change(removed, false);
                set.change(added, true);
            }
            SetChange::Remove => {
                self.sets.remove(id);
                self.texts.remove(id);
            }
        }
        self.dirty.insert(id.clone());
    }

    /// Whether a set has members of a family.
    pub fn has_members(&self, id: &str, family: Family) -> bool {
        self.sets.get(id).is_some_and(|set| set.counts.keys().any(|(of, _)| *of == family))
    }

    /// The sets whose layout is another one than before: what names them has to be rendered again.
    pub fn settle(&mut self) -> Vec<SetId> {
        let mut changed = Vec::new();
        for id in &self.dirty {
            let same = self.sets.get_mut(id).is_some_and(|set| !set.settle(id, &self.families));
            if !same {
                changed.push(id.clone());
            }
        }
        changed
    }

    /// What has to be told. Layouts are settled.
    pub fn take(&mut self, updates: &mut Vec<Update>) {
        for id in std::mem::take(&mut self.dirty) {
            let told = self.told.remove(&id).unwrap_or_default();
            let set = self.sets.get_mut(&id);
            let wanted = set.as_ref().map(|set| set.wanted()).unwrap_or_default();
            let renewed = set.as_ref().is_none_or(|set| set.renewed);
            let stays = |key: &Place, name: &Arc<str>| !renewed && wanted.get(key) == Some(name);
            for ((family, _), name) in told.iter().filter(|(key, name)| !stays(key, name)) {
                updates.push(Update::Set { family: table(*family), name: name.clone(), shape: None });
            }
            let Some(set) = set else { continue };
            let text = self.texts.get(&id).map_or(&*id, String::as_str);
            set.take(&wanted, |key, name| told.get(key) == Some(name) && stays(key, name), text, updates);
            self.told.insert(id, wanted);
        }
    }
}

impl Set {
    fn layout(&self, family: Family) -> &Layout {
        let [v4, v6] = &self.layouts;
        match family {
            Family::V4 => v4,
            Family::V6 => v6,
        }
    }

    fn change(&mut self, members: &[Member], come: bool) {
        let mut changed: HashMap<Place, usize> = HashMap::default();
        for member in members {
            let differs = if come { self.members.insert(*member) } else { self.members.remove(member) };
            if !differs {
                continue;
            }
            *changed.entry(place(member)).or_default() += 1;
            if !self.renewed {
                self.pending.push(*member, come);
            }
        }
        for (place, changed) in changed {
            let count = self.counts.entry(place).or_default();
            *count = if come { *count + changed } else { count.saturating_sub(changed) };
            if *count == 0 {
                self.counts.remove(&place);
            }
        }
    }

    /// Brings the layouts up to date; whether one changed.
    fn settle(&mut self, id: &str, families: &[Family]) -> bool {
        let of = |family: Family| {
            let mut lengths = Vec::new();
            if families.contains(&family) {
                let bits = family.bits();
                let single = self.counts.get(&(family, bits)).copied().unwrap_or(0);
                lengths.push((bits, name_of(id, family, bits, single)));
                for ((_, length), count) in self.counts.range((family, 0)..(family, bits)).rev() {
                    lengths.push((*length, name_of(id, family, *length, *count)));
                }
            }
            Layout { lengths }
        };
        let layouts = [of(Family::V4), of(Family::V6)];
        let changed = layouts != self.layouts;
        self.layouts = layouts;
        changed
    }

    fn wanted(&self) -> Told {
        let of = |family| {
            self.layout(family).lengths.iter().map(move |(length, name)| ((family, *length), name.clone()))
        };
        of(Family::V4).chain(of(Family::V6)).collect()
    }

    fn take(
        &mut self,
        wanted: &Told,
        is_told: impl Fn(&Place, &Arc<str>) -> bool,
        text: &str,
        updates: &mut Vec<Update>,
    ) {
        let mut changes: HashMap<Place, Changes> = HashMap::default();
        let mut is_whole = false;
        for (place, name) in wanted {
            let told = is_told(place, name);
            let mut added = Vec::new();
            if !told {
                is_whole = true;
                let shape = Some(Arc::new(self.shape(*place, text)));
                updates.push(Update::Set { family: table(place.0), name: name.clone(), shape });
                added.reserve(self.counts.get(place).copied().unwrap_or(0));
            }
            changes.insert(*place, Changes { told, added, removed: Vec::new() });
        }
        if is_whole {
            for member in &self.members {
                if let Some(changes) = changes.get_mut(&place(member)).filter(|changes| !changes.told) {
                    changes.added.push(element(member));
                }
            }
        }
        for (member, comes) in std::mem::take(&mut self.pending).outcome() {
            if let Some(changes) = changes.get_mut(&place(&member)).filter(|changes| changes.told) {
                if comes { &mut changes.added } else { &mut changes.removed }.push(element(&member));
            }
        }
        self.renewed = false;
        for (place, set) in wanted {
            let Some(Changes { added, removed, .. }) = changes.remove(place) else { continue };
            if !added.is_empty() || !removed.is_empty() {
                updates.push(Update::Elements { family: table(place.0), set: set.clone(), added, removed });
            }
        }
    }

    fn shape(&self, (family, length): Place, text: &str) -> SetShape {
        let key = match self.kind {
            SetKind::Nets => vec![address_type(family)],
            SetKind::Ports => vec![address_type(family), DataType::PROTOCOL, DataType::PORT],
        };
        let count = self.counts.get(&(family, length)).copied().unwrap_or(0);
        let text = match length == family.bits() {
            true => text.to_owned(),
            false => format!("/{length} of {text}"),
        };
        SetShape {
            key,
            data: None,
            interval: false,
            counter: false,
            size: Some(names::room(count).0),
            comment: Some(names::comment(&text)),
        }
    }
}

fn place(member: &Member) -> Place {
    match member {
        Member::Net(net) => (net.family(), net.prefix()),
        Member::Port(address, ..) => {
            let family = model::net::family_of(*address);
            (family, family.bits())
        }
    }
}

fn element(member: &Member) -> Element {
    match member {
        Member::Net(net) => Element::key(bytes(net.addr())),
        Member::Port(address, protocol, port) => {
            let [high, low] = port.to_be_bytes();
            let mut key = bytes(*address);
            key.extend([*protocol, 0, 0, 0, high, low, 0, 0]);
            Element::key(key)
        }
    }
}

fn name_of(id: &str, family: Family, length: u8, members: usize) -> Arc<str> {
    let base = names::of_set(id);
    let (_, room) = names::room(members);
    match length == family.bits() {
        true => names::name(format!("{base}{room}")),
        false => names::name(format!("{base}-{length}{room}")),
    }
}
