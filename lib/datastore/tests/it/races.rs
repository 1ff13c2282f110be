//! Somebody else is faster: at every request of an operation, in between its reads and its write.

use crate::subjects;
use datastore::memory::{Disturbed, Fate, MemoryStore};
use datastore::{Bootstrap, Client, ClientError, Datastore, DeleteOptions, ListOptions, StoreError};
use futures::future::{BoxFuture, FutureExt};
use futures::stream::BoxStream;
use model::{Kind, Resource};
use mvcc::{RangeRequest, RangeResponse, Txn, TxnResponse, WatchRequest, WatchResponse};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

type Interference = Box<dyn FnOnce(Client) -> BoxFuture<'static, ()> + Send>;

/// A client of a store where somebody else acts just before the n-th request.
fn interrupted(inner: &MemoryStore, before: usize, act: Interference) -> Client {
    let (requests, act, other) = (AtomicUsize::new(0), Mutex::new(Some(act)), client(inner));
    let store = Disturbed::new(inner.clone(), move |_| {
        let now = requests.fetch_add(1, Ordering::Relaxed) == before;
        let act = if now { act.lock().unwrap().take() } else { None };
        let acting = act.map(|act| act(other.clone()));
        async move {
            if let Some(acting) = acting {
                acting.await;
            }
            Fate::Answered
        }
        .boxed()
    });
    Client::new(Arc::new(store))
}

/// More requests than any operation here makes.
const POINTS: usize = 5;

fn resource(kind: Kind, name: &str, spec: Value) -> Resource {
    let mut resource = Resource::new(kind, "", name);
    *resource.spec_mut() = spec.as_object().unwrap().clone();
    resource
}

fn client(store: &MemoryStore) -> Client {
    Client::new(Arc::new(store.clone()))
}

async fn names(store: &MemoryStore, kind: Kind) -> BTreeSet<String> {
    let list = client(store).list(kind, ListOptions::default()).await.unwrap();
    list.items.iter().map(|item| item.name().to_owned()).collect()
}

#[tokio::test]
async fn a_tier_never_goes_from_under_a_policy() {
    for before in 0..POINTS {
        // a policy comes while its tier is deleted
        let store = MemoryStore::new();
        client(&store).create(resource(Kind::Tier, "t", json!({"order": 5}))).await.unwrap();
        let act: Interference = Box::new(|other| {
            let policy = resource(Kind::GlobalNetworkPolicy, "t.p", json!({"tier": "t"}));
            async move { drop(other.create(policy).await) }.boxed()
        });
        let deleted =
            interrupted(&store, before, act).delete(Kind::Tier, "", "t", DeleteOptions::default()).await;
        let policies = names(&store, Kind::GlobalNetworkPolicy).await;
        assert_eq!(deleted.is_ok(), policies.is_empty(), "{before}: {deleted:?} {policies:?}");
        if let Err(refused) = deleted {
            assert!(matches!(refused, ClientError::NotSupported { .. }), "{before}: {refused}");
        }

        // the tier goes while a policy is created
        let store = MemoryStore::new();
        client(&store).create(resource(Kind::Tier, "t", json!({"order": 5}))).await.unwrap();
        let act: Interference = Box::new(|other| {
            async move { drop(other.delete(Kind::Tier, "", "t", DeleteOptions::default()).await) }.boxed()
        });
        let policy = resource(Kind::GlobalNetworkPolicy, "t.p", json!({"tier": "t"}));
        let created = interrupted(&store, before, act).create(policy).await;
        let tiers = names(&store, Kind::Tier).await;
        assert_eq!(created.is_ok(), tiers.contains("t"), "{before}: {created:?} {tiers:?}");
        if let Err(refused) = created {
            assert_eq!(refused.to_string(), "resource does not exist: Tier(t) with error: <nil>", "{before}");
        }
    }
}

#[tokio::test]
async fn pools_never_overlap() {
    for before in 0..POINTS {
        let store = MemoryStore::new();
        let act: Interference = Box::new(|other| {
            let pool = resource(Kind::IPPool, "theirs", json!({"cidr": "10.0.0.0/24"}));
            async move { drop(other.create(pool).await) }.boxed()
        });
        let mine = resource(Kind::IPPool, "mine", json!({"cidr": "10.0.0.0/16"}));
        let created = interrupted(&store, before, act).create(mine).await;
        let pools = names(&store, Kind::IPPool).await;
        assert_eq!(pools.len(), 1, "{before}: {pools:?}");
        assert_eq!(created.is_ok(), pools.contains("mine"), "{before}: {created:?}");
        if let Err(refused) = created {
            assert!(refused.to_string().contains("CIDR overlaps with IPPool(theirs)"), "{before}: {refused}");
        }
    }
}

#[tokio::test]
async fn another_pool_beside_does_not_disturb() {
    for before in 0..POINTS {
        let store = MemoryStore::new();
        let act: Interference = Box::new(|other| {
            let pool = resource(Kind::IPPool, "theirs", json!({"cidr": "10.1.0.0/16"}));
            async move { drop(other.create(pool).await) }.boxed()
        });
        let mine = resource(Kind::IPPool, "mine", json!({"cidr": "10.0.0.0/16"}));
        interrupted(&store, before, act).create(mine).await.unwrap();
    }
}

#[tokio::test]
async fn the_same_name_at_the_same_time() {
    for before in 0..POINTS {
        let store = MemoryStore::new();
        let set = || resource(Kind::GlobalNetworkSet, "s", json!({}));
        let act: Interference = Box::new(move |other| async move { drop(other.create(set()).await) }.boxed());
        let created = interrupted(&store, before, act).create(set()).await;
        let stored = client(&store).get(Kind::GlobalNetworkSet, "", "s").await.unwrap();
        match created {
            Ok(mine) => assert_eq!(mine.uid(), stored.uid(), "{before}"),
            Err(ClientError::AlreadyExists { current, .. }) => {
                assert_eq!(current.unwrap().uid(), stored.uid(), "{before}: who was faster is told");
            }
            Err(other) => panic!("{before}: {other}"),
        }
    }
}

#[tokio::test]
async fn an_update_never_overwrites_what_it_did_not_see() {
    for before in 0..POINTS {
        for deletes in [false, true] {
            let store = MemoryStore::new();
            let made = client(&store).create(resource(Kind::GlobalNetworkSet, "s", json!({}))).await.unwrap();
            let mut theirs = made.clone();
            theirs.set_meta_entry("labels", "from", "them");
            let act: Interference = Box::new(move |other| {
                async move {
                    if deletes {
                        let gone = other.delete(Kind::GlobalNetworkSet, "", "s", DeleteOptions::default());
                        drop(gone.await);
                    } else {
                        drop(other.update(theirs).await);
                    }
                }
                .boxed()
            });
            let mut mine = made.clone();
            mine.set_meta_entry("labels", "from", "me");
            let updated = interrupted(&store, before, act).update(mine).await;
            let stored = client(&store).get(Kind::GlobalNetworkSet, "", "s").await;
            match (updated, deletes) {
                (Ok(mine), _) => assert_eq!(stored.unwrap(), mine, "{before}"),
                (Err(ClientError::UpdateConflict { .. }), false) => {
                    assert_eq!(stored.unwrap().label("from"), Some("them"), "{before}");
                }
                (Err(ClientError::DoesNotExist { .. }), true) => assert!(stored.is_err(), "{before}"),
                (Err(other), _) => panic!("{before}: {other}"),
            }
        }
    }
}

#[tokio::test]
async fn a_delete_with_conditions_takes_only_what_was_meant() {
    for before in 0..POINTS {
        let store = MemoryStore::new();
        let made = client(&store).create(resource(Kind::GlobalNetworkSet, "s", json!({}))).await.unwrap();
        let act: Interference = Box::new(|other| {
            async move {
                // gone and come back: the same name, another object
                drop(other.delete(Kind::GlobalNetworkSet, "", "s", DeleteOptions::default()).await);
                drop(other.create(resource(Kind::GlobalNetworkSet, "s", json!({}))).await);
            }
            .boxed()
        });
        let meant = DeleteOptions { revision: None, uid: Some(made.uid().into()) };
        let deleted = interrupted(&store, before, act).delete(Kind::GlobalNetworkSet, "", "s", meant).await;
        let left = client(&store).get(Kind::GlobalNetworkSet, "", "s").await;
        match deleted {
            Ok(gone) => assert_eq!((gone.uid(), left.is_err()), (made.uid(), true), "{before}"),
            Err(refused) => {
                assert!(refused.is_missing(), "{before}: {refused}");
                assert_ne!(left.unwrap().uid(), made.uid(), "{before}");
            }
        }
    }
}

#[tokio::test]
async fn all_who_start_together_agree_on_the_cluster() {
    for subject in subjects() {
        let name = subject.name;
        let tasks: Vec<_> = (0..8)
            .map(|i| {
                let client = subject.client();
                let known = Bootstrap { cluster_type: format!("type{i},k8s"), version: "v3.33.0".into() };
                tokio::spawn(async move { client.ensure_initialized(known).await })
            })
            .collect();
        for task in tasks {
            task.await.unwrap().unwrap();
        }
        let information = subject.client().get(Kind::ClusterInformation, "", "default").await.unwrap();
        let types = information.spec().get("clusterType").and_then(Value::as_str).unwrap();
        let types: Vec<&str> = types.split(',').collect();
        let distinct: BTreeSet<&str> = types.iter().copied().collect();
        assert_eq!((types.len(), distinct.len()), (9, 9), "{name}: every type once: {types:?}");
        let tiers = subject.client().list(Kind::Tier, ListOptions::default()).await.unwrap();
        assert!(tiers.items.iter().all(|tier| !tier.uid().is_empty()), "{name}");
        assert_eq!(tiers.items.len(), 3, "{name}");
    }
}

#[tokio::test]
async fn a_lock_set_during_the_bootstrap_holds() {
    for before in 0..POINTS {
        let store = MemoryStore::new();
        client(&store).ensure_initialized(Bootstrap::default()).await.unwrap();
        let act: Interference =
            Box::new(|other| async move { other.set_datastore_ready(false).await.unwrap() }.boxed());
        let known = Bootstrap { cluster_type: "k8s".into(), version: "v1".into() };
        let joining = interrupted(&store, before, act);
        joining.ensure_initialized(known).await.unwrap();
        // those who read after the operation's last request act now
        drop(joining.set_datastore_ready(false).await);
        let information = client(&store).get(Kind::ClusterInformation, "", "default").await.unwrap();
        assert_eq!(information.spec().get("datastoreReady"), Some(&json!(false)), "{before}");
        assert_eq!(
            information.spec().get("clusterType"),
            Some(&json!("k8s")),
            "{before}: neither change is lost"
        );
    }
}

/// A store in which a foreign object changes before every transaction.
struct Restless(MemoryStore, AtomicUsize);

impl Datastore for Restless {
    fn range(&self, request: RangeRequest) -> BoxFuture<'_, Result<RangeResponse, StoreError>> {
        self.0.range(request)
    }

    fn txn(&self, txn: Txn) -> BoxFuture<'_, Result<TxnResponse, StoreError>> {
        async move {
            let number = self.1.fetch_add(1, Ordering::Relaxed);
            let cidr = format!("172.16.{}.0/24", number % 256);
            let name = format!("other-{number}");
            drop(client(&self.0).create(resource(Kind::IPPool, &name, json!({"cidr": cidr}))).await);
            self.0.txn(txn).await
        }
        .boxed()
    }

    fn watch(
        &self,
        request: WatchRequest,
    ) -> BoxFuture<'_, Result<BoxStream<'static, Result<WatchResponse, StoreError>>, StoreError>> {
        self.0.watch(request)
    }

    fn lease_grant(&self, ttl: i64) -> BoxFuture<'_, Result<i64, StoreError>> {
        self.0.lease_grant(ttl)
    }
}

#[tokio::test]
async fn a_store_that_never_rests_is_given_up_as_a_conflict() {
    let client = Client::new(Arc::new(Restless(MemoryStore::new(), AtomicUsize::new(0))));
    let refused =
        client.create(resource(Kind::IPPool, "mine", json!({"cidr": "10.0.0.0/16"}))).await.unwrap_err();
    assert_eq!(refused.to_string(), "update conflict: IPPool(mine)");
}
