//! The event loop: one owner of all speaker state, and everything that can happen to it.
//!
//! ```text
//!  sockets ────► Speaker (sessions, RIB) ────► sockets      read all that is ready, then one flush, then write
//!  kernel  ────► Tracker ── next hops, local routes ──► RIB ── changes ──► Fib ────► kernel
//!  datastore ──► View ── plan, difference ──► Speaker
//!  people  ◄───► answers from what is there
//! ```
//!
//! Nothing here waits but the one `select`; every other call returns at once. Output is deferred: a burst of input is
//! read to its end, or for [`BURST`] at most, before anybody is told what came of it.

mod peers;
mod routes;
mod sockets;
mod status;

use crate::files::{self, Files};
use crate::kernel_side::KernelSide;
use crate::service::{Answer, Question};
use crate::source::Source;
use crate::speaker::{Link, Output, Speaker};
use crate::transport::{Ready, SocketId, Transport};
use crate::{Config, RunError};
use bgp_config::{NodePlan, SessionKey, WorkloadStatus};
use bgp_rib::{FibRoute, NextHop, PeerId};
use bgp_session::{Deferred, Time};
use bgp_wire::{Family, Prefix};
use futures::future::select;
use metrics::Counter;
use observe::health::{Report, Reporter};
use observe::shutdown::Shutdown;
use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;

/// How long input may go on before what came of it goes out. It is looked at after every read, of [`BUFFER`] octets at most.
const BURST: Duration = Duration::from_millis(2);
/// What is forgotten at one go when there is nothing else to do: nobody waits longer for it than for a short message.
const TIDY: usize = 256;
/// Octets read at one go.
const BUFFER: usize = 256 << 10;
/// How long last words and the last batch may take at the end.
const DRAIN: Duration = Duration::from_secs(2);
/// How often an address that could not be listened at is tried again.
const LISTEN_AGAIN: Duration = Duration::from_secs(5);

/// Questions of people, and where their answers go.
pub(crate) type Questions = mpsc::Receiver<(Question, oneshot::Sender<Answer>)>;

/// See the module.
pub(crate) struct Shell {
    config: Config,
    start: Instant,
    speaker: Option<Speaker>,
    transport: Transport,
    kernel: KernelSide,
    source: Source,
    files: Option<Files>,
    plan: Option<Arc<NodePlan>>,
    /// Configured sessions.
    peers: BTreeMap<SessionKey, PeerId>,
    /// Sockets of connections, both ways round.
    sockets: HashMap<Link, SocketId>,
    links: HashMap<SocketId, Link>,
    listeners: BTreeMap<SocketAddr, SocketId>,
    /// When to try again to listen where it failed.
    listen_again: Option<Instant>,
    /// Since when each session is in its state.
    since: HashMap<PeerId, Instant>,
    /// Routes whose device is not there.
    waiting_for_device: BTreeMap<Prefix, FibRoute>,
    /// Link-local next hops of interest.
    on_links: BTreeSet<NextHop>,
    /// Sockets that have something and were not served yet.
    ready: VecDeque<Ready>,
    buffer: Box<[u8]>,
    /// When input began that has not gone out yet.
    burst: Option<Instant>,
    /// A burst has just gone out: before sockets are read again, everybody else gets a turn.
    turn_of_others: bool,
    /// Families whose stale routes go with the next flush.
    settling: Vec<Family>,
    /// Makes hash tables and timers unpredictable.
    seed: u64,
    /// Octets of all connections.
    received: Counter,
    sent: Counter,
    reporter: Reporter,
    /// Sessions came up or went down since [`Shell::report`].
    unreported: bool,
}

/// What the loop was woken by.
enum Happened {
    Sockets,
    Kernel,
    Plan(Arc<NodePlan>),
    Files,
    Asked(Question, oneshot::Sender<Answer>),
    Time,
    /// Nothing more is ready: what there is goes out.
    Quiet,
    /// Nothing is to be done for anybody.
    Idle,
    End,
}

impl Shell {
    pub(crate) async fn new(config: Config, reporter: Reporter) -> Result<Self, RunError> {
        let kernel = KernelSide::open(Arc::clone(&config.kernel), config.programs_kernel).await?;
        let source = Source::new(Arc::clone(&config.store), &config.node, config.router_id)
            .with_snapshot(config.snapshot.clone());
        let files = Files::watch(vec![config.secrets.clone(), config.endpoint_status.clone()]);
        let files = files.inspect_err(|error| {
            tracing::warn!(%error, "passwords and endpoints are not followed: changes of them need a restart");
        });
        let mut shell = Self {
            start: Instant::now(),
            speaker: None,
            transport: Transport::new()?,
            kernel,
            source,
            files: files.ok(),
            plan: None,
            peers: BTreeMap::new(),
            sockets: HashMap::new(),
            links: HashMap::new(),
            listeners: BTreeMap::new(),
            listen_again: None,
            since: HashMap::new(),
            waiting_for_device: BTreeMap::new(),
            on_links: BTreeSet::new(),
            ready: VecDeque::new(),
            buffer: vec![0; BUFFER].into_boxed_slice(),
            burst: None,
            turn_of_others: false,
            settling: Vec::new(),
            seed: 0,
            received: metrics::counter!("bgpd_received_octets"),
            sent: metrics::counter!("bgpd_sent_octets"),
            reporter,
            unreported: false,
            config,
        };
        shell.read_endpoints();
        shell.report();
        Ok(shell)
    }

    /// Runs until `shutdown` fires. Routes stay in the kernel, and neighbours keep theirs for as long as they were told
    /// that a restart may take.
    pub(crate) async fn run(mut self, mut questions: Questions, shutdown: Shutdown) -> Result<(), RunError> {
        loop {
            match self.wait(&mut questions, &shutdown).await? {
                Happened::Sockets => self.read_ready(),
                Happened::Kernel => {}
                Happened::Quiet => {
                    self.burst = None;
                    self.settle();
                    // However long the flood, time, the kernel's answers and people's questions get their turn.
                    self.turn_of_others = true;
                    tokio::task::yield_now().await;
                    continue;
                }
                Happened::Idle => self.tidy(),
                Happened::Plan(plan) => self.take_plan(plan),
                Happened::Files => self.take_files(),
                Happened::Asked(question, answer) => {
                    // Who asked may have gone.
                    let _ = answer.send(self.answer(&question));
                }
                Happened::Time => self.take_time(),
                Happened::End => break,
            }
            self.settle();
        }
        // Nothing is said to the neighbours: they keep our routes (RFC 4724), and the kernel keeps theirs.
        let _ = tokio::time::timeout(DRAIN, self.kernel.drain()).await;
        Ok(())
    }

    /// Time as the sessions count it.
    fn now(&self) -> Time {
        self.start.elapsed()
    }

    async fn wait(&mut self, questions: &mut Questions, shutdown: &Shutdown) -> Result<Happened, RunError> {
        if self.is_overdue() {
            return Ok(Happened::Quiet);
        }
        let deadline = self.deadline();
        let untidy = self.speaker.as_ref().is_some_and(|speaker| speaker.rib().is_untidy());
        let (turn_of_others, bursting) = (std::mem::take(&mut self.turn_of_others), self.burst.is_some());
        let sockets = async {
            if self.ready.is_empty() {
                self.transport.ready(&mut self.ready).await?;
            }
            Ok(Happened::Sockets)
        };
        let others = async {
            let files = async {
                match &mut self.files {
                    Some(files) => files.changed().await,
                    None => std::future::pending().await,
                }
            };
            let time = async {
                match deadline {
                    Some(at) => tokio::time::sleep_until(at).await,
                    None => std::future::pending().await,
                }
            };
            Ok(tokio::select! {
                biased;
                () = time => Happened::Time,
                () = self.kernel.next() => Happened::Kernel,
                plan = self.source.next() => Happened::Plan(plan),
                () = files => Happened::Files,
                Some((question, answer)) = questions.recv() => Happened::Asked(question, answer),
            })
        };
        tokio::pin!(sockets, others);
        // The one given first is asked first.
        let somebody = async {
            match turn_of_others {
                true => select(others, sockets).await.factor_first().0,
                false => select(sockets, others).await.factor_first().0,
            }
        };
        tokio::select! {
            biased;
            () = shutdown.wait() => Ok(Happened::End),
            happened = somebody => happened,
            () = std::future::ready(()), if bursting => Ok(Happened::Quiet),
            () = tokio::task::yield_now(), if untidy => Ok(Happened::Idle),
        }
    }

    /// Whether what came of the burst has to go out, whatever else is ready.
    fn is_overdue(&self) -> bool {
        self.burst.is_some_and(|begun| begun.elapsed() >= BURST)
    }

    /// Forgets a little of what nobody needs any more.
    fn tidy(&mut self) {
        if let Some(speaker) = &mut self.speaker {
            speaker.rib_mut().tidy(TIDY);
        }
    }

    fn deadline(&self) -> Option<Instant> {
        let now = self.now();
        let sessions = self.speaker.as_ref().and_then(|speaker| speaker.deadline(now));
        sessions.map(|at| self.start + at).into_iter().chain(self.listen_again).min()
    }

    fn take_time(&mut self) {
        let now = self.now();
        if let Some(speaker) = &mut self.speaker {
            speaker.wake(now);
        }
        if self.listen_again.is_some_and(|at| at <= Instant::now()) {
            self.listen();
        }
    }

    /// Everything that follows from what happened, until nothing more does; but while a burst of input goes on, only
    /// what sessions want at once: what came of it goes out when it is over.
    fn settle(&mut self) {
        self.kernel_changes();
        self.resolve_wanted();
        self.outputs();
        if self.burst.is_none() {
            if let Some(speaker) = &mut self.speaker {
                speaker.flush();
            }
            // What a flush decided may need next hops that nobody asked for before.
            self.resolve_wanted();
            self.outputs();
            self.program();
            for family in std::mem::take(&mut self.settling) {
                self.settle_fib(family);
            }
        }
        self.kernel.push();
        self.write_all();
        // Neighbours first; whoever watches the part is told afterwards.
        if self.burst.is_none() && std::mem::take(&mut self.unreported) {
            self.report();
        }
    }

    /// Does what the speaker wants done, until it wants nothing more.
    fn outputs(&mut self) {
        while let Some(output) = self.speaker.as_mut().and_then(Speaker::poll) {
            self.output(output);
        }
    }

    fn output(&mut self, output: Output) {
        match output {
            Output::Connect(link) => self.connect(link),
            Output::Close(link, last_words) => self.close(link, &last_words),
            Output::Up(peer) => {
                self.since.insert(peer, Instant::now());
                tracing::info!(peer = self.name(peer), "session is up");
                self.unreported = true;
            }
            Output::Down(peer, reason) => {
                self.since.insert(peer, Instant::now());
                metrics::counter!("bgpd_sessions_lost").increment(1);
                tracing::info!(peer = self.name(peer), %reason, "session is down");
                self.unreported = true;
            }
            Output::Came(peer) => {
                self.since.insert(peer, Instant::now());
                tracing::info!(peer = self.name(peer), "a dynamic neighbour has come");
            }
            Output::Gone(peer) => drop(self.since.remove(&peer)),
            Output::Deferred(Deferred::Selection(family)) => {
                tracing::info!(%family, "restart: routes are selected and announced from now on");
            }
            // Not before what the neighbours told has reached the FIB.
            Output::Deferred(Deferred::StaleRoutes(family)) => self.settling.push(family),
            Output::LimitExceeded(peer, exceeded) => {
                tracing::warn!(
                    peer = self.name(peer),
                    family = %exceeded.family,
                    limit = exceeded.max.limit,
                    action = ?exceeded.max.action,
                    "a neighbour announces more than it may"
                );
            }
        }
    }

    /// Routes of an earlier life that nobody has confirmed leave the kernel.
    fn settle_fib(&mut self, family: Family) {
        if let Some(fib) = self.kernel.fib_mut() {
            fib.settle(family);
        }
    }

    fn take_files(&mut self) {
        self.read_endpoints();
        if let Some(plan) = self.source.plan() {
            self.take_plan(plan);
        }
        self.renew_passwords();
    }

    /// Status files of endpoints, which tell which workloads are neighbours.
    fn read_endpoints(&mut self) {
        let mut found: BTreeMap<String, WorkloadStatus> = BTreeMap::new();
        for (name, content) in files::read_all(&self.config.endpoint_status) {
            match WorkloadStatus::parse(&content) {
                Ok(status) => drop(found.insert(name, status)),
                Err(error) => tracing::warn!(file = name, %error, "an endpoint's status file cannot be read"),
            }
        }
        self.source.set_workloads(found);
    }

    /// What a person calls a neighbour.
    fn name(&self, peer: PeerId) -> String {
        let settings = self.speaker.as_ref().map(|speaker| speaker.rib().settings(peer));
        settings.map_or_else(String::new, |settings| settings.name.to_string())
    }

    /// Tells how the part is.
    fn report(&self) {
        if let Some(speaker) = &self.speaker {
            let up = speaker.peers().filter(|(_, session)| session.established().is_some()).count();
            metrics::gauge!("bgpd_sessions").set(speaker.peers().count() as f64);
            metrics::gauge!("bgpd_sessions_established").set(up as f64);
        }
        let report = match (&self.plan, &self.speaker) {
            (None, _) | (_, None) => Report::not_ready("the datastore has not been read yet"),
            (Some(_), Some(speaker)) => {
                let down = speaker.peers().filter(|(_, session)| session.established().is_none()).count();
                match down {
                    0 => Report::ok(),
                    down => Report::not_ready(format!("{down} BGP sessions are not established")),
                }
            }
        };
        self.reporter.report(report, std::time::Instant::now());
    }
}
