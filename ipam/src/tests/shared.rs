//! Calls that come together, over a store that fails.

use super::{furnished, keys, request};
use crate::{Along, Ipam, Offer, Shared};
use datastore::memory::{Asked, Disturbed, Fate, MemoryStore};
use datastore::{Datastore, StoreError};
use futures::future::{FutureExt, join_all, ready};
use mvcc::{Compare, DeleteRequest, Op, PutRequest};
use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// A store, and how often it was written to.
async fn counted(
    fate: impl Fn(usize) -> Fate + Send + Sync + 'static,
) -> (MemoryStore, Arc<dyn Datastore>, Arc<AtomicUsize>) {
    let memory = furnished("10.80.0.0/25", 26).await;
    Ipam::new(Arc::new(memory.clone())).auto_assign(request(0, "first")).await.unwrap();
    let writes = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&writes);
    let store = Disturbed::new(memory.clone(), move |asked| {
        ready(match asked {
            Asked::Read => Fate::Answered,
            Asked::Write => fate(count.fetch_add(1, Ordering::SeqCst) + 1),
        })
        .boxed()
    });
    (memory, Arc::new(store), writes)
}

/// What knows its blocks.
async fn warm(store: Arc<dyn Datastore>) -> Shared {
    let shared = Shared::new(store, "node-0");
    shared.known().await;
    assert!(shared.offer(&request(0, "probe")).is_some(), "it is looked at");
    shared
}

fn endpoint(number: usize) -> Along {
    let key = format!("/endpoint/{number}");
    Along { compare: vec![Compare::absent(key.clone())], success: vec![Op::Put(PutRequest::new(key, "e"))] }
}

fn offers(shared: &Shared, count: usize) -> Vec<Offer> {
    (0..count).map(|number| shared.offer(&request(0, &format!("h{number}"))).unwrap()).collect()
}

async fn crowd(shared: &Shared, count: usize) -> BTreeSet<std::net::IpAddr> {
    let offers = offers(shared, count);
    let addresses = offers.iter().map(|offer| offer.addresses()[0].address).collect();
    let written = join_all(offers.into_iter().enumerate().map(|(n, offer)| offer.take(endpoint(n)))).await;
    assert!(written.iter().all(|result| matches!(result, Ok(Some(_)))), "{written:?}");
    addresses
}

#[tokio::test]
async fn a_crowd_costs_few_writes_and_nobody_reads() {
    let (memory, store, writes) = counted(|_| Fate::Answered).await;
    let shared = warm(store).await;
    assert_eq!(crowd(&shared, 60).await.len(), 60, "each address once");
    assert_eq!(writes.load(Ordering::SeqCst), 2, "40 and 20");
    assert_eq!(keys(&memory, "/handle/").await, 61);
    let releases = (0..60).map(|n| {
        let along = Along {
            compare: vec![Compare::exists(format!("/endpoint/{n}"))],
            success: vec![Op::Delete(DeleteRequest::key(format!("/endpoint/{n}")))],
        };
        let shared = shared.clone();
        async move { shared.release(&format!("h{n}"), along).await }
    });
    assert!(join_all(releases).await.iter().all(|result| matches!(result, Ok(Some(_)))));
    assert_eq!(keys(&memory, "/handle/").await, 1);
    assert_eq!(writes.load(Ordering::SeqCst), 4);
    assert_eq!(shared.release("h1", Along::default()).await.unwrap(), None, "it is released");
}

#[tokio::test]
async fn a_server_that_takes_fewer_operations_is_given_fewer() {
    let (memory, store, writes) = counted(|number| match number {
        1 | 2 => Fate::Refused(StoreError::TooManyOps),
        _ => Fate::Answered,
    })
    .await;
    let shared = warm(store).await;
    assert_eq!(crowd(&shared, 40).await.len(), 40);
    assert_eq!(writes.load(Ordering::SeqCst), 2 + 4, "halved twice: ten at a time");
    assert_eq!(keys(&memory, "/handle/").await, 41);
}

#[tokio::test]
async fn one_whose_condition_does_not_hold_holds_up_nobody() {
    let (memory, store, _) = counted(|_| Fate::Answered).await;
    let shared = warm(store).await;
    let offers = offers(&shared, 3);
    let along = [endpoint(0), Along { compare: vec![Compare::exists("/no")], ..endpoint(1) }, endpoint(2)];
    let written = join_all(offers.into_iter().zip(along).map(|(offer, along)| offer.take(along))).await;
    let which: Vec<bool> = written.into_iter().map(|result| result.unwrap().is_some()).collect();
    assert_eq!(which, [true, false, true]);
    assert_eq!(keys(&memory, "/handle/h1").await, 0);
}

#[tokio::test]
async fn what_others_write_meanwhile_is_noticed() {
    let (memory, store, writes) = counted(|_| Fate::Answered).await;
    let shared = warm(store).await;
    let offer = shared.offer(&request(0, "h")).unwrap();
    let address = offer.addresses()[0].address;
    // somebody who looks takes the same one first
    let taken = Ipam::new(Arc::new(memory.clone())).auto_assign(request(0, "other")).await.unwrap();
    assert_eq!(taken.v4.assigned[0].address, address);
    assert_eq!(offer.take(endpoint(0)).await.unwrap(), None);
    assert_eq!(writes.load(Ordering::SeqCst), 1, "one that was too old");
    let next = shared.offer(&request(0, "h")).unwrap();
    assert_ne!(next.addresses()[0].address, address);
    assert!(next.take(endpoint(0)).await.unwrap().is_some());
}

#[tokio::test]
async fn an_answer_that_is_lost_is_told_to_all_who_were_in_it() {
    let (memory, store, _) = counted(|number| match number {
        1 => Fate::Lost(StoreError::Unavailable("no answer".into())),
        _ => Fate::Answered,
    })
    .await;
    let shared = warm(store).await;
    let offers = offers(&shared, 2);
    let written = join_all(offers.into_iter().enumerate().map(|(n, offer)| offer.take(endpoint(n)))).await;
    assert!(written.iter().all(Result::is_err), "{written:?}");
    // it was carried out: whoever asked releases by handle, and nothing of it is given a second time
    let ipam = Ipam::new(Arc::new(memory.clone()));
    let held: Vec<_> = ipam.ips_by_handle("h0").await.unwrap();
    let shared_again = warm(Arc::new(memory.clone())).await;
    let offer = shared_again.offer(&request(0, "late")).unwrap();
    assert_ne!(offer.addresses()[0].address, held[0].address);
    assert!(ipam.release_by_handles(vec!["h0".into(), "h1".into()]).await.unwrap().is_some());
}

#[tokio::test]
async fn an_offer_that_is_dropped_is_free_again() {
    let (_, store, _) = counted(|_| Fate::Answered).await;
    let shared = warm(store).await;
    let first = shared.offer(&request(0, "a")).unwrap().addresses()[0];
    assert_eq!(shared.offer(&request(0, "b")).unwrap().addresses()[0], first);
}

#[tokio::test]
async fn what_was_given_by_others_is_released_after_a_look_at_its_handle() {
    let (memory, store, writes) = counted(|_| Fate::Answered).await;
    let ipam = Ipam::new(Arc::new(memory.clone()));
    ipam.auto_assign(request(0, "second")).await.unwrap();
    // one of another node's block
    ipam.auto_assign(request(1, "elsewhere")).await.unwrap();
    let shared = Shared::new(store, "node-0");
    let all =
        ["first", "second", "elsewhere", "nobody"].map(|handle| shared.release(handle, Along::default()));
    let which: Vec<bool> = join_all(all).await.into_iter().map(|result| result.unwrap().is_some()).collect();
    assert_eq!(which, [true, true, false, false]);
    assert_eq!(writes.load(Ordering::SeqCst), 1);
    assert_eq!(keys(&memory, "/handle/").await, 1, "that of the other node");
}
