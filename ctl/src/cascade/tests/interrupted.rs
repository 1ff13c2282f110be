//! Deletions that are interrupted or disturbed.

use super::*;
use datastore::Datastore;
use datastore::memory::{Asked, Disturbed, Fate};
use futures::future::BoxFuture;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

/// A client of `memory` where somebody decides about every write, by its number from 0.
fn disturbed(
    memory: &MemoryStore,
    fate: impl Fn(usize) -> BoxFuture<'static, Fate> + Send + Sync + 'static,
) -> Client {
    let writes = AtomicUsize::new(0);
    let store = Disturbed::new(memory.clone(), move |asked| match asked {
        Asked::Read => Box::pin(std::future::ready(Fate::Answered)),
        Asked::Write => fate(writes.fetch_add(1, Ordering::SeqCst)),
    });
    let store: Arc<dyn Datastore> = Arc::new(store);
    Client::new(store)
}

fn lost() -> StoreError {
    StoreError::Unavailable("cut off".into())
}

/// A node with two workloads, one of whose addresses it shares a block with, a peer and settings.
async fn furnished() -> (MemoryStore, Client) {
    let memory = MemoryStore::new();
    let client = Client::new(Arc::new(memory.clone()));
    client.ensure_initialized(Bootstrap::default()).await.expect("initialised");
    create(&client, Kind::IPPool, "", "p", json!({"cidr": "10.0.0.0/24", "blockSize": 28})).await;
    create(&client, Kind::Node, "", "n1", json!({})).await;
    create(&client, Kind::HostEndpoint, "", "h", json!({"node": "n1", "interfaceName": "eth0"})).await;
    create(&client, Kind::BGPPeer, "", "b", json!({"node": "n1", "peerIP": "192.0.2.9", "asNumber": 64600}))
        .await;
    create(&client, Kind::FelixConfiguration, "", "node.n1", json!({})).await;
    for container in ["c1", "c2"] {
        let address = assign(&client, "n1", container).await;
        endpoint(&client, "n1", container, address).await;
    }
    (memory, client)
}

#[tokio::test]
async fn a_deletion_that_stopped_anywhere_is_completed_by_the_next() {
    let mut stopped = 0;
    for at in 0.. {
        for answer_lost in [false, true] {
            let (memory, client) = furnished().await;
            let cut = disturbed(&memory, move |number| {
                let fate = match number.cmp(&at) {
                    std::cmp::Ordering::Less => Fate::Answered,
                    std::cmp::Ordering::Equal if answer_lost => Fate::Lost(lost()),
                    _ => Fate::Refused(lost()),
                };
                Box::pin(std::future::ready(fate))
            });
            if delete(&cut, Kind::Node, "", "n1", DeleteOptions::default()).await.is_ok() {
                assert!(stopped >= 6, "only {stopped} places to stop at");
                return;
            }
            stopped += 1;
            let again = delete(&client, Kind::Node, "", "n1", DeleteOptions::default()).await;
            let last_was_lost = matches!(again, Err(ClientError::DoesNotExist { .. }));
            assert!(again.is_ok() || (answer_lost && last_was_lost), "{at}: {again:?}");
            let left: Vec<String> =
                keys(&client, "/calico/").await.into_iter().filter(|key| key.contains("n1")).collect();
            assert_eq!(left, Vec::<String>::new(), "stopped at write {at}");
            assert!(keys(&client, "/calico/ipam/v2/").await.is_empty(), "stopped at write {at}");
        }
    }
}

#[tokio::test]
async fn a_pool_that_others_write_is_disabled_all_the_same() {
    let (memory, _) = furnished().await;
    let others = Client::new(Arc::new(memory.clone()));
    let rounds = Arc::new(Mutex::new(0));
    let client = disturbed(&memory, {
        let rounds = Arc::clone(&rounds);
        move |_| {
            let others = others.clone();
            let now = {
                let mut rounds = rounds.lock().expect("rounds");
                *rounds += 1;
                *rounds
            };
            Box::pin(async move {
                if now <= 2 {
                    let mut pool = others.get(Kind::IPPool, "", "p").await.expect("the pool");
                    pool.set_meta_entry("labels", "round", &now.to_string());
                    others.update(pool).await.expect("updated");
                }
                Fate::Answered
            })
        }
    });
    delete(&client, Kind::IPPool, "", "p", DeleteOptions::default()).await.expect("deleted");
    assert!(*rounds.lock().expect("rounds") >= 3);
    assert!(client.get(Kind::IPPool, "", "p").await.is_err());
    assert!(keys(&client, "/calico/ipam/v2/host/").await.is_empty());
}

#[tokio::test]
async fn a_pool_that_others_write_all_the_time_is_a_conflict() {
    let (memory, plain) = furnished().await;
    let others = plain.clone();
    let round = AtomicUsize::new(0);
    let client = disturbed(&memory, move |_| {
        let (others, now) = (others.clone(), round.fetch_add(1, Ordering::SeqCst));
        Box::pin(async move {
            let mut pool = others.get(Kind::IPPool, "", "p").await.expect("the pool");
            pool.set_meta_entry("labels", "round", &now.to_string());
            others.update(pool).await.expect("updated");
            Fate::Answered
        })
    });
    let ended = delete(&client, Kind::IPPool, "", "p", DeleteOptions::default()).await;
    assert!(matches!(ended, Err(ClientError::UpdateConflict { .. })), "{ended:?}");
    let pool = plain.get(Kind::IPPool, "", "p").await.expect("still there");
    assert_eq!(pool.spec().get("disabled"), None, "and as it was");
    assert_eq!(keys(&plain, "/calico/ipam/v2/host/").await.len(), 1);
}

#[tokio::test]
async fn an_endpoint_that_is_gone_already_does_not_matter() {
    let (memory, plain) = furnished().await;
    let others = plain.clone();
    let first = Mutex::new(true);
    let client = disturbed(&memory, move |_| {
        let (others, now) = (others.clone(), std::mem::take(&mut *first.lock().expect("first")));
        Box::pin(async move {
            if now {
                let endpoints =
                    others.list(Kind::WorkloadEndpoint, ListOptions::default()).await.expect("listed");
                for endpoint in endpoints.items {
                    gone(&others, &endpoint).await.expect("gone");
                    gone(&others, &endpoint).await.expect("gone already");
                }
            }
            Fate::Answered
        })
    });
    delete(&client, Kind::Node, "", "n1", DeleteOptions::default()).await.expect("deleted");
    assert!(keys(&plain, "/calico/ipam/v2/").await.is_empty());
}
