//! A store taken to pieces and put together again is the same store.

use crate::{DeleteRequest, KeyRange, Limits, PutRequest, RangeRequest, Record, Store, WatchRequest};
use proptest::prelude::*;
use std::time::Duration;

fn all(store: &Store) -> Vec<Record> {
    store.records_after(0).collect()
}

proptest! {
    #[test]
    fn any_store_comes_back(steps in proptest::collection::vec((0u8..6, 0u8..5, 0i64..40), 1..80)) {
        let mut store = Store::new();
        let now = Duration::from_secs(5);
        let (lease, _) = store.lease_grant(7, 60, now).unwrap();
        let mut kept: Vec<Record> = Vec::new();
        for (what, key, number) in steps {
            let key = format!("k{key}");
            let before = store.revision();
            match what {
                0 => drop(store.delete(&DeleteRequest::key(key)).unwrap()),
                1 => drop(store.put(&PutRequest { lease, ..PutRequest::new(key, "l") }).unwrap()),
                2 => drop(store.delete(&DeleteRequest::prefix("k")).unwrap()),
                3 => {
                    // what a compaction tells is exactly what need not be kept any more
                    if let Ok(gone) = store.compact(store.revision().min(number)) {
                        for forgotten in gone {
                            let found = kept.iter().position(|r| r.revision == forgotten.revision && r.key == forgotten.key);
                            kept.remove(found.unwrap());
                        }
                    }
                }
                _ => drop(store.put(&PutRequest::new(key, number.to_string())).unwrap()),
            }
            kept.extend(store.records_after(before));
        }
        let (again, gone) = Store::restore(Limits::default(), store.compacted(), store.lease_record(lease), kept);
        prop_assert!(gone.is_empty());
        prop_assert_eq!(again.revision(), store.revision());
        prop_assert_eq!(again.compacted(), store.compacted());
        prop_assert_eq!(all(&again), all(&store));
        let existing = store.range(&RangeRequest::prefix("k")).unwrap().count;
        prop_assert_eq!((store.key_count() as i64, again.key_count() as i64), (existing, existing));
        prop_assert_eq!(again.lease_info(lease, now), store.lease_info(lease, now));
        for revision in store.compacted().max(1)..=store.revision() {
            let request = RangeRequest { revision, ..RangeRequest::prefix("k") };
            prop_assert_eq!(again.range(&request), store.range(&request));
            let watch = WatchRequest::new(KeyRange::prefix("k"), revision);
            prop_assert_eq!(again.events_at(revision, &watch), store.events_at(revision, &watch));
        }
    }
}

#[test]
fn records_of_a_compaction_that_was_not_finished_are_forgotten_again() {
    let mut store = Store::new();
    for value in ["1", "2", "3"] {
        store.put(&PutRequest::new("a", value)).unwrap();
    }
    let records = all(&store);
    let gone = store.compact(4).unwrap();
    let (again, found) = Store::restore(Limits::default(), 4, [], records);
    assert_eq!(found, gone);
    assert_eq!(all(&again), all(&store));
    assert_eq!(again.revision(), 4);
}
