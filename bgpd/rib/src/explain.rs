//! Looking at the RIB: which routes there are, which won and why, who was told what and who was not.

use crate::decision::{Candidate, Step, decide, step_between};
use crate::export::NotSent;
use crate::fib::FibRoute;
use crate::group::Group;
use crate::import::{Loop, looped};
use crate::next_hop::NextHop;
use crate::origin::Local;
use crate::peer::PeerId;
use crate::policy::Verdict;
use crate::policy::evaluate::{Context, Subject};
use crate::rib::Rib;
use crate::routes::Routes;
use crate::shared::Shared;
use crate::table::{Address, Dest, Path};
use bgp_wire::{Attributes, Family, Nlri, Prefix};
use std::sync::Arc;

/// What became of a path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fate {
    /// It is the best.
    Best,
    /// As good as the best for forwarding, it shares the traffic; it was not chosen in this step.
    Shares(Step),
    /// The best path beat it in this step.
    Lost(Step),
    /// Import policy rejected it, by the rule of this name; without one, by its end.
    Rejected(Option<Arc<str>>),
    /// It comes from ourselves.
    Looped(Loop),
    /// Its next hop cannot be reached.
    Unreachable(NextHop),
}

/// A path as it is known.
#[derive(Debug, Clone, PartialEq)]
pub struct Known {
    /// Who announced it; [`PeerId::LOCAL`] for a route of our own.
    pub peer: PeerId,
    /// Path identifier it came with (RFC 7911), 0 without.
    pub path_id: u32,
    /// Attributes, import policy applied.
    pub attributes: Attributes,
    /// What is known of a route of our own.
    pub local: Option<Local>,
    /// Preference of its source.
    pub preference: u32,
    /// Kept from before the neighbour's session or refresh began.
    pub stale: bool,
    /// It is the best path of its destination.
    pub best: bool,
}

/// A destination as a reader of the whole table sees it.
#[derive(Debug, Clone, PartialEq)]
pub struct Listed {
    /// The destination.
    pub prefix: Prefix,
    /// How many paths there are to it.
    pub paths: usize,
    /// The best of them; `None` when none can be used.
    pub best: Option<Known>,
}

/// Everything about one destination.
#[derive(Debug, Clone, PartialEq)]
pub struct Explanation {
    /// Its paths, the best first, and what became of each.
    pub paths: Vec<(Known, Fate)>,
    /// For each neighbour that is up: the best path (with ADD-PATH, every path that was not told) as it would be sent, or why
    /// it is not.
    pub sent: Vec<(PeerId, Result<Attributes, NotSent>)>,
    /// What shall stand in the kernel.
    pub fib: Option<FibRoute>,
    /// The rule of the kernel policy that decided.
    pub kernel_rule: Option<Arc<str>>,
}

/// How many routes a neighbour has and is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counts {
    /// Paths it announced, rejected ones among them.
    pub received: usize,
    /// Paths of these that are the best.
    pub best: usize,
    /// Routes it is told.
    pub sent: usize,
}

impl Rib {
    /// All about one destination; `None` if there is none.
    pub fn explain(&self, prefix: Prefix) -> Option<Explanation> {
        match prefix.family() {
            Family::Ipv4Unicast => self.v4.explain(prefix, &self.shared),
            Family::Ipv6Unicast => self.v6.explain(prefix, &self.shared),
        }
    }

    /// All paths of a family, in no order that means anything.
    pub fn routes(&self, family: Family) -> Box<dyn Iterator<Item = (Prefix, Known)> + '_> {
        match family {
            Family::Ipv4Unicast => Box::new(self.v4.known(&self.shared)),
            Family::Ipv6Unicast => Box::new(self.v6.known(&self.shared)),
        }
    }

    /// A page of the table: destinations inside `within`, in no order that means anything, and where the next page begins.
    /// The first begins at 0. The page ends when it has looked at `most` paths and places. What is in the table all the
    /// while is on one page exactly, whatever comes and goes between them.
    pub fn page(
        &self,
        family: Family,
        within: Option<Prefix>,
        from: u32,
        most: usize,
    ) -> (Vec<Listed>, Option<u32>) {
        match family {
            Family::Ipv4Unicast => self.v4.page(within, from, most, &self.shared),
            Family::Ipv6Unicast => self.v6.page(within, from, most, &self.shared),
        }
    }

    /// What a neighbour is told (Adj-RIB-Out), as of the last flush.
    pub fn sent(&self, peer: PeerId, family: Family) -> Box<dyn Iterator<Item = (Nlri, &Attributes)> + '_> {
        match family {
            Family::Ipv4Unicast => Box::new(self.v4.sent(peer, &self.shared)),
            Family::Ipv6Unicast => Box::new(self.v6.sent(peer, &self.shared)),
        }
    }

    /// How many routes of a family each neighbour has and is told, by [`PeerId::index`]. However many neighbours there are,
    /// the table is looked at once, and once more for each group of them that is told the same.
    pub fn counts(&self, family: Family) -> Vec<Counts> {
        match family {
            Family::Ipv4Unicast => self.v4.counts(&self.shared),
            Family::Ipv6Unicast => self.v6.counts(&self.shared),
        }
    }

    /// Paths of a family, those of our own among them. Looks at the whole table.
    pub fn path_count(&self, family: Family) -> usize {
        match family {
            Family::Ipv4Unicast => self.v4.path_count(),
            Family::Ipv6Unicast => self.v6.path_count(),
        }
    }

    /// Destinations of a family.
    pub fn len(&self, family: Family) -> usize {
        match family {
            Family::Ipv4Unicast => self.v4.table.len(),
            Family::Ipv6Unicast => self.v6.table.len(),
        }
    }

    /// Whether there is no destination at all.
    pub fn is_empty(&self) -> bool {
        Family::ALL.into_iter().all(|family| self.len(family) == 0)
    }
}

impl<A: Address> Routes<A> {
    fn known(&self, shared: &Shared) -> impl Iterator<Item = (Prefix, Known)> {
        self.table.numbers().flat_map(move |dest| {
            let best = self.table.best(dest).map(|(number, _)| number);
            let paths = self.table.paths_of(dest).filter(|(_, path)| !path.is(Path::DEAD));
            let prefix = self.table.dest(dest).prefix();
            paths.map(move |(number, path)| (prefix, known(path, best == Some(number), shared)))
        })
    }

    fn page(
        &self,
        within: Option<Prefix>,
        from: u32,
        most: usize,
        shared: &Shared,
    ) -> (Vec<Listed>, Option<u32>) {
        let (mut page, mut seen) = (Vec::new(), 0);
        for dest in from.max(*self.table.numbers().start())..=*self.table.numbers().end() {
            if seen >= most {
                return (page, Some(dest));
            }
            let paths = self.table.paths_of(dest).filter(|(_, path)| !path.is(Path::DEAD)).count();
            seen += 1 + paths;
            let prefix = self.table.dest(dest).prefix();
            if paths > 0 && within.is_none_or(|within| within.covers(prefix)) {
                let best = self.table.best(dest).map(|(_, path)| known(path, true, shared));
                page.push(Listed { prefix, paths, best });
            }
        }
        (page, None)
    }

    fn sent<'a>(&'a self, peer: PeerId, shared: &'a Shared) -> impl Iterator<Item = (Nlri, &'a Attributes)> {
        let group = self.groups.of(peer);
        self.table.numbers().filter_map(move |dest| Some((group?, dest))).flat_map(move |(group, dest)| {
            let told = group.told_to(&self.table, peer.0 as u16, dest);
            let prefix = self.table.dest(dest).prefix();
            let told = told.into_iter();
            told.map(move |(path_id, set)| (Nlri { path_id, prefix }, shared.sets.get(set).attributes()))
        })
    }

    fn counts(&self, shared: &Shared) -> Vec<Counts> {
        let peers = 0..shared.peers.end();
        let received = |peer: u32| *shared.peers.get(PeerId(peer)).paths.get(A::FAMILY) as usize;
        let mut counts: Vec<Counts> =
            peers.map(|peer| Counts { received: received(peer), ..Counts::default() }).collect();
        for (_, best) in self.table.numbers().filter_map(|dest| self.table.best(dest)) {
            if let Some(counts) = counts.get_mut(usize::from(best.peer)) {
                counts.best += 1;
            }
        }
        for group in self.groups.iter() {
            // A member is told all but what came from it.
            let (mut told, mut own) = (0, vec![0; counts.len()]);
            for peer in self.table.numbers().flat_map(|dest| group.sources(&self.table, dest)) {
                told += 1;
                if let Some(own) = own.get_mut(usize::from(peer)) {
                    *own += 1;
                }
            }
            for peer in group.members.keys().map(|peer| usize::from(*peer)) {
                if let (Some(counts), Some(own)) = (counts.get_mut(peer), own.get(peer)) {
                    counts.sent = told - own;
                }
            }
        }
        counts
    }

    fn path_count(&self) -> usize {
        let live = |dest| self.table.paths_of(dest).filter(|(_, path)| !path.is(Path::DEAD)).count();
        self.table.numbers().map(live).sum()
    }

    fn explain(&self, prefix: Prefix, shared: &Shared) -> Option<Explanation> {
        let dest = self.table.find(prefix).filter(|dest| !self.table.dest(*dest).is(Dest::<A>::VACANT))?;
        let mut all = Vec::new();
        self.candidates(dest, shared, &mut all);
        let mut equal = all.clone();
        decide(&mut equal);
        let best = self.table.best(dest).map(|(number, _)| number);
        let paths = self.table.paths_of(dest).filter(|(_, path)| !path.is(Path::DEAD));
        let paths = paths.map(|(number, path)| {
            let fate = self.fate(prefix, number, path, (&all, &equal), shared);
            (known(path, best == Some(number), shared), fate)
        });
        let policy = shared.kernel.get(A::FAMILY);
        let kernel_rule = self.table.best(dest).and_then(|(_, path)| {
            let set = shared.sets.get(path.set);
            policy.rule_name(&policy.evaluate(&mut Subject::new(set), &Context { prefix, external: None }))
        });
        let groups = self.groups.iter();
        let mut sent: Vec<_> = groups
            .flat_map(|group| group.members.keys().map(move |peer| (PeerId(u32::from(*peer)), group)))
            .filter_map(|(peer, group)| Some((peer, self.would_send(prefix, dest, peer, group, shared)?)))
            .collect();
        sent.sort_by_key(|(peer, _)| *peer);
        Some(Explanation { paths: paths.collect(), sent, fib: self.fib_route(dest, shared), kernel_rule })
    }

    fn would_send(
        &self,
        prefix: Prefix,
        dest: u32,
        peer: PeerId,
        group: &Group,
        shared: &Shared,
    ) -> Option<Result<Attributes, NotSent>> {
        let (_, best) = self.table.best(dest)?;
        if !group.add_path() {
            return Some(group.export.explain(prefix, best, peer, shared));
        }
        let usable = self.table.paths_of(dest).filter(|(_, path)| shared.facts().usable(path));
        let mut outcomes = usable.map(|(_, path)| group.export.explain(prefix, path, peer, shared));
        let first = outcomes.next();
        outcomes.find(Result::is_ok).filter(|_| !first.as_ref().is_some_and(Result::is_ok)).or(first)
    }

    fn fate(
        &self,
        prefix: Prefix,
        number: u32,
        path: &Path,
        (all, equal): (&[Candidate], &[Candidate]),
        shared: &Shared,
    ) -> Fate {
        let peer = PeerId(u32::from(path.peer));
        let before = shared.sets.get(self.set_before(number));
        if path.is(Path::LOOPED)
            && let Some(why) = looped(peer, self.set_before(number), shared)
        {
            return Fate::Looped(why);
        }
        if path.is(Path::REJECTED) {
            let import = shared.peers.get(peer).import.get(A::FAMILY);
            let context = Context { prefix, external: Some(shared.peers.get(peer).is_external()) };
            let outcome = import.evaluate(&mut Subject::new(before), &context);
            return Fate::Rejected(import.rule_name(&outcome).filter(|_| outcome.verdict == Verdict::Reject));
        }
        let (Some(me), Some(best)) = (all.iter().find(|c| c.path == number), equal.first()) else {
            let key = shared.next_hops.key(shared.sets.get(path.set).key.next_hop);
            let unknown = NextHop { address: before.attributes().next_hop, peer: None };
            return Fate::Unreachable(key.unwrap_or(unknown));
        };
        match step_between(best, me, all) {
            None => Fate::Best,
            Some(step) if equal.iter().take(shared.config.multipath).any(|c| c.path == number) => {
                Fate::Shares(step)
            }
            Some(step) => Fate::Lost(step),
        }
    }
}

fn known(path: &Path, best: bool, shared: &Shared) -> Known {
    let set = shared.sets.get(path.set);
    Known {
        peer: PeerId(u32::from(path.peer)),
        path_id: path.path_id,
        attributes: set.attributes().clone(),
        local: set.key.local.as_deref().cloned(),
        preference: set.key.preference,
        stale: path.is(Path::STALE),
        best,
    }
}
