//! Storage that fails: power cuts at every write, pages that were never synced, disks that fill up.

use crate::disk::{Batch, Disk, DiskError};
use crate::engine::{Core, Settings, Source};
use crate::jobs::Engine;
use crate::medium::{Medium, SECTOR};
use crate::refusal::Refusal;
use mvcc::{Limits, PutRequest, RangeRequest, Store};
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

/// The two files: database and log.
const FILES: usize = 2;
type Files = [Vec<u8>; FILES];
/// Small, so that it is full now and then.
const LOG: usize = 16 << 10;

/// What a disk was told, in order, and of which file.
#[derive(Debug, Clone)]
enum Step {
    Write(usize, u64, Vec<u8>),
    SetLen(usize, u64),
    Sync(usize),
}

#[derive(Debug, Default)]
struct Tape {
    now: Files,
    steps: Vec<Step>,
    /// No byte of the database beyond can be written.
    capacity: Option<u64>,
    /// Nothing can be written to the log.
    log_fails: bool,
}

/// A disk in memory that remembers everything it was told.
#[derive(Debug, Clone)]
struct Recorder(Arc<Mutex<Tape>>);

/// One file of it.
#[derive(Debug, Clone)]
struct Recorded(Recorder, usize);

impl Recorder {
    fn new(log: usize) -> Self {
        Self::of([Vec::new(), vec![0; log]])
    }

    fn of(now: Files) -> Self {
        Self(Arc::new(Mutex::new(Tape { now, ..Tape::default() })))
    }

    fn disk(&self, name: &str) -> Result<Disk, DiskError> {
        Disk::on(Recorded(self.clone(), 0), Recorded(self.clone(), 1), Path::new(name))
    }

    fn tape(&self) -> MutexGuard<'_, Tape> {
        self.0.lock().unwrap()
    }
}

impl redb::StorageBackend for Recorded {
    fn len(&self) -> std::io::Result<u64> {
        Ok(self.0.tape().now[self.1].len() as u64)
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> std::io::Result<()> {
        let from = usize::try_from(offset).unwrap();
        match self.0.tape().now[self.1].get(from..from + out.len()) {
            Some(bytes) => out.copy_from_slice(bytes),
            None => return Err(std::io::ErrorKind::UnexpectedEof.into()),
        }
        Ok(())
    }

    fn set_len(&self, len: u64) -> std::io::Result<()> {
        let mut tape = self.0.tape();
        let step = Step::SetLen(self.1, len);
        apply(&mut tape.now, &step);
        tape.steps.push(step);
        Ok(())
    }

    fn sync_data(&self) -> std::io::Result<()> {
        self.0.tape().steps.push(Step::Sync(self.1));
        Ok(())
    }

    fn write(&self, offset: u64, data: &[u8]) -> std::io::Result<()> {
        let mut tape = self.0.tape();
        if self.1 == 0 && tape.capacity.is_some_and(|most| offset + data.len() as u64 > most) {
            return Err(std::io::ErrorKind::StorageFull.into());
        }
        if self.1 == 1 && tape.log_fails {
            return Err(std::io::ErrorKind::StorageFull.into());
        }
        let step = Step::Write(self.1, offset, data.to_vec());
        apply(&mut tape.now, &step);
        tape.steps.push(step);
        Ok(())
    }
}

impl Medium for Recorded {
    fn size(&self) -> std::io::Result<usize> {
        Ok(self.0.tape().now[self.1].len())
    }

    fn read(&self) -> std::io::Result<Vec<u8>> {
        Ok(self.0.tape().now[self.1].clone())
    }

    fn write(&mut self, at: usize, sectors: &[u8]) -> std::io::Result<()> {
        assert!(at.is_multiple_of(SECTOR) && sectors.len().is_multiple_of(SECTOR), "whole sectors");
        redb::StorageBackend::write(self, at as u64, sectors)?;
        redb::StorageBackend::sync_data(self)
    }
}

fn apply(files: &mut Files, step: &Step) {
    match step {
        Step::Write(file, offset, data) => {
            let disk = &mut files[*file];
            let from = usize::try_from(*offset).unwrap();
            if disk.len() < from + data.len() {
                disk.resize(from + data.len(), 0);
            }
            disk[from..from + data.len()].copy_from_slice(data);
        }
        Step::SetLen(file, len) => files[*file].resize(usize::try_from(*len).unwrap(), 0),
        Step::Sync(_) => {}
    }
}

/// A generator of no quality.
fn next(state: &mut u64) -> u64 {
    *state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
    *state >> 33
}

/// What a store holds, comparable.
fn content(store: &Store) -> String {
    let records: Vec<_> = store.records_after(0).collect();
    format!("{} {} {records:?}", store.revision(), store.compacted())
}

fn loaded(disk: &Disk) -> Store {
    disk.load(Limits::default(), Duration::ZERO, Duration::ZERO).unwrap().store
}

/// Commits some batches of all kinds; where in the tape each was answered, and what was there then.
fn history(recorder: &Recorder) -> Vec<(usize, String)> {
    let mut disk = recorder.disk("tape").unwrap();
    let mut store = Store::new();
    let mut answered = vec![(recorder.tape().steps.len(), content(&store))];
    let mut garbage = Vec::new();
    for round in 0..24u64 {
        let before = store.revision();
        for number in 0..3 {
            let value = vec![round as u8; 200 + (round as usize * 700) % 5000];
            store.put(&PutRequest::new(format!("k{}", (round + number) % 5), value)).unwrap();
        }
        let mut batch = Batch { records: store.records_after(before).collect(), ..Batch::default() };
        if round % 4 == 3 {
            let revision = store.revision() - 2;
            garbage = store.compact(revision).unwrap();
            batch.compacted = Some(revision);
            // what was written and forgotten in one batch never gets there
            batch.records.retain(|record| store.records_after(before).any(|kept| kept == *record));
        } else {
            batch.garbage = std::mem::take(&mut garbage);
        }
        disk.commit(batch).unwrap();
        answered.push((recorder.tape().steps.len(), content(&store)));
    }
    std::mem::forget(disk);
    answered
}

/// After a cut there is what was answered last, or what was on its way.
fn check(files: Files, at: usize, answered: &[(usize, String)], what: &str) {
    let found = Recorder::of(files).disk("cut").unwrap_or_else(|error| panic!("{what}: {error}"));
    let found = content(&loaded(&found));
    let last = answered.iter().rposition(|(step, _)| *step <= at).unwrap();
    let allowed: Vec<&String> = answered.iter().skip(last).take(2).map(|(_, content)| content).collect();
    assert!(allowed.contains(&&found), "{what}: found {found:.200}, expected one of {allowed:.200?}");
}

#[test]
fn a_power_cut_at_any_write_loses_nothing_that_was_answered() {
    let recorder = Recorder::new(LOG);
    let answered = history(&recorder);
    let steps = recorder.tape().steps.clone();
    let first = answered[0].0;
    let mut random = 7;
    let mut cuts = 0;
    // what is certainly on the disk, and what was told to it since
    let (mut synced, mut loose): (Files, Vec<Step>) = ([Vec::new(), vec![0; LOG]], Vec::new());
    for (at, step) in steps.iter().enumerate() {
        if at >= first {
            // everything so far arrived
            let mut all = synced.clone();
            loose.iter().for_each(|step| apply(&mut all, step));
            check(all, at, &answered, &format!("cut before step {at}"));
            // any part of what was not synced arrived, and the last write may be torn
            for _ in 0..3 {
                let mut some = synced.clone();
                for step in &loose {
                    match step {
                        Step::Write(file, offset, data) if next(&mut random).is_multiple_of(4) => {
                            let len = (next(&mut random) as usize % data.len()) & !(SECTOR - 1);
                            apply(&mut some, &Step::Write(*file, *offset, data[..len].to_vec()));
                        }
                        // a disk writes the sectors of a write in any order
                        Step::Write(file, offset, data) if next(&mut random).is_multiple_of(3) => {
                            for (at, sector) in (*offset..).step_by(SECTOR).zip(data.chunks(SECTOR)) {
                                if next(&mut random).is_multiple_of(2) {
                                    apply(&mut some, &Step::Write(*file, at, sector.to_vec()));
                                }
                            }
                        }
                        Step::Write(..) if next(&mut random).is_multiple_of(2) => {}
                        step => apply(&mut some, step),
                    }
                }
                check(some, at, &answered, &format!("pages dropped before step {at}"));
                cuts += 1;
            }
        }
        match step {
            Step::Sync(file) => loose.retain(|step| {
                let theirs = matches!(step, Step::Write(of, ..) | Step::SetLen(of, _) if of == file);
                if theirs {
                    apply(&mut synced, step);
                }
                !theirs
            }),
            step => loose.push(step.clone()),
        }
    }
    assert!(cuts > 100, "{cuts} cuts are no test");
}

fn source(recorder: &Recorder, free: &Arc<AtomicU64>) -> Source {
    let (recorder, free) = (recorder.clone(), Arc::clone(free));
    Source {
        open: Box::new(move || recorder.disk("tape")),
        free: Box::new(move || Some(free.load(Ordering::Relaxed))),
        size: Box::new(|| 0),
    }
}

const SETTINGS: Settings = Settings {
    limits: Limits { max_txn_ops: 128, min_lease_ttl: 2 },
    quota: None,
    progress: Duration::from_secs(600),
    retention: None,
};

async fn put(engine: &Engine, key: String, value: Vec<u8>) -> Result<i64, Refusal> {
    engine
        .ask(move |core: &mut Core| {
            core.admit(value.len())?;
            Ok(core.store.put(&PutRequest::new(key, value))?.revision)
        })
        .await
}

async fn all(engine: &Engine) -> Result<BTreeMap<String, usize>, Refusal> {
    engine
        .ask(|core: &mut Core| {
            let found = core.store.range(&RangeRequest::prefix("k"))?.kvs;
            Ok(found
                .iter()
                .map(|kv| (String::from_utf8_lossy(&kv.key).into_owned(), kv.value.len()))
                .collect())
        })
        .await
}

#[tokio::test]
async fn a_full_disk_refuses_writes_serves_reads_and_recovers() {
    for alone in [false, true] {
        full_disk(alone).await;
    }
}

/// `alone` has requests carried out where they are.
async fn full_disk(alone: bool) {
    let (recorder, free) = (Recorder::new(300_000), Arc::new(AtomicU64::new(u64::MAX)));
    let (engine, owner, _) = Engine::start(source(&recorder, &free), SETTINGS).unwrap();
    let _arrived = alone.then(|| engine.arrived());
    put(&engine, "k1".into(), vec![1; 100]).await.unwrap();
    free.store(1000, Ordering::Relaxed);
    let refused = put(&engine, "k2".into(), vec![1; 100]).await.unwrap_err();
    assert_eq!(refused.to_string(), "etcdserver: mvcc: database space exceeded");
    assert_eq!(tonic::Status::from(refused).code(), tonic::Code::ResourceExhausted);
    assert_eq!(all(&engine).await.unwrap().len(), 1);
    free.store(u64::MAX, Ordering::Relaxed);
    put(&engine, "k2".into(), vec![1; 100]).await.unwrap();
    // and when nobody saw it coming: the write itself fails
    let size = recorder.tape().now[0].len() as u64;
    recorder.tape().capacity = Some(size);
    let mut kept = all(&engine).await.unwrap();
    let mut failed = 0;
    for number in 0..200 {
        let key = format!("k{number:03}");
        match put(&engine, key.clone(), vec![2; 60_000]).await {
            Ok(_) => drop(kept.insert(key, 60_000)),
            Err(refusal) => {
                assert!(matches!(refusal, Refusal::NoSpace | Refusal::Storage(_)), "{refusal}");
                failed += 1;
            }
        }
        if failed == 3 {
            break;
        }
    }
    assert!(failed > 0, "the disk was never full");
    assert_eq!(all(&engine).await.unwrap(), kept, "what was answered, and nothing else");
    recorder.tape().capacity = None;
    put(&engine, "k-last".into(), vec![3; 60_000]).await.unwrap();
    kept.insert("k-last".into(), 60_000);
    engine.after_commit(Core::end).unwrap();
    owner.join();
    let (engine, _owner, _) = Engine::start(source(&recorder, &free), SETTINGS).unwrap();
    assert_eq!(all(&engine).await.unwrap(), kept);
}

#[tokio::test]
async fn what_the_log_does_not_take_is_refused_and_not_there() {
    for alone in [false, true] {
        let (recorder, free) = (Recorder::new(300_000), Arc::new(AtomicU64::new(u64::MAX)));
        let (engine, owner, _) = Engine::start(source(&recorder, &free), SETTINGS).unwrap();
        let _arrived = alone.then(|| engine.arrived());
        put(&engine, "k1".into(), vec![1; 100]).await.unwrap();
        recorder.tape().log_fails = true;
        let refused = put(&engine, "k2".into(), vec![1; 100]).await;
        assert!(matches!(refused, Err(Refusal::NoSpace | Refusal::Storage(_))), "{refused:?}");
        recorder.tape().log_fails = false;
        assert!(all(&engine).await.unwrap().keys().eq(["k1"]), "alone: {alone}");
        put(&engine, "k3".into(), vec![1; 100]).await.unwrap();
        engine.after_commit(Core::end).unwrap();
        owner.join();
        let (engine, _owner, _) = Engine::start(source(&recorder, &free), SETTINGS).unwrap();
        assert!(all(&engine).await.unwrap().keys().eq(["k1", "k3"]), "alone: {alone}");
    }
}

/// The thread that does some work.
async fn place(engine: &Engine) -> String {
    let name = |_: &mut Core| Ok(std::thread::current().name().unwrap_or_default().to_owned());
    engine.ask(name).await.unwrap()
}

#[tokio::test]
async fn a_request_that_is_alone_is_carried_out_where_it_is() {
    let (recorder, free) = (Recorder::new(LOG), Arc::new(AtomicU64::new(u64::MAX)));
    let (engine, owner, _) = Engine::start(source(&recorder, &free), SETTINGS).unwrap();
    let first = engine.arrived();
    let here = place(&engine).await;
    assert_ne!(here, "datastore");
    let second = engine.arrived();
    assert_eq!(place(&engine).await, "datastore", "somebody else is there");
    drop(second);
    let again = async { while place(&engine).await != here {} };
    tokio::time::timeout(Duration::from_secs(10), again).await.expect("the owner rests");
    // before the log is taken over, which takes long
    let mut places = Vec::new();
    for number in 0..40 {
        put(&engine, format!("k{number}"), vec![1; 1000]).await.unwrap();
        places.push(place(&engine).await == here);
    }
    assert!(places.contains(&true) && places.contains(&false), "{places:?}");
    assert_eq!(all(&engine).await.unwrap().len(), 40);
    drop(first);
    assert_eq!(place(&engine).await, "datastore");
    let first = engine.arrived();
    let again = async {
        while place(&engine).await != here {
            // until the log is taken over
            put(&engine, "k0".into(), vec![1; 1000]).await.unwrap();
        }
    };
    tokio::time::timeout(Duration::from_secs(10), again).await.expect("the owner rests");
    for _ in 0..20 {
        assert_eq!(place(&engine).await, here, "and is left in peace");
    }
    drop(first);
    // the owner, asleep for long, hears of a lease that it did not make
    assert_eq!(place(&engine).await, "datastore");
    let arrived = engine.arrived();
    let granted = |core: &mut Core| {
        let now = core.now();
        core.store.lease_grant(7, 1, now)?;
        core.lease_changed(7);
        core.store.put(&PutRequest { lease: 7, ..PutRequest::new("k-leased", "") })?;
        Ok(std::thread::current().name() != Some("datastore"))
    };
    while !engine.ask(granted).await.unwrap_or(false) {
        // the log may have no room: then it is taken over first
        engine.ask(|core: &mut Core| Ok(core.store.lease_revoke(7).map(drop)?)).await.unwrap();
        put(&engine, "k0".into(), vec![1; 1000]).await.unwrap();
    }
    drop(arrived);
    // seen on the disk, because a question would wake the owner
    let steps = recorder.tape().steps.len();
    let gone = async {
        while recorder.tape().steps.len() == steps {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), gone).await.expect("the lease ends by itself");
    engine.after_commit(Core::end).unwrap();
    owner.join();
    assert!(matches!(put(&engine, "k0".into(), Vec::new()).await, Err(Refusal::Stopped)));
    let _arrived = engine.arrived();
    assert!(matches!(put(&engine, "k0".into(), Vec::new()).await, Err(Refusal::Stopped)));
}

#[test]
fn another_format_is_refused_and_left_as_it_is() {
    let folder = tempfile::tempdir().unwrap();
    let mut disk = Disk::open(folder.path()).unwrap();
    let mut store = Store::new();
    store.put(&PutRequest::new("k", "v")).unwrap();
    disk.commit(Batch { records: store.records_after(1).collect(), ..Batch::default() }).unwrap();
    disk.close().unwrap();
    std::fs::remove_file(folder.path().join("store.log")).unwrap();
    let set = |format: u64| {
        let database = redb::Database::open(folder.path().join("store.redb")).unwrap();
        let write = database.begin_write().unwrap();
        write.open_table(crate::disk::META).unwrap().insert("format", format).unwrap();
        write.commit().unwrap();
    };
    // the first had these tables and no log; the last is of a release to come
    for format in [1, 3] {
        set(format);
        let refused = Disk::open(folder.path()).map(drop).unwrap_err();
        assert!(matches!(refused, DiskError::Format { found, .. } if found == format), "{refused:?}");
        let said = refused.to_string();
        let wanted = format!("store.redb has format {format}, this program knows format 2: ");
        assert!(said.contains(&wanted) && said.contains("ocicat datastore restore"), "{said}");
        assert!(!folder.path().join("store.log").exists(), "nothing is made beside it");
    }
    set(2);
    assert_eq!(content(&loaded(&Disk::open(folder.path()).unwrap())), content(&store));
}
