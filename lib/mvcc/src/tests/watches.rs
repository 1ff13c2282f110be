//! Watches as cursors.

use crate::*;

fn store() -> Store {
    let mut store = Store::new();
    for (key, value) in [("a", "1"), ("x", "1"), ("a", "2"), ("b", "1")] {
        store.put(&PutRequest::new(key, value)).unwrap();
    }
    store.delete(&DeleteRequest::key("a")).unwrap();
    store
}

fn lines(response: Option<WatchResponse>) -> Vec<String> {
    response.map_or(Vec::new(), |response| {
        let line = |event: &Event| {
            let sign = if event.kind == EventKind::Put { '+' } else { '-' };
            let prev = event.prev.as_ref().map(|kv| String::from_utf8_lossy(&kv.value).into_owned());
            let key = String::from_utf8_lossy(&event.kv.key);
            format!(
                "{sign}{key}@{}{}",
                event.kv.mod_revision,
                prev.map(|p| format!("<{p}")).unwrap_or_default()
            )
        };
        response.events.iter().map(line).collect()
    })
}

#[test]
fn from_the_past_with_what_was_before() {
    let store = store();
    let mut watcher = store.watch(WatchRequest::new(KeyRange::prefix("a"), 2));
    assert_eq!(lines(store.poll(&mut watcher, 100).unwrap()), ["+a@2", "+a@4<1", "-a@6<2"]);
    assert_eq!(store.poll(&mut watcher, 100).unwrap(), None);
    assert_eq!(watcher.next_revision(), 7);
    let mut bare = WatchRequest::new(KeyRange::prefix("a"), 4);
    bare.prev_kv = false;
    assert_eq!(lines(store.poll(&mut store.watch(bare), 100).unwrap()), ["+a@4", "-a@6"]);
}

#[test]
fn filters() {
    let store = store();
    let request = WatchRequest::new(KeyRange::prefix("a"), 1);
    let puts = WatchRequest { no_delete: true, ..request.clone() };
    assert_eq!(lines(store.poll(&mut store.watch(puts), 9).unwrap()), ["+a@2", "+a@4<1"]);
    let deletes = WatchRequest { no_put: true, ..request };
    assert_eq!(lines(store.poll(&mut store.watch(deletes), 9).unwrap()), ["-a@6<2"]);
}

#[test]
fn batches_never_split_a_revision() {
    let mut store = Store::new();
    let ops = |names: [&str; 3]| names.map(|name| Op::Put(PutRequest::new(name.to_owned(), ""))).to_vec();
    store.txn(&Txn { success: ops(["c", "a", "b"]), ..Txn::default() }).unwrap();
    store.txn(&Txn { success: ops(["d", "e", "f"]), ..Txn::default() }).unwrap();
    let whole = KeyRange { key: "\0".into(), end: Some("\0".into()) };
    let mut watcher = store.watch(WatchRequest::new(whole, 1));
    let first = store.poll(&mut watcher, 1).unwrap();
    assert_eq!(first.as_ref().map(|message| message.revision), Some(2));
    assert_eq!(lines(first), ["+c@2", "+a@2", "+b@2"], "in the order of the operations");
    assert_eq!(store.progress(&watcher), None, "more is waiting");
    assert_eq!(
        lines(store.poll(&mut watcher, 0).unwrap()),
        ["+d@3", "+e@3", "+f@3"],
        "at least one revision"
    );
    assert_eq!(store.progress(&watcher), Some(WatchResponse { revision: 3, events: vec![] }));
}

#[test]
fn from_now_on_and_from_the_future() {
    let mut store = store();
    let mut now = store.watch(WatchRequest::new(KeyRange::key("k"), 0));
    let mut later = store.watch(WatchRequest::new(KeyRange::key("k"), 9));
    assert_eq!(store.progress(&now).map(|p| p.revision), Some(6));
    assert_eq!(store.progress(&later), None);
    for value in ["1", "2", "3"] {
        store.put(&PutRequest::new("k", value)).unwrap();
    }
    assert_eq!(lines(store.poll(&mut now, 9).unwrap()), ["+k@7", "+k@8<1", "+k@9<2"]);
    assert_eq!(lines(store.poll(&mut later, 9).unwrap()), ["+k@9<2"]);
}

#[test]
fn a_compaction_cancels_who_is_too_late() {
    let mut store = store();
    let mut late = store.watch(WatchRequest::new(KeyRange::prefix("a"), 3));
    let mut just = store.watch(WatchRequest::new(KeyRange::prefix("a"), 6));
    store.compact(6).unwrap();
    assert_eq!(store.poll(&mut late, 9), Err(Error::Compacted { oldest: 6 }));
    assert_eq!(lines(store.poll(&mut just, 9).unwrap()), ["-a@6"], "told, though what was before is gone");
}

#[test]
fn a_new_store_reports_progress_to_a_watch_from_the_beginning() {
    let store = Store::new();
    let watcher = store.watch(WatchRequest::new(KeyRange::key("a"), 1));
    assert_eq!(store.progress(&watcher).map(|p| p.revision), Some(1));
}
