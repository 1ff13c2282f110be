//! What shall stand in the kernel.
//!
//! Of a destination's best path: a blackhole for a block of ours; the ways to its next hop, and to those of paths as good,
//! for a route that came by BGP; nothing for routes that the kernel had first. The kernel policy decides whether
//! (`bgp.md` §9 of the contract).

use crate::decision::decide;
use crate::next_hop::Hop;
use crate::origin::Source;
use crate::policy::Verdict;
use crate::policy::evaluate::{Context, LOCAL_PREF_BASE, Subject};
use crate::routes::Routes;
use crate::shared::Shared;
use crate::table::{Address, Dest};
use bgp_wire::Prefix;
use std::sync::Arc;

/// Where a route leads.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum FibTarget {
    /// Nowhere, silently: a block of ours.
    Blackhole,
    /// To these, in turn; in order, each once, never none.
    Via(Arc<[Hop]>),
}

/// A route as it shall stand in the kernel.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct FibRoute {
    /// Where it leads.
    pub target: FibTarget,
    /// Its metric; 0 for what the kernel makes of none.
    pub metric: u32,
    /// It leads through this device, whatever links the next hops are on.
    pub device: Option<Arc<str>>,
}

impl<A: Address> Routes<A> {
    /// See [`Rib::drain_fib`](crate::Rib::drain_fib).
    pub fn drain_fib(&mut self, shared: &Shared, each: &mut impl FnMut(Prefix, Option<FibRoute>)) {
        for dest in std::mem::take(&mut self.fib_queue) {
            if !self.table.is_live(dest) {
                continue;
            }
            self.table.dest_mut(dest).flags &= !Dest::<A>::FIB_QUEUED;
            each(self.table.dest(dest).prefix(), self.fib_route(dest, shared));
            self.vacate_if_empty(dest);
        }
    }

    /// What shall stand in the kernel for a destination.
    pub fn fib_route(&self, dest: u32, shared: &Shared) -> Option<FibRoute> {
        let (_, best) = self.table.best(dest)?;
        let set = shared.sets.get(best.set);
        let prefix = self.table.dest(dest).prefix();
        let context = Context { prefix, external: None };
        let policy = shared.kernel.get(A::FAMILY);
        let mut subject = Subject::new(set);
        if policy.evaluate(&mut subject, &context).verdict == Verdict::Reject {
            return None;
        }
        let metric = subject.metric;
        let device = subject.tunnel.map(Arc::from);
        match &set.key.local {
            Some(local) if local.source == Source::Static => {
                Some(FibRoute { target: FibTarget::Blackhole, metric: metric.unwrap_or(0), device })
            }
            Some(_) => None,
            None => {
                let metric = metric.unwrap_or(LOCAL_PREF_BASE.saturating_sub(set.local_pref));
                Some(FibRoute { target: FibTarget::Via(self.hops(dest, shared)?), metric, device })
            }
        }
    }

    fn hops(&self, dest: u32, shared: &Shared) -> Option<Arc<[Hop]>> {
        let (number, best) = self.table.best(dest)?;
        let first = shared.next_hops.hops(shared.sets.get(best.set).key.next_hop)?;
        if shared.config.multipath < 2 || (self.table.dest(dest).head == number && best.next == 0) {
            return Some(first.clone());
        }
        let mut candidates = Vec::new();
        self.candidates(dest, shared, &mut candidates);
        decide(&mut candidates);
        let paths = candidates.iter().take(shared.config.multipath);
        let hops_of = |path| shared.next_hops.hops(shared.sets.get(self.table.path(path).set).key.next_hop);
        let mut hops: Vec<Hop> =
            paths.filter_map(|c| hops_of(c.path)).flat_map(|hops| hops.iter().copied()).collect();
        hops.sort_unstable();
        hops.dedup();
        if hops[..] == first[..] { Some(first.clone()) } else { Some(hops.into()) }
    }
}
