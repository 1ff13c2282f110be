//! One step at a time: a look, sets that come, tables, sets that go.
//!
//! What is there is read once; afterwards what was written is known. What others change is seen by events where nf_tables
//! carries the tables, and by a look from time to time where nothing tells of it: tables of the legacy variant, and IP sets
//! in both.

use super::objects::{self, ObjectId, Place, Refusals};
use super::sets::Sets;
use super::tables::Tables;
use crate::nft::{Affected, Step};
use crate::stock::Stock;
use delta::Retries;
use failpoint::failpoint;
use felix_render::iptables::{Table, Update};
use futures::future::FutureExt;
use futures::stream::{BoxStream, StreamExt};
use kernel::{IpSets, KernelError, NftEvent, NftKernel, Variant, XTables};
use model::net::Family;
use netfilter::nft::{self, Object};
use std::hash::{BuildHasher, Hasher};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Between two looks at what nobody tells of; a tenth less by chance, so that nodes do not look all at once.
const VERIFY: Duration = Duration::from_secs(30);
/// A look takes at most this part of the time by the clock: on a busy machine that is many times what the processor does for it,
/// and must not make looks rare.
const SHARE: u32 = 10;
/// Between two looks at what an event told of, at least, and as a multiple of what a look takes.
const BETWEEN_LOOKS: Duration = Duration::from_millis(100);
const LOOK_SHARE: u32 = 10;

/// See the module.
pub struct IptablesDriver {
    programs: Arc<dyn XTables>,
    sets: Sets,
    /// Where all is wanted.
    tables: Tables,
    /// Where nothing is wanted any more: tables of the other variant, until they are clean.
    leaving: Option<Tables>,
    /// What of them is refused.
    left: Refusals,
    nft: Box<dyn NftKernel>,
    /// `None` when the stream has ended: it is opened again before the next look.
    events: Option<BoxStream<'static, NftEvent>>,
    /// Ports of our own programs, whose events are still to come.
    ports: Vec<u32>,
    refusals: Refusals,
    /// Nothing can be read or written.
    failing: Retries<()>,
    failed: Option<String>,
    /// No look before.
    next_look: Duration,
    /// A look that nothing asks for.
    verify_at: Option<Duration>,
}

impl std::fmt::Debug for IptablesDriver {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("IptablesDriver")
            .field("variant", &self.tables.variant())
            .field("refused", &self.refusals)
            .field("failed", &self.failed)
            .finish_non_exhaustive()
    }
}

impl IptablesDriver {
    /// Follows what others change; looks when it is asked for the first step. `nft` tells of events alone. Within a tokio
    /// runtime.
    ///
    /// # Errors
    /// Where changes cannot be followed.
    pub fn open(
        programs: Arc<dyn XTables>,
        sets: Box<dyn IpSets>,
        nft: Box<dyn NftKernel>,
        variant: Variant,
    ) -> Result<Self, KernelError> {
        let events = Some(nft.events_of_others()?);
        let mut driver = Self {
            programs,
            sets: Sets::new(sets),
            tables: Tables::new(variant),
            leaving: None,
            left: Refusals::default(),
            nft,
            events,
            ports: Vec::new(),
            refusals: Refusals::default(),
            failing: Retries::up_to(objects::LONGEST_PAUSE),
            failed: None,
            next_look: Duration::ZERO,
            verify_at: None,
        };
        driver.leave(variant);
        Ok(driver)
    }

    /// What a life before, or Calico, left in the other variant's tables goes.
    fn leave(&mut self, variant: Variant) {
        let other = match variant {
            Variant::Legacy => Variant::Nft,
            Variant::Nft => Variant::Legacy,
        };
        self.leaving = Some(Tables::new(other));
    }

    /// Which variant is written.
    pub fn variant(&self) -> Variant {
        self.tables.variant()
    }

    /// Another variant is written from now on: its rules are whole in force before those of the other one go.
    pub fn set_variant(&mut self, variant: Variant) {
        if variant == self.tables.variant() {
            return;
        }
        let mut tables = match self.leaving.take() {
            Some(tables) if tables.variant() == variant => tables,
            _ => Tables::new(variant),
        };
        tables.take_over(&self.tables);
        let mut before = std::mem::replace(&mut self.tables, tables);
        before.unwant_all();
        before.doubt_all();
        self.leaving = Some(before);
        (self.refusals, self.left) = (Refusals::default(), Refusals::default());
    }

    /// Other things are wanted.
    pub fn update(&mut self, updates: impl IntoIterator<Item = Update>) {
        for update in updates {
            if !self.refusals.is_empty() {
                self.try_again(&update);
            }
            self.tables.update(&update);
            match update {
                Update::Set { family, name, shape } => self.sets.want(family, &name, shape),
                Update::Members { family, set, added, removed } => {
                    self.sets.want_members(family, &set, added, &removed);
                }
                Update::Chain { .. } | Update::Hook { .. } => {}
            }
        }
    }

    /// Nothing is wanted any more: all of ours goes.
    pub fn unwant_all(&mut self) {
        self.tables.unwant_all();
        self.sets.unwant_all();
        self.refusals = Refusals::default();
    }

    /// What was refused is wanted otherwise now.
    fn try_again(&mut self, update: &Update) {
        let refusals = &mut self.refusals;
        match update {
            Update::Chain { family, table, name, .. } => {
                let place = (*family, *table);
                refusals.forget(&ObjectId::Chain(place, name.clone()));
                refusals.forget(&ObjectId::Leftover(place, name.clone()));
            }
            Update::Hook { family, table, chain, .. } => {
                refusals.forget(&ObjectId::Hook((*family, *table), Arc::from(*chain)));
            }
            Update::Set { name: set, .. } | Update::Members { set, .. } => {
                refusals.forget(&ObjectId::Set(set.clone()));
            }
        }
    }

    /// Whether all that is wanted is in the kernel, as far as is known, and nothing else of ours.
    pub fn is_in_sync(&self) -> bool {
        self.is_known() && self.sets.is_in_sync() && self.tables.is_in_sync() && self.leaving.is_none()
    }

    /// Whether all that is wanted is in the kernel, or is refused. What is still to go does not count.
    pub fn is_settled(&self) -> bool {
        self.is_known() && ((self.sets.is_in_sync() && self.tables.is_in_sync()) || !self.refusals.is_empty())
    }

    fn is_known(&self) -> bool {
        self.failed.is_none() && !self.sets.is_unread() && !self.tables.is_unread()
    }

    /// Whether packets are judged: all is as wanted, or at most objects are missing without which packets are dropped.
    pub fn guards(&self) -> bool {
        let opens = |object: &ObjectId| match object {
            ObjectId::Table(_) | ObjectId::Hook(..) => true,
            ObjectId::Chain(place, chain) => self.tables.is_hooked(*place, chain),
            ObjectId::Leftover(..) | ObjectId::Set(_) => false,
        };
        self.is_settled() && !self.refusals.iter().any(|(object, _)| opens(object))
    }

    /// What is refused, with the words about it.
    pub fn refused(&self) -> impl Iterator<Item = (String, &str)> {
        let all = self.failed.iter().map(|words| ("iptables".to_owned(), words.as_str()));
        let objects = self.refusals.iter().chain(self.left.iter());
        all.chain(objects.map(|(object, words)| (object.to_string(), words)))
    }

    /// Counts what of ours is there.
    pub fn measure(&self, stock: &mut Stock) {
        self.sets.measure(stock);
        [Some(&self.tables), self.leaving.as_ref()].into_iter().flatten().for_each(|all| all.measure(stock));
    }

    /// Whom it concerns that something is refused.
    pub fn affected(&self) -> Affected {
        match self.refusals.is_empty() {
            true => Affected::default(),
            false => objects::affected(self.refusals.iter().map(|(object, _)| object), self.tables.all()),
        }
    }

    /// When the next step may have something to do; `None` when an event or an update comes first.
    pub fn next_try(&self) -> Option<Duration> {
        let look = self.wants_look().then_some(self.next_look);
        let earliest =
            [look, self.refusals.next(), self.left.next(), self.verify_at].into_iter().flatten().min();
        // while all fails nothing else is tried
        self.failing.next().or(earliest)
    }

    fn wants_look(&self) -> bool {
        self.sets.is_unread() || self.tables.is_unread()
    }

    /// Waits until somebody else changes something of ours; for ever while a look is due anyway, of whose time
    /// [`IptablesDriver::next_try`] knows. Nothing is lost when the returned future is dropped.
    pub async fn changed(&mut self) {
        if self.wants_look() {
            return std::future::pending().await;
        }
        while !self.wants_look() {
            match &mut self.events {
                Some(events) => match events.next().await {
                    Some(event) => self.event(&event),
                    None => self.lost_events(),
                },
                // opened again by the look that is asked for
                None => std::future::pending().await,
            }
        }
    }

    /// Does the next thing.
    pub async fn step(&mut self, now: Duration) -> Step {
        if !self.failing.may(&(), now) {
            return Step::Idle;
        }
        self.take_events();
        if self.verify_at.is_some_and(|at| at <= now) {
            self.verify_at = None;
            self.sets.doubt();
            if self.tables.variant() == Variant::Legacy {
                self.tables.doubt_wanted();
            }
        }
        if self.wants_look() {
            return if self.next_look <= now { self.look(now).await } else { Step::Idle };
        }
        match self.change(now).await {
            Ok(true) => {
                if self.wants_look() {
                    // a refusal asks for a look, and has a pause of its own
                    self.next_look = now;
                }
                // pauses become longer while nothing is done between two failures
                self.failing.forget(&());
                Step::More
            }
            Ok(false) => {
                // what was refused and is not wanted any more
                self.refusals.forget_due(now);
                self.left.forget_due(now);
                self.failing.forget(&());
                self.failed = None;
                Step::Idle
            }
            Err(error) => self.fail(error.to_string(), now),
        }
    }

    /// Sets before rules that name them, rules before what nothing names any more goes.
    async fn change(&mut self, now: Duration) -> Result<bool, KernelError> {
        if self.sets.prepare(&mut self.refusals, now)? {
            failpoint("felix-iptables-sets");
            return Ok(true);
        }
        let programs = &*self.programs;
        if self.tables.write(programs, &mut self.refusals, &mut self.ports, now).await {
            return Ok(true);
        }
        // what is wanted must be in force before the other variant's rules go
        if self.tables.is_in_sync()
            && let Some(leaving) = &mut self.leaving
        {
            if leaving.is_unread() {
                // a variant that cannot be shown has nothing of ours
                let _ = leaving.read(programs).await;
            }
            if leaving.write(programs, &mut self.left, &mut self.ports, now).await {
                return Ok(true);
            }
            if leaving.is_in_sync() {
                self.leaving = None;
                return Ok(true);
            }
        }
        let cleaned = self.sets.clean(&mut self.refusals, now)?;
        if cleaned {
            failpoint("felix-iptables-sets-gone");
        }
        Ok(cleaned)
    }

    async fn look(&mut self, now: Duration) -> Step {
        let begun = Instant::now();
        match self.try_look().await {
            Ok(()) => {
                let took = begun.elapsed();
                self.next_look = now + BETWEEN_LOOKS.max(took * LOOK_SHARE);
                // sets are told of by nobody
                let wanted = self.sets.is_wanted() || self.tables.is_wanted();
                self.verify_at = wanted.then(|| now + some_less(VERIFY.max(took * SHARE)));
                Step::More
            }
            Err(error) => self.fail(error, now),
        }
    }

    async fn try_look(&mut self) -> Result<(), String> {
        if self.events.is_none() {
            self.events = Some(self.nft.events_of_others().map_err(|error| error.to_string())?);
            self.tables.doubt_all();
        }
        if self.sets.is_unread() {
            self.sets.read().map_err(|error| error.to_string())?;
        }
        if self.tables.is_unread() {
            self.tables.read(&*self.programs).await?;
        }
        Ok(())
    }

    /// All fails: tried again later.
    fn fail(&mut self, error: String, now: Duration) -> Step {
        if self.failing.refused((), now) {
            tracing::warn!(error, "iptables cannot be programmed, trying again");
        }
        self.failed = Some(error);
        Step::Idle
    }

    fn take_events(&mut self) {
        while let Some(events) = &mut self.events {
            match events.next().now_or_never() {
                Some(Some(event)) => self.event(&event),
                Some(None) => self.lost_events(),
                None => break,
            }
        }
        // our programs have ended: no event of theirs is still to come
        self.ports.clear();
    }

    fn lost_events(&mut self) {
        self.events = None;
        self.lost();
    }

    fn lost(&mut self) {
        if self.tables.variant() == Variant::Nft {
            self.tables.doubt_all();
        }
    }

    fn event(&mut self, event: &NftEvent) {
        let (port, object) = match event {
            NftEvent::Overrun => return self.lost(),
            NftEvent::Change { port, object, .. } => (port, object),
        };
        if self.tables.variant() != Variant::Nft || self.ports.contains(port) {
            return;
        }
        let (table, chain) = match object {
            Object::Table(table) => (&table.table, None),
            Object::Chain(chain) => (&chain.table, Some(&chain.name)),
            Object::Rule(rule) => (&rule.table, Some(&rule.chain)),
            _ => return,
        };
        let Some(place) = place_of(table) else { return };
        if chain.is_none_or(|chain| self.tables.concerns(place, chain)) {
            self.tables.doubt(place);
        }
    }
}

/// The table of iptables that a table of nf_tables is.
fn place_of(table: &nft::TableRef) -> Option<Place> {
    let family = match table.family {
        nft::Family::Ipv4 => Family::V4,
        nft::Family::Ipv6 => Family::V6,
        _ => return None,
    };
    Table::ALL.into_iter().find(|known| known.name() == table.name).map(|table| (family, table))
}

/// Up to a tenth less.
fn some_less(time: Duration) -> Duration {
    let chance = std::hash::RandomState::new().build_hasher().finish() % 1000;
    time - time.mul_f64(f64::from(u32::try_from(chance).unwrap_or(0)) / 10_000.0)
}
