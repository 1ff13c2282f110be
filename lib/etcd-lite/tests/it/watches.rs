//! What the differential test cannot see for its speed: slow readers, fragments, compaction under a watch, intervals.

use crate::servers::{Ours, connect};
use etcd_client::{Txn, TxnOp, WatchOptions};
use etcd_lite::Options;
use std::time::Duration;

const PATIENCE: Duration = Duration::from_secs(30);

#[tokio::test]
async fn a_watcher_that_does_not_read_misses_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let server = Ours::start(directory.path());
    let mut client = connect(&server.url).await;
    let mut slow = connect(&server.url).await.watch("/k", None).await.unwrap();
    let value = vec![1u8; 200_000];
    // far more than a stream may have waiting
    for _ in 0..150 {
        client.put("/k", value.clone(), None).await.unwrap();
    }
    let mut versions = Vec::new();
    while versions.len() < 150 {
        let message = tokio::time::timeout(PATIENCE, slow.message()).await.expect("more").unwrap().unwrap();
        versions.extend(message.events().iter().map(|event| event.kv().unwrap().version()));
    }
    assert_eq!(versions, (1..=150).collect::<Vec<_>>());
}

#[tokio::test]
async fn large_events_come_in_fragments_to_who_asks() {
    let directory = tempfile::tempdir().unwrap();
    let server = Ours::start(directory.path());
    let mut client = connect(&server.url).await;
    // one request's worth; with what was before, more than a message may hold
    for _ in 0..2 {
        let put = |key: &str| TxnOp::put(key, vec![2u8; 700_000], None);
        client.txn(Txn::new().and_then([put("/k/1"), put("/k/2")])).await.unwrap();
    }
    let options = WatchOptions::new().with_prefix().with_start_revision(3).with_fragment().with_prev_key();
    let mut stream = connect(&server.url).await.watch("/k/", Some(options)).await.unwrap();
    let (mut events, mut parts) = (0, 0);
    while events < 2 {
        let message = tokio::time::timeout(PATIENCE, stream.message()).await.expect("more").unwrap().unwrap();
        parts += usize::from(!message.created());
        events += message.events().len();
        assert_eq!(message.0.fragment, !message.created() && events < 2);
    }
    assert_eq!(parts, 2);
}

#[tokio::test]
async fn a_watch_from_a_compacted_revision_ends_with_etcds_fields() {
    let directory = tempfile::tempdir().unwrap();
    let server = Ours::start(directory.path());
    let mut client = connect(&server.url).await;
    for _ in 0..5 {
        client.put("/a", "1", None).await.unwrap();
    }
    client.compact(5, None).await.unwrap();
    let options = WatchOptions::new().with_start_revision(3);
    let mut stream = client.watch("/a", Some(options)).await.unwrap();
    assert!(stream.message().await.unwrap().unwrap().created());
    let end = stream.message().await.unwrap().unwrap();
    assert!(end.canceled() && end.compact_revision() == 5 && end.cancel_reason().is_empty());
}

#[tokio::test]
async fn idle_watches_hear_of_progress() {
    let directory = tempfile::tempdir().unwrap();
    let options = Options { progress_interval: Duration::from_millis(50), ..Options::new(directory.path()) };
    let server = Ours::start_with(options);
    let mut client = connect(&server.url).await;
    let wants = WatchOptions::new().with_progress_notify();
    let mut stream = client.watch("/a", Some(wants)).await.unwrap();
    assert!(stream.message().await.unwrap().unwrap().created());
    client.put("/other", "1", None).await.unwrap();
    let revision = async {
        loop {
            let message = stream.message().await.unwrap().unwrap();
            assert!(message.events().is_empty());
            if message.header().unwrap().revision() == 2 {
                break;
            }
        }
    };
    tokio::time::timeout(PATIENCE, revision).await.expect("progress up to the write of somebody else");
}
