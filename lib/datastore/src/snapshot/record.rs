//! The file kept up to date: what changed since it was written, and a thread that writes it.
//!
//! A snapshot is written whole: the pairs of the last one, with what became of them since, go into a new file, which takes
//! the other's name once it is on disk. So a follower keeps no second copy of the store in memory, only what changed since
//! the last write, and who reads finds one state of one revision. Of a long list what has come so far goes into a file
//! without a name, and the rest is added to that.

use super::format::{self, End, Reader, Scope, Unusable, Writer};
use bytes::Bytes;
use mvcc::{KeyValue, Revision};
use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, BufReader, BufWriter, Seek, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};
use syncer::Change;
use tokio::sync::Notify;

/// The shortest time between two snapshots: what a power cut may cost.
const PERIOD: Duration = Duration::from_secs(10);
/// The same in times that a write takes: at most this part of a core and of the disk.
const SHARE: u32 = 100;
/// Bytes of changes that are written even though no state is complete; who follows waits while there are more.
const CHUNK: usize = 8 << 20;
/// Bytes of changes that are kept while the file cannot be written; then there is none until the next start.
const MOST: usize = 64 << 20;

/// Hands what changes to the thread.
#[derive(Debug)]
pub(crate) struct Recorder {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Debug, Default)]
struct Shared {
    state: Mutex<State>,
    /// The thread has something to look at.
    work: Condvar,
    /// There is room for changes again.
    room: Notify,
}

#[derive(Debug, Default)]
struct State {
    changes: BTreeMap<Bytes, Option<KeyValue>>,
    /// About how many bytes these are.
    bytes: usize,
    /// With all of them, the state is the store's of this revision.
    complete: Option<Revision>,
    /// The last write failed, or there will be no other.
    trouble: Option<String>,
    given_up: bool,
    closed: bool,
}

impl State {
    fn insert(&mut self, key: Bytes, change: Option<KeyValue>) {
        self.bytes += weight(&key, change.as_ref());
        if let Some(old) = self.changes.insert(key.clone(), change) {
            self.bytes = self.bytes.saturating_sub(weight(&key, old.as_ref()));
        }
    }

    /// What cannot be written is not kept beyond all bounds.
    fn give_up_too_much(&mut self) {
        if self.bytes > MOST
            && let Some(trouble) = &mut self.trouble
        {
            trouble.push_str("; given up until the next start");
            (self.given_up, self.bytes) = (true, 0);
            self.changes.clear();
        }
    }
}

fn weight(key: &Bytes, change: Option<&KeyValue>) -> usize {
    key.len() + change.map_or(0, |pair| pair.value.len()) + size_of::<KeyValue>()
}

impl Recorder {
    /// Keeps the file at `path`; `base` is what it has now, where that still counts.
    ///
    /// # Errors
    /// There is no thread for it.
    pub(crate) fn start(path: &Path, scope: Scope, base: Option<File>) -> io::Result<Self> {
        let shared = Arc::new(Shared::default());
        let keeper =
            Keeper { path: path.to_owned(), scope, begun: base.is_some(), base, shared: shared.clone() };
        let thread = std::thread::Builder::new().name("snapshot".to_owned()).spawn(move || keeper.keep())?;
        Ok(Self { shared, thread: Some(thread) })
    }

    /// Takes note of changes; with them the state is the store's of `complete`, where it is one.
    pub(crate) fn took(&self, changes: &[Change], complete: Option<Revision>) {
        let mut state = self.shared.lock();
        if !state.given_up {
            for change in changes {
                match change {
                    Change::Put(pair) => state.insert(pair.key.clone(), Some(pair.clone())),
                    Change::Delete { key, .. } => state.insert(key.clone(), None),
                }
            }
            state.give_up_too_much();
        }
        state.complete = complete;
        drop(state);
        self.shared.work.notify_one();
    }

    /// Waits while there is no room for changes. Nothing is lost when the future is dropped.
    pub(crate) async fn room(&self) {
        loop {
            let room = self.shared.room.notified();
            {
                let state = self.shared.lock();
                // what cannot be written keeps nobody waiting
                if state.bytes < CHUNK || state.trouble.is_some() {
                    return;
                }
            }
            room.await;
        }
    }

    /// Why there is no newer file, if so.
    pub(crate) fn trouble(&self) -> Option<String> {
        self.shared.lock().trouble.clone()
    }
}

impl Drop for Recorder {
    /// What is complete is written before the end.
    fn drop(&mut self) {
        self.shared.lock().closed = true;
        self.shared.work.notify_one();
        if let Some(thread) = self.thread.take() {
            // a panic there has been reported as every panic is
            let _ = thread.join();
        }
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The thread's side.
struct Keeper {
    path: PathBuf,
    scope: Scope,
    /// The last file that was written, by whatever name.
    base: Option<File>,
    /// The file at the path is of this follower.
    begun: bool,
    shared: Arc<Shared>,
}

/// Changes to write, and the revision of the state they lead to.
type Batch = (BTreeMap<Bytes, Option<KeyValue>>, Option<Revision>);

impl Keeper {
    fn keep(mut self) {
        let mut not_before = Instant::now();
        while let Some((changes, complete)) = self.next(not_before) {
            let begin = Instant::now();
            let written = self.write(&changes, complete);
            let (took, now) = (begin.elapsed(), Instant::now());
            let mut state = self.shared.lock();
            match written {
                // nothing has been kept of what came meanwhile
                _ if state.given_up => {}
                Ok(()) => {
                    state.trouble = None;
                    if complete.is_some() {
                        self.begun = true;
                        not_before = now + PERIOD.max(took * SHARE);
                    }
                }
                Err(error) => {
                    let path = self.path.display();
                    tracing::warn!(%error, %path, "the snapshot of the datastore cannot be written, trying again");
                    not_before = now + PERIOD;
                    for (key, change) in changes {
                        // a newer one counts
                        if !state.changes.contains_key(&key) {
                            state.insert(key, change);
                        }
                    }
                    state.trouble = Some(format!("{path} cannot be written: {error}"));
                    state.give_up_too_much();
                    if state.closed {
                        state.given_up = true;
                    }
                }
            }
            drop(state);
            self.shared.room.notify_waiters();
        }
    }

    /// Waits for something to write; `None` at the end.
    fn next(&self, not_before: Instant) -> Option<Batch> {
        let mut state = self.shared.lock();
        loop {
            let due = state.complete.is_some() && (!state.changes.is_empty() || !self.begun);
            let full = state.bytes >= CHUNK && state.trouble.is_none();
            let wait = not_before.saturating_duration_since(Instant::now());
            if state.given_up || (state.closed && !due) {
                return None;
            }
            if full || (due && (state.closed || wait.is_zero())) {
                state.bytes = 0;
                return Some((std::mem::take(&mut state.changes), state.complete));
            }
            let wait = if due { wait } else { Duration::from_secs(3600) };
            state = self.shared.work.wait_timeout(state, wait).unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    fn write(
        &mut self,
        changes: &BTreeMap<Bytes, Option<KeyValue>>,
        complete: Option<Revision>,
    ) -> Result<(), Unusable> {
        let part = self.path.with_extension("part");
        let directory = self.path.parent().unwrap_or(Path::new("/"));
        fs::create_dir_all(directory)?;
        // a follower that died in the middle of it
        if let Err(error) = fs::remove_file(&part)
            && error.kind() != io::ErrorKind::NotFound
        {
            return Err(error.into());
        }
        let fresh = File::options().read(true).write(true).create_new(true).mode(0o600).open(&part)?;
        let written = self.fill(fresh, changes, complete);
        let done = written.and_then(|fresh| {
            match complete {
                Some(_) => {
                    fresh.sync_all()?;
                    fs::rename(&part, &self.path)?;
                    File::open(directory)?.sync_all()?;
                }
                None => fs::remove_file(&part)?,
            }
            Ok(fresh)
        });
        match done {
            Ok(fresh) => self.base = Some(fresh),
            Err(error) => {
                // the reason that counts is the first
                let _ = fs::remove_file(&part);
                return Err(error);
            }
        }
        Ok(())
    }

    fn fill(
        &self,
        fresh: File,
        changes: &BTreeMap<Bytes, Option<KeyValue>>,
        complete: Option<Revision>,
    ) -> Result<File, Unusable> {
        let base = match &self.base {
            Some(base) => {
                let mut base = base.try_clone()?;
                base.rewind()?;
                Some(Reader::begin(BufReader::new(base), &self.scope)?)
            }
            None => None,
        };
        let mut writer = Writer::begin(BufWriter::new(fresh), &self.scope)?;
        format::merge(base, changes, &mut writer)?;
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let written_ms = i64::try_from(since.as_millis()).unwrap_or(i64::MAX);
        let mut buffered = writer.end(End { revision: complete.unwrap_or_default(), written_ms })?;
        buffered.flush()?;
        Ok(buffered.into_inner().map_err(io::IntoInnerError::into_error)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures::FutureExt;

    fn put(number: usize, size: usize) -> Change {
        let kv = KeyValue {
            key: format!("/{number}").into(),
            value: vec![0; size].into(),
            create_revision: 1,
            mod_revision: 1,
            version: 1,
            lease: 0,
        };
        Change::Put(kv)
    }

    #[tokio::test]
    async fn more_is_not_taken_while_much_waits_to_be_written() {
        let recorder = Recorder { shared: Arc::default(), thread: None };
        recorder.took(&[put(1, CHUNK / 2)], None);
        assert!(recorder.room().now_or_never().is_some());
        recorder.took(&[put(2, CHUNK / 2)], None);
        let mut room = Box::pin(recorder.room());
        assert!(room.as_mut().now_or_never().is_none());
        // a newer value takes the place of the one that waits
        recorder.took(&[put(2, 1)], None);
        recorder.shared.room.notify_waiters();
        room.await;
    }

    #[tokio::test]
    async fn what_cannot_be_written_is_kept_up_to_a_bound_and_then_given_up() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("no-directory");
        std::fs::write(&file, "").unwrap();
        let recorder = Recorder::start(&file.join("snapshot"), Scope::new("test", []), None).unwrap();
        let value = 1 << 20;
        let mut given = 0;
        let until = Instant::now() + Duration::from_secs(60);
        while !recorder.trouble().is_some_and(|trouble| trouble.contains("given up")) {
            assert!(Instant::now() < until, "{given} MiB: {:?}", recorder.trouble());
            // no more than can be told from being kept for ever
            if given < 2 * MOST / value && recorder.room().now_or_never().is_some() {
                recorder.took(&[put(given, value)], Some(1));
                given += 1;
                assert!(recorder.shared.lock().bytes <= MOST + 2 * CHUNK, "{given} MiB");
            }
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        assert!(given >= MOST / value, "given up after {given} MiB already");
        recorder.took(&[put(0, value)], Some(1));
        assert_eq!(recorder.shared.lock().bytes, 0, "nothing is kept any more");
    }
}
