//! The main table: routes wanted against those that are ours.
//!
//! No I/O: [`RouteTable::batch`] says what to do, [`RouteTable::done`] takes what the kernel answered. One batch at a time.

use super::owned::{Ownership, ownership};
use super::{Key, Target, from_kernel, is_host, to_kernel};
use crate::links::Links;
use crate::settings::Settings;
use delta::{DeltaMap, Retries};
use kernel::{KernelError, Op, Route};
use model::net::Cidr;
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::time::Duration;

/// One change on its way to the kernel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sent {
    key: Key,
    /// What it shall be; `None` when it shall go.
    target: Option<Target>,
}

/// See the module.
#[derive(Debug, Default)]
pub struct RouteTable {
    delta: DeltaMap<Key, Target>,
    /// Which route of a destination is wanted.
    wanted: BTreeMap<Cidr, Key>,
    /// Routes on workloads' interfaces that are not to be removed before this time.
    held: BTreeMap<Key, Duration>,
    retries: Retries<Key>,
    /// Addresses that left an interface of a workload: connections with them are to be forgotten.
    left: BTreeSet<IpAddr>,
    /// What is known may be wrong.
    wants_look: bool,
}

impl RouteTable {
    /// The destination shall be reached so, or (`None`) not by a route of ours.
    pub fn want(&mut self, dst: Cidr, route: Option<(Key, Target)>) {
        let key = route.as_ref().map(|(key, _)| *key);
        let before = match key {
            Some(key) => self.wanted.insert(dst, key),
            None => self.wanted.remove(&dst),
        };
        if let Some(before) = before.filter(|before| Some(*before) != key) {
            self.retries.forget(&before);
            self.delta.remove_desired(&before);
        }
        if let Some((key, target)) = route {
            self.retries.forget(&key);
            self.delta.set_desired(key, target);
        }
    }

    /// All routes of the main table; those of others are passed over.
    pub fn read_back(&mut self, routes: &[Route], links: &Links, settings: &Settings) {
        self.wants_look = false;
        self.held.clear();
        let mut ours = BTreeMap::new();
        for route in routes {
            let Some((key, target)) = from_kernel(route) else { continue };
            match ownership(route, links, settings) {
                Ownership::Theirs => continue,
                Ownership::OnWorkload(until) => {
                    self.held.insert(key, until);
                }
                Ownership::Ours => {}
            }
            ours.insert(key, target);
        }
        let gone = self.delta.actual().filter(|(key, _)| !ours.contains_key(key));
        let left: Vec<IpAddr> = gone.filter_map(|(key, target)| self.leaves(key, target)).collect();
        self.left.extend(left);
        self.delta.replace_actual(ours);
    }

    /// A route appeared or changed without our doing.
    pub fn appeared(&mut self, route: &Route, links: &Links, settings: &Settings) {
        let Some((key, target)) = from_kernel(route) else { return };
        match ownership(route, links, settings) {
            // it may have taken the place of one of ours
            Ownership::Theirs => {
                if self.delta.get_actual(&key).is_some() {
                    self.wants_look = true;
                }
                return;
            }
            Ownership::OnWorkload(until) => {
                self.held.insert(key, until);
            }
            Ownership::Ours => {}
        }
        self.delta.set_actual(key, target);
    }

    /// A route went without our doing.
    pub fn vanished(&mut self, route: &Route) {
        let Some((key, target)) = from_kernel(route) else { return };
        if self.delta.get_actual(&key) == Some(&target) {
            self.lost(&key);
        }
    }

    /// The kernel took away the routes through a link.
    pub fn flushed(&mut self, link: u32) {
        let through = |target: &Target| target.hops.iter().any(|hop| hop.link == Some(link));
        let gone: Vec<Key> =
            self.delta.actual().filter(|(_, target)| through(target)).map(|(key, _)| *key).collect();
        gone.iter().for_each(|key| self.lost(key));
    }

    fn lost(&mut self, key: &Key) {
        let left = self.delta.get_actual(key).and_then(|target| self.leaves(key, target));
        self.left.extend(left);
        self.held.remove(key);
        self.delta.remove_actual(key);
    }

    /// The address that leaves a workload's interface with this route, unless the wanted one keeps it there.
    fn leaves(&self, key: &Key, target: &Target) -> Option<IpAddr> {
        let wanted = self.wanted.get(&key.dst).filter(|wanted| *wanted != key);
        let stays = wanted.and_then(|wanted| self.delta.get_actual(wanted)).and_then(Target::link);
        let direct = target.hops.iter().all(|hop| hop.gateway.is_none());
        let link = target.link().filter(|_| direct && is_host(&key.dst))?;
        (stays != Some(link)).then(|| key.dst.addr())
    }

    /// Links changed: what was refused may work now.
    pub fn try_again(&mut self) {
        self.retries.clear();
    }

    /// The next changes, at most `most`: new routes and changed ones before those that go.
    pub fn batch(&self, most: usize, now: Duration) -> (Vec<Op>, Vec<Sent>) {
        let (mut ops, mut sent) = (Vec::new(), Vec::new());
        let free = |key: &Key| self.retries.may(key, now);
        for update in self.delta.pending_updates().filter(|update| free(update.key)).take(most) {
            let route = to_kernel(update.key, update.desired);
            // a route of somebody else under the same destination and metric must not be replaced
            ops.push(match update.actual {
                Some(_) => Op::ReplaceRoute(route),
                None => Op::AddRoute(route),
            });
            sent.push(Sent { key: *update.key, target: Some(update.desired.clone()) });
        }
        let may_go = |key: &Key| free(key) && self.held.get(key).is_none_or(|until| *until <= now);
        let rest = most - ops.len();
        for (key, actual) in self.delta.pending_deletions().filter(|(key, _)| may_go(key)).take(rest) {
            ops.push(Op::DelRoute(to_kernel(key, actual)));
            sent.push(Sent { key: *key, target: None });
        }
        (ops, sent)
    }

    /// What the kernel answered; refusals that are the first of their route, in its words.
    pub fn done(
        &mut self,
        sent: Vec<Sent>,
        results: impl IntoIterator<Item = Result<(), KernelError>>,
        now: Duration,
    ) -> Vec<String> {
        let mut refused = Vec::new();
        for (Sent { key, target }, result) in sent.into_iter().zip(results) {
            match result {
                Err(error) if !(target.is_none() && error.is_gone()) => {
                    // it is not ours as far as we know, or nobody knows whether it was done
                    self.wants_look |= error.is_there() || error.is_lost();
                    // its time had come; from here on the pauses of refused ones count
                    self.held.remove(&key);
                    if self.retries.refused(key, now) {
                        refused.push(error.to_string());
                    }
                    continue;
                }
                _ => {}
            }
            self.retries.forget(&key);
            self.held.remove(&key);
            if let Some(before) = self.delta.get_actual(&key)
                && target.as_ref().and_then(Target::link) != before.link()
            {
                let left = self.leaves(&key, before);
                self.left.extend(left);
            }
            match target {
                Some(target) => self.delta.set_actual(key, target),
                None => {
                    // IPv4: a removal that names no metric takes any
                    let other = self.wanted.get(&key.dst).filter(|_| key.metric == 0);
                    self.wants_look |= other.is_some_and(|other| self.delta.get_actual(other).is_some());
                    self.delta.remove_actual(&key);
                }
            }
        }
        refused
    }

    /// Whether the routes have to be read.
    pub fn wants_look(&self) -> bool {
        self.wants_look
    }

    /// Events were lost.
    pub fn want_look(&mut self) {
        self.wants_look = true;
    }

    /// Addresses that left an interface of a workload since it was asked last.
    pub fn take_left(&mut self) -> BTreeSet<IpAddr> {
        std::mem::take(&mut self.left)
    }

    /// Whether an address left.
    pub fn has_left(&self) -> bool {
        !self.left.is_empty()
    }

    /// Whether an address that left is wanted again, somewhere.
    pub fn is_left_wanted(&self) -> bool {
        self.left.iter().any(|address| self.wanted.contains_key(&Cidr::host(*address)))
    }

    /// Connections with these still have to be forgotten.
    pub fn put_back_left(&mut self, left: BTreeSet<IpAddr>) {
        self.left.extend(left);
    }

    /// Whether the route of this destination is in the kernel as it should be.
    pub fn is_installed(&self, dst: &Cidr) -> bool {
        self.wanted.get(dst).is_some_and(|key| {
            let wanted = self.delta.get_desired(key);
            wanted.is_some() && wanted == self.delta.get_actual(key)
        })
    }

    /// How many routes of ours are in the kernel, as far as is known.
    pub fn count(&self) -> usize {
        self.delta.actual().count()
    }

    /// Whether nothing has to change but what is held.
    pub fn is_in_sync(&self) -> bool {
        self.delta.pending_updates().next().is_none()
            && self.delta.pending_deletions().all(|(key, _)| self.held.contains_key(key))
            && !self.wants_look
    }

    /// Forgets refusals whose time has come and about which nothing is left to do.
    pub fn forget_due(&mut self, now: Duration) {
        self.retries.forget_due(now);
    }

    /// When something refused or held may be tried.
    pub fn next_try(&self) -> Option<Duration> {
        let held = self.delta.pending_deletions().filter_map(|(key, _)| self.held.get(key).copied()).min();
        [held, self.retries.next()].into_iter().flatten().min()
    }
}
