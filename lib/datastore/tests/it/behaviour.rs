//! What every backend does, asked of each.

use crate::{Subject, subjects};
use datastore::StoreError;
use futures::{FutureExt, StreamExt};
use mvcc::{
    Compare, CompareResult, CompareTarget, DeleteRequest, EventKind, KeyRange, Op, OpResponse, PutRequest,
    RangeRequest, Revision, SortOrder, SortTarget, Txn, WatchRequest, WatchResponse,
};
use std::time::Duration;

/// Longest wait for what must come.
const SOON: Duration = Duration::from_secs(20);

async fn put(subject: &Subject, key: &str, value: &str) -> Revision {
    let txn =
        Txn { success: vec![Op::Put(PutRequest::new(key.to_owned(), value.to_owned()))], ..Txn::default() };
    subject.store.txn(txn).await.unwrap().revision
}

async fn delete(subject: &Subject, key: &str) -> Revision {
    let txn = Txn { success: vec![Op::Delete(DeleteRequest::key(key.to_owned()))], ..Txn::default() };
    subject.store.txn(txn).await.unwrap().revision
}

async fn keys(subject: &Subject, request: RangeRequest) -> Vec<String> {
    let answer = subject.store.range(request).await.unwrap();
    answer.kvs.iter().map(|kv| String::from_utf8_lossy(&kv.key).into_owned()).collect()
}

async fn next(
    stream: &mut (impl futures::Stream<Item = Result<WatchResponse, StoreError>> + Unpin),
) -> Result<WatchResponse, StoreError> {
    loop {
        let message = tokio::time::timeout(SOON, stream.next()).await.expect("a message").expect("no end");
        match message {
            Ok(message) if message.events.is_empty() => {}
            other => return other,
        }
    }
}

#[tokio::test]
async fn counters_and_revisions() {
    for subject in subjects() {
        let name = subject.name;
        let first = put(&subject, "/a", "1").await;
        let second = put(&subject, "/a", "2").await;
        assert_eq!(second, first + 1, "{name}");
        let answer = subject.store.range(RangeRequest::key("/a")).await.unwrap();
        let kv = answer.kvs.first().unwrap();
        assert_eq!((kv.create_revision, kv.mod_revision, kv.version), (first, second, 2), "{name}");
        assert_eq!((answer.revision, answer.count, answer.more), (second, 1, false), "{name}");
        assert_eq!(kv.value.as_ref(), b"2", "{name}");
        let mut old = RangeRequest::key("/a");
        old.revision = first;
        let answer = subject.store.range(old).await.unwrap();
        assert_eq!(answer.kvs.first().unwrap().value.as_ref(), b"1", "{name}");
        assert_eq!(answer.revision, second, "{name}: the header tells the newest");
        assert_eq!(delete(&subject, "/a").await, second + 1, "{name}");
        assert_eq!(delete(&subject, "/a").await, second + 1, "{name}: nothing deleted, no revision");
        put(&subject, "/a", "3").await;
        let answer = subject.store.range(RangeRequest::key("/a")).await.unwrap();
        let kv = answer.kvs.first().unwrap();
        assert_eq!((kv.create_revision, kv.version), (second + 2, 1), "{name}: a new life");
    }
}

#[tokio::test]
async fn ranges() {
    for subject in subjects() {
        let name = subject.name;
        for (key, value) in [("/r/a", "3"), ("/r/b", "1"), ("/r/c", "2"), ("/s", "x")] {
            put(&subject, key, value).await;
        }
        let all = || RangeRequest::prefix("/r/");
        assert_eq!(keys(&subject, all()).await, ["/r/a", "/r/b", "/r/c"], "{name}");
        let mut limited = all();
        limited.limit = 2;
        let answer = subject.store.range(limited).await.unwrap();
        assert_eq!((answer.kvs.len(), answer.more, answer.count), (2, true, 3), "{name}");
        let mut sorted = all();
        sorted.target = SortTarget::Value;
        sorted.order = SortOrder::Descend;
        assert_eq!(keys(&subject, sorted.clone()).await, ["/r/a", "/r/c", "/r/b"], "{name}");
        sorted.order = SortOrder::None;
        sorted.limit = 1;
        assert_eq!(keys(&subject, sorted).await, ["/r/b"], "{name}: a target alone means ascending");
        let mut counted = all();
        counted.count_only = true;
        let answer = subject.store.range(counted).await.unwrap();
        assert_eq!((answer.kvs.len(), answer.count), (0, 3), "{name}");
        let mut names = all();
        names.keys_only = true;
        assert!(subject.store.range(names).await.unwrap().kvs.iter().all(|kv| kv.value.is_empty()), "{name}");
        let newest = put(&subject, "/r/a", "4").await;
        let mut recent = all();
        recent.min_mod_revision = newest;
        assert_eq!(keys(&subject, recent).await, ["/r/a"], "{name}");
        let mut old = all();
        old.max_mod_revision = newest - 1;
        assert_eq!(keys(&subject, old).await, ["/r/b", "/r/c"], "{name}");
        let whole = RangeRequest::new(KeyRange { key: "\0".into(), end: Some("\0".into()) });
        assert_eq!(keys(&subject, whole).await.len(), 4, "{name}");
        let backwards = RangeRequest::new(KeyRange { key: "/z".into(), end: Some("/a".into()) });
        assert!(keys(&subject, backwards).await.is_empty(), "{name}");
    }
}

#[tokio::test]
async fn long_lists_come_from_one_revision() {
    for subject in subjects() {
        let name = subject.name;
        for batch in 0..13 {
            let puts = (0..100).map(|i| Op::Put(PutRequest::new(format!("/l/{batch:02}{i:02}"), "x")));
            subject.store.txn(Txn { success: puts.collect(), ..Txn::default() }).await.unwrap();
        }
        let answer = subject.store.range(RangeRequest::prefix("/l/")).await.unwrap();
        assert_eq!((answer.kvs.len(), answer.count, answer.more), (1300, 1300, false), "{name}");
        assert!(answer.kvs.is_sorted_by(|a, b| a.key < b.key), "{name}");
        let mut limited = RangeRequest::prefix("/l/");
        limited.limit = 750;
        let answer = subject.store.range(limited).await.unwrap();
        assert_eq!((answer.kvs.len(), answer.count, answer.more), (750, 1300, true), "{name}");
        let mut last = RangeRequest::prefix("/l/");
        last.target = SortTarget::Key;
        last.order = SortOrder::Descend;
        let answer = subject.store.range(last).await.unwrap();
        assert_eq!(answer.kvs.first().unwrap().key.as_ref(), b"/l/1299", "{name}");
    }
}

#[tokio::test]
async fn transactions() {
    for subject in subjects() {
        let name = subject.name;
        let create = |value: &str| Txn {
            compare: vec![Compare::absent("/t")],
            success: vec![Op::Put(PutRequest::new("/t", value.to_owned()))],
            failure: vec![Op::Range(RangeRequest::key("/t"))],
        };
        let made = subject.store.txn(create("1")).await.unwrap();
        assert!(made.succeeded, "{name}");
        let again = subject.store.txn(create("2")).await.unwrap();
        assert!(!again.succeeded, "{name}");
        let found = again.responses.first().unwrap().kvs().first().unwrap();
        assert_eq!((found.value.as_ref(), found.mod_revision), (b"1".as_ref(), made.revision), "{name}");

        // reads in a transaction see what it wrote; everything has one revision
        let both = Txn {
            compare: vec![Compare::mod_revision("/t", made.revision), Compare::exists("/t")],
            success: vec![
                Op::Put(PutRequest { prev_kv: true, ..PutRequest::new("/t", "3") }),
                Op::Range(RangeRequest::prefix("/t")),
                Op::Delete(DeleteRequest::key("/absent")),
                Op::Txn(Box::new(Txn {
                    // conditions are decided before anything is written
                    compare: vec![Compare::mod_revision("/t", made.revision)],
                    success: vec![Op::Put(PutRequest::new("/t2", "4"))],
                    failure: vec![],
                })),
            ],
            failure: vec![],
        };
        let answer = subject.store.txn(both).await.unwrap();
        assert_eq!((answer.succeeded, answer.revision), (true, made.revision + 1), "{name}");
        match answer.responses.as_slice() {
            [
                OpResponse::Put(put),
                OpResponse::Range(range),
                OpResponse::Delete(delete),
                OpResponse::Txn(inner),
            ] => {
                assert_eq!(put.prev.as_ref().unwrap().value.as_ref(), b"1", "{name}");
                assert_eq!(range.kvs.first().unwrap().value.as_ref(), b"3", "{name}");
                assert_eq!(range.kvs.first().unwrap().mod_revision, answer.revision, "{name}");
                assert_eq!(delete.deleted, 0, "{name}");
                assert!(inner.succeeded, "{name}");
            }
            other => panic!("{name}: {other:?}"),
        }
        let reads = Txn::reads([RangeRequest::key("/t"), RangeRequest::key("/t2")]);
        let answer = subject.store.txn(reads).await.unwrap();
        assert!(answer.responses.iter().all(|r| r.kvs().len() == 1), "{name}");
    }
}

#[tokio::test]
async fn conditions_over_ranges_and_every_relation() {
    use CompareResult::{Equal, Greater, Less, NotEqual};
    for subject in subjects() {
        let name = subject.name;
        let first = put(&subject, "/c/a", "m").await;
        let last = put(&subject, "/c/b", "m").await;
        let cases = [
            (KeyRange::prefix("/c/"), CompareTarget::Mod(last + 1), Less, true),
            (KeyRange::prefix("/c/"), CompareTarget::Mod(last), Less, false),
            (KeyRange::prefix("/c/"), CompareTarget::Create(first - 1), Greater, true),
            (KeyRange::prefix("/c/"), CompareTarget::Version(1), Equal, true),
            (KeyRange::prefix("/c/"), CompareTarget::Version(1), NotEqual, false),
            (KeyRange::prefix("/c/"), CompareTarget::Value("m".into()), Equal, true),
            (KeyRange::prefix("/c/"), CompareTarget::Value("l".into()), Greater, true),
            (KeyRange::key("/c/a"), CompareTarget::Value("z".into()), Less, true),
            (KeyRange::key("/c/a"), CompareTarget::Lease(0), Equal, true),
            (KeyRange::prefix("/none/"), CompareTarget::Version(0), Equal, true),
            (KeyRange::prefix("/none/"), CompareTarget::Mod(5), Less, true),
            (KeyRange::key("/none"), CompareTarget::Value("".into()), Equal, false),
            (KeyRange::key("/none"), CompareTarget::Value("x".into()), NotEqual, false),
        ];
        for (range, target, result, expected) in cases {
            let compare = Compare { range, target, result };
            let txn = Txn { compare: vec![compare.clone()], ..Txn::default() };
            assert_eq!(subject.store.txn(txn).await.unwrap().succeeded, expected, "{name}: {compare:?}");
        }
    }
}

#[tokio::test]
async fn refusals_read_alike() {
    for subject in subjects() {
        let name = subject.name;
        let put = |key: &str| Op::Put(PutRequest::new(key.to_owned(), "x"));
        let text = |result: Result<mvcc::TxnResponse, StoreError>| result.unwrap_err().to_string();
        let twice = Txn { success: vec![put("/d"), put("/d")], ..Txn::default() };
        let refused = text(subject.store.txn(twice).await);
        assert_eq!(refused, "etcdserver: duplicate key given in txn request", "{name}");
        let covered =
            Txn { success: vec![put("/d/1"), Op::Delete(DeleteRequest::prefix("/d/"))], ..Txn::default() };
        let refused = text(subject.store.txn(covered).await);
        assert_eq!(refused, "etcdserver: duplicate key given in txn request", "{name}");
        let many = Txn { success: (0..129).map(|i| put(&format!("/m/{i}"))).collect(), ..Txn::default() };
        assert!(matches!(subject.store.txn(many).await, Err(StoreError::TooManyOps)), "{name}");
        let most = Txn { success: (0..128).map(|i| put(&format!("/m/{i}"))).collect(), ..Txn::default() };
        assert!(subject.store.txn(most).await.is_ok(), "{name}");
        let nothing = Txn { success: vec![put("")], ..Txn::default() };
        assert_eq!(text(subject.store.txn(nothing).await), "etcdserver: key is not provided", "{name}");
        let keep = Op::Put(PutRequest { ignore_value: true, ..PutRequest::new("/nokey", "") });
        let refused = text(subject.store.txn(Txn { success: vec![keep], ..Txn::default() }).await);
        assert_eq!(refused, "etcdserver: key not found", "{name}");
        let leased = Op::Put(PutRequest { lease: 77, ..PutRequest::new("/leased", "") });
        let refused = text(subject.store.txn(Txn { success: vec![leased], ..Txn::default() }).await);
        assert_eq!(refused, "etcdserver: requested lease not found", "{name}");
        let mut future = RangeRequest::key("/m/1");
        future.revision = 1_000_000;
        let refused = subject.store.range(future).await.unwrap_err().to_string();
        assert_eq!(refused, "etcdserver: mvcc: required revision is a future revision", "{name}");
        assert_eq!(keys(&subject, RangeRequest::prefix("/d")).await.len(), 0, "{name}: nothing half done");
    }
}

#[tokio::test]
async fn a_watch_tells_every_change_once_and_in_order() {
    for subject in subjects() {
        let name = subject.name;
        let start = put(&subject, "/w/a", "1").await;
        put(&subject, "/other", "x").await;
        put(&subject, "/w/a", "2").await;
        let mut stream =
            subject.store.watch(WatchRequest::new(KeyRange::prefix("/w/"), start)).await.unwrap();
        delete(&subject, "/w/a").await;
        let txn = Txn {
            success: vec![Op::Put(PutRequest::new("/w/b", "3")), Op::Put(PutRequest::new("/w/c", "4"))],
            ..Txn::default()
        };
        let last = subject.store.txn(txn).await.unwrap().revision;
        let mut seen = Vec::new();
        let mut upto = 0;
        while upto < last {
            let message = next(&mut stream).await.unwrap();
            upto = message.revision;
            seen.extend(message.events);
        }
        let told: Vec<_> = seen
            .iter()
            .map(|event| {
                let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
                let prev = event.prev.as_ref().map(|kv| text(&kv.value)).unwrap_or_default();
                (event.kind, text(&event.kv.key), text(&event.kv.value), prev, event.kv.mod_revision)
            })
            .collect();
        let expect =
            |kind, key: &str, value: &str, prev: &str, at| (kind, key.into(), value.into(), prev.into(), at);
        assert_eq!(
            told,
            [
                expect(EventKind::Put, "/w/a", "1", "", start),
                expect(EventKind::Put, "/w/a", "2", "1", start + 2),
                expect(EventKind::Delete, "/w/a", "", "2", start + 3),
                expect(EventKind::Put, "/w/b", "3", "", last),
                expect(EventKind::Put, "/w/c", "4", "", last),
            ],
            "{name}"
        );
    }
}

#[tokio::test]
async fn a_watch_from_now_misses_nothing_after_it_is_open() {
    for subject in subjects() {
        let name = subject.name;
        put(&subject, "/n/a", "old").await;
        let mut request = WatchRequest::new(KeyRange::prefix("/n/"), 0);
        request.no_delete = true;
        let mut stream = subject.store.watch(request).await.unwrap();
        delete(&subject, "/n/a").await;
        let at = put(&subject, "/n/a", "new").await;
        let message = next(&mut stream).await.unwrap();
        assert_eq!(message.events.len(), 1, "{name}");
        assert_eq!(message.events.first().unwrap().kv.mod_revision, at, "{name}");
        assert!(stream.next().now_or_never().is_none(), "{name}: nothing more");
    }
}

#[tokio::test]
async fn compaction_ends_reads_and_watches_of_the_past() {
    for subject in subjects() {
        let name = subject.name;
        let first = put(&subject, "/k", "1").await;
        put(&subject, "/k", "2").await;
        let last = put(&subject, "/k", "3").await;
        subject.compact(last);
        let mut old = RangeRequest::key("/k");
        old.revision = first;
        let refused = subject.store.range(old.clone()).await;
        assert!(matches!(refused, Err(StoreError::Compacted { .. })), "{name}: {refused:?}");
        old.revision = last;
        assert_eq!(subject.store.range(old).await.unwrap().kvs.len(), 1, "{name}: the boundary stays");
        let mut stream = subject.store.watch(WatchRequest::new(KeyRange::key("/k"), first)).await.unwrap();
        let refused = next(&mut stream).await;
        assert!(
            matches!(refused, Err(StoreError::Compacted { revision }) if revision == last),
            "{name}: {refused:?}"
        );
        assert!(stream.next().await.is_none(), "{name}: an error ends the stream");
    }
}

#[tokio::test]
async fn keys_of_a_lease_go_with_it() {
    for subject in subjects() {
        let name = subject.name;
        let lease = subject.store.lease_grant(1).await.unwrap();
        let leased = |key: &str| Op::Put(PutRequest { lease, ..PutRequest::new(key.to_owned(), "x") });
        let txn = Txn { success: vec![leased("/lease/a"), leased("/lease/b")], ..Txn::default() };
        let at = subject.store.txn(txn).await.unwrap().revision;
        let answer = subject.store.range(RangeRequest::key("/lease/a")).await.unwrap();
        assert_eq!(answer.kvs.first().unwrap().lease, lease, "{name}");
        let mut stream =
            subject.store.watch(WatchRequest::new(KeyRange::prefix("/lease/"), at + 1)).await.unwrap();
        let mut gone = Vec::new();
        while gone.len() < 2 {
            gone.extend(next(&mut stream).await.unwrap().events);
        }
        assert!(gone.iter().all(|event| event.kind == EventKind::Delete), "{name}");
        let revisions: Vec<_> = gone.iter().map(|event| event.kv.mod_revision).collect();
        assert_eq!(revisions, [at + 1, at + 1], "{name}: one revision");
    }
}
