//! The event loop: one owner of all state, and everything that can happen to it.
//!
//! What the datastore says is taken in by slices, endpoints of this node first; when nothing waits and no list is half
//! read, what has become of it goes to the dataplane, which is told the revision and applies. A datastore that is away only
//! means that nothing comes: what the kernel has stays, and what others do to it is repaired.
//!
//! While ClusterInformation says that the datastore is not ready, changes are held back: the store may be half migrated.

mod meters;
mod tell;

use crate::acknowledge::{Asked, Waiting};
use crate::configuration::{Current, of_dataplane};
use crate::memory;
use crate::mtu::MtuFile;
use crate::observers::Observers;
use crate::pace::Pace;
use crate::service::Question;
use crate::status::Board;
use crate::{Config, RunError};
use datastore::Follow;
use failpoint::failpoint;
use felix_calc::{Changes, Feed};
use felix_dataplane::Dataplane;
use futures::FutureExt;
use meters::Meters;
use mvcc::KeyRange;
use observe::metrics::Reading;
use observe::shutdown::Shutdown;
use std::time::Duration;
use syncer::{Change, Output};
use tell::Tell;
use tokio::sync::mpsc;
use tokio::time::Instant;

/// How long values are taken in before others get their turn; one value may take longer.
const SLICE: Duration = Duration::from_millis(3);
/// Values taken in between two looks at the clock.
const VALUES: usize = 8;
/// Values that may wait while more are taken: the datastore works on the next page of a list, and the connection
/// takes it in, while the last ones of this page are worked on.
const AHEAD: usize = 1 << 14;
/// Messages of the datastore taken at one go.
const MESSAGES: usize = 256;

/// See the module.
pub(crate) struct Shell {
    node: String,
    source: String,
    start: Instant,
    follow: Follow,
    feed: Feed,
    current: Current,
    dataplane: Dataplane,
    board: Board,
    observers: Observers,
    mtu: MtuFile,
    /// Another MTU may count than was told.
    other_mtu: bool,
    tell: Tell,
    meters: Meters,
    /// Somebody reads the metrics.
    readings: mpsc::Receiver<Reading>,
    pace: Pace,
    in_sync: bool,
    /// A list is half read.
    half: bool,
    /// Values that wait to be taken in.
    left: usize,
    /// Something was taken in that the dataplane has not been told.
    news: bool,
    /// Changes held back while the datastore is not ready.
    held: Vec<Changes>,
    /// The dataplane was told a whole state once.
    began: bool,
    /// The kernel had everything once.
    settled: bool,
    beat_at: Instant,
    /// Other parts of the process tell of endpoints they wrote.
    written: mpsc::Receiver<Asked>,
    waiting: Waiting,
}

/// What the loop was woken by.
enum Happened {
    Datastore(Output),
    Kernel,
    Asked(Question),
    Written(Asked),
    Read(Reading),
    Beat,
    Work,
    End,
}

impl Shell {
    /// # Errors
    /// A local parameter with which no agent starts; the kernel.
    pub(crate) async fn new(config: Config, mut observers: Observers) -> Result<Self, RunError> {
        let current = Current::new(&config.node, config.local);
        if let Some(problem) = current.configuration().problems.iter().find(|problem| problem.is_fatal()) {
            return Err(RunError::Parameter(problem.to_string()));
        }
        let settings = current.settings();
        observers.set_settings(&settings.observe);
        let dataplane =
            Dataplane::open(config.kernel, config.netfilter, config.flows, of_dataplane(settings)).await?;
        let mut mtu = MtuFile::new(&config.mtu_file);
        mtu.set_pattern(&settings.host.mtu_interfaces);
        let roots = Feed::roots().into_iter().map(KeyRange::prefix);
        let mut follow = Follow::together(config.store.clone(), roots);
        if let Some(place) = config.snapshot {
            follow = follow.with_snapshot(place);
        }
        let readings = observers.readings();
        let mut shell = Self {
            start: Instant::now(),
            follow,
            feed: Feed::new(&config.node, settings.calc.clone()),
            board: Board::new(&config.node, &settings.status, config.store),
            tell: Tell::default(),
            meters: Meters::new(&config.node),
            readings,
            node: config.node,
            source: config.source,
            current,
            dataplane,
            observers,
            mtu,
            other_mtu: true,
            pace: Pace::new(Instant::now()),
            in_sync: false,
            half: false,
            left: 0,
            news: false,
            held: Vec::new(),
            began: false,
            settled: false,
            beat_at: Instant::now(),
            written: config.acknowledger.open(),
            waiting: Waiting::default(),
        };
        shell.beat();
        Ok(shell)
    }

    /// Runs until `shutdown` fires. The kernel keeps everything.
    pub(crate) async fn run(
        mut self,
        mut questions: mpsc::Receiver<Question>,
        shutdown: Shutdown,
    ) -> Result<(), RunError> {
        loop {
            match self.wait(&mut questions, &shutdown).await {
                Happened::Datastore(output) => self.take(output),
                Happened::Kernel => {
                    self.apply().await?;
                    // another try may have been the one that worked
                    if self.tell.is_news(self.waiting()) {
                        self.beat();
                        self.settle_down();
                    }
                }
                Happened::Asked(question) => {
                    self.keep_up();
                    self.answer(question);
                }
                Happened::Written(asked) => self.wrote(asked),
                Happened::Read(reading) => {
                    self.keep_up();
                    self.measure();
                    drop(reading);
                }
                Happened::Beat => self.beat(),
                Happened::Work => {}
                Happened::End => return Ok(()),
            }
            self.work();
            if self.news && self.in_sync && !self.half && self.left == 0 {
                self.settle().await;
                self.apply().await?;
                self.beat();
                self.settle_down();
                self.let_gather();
            } else if self.tell_ahead() {
                self.apply().await?;
            }
        }
    }

    /// The thread sleeps, not the loop alone: the connection's task would be woken by each update. Who attaches a workload
    /// meanwhile is not kept waiting.
    fn let_gather(&self) {
        if let Some(pause) = self.pace.pause().filter(|_| self.waiting.is_empty()) {
            std::thread::sleep(pause);
        }
    }

    /// Once everything is in force for the first time.
    fn settle_down(&mut self) {
        if !self.settled && self.dataplane.enforced().is_some() {
            self.settled = true;
            self.meters.settled(self.start.elapsed());
            memory::give_back();
        }
    }

    async fn wait(&mut self, questions: &mut mpsc::Receiver<Question>, shutdown: &Shutdown) -> Happened {
        let (left, ahead) = (self.left > 0, self.feed.waiting() <= AHEAD);
        tokio::select! {
            biased;
            () = shutdown.wait() => Happened::End,
            () = tokio::time::sleep_until(self.beat_at) => Happened::Beat,
            Some(question) = questions.recv() => Happened::Asked(question),
            Some(asked) = self.written.recv() => Happened::Written(asked),
            Some(reading) = self.readings.recv() => Happened::Read(reading),
            () = self.dataplane.next() => Happened::Kernel,
            output = self.follow.next(), if ahead => Happened::Datastore(output),
            // the tasks of connections and of those who ask get their turn
            () = tokio::task::yield_now(), if left => Happened::Work,
        }
    }

    /// Takes what the datastore says, and all that is ready behind it.
    fn take(&mut self, first: Output) {
        let mut next = Some(first);
        let mut messages = 0;
        while let Some(output) = next {
            self.take_one(output);
            messages += 1;
            let room = messages < MESSAGES && self.feed.waiting() <= AHEAD;
            next = if room { self.follow.next().now_or_never() } else { None };
        }
    }

    /// Takes in what another part of this process wrote, and all that waits behind it.
    fn wrote(&mut self, first: Asked) {
        let mut next = Some(first);
        while let Some(Asked { written, answer }) = next {
            let known = self.feed.knows(&written.kv.key, &written.kv.value);
            self.waiting.push(&written, known, answer);
            let output = self.follow.wrote([written]);
            self.take_one(output);
            next = self.written.try_recv().ok();
        }
    }

    fn take_one(&mut self, output: Output) {
        if output.became_in_sync {
            tracing::info!(revision = self.follow.syncer().revision(), "the datastore has been read");
        }
        self.in_sync |= output.became_in_sync;
        self.half = output.more;
        self.news = true;
        if self.in_sync {
            self.pace.took(output.changes.len(), Instant::now());
        }
        for change in output.changes {
            match change {
                Change::Put(pair) => self.feed.push(pair.key, Some(pair.value)),
                Change::Delete { key, .. } => self.feed.push(key, None),
            }
        }
    }

    fn work(&mut self) {
        if self.news || self.left > 0 {
            let begun = Instant::now();
            loop {
                failpoint("felix-calculation");
                self.left = self.feed.work(VALUES);
                if self.left == 0 || begun.elapsed() >= SLICE {
                    break;
                }
            }
            self.meters.worked(begun.elapsed());
        }
    }

    /// What has become of it all goes to the dataplane.
    async fn settle(&mut self) {
        self.news = false;
        let mut changes = self.feed.take();
        loop {
            self.meters.calculated(&changes);
            self.tell.changes(&changes);
            if self.current.take(&changes) {
                self.settings_changed().await;
            }
            self.held.push(changes);
            // other settings may mean other sets and routes
            changes = self.feed.take();
            if changes.is_empty() {
                break;
            }
        }
        if !self.current.is_ready() {
            return;
        }
        self.meters.told(&self.held);
        for changes in std::mem::take(&mut self.held) {
            self.dataplane.on_changes(&changes);
            self.board.on_changes(&changes);
        }
        self.began = true;
        if self.dataplane.wants_whole() {
            self.dataplane.on_whole(&self.feed.whole());
        }
        self.dataplane.told(self.follow.syncer().revision());
        self.waiting.told(|key, revision| self.follow.has_reached(key, revision));
    }

    /// Before the values that wait are calculated, whoever attaches a workload that was known when it came is not kept waiting:
    /// it is under the policies that were in force then, as those that stay are. Whether somebody's may be in force by that.
    fn tell_ahead(&mut self) -> bool {
        let calculates = self.left > 0 || self.half;
        // what is held back goes first, and what is told at first is a whole state
        if !calculates || !self.began || !self.held.is_empty() {
            return false;
        }
        let (feed, dataplane, board) = (&mut self.feed, &mut self.dataplane, &mut self.board);
        let meters = &self.meters;
        self.waiting.tell_known(|key| {
            let Some(changes) = feed.take_known(key) else { return false };
            if !changes.is_empty() {
                meters.told([&changes]);
                dataplane.on_changes(&changes);
                board.on_changes(&changes);
            }
            true
        })
    }

    /// What was written since and is not about this node's state makes no news, but what is in force is of its revision too.
    fn keep_up(&mut self) {
        if self.began && self.current.is_ready() && !self.news && !self.half && self.left == 0 {
            self.dataplane.told(self.follow.syncer().revision());
        }
    }

    async fn settings_changed(&mut self) {
        let settings = self.current.settings();
        self.feed.set_options(settings.calc.clone());
        self.dataplane.set_settings(of_dataplane(settings)).await;
        self.observers.set_settings(&settings.observe);
        self.mtu.set_pattern(&settings.host.mtu_interfaces);
        self.other_mtu = true;
        tracing::info!("other settings are in force");
    }

    /// Tells the CNI plugin which MTU workloads have.
    ///
    /// # Errors
    /// The MTU file cannot be written and must be.
    fn tell_mtu(&mut self) -> Result<(), RunError> {
        let mtu = &self.mtu;
        let found = self.dataplane.host_mtu(|link| mtu.counts(link));
        if let Err(error) = self.mtu.write(found) {
            if self.current.settings().host.requires_mtu_file {
                return Err(error.into());
            }
            tracing::warn!("{error}");
        }
        Ok(())
    }

    /// # Errors
    /// The MTU file cannot be written and must be.
    async fn apply(&mut self) -> Result<(), RunError> {
        let begun = Instant::now();
        self.dataplane.apply().await;
        let statuses = self.dataplane.take_statuses();
        if self.began {
            self.board.set_settings(&self.current.settings().status);
            self.board.on_statuses(statuses);
            if self.dataplane.take_other_links() || std::mem::take(&mut self.other_mtu) {
                self.tell_mtu()?;
            }
            self.waiting.answer(|endpoint| self.dataplane.is_in_force(endpoint));
            if self.settled {
                self.meters.applied(begun.elapsed());
            }
            if self.dataplane.refused().next().is_some() {
                self.meters.failed();
            }
            self.tell.enforces(self.dataplane.enforced());
        }
        Ok(())
    }

    /// What it waits for before it enforces what is stored.
    fn waiting(&self) -> Option<&'static str> {
        if !self.in_sync {
            return Some("the datastore has not been read yet");
        }
        if !self.current.is_ready() {
            return Some("datastoreReady is not true in ClusterInformation default");
        }
        self.dataplane.enforced().is_none().then_some("the kernel does not have everything yet")
    }

    fn beat(&mut self) {
        self.observers.beat(self.in_sync, self.waiting());
        self.keep_up();
        self.tell.enforces(self.dataplane.enforced());
        self.tell.waits(self.waiting());
        self.beat_at = Instant::now() + self.observers.interval().max(Duration::from_millis(100));
    }
}
