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

/// A store of one block, and how often it was written to.
async fn counted(
    fate: impl Fn(usize) -> Fate + Send + Sync + 'static,
) -> (MemoryStore, Arc<dyn Datastore>, Arc<AtomicUsize>) {
    let memory = furnished("10.80.0.0/26", 26).await;
    let (store, [_, writes]) = asked(&memory, fate).await;
    (memory, store, writes)
}

/// The same of another store, of which node-0 has a block; and how often it was read.
async fn asked(
    memory: &MemoryStore,
    fate: impl Fn(usize) -> Fate + Send + Sync + 'static,
) -> (Arc<dyn Datastore>, [Arc<AtomicUsize>; 2]) {
    Ipam::new(Arc::new(memory.clone())).auto_assign(request(0, "first")).await.unwrap();
    let counts: [Arc<AtomicUsize>; 2] = Default::default();
    let [reads, writes] = counts.clone();
    let store = Disturbed::new(memory.clone(), move |asked| {
        ready(match asked {
            Asked::Read => {
                reads.fetch_add(1, Ordering::SeqCst);
                Fate::Answered
            }
            Asked::Write => fate(writes.fetch_add(1, Ordering::SeqCst) + 1),
        })
        .boxed()
    });
    (Arc::new(store), counts)
}

/// What knows its blocks.
async fn warm(store: Arc<dyn Datastore>) -> Shared {
    let shared = Shared::new(store, "node-0");
    shared.known().await;
    assert!(shared.offer(&request(0, "probe")).await.is_some(), "it is looked at");
    shared
}

fn endpoint(number: usize) -> Along {
    let key = format!("/endpoint/{number}");
    Along { compare: vec![Compare::absent(key.clone())], success: vec![Op::Put(PutRequest::new(key, "e"))] }
}

async fn offers(shared: &Shared, count: usize) -> Vec<Offer> {
    let offers = wanted(shared, 0, count).await;
    offers.into_iter().map(Option::unwrap).collect()
}

/// What so many calls are offered that come together, numbered from `first` on.
async fn wanted(shared: &Shared, first: usize, count: usize) -> Vec<Option<Offer>> {
    let requests: Vec<_> = (first..first + count).map(|number| request(0, &format!("h{number}"))).collect();
    join_all(requests.iter().map(|request| shared.offer(request))).await
}

async fn crowd(shared: &Shared, count: usize) -> BTreeSet<std::net::IpAddr> {
    let offers = offers(shared, count).await;
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
    let offers = offers(&shared, 3).await;
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
    let offer = shared.offer(&request(0, "h")).await.unwrap();
    let address = offer.addresses()[0].address;
    // somebody who looks takes the same one first
    let taken = Ipam::new(Arc::new(memory.clone())).auto_assign(request(0, "other")).await.unwrap();
    assert_eq!(taken.v4.assigned[0].address, address);
    assert_eq!(offer.take(endpoint(0)).await.unwrap(), None);
    assert_eq!(writes.load(Ordering::SeqCst), 1, "one that was too old");
    let next = shared.offer(&request(0, "h")).await.unwrap();
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
    let offers = offers(&shared, 2).await;
    let written = join_all(offers.into_iter().enumerate().map(|(n, offer)| offer.take(endpoint(n)))).await;
    assert!(written.iter().all(Result::is_err), "{written:?}");
    // it was carried out: whoever asked releases by handle, and nothing of it is given a second time
    let ipam = Ipam::new(Arc::new(memory.clone()));
    let held: Vec<_> = ipam.ips_by_handle("h0").await.unwrap();
    let shared_again = warm(Arc::new(memory.clone())).await;
    let offer = shared_again.offer(&request(0, "late")).await.unwrap();
    assert_ne!(offer.addresses()[0].address, held[0].address);
    assert!(ipam.release_by_handles(vec!["h0".into(), "h1".into()]).await.unwrap().is_some());
}

#[tokio::test]
async fn an_offer_that_is_dropped_is_free_again() {
    let (_, store, _) = counted(|_| Fate::Answered).await;
    let shared = warm(store).await;
    let first = shared.offer(&request(0, "a")).await.unwrap().addresses()[0];
    assert_eq!(shared.offer(&request(0, "b")).await.unwrap().addresses()[0], first);
}

#[tokio::test]
async fn what_was_given_by_others_is_released_after_a_look_at_its_handle() {
    let memory = furnished("10.80.0.0/25", 26).await;
    let (store, [_, writes]) = asked(&memory, |_| Fate::Answered).await;
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

async fn take_all(offers: Vec<Option<Offer>>, first: usize) -> BTreeSet<std::net::IpAddr> {
    let offers: Vec<Offer> = offers.into_iter().flatten().collect();
    let addresses = offers.iter().map(|offer| offer.addresses()[0].address).collect();
    let written = join_all(offers.into_iter().zip(first..).map(|(offer, n)| offer.take(endpoint(n)))).await;
    assert!(written.iter().all(|result| matches!(result, Ok(Some(_)))), "{written:?}");
    addresses
}

#[tokio::test]
async fn the_next_block_is_claimed_ahead_of_the_last_address() {
    let memory = furnished("10.80.0.0/24", 26).await;
    let (store, [reads, writes]) = asked(&memory, |_| Fate::Answered).await;
    let shared = warm(store).await;
    let learnt = reads.load(Ordering::SeqCst);
    // of 63 seven are left: nobody waits for what is claimed behind them
    assert_eq!(take_all(wanted(&shared, 0, 56).await, 0).await.len(), 56);
    let until = std::time::Instant::now() + std::time::Duration::from_secs(20);
    while keys(&memory, "/assignment/").await < 2 {
        assert!(std::time::Instant::now() < until, "no block is claimed");
        tokio::task::yield_now().await;
    }
    shared.known().await;
    let (read, written) = (reads.load(Ordering::SeqCst) - learnt, writes.load(Ordering::SeqCst));
    assert!(read <= 5, "{read} reads for one block");
    assert_eq!(written, 2 + 1, "40 and 16, and the block");
    // a crowd that goes over the end of the first block is as quick as any
    while shared.offer(&request(0, "probe")).await.is_none() {}
    let before = reads.load(Ordering::SeqCst);
    assert_eq!(take_all(wanted(&shared, 56, 40).await, 56).await.len(), 40);
    assert_eq!((reads.load(Ordering::SeqCst), writes.load(Ordering::SeqCst)), (before, written + 1));
    assert_eq!(keys(&memory, "/assignment/").await, 2, "one ahead, and no more");
}

#[tokio::test]
async fn a_crowd_that_finds_no_address_left_waits_for_one_claim() {
    let memory = furnished("10.80.0.0/24", 26).await;
    let (store, [reads, writes]) = asked(&memory, |_| Fate::Answered).await;
    let shared = warm(store).await;
    let learnt = reads.load(Ordering::SeqCst);
    let offers = wanted(&shared, 0, 150).await;
    assert!(offers.iter().all(Option::is_some), "nobody goes the long way");
    assert_eq!(take_all(offers, 0).await.len(), 150);
    let (read, written) = (reads.load(Ordering::SeqCst) - learnt, writes.load(Ordering::SeqCst));
    // 63 are there: two blocks more, both in one transaction
    assert_eq!(keys(&memory, "/assignment/").await, 3);
    assert!(read <= 10, "{read} reads for a crowd");
    assert!(written <= 2 + 4, "{written} writes for a crowd");
}

#[tokio::test]
async fn a_crowd_in_a_pool_that_is_full_looks_once_and_is_told() {
    let memory = furnished("10.80.0.0/26", 26).await;
    let (store, [reads, _]) = asked(&memory, |_| Fate::Answered).await;
    let shared = warm(store).await;
    assert_eq!(take_all(wanted(&shared, 0, 63).await, 0).await.len(), 63);
    shared.known().await;
    let before = reads.load(Ordering::SeqCst);
    assert!(wanted(&shared, 63, 40).await.iter().all(Option::is_none));
    let read = reads.load(Ordering::SeqCst) - before;
    assert!(read <= 12, "{read} reads for a crowd that gets nothing");
    assert_eq!(keys(&memory, "/assignment/").await, 1);
}

#[tokio::test]
async fn a_crowd_beyond_all_places_goes_the_long_way() {
    let memory = furnished("10.80.0.0/20", 22).await;
    let (store, _) = asked(&memory, |_| Fate::Answered).await;
    let shared = warm(store).await;
    let offers = offers(&shared, 600).await;
    let written = join_all(offers.into_iter().enumerate().map(|(n, offer)| offer.take(endpoint(n)))).await;
    let taken = written.iter().filter(|result| matches!(result, Ok(Some(_)))).count();
    assert!(written.iter().all(Result::is_ok));
    assert!((500..600).contains(&taken), "{taken}");
    // what was not written is free again
    assert_eq!(keys(&memory, "/handle/").await, taken + 1);
    assert_eq!(take_all(wanted(&shared, 600, 400).await, 600).await.len(), 400);
}
