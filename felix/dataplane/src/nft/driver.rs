//! Batches, events and looks, one step at a time.
//!
//! What is there is read once; afterwards each batch tells what it changed, and events tell what others changed. Every
//! batch names the generation it was planned for, so that the kernel refuses one that was planned before somebody else's
//! change. When a batch failed and what became of it is not certain, all is read again.

use super::affected::Affected;
use super::look::{self, Touched};
use super::plan::{Batch, Planner};
use super::state::{ObjectId, Ours, Receipt, Ruleset};
use crate::stock::Stock;
use delta::Retries;
use failpoint::failpoint;
use felix_render::nft::ruleset::Update;
use futures::future::FutureExt;
use futures::stream::{BoxStream, StreamExt};
use kernel::{CommitError, KernelError, NewRule, NftEvent, NftKernel, Refused};
use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

/// Elements from which what can wait is left to the next batch: some tens of milliseconds of the kernel's time.
const BATCH: usize = 16 << 10;
/// Longest pause between two tries of something the kernel refuses.
const LONGEST_PAUSE: Duration = Duration::from_secs(10);
/// Between two looks at what others touched: a repair takes at most this and the look.
const BETWEEN_LOOKS: Duration = Duration::from_millis(100);
/// `ENOENT`, `EBUSY`, `EEXIST`: what is there may not be what we think.
const OTHERS_DID_IT: [i32; 3] = [2, 16, 17];
/// Batches that may be called stale in a row before others get their turn.
const STALE_TRIES: usize = 16;

/// What a step came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// There is more to do at once.
    More,
    /// Nothing to do now.
    Idle,
}

/// See the module.
pub struct NftDriver {
    nft: Box<dyn NftKernel>,
    /// `None` when the stream has ended: it is opened again before the next look.
    events: Option<BoxStream<'static, NftEvent>>,
    ruleset: Ruleset,
    /// What has to be read before anything is planned.
    touched: Touched,
    /// No look before.
    next_look: Duration,
    /// The generation that what is known of the kernel belongs to.
    generation: Option<u32>,
    /// Objects the kernel refuses.
    retries: Retries<ObjectId>,
    /// The kernel's words about them.
    refused: BTreeMap<ObjectId, String>,
    /// The kernel as a whole answers with an error.
    failing: Retries<()>,
    stale: usize,
    batch: usize,
}

impl std::fmt::Debug for NftDriver {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("NftDriver").field("refused", &self.refused).finish_non_exhaustive()
    }
}

impl NftDriver {
    /// Follows what others change; looks when it is asked for the first step. Within a tokio runtime.
    ///
    /// # Errors
    /// Where changes cannot be followed.
    pub fn open(nft: Box<dyn NftKernel>, ours: Ours) -> Result<Self, KernelError> {
        let events = Some(nft.events_of_others()?);
        Ok(Self {
            nft,
            events,
            ruleset: Ruleset::new(ours),
            touched: Touched::everything(ours),
            next_look: Duration::ZERO,
            generation: None,
            retries: Retries::up_to(LONGEST_PAUSE),
            refused: BTreeMap::new(),
            failing: Retries::up_to(LONGEST_PAUSE),
            stale: 0,
            batch: BATCH,
        })
    }

    /// Batches of another size.
    #[cfg(test)]
    pub(crate) fn split_at(mut self, batch: usize) -> Self {
        self.batch = batch;
        self
    }

    /// Other things are wanted.
    pub fn update(&mut self, updates: impl IntoIterator<Item = Update>) {
        for update in updates {
            if !self.refused.is_empty() {
                self.try_again(&update);
            }
            self.ruleset.update(update);
        }
    }

    /// Nothing is wanted any more: our tables go.
    pub fn unwant_all(&mut self) {
        self.ruleset.unwant_all();
        self.retries.clear();
        self.refused.clear();
    }

    /// What was refused is wanted otherwise now.
    fn try_again(&mut self, update: &Update) {
        let (family, name) = match update {
            Update::Chain { family, name, .. } | Update::Set { family, name, .. } => (family, name),
            Update::Elements { family, set, .. } => (family, set),
        };
        let retries = &mut self.retries;
        self.refused.retain(|object, _| {
            let other = match object {
                ObjectId::Table(_) => true,
                ObjectId::Chain(of, known) | ObjectId::Set(of, known) | ObjectId::Element(of, known, _) => {
                    (of, known) != (family, name)
                }
            };
            if !other {
                retries.forget(object);
            }
            other
        });
    }

    /// Whether all that is wanted is in the kernel, as far as is known.
    pub fn is_in_sync(&self) -> bool {
        self.touched.is_empty() && self.ruleset.is_in_sync()
    }

    /// Whether all that is wanted is in the kernel, or is refused by it.
    pub fn is_settled(&self) -> bool {
        self.touched.is_empty() && (self.ruleset.is_in_sync() || !self.refused.is_empty())
    }

    /// Whether packets are judged: all is as wanted, or at most objects are missing without which packets are dropped.
    pub fn guards(&self) -> bool {
        let opens = |object: &ObjectId| match object {
            ObjectId::Table(_) => true,
            ObjectId::Chain(family, name) => self.ruleset.is_base_chain(*family, name),
            ObjectId::Set(..) | ObjectId::Element(..) => false,
        };
        self.is_settled() && !self.refused.keys().any(opens)
    }

    /// What the kernel refuses, with its words.
    pub fn refused(&self) -> impl Iterator<Item = (String, &str)> {
        self.refused.iter().map(|(object, words)| (object.describe(self.ruleset.ours()), words.as_str()))
    }

    /// Counts what is in our tables.
    pub fn measure(&self, stock: &mut Stock) {
        self.ruleset.measure(stock);
    }

    /// Whom it concerns that the kernel refuses something.
    pub fn affected(&self) -> Affected {
        match self.refused.is_empty() {
            true => Affected::default(),
            false => Affected::by(self.refused.keys(), &self.ruleset),
        }
    }

    /// When the next step may have something to do; `None` when an event or an update comes first.
    pub fn next_try(&self) -> Option<Duration> {
        let look = (!self.touched.is_empty()).then_some(self.next_look);
        let earliest = [look, self.retries.next()].into_iter().flatten().min();
        // while all fails nothing else is tried
        self.failing.next().or(earliest)
    }

    /// Waits until somebody else changes something of ours; for ever while a look is due anyway, of whose time
    /// [`NftDriver::next_try`] knows. Nothing is lost when the returned future is dropped.
    pub async fn changed(&mut self) {
        if !self.touched.is_empty() {
            return std::future::pending().await;
        }
        while self.touched.is_empty() {
            match &mut self.events {
                Some(events) => match events.next().await {
                    Some(event) => self.touched.event(event, self.ruleset.ours()),
                    None => self.lost_events(),
                },
                // opened again by the look that is asked for
                None => std::future::pending().await,
            }
        }
    }

    /// Does the next thing: a look, or a batch.
    pub fn step(&mut self, now: Duration) -> Step {
        if !self.failing.may(&(), now) {
            return Step::Idle;
        }
        self.take_events();
        if !self.touched.is_empty() {
            return if self.next_look <= now { self.look(now) } else { Step::Idle };
        }
        let may = |object: &ObjectId| self.retries.may(object, now);
        let batch = Planner::new(&self.ruleset, self.batch, &may).plan();
        if batch.changes.is_empty() {
            // what was refused and is not wanted any more
            for object in self.retries.forget_due(now) {
                self.refused.remove(&object);
            }
            self.failing.forget(&());
            return Step::Idle;
        }
        self.commit(batch, now)
    }

    fn take_events(&mut self) {
        loop {
            let Some(events) = &mut self.events else { return };
            match events.next().now_or_never() {
                Some(Some(event)) => self.touched.event(event, self.ruleset.ours()),
                Some(None) => self.lost_events(),
                None => return,
            }
        }
    }

    fn lost_events(&mut self) {
        self.events = None;
        self.touched = Touched::everything(self.ruleset.ours());
    }

    fn look(&mut self, now: Duration) -> Step {
        count("felix_nft_list_calls", true);
        match self.try_look() {
            // that batches work too is shown by the next one
            Ok(()) => {
                self.touched = Touched::default();
                self.next_look = now + BETWEEN_LOOKS;
                Step::More
            }
            Err(error) => {
                count("felix_nft_list_errors", true);
                self.fail(&error.to_string(), now)
            }
        }
    }

    fn try_look(&mut self) -> Result<(), KernelError> {
        if self.events.is_none() {
            self.events = Some(self.nft.events_of_others()?);
            self.touched = Touched::everything(self.ruleset.ours());
        }
        // before the look: what others change meanwhile makes the first batch stale
        self.generation = Some(self.nft.generation()?);
        look::read(&mut *self.nft, &mut self.ruleset, &self.touched)
    }

    /// All fails: nothing is known any more, and tried again later.
    fn fail(&mut self, error: &str, now: Duration) -> Step {
        self.touched = Touched::everything(self.ruleset.ours());
        if self.failing.refused((), now) {
            tracing::warn!(error, "nf_tables cannot be programmed, trying again");
        }
        Step::Idle
    }

    fn commit(&mut self, batch: Batch, now: Duration) -> Step {
        let of_sets = batch.receipts.iter().any(Receipt::is_of_sets);
        count("felix_nft_calls", true);
        count("felix_nft_set_calls", of_sets);
        let committed = self.nft.commit(&batch.changes, self.generation);
        let refused = matches!(&committed, Err(CommitError::Refused(_) | CommitError::Kernel(_)));
        count("felix_nft_errors", refused);
        count("felix_nft_set_errors", refused && of_sets);
        match committed {
            Ok(new) => {
                failpoint("felix-rules");
                self.stale = 0;
                self.failing.forget(&());
                // the kernel leaves zero out
                self.generation = self.generation.map(|before| before.wrapping_add(1).max(1));
                self.carried_out(batch, &new);
                Step::More
            }
            Err(CommitError::Stale) => self.stale(now),
            Err(CommitError::Refused(refused)) => {
                self.refuse(&batch, refused, now);
                Step::More
            }
            Err(CommitError::Kernel(error)) => self.fail(&error.to_string(), now),
        }
    }

    /// Somebody else changed something, mostly tables of others: what they touched of ours is in the events by then.
    fn stale(&mut self, now: Duration) -> Step {
        self.stale += 1;
        if self.stale > STALE_TRIES {
            self.stale = 0;
            self.failing.refused((), now);
            tracing::warn!("other programs change nf_tables without a pause, trying again");
            return Step::Idle;
        }
        match self.nft.generation() {
            Ok(generation) => {
                self.generation = Some(generation);
                Step::More
            }
            Err(error) => self.fail(&error.to_string(), now),
        }
    }

    fn carried_out(&mut self, batch: Batch, new: &[NewRule]) {
        let handles: HashMap<usize, u64> = new.iter().map(|new| (new.change, new.handle)).collect();
        let untold = self.ruleset.carried_out(batch.receipts, &|change| handles.get(&change).copied());
        untold.iter().for_each(|(family, chain)| self.touched.chain(*family, chain));
        if batch.in_force {
            self.ruleset.all_in_force();
        }
        if self.refused.is_empty() {
            return;
        }
        let mut recovered = false;
        for owner in &batch.owners {
            if self.retries.forget(owner) {
                recovered = true;
                self.refused.remove(owner);
                tracing::info!(
                    object = owner.describe(self.ruleset.ours()),
                    "the kernel takes what it refused before"
                );
            }
        }
        if recovered {
            // what was refused for want of it may work now
            self.retries.clear();
        }
    }

    /// The objects of refused changes wait; all others are tried again without them.
    fn refuse(&mut self, batch: &Batch, refused: Vec<Refused>, now: Duration) {
        for Refused { change, errno, words } in refused {
            let Some(owner) = batch.owners.get(change) else { continue };
            let error = CommitError::Refused(vec![Refused { change, errno, words }]).to_string();
            let first = self.retries.refused(owner.clone(), now);
            if first && !self.refused.contains_key(owner) {
                tracing::warn!(
                    object = owner.describe(self.ruleset.ours()),
                    error,
                    "the kernel refuses a change, which is tried again"
                );
            }
            self.refused.insert(owner.clone(), error);
            if first && OTHERS_DID_IT.contains(&errno) {
                self.suspect(owner.clone());
            }
        }
    }

    /// What is known of a refused object may be wrong.
    fn suspect(&mut self, owner: ObjectId) {
        match owner {
            ObjectId::Table(family) => self.touched.table(family),
            ObjectId::Chain(family, name) => self.touched.chain(family, &name),
            ObjectId::Set(family, name) | ObjectId::Element(family, name, _) => {
                self.touched.set(family, &name)
            }
        }
    }
}

fn count(counter: &'static str, happened: bool) {
    if happened {
        metrics::counter!(counter).increment(1);
    }
}
