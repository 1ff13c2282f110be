//! Following a store through compactions, faults, restarts and replacement.

use crate::etcd::Etcd;
use crate::{connect, own, subjects};
use datastore::memory::MemoryStore;
use datastore::{Datastore, Follow, StoreError};
use futures::future::{BoxFuture, FutureExt};
use futures::stream::{BoxStream, StreamExt};
use mvcc::{
    DeleteRequest, EventKind, KeyRange, Op, OpResponse, PutRequest, RangeRequest, RangeResponse, Txn,
    TxnResponse, WatchRequest, WatchResponse,
};
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use syncer::{Change, Output, Status};

type State = BTreeMap<String, String>;

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn roots() -> [KeyRange; 2] {
    [KeyRange::prefix("/a/"), KeyRange::prefix("/b/")]
}

fn apply(state: &mut State, output: Output) {
    for change in output.changes {
        match change {
            Change::Put(kv) => {
                state.insert(text(&kv.key), text(&kv.value));
            }
            Change::Delete { key, .. } => {
                state.remove(&text(&key)).expect("deleted what was there");
            }
        }
    }
}

async fn stored(store: &dyn Datastore) -> State {
    let answer = store.txn(Txn::reads(roots().map(RangeRequest::new))).await.unwrap();
    let pairs = answer.responses.iter().flat_map(OpResponse::kvs);
    pairs.map(|kv| (text(&kv.key), text(&kv.value))).collect()
}

async fn put(store: &dyn Datastore, key: &str, value: &str) -> i64 {
    let op = Op::Put(PutRequest::new(key.to_owned(), value.to_owned()));
    store.txn(Txn { success: vec![op], ..Txn::default() }).await.unwrap().revision
}

async fn delete(store: &dyn Datastore, key: &str) -> i64 {
    let op = Op::Delete(DeleteRequest::key(key.to_owned()));
    store.txn(Txn { success: vec![op], ..Txn::default() }).await.unwrap().revision
}

/// Takes outputs until the consumer holds what the store holds.
async fn catch_up(follow: &mut Follow, state: &mut State, store: &dyn Datastore) {
    let wanted = stored(store).await;
    let work = async {
        while *state != wanted || follow.syncer().status() != Status::InSync {
            let output = follow.next().await;
            apply(state, output);
        }
    };
    tokio::time::timeout(Duration::from_secs(60), work)
        .await
        .expect("the consumer reaches the store's state");
}

#[tokio::test]
async fn lists_then_changes() {
    for subject in subjects() {
        let (store, name) = (Arc::clone(&subject.store), subject.name);
        put(&*store, "/a/x", "1").await;
        put(&*store, "/b/y", "1").await;
        put(&*store, "/elsewhere", "1").await;
        let mut follow = Follow::new(Arc::clone(&store), roots());
        let mut state = State::new();
        let first = follow.next().await;
        assert_eq!((first.changes.len(), first.became_in_sync), (1, false), "{name}");
        assert!(follow.is_resyncing(), "{name}: a root is still to be listed");
        apply(&mut state, first);
        let second = follow.next().await;
        assert!(second.became_in_sync, "{name}");
        apply(&mut state, second);
        assert_eq!(state, stored(&*store).await, "{name}");
        delete(&*store, "/a/x").await;
        put(&*store, "/a/z", "2").await;
        catch_up(&mut follow, &mut state, &*store).await;

        // an own write is known before the watch tells it, and not told again
        let revision = put(&*store, "/b/own", "3").await;
        apply(&mut state, follow.wrote([own(EventKind::Put, "/b/own", "3", revision)]));
        assert_eq!(state, stored(&*store).await, "{name}");
        put(&*store, "/b/after", "4").await;
        let next = follow.next().await;
        assert_eq!(next.changes.len(), 1, "{name}: {next:?}");
        assert!(!next.became_in_sync, "{name}");
        assert_eq!((follow.is_resyncing(), follow.resyncs()), (false, 1), "{name}");
    }
}

/// Where one watch covers all, what was written before an own write is known when the stream reaches it; that is said even
/// though the write itself is no news.
#[tokio::test]
async fn an_own_write_is_said_to_be_reached() {
    for subject in subjects() {
        let (store, name) = (Arc::clone(&subject.store), subject.name);
        let mut follow = Follow::together(Arc::clone(&store), roots());
        let mut state = State::new();
        put(&*store, "/a/x", "1").await;
        catch_up(&mut follow, &mut state, &*store).await;
        put(&*store, "/a/before", "2").await;
        let revision = put(&*store, "/b/own", "3").await;
        let told = follow.wrote([own(EventKind::Put, "/b/own", "3", revision)]);
        assert_eq!(told.changes.len(), 1, "{name}");
        apply(&mut state, told);
        let mut outputs = 0;
        while !follow.has_reached(b"/b/own", revision) {
            let next = tokio::time::timeout(Duration::from_secs(60), follow.next()).await;
            apply(&mut state, next.expect("the stream goes on"));
            outputs += 1;
        }
        assert!((1..=2).contains(&outputs), "{name}: {outputs}");
        assert_eq!(state, stored(&*store).await, "{name}");
    }
}

/// A memory store whose requests fail by plan, and whose watches break after a few messages.
#[derive(Clone)]
struct Shaky {
    inner: MemoryStore,
    counter: Arc<AtomicU64>,
}

impl Shaky {
    fn fails(&self, one_in: u64) -> bool {
        self.counter.fetch_add(1, Ordering::Relaxed).is_multiple_of(one_in)
    }

    fn fault() -> StoreError {
        StoreError::Unavailable("by plan".into())
    }
}

impl Datastore for Shaky {
    fn range(&self, request: RangeRequest) -> BoxFuture<'_, Result<RangeResponse, StoreError>> {
        if self.fails(3) { async { Err(Shaky::fault()) }.boxed() } else { self.inner.range(request) }
    }

    fn txn(&self, txn: Txn) -> BoxFuture<'_, Result<TxnResponse, StoreError>> {
        self.inner.txn(txn)
    }

    fn watch(
        &self,
        request: WatchRequest,
    ) -> BoxFuture<'_, Result<BoxStream<'static, Result<WatchResponse, StoreError>>, StoreError>> {
        if self.fails(4) {
            return async { Err(Shaky::fault()) }.boxed();
        }
        let length = usize::try_from(self.counter.load(Ordering::Relaxed) % 3).unwrap();
        let ends_in_error = self.fails(2);
        async move {
            let stream = self.inner.watch(request).await?.take(length);
            let end = futures::stream::iter(ends_in_error.then(|| Err(Shaky::fault())));
            Ok(stream.chain(end).boxed())
        }
        .boxed()
    }

    fn lease_grant(&self, ttl: i64) -> BoxFuture<'_, Result<i64, StoreError>> {
        self.inner.lease_grant(ttl)
    }
}

#[tokio::test]
async fn faults_and_compactions_are_survived() {
    let memory = MemoryStore::new();
    let shaky = Shaky { inner: memory.clone(), counter: Arc::default() };
    let mut follow =
        Follow::new(Arc::new(shaky), roots()).with_pauses(Duration::from_millis(1), Duration::from_millis(4));
    let mut state = State::new();
    for round in 0..60u32 {
        let key = format!("/{}/{}", if round % 2 == 0 { "a" } else { "b" }, round % 7);
        put(&memory, &key, &round.to_string()).await;
        if round % 3 == 0 {
            delete(&memory, &format!("/a/{}", round % 5)).await;
        }
        if round % 8 == 7 {
            // whoever is behind has to list again
            memory.compact(memory.inspect(mvcc::Store::revision)).unwrap();
        }
        if round % 4 == 3 {
            catch_up(&mut follow, &mut state, &memory).await;
        }
    }
    catch_up(&mut follow, &mut state, &memory).await;
}

/// Another store behind the same name, from one moment to the next.
#[derive(Clone)]
struct Replaceable(Arc<Mutex<MemoryStore>>);

impl Replaceable {
    fn now(&self) -> MemoryStore {
        self.0.lock().unwrap().clone()
    }
}

impl Datastore for Replaceable {
    fn range(&self, request: RangeRequest) -> BoxFuture<'_, Result<RangeResponse, StoreError>> {
        let store = self.now();
        async move { store.range(request).await }.boxed()
    }

    fn txn(&self, txn: Txn) -> BoxFuture<'_, Result<TxnResponse, StoreError>> {
        let store = self.now();
        async move { store.txn(txn).await }.boxed()
    }

    fn watch(
        &self,
        request: WatchRequest,
    ) -> BoxFuture<'_, Result<BoxStream<'static, Result<WatchResponse, StoreError>>, StoreError>> {
        let store = self.now();
        async move { store.watch(request).await }.boxed()
    }

    fn lease_grant(&self, ttl: i64) -> BoxFuture<'_, Result<i64, StoreError>> {
        let store = self.now();
        async move { store.lease_grant(ttl).await }.boxed()
    }
}

#[tokio::test]
async fn a_replaced_store_is_noticed_at_the_next_list() {
    let first = MemoryStore::new();
    for round in 0..20 {
        put(&first, "/a/old", &round.to_string()).await;
    }
    put(&first, "/b/both", "1").await;
    let store = Replaceable(Arc::new(Mutex::new(first.clone())));
    let mut follow = Follow::new(Arc::new(store.clone()), roots());
    let mut state = State::new();
    catch_up(&mut follow, &mut state, &store).await;
    let second = MemoryStore::new();
    put(&second, "/b/both", "2").await;
    put(&second, "/a/new", "1").await;
    *store.0.lock().unwrap() = second;
    // the old one's watches end, as they would with its process
    let newest = put(&first, "/elsewhere", "1").await;
    put(&first, "/elsewhere", "2").await;
    first.compact(newest + 1).unwrap();
    put(&first, "/a/old", "end").await;
    put(&first, "/b/both", "end").await;
    catch_up(&mut follow, &mut state, &store).await;
    assert_eq!(state.len(), 2);
    assert!(!follow.is_resyncing());
    // the first lists, and those that the end of the history asked for
    assert!((2..=3).contains(&follow.resyncs()), "{}", follow.resyncs());
}

#[tokio::test]
async fn a_restart_of_etcd_is_survived() {
    let mut server = Etcd::start();
    let store = connect(&server);
    put(&store, "/a/x", "1").await;
    let mut follow = Follow::new(Arc::new(store.clone()), roots());
    let mut state = State::new();
    catch_up(&mut follow, &mut state, &store).await;
    for round in 0..3 {
        server.kill();
        server.resume();
        put_when_back(&store, "/b/y", &round.to_string()).await;
        catch_up(&mut follow, &mut state, &store).await;
    }
    server.kill();
    server.forget();
    server.resume();
    put_when_back(&store, "/a/new", "1").await;
    catch_up(&mut follow, &mut state, &store).await;
    assert_eq!(state, State::from([("/a/new".into(), "1".into())]), "another store, another state");
}

/// The first write over a dead connection fails, because it might have happened; the caller decides to repeat it.
async fn put_when_back(store: &dyn Datastore, key: &str, value: &str) {
    for _ in 0..20 {
        let op = Op::Put(PutRequest::new(key.to_owned(), value.to_owned()));
        match store.txn(Txn { success: vec![op], ..Txn::default() }).await {
            Ok(_) => return,
            Err(StoreError::Unavailable(_)) => {}
            Err(other) => panic!("{other}"),
        }
    }
    panic!("etcd does not come back");
}

/// A memory store that takes its time to answer, and counts what it is asked.
#[derive(Clone)]
struct Slow {
    inner: MemoryStore,
    ranges: Arc<AtomicU64>,
}

impl Datastore for Slow {
    fn range(&self, request: RangeRequest) -> BoxFuture<'_, Result<RangeResponse, StoreError>> {
        self.ranges.fetch_add(1, Ordering::Relaxed);
        async move {
            tokio::time::sleep(Duration::from_millis(20)).await;
            self.inner.range(request).await
        }
        .boxed()
    }

    fn txn(&self, txn: Txn) -> BoxFuture<'_, Result<TxnResponse, StoreError>> {
        self.inner.txn(txn)
    }

    fn watch(
        &self,
        request: WatchRequest,
    ) -> BoxFuture<'_, Result<BoxStream<'static, Result<WatchResponse, StoreError>>, StoreError>> {
        self.inner.watch(request)
    }

    fn lease_grant(&self, ttl: i64) -> BoxFuture<'_, Result<i64, StoreError>> {
        self.inner.lease_grant(ttl)
    }
}

#[tokio::test]
async fn a_long_list_comes_in_pages_and_goes_on_while_nobody_waits() {
    let memory = MemoryStore::new();
    for number in 0..1200 {
        put(&memory, &format!("/a/{number:05}"), "1").await;
    }
    let slow = Slow { inner: memory.clone(), ranges: Arc::default() };
    let mut follow = Follow::new(Arc::new(slow.clone()), roots());
    let mut state = State::new();
    let mut pages = Vec::new();
    for _ in 0..1000 {
        // whoever waits is called away again and again
        let wait = tokio::time::timeout(Duration::from_millis(2), follow.next());
        let Ok(output) = wait.await else { continue };
        pages.push((output.changes.len(), output.more, output.became_in_sync));
        apply(&mut state, output);
        if follow.syncer().status() == Status::InSync {
            break;
        }
    }
    assert_eq!(pages, [(500, true, false), (700, true, false), (0, false, true)]);
    assert_eq!(slow.ranges.load(Ordering::Relaxed), 3, "two pages of one root, one of the other");
    assert_eq!(state, stored(&memory).await);
}

/// What the store held at a revision.
async fn stored_at(store: &dyn Datastore, revision: i64) -> State {
    let mut state = State::new();
    for range in roots() {
        let answer = store.range(RangeRequest { revision, ..RangeRequest::new(range) }).await.unwrap();
        state.extend(answer.kvs.iter().map(|kv| (text(&kv.key), text(&kv.value))));
    }
    state
}

#[tokio::test]
async fn roots_followed_together_are_the_state_of_one_revision() {
    for subject in subjects() {
        let (store, name) = (Arc::clone(&subject.store), subject.name);
        for number in 0..700 {
            put(&*store, &format!("/a/{number:05}"), "1").await;
        }
        let first = put(&*store, "/b/y", "1").await;
        let mut follow = Follow::together(Arc::clone(&store), roots());
        let mut state = State::new();
        // while the first root is listed the second one changes
        apply(&mut state, follow.next().await);
        put(&*store, "/b/z", "1").await;
        while follow.syncer().status() != Status::InSync {
            apply(&mut state, follow.next().await);
        }
        assert_eq!(
            (follow.syncer().revision(), state.len()),
            (first, 701),
            "{name}: all lists are of one revision"
        );
        for number in 0..40 {
            let root = if number % 2 == 0 { "a" } else { "b" };
            put(&*store, &format!("/{root}/{number}"), "2").await;
            put(&*store, "/elsewhere", "3").await;
            delete(&*store, &format!("/a/{number:05}")).await;
        }
        let last = put(&*store, "/b/last", "2").await;
        while follow.syncer().revision() < last {
            apply(&mut state, follow.next().await);
            assert_eq!(state, stored_at(&*store, follow.syncer().revision()).await, "{name}");
        }
        assert_eq!(follow.syncer().newest(), last, "{name}");
    }
}

#[tokio::test]
async fn lists_of_one_revision_begin_anew_when_it_is_compacted() {
    let memory = MemoryStore::new();
    put(&memory, "/a/x", "1").await;
    put(&memory, "/b/y", "1").await;
    let mut follow = Follow::together(Arc::new(memory.clone()), roots());
    let mut state = State::new();
    apply(&mut state, follow.next().await);
    put(&memory, "/a/x", "2").await;
    put(&memory, "/b/y", "2").await;
    memory.compact(memory.inspect(mvcc::Store::revision)).unwrap();
    catch_up(&mut follow, &mut state, &memory).await;
    // and so do they when the watch has lost its place
    for round in 0..20 {
        put(&memory, "/b/y", &round.to_string()).await;
    }
    memory.compact(memory.inspect(mvcc::Store::revision)).unwrap();
    catch_up(&mut follow, &mut state, &memory).await;
}

/// A store that never answers, and notes when it was asked.
#[derive(Default)]
struct Dead(Mutex<Vec<std::time::Instant>>);

impl Datastore for Dead {
    fn range(&self, _: RangeRequest) -> BoxFuture<'_, Result<RangeResponse, StoreError>> {
        self.0.lock().unwrap().push(std::time::Instant::now());
        async { Err(Shaky::fault()) }.boxed()
    }

    fn txn(&self, _: Txn) -> BoxFuture<'_, Result<TxnResponse, StoreError>> {
        async { Err(Shaky::fault()) }.boxed()
    }

    fn watch(
        &self,
        _: WatchRequest,
    ) -> BoxFuture<'_, Result<BoxStream<'static, Result<WatchResponse, StoreError>>, StoreError>> {
        async { Err(Shaky::fault()) }.boxed()
    }

    fn lease_grant(&self, _: i64) -> BoxFuture<'_, Result<i64, StoreError>> {
        async { Err(Shaky::fault()) }.boxed()
    }
}

/// Be it that whoever follows looks up all the time for something else to do.
#[tokio::test]
async fn a_dead_store_is_asked_ever_more_rarely() {
    let dead = Arc::new(Dead::default());
    let first = Duration::from_millis(20);
    let mut follow =
        Follow::new(Arc::clone(&dead) as Arc<dyn Datastore>, roots()).with_pauses(first, first * 4);
    let asked = || dead.0.lock().unwrap().clone();
    let until = std::time::Instant::now() + Duration::from_secs(60);
    while asked().len() < 6 {
        assert!(std::time::Instant::now() < until, "asked only {} times", asked().len());
        assert!(tokio::time::timeout(Duration::from_millis(3), follow.next()).await.is_err());
    }
    let asked = asked();
    let pauses: Vec<Duration> = asked.windows(2).map(|pair| pair[1] - pair[0]).collect();
    for (pause, least) in pauses.iter().zip([1, 2, 4, 4, 4]) {
        assert!(*pause >= first * least, "{pauses:?}");
    }
}
