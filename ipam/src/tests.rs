mod shared;

use crate::{AssignIpRequest, AutoAssignRequest, Ipam, IpamConfig, IpamError, PlanError, Release};
use datastore::memory::{Disturbed, Fate, MemoryStore};
use datastore::{Datastore, StoreError};
use futures::future::{FutureExt, join_all, ready};
use model::key::{Key, Owner};
use model::{Kind, net::Cidr};
use mvcc::{Op, PutRequest, RangeRequest, Txn};
use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// A store that counts transactions in `asked` and does the `lost`-th of them, from 1 on, without answering.
fn unreliable(inner: MemoryStore, lost: usize, asked: &Arc<AtomicUsize>) -> Arc<dyn Datastore> {
    let asked = Arc::clone(asked);
    Arc::new(Disturbed::new(inner, move |_| {
        let fate = match asked.fetch_add(1, Ordering::SeqCst) + 1 {
            number if number == lost => Fate::Lost(StoreError::Unavailable("no answer".into())),
            _ => Fate::Answered,
        };
        ready(fate).boxed()
    }))
}

async fn furnished(pool: &str, block_size: u8) -> MemoryStore {
    let store = MemoryStore::new();
    let mut txn = Txn::default();
    for node in 0..4 {
        let value = format!(r#"{{"kind":"Node","metadata":{{"name":"node-{node}"}}}}"#);
        let key = Key::resource(Kind::Node, "", &format!("node-{node}"));
        txn.success.push(Op::Put(PutRequest::new(key.path(), value)));
    }
    let value = format!(
        r#"{{"kind":"IPPool","metadata":{{"name":"p"}},"spec":{{"cidr":"{pool}","blockSize":{block_size}}}}}"#
    );
    txn.success.push(Op::Put(PutRequest::new(Key::resource(Kind::IPPool, "", "p").path(), value)));
    store.txn(txn).await.unwrap();
    store
}

fn request(node: usize, handle: &str) -> AutoAssignRequest {
    AutoAssignRequest {
        handle: Some(handle.to_owned()),
        ..AutoAssignRequest::for_workload(&format!("node-{node}"), 1, 0)
    }
}

async fn keys(store: &MemoryStore, part: &str) -> usize {
    let all = store.range(RangeRequest::prefix("/calico/ipam/")).await.unwrap();
    all.kvs.iter().filter(|kv| String::from_utf8_lossy(&kv.key).contains(part)).count()
}

#[tokio::test]
async fn sixty_four_at_once_get_sixty_four_addresses() {
    let store = furnished("10.80.0.0/26", 28).await;
    let ipam = Ipam::new(Arc::new(store.clone()));
    let requests = (0..64).map(|n| {
        let ipam = ipam.clone();
        tokio::spawn(async move { ipam.auto_assign(request(n % 4, &format!("h{n}"))).await })
    });
    let mut addresses = BTreeSet::new();
    for outcome in join_all(requests).await {
        addresses.insert(outcome.unwrap().unwrap().v4.assigned[0].address);
    }
    assert_eq!(addresses.len(), 64, "the whole pool, each address once");
    assert_eq!(keys(&store, "/handle/").await, 64);
    let refusal = ipam.auto_assign(request(0, "late")).await.unwrap_err();
    assert!(matches!(refusal.refusal(), Some(PlanError::Short(_))), "{refusal}");

    let releases = (0..64).map(|n| {
        let ipam = ipam.clone();
        tokio::spawn(async move { ipam.release_by_handle(&format!("h{n}")).await })
    });
    for outcome in join_all(releases).await {
        assert_eq!(outcome.unwrap().unwrap().len(), 1);
    }
    assert_eq!(keys(&store, "/handle/").await, 0);
    assert!(ipam.blocks().await.unwrap().iter().all(|block| block.attributes.is_empty()));
}

#[tokio::test]
async fn three_requests_one_after_another() {
    let asked = Arc::new(AtomicUsize::new(0));
    let store = unreliable(furnished("10.80.0.0/26", 26).await, 0, &asked);
    let ipam = Ipam::new(store.clone());
    ipam.auto_assign(request(0, "a")).await.unwrap();
    for (work, most) in [("assign", 3), ("release", 3)] {
        let before = asked.load(Ordering::SeqCst);
        match work {
            "assign" => drop(ipam.auto_assign(request(0, "b")).await.unwrap()),
            _ => drop(ipam.release_by_handle("b").await.unwrap()),
        }
        assert_eq!(asked.load(Ordering::SeqCst) - before, most, "{work}");
    }
}

#[tokio::test]
async fn after_a_lost_answer_a_release_puts_all_right() {
    for lost in 1..=3 {
        let memory = furnished("10.80.0.0/26", 26).await;
        let ipam = Ipam::new(unreliable(memory.clone(), lost, &Arc::default()));
        let error = ipam.auto_assign(request(0, "h")).await.unwrap_err();
        assert!(matches!(error, IpamError::Store(StoreError::Unavailable(_))), "{error}");
        assert!(error.refusal().is_none());
        let written = keys(&memory, "/handle/").await;
        assert_eq!(written, usize::from(lost == 3), "the third request is the one that writes");
        let released = ipam.release_by_handles(vec!["h".into()]).await.unwrap();
        assert_eq!(released.map(|released| released.len()), (lost == 3).then_some(1));
        assert_eq!(keys(&memory, "/handle/").await, 0);
    }
}

#[tokio::test]
async fn every_operation_reaches_its_plan() {
    let memory = furnished("10.80.0.0/26", 28).await;
    let ipam = Ipam::new(Arc::new(memory));
    let owner = Owner::Host("node-0".into());
    let range: Cidr = "10.80.0.0/27".parse().unwrap();
    assert_eq!(ipam.claim_affinity(owner.clone(), range).await.unwrap().claimed.len(), 2);
    let given = AssignIpRequest {
        address: "10.80.0.5".parse().unwrap(),
        owner: owner.clone(),
        handle: Some("s".into()),
        attributes: [("pod".to_owned(), "x".to_owned())].into(),
        intended_use: None,
        max_per_handle: 0,
        host_reserved: None,
    };
    let address = ipam.assign_ip(given).await.unwrap().address;
    assert_eq!(ipam.lookup(address).await.unwrap().unwrap().attributes["pod"], "x");
    assert_eq!(ipam.ips_by_handle("s").await.unwrap().len(), 1);
    assert_eq!(ipam.utilization(Vec::new()).await.unwrap()[0].in_use, 1);
    let not_empty = ipam.release_affinity(owner, range, true).await.unwrap_err();
    assert_eq!(not_empty.to_string(), "block '10.80.0.0/28' is not empty");
    assert_eq!(ipam.blocks().await.unwrap().len(), 1, "the empty one went");
    let outcome = ipam.release_ips(vec![Release::unconditional(address)]).await.unwrap();
    assert_eq!(outcome.released.len(), 1);
    assert!(matches!(ipam.release_by_handle("s").await.unwrap_err().refusal(), Some(PlanError::NoHandle(_))));
    ipam.release_host_affinities("node-0", true).await.unwrap();
    assert!(ipam.blocks().await.unwrap().is_empty());
    ipam.auto_assign(request(1, "h")).await.unwrap();
    ipam.release_pool_affinities("10.80.0.0/26".parse().unwrap()).await.unwrap();
    ipam.remove_host("node-1").await.unwrap();
    assert_eq!(ipam.blocks().await.unwrap()[0].affinity, None);
    let strict = IpamConfig { strict_affinity: true, ..ipam.config().await.unwrap() };
    ipam.set_config(strict.clone()).await.unwrap();
    assert_eq!(ipam.config().await.unwrap(), strict);
}
