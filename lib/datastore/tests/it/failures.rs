//! An etcd that is away, silent, restarted, or replaced.

use crate::etcd::Etcd;
use crate::{connect, options};
use datastore::etcd::{EtcdOptions, EtcdStore};
use datastore::{Datastore, StoreError};
use futures::{Stream, StreamExt};
use mvcc::{KeyRange, Op, PutRequest, RangeRequest, Revision, Txn, WatchRequest, WatchResponse};
use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use tokio::net::TcpListener;

fn at(urls: &[String], timeout: Duration) -> EtcdStore {
    EtcdStore::new(&EtcdOptions { timeout, ..options(urls) }).unwrap()
}

async fn put(store: &EtcdStore, key: &str, value: &str) -> Result<Revision, StoreError> {
    let op = Op::Put(PutRequest::new(key.to_owned(), value.to_owned()));
    Ok(store.txn(Txn { success: vec![op], ..Txn::default() }).await?.revision)
}

/// A port where nobody listens.
fn dead_url() -> String {
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    format!("http://127.0.0.1:{port}")
}

#[tokio::test]
async fn refused_connections_fail_at_once_and_say_who() {
    let (first, second) = (dead_url(), dead_url());
    let store = at(&[first.clone(), second.clone()], Duration::from_secs(30));
    let began = Instant::now();
    for refused in [
        store.range(RangeRequest::key("/a")).await.map(|_| ()),
        put(&store, "/a", "1").await.map(|_| ()),
        store.lease_grant(5).await.map(|_| ()),
        store.watch(WatchRequest::new(KeyRange::key("/a"), 0)).await.map(|_| ()),
    ] {
        let text = refused.unwrap_err().to_string();
        assert!(text.starts_with("datastore unavailable: "), "{text}");
        assert!(text.contains(&first) && text.contains(&second), "{text}");
        assert!(text.contains("Connection refused"), "{text}");
    }
    assert!(began.elapsed() < Duration::from_secs(10), "{:?}", began.elapsed());
}

/// A server that accepts and never says a word; ends with the test's runtime.
async fn silent() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move {
        let mut connections = Vec::new();
        while let Ok(connection) = listener.accept().await {
            connections.push(connection);
        }
    });
    url
}

#[tokio::test]
async fn a_silent_member_leaves_time_for_the_others() {
    let server = Etcd::start();
    let store = at(&[silent().await, server.url()], Duration::from_secs(4));
    assert_eq!(store.range(RangeRequest::key("/a")).await.unwrap().count, 0);
    put(&store, "/a", "1").await.expect("and is not asked again");
    // a write may have happened there, so it fails; the next one goes elsewhere
    let store = at(&[silent().await, server.url()], Duration::from_millis(500));
    let refused = put(&store, "/a", "2").await.unwrap_err().to_string();
    assert!(refused.contains("the write may have happened"), "{refused}");
    put(&store, "/a", "3").await.unwrap();
}

#[tokio::test]
async fn a_silent_server_fails_within_the_bound() {
    let url = silent().await;
    let bound = Duration::from_millis(700);
    let store = at(&[url], bound);
    let began = Instant::now();
    let read = store.range(RangeRequest::key("/a")).await;
    let took = began.elapsed();
    assert!(matches!(read, Err(StoreError::Unavailable(_))), "{read:?}");
    assert!(took >= bound && took < bound * 4, "{took:?}");
    let write = put(&store, "/a", "1").await;
    assert!(matches!(write, Err(StoreError::Unavailable(_))), "{write:?}");
}

#[tokio::test]
async fn one_living_endpoint_is_enough() {
    let server = Etcd::start();
    let store = at(&[dead_url(), server.url(), dead_url()], Duration::from_secs(10));
    for round in 0..5 {
        put(&store, "/a", &round.to_string()).await.unwrap();
        assert_eq!(store.range(RangeRequest::key("/a")).await.unwrap().kvs.len(), 1);
    }
    let mut stream = store.watch(WatchRequest::new(KeyRange::key("/a"), 1)).await.unwrap();
    assert!(next_events(&mut stream).await.unwrap().revision > 1);
}

async fn next_events(
    stream: &mut (impl Stream<Item = Result<WatchResponse, StoreError>> + Unpin),
) -> Result<WatchResponse, StoreError> {
    loop {
        let message = tokio::time::timeout(Duration::from_secs(30), stream.next()).await.expect("a message");
        match message.expect("no end") {
            Ok(message) if message.events.is_empty() => {}
            other => return other,
        }
    }
}

#[tokio::test]
async fn a_watch_loses_and_doubles_nothing_over_restarts() {
    let mut server = Etcd::start();
    let store = connect(&server);
    let mut stream = store.watch(WatchRequest::new(KeyRange::prefix("/w/"), 0)).await.unwrap();
    let mut expected = Vec::new();
    let mut seen = Vec::new();
    for round in 0..3 {
        for i in 0..4 {
            server.must(&["put", &format!("/w/{round}/{i}"), "x"]);
            expected.push(format!("/w/{round}/{i}"));
        }
        // some of these are on the wire, some not yet, some reported
        let message = next_events(&mut stream).await.unwrap();
        seen.extend(message.events);
        server.kill();
        server.resume();
    }
    while seen.len() < expected.len() {
        seen.extend(next_events(&mut stream).await.unwrap().events);
    }
    let keys: Vec<_> = seen.iter().map(|event| String::from_utf8_lossy(&event.kv.key).into_owned()).collect();
    assert_eq!(keys, expected);
}

#[tokio::test]
async fn a_compaction_while_away_ends_the_watch() {
    let mut server = Etcd::start();
    let store = connect(&server);
    put(&store, "/w/a", "1").await.unwrap();
    let mut stream = store.watch(WatchRequest::new(KeyRange::prefix("/w/"), 1)).await.unwrap();
    next_events(&mut stream).await.unwrap();
    server.kill();
    server.resume();
    // another client writes and compacts before ours is back: its first pause is the time for it
    for _ in 0..3 {
        server.must(&["put", "/other", "x"]);
    }
    let text = server.must(&["get", "/other", "-w", "json"]);
    let revision: i64 =
        text.split("\"revision\":").nth(1).unwrap().split(',').next().unwrap().parse().unwrap();
    server.must(&["compaction", &revision.to_string()]);
    server.must(&["put", "/w/a", "2"]);
    // either it was back in time and sees the write, or it must say that it cannot know; silence is wrong
    match next_events(&mut stream).await {
        Ok(message) => assert_eq!(message.events.len(), 1),
        Err(StoreError::Compacted { .. }) => assert!(stream.next().await.is_none()),
        Err(other) => panic!("{other}"),
    }
}

#[tokio::test]
async fn a_store_that_went_back_in_time_ends_the_watch() {
    let mut first = Etcd::start();
    let store = connect(&first);
    for round in 0..10 {
        put(&store, "/w/a", &round.to_string()).await.unwrap();
    }
    let mut stream = store.watch(WatchRequest::new(KeyRange::prefix("/w/"), 1)).await.unwrap();
    let mut reported = 0;
    while reported < 10 {
        reported += next_events(&mut stream).await.unwrap().events.len();
    }
    first.kill();
    first.forget();
    first.resume();
    let ended = next_events(&mut stream).await;
    assert!(matches!(ended, Err(StoreError::Compacted { .. })), "{ended:?}");
}

#[tokio::test]
async fn reads_wait_for_a_restart_and_writes_do_not_repeat() {
    let mut server = Etcd::start();
    let store = connect(&server);
    put(&store, "/a", "1").await.unwrap();
    server.kill();
    let write = put(&store, "/a", "2").await;
    assert!(matches!(write, Err(StoreError::Unavailable(_))), "{write:?}");
    server.resume();
    let read = store.range(RangeRequest::key("/a")).await.unwrap();
    assert_eq!(read.kvs.first().unwrap().version, 1, "the failed write did not happen later");
}

#[tokio::test]
async fn pages_are_of_one_revision_while_others_write_and_compact() {
    let server = Etcd::start();
    let store = connect(&server);
    for batch in 0..12 {
        let puts = (0..100).map(|i| Op::Put(PutRequest::new(format!("/p/{batch:02}{i:02}"), "0")));
        store.txn(Txn { success: puts.collect(), ..Txn::default() }).await.unwrap();
    }
    let stop = Arc::new(AtomicBool::new(false));
    let (writer, stopped) = (store.clone(), Arc::clone(&stop));
    let writing = tokio::spawn(async move {
        let mut round = 0;
        while !stopped.load(Ordering::Relaxed) {
            round += 1;
            // the first and the last page, together
            let ends = ["/p/0000", "/p/1199"].map(|key| Op::Put(PutRequest::new(key, round.to_string())));
            writer.txn(Txn { success: ends.to_vec(), ..Txn::default() }).await.unwrap();
        }
        round
    });
    let mut values = BTreeSet::new();
    for round in 0..40 {
        let answer = store.range(RangeRequest::prefix("/p/")).await.unwrap();
        assert_eq!(answer.kvs.len(), 1200);
        let (first, last) = (answer.kvs.first().unwrap(), answer.kvs.last().unwrap());
        assert_eq!(first.value, last.value, "round {round}");
        assert!(answer.kvs.iter().all(|kv| kv.mod_revision <= answer.revision));
        values.insert(first.value.clone());
        if round % 8 == 0 {
            server.must(&["compaction", &(answer.revision - 1).to_string()]);
        }
    }
    stop.store(true, Ordering::Relaxed);
    let rounds = writing.await.unwrap();
    assert!(
        values.len() > 5 && rounds > 5,
        "nobody wrote between the lists: {} values, {rounds} rounds",
        values.len()
    );
}
