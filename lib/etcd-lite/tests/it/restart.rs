//! What survives an end of the process, orderly or not; who may open a directory; what is refused.

use crate::servers::{Ours, connect, must};
use datastore::Datastore;
use datastore::etcd::EtcdStore;
use etcd_client::{GetOptions, LeaseGrantOptions, PutOptions};
use etcd_lite::{Options, Server};
use mvcc::RangeRequest;
use std::time::Duration;

#[tokio::test]
async fn everything_is_there_after_a_restart() {
    let directory = tempfile::tempdir().unwrap();
    let server = Ours::start(directory.path());
    let mut client = connect(&server.url).await;
    client.lease_grant(500, Some(LeaseGrantOptions::new().with_id(7))).await.unwrap();
    for number in 0..50 {
        let options = PutOptions::new().with_lease(7);
        client.put(format!("/k/{}", number % 5), format!("{number}"), Some(options)).await.unwrap();
    }
    client.delete("/k/3", None).await.unwrap();
    client.compact(30, None).await.unwrap();
    let all = GetOptions::new().with_prefix().with_revision(30);
    let then = client.get("/k/", Some(all.clone())).await.unwrap();
    let now = client.get("/k/", Some(GetOptions::new().with_prefix())).await.unwrap();
    let member = now.header().unwrap().member_id();
    server.stop();

    let server = Ours::start(directory.path());
    let mut client = connect(&server.url).await;
    let again = client.get("/k/", Some(GetOptions::new().with_prefix())).await.unwrap();
    assert_eq!(format!("{:?}", again.kvs()), format!("{:?}", now.kvs()));
    assert_eq!(again.header().unwrap().revision(), now.header().unwrap().revision());
    assert_eq!(again.header().unwrap().member_id(), member);
    assert_eq!(
        format!("{:?}", client.get("/k/", Some(all)).await.unwrap().kvs()),
        format!("{:?}", then.kvs())
    );
    let lease = client.lease_time_to_live(7, None).await.unwrap();
    assert!(lease.granted_ttl() == 500 && (400..=500).contains(&lease.ttl()), "{lease:?}");
    client.lease_revoke(7).await.unwrap();
    assert_eq!(client.get("/k/0", None).await.unwrap().count(), 0, "its keys are known too");
}

#[tokio::test]
async fn a_lease_goes_on_running_out_over_an_orderly_restart() {
    let directory = tempfile::tempdir().unwrap();
    let server = Ours::start(directory.path());
    let mut client = connect(&server.url).await;
    client.lease_grant(3, Some(LeaseGrantOptions::new().with_id(9))).await.unwrap();
    client.put("/a", "1", Some(PutOptions::new().with_lease(9))).await.unwrap();
    server.stop();
    let server = Ours::start(directory.path());
    let mut client = connect(&server.url).await;
    let gone = async {
        while client.get("/a", None).await.unwrap().count() > 0 {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), gone).await.expect("the lease runs out");
}

#[test]
fn a_directory_has_one_owner() {
    let directory = tempfile::tempdir().unwrap();
    let first = Server::open(Options::new(directory.path())).unwrap();
    let refused = Server::open(Options::new(directory.path())).err().unwrap().to_string();
    assert!(refused.contains("in use by another process"), "{refused}");
    first.stop();
    Server::open(Options::new(directory.path())).unwrap().stop();
}

#[test]
fn foreign_cut_and_empty_files_are_refused_and_left_alone() {
    let directory = tempfile::tempdir().unwrap();
    Server::open(Options::new(directory.path())).unwrap().stop();
    let file = directory.path().join("store.redb");
    let whole = std::fs::read(&file).unwrap();
    let cases: [(&str, Vec<u8>); 4] = [
        ("empty", Vec::new()),
        ("cut in its header", whole[..100].to_vec()),
        ("cut in half", whole[..whole.len() / 2].to_vec()),
        ("foreign", b"SQLite format 3\0 and so on, for more than a page".repeat(200)),
    ];
    for (case, bytes) in cases {
        std::fs::write(&file, &bytes).unwrap();
        let refused = std::panic::catch_unwind(|| Server::open(Options::new(directory.path())).err());
        let refused = refused.unwrap().unwrap_or_else(|| panic!("{case} is taken")).to_string();
        assert!(refused.contains("store.redb"), "{case}: {refused}");
        assert_eq!(std::fs::read(&file).unwrap(), bytes, "{case}: it was changed");
    }
    std::fs::write(&file, whole).unwrap();
    Server::open(Options::new(directory.path())).unwrap().stop();
}

#[tokio::test]
async fn the_products_own_client_works_in_the_same_process() {
    let directory = tempfile::tempdir().unwrap();
    let server = Server::open(Options::new(directory.path())).unwrap();
    let mut client = server.client().await.unwrap();
    let store = EtcdStore::over(client.clone(), Duration::from_secs(10));
    client.put("/a", "1", None).await.unwrap();
    assert_eq!(store.range(RangeRequest::key("/a")).await.unwrap().kvs[0].value.as_ref(), b"1");
    let mut stream = client.watch("/a", None).await.unwrap();
    assert!(stream.message().await.unwrap().unwrap().created());
    client.put("/a", "2", None).await.unwrap();
    assert_eq!(stream.message().await.unwrap().unwrap().events().len(), 1);
    server.stop();
}

#[tokio::test]
async fn compaction_and_defragmentation_give_space_back() {
    let directory = tempfile::tempdir().unwrap();
    let server = Ours::start(directory.path());
    let mut client = connect(&server.url).await;
    let value = vec![7u8; 100_000];
    for number in 0..200 {
        client.put(format!("/k/{}", number % 3), value.clone(), None).await.unwrap();
    }
    let size = || std::fs::metadata(directory.path().join("store.redb")).unwrap().len();
    let before = size();
    let revision = client.get("/k/0", None).await.unwrap().header().unwrap().revision();
    client.compact(revision, None).await.unwrap();
    assert_eq!(must(&server.url, &["defrag"]).matches("Finished").count(), 1);
    assert!(before > 20_000_000 && size() < before / 4, "{before} bytes became {}", size());
    // and without defragmentation what is free is used again
    for number in 0..400 {
        client.put(format!("/k/{}", number % 3), value.clone(), None).await.unwrap();
        if number % 50 == 0 {
            let revision = client.get("/k/0", None).await.unwrap().header().unwrap().revision();
            client.compact(revision, None).await.unwrap();
        }
    }
    assert!(size() < before * 2, "it grows without bound: {}", size());
}
