use super::*;
use proptest::prelude::*;
use std::collections::BTreeMap;

fn scope() -> Scope {
    Scope::new("etcd", [&KeyRange::prefix("/b/"), &KeyRange::key("/a")])
}

fn pair(key: &[u8], value: &[u8], at: i64) -> KeyValue {
    KeyValue {
        key: Bytes::copy_from_slice(key),
        value: Bytes::copy_from_slice(value),
        create_revision: at - 1,
        mod_revision: at,
        version: 2,
        lease: 0,
    }
}

fn write(pairs: &[KeyValue], end: End) -> Vec<u8> {
    let mut writer = Writer::begin(Vec::new(), &scope()).unwrap();
    pairs.iter().for_each(|pair| writer.pair(pair).unwrap());
    writer.end(end).unwrap()
}

fn read(bytes: &[u8]) -> Result<(Vec<KeyValue>, End), Unusable> {
    let mut reader = Reader::begin(bytes, &scope())?;
    let mut pairs = Vec::new();
    while let Some(pair) = reader.pair()? {
        pairs.push(pair);
    }
    Ok((pairs, reader.end().unwrap()))
}

const END: End = End { revision: 7, written_ms: 1_700_000_000_123 };

fn some() -> Vec<KeyValue> {
    vec![pair(b"/b/1", b"one", 3), pair(b"/b/2", b"", 4), pair(b"/b/3", &[7; 300], 5)]
}

#[test]
fn what_was_written_is_read() {
    assert_eq!(read(&write(&some(), END)).unwrap(), (some(), END));
    assert_eq!(read(&write(&[], END)).unwrap(), (vec![], END));
}

#[test]
fn whatever_is_cut_changed_or_added_is_told() {
    let whole = write(&some(), END);
    for length in 0..whole.len() {
        assert!(read(&whole[..length]).is_err(), "cut to {length}");
    }
    for place in 0..whole.len() {
        for bit in [0x01, 0x80] {
            let mut changed = whole.clone();
            changed[place] ^= bit;
            assert!(read(&changed).is_err(), "bit {bit} of byte {place}");
        }
    }
    assert!(matches!(
        read(&[&whole[..], b"x"].concat()),
        Err(Unusable::Damaged("something follows its end"))
    ));
}

#[test]
fn what_is_not_ours_is_told_by_name() {
    let said = |bytes: &[u8]| read(bytes).unwrap_err().to_string();
    assert_eq!(said(b""), "it is no snapshot");
    assert_eq!(said(b"{\"kind\": \"Node\"}"), "it is no snapshot");
    let mut newer = write(&[], END);
    newer[9] = 2;
    assert_eq!(said(&newer), "it has version 2, and this program reads version 1");
    let of = |scope: &Scope| Writer::begin(Vec::new(), scope).unwrap().end(END).unwrap();
    let ranges = [KeyRange::prefix("/b/"), KeyRange::key("/a")];
    assert_eq!(said(&of(&Scope::new("other", &ranges))), "it is of the datastore \"other\"");
    assert_eq!(said(&of(&Scope::new("etcd", &ranges[..1]))), "it holds other keys than this program follows");
    assert!(read(&of(&Scope::new("etcd", &ranges))).is_ok(), "the order of ranges is none");
    assert_ne!(
        Scope::new("etcd", [&KeyRange::key("/a")]),
        Scope::new("etcd", [&KeyRange { key: "/a".into(), end: Some(Bytes::new()) }])
    );
}

proptest! {
    #[test]
    fn a_merge_is_what_a_map_does(
        base in proptest::collection::btree_map(0u8..30, 0u8..5, 0..20),
        changes in proptest::collection::btree_map(0u8..30, proptest::option::of(0u8..5), 0..20),
    ) {
        let make = |key: &u8, value: &u8| pair(&[b'/', b'b', b'/', *key], &[*value], i64::from(*value) + 1);
        let before: Vec<KeyValue> = base.iter().map(|(key, value)| make(key, value)).collect();
        let file = write(&before, END);
        let changed: BTreeMap<Bytes, Option<KeyValue>> = changes
            .iter()
            .map(|(key, value)| (make(key, &0).key, value.map(|value| make(key, &value))))
            .collect();
        let mut model: BTreeMap<Bytes, KeyValue> =
            before.into_iter().map(|pair| (pair.key.clone(), pair)).collect();
        for (key, value) in &changed {
            match value {
                Some(pair) => drop(model.insert(key.clone(), pair.clone())),
                None => drop(model.remove(key)),
            }
        }
        let mut writer = Writer::begin(Vec::new(), &scope()).unwrap();
        merge(Some(Reader::begin(&file[..], &scope()).unwrap()), &changed, &mut writer).unwrap();
        let merged = read(&writer.end(END).unwrap()).unwrap().0;
        prop_assert_eq!(merged, model.into_values().collect::<Vec<_>>());
    }
}
