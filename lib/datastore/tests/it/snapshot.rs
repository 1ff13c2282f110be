//! A follower that starts where the store does not answer.

use crate::own;
use datastore::memory::MemoryStore;
use datastore::{Datastore, Follow, SnapshotPlace, StoreError};
use futures::future::{BoxFuture, FutureExt};
use futures::stream::BoxStream;
use mvcc::{
    DeleteRequest, EventKind, KeyRange, Op, PutRequest, RangeRequest, RangeResponse, Txn, TxnResponse,
    WatchRequest, WatchResponse,
};
use proptest::prelude::*;
use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};
use syncer::{Change, Output, Status};
use tempfile::TempDir;

type State = BTreeMap<String, String>;

/// A store that can be away, silent or refusing, and can be another one when it is back.
struct Fickle {
    now: Mutex<MemoryStore>,
    away: AtomicBool,
    silent: AtomicBool,
    asked: AtomicUsize,
}

impl Fickle {
    fn new(store: MemoryStore) -> Arc<Self> {
        let (away, silent, asked) = (AtomicBool::new(false), AtomicBool::new(false), AtomicUsize::new(0));
        Arc::new(Self { now: Mutex::new(store), away, silent, asked })
    }

    fn now(&self) -> MemoryStore {
        self.now.lock().unwrap().clone()
    }

    fn set_away(&self, away: bool) {
        self.away.store(away, Ordering::SeqCst);
    }

    async fn answers(&self) -> Result<MemoryStore, StoreError> {
        self.asked.fetch_add(1, Ordering::SeqCst);
        if self.silent.load(Ordering::SeqCst) {
            std::future::pending().await
        }
        if self.away.load(Ordering::SeqCst) {
            return Err(StoreError::Unavailable("by plan".into()));
        }
        Ok(self.now())
    }
}

impl Datastore for Fickle {
    fn range(&self, request: RangeRequest) -> BoxFuture<'_, Result<RangeResponse, StoreError>> {
        async move { self.answers().await?.range(request).await }.boxed()
    }

    fn txn(&self, txn: Txn) -> BoxFuture<'_, Result<TxnResponse, StoreError>> {
        async move { self.answers().await?.txn(txn).await }.boxed()
    }

    fn watch(
        &self,
        request: WatchRequest,
    ) -> BoxFuture<'_, Result<BoxStream<'static, Result<WatchResponse, StoreError>>, StoreError>> {
        async move { self.answers().await?.watch(request).await }.boxed()
    }

    fn lease_grant(&self, ttl: i64) -> BoxFuture<'_, Result<i64, StoreError>> {
        async move { self.answers().await?.lease_grant(ttl).await }.boxed()
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn roots() -> [KeyRange; 3] {
    ["/b/", "/a/", "/empty/"].map(KeyRange::prefix)
}

fn place(directory: &TempDir) -> SnapshotPlace {
    SnapshotPlace { path: directory.path().join("state/x.snapshot"), source: "here".to_owned() }
}

fn follow(store: &Arc<Fickle>, together: bool, place: SnapshotPlace) -> Follow {
    let store = Arc::clone(store) as Arc<dyn Datastore>;
    let follow = if together { Follow::together(store, roots()) } else { Follow::new(store, roots()) };
    follow
        .with_pauses(Duration::from_millis(1), Duration::from_millis(4))
        .with_snapshot(place)
        .with_patience(Duration::from_millis(20))
}

async fn put(store: &MemoryStore, key: &str, value: &str) -> i64 {
    let op = Op::Put(PutRequest::new(key.to_owned(), value.to_owned()));
    store.txn(Txn { success: vec![op], ..Txn::default() }).await.unwrap().revision
}

async fn delete(store: &MemoryStore, key: &str) -> i64 {
    let op = Op::Delete(DeleteRequest::key(key.to_owned()));
    store.txn(Txn { success: vec![op], ..Txn::default() }).await.unwrap().revision
}

async fn stored(store: &MemoryStore) -> State {
    let mut state = State::new();
    for root in roots() {
        let answer = store.range(RangeRequest::new(root)).await.unwrap();
        state.extend(answer.kvs.iter().map(|kv| (text(&kv.key), text(&kv.value))));
    }
    state
}

fn apply(state: &mut State, output: Output) {
    for change in output.changes {
        match change {
            Change::Put(kv) => drop(state.insert(text(&kv.key), text(&kv.value))),
            Change::Delete { key, .. } => drop(state.remove(&text(&key)).expect("deleted what was there")),
        }
    }
}

/// Takes outputs until the consumer has, as a whole, what is wanted. Whatever it could act on before that is in `seen`.
async fn reach(follow: &mut Follow, state: &mut State, wanted: &State) -> Vec<State> {
    let mut seen = Vec::new();
    let work = async {
        loop {
            let output = follow.next().await;
            let more = output.more;
            apply(state, output);
            if !more && follow.syncer().status() == Status::InSync {
                seen.push(state.clone());
                if state == wanted {
                    break;
                }
            }
        }
    };
    tokio::time::timeout(Duration::from_secs(60), work).await.expect("the consumer reaches the state");
    seen
}

async fn filled() -> MemoryStore {
    let store = MemoryStore::new();
    for key in ["/a/1", "/a/2", "/b/1", "/elsewhere", "/b/2"] {
        put(&store, key, "old").await;
    }
    store
}

/// A snapshot of the store as it is.
async fn kept(store: &Arc<Fickle>, together: bool, place: &SnapshotPlace) -> State {
    let mut first = follow(store, together, place.clone());
    let (mut state, wanted) = (State::new(), stored(&store.now()).await);
    reach(&mut first, &mut state, &wanted).await;
    assert_eq!(first.snapshot().in_use, None);
    wanted
}

#[tokio::test]
async fn what_the_store_held_is_told_without_it_and_then_what_differs() {
    for (together, silent) in [(false, false), (true, false), (true, true), (false, true)] {
        let directory = TempDir::new().unwrap();
        let store = Fickle::new(filled().await);
        let before = SystemTime::now() - Duration::from_millis(1);
        let held = kept(&store, together, &place(&directory)).await;
        let revision = store.now().inspect(mvcc::Store::revision);
        store.set_away(true);
        store.silent.store(silent, Ordering::SeqCst);

        let mut second = follow(&store, together, place(&directory));
        let mut state = State::new();
        assert_eq!(reach(&mut second, &mut state, &held).await, vec![held.clone()], "at one go");
        let taken = second.snapshot().in_use.expect("it is in use");
        assert_eq!((taken.revision, second.syncer().revision()), (revision, revision));
        assert!(taken.written > before && taken.written <= SystemTime::now());
        if silent {
            // a request that is never answered is given up by the backend: here by its user
            continue;
        }
        assert!(tokio::time::timeout(Duration::from_millis(50), second.next()).await.is_err());
        assert!(second.snapshot().in_use.is_some());

        put(&store.now(), "/a/1", "new").await;
        delete(&store.now(), "/b/2").await;
        put(&store.now(), "/empty/1", "new").await;
        store.set_away(false);
        let wanted = stored(&store.now()).await;
        assert_eq!(reach(&mut second, &mut state, &wanted).await, vec![wanted.clone()], "no mixture");
        assert_eq!(second.snapshot(), Default::default());
        assert_eq!(second.syncer().revision(), store.now().inspect(mvcc::Store::revision));

        // and what it has become is what the next one finds
        delete(&store.now(), "/a/2").await;
        let last = stored(&store.now()).await;
        reach(&mut second, &mut state, &last).await;
        drop(second);
        store.set_away(true);
        let mut third = follow(&store, together, place(&directory));
        reach(&mut third, &mut State::new(), &last).await;
    }
}

/// Revisions that mean something else there included.
#[tokio::test]
async fn a_store_that_comes_back_as_another_is_told_as_it_is() {
    let directory = TempDir::new().unwrap();
    for values in [["other", "old", "other"], ["old", "old", "old"]] {
        for more in [0, 40] {
            let store = Fickle::new(filled().await);
            let held = kept(&store, true, &place(&directory)).await;
            store.set_away(true);
            let mut second = follow(&store, true, place(&directory));
            let mut state = State::new();
            reach(&mut second, &mut state, &held).await;
            let other = MemoryStore::new();
            for (key, value) in ["/a/1", "/a/2", "/b/1"].into_iter().zip(values) {
                put(&other, key, value).await;
            }
            for number in 0..more {
                put(&other, "/elsewhere", &number.to_string()).await;
            }
            *store.now.lock().unwrap() = other;
            store.set_away(false);
            let wanted = stored(&store.now()).await;
            assert_eq!(reach(&mut second, &mut state, &wanted).await.len(), 1);
        }
    }
}

#[tokio::test]
async fn a_store_that_answers_is_never_contradicted() {
    let directory = TempDir::new().unwrap();
    let store = Fickle::new(filled().await);
    kept(&store, true, &place(&directory)).await;
    *store.now.lock().unwrap() = MemoryStore::new();
    put(&store.now(), "/a/new", "1").await;
    let wanted = stored(&store.now()).await;
    let mut second = follow(&store, true, place(&directory)).with_patience(Duration::from_secs(60));
    assert_eq!(reach(&mut second, &mut State::new(), &wanted).await, vec![wanted]);
}

/// What happens to a file.
type Spoil = fn(&Path);

#[tokio::test]
async fn a_file_that_is_not_ours_or_damaged_is_reported_and_replaced() {
    let directory = TempDir::new().unwrap();
    let store = Fickle::new(filled().await);
    let ours = place(&directory);
    let spoil: [(&str, Spoil); 4] = [
        ("it is cut off or damaged: it ends too early", |path| {
            let bytes = fs::read(path).unwrap();
            fs::write(path, &bytes[..bytes.len() - 40]).unwrap();
        }),
        ("it is cut off or damaged: its checksum is another", |path| {
            let text = fs::read(path).unwrap();
            let at = text.windows(3).position(|three| three == b"old").unwrap();
            let mut changed = text.clone();
            changed[at] = b'O';
            fs::write(path, changed).unwrap();
        }),
        ("it is no snapshot", |path| fs::write(path, "kind: Node\n").unwrap()),
        ("it is of the datastore \"here\"", |_| {}),
    ];
    for (says, spoil) in spoil {
        kept(&store, true, &ours).await;
        spoil(&ours.path);
        store.set_away(true);
        let mut place = ours.clone();
        if says.contains("of the datastore") {
            place.source = "there".to_owned();
        }
        let mut second = follow(&store, true, place);
        assert!(tokio::time::timeout(Duration::from_millis(100), second.next()).await.is_err(), "{says}");
        let status = second.snapshot();
        assert_eq!(status.in_use, None, "{says}");
        let trouble = status.trouble.unwrap_or_default();
        assert!(trouble.contains(says) && trouble.contains("x.snapshot"), "{says}: {trouble}");
        store.set_away(false);
        let wanted = stored(&store.now()).await;
        reach(&mut second, &mut State::new(), &wanted).await;
        assert_eq!(second.snapshot().trouble, None);
    }
    // none at all is nothing to report
    fs::remove_dir_all(directory.path().join("state")).unwrap();
    store.set_away(true);
    let mut second = follow(&store, true, ours);
    assert!(tokio::time::timeout(Duration::from_millis(100), second.next()).await.is_err());
    assert_eq!(second.snapshot(), Default::default());
}

#[tokio::test]
async fn what_cannot_be_written_is_reported_and_written_later() {
    let directory = TempDir::new().unwrap();
    let store = Fickle::new(filled().await);
    let ours = place(&directory);
    fs::write(directory.path().join("state"), "a file where a directory belongs").unwrap();
    let mut first = follow(&store, true, ours.clone());
    let (mut state, wanted) = (State::new(), stored(&store.now()).await);
    reach(&mut first, &mut state, &wanted).await;
    let until = std::time::Instant::now() + Duration::from_secs(30);
    while first.snapshot().trouble.is_none() {
        assert!(std::time::Instant::now() < until, "it is not reported");
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    let trouble = first.snapshot().trouble.unwrap();
    assert!(trouble.contains("x.snapshot cannot be written"), "{trouble}");
    // following goes on
    put(&store.now(), "/a/1", "new").await;
    let wanted = stored(&store.now()).await;
    reach(&mut first, &mut state, &wanted).await;
    fs::remove_file(directory.path().join("state")).unwrap();
    drop(first);
    store.set_away(true);
    let mut second = follow(&store, true, ours);
    reach(&mut second, &mut State::new(), &wanted).await;
}

#[tokio::test]
async fn a_list_too_long_for_one_write_is_whole() {
    let directory = TempDir::new().unwrap();
    let store = MemoryStore::new();
    for number in 0..4_000 {
        put(&store, &format!("/a/{number}"), &"x".repeat(8_000)).await;
    }
    let store = Fickle::new(store);
    let held = kept(&store, true, &place(&directory)).await;
    assert_eq!(held.len(), 4_000);
    let names: Vec<_> = fs::read_dir(directory.path().join("state")).unwrap().collect();
    assert_eq!(names.len(), 1, "nothing lies beside it: {names:?}");
    store.set_away(true);
    let mut second = follow(&store, true, place(&directory));
    reach(&mut second, &mut State::new(), &held).await;
}

/// Who writes has a connection of its own, and may be answered before the follower is.
#[tokio::test]
async fn own_writes_from_before_the_first_answer_are_kept() {
    for (together, snapshot) in [(false, false), (true, false), (false, true), (true, true)] {
        let directory = TempDir::new().unwrap();
        let store = Fickle::new(filled().await);
        let mut state = State::new();
        let held = if snapshot { kept(&store, together, &place(&directory)).await } else { State::new() };
        store.set_away(true);
        let mut second = follow(&store, together, place(&directory));
        if snapshot {
            reach(&mut second, &mut state, &held).await;
        } else {
            assert!(tokio::time::timeout(Duration::from_millis(50), second.next()).await.is_err());
        }
        let put_at = put(&store.now(), "/a/own", "new").await;
        apply(&mut state, second.wrote([own(EventKind::Put, "/a/own", "new", put_at)]));
        let deleted_at = delete(&store.now(), "/b/2").await;
        apply(&mut state, second.wrote([own(EventKind::Delete, "/b/2", "", deleted_at)]));
        store.set_away(false);
        let wanted = stored(&store.now()).await;
        reach(&mut second, &mut state, &wanted).await;
        drop(second);
        store.set_away(true);
        let mut third = follow(&store, together, place(&directory));
        reach(&mut third, &mut State::new(), &wanted).await;
    }
}

/// The first list was on its way when the write was done, and is of before.
#[tokio::test]
async fn a_list_on_its_way_takes_back_no_own_write() {
    for snapshot in [false, true] {
        let directory = TempDir::new().unwrap();
        let store = Fickle::new(filled().await);
        let held = if snapshot { kept(&store, true, &place(&directory)).await } else { State::new() };
        store.set_away(true);
        let mut second = follow(&store, true, place(&directory));
        let mut state = State::new();
        if snapshot {
            reach(&mut second, &mut state, &held).await;
        }
        let at = store.now().inspect(mvcc::Store::revision) + 2;
        apply(&mut state, second.wrote([own(EventKind::Put, "/a/own", "new", at)]));
        apply(&mut state, second.wrote([own(EventKind::Delete, "/a/2", "", at + 1)]));
        store.set_away(false);
        let mut wanted = stored(&store.now()).await;
        wanted.insert("/a/own".to_owned(), "new".to_owned());
        wanted.remove("/a/2");
        let seen = reach(&mut second, &mut state, &wanted).await;
        assert_eq!(seen.len(), 1, "{seen:?}");
        drop(second);
        store.set_away(true);
        let mut third = follow(&store, true, place(&directory));
        reach(&mut third, &mut State::new(), &wanted).await;
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    /// Any history, with restarts of the follower, while the store is there and while it is not, and with writes of the
    /// process itself, which reach the store while its follower does not.
    #[test]
    fn every_start_finds_the_last_state(
        history in proptest::collection::vec((0u8..8, 0u8..4, proptest::option::of(0u8..4)), 1..40),
        together in any::<bool>(),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let directory = TempDir::new().unwrap();
            let store = Fickle::new(filled().await);
            let mut now = follow(&store, together, place(&directory));
            let (mut state, mut known) = (State::new(), stored(&store.now()).await);
            reach(&mut now, &mut state, &known).await;
            let mut kept = known.clone();
            for (key, what, value) in history {
                let key = format!("/{}/{key}", if key % 2 == 0 { "a" } else { "b" });
                let away = store.away.load(Ordering::SeqCst);
                if what == 0 {
                    // the other way round
                    store.set_away(!away);
                    if !away || value.is_none_or(|value| value > 1) {
                        drop(now);
                        now = follow(&store, together, place(&directory));
                        state = State::new();
                        known = kept.clone();
                    }
                    // or nothing has been told when the next comes
                    if value.is_none() {
                        continue;
                    }
                } else {
                    let value = value.map(|value| value.to_string());
                    let (kind, at) = match &value {
                        Some(value) => (EventKind::Put, put(&store.now(), &key, value).await),
                        None => (EventKind::Delete, delete(&store.now(), &key).await),
                    };
                    if what == 1 {
                        let value = value.unwrap_or_default();
                        apply(&mut state, now.wrote([own(kind, &key, &value, at)]));
                        match kind {
                            EventKind::Put => drop(known.insert(key, value)),
                            EventKind::Delete => drop(known.remove(&key)),
                        }
                    }
                }
                let away = store.away.load(Ordering::SeqCst);
                if !away {
                    known = stored(&store.now()).await;
                }
                let unasked = !away && now.snapshot().in_use.is_some();
                if unasked || state != known || now.syncer().status() != Status::InSync {
                    reach(&mut now, &mut state, &known).await;
                }
                if !away {
                    kept = known.clone();
                }
            }
        });
    }
}
