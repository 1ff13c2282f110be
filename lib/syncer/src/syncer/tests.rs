use super::*;
use mvcc::{DeleteRequest, EventKind, PutRequest, RangeRequest, Store, WatchRequest};
use proptest::prelude::*;
use std::collections::BTreeMap;

const A: RootId = RootId(0);
const B: RootId = RootId(1);

fn syncer() -> Syncer {
    Syncer::new([KeyRange::prefix("/a/"), KeyRange::prefix("/b/")])
}

fn kv(key: &str, revision: Revision) -> KeyValue {
    KeyValue {
        key: key.to_owned().into(),
        value: format!("{key}@{revision}").into(),
        create_revision: revision,
        mod_revision: revision,
        version: 1,
        lease: 0,
    }
}

fn put(key: &str, revision: Revision) -> Event {
    Event { kind: EventKind::Put, kv: kv(key, revision), prev: None }
}

fn delete(key: &str, revision: Revision) -> Event {
    Event { kind: EventKind::Delete, kv: KeyValue { value: Bytes::new(), ..kv(key, revision) }, prev: None }
}

fn whole(revision: Revision, kvs: Vec<KeyValue>) -> Page {
    Page { revision, kvs, first: true, last: true }
}

fn message(revision: Revision, events: Vec<Event>) -> WatchResponse {
    WatchResponse { revision, events }
}

fn told(output: &Output) -> Vec<String> {
    let text = |key: &Bytes| String::from_utf8_lossy(key).into_owned();
    let line = |change: &Change| match change {
        Change::Put(kv) => format!("+{}@{}", text(&kv.key), kv.mod_revision),
        Change::Delete { key, revision } => format!("-{}@{revision}", text(key)),
    };
    output.changes.iter().map(line).collect()
}

#[test]
fn in_sync_after_the_last_list_and_only_once() {
    let mut syncer = syncer();
    assert_eq!(syncer.status(), Status::WaitForDatastore);
    assert_eq!((syncer.next(A), syncer.next(B)), (Some(Next::List), Some(Next::List)));
    let first = syncer.listed(A, whole(5, vec![kv("/a/x", 3)])).unwrap();
    assert_eq!((told(&first), first.became_in_sync), (vec!["+/a/x@3".to_owned()], false));
    assert_eq!(syncer.status(), Status::ResyncInProgress);
    assert_eq!(syncer.next(A), Some(Next::Watch { from: 6 }));
    let second = syncer.listed(B, whole(6, vec![])).unwrap();
    assert!(second.became_in_sync && second.changes.is_empty());
    assert_eq!(syncer.status(), Status::InSync);
    syncer.lost(A);
    assert_eq!((syncer.next(A), syncer.status()), (Some(Next::List), Status::InSync));
    let again = syncer.listed(A, whole(9, vec![kv("/a/x", 3)])).unwrap();
    assert_eq!(again, Output::default(), "nothing changed, nothing said");
    assert_eq!(syncer.next(RootId(7)), None);
}

#[test]
fn a_syncer_without_roots_has_nothing_to_wait_for() {
    let mut none = Syncer::new([]);
    assert!(none.listed(A, whole(1, vec![])).unwrap().became_in_sync);
}

#[test]
fn a_new_list_is_a_difference() {
    let mut syncer = syncer();
    syncer.listed(A, whole(5, vec![kv("/a/same", 2), kv("/a/gone", 3), kv("/a/new", 4)])).unwrap();
    syncer.lost(A);
    let again =
        syncer.listed(A, whole(20, vec![kv("/a/fresh", 15), kv("/a/new", 12), kv("/a/same", 2)])).unwrap();
    assert_eq!(told(&again), ["+/a/fresh@15", "+/a/new@12", "-/a/gone@20"]);
    assert_eq!(syncer.len(), 3);
    assert_eq!(syncer.next(A), Some(Next::Watch { from: 21 }));
}

fn page(revision: Revision, kvs: Vec<KeyValue>, first: bool, last: bool) -> Page {
    Page { revision, kvs, first, last }
}

#[test]
fn a_list_in_pages_is_told_page_by_page() {
    let mut syncer = Syncer::new([KeyRange::prefix("/a/")]);
    let first = syncer.listed(A, page(9, vec![kv("/a/1", 2), kv("/a/2", 3)], true, false)).unwrap();
    assert_eq!((told(&first).len(), first.more, first.became_in_sync), (2, true, false));
    assert_eq!((syncer.status(), syncer.next(A)), (Status::WaitForDatastore, Some(Next::List)));
    let last = syncer.listed(A, page(9, vec![kv("/a/3", 4)], false, true)).unwrap();
    assert_eq!((told(&last), last.more, last.became_in_sync), (vec!["+/a/3@4".to_owned()], false, true));
    assert_eq!(syncer.next(A), Some(Next::Watch { from: 10 }));

    syncer.lost(A);
    let first = syncer.listed(A, page(20, vec![kv("/a/0", 15), kv("/a/2", 3)], true, false)).unwrap();
    assert_eq!(told(&first), ["+/a/0@15", "-/a/1@20"], "what lies behind the page is not spoken of");
    assert!(first.more);
    let last = syncer.listed(A, page(20, vec![], false, true)).unwrap();
    assert_eq!((told(&last), last.more), (vec!["-/a/3@20".to_owned()], false));
}

#[test]
fn a_list_that_was_given_up_begins_anew() {
    let mut syncer = Syncer::new([KeyRange::prefix("/a/")]);
    syncer.listed(A, whole(5, vec![kv("/a/1", 2), kv("/a/2", 3), kv("/a/3", 4)])).unwrap();
    syncer.lost(A);
    syncer.listed(A, page(10, vec![kv("/a/1", 2), kv("/a/2", 3)], true, false)).unwrap();
    // own writes while the list is under way
    assert_eq!(told(&syncer.wrote([put("/a/9", 12), delete("/a/1", 13)])), ["+/a/9@12", "-/a/1@13"]);
    let again = syncer.listed(A, page(11, vec![kv("/a/1", 2), kv("/a/2", 7)], true, false)).unwrap();
    assert_eq!(told(&again), ["+/a/2@7"]);
    let last = syncer.listed(A, page(11, vec![kv("/a/4", 8)], false, true)).unwrap();
    assert_eq!(told(&last), ["+/a/4@8", "-/a/3@11"]);
    assert_eq!((syncer.len(), syncer.revision_of(b"/a/9"), syncer.revision_of(b"/a/1")), (3, Some(12), None));
}

#[test]
fn doubled_and_late_events_do_nothing() {
    let mut syncer = syncer();
    syncer.listed(A, whole(5, vec![kv("/a/x", 5)])).unwrap();
    assert_eq!(told(&syncer.watched(A, message(7, vec![put("/a/x", 6), delete("/a/x", 7)]))).len(), 2);
    let again = syncer.watched(A, message(7, vec![put("/a/x", 5), put("/a/x", 6), delete("/a/x", 7)]));
    assert_eq!(again, Output::default());
    assert!(syncer.is_empty());
    assert_eq!(told(&syncer.watched(A, message(8, vec![put("/a/x", 8)]))), ["+/a/x@8"]);
    assert_eq!(syncer.next(A), Some(Next::Watch { from: 9 }));
    syncer.watched(A, message(30, vec![]));
    assert_eq!(
        syncer.next(A),
        Some(Next::Watch { from: 31 }),
        "a progress report moves the start of the next watch"
    );
}

#[test]
fn own_writes_are_never_undone_by_late_events() {
    let mut syncer = syncer();
    syncer.listed(A, whole(5, vec![kv("/a/x", 4)])).unwrap();
    assert_eq!(told(&syncer.wrote([put("/a/x", 9), put("/a/y", 9)])), ["+/a/x@9", "+/a/y@9"]);
    assert_eq!(told(&syncer.wrote([delete("/a/y", 10)])), ["-/a/y@10"]);
    // the watch is behind: another's write to x, our first write of y
    assert_eq!(
        syncer.watched(A, message(9, vec![put("/a/x", 7), put("/a/x", 9), put("/a/y", 9)])),
        Output::default()
    );
    assert_eq!(syncer.watched(A, message(10, vec![delete("/a/y", 10)])), Output::default());
    assert_eq!(syncer.revision_of(b"/a/x"), Some(9));
    assert_eq!(syncer.revision_of(b"/a/y"), None);
    assert_eq!(syncer.wrote([put("/elsewhere", 11)]), Output::default(), "no root's business");
}

/// All ways in which two streams come, each in its own order.
fn merges<T: Copy>(a: &[T], b: &[T]) -> Vec<Vec<T>> {
    let (Some((first_a, rest_a)), Some((first_b, rest_b))) = (a.split_first(), b.split_first()) else {
        return vec![[a, b].concat()];
    };
    let begin = |first: T, rest: Vec<Vec<T>>| -> Vec<Vec<T>> {
        rest.into_iter().map(|rest| [&[first], rest.as_slice()].concat()).collect()
    };
    [begin(*first_a, merges(rest_a, b)), begin(*first_b, merges(a, rest_b))].concat()
}

/// A pod is recreated under its name: the endpoint of the one before was written at 4, deleted at 7, and written anew at 9.
#[test]
fn an_endpoint_written_under_an_old_name_stays_in_every_order() {
    #[derive(Debug, Clone, Copy)]
    enum Come {
        Watched(Revision),
        Wrote(Revision),
        /// A list between the two, of nothing.
        Listed,
    }
    use Come::{Listed, Watched, Wrote};
    let event = |revision| match revision {
        7 => delete("/a/w", 7),
        _ => put("/a/w", revision),
    };
    let watches: [&[Come]; 3] =
        [&[Watched(7), Watched(9)], &[Listed, Watched(9)], &[Watched(7), Listed, Watched(9)]];
    let writes: [&[Come]; 3] = [&[Wrote(9)], &[Wrote(7), Wrote(9)], &[Wrote(4), Wrote(7), Wrote(9)]];
    let mut orders = 0;
    for steps in watches.iter().flat_map(|watch| writes.iter().flat_map(|wrote| merges(watch, wrote))) {
        let mut syncer = syncer();
        syncer.listed(A, whole(5, vec![kv("/a/w", 4)])).unwrap();
        let mut all = Vec::new();
        for step in &steps {
            let output = match *step {
                Watched(revision) => syncer.watched(A, message(revision, vec![event(revision)])),
                Wrote(revision) => syncer.wrote([event(revision)]),
                Listed => {
                    syncer.lost(A);
                    syncer.listed(A, whole(8, vec![])).unwrap()
                }
            };
            all.extend(told(&output));
            let written = all.iter().any(|told| told == "+/a/w@9");
            assert_eq!(syncer.revision_of(b"/a/w") == Some(9), written, "{steps:?} {all:?}");
        }
        assert_eq!(all.last().map(String::as_str), Some("+/a/w@9"), "{steps:?} {all:?}");
        assert_eq!(all.iter().filter(|told| told.starts_with('+')).count(), 1, "{steps:?} {all:?}");
        orders += 1;
    }
    assert_eq!(orders, 72);
}

#[test]
fn a_list_that_own_writes_overtook() {
    let mut syncer = syncer();
    syncer.wrote([put("/a/new", 8), delete("/a/old", 9)]);
    let list = syncer.listed(A, whole(7, vec![kv("/a/old", 3), kv("/a/other", 4)])).unwrap();
    assert_eq!(told(&list), ["+/a/other@4"], "neither is the new key missing nor the old one back");
    assert_eq!(syncer.len(), 2);
    assert_eq!(syncer.watched(A, message(9, vec![put("/a/new", 8), delete("/a/old", 9)])), Output::default());
}

#[test]
fn a_list_from_the_past_is_refused() {
    let mut syncer = syncer();
    syncer.listed(A, whole(10, vec![kv("/a/x", 9)])).unwrap();
    let stale = syncer.listed(A, whole(8, vec![])).unwrap_err();
    assert_eq!(stale.to_string(), "the list is of revision 8, but 10 has been seen");
    assert_eq!(syncer.len(), 1);
}

#[test]
fn a_replaced_store_comes_out_as_a_difference() {
    let mut syncer = syncer();
    syncer.listed(A, whole(100, vec![kv("/a/x", 90), kv("/a/y", 91)])).unwrap();
    syncer.listed(B, whole(100, vec![])).unwrap();
    syncer.store_replaced();
    assert_eq!((syncer.next(A), syncer.next(B)), (Some(Next::List), Some(Next::List)));
    let output = syncer.listed(A, whole(4, vec![kv("/a/x", 2)])).unwrap();
    assert_eq!(told(&output), ["+/a/x@2", "-/a/y@4"]);
    assert!(!output.became_in_sync, "it was so before");
    assert_eq!(syncer.next(A), Some(Next::Watch { from: 5 }));
}

/// What a consumer holds; checks that revisions only rise.
#[derive(Default)]
struct Consumer {
    state: BTreeMap<Bytes, KeyValue>,
    last: BTreeMap<Bytes, Revision>,
}

impl Consumer {
    fn take(&mut self, output: Output) {
        for change in output.changes {
            let (key, revision) = match &change {
                Change::Put(kv) => (kv.key.clone(), kv.mod_revision),
                Change::Delete { key, revision } => (key.clone(), *revision),
            };
            let before = self.last.insert(key.clone(), revision);
            assert!(before.is_none_or(|before| before < revision), "{key:?}: {before:?} then {revision}");
            match change {
                Change::Put(kv) => assert_ne!(self.state.insert(key, kv.clone()), Some(kv)),
                Change::Delete { .. } => assert!(self.state.remove(&key).is_some(), "{key:?} was not there"),
            }
        }
    }
}

impl Consumer {
    /// Whether it holds each key as it was at a revision or later.
    fn knows(&self, every: &[Event], revision: Revision) -> bool {
        let mut possible: BTreeMap<&Bytes, Vec<Option<Revision>>> = BTreeMap::new();
        for Event { kind, kv, .. } in every {
            let states = possible.entry(&kv.key).or_insert_with(|| vec![None]);
            if kv.mod_revision <= revision {
                states.clear();
            }
            states.push((*kind == EventKind::Put).then_some(kv.mod_revision));
        }
        let held = |key| self.state.get(key).map(|kv| kv.mod_revision);
        possible.into_iter().all(|(key, states)| states.contains(&held(key)))
    }
}

#[derive(Debug, Clone)]
enum Step {
    /// A list of the root, at a revision between what was seen and the newest, in pages of so many keys; all of them, or
    /// the first ones only.
    List(usize, usize, usize, bool),
    /// The next messages of its watch.
    Watch(usize, usize),
    /// The watch again from further back, as after a reconnect.
    Rewind(usize, usize),
    /// Any event of the whole history, as if this process had made it.
    Own(usize),
    Lost(usize),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        2 => (0..2usize, 0..100usize, 1..5usize, prop::bool::weighted(0.7))
            .prop_map(|(r, n, size, whole)| Step::List(r, n, size, whole)),
        4 => (0..2usize, 0..100usize).prop_map(|(r, n)| Step::Watch(r, n)),
        2 => (0..2usize, 0..100usize).prop_map(|(r, n)| Step::Rewind(r, n)),
        4 => (0..200usize).prop_map(Step::Own),
        1 => (0..2usize).prop_map(Step::Lost),
    ]
}

/// A store with a history of puts and deletes of a few keys in two roots.
fn history(writes: &[(u8, bool)]) -> Store {
    let mut store = Store::new();
    for (number, (key, delete)) in writes.iter().enumerate() {
        let key = format!("/{}/{}", if key % 2 == 0 { "a" } else { "b" }, key / 2);
        if *delete {
            store.delete(&DeleteRequest::key(key)).unwrap();
        } else {
            store.put(&PutRequest::new(key, number.to_string())).unwrap();
        }
    }
    store
}

fn messages(store: &Store, range: &KeyRange, from: Revision) -> Vec<WatchResponse> {
    let mut watcher = store.watch(WatchRequest::new(range.clone(), from.max(1)));
    std::iter::from_fn(|| store.poll(&mut watcher, 1).unwrap()).collect()
}

fn list(store: &Store, range: &KeyRange, revision: Revision) -> Vec<KeyValue> {
    store.range(&RangeRequest { revision, ..RangeRequest::new(range.clone()) }).unwrap().kvs
}

/// A list cut into pages of `size` keys; without the last of them unless it is `whole`.
fn pages(store: &Store, range: &KeyRange, revision: Revision, size: usize, whole: bool) -> Vec<Page> {
    let kvs = list(store, range, revision);
    let chunks: Vec<Vec<KeyValue>> = match kvs.is_empty() {
        true => vec![vec![]],
        false => kvs.chunks(size).map(<[KeyValue]>::to_vec).collect(),
    };
    let count = chunks.len();
    let page = |(at, kvs)| Page { revision, kvs, first: at == 0, last: at + 1 == count };
    let taken = if whole { count } else { count - 1 };
    chunks.into_iter().enumerate().map(page).take(taken).collect()
}

fn share(of: usize, hundredths: usize) -> usize {
    of * hundredths / 100
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1000))]

    #[test]
    fn every_way_leads_to_the_final_state(
        writes in prop::collection::vec((0..8u8, prop::bool::weighted(0.35)), 1..40),
        steps in prop::collection::vec(step(), 0..60),
    ) {
        let store = history(&writes);
        let newest = store.revision();
        let ranges = [KeyRange::prefix("/a/"), KeyRange::prefix("/b/")];
        let every: Vec<Event> =
            messages(&store, &KeyRange::prefix("/"), 1).into_iter().flat_map(|m| m.events).collect();
        let mut syncer = Syncer::new(ranges.clone());
        let mut consumer = Consumer::default();
        let floor = |syncer: &Syncer, root| match syncer.next(root) {
            Some(Next::Watch { from }) => Some(from - 1),
            _ => None,
        };
        for step in steps {
            match step {
                Step::List(root, part, size, whole) => {
                    let seen = floor(&syncer, RootId(root)).unwrap_or(1).max(1);
                    let at = seen + i64::try_from(share(usize::try_from(newest - seen).unwrap(), part)).unwrap();
                    for page in pages(&store, &ranges[root], at, size, whole) {
                        match syncer.listed(RootId(root), page) {
                            Ok(output) => consumer.take(output),
                            Err(stale) => prop_assert!(stale.known > at),
                        }
                    }
                }
                Step::Watch(root, part) => {
                    let Some(seen) = floor(&syncer, RootId(root)) else { continue };
                    let all = messages(&store, &ranges[root], seen + 1);
                    for message in all.iter().take(share(all.len(), part) + 1) {
                        consumer.take(syncer.watched(RootId(root), message.clone()));
                    }
                }
                Step::Rewind(root, part) => {
                    let Some(seen) = floor(&syncer, RootId(root)) else { continue };
                    let from = i64::try_from(share(usize::try_from(seen).unwrap(), part)).unwrap();
                    for message in messages(&store, &ranges[root], from) {
                        consumer.take(syncer.watched(RootId(root), message));
                    }
                }
                Step::Own(number) => {
                    if let Some(event) = every.get(number % every.len().max(1)) {
                        consumer.take(syncer.wrote([event.clone()]));
                    }
                }
                Step::Lost(root) => syncer.lost(RootId(root)),
            }
            prop_assert!(consumer.knows(&every, syncer.revision()), "{} {:?}", syncer.revision(), syncer);
        }
        for (root, range) in ranges.iter().enumerate() {
            let root = RootId(root);
            match syncer.next(root).unwrap() {
                Next::List => consumer.take(syncer.listed(root, whole(newest, list(&store, range, 0))).unwrap()),
                Next::Watch { from } => {
                    for message in messages(&store, range, from) {
                        consumer.take(syncer.watched(root, message));
                    }
                }
            }
        }
        prop_assert_eq!(syncer.status(), Status::InSync);

        let mut fresh = Syncer::new(ranges.clone());
        let mut expected = Consumer::default();
        for (root, range) in ranges.iter().enumerate() {
            expected.take(fresh.listed(RootId(root), whole(newest, list(&store, range, 0))).unwrap());
        }
        prop_assert_eq!(&consumer.state, &expected.state);
        prop_assert_eq!(syncer.len(), consumer.state.len());
        for (key, kv) in &consumer.state {
            prop_assert_eq!(syncer.revision_of(key), Some(kv.mod_revision));
        }
    }

    /// Shuffled and doubled, but complete: no list, no order, only the events.
    #[test]
    fn order_and_number_of_events_do_not_matter(
        writes in prop::collection::vec((0..8u8, prop::bool::weighted(0.35)), 1..30),
        order in prop::collection::vec(any::<prop::sample::Index>(), 0..60),
        rest in Just(()).prop_perturb(|(), mut rng| (0..30).map(|_| rng.random::<u32>()).collect::<Vec<_>>()),
    ) {
        let store = history(&writes);
        let events: Vec<Event> =
            messages(&store, &KeyRange::prefix("/"), 1).into_iter().flat_map(|m| m.events).collect();
        let mut syncer = syncer();
        let mut consumer = Consumer::default();
        for index in order.iter().filter(|_| !events.is_empty()) {
            consumer.take(syncer.wrote([index.get(&events).clone()]));
        }
        let mut shuffled: Vec<_> = events.into_iter().zip(rest.into_iter().cycle()).collect();
        shuffled.sort_by_key(|(_, key)| *key);
        for (event, _) in shuffled {
            consumer.take(syncer.wrote([event]));
        }
        let expected: BTreeMap<_, _> =
            list(&store, &KeyRange::prefix("/"), 0).into_iter().map(|kv| (kv.key.clone(), kv)).collect();
        prop_assert_eq!(consumer.state, expected);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(500))]

    /// Roots that are listed at one revision and watched together are one state at every moment.
    #[test]
    fn together_consumers_hold_the_state_of_one_revision(
        writes in prop::collection::vec((0..8u8, prop::bool::weighted(0.35)), 1..40),
        rounds in prop::collection::vec((0..100usize, 0..100usize, 0..100usize), 1..6),
    ) {
        let store = history(&writes);
        let newest = store.revision();
        let ranges = [KeyRange::prefix("/a/"), KeyRange::prefix("/b/")];
        let mut syncer = Syncer::new(ranges.clone());
        let mut consumer = Consumer::default();
        let part = |of: Revision, hundredths| i64::try_from(share(usize::try_from(of).unwrap(), hundredths)).unwrap();
        for (list_at, back, watch) in rounds {
            let seen = syncer.revision().max(1);
            let at = seen + part(newest - seen, list_at);
            while let NextTogether::List(root) = syncer.next_together() {
                for page in pages(&store, &ranges[root.0], at, 3, true) {
                    consumer.take(syncer.listed(root, page).unwrap());
                }
            }
            let NextTogether::Watch { from } = syncer.next_together() else { unreachable!() };
            prop_assert_eq!(from, at + 1);
            // as after a reconnect that begins further back
            let all = messages(&store, &KeyRange::prefix("/"), (from - part(from, back)).max(1));
            for message in all.iter().take(share(all.len(), watch) + 1) {
                consumer.take(syncer.watched_together(message.clone()));
                let revision = syncer.revision();
                let stored: BTreeMap<Bytes, KeyValue> = ranges
                    .iter()
                    .flat_map(|range| list(&store, range, revision))
                    .map(|kv| (kv.key.clone(), kv))
                    .collect();
                prop_assert_eq!(&consumer.state, &stored, "at revision {}", revision);
            }
            syncer.lost_together();
        }
    }
}
