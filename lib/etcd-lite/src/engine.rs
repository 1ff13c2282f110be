//! The store and its disk: what jobs work on, how a batch of them becomes durable, what follows.
//!
//! A read is a job too, so nobody ever sees what a power cut could still take back. After the commit come the answers, then
//! what watches are told, then new watches. When a commit fails, the batch's answers are that failure, and the store is loaded
//! again from what the disk has.

use crate::disk::{Batch, Disk, DiskError, Failed, Identity, LOG_SIZE};
use crate::hub::Hub;
use crate::load::Reader;
use crate::metrics::{Histogram, Stats};
use crate::refusal::Refusal;
use crate::rows;
use crate::waking::Waking;
use etcd_client::proto::PbResponseHeader;
use failpoint::failpoint;
use mvcc::{Forgotten, Limits, Revision, Store};
use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// Most jobs of a batch.
const BATCH_JOBS: usize = 1024;
/// No more jobs are taken once this much is to be written.
const BATCH_BYTES: usize = 4 << 20;
/// Rows of forgotten writes removed with one commit.
const GARBAGE_ROWS: usize = 4096;
/// The disk must have so much left for a write to be taken: the database copies pages before it frees any.
const RESERVE: u64 = 3 * (BATCH_BYTES + LOG_SIZE) as u64;
/// How long to wait before a disk that failed is tried again.
const RETRY: Duration = Duration::from_secs(1);
/// With fewer streams of watches it takes no time to tell them.
const FEW_STREAMS: usize = 16;
/// The owner may be late by so much; and no moment is computed to the same nanosecond twice.
const PUNCTUAL: Duration = Duration::from_millis(1);
/// etcd's term after the first election.
const TERM: u64 = 2;

/// Where the database comes from, and how much room it has.
pub(crate) struct Source {
    /// Opens it, again and again if need be.
    pub(crate) open: Box<dyn FnMut() -> Result<Disk, DiskError> + Send>,
    /// Bytes that can still be written; `None` when nobody knows.
    pub(crate) free: Box<dyn Fn() -> Option<u64> + Send>,
    /// Size of the database file.
    pub(crate) size: Box<dyn Fn() -> u64 + Send>,
}

/// Settings of the owner.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Settings {
    pub(crate) limits: Limits,
    /// The database may not grow beyond; `None` for no bound but the disk.
    pub(crate) quota: Option<u64>,
    /// How often an idle watch that asked for it is told of its progress.
    pub(crate) progress: Duration,
    /// History that was superseded longer ago than this, and at most twice as long, is forgotten.
    pub(crate) retention: Option<Duration>,
}

/// What the owner owns. Jobs get it.
pub(crate) struct Core {
    pub(crate) store: Store,
    pub(crate) hub: Hub,
    pub(crate) identity: Identity,
    pub(crate) stats: Stats,
    disk: Option<Disk>,
    source: Source,
    settings: Settings,
    /// Newest revision on disk.
    durable: Revision,
    leases: BTreeSet<i64>,
    compacted: Option<Revision>,
    garbage: VecDeque<Forgotten>,
    /// Bytes of all rows on disk.
    rows: u64,
    /// Bytes of the writes that wait for the commit.
    unwritten: usize,
    fault: Option<(Refusal, Instant)>,
    /// When history is compacted next by itself, and up to which revision.
    compaction: (Instant, Revision),
    origin: (Instant, Duration),
    ending: bool,
    /// Streams that have something to send.
    pub(crate) waking: Arc<Waking>,
    /// Jobs of the last batch.
    last: usize,
    /// When the owner does something of itself next.
    due: Instant,
}

/// Work after a commit.
pub(crate) type Later = Box<dyn FnOnce(&mut Core) + Send>;

impl Core {
    /// Opens the database and reads it.
    pub(crate) fn open(mut source: Source, settings: Settings) -> Result<Self, DiskError> {
        let disk = (source.open)()?;
        let identity = disk.identity();
        let wall = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let mut core = Core {
            store: Store::with_limits(settings.limits),
            hub: Hub::new(settings.progress),
            identity,
            stats: Stats::default(),
            disk: Some(disk),
            source,
            settings,
            durable: 1,
            leases: BTreeSet::new(),
            compacted: None,
            garbage: VecDeque::new(),
            rows: 0,
            unwritten: 0,
            fault: None,
            compaction: (Instant::now(), 0),
            origin: (Instant::now(), wall),
            ending: false,
            waking: Arc::default(),
            last: 0,
            due: Instant::now(),
        };
        core.load().map_err(|error| DiskError::Unreadable {
            path: crate::disk::FILE.into(),
            reason: format!("the database is damaged: {error}"),
        })?;
        core.hub.begin(core.store.revision());
        Ok(core)
    }

    /// The store's time: the wall clock when it was opened, and what has passed since.
    pub(crate) fn now(&self) -> Duration {
        self.origin.1 + self.origin.0.elapsed()
    }

    /// The header of an answer.
    pub(crate) fn header(&self, revision: Revision) -> PbResponseHeader {
        PbResponseHeader {
            cluster_id: self.identity.cluster,
            member_id: self.identity.member,
            revision,
            raft_term: TERM,
        }
    }

    /// To be called before a write of about `bytes`.
    ///
    /// # Errors
    /// There is no room for it.
    pub(crate) fn admit(&mut self, bytes: usize) -> Result<(), Refusal> {
        if self.no_space() {
            return Err(Refusal::NoSpace);
        }
        self.unwritten += bytes;
        Ok(())
    }

    /// Whether writes are refused for want of room.
    pub(crate) fn no_space(&self) -> bool {
        let quota = self.settings.quota.is_some_and(|quota| self.size() >= quota);
        quota || (self.source.free)().is_some_and(|free| free < RESERVE + self.unwritten as u64)
    }

    /// Size of the database file in bytes.
    pub(crate) fn size(&self) -> u64 {
        (self.source.size)()
    }

    /// How long it took the database to take over what the log had.
    pub(crate) fn checkpoints(&self) -> Histogram {
        self.disk.as_ref().map(|disk| disk.checkpoints.clone()).unwrap_or_default()
    }

    /// How much of the file rows take: the rest is free, or what trees need.
    pub(crate) fn in_use(&self) -> u64 {
        self.rows.min(self.size())
    }

    /// The bound on the database in bytes, 0 for none.
    pub(crate) fn quota(&self) -> u64 {
        self.settings.quota.unwrap_or(0)
    }

    /// Notes that a lease was made, renewed for good, or ended.
    pub(crate) fn lease_changed(&mut self, id: i64) {
        self.leases.insert(id);
    }

    /// Forgets revisions before `revision`; rows are removed little by little.
    pub(crate) fn compact(&mut self, revision: Revision) -> Result<(), Refusal> {
        let gone = self.store.compact(revision)?;
        self.stats.forgotten += gone.len() as u64;
        self.garbage.extend(gone);
        self.compacted = Some(revision);
        Ok(())
    }

    /// What the disk has, to be read while the store goes on.
    pub(crate) fn reader(&mut self) -> Result<Reader, Refusal> {
        let disk = self.disk.as_mut().ok_or(Refusal::Stopped)?;
        disk.reader().map_err(|error| Refusal::Storage(error.to_string()))
    }

    /// Ends the owner after this batch.
    pub(crate) fn end(&mut self) {
        self.ending = true;
    }

    /// Gives free space back to the file system.
    pub(crate) fn defragment(&mut self) -> Result<(), Refusal> {
        self.commit(true).map_err(|error| Refusal::Storage(error.to_string()))?;
        let begun = Instant::now();
        let done = self.disk.as_mut().map_or(Ok(()), |disk| disk.defragment().map_err(Refusal::Storage));
        self.stats.defragmentations.add(begun.elapsed());
        done
    }

    /// Why nothing can be done at the moment.
    pub(crate) fn fault(&self) -> Option<Refusal> {
        self.fault.as_ref().map(|(refusal, _)| refusal.clone())
    }

    /// Whether a single request should not wait for the owner: nothing takes long, and few are to be told.
    pub(crate) fn is_quiet(&self) -> bool {
        let room = self.disk.as_ref().is_some_and(Disk::log_has_room);
        room && self.last <= 1 && self.fault.is_none() && !self.ending && self.hub.streams() < FEW_STREAMS
    }

    /// Whether a batch should end here.
    pub(crate) fn is_full(&self, jobs: usize) -> bool {
        jobs >= BATCH_JOBS || self.unwritten >= BATCH_BYTES
    }

    /// Makes durable what a batch of so many jobs did; the refusal for all of them if that fails.
    pub(crate) fn close(&mut self, jobs: usize) -> Option<Refusal> {
        failpoint("datastore-commit");
        self.last = jobs;
        self.expire();
        self.settle(jobs == 0)
    }

    /// What follows when a batch is answered: watches are told, then `later` is done.
    pub(crate) fn tell(&mut self, later: Vec<Later>) {
        let header = self.header(self.store.revision());
        let Self { store, hub, .. } = self;
        hub.publish(store, &header);
        later.into_iter().for_each(|work| work(self));
        self.compact_by_itself();
        let header = self.header(self.store.revision());
        self.hub.tick(&header);
        self.waking.signal();
    }

    /// Whether the owner was told to end.
    pub(crate) fn is_ending(&self) -> bool {
        self.ending
    }

    /// How long the owner may sleep from now on, which it then does.
    pub(crate) fn sleep(&mut self) -> Duration {
        let patience = self.patience();
        self.due = Instant::now() + patience;
        patience
    }

    /// Whether the owner sleeps for too long, as things are now.
    pub(crate) fn oversleeps(&self) -> bool {
        Instant::now() + self.patience() + PUNCTUAL < self.due
    }

    /// How long the owner may sleep.
    fn patience(&self) -> Duration {
        if !self.garbage.is_empty() && self.fault.is_none() {
            return Duration::ZERO;
        }
        let lease = self.store.next_expiry().map(|end| end.saturating_sub(self.now()));
        let retry = self.fault.as_ref().map(|(_, at)| at.saturating_duration_since(Instant::now()));
        let compaction = self.settings.retention.and(Some(self.compaction.0));
        let compaction = compaction.map(|at| at.saturating_duration_since(Instant::now()));
        let all = [lease, retry, compaction, Some(self.hub.until_tick())];
        all.into_iter().flatten().min().unwrap_or(RETRY).max(PUNCTUAL)
    }

    fn expire(&mut self) {
        if self.fault.is_none() {
            let now = self.now();
            // without room the keys stay; the disk must be able to take their deletion
            if self.store.next_expiry().is_some_and(|end| end <= now) && !self.no_space() {
                let gone = self.store.expire_leases(now);
                self.stats.expired += gone.len() as u64;
                self.leases.extend(gone);
            }
        }
    }

    /// Each time up to what was newest the time before.
    fn compact_by_itself(&mut self) {
        let Some(retention) = self.settings.retention else { return };
        let (at, revision) = self.compaction;
        if self.fault.is_some() || Instant::now() < at {
            return;
        }
        self.compaction = (Instant::now() + retention, self.store.revision());
        if revision > self.store.compacted()
            && let Err(refusal) = self.compact(revision)
        {
            tracing::warn!(%refusal, revision, "history is not compacted");
        }
    }

    /// Commits the batch; when the disk fails, goes back to what it has. `idle` makes it clean up too.
    fn settle(&mut self, idle: bool) -> Option<Refusal> {
        if let Some((_, at)) = &self.fault {
            if Instant::now() >= *at {
                self.recover();
            }
            return self.fault();
        }
        let error = self.commit(idle).err()?;
        self.stats.failed += 1;
        tracing::error!(%error, "the datastore cannot be written");
        let refusal = match &error {
            redb::Error::Io(io) if io.kind() == std::io::ErrorKind::StorageFull => Refusal::NoSpace,
            error => Refusal::Storage(error.to_string()),
        };
        self.recover();
        Some(refusal)
    }

    fn commit(&mut self, idle: bool) -> Result<(), Failed> {
        if self.disk.is_none() {
            return Ok(());
        }
        let records = self.store.records_after(self.durable).collect::<Vec<_>>();
        let worthwhile = idle || !records.is_empty() || self.garbage.len() > GARBAGE_ROWS;
        let clean = if worthwhile { self.garbage.len().min(GARBAGE_ROWS) } else { 0 };
        let batch = Batch {
            records,
            leases: self.leases.iter().map(|id| (*id, self.lease_row(*id))).collect(),
            compacted: self.compacted,
            garbage: self.garbage.iter().take(clean).cloned().collect(),
            leases_exact: None,
        };
        if let Some(disk) = &mut self.disk
            && !batch.is_empty()
        {
            let new = batch.records.iter().map(|row| rows::size(&row.key, row.value.len())).sum::<u64>();
            let gone = batch.garbage.iter().map(|row| rows::size(&row.key, row.size)).sum::<u64>();
            let begun = Instant::now();
            disk.commit(batch)?;
            self.stats.commits.add(begun.elapsed());
            self.rows = (self.rows + new).saturating_sub(gone);
        }
        self.garbage.drain(..clean);
        self.durable = self.store.revision();
        self.leases.clear();
        self.compacted = None;
        self.unwritten = 0;
        Ok(())
    }

    fn lease_row(&self, id: i64) -> Option<(i64, u64)> {
        let lease = self.store.lease_record(id)?;
        Some((lease.ttl, u64::try_from(lease.expires.as_millis()).unwrap_or(u64::MAX)))
    }

    /// Makes the store what the disk has. Until that succeeds every request is refused.
    fn recover(&mut self) {
        self.disk = None;
        let again = (self.source.open)().map_err(|error| error.to_string()).and_then(|disk| {
            self.disk = Some(disk);
            self.load().map_err(|error| error.to_string())
        });
        self.fault = again.err().map(|reason| {
            tracing::error!(reason, "the datastore cannot be opened again");
            (Refusal::Storage(reason), Instant::now() + RETRY)
        });
    }

    fn load(&mut self) -> Result<(), Failed> {
        let Some(disk) = &mut self.disk else { return Ok(()) };
        let wall = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let now = self.origin.1 + self.origin.0.elapsed();
        let loaded = disk.load(self.settings.limits, wall, now)?;
        // from now on the ends on disk grow old; a full disk need not take what it knows
        if loaded.leases_exact {
            disk.commit(Batch { leases_exact: Some(false), ..Batch::default() })?;
        }
        self.store = loaded.store;
        self.garbage = loaded.garbage.into();
        self.rows = loaded.bytes;
        self.durable = self.store.revision();
        self.leases.clear();
        self.compacted = None;
        self.unwritten = 0;
        Ok(())
    }

    /// An orderly end: what is left of each lease is kept.
    pub(crate) fn stop(mut self) {
        let ids: Vec<i64> = self.store.leases().collect();
        let leases = ids.iter().map(|id| (*id, self.lease_row(*id))).collect();
        let (Some(mut disk), None) = (self.disk.take(), &self.fault) else { return };
        let last = Batch { leases, leases_exact: Some(true), ..Batch::default() };
        if let Err(error) = disk.commit(last).and_then(|()| disk.close()) {
            tracing::warn!(%error, "leases begin anew at the next start");
        }
    }
}
