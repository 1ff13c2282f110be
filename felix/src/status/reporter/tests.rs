use super::*;
use datastore::memory::MemoryStore;
use felix_config::{Configuration, Settings};

fn settings(interval: Option<u64>) -> settings::Status {
    settings::Status {
        endpoints: true,
        delay: Duration::from_millis(20),
        interval: interval.map(Duration::from_secs),
        ..Settings::of(&Configuration::defaults()).status
    }
}

fn told(endpoints: &[(&str, &str)], settings: settings::Status) -> Told {
    let endpoints = endpoints.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
    Told { began: true, settings: Some(settings), endpoints }
}

async fn pairs(store: &MemoryStore) -> BTreeMap<String, (String, i64)> {
    let answer = store.range(RangeRequest::prefix(Bytes::from_static(b"/calico/felix/"))).await.unwrap();
    let text = |bytes: &Bytes| String::from_utf8(bytes.to_vec()).unwrap();
    answer.kvs.iter().map(|pair| (text(&pair.key), (text(&pair.value), pair.lease))).collect()
}

/// Waits until what is there is as it should be.
async fn until(store: &MemoryStore, what: &str, right: impl Fn(&BTreeMap<String, (String, i64)>) -> bool) {
    let deadline = Instant::now() + Duration::from_secs(20);
    loop {
        let found = pairs(store).await;
        if right(&found) {
            return;
        }
        assert!(Instant::now() < deadline, "{what}: {found:#?}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

const WEB: &str = "/calico/felix/v2/no-region/host/node-1/workload/cni/default%2fweb1/endpoint/eth0";
const STRAY: &str = "/calico/felix/v2/no-region/host/node-1/workload/cni/default%2fgone/endpoint/eth0";
const OTHERS: &str = "/calico/felix/v2/no-region/host/node-10/workload/cni/default%2fgone/endpoint/eth0";
const UP: &str = r#"{"status":"up"}"#;
const DOWN: &str = r#"{"status":"down"}"#;

#[test]
fn keys_follow_what_is_told_and_strays_of_this_node_go() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let store = Arc::new(MemoryStore::new());
        for key in [STRAY, OTHERS] {
            let put = PutRequest::new(Bytes::from(key), Bytes::from(UP));
            store.txn(Txn { success: vec![Op::Put(put)], ..Txn::default() }).await.unwrap();
        }
        let (tell, heard) = watch::channel(Told::default());
        let task = tokio::spawn(run(store.clone(), "node-1".to_owned(), heard));
        tell.send_replace(told(&[(WEB, UP)], settings(None)));
        let has = |found: &BTreeMap<String, (String, i64)>, key: &str, value: Option<&str>| {
            found.get(key).map(|(value, _)| value.as_str()) == value
        };
        until(&store, "the key comes, the stray goes, another node's stays", |found| {
            has(found, WEB, Some(UP))
                && has(found, STRAY, None)
                && has(found, OTHERS, Some(UP))
                && found.len() == 2
        })
        .await;
        tell.send_replace(told(&[(WEB, DOWN)], settings(None)));
        until(&store, "down", |found| has(found, WEB, Some(DOWN))).await;
        tell.send_replace(told(&[], settings(None)));
        until(&store, "gone", |found| has(found, WEB, None) && found.len() == 1).await;
        // a delay passes between two writes, however many words were said
        drop(tell);
        task.await.unwrap();
    });
}

#[test]
fn the_agent_reports_itself_with_a_lease_and_to_stay() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let store = Arc::new(MemoryStore::new());
        let (tell, heard) = watch::channel(Told::default());
        let task = tokio::spawn(run(store.clone(), "node-1".to_owned(), heard));
        tell.send_replace(told(&[], settings(Some(1))));
        let [leased, lasting] = keys::reports(None, "node-1");
        until(&store, "both reports", |found| {
            let of = |key: &str| found.get(key).cloned().unwrap_or_default();
            of(&leased).1 != 0
                && of(&lasting).1 == 0
                && of(&leased).0 == of(&lasting).0
                && !of(&lasting).0.is_empty()
        })
        .await;
        assert!(pairs(&store).await[&lasting].0.contains("\"first_update\":true"));
        until(&store, "a second report", |found| found[&lasting].0.contains("\"first_update\":false")).await;
        drop(tell);
        task.await.unwrap();
    });
}
