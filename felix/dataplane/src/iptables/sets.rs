//! IP sets, wanted against there.
//!
//! Members come before rules that may name them and go after; a set that has to be of another shape is filled beside the
//! one that rules name, and the two are swapped.

use super::objects::{ObjectId, Refusals};
use crate::stock::Stock;
use delta::DeltaMap;
use felix_render::iptables::{Member, SetKind, SetShape};
use kernel::{IpSets, KernelError};
use model::net::Family;
use netfilter::ipset;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

/// Members of one step: some ten milliseconds of the kernel's time.
const BATCH: usize = 16 << 10;
/// Times that a set is asked about, where the answer is lost: what many sets are asked about must not begin with the first of
/// them for each answer that is.
const QUESTIONS: usize = 4;
/// Sets that go in one step.
const REMOVALS: usize = 64;
/// Prefixes of names that are ours, with the digit of the address family, and whole names of Calico's older versions
/// (`felix.md` §7 of the contract).
const PREFIXES: [&str; 4] = ["cali4", "cali6", "felix-4", "felix-6"];
const OLD: [&str; 2] = ["felix-masq-ipam-pools", "felix-all-ipam-pools"];
/// Prefix of those that are filled before they are swapped in, after the one of the family.
const TEMPORARY: &str = "t";

/// The metric that counts ours.
const OURS: &str = "felix_ipsets_calico";

/// Whether a set of this name is ours.
pub fn is_ours(name: &str) -> bool {
    PREFIXES.iter().any(|prefix| name.starts_with(prefix)) || OLD.contains(&name)
}

#[derive(Debug)]
struct SetState {
    family: Family,
    /// `None` when it should not be.
    wanted: Option<SetShape>,
    /// `None` when it is not there.
    there: Option<Shape>,
    /// The members that are there were read, or written.
    known: bool,
    members: DeltaMap<Member, ()>,
}

/// A set as it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Shape {
    kind: Option<SetKind>,
    family: Option<ipset::Family>,
    max: u32,
}

impl Shape {
    fn of(family: Family, shape: SetShape) -> Self {
        Self { kind: Some(shape.kind), family: Some(of_kernel(family)), max: shape.max }
    }
}

/// As the kernel's messages say it.
pub fn of_kernel(family: Family) -> ipset::Family {
    match family {
        Family::V4 => ipset::Family::V4,
        Family::V6 => ipset::Family::V6,
    }
}

/// All our sets.
pub struct Sets {
    kernel: Box<dyn IpSets>,
    sets: BTreeMap<Arc<str>, SetState>,
    /// Those that are not as wanted.
    dirty: BTreeSet<Arc<str>>,
    /// Which sets are there has to be read.
    unlisted: bool,
    /// Those whose members have to be read.
    unread: BTreeSet<Arc<str>>,
    /// Number of the last set that was filled beside another.
    temporary: u64,
    /// Sets of others, as of the last look.
    foreign: usize,
}

impl Sets {
    /// Nothing known yet.
    pub fn new(kernel: Box<dyn IpSets>) -> Self {
        Self {
            kernel,
            sets: BTreeMap::new(),
            dirty: BTreeSet::new(),
            unlisted: true,
            unread: BTreeSet::new(),
            temporary: 0,
            foreign: 0,
        }
    }

    /// A set should be so.
    pub fn want(&mut self, family: Family, name: &Arc<str>, shape: Option<SetShape>) {
        let state = self.state(family, name);
        if shape.is_none() {
            state.members.replace_desired([]);
        }
        state.wanted = shape;
        // one that was left, and of which nothing was asked while it was to go
        if shape.is_some() && state.there.is_some() && !state.known {
            self.unread.insert(name.clone());
        }
        self.check(name);
    }

    /// Members of a set should be there, others not.
    pub fn want_members(&mut self, family: Family, name: &Arc<str>, added: Vec<Member>, removed: &[Member]) {
        let members = &mut self.state(family, name).members;
        removed.iter().for_each(|member| members.remove_desired(member));
        added.into_iter().for_each(|member| members.set_desired(member, ()));
        self.check(name);
    }

    /// None is wanted any more.
    pub fn unwant_all(&mut self) {
        let all: Vec<(Family, Arc<str>)> =
            self.sets.iter().map(|(name, state)| (state.family, name.clone())).collect();
        all.iter().for_each(|(family, name)| self.want(*family, name, None));
    }

    /// Whether all is as wanted, as far as is known.
    pub fn is_in_sync(&self) -> bool {
        !self.is_unread() && self.dirty.is_empty()
    }

    /// Counts those that are there.
    pub fn measure(&self, stock: &mut Stock) {
        let mut all = self.foreign;
        // those of which there are none are shown too
        [Family::V4, Family::V6].into_iter().for_each(|family| stock.of_sets(OURS, family, 0));
        for shape in self.sets.values().filter_map(|state| state.there) {
            all += 1;
            let v6 = shape.family == Some(ipset::Family::V6);
            stock.of_sets(OURS, if v6 { Family::V6 } else { Family::V4 }, 1);
        }
        stock.plain("felix_ipsets_total", all);
    }

    /// Whether any is wanted.
    pub fn is_wanted(&self) -> bool {
        self.sets.values().any(|state| state.wanted.is_some())
    }

    /// Whether what is there has to be read.
    pub fn is_unread(&self) -> bool {
        self.unlisted || !self.unread.is_empty()
    }

    /// What is known may be wrong.
    pub fn doubt(&mut self) {
        self.unlisted = true;
        self.unread.extend(self.sets.keys().cloned());
    }

    /// What is known of one may be wrong, and what was to be beside it may be there.
    fn doubt_one(&mut self, name: &Arc<str>) {
        self.unlisted = true;
        self.unread.insert(name.clone());
    }

    /// Reads what is there. What was read before an answer is lost is not read again.
    ///
    /// # Errors
    /// The kernel's.
    pub fn read(&mut self) -> Result<(), KernelError> {
        if self.unlisted {
            self.list()?;
            self.unlisted = false;
        }
        while let Some(name) = self.unread.first().cloned() {
            if let Some(state) = self.sets.get_mut(&name).filter(|state| state.wanted.is_some()) {
                if state.there.is_some() {
                    let members = asked(|| self.kernel.members(&name))?;
                    state.members.replace_actual(members.into_iter().map(|member| (member, ())));
                    state.known = true;
                }
                self.check(&name);
            }
            self.unread.remove(&name);
        }
        Ok(())
    }

    fn list(&mut self) -> Result<(), KernelError> {
        let headers = asked(|| self.kernel.list())?;
        self.foreign = headers.iter().filter(|header| !is_ours(&header.name)).count();
        let mut found = BTreeSet::new();
        for header in headers.into_iter().filter(|header| is_ours(&header.name)) {
            let name: Arc<str> = header.name.into();
            // the family matters for those that are wanted alone
            let state = self.state(Family::V4, &name);
            state.there = Some(Shape { kind: header.kind, family: header.family, max: header.max });
            state.known &= state.wanted.is_some();
            if !state.known {
                self.unread.insert(name.clone());
            }
            found.insert(name);
        }
        let known: Vec<Arc<str>> = self.sets.keys().cloned().collect();
        for name in known {
            if !found.contains(&name)
                && let Some(state) = self.sets.get_mut(&name)
            {
                (state.there, state.known) = (None, false);
                state.members.replace_actual([]);
            }
            self.check(&name);
        }
        Ok(())
    }

    /// What has to be done before rules are written; whether there was something.
    ///
    /// # Errors
    /// The socket's: what is there is not certain.
    pub fn prepare(&mut self, refusals: &mut Refusals, now: Duration) -> Result<bool, KernelError> {
        let mut room = BATCH;
        for name in self.may_be_tried(refusals, now) {
            let Some(state) = self.sets.get(&name) else { continue };
            let Some(shape) = state.wanted else { continue };
            let wanted = Shape::of(state.family, shape);
            let result = match state.there {
                Some(there) if there == wanted && state.members.pending_updates().next().is_none() => {
                    continue;
                }
                Some(there) if there == wanted => self.add(&name, &mut room),
                Some(_) => self.replace(&name, wanted).map(|()| None),
                None => self.create(&name, shape).map(|()| None),
            };
            self.outcome(&name, result, refusals, now)?;
            return Ok(true);
        }
        Ok(false)
    }

    /// What has to be done after rules were written; whether there was something.
    ///
    /// # Errors
    /// The socket's: what is there is not certain.
    pub fn clean(&mut self, refusals: &mut Refusals, now: Duration) -> Result<bool, KernelError> {
        let mut done = 0;
        for name in self.may_be_tried(refusals, now) {
            let Some(state) = self.sets.get(&name) else { continue };
            let result = match (state.wanted, state.there) {
                (None, Some(_)) => self.destroy(&name).map(|()| None),
                (Some(_), Some(_)) if state.members.pending_deletions().next().is_some() => {
                    self.remove(&name)
                }
                _ => continue,
            };
            self.outcome(&name, result, refusals, now)?;
            done += 1;
            if done == REMOVALS {
                break;
            }
        }
        Ok(done > 0)
    }

    fn may_be_tried(&self, refusals: &Refusals, now: Duration) -> Vec<Arc<str>> {
        let may =
            |name: &&Arc<str>| refusals.is_empty() || refusals.may(&ObjectId::Set((*name).clone()), now);
        self.dirty.iter().filter(may).cloned().collect()
    }

    /// A change of a set was tried: the words about members that were refused, or the error for all of it.
    fn outcome(
        &mut self,
        name: &Arc<str>,
        result: Result<Option<String>, KernelError>,
        refusals: &mut Refusals,
        now: Duration,
    ) -> Result<(), KernelError> {
        metrics::counter!("felix_ipset_calls").increment(1);
        let id = ObjectId::Set(name.clone());
        let words = match result {
            Ok(None) => {
                refusals.carried_out(&id);
                None
            }
            Ok(words) => words,
            Err(error) if error.errno().is_some() => Some(error.to_string()),
            Err(error) => {
                self.doubt_one(name);
                return Err(error);
            }
        };
        if let Some(words) = words {
            metrics::counter!("felix_ipset_errors").increment(1);
            if refusals.refused(id, &words, now) {
                self.doubt_one(name);
            }
        }
        self.check(name);
        Ok(())
    }

    fn create(&mut self, name: &Arc<str>, shape: SetShape) -> Result<(), KernelError> {
        let Some(state) = self.sets.get_mut(name) else { return Ok(()) };
        self.kernel.create(name, shape.kind, of_kernel(state.family), shape.max)?;
        executed(1);
        state.there = Some(Shape::of(state.family, shape));
        state.known = true;
        state.members.replace_actual([]);
        Ok(())
    }

    /// Rules go by the name: the new one gets it at one instant, with its members.
    fn replace(&mut self, name: &Arc<str>, wanted: Shape) -> Result<(), KernelError> {
        let Some(state) = self.sets.get_mut(name) else { return Ok(()) };
        let (Some(kind), Some(family)) = (wanted.kind, wanted.family) else { return Ok(()) };
        let digit = if family == ipset::Family::V4 { 4 } else { 6 };
        self.temporary += 1;
        let temporary = format!("cali{digit}{TEMPORARY}{}", self.temporary);
        self.kernel.create(&temporary, kind, family, wanted.max)?;
        let members: Vec<Member> = state.members.desired().map(|(member, ())| *member).collect();
        let filled = self.kernel.add(&temporary, &members);
        let swapped = filled.and_then(|refused| self.kernel.swap(&temporary, name).map(|()| refused));
        // the temporary one goes in any case, or is swept at the next look
        let destroyed = self.kernel.destroy(&temporary);
        let refused: BTreeSet<usize> = swapped?.iter().map(|refused| refused.place).collect();
        let taken = members.into_iter().enumerate().filter(|(place, _)| !refused.contains(place));
        state.members.replace_actual(taken.map(|(_, member)| (member, ())));
        state.there = Some(wanted);
        state.known = true;
        // it was made, filled, swapped, and the other one went
        executed(state.members.actual().count() + 3);
        destroyed
    }

    fn add(&mut self, name: &Arc<str>, room: &mut usize) -> Result<Option<String>, KernelError> {
        let Some(state) = self.sets.get_mut(name) else { return Ok(None) };
        let members: Vec<Member> =
            state.members.pending_updates().map(|update| *update.key).take(*room).collect();
        *room -= members.len();
        let refused = self.kernel.add(name, &members)?;
        let places: BTreeSet<usize> = refused.iter().map(|refused| refused.place).collect();
        let taken = members.iter().enumerate().filter(|(place, _)| !places.contains(place));
        taken.for_each(|(_, member)| state.members.mark_updated(member));
        executed(members.len().saturating_sub(refused.len()));
        Ok(words(&members, &refused))
    }

    fn remove(&mut self, name: &Arc<str>) -> Result<Option<String>, KernelError> {
        let Some(state) = self.sets.get_mut(name) else { return Ok(None) };
        let members: Vec<Member> =
            state.members.pending_deletions().map(|(member, ())| *member).take(BATCH).collect();
        let refused = self.kernel.remove(name, &members)?;
        let places: BTreeSet<usize> = refused.iter().map(|refused| refused.place).collect();
        let gone = members.iter().enumerate().filter(|(place, _)| !places.contains(place));
        gone.for_each(|(_, member)| state.members.mark_deleted(member));
        executed(members.len().saturating_sub(refused.len()));
        Ok(words(&members, &refused))
    }

    fn destroy(&mut self, name: &Arc<str>) -> Result<(), KernelError> {
        self.kernel.destroy(name)?;
        executed(1);
        if let Some(state) = self.sets.get_mut(name) {
            state.there = None;
            state.members.replace_actual([]);
        }
        Ok(())
    }

    fn state(&mut self, family: Family, name: &Arc<str>) -> &mut SetState {
        let new = || SetState { family, wanted: None, there: None, known: false, members: DeltaMap::new() };
        self.sets.entry(name.clone()).or_insert_with(new)
    }

    fn check(&mut self, name: &Arc<str>) {
        let Some(state) = self.sets.get(name) else { return };
        let alike = state.wanted.map(|shape| Shape::of(state.family, shape)) == state.there;
        if !alike || (state.wanted.is_some() && !state.members.is_in_sync()) {
            self.dirty.insert(name.clone());
            return;
        }
        self.dirty.remove(name);
        if state.wanted.is_none() {
            self.sets.remove(name);
        }
    }
}

/// So many members or sets were made or removed.
fn executed(operations: usize) {
    metrics::counter!("felix_ipset_lines_executed").increment(u64::try_from(operations).unwrap_or(u64::MAX));
}

/// The answer to a question, asked again where it was lost.
fn asked<T>(mut question: impl FnMut() -> Result<T, KernelError>) -> Result<T, KernelError> {
    for _ in 1..QUESTIONS {
        match question() {
            Err(error) if error.errno().is_none() => tracing::debug!(%error, "asked again"),
            answer => return answer,
        }
    }
    question()
}

/// The first refused member with the kernel's words, and how many there are.
fn words(members: &[Member], refused: &[kernel::RefusedMember]) -> Option<String> {
    let first = refused.first()?;
    let member = members.get(first.place)?;
    let words = KernelError::Refused { errno: first.errno, what: member.to_string(), detail: None };
    Some(match refused.len() {
        1 => words.to_string(),
        more => format!("{words}; and {} more members", more - 1),
    })
}
