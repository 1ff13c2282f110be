//! Routes in the kernel: what the speaker wants there against what is there, and the batches that make them alike.
//!
//! No I/O happens here: [`Fib::batch`] says what to do, [`Fib::done`] takes what the kernel answered. All routes of the
//! speaker carry [`PROTOCOL`]; those of others are never touched, not even under the same destination and metric.
//!
//! A restarted speaker finds its routes in the kernel and adopts them ([`Fib::adopt`]): until it has settled
//! ([`Fib::settle`]) they stay as they are, whatever is learnt meanwhile, so that a restart changes nothing that
//! the neighbours will confirm. What was not adopted is changed at once.

mod route;
#[cfg(test)]
mod tests;

pub use bgp_rib::Hop;
pub(crate) use route::MAIN;
pub use route::{Key, Target};

use bgp_wire::{Family, PerFamily, Prefix};
use delta::{DeltaMap, Retries};
use kernel::{KernelError, Op};
use std::collections::BTreeSet;
use std::time::Duration;

/// rtnetlink's protocol number of our routes.
pub const PROTOCOL: u8 = 81;

/// One change on its way to the kernel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sent {
    key: Key,
    /// What it shall be; `None` when it shall go.
    target: Option<Target>,
}

/// What [`Fib::done`] saw.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Outcome {
    /// Changes the kernel carried out.
    pub carried_out: usize,
    /// Refusals that are the first of their route, in the kernel's words.
    pub refused: Vec<String>,
    /// A refusal says that the kernel has a route we do not know of: read the routes back.
    pub read_back: bool,
}

/// See the module.
#[derive(Debug, Default)]
pub struct Fib {
    delta: DeltaMap<Key, Target>,
    /// Found at the start, kept as they are until settled.
    adopted: BTreeSet<Key>,
    retries: Retries<Key>,
    settled: PerFamily<bool>,
    /// Changes under way: their keys wait for the answer.
    under_way: BTreeSet<Key>,
}

impl Fib {
    /// Nothing desired, nothing known of the kernel.
    pub fn new() -> Self {
        Self::default()
    }

    /// Routes found in the kernel at the start; those that are not ours are passed over.
    pub fn adopt<'a>(&mut self, routes: impl IntoIterator<Item = &'a kernel::Route>) {
        for (key, target) in routes.into_iter().filter_map(route::ours) {
            if !self.settled.get(key.prefix().family()) {
                self.adopted.insert(key);
            }
            self.delta.set_actual(key, target);
        }
    }

    /// A later look at the kernel, all routes, taken while no batch was under way: repairs what others did to ours.
    pub fn read_back<'a>(&mut self, routes: impl IntoIterator<Item = &'a kernel::Route>) {
        self.delta.replace_actual(routes.into_iter().filter_map(route::ours));
        self.adopted.retain(|key| self.delta.get_actual(key).is_some());
    }

    /// A route under our protocol number appeared without our doing: it goes again, or becomes what it should be.
    pub fn appeared(&mut self, route: &kernel::Route) {
        if let Some((key, target)) = route::ours(route)
            && !self.under_way.contains(&key)
        {
            self.delta.set_actual(key, target);
        }
    }

    /// A route of ours went without our doing.
    pub fn vanished(&mut self, route: &kernel::Route) {
        if let Some((key, _)) = route::ours(route)
            && !self.under_way.contains(&key)
        {
            self.delta.remove_actual(&key);
            self.adopted.remove(&key);
        }
    }

    /// The destination shall be reached so; one route of a destination at a time.
    pub fn set(&mut self, prefix: Prefix, metric: u32, target: Target) {
        let key = Key::new(prefix, metric);
        if self.delta.get_desired(&key).is_none() {
            self.remove_but(prefix, Some(key));
        }
        self.retries.forget(&key);
        self.delta.set_desired(key, target);
    }

    /// The destination shall have no route of ours.
    pub fn remove(&mut self, prefix: Prefix) {
        self.remove_but(prefix, None);
    }

    /// The neighbours have told all they know of a family, or had the time to: what nobody wants any more may go.
    pub fn settle(&mut self, family: Family) {
        *self.settled.get_mut(family) = true;
        self.adopted.retain(|key| key.prefix().family() != family);
    }

    /// How many routes of an earlier life are kept until settled.
    pub fn adopted(&self) -> usize {
        self.adopted.len()
    }

    /// Whether [`Fib::settle`] was called for all families.
    pub fn is_settled(&self) -> bool {
        self.settled.ipv4 && self.settled.ipv6
    }

    /// Whether a batch would be empty now and later, but for what is kept until settled.
    pub fn is_in_sync(&self) -> bool {
        self.delta.pending_updates().all(|update| self.adopted.contains(update.key))
            && self.delta.pending_deletions().all(|(key, _)| self.adopted.contains(key))
    }

    /// When a refused change wants to be tried again.
    pub fn next_try(&self) -> Option<Duration> {
        self.retries.next()
    }

    /// Links or addresses changed: what was refused may work now.
    pub fn try_again(&mut self) {
        self.retries.clear();
    }

    /// How many changes were refused and wait to be tried again.
    pub fn refused(&self) -> usize {
        self.retries.len()
    }

    /// What is in the kernel of a destination, as far as is known.
    pub fn installed(&self, prefix: Prefix) -> impl Iterator<Item = (u32, &Target)> {
        self.delta.range(Key::of(prefix)).filter_map(|state| Some((state.key.metric(), state.actual?)))
    }

    /// The next changes, at most `most`: new routes and changed ones before those that go, so that a destination
    /// whose metric changes is reached at every moment. Their answers must be given to [`Fib::done`].
    pub fn batch(&mut self, most: usize, now: Duration) -> (Vec<Op>, Vec<Sent>) {
        let (mut ops, mut sent) = (Vec::new(), Vec::new());
        let free = |key: &Key| {
            !self.adopted.contains(key) && !self.under_way.contains(key) && self.retries.may(key, now)
        };
        for update in self.delta.pending_updates().filter(|update| free(update.key)).take(most) {
            let route = route::to_kernel(update.key, update.desired);
            // A route of somebody else under the same destination and metric must not be replaced.
            ops.push(match update.actual {
                Some(_) => Op::ReplaceRoute(route),
                None => Op::AddRoute(route),
            });
            sent.push(Sent { key: *update.key, target: Some(update.desired.clone()) });
        }
        let rest = most - ops.len();
        for (key, actual) in self.delta.pending_deletions().filter(|(key, _)| free(key)).take(rest) {
            ops.push(Op::DelRoute(route::to_kernel(key, actual)));
            sent.push(Sent { key: *key, target: None });
        }
        self.under_way.extend(sent.iter().map(|sent| sent.key));
        (ops, sent)
    }

    /// What the kernel answered to the batch. What became of a route meanwhile is kept: a change that came after
    /// the batch is pending again.
    pub fn done(
        &mut self,
        sent: Vec<Sent>,
        results: impl IntoIterator<Item = Result<(), KernelError>>,
        now: Duration,
    ) -> Outcome {
        let mut outcome = Outcome::default();
        for (Sent { key, target }, result) in sent.into_iter().zip(results) {
            self.under_way.remove(&key);
            let error = match result {
                Ok(()) => None,
                Err(error) if target.is_none() && error.is_gone() => None,
                Err(error) => Some(error),
            };
            match (error, target) {
                (None, Some(target)) => {
                    self.delta.set_actual(key, target);
                    self.retries.forget(&key);
                    outcome.carried_out += 1;
                }
                (None, None) => {
                    self.delta.remove_actual(&key);
                    self.retries.forget(&key);
                    outcome.carried_out += 1;
                }
                (Some(error), _) => {
                    if self.retries.refused(key, now) {
                        // it is not ours as far as we know
                        outcome.read_back |= error.is_there();
                        outcome.refused.push(error.to_string());
                    }
                }
            }
        }
        outcome
    }

    fn remove_but(&mut self, prefix: Prefix, kept: Option<Key>) {
        let others: Vec<Key> = self
            .delta
            .range(Key::of(prefix))
            .filter(|state| state.desired.is_some() && Some(*state.key) != kept)
            .map(|state| *state.key)
            .collect();
        for key in others {
            self.retries.forget(&key);
            self.delta.remove_desired(&key);
        }
    }
}
