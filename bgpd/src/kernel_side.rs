//! Where [`Fib`] and [`Tracker`] meet the kernel: batches, events and looks, one at a time.
//!
//! [`KernelSide::next`] waits for whatever comes; [`KernelSide::push`] sends what there is to send. Three things keep what
//! is known true:
//!
//! * While a look is under way no event is taken: what the kernel tells meanwhile waits in its buffer, and is newer than
//!   the look or in it. A buffer that overflows asks for another look.
//! * No look while a batch is under way, and no batch while a look is: a look never shows a batch half done.
//! * Looks keep a distance from each other that grows with what one costs.

use crate::fib::{Fib, MAIN, PROTOCOL, Sent};
use crate::next_hop::{Look, Tracker};
use failpoint::failpoint;
use futures::future::{BoxFuture, FutureExt};
use futures::stream::{BoxStream, StreamExt};
use kernel::{EventGroups, Kernel, KernelError, KernelEvent, RouteFilter};
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;
use writer::{Writer, Writing};

#[cfg(test)]
mod tests;
mod writer;

/// Changes in one batch: how long what comes later has to wait for it.
const BATCH: usize = 4096;
/// Batches under way at a time: the kernel works on one, the next one is ready.
const AT_ONCE: usize = 2;
/// Events taken at one go.
const EVENTS: usize = 1024;
/// Time between two looks, and how much longer than a look it is at least.
const BETWEEN_LOOKS: Duration = Duration::from_millis(100);
const LOOKS_SHARE: u32 = 10;

/// Answers of the kernel to a batch.
type Answers = Vec<Result<(), KernelError>>;

/// See the module.
pub struct KernelSide {
    kernel: Arc<dyn Kernel>,
    /// `None` when the stream has ended: looks alone, at long intervals, keep what is known true.
    events: BoxStream<'static, KernelEvent>,
    start: Instant,
    /// Whether routes are put into the kernel at all.
    programs: bool,
    fib: Fib,
    tracker: Tracker,
    writer: Writer,
    /// Batches under way, the oldest first.
    batches: VecDeque<(Vec<Sent>, Writing)>,
    look: Option<(Instant, BoxFuture<'static, Result<Look, KernelError>>)>,
    /// No look before.
    next_look: Instant,
    wants_look: bool,
}

impl std::fmt::Debug for KernelSide {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("KernelSide").field("programs", &self.programs).finish_non_exhaustive()
    }
}

impl KernelSide {
    /// Looks at the kernel for the first time, and adopts routes of an earlier life. With `programs` unset nothing is
    /// ever put into the kernel.
    ///
    /// # Errors
    /// The kernel cannot be followed or listed.
    pub async fn open(kernel: Arc<dyn Kernel>, programs: bool) -> Result<Self, KernelError> {
        let groups =
            EventGroups { links: true, addresses: true, routes: true, neighbours: false, others_only: true };
        // Follow first: what changes during the look is told.
        let events = kernel.events(groups).await?;
        let now = Instant::now();
        let mut side = Self {
            writer: Writer::new(Arc::clone(&kernel)),
            kernel,
            events,
            start: now,
            programs,
            fib: Fib::new(),
            tracker: Tracker::new(),
            batches: VecDeque::new(),
            look: None,
            next_look: now,
            wants_look: false,
        };
        let first = look(Arc::clone(&side.kernel)).await?;
        if programs {
            side.fib.adopt(&first.routes);
        }
        side.tracker.replace(first);
        Ok(side)
    }

    /// Routes wanted and there.
    pub fn fib(&self) -> &Fib {
        &self.fib
    }

    /// To want other routes; [`KernelSide::push`] sends them. `None` where nothing is programmed.
    pub fn fib_mut(&mut self) -> Option<&mut Fib> {
        self.programs.then_some(&mut self.fib)
    }

    /// What the kernel knows besides.
    pub fn tracker(&mut self) -> &mut Tracker {
        &mut self.tracker
    }

    /// The same, to look at.
    pub fn tracker_ref(&self) -> &Tracker {
        &self.tracker
    }

    /// Whether routes are put into the kernel.
    pub fn programs(&self) -> bool {
        self.programs
    }

    /// Sends the next batches, unless enough or a look are under way. Costs nothing when there is nothing to send.
    pub fn push(&mut self) {
        if !self.programs || self.look.is_some() || self.wants_look {
            return;
        }
        while self.batches.len() < AT_ONCE && !self.batches.front().is_some_and(|(_, writing)| writing.alone)
        {
            let (ops, sent) = self.fib.batch(BATCH, self.start.elapsed());
            if ops.is_empty() {
                return;
            }
            let writing = self.writer.write(ops, !self.batches.is_empty());
            self.batches.push_back((sent, writing));
        }
    }

    /// Waits for the next thing to happen and takes it in: answers to a batch, events, the end of a look, the time of a
    /// further try. Then [`Tracker::changes`] may have something, and [`KernelSide::push`] something to send.
    /// Nothing is lost when the returned future is dropped.
    pub async fn next(&mut self) {
        if let Some((begun, under_way)) = &mut self.look {
            let begun = *begun;
            let found = under_way.await;
            self.look = None;
            self.looked(begun, found);
            return;
        }
        let wants_look = self.wants_look || self.tracker.is_stale();
        if let Some((_, writing)) = self.batches.front_mut() {
            tokio::select! {
                answers = &mut writing.answers => {
                    if let Some((sent, _)) = self.batches.pop_front() {
                        self.answered(sent, answers);
                    }
                }
                event = self.events.next() => self.events(event),
            }
            return;
        }
        let next_try = self.fib.next_try().map(|at| self.start + at).filter(|_| self.programs);
        tokio::select! {
            () = tokio::time::sleep_until(self.next_look), if wants_look => {
                self.wants_look = false;
                self.look = Some((Instant::now(), look(Arc::clone(&self.kernel)).boxed()));
            }
            () = tokio::time::sleep_until(next_try.unwrap_or(self.start)), if next_try.is_some() => {}
            event = self.events.next() => self.events(event),
        }
    }

    /// Waits until all that is wanted is in the kernel or refused; for the end of the program.
    pub async fn drain(&mut self) {
        self.push();
        while let Some((sent, writing)) = self.batches.pop_front() {
            let answers = writing.answers.await;
            self.answered(sent, answers);
            self.push();
        }
    }

    fn answered(&mut self, sent: Vec<Sent>, answers: Answers) {
        failpoint("bgpd-fib");
        let outcome = self.fib.done(sent, answers, self.start.elapsed());
        let refused = outcome.refused.len();
        metrics::counter!("bgpd_kernel_changes").increment(u64::try_from(outcome.carried_out).unwrap_or(0));
        metrics::gauge!("bgpd_kernel_refused").set(self.fib.refused() as f64);
        if let Some(first) = outcome.refused.first() {
            tracing::warn!(refused, error = first, "the kernel refuses routes, which are tried again");
        }
        self.wants_look |= outcome.read_back;
    }

    /// Takes an event and all that wait behind it.
    fn events(&mut self, first: Option<KernelEvent>) {
        let mut next = first;
        if next.is_none() {
            self.wants_look = true;
        }
        let mut taken = 0;
        while let Some(event) = next {
            self.event(&event);
            taken += 1;
            next = match taken < EVENTS {
                true => self.events.next().now_or_never().flatten(),
                false => None,
            };
        }
    }

    fn event(&mut self, event: &KernelEvent) {
        match event {
            KernelEvent::Route(route) if route.protocol == PROTOCOL => self.fib.appeared(route),
            KernelEvent::RouteGone(route) if route.protocol == PROTOCOL => self.fib.vanished(route),
            KernelEvent::Link(_) | KernelEvent::Address(_) => self.fib.try_again(),
            _ => {}
        }
        self.tracker.event(event);
    }

    fn looked(&mut self, begun: Instant, found: Result<Look, KernelError>) {
        let now = Instant::now();
        self.next_look = now + BETWEEN_LOOKS.max((now - begun) * LOOKS_SHARE);
        match found {
            Ok(look) => {
                if self.programs {
                    self.fib.read_back(&look.routes);
                }
                self.tracker.replace(look);
            }
            Err(error) => {
                tracing::warn!(%error, "the kernel cannot be listed, trying again");
                self.wants_look = true;
            }
        }
    }
}

async fn look(kernel: Arc<dyn Kernel>) -> Result<Look, KernelError> {
    let main = RouteFilter { table: Some(MAIN), ..RouteFilter::default() };
    Ok(Look {
        links: kernel.links().await?,
        addresses: kernel.addresses(None).await?,
        routes: kernel.routes(main).await?,
    })
}
