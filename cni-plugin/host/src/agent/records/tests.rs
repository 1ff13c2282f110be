use super::*;
use serde_json::json;

fn record(container: &str, state: State) -> Record {
    serde_json::from_value(json!({
        "network": "net-a", "container": container, "interface": "eth0", "state": state, "namespace": "default",
        "node": "node-1", "endpoint": format!("/e/{container}"), "handle": format!("net-a.{container}"),
        "addresses": ["10.65.0.1", "fd5f:64::1"], "config": {"name": "net-a", "etcd_endpoints": "http://a"},
    }))
    .unwrap()
}

fn keys(records: &Records) -> Vec<String> {
    records.all().map(|record| record.key.container.clone()).collect()
}

#[test]
fn what_is_kept_is_there_after_a_restart() {
    let directory = tempfile::tempdir().unwrap();
    let place = directory.path().join("deep/down");
    let mut records = Records::open(&place).unwrap();
    for container in ["a", "b", "c"] {
        records.put(record(container, State::Attaching)).unwrap();
        records.put(record(container, State::Attached)).unwrap();
    }
    let version = records.version(&record("b", State::Attached).key).unwrap();
    records.remove(&record("b", State::Attached).key, version).unwrap();
    records.put_in_memory(record("c", State::Released));
    let again = Records::open(&place).unwrap();
    assert_eq!(keys(&again), ["a", "c"]);
    assert_eq!(again.get(&record("a", State::Attached).key), Some(record("a", State::Attached)));
    let c = again.get(&record("c", State::Attached).key).unwrap();
    assert_eq!(c.state, State::Attached, "what was changed in memory alone");
    assert_eq!(fs::read_dir(&place).unwrap().count(), 2, "a file each");
}

#[test]
fn one_that_was_replaced_is_not_forgotten_in_the_place_of_the_other() {
    let directory = tempfile::tempdir().unwrap();
    let mut records = Records::open(directory.path()).unwrap();
    let key = record("a", State::Attached).key;
    records.put(record("a", State::Leaving)).unwrap();
    let old = records.version(&key).unwrap();
    records.put(record("a", State::Attaching)).unwrap();
    records.remove(&key, old).unwrap();
    assert_eq!(records.get(&key).unwrap().state, State::Attaching);
    assert_eq!(Records::open(directory.path()).unwrap().get(&key).unwrap().state, State::Attaching);
}

#[test]
fn a_damaged_file_is_reported_and_put_aside() {
    let directory = tempfile::tempdir().unwrap();
    let mut records = Records::open(directory.path()).unwrap();
    records.put(record("a", State::Attached)).unwrap();
    let whole = fs::read(directory.path().join("0.json")).unwrap();
    let huge = vec![b' '; usize::try_from(LONGEST).unwrap() + 1];
    let half = &whole[..whole.len() / 2];
    for (name, bytes) in [
        ("7.json", half),
        ("8.json", b"".as_slice()),
        ("9.json", &huge),
        ("x.json", &whole),
        ("10.new", half),
    ] {
        fs::write(directory.path().join(name), bytes).unwrap();
    }
    let mut again = Records::open(directory.path()).unwrap();
    assert_eq!(keys(&again), ["a"]);
    assert_eq!(again.damaged().len(), 4, "{:?}", again.damaged());
    let named = |name: &str| again.damaged().iter().any(|said| said.contains(name));
    assert!(["7.json", "8.json", "9.json", "x.json"].into_iter().all(named), "{:?}", again.damaged());
    again.put(record("b", State::Attached)).unwrap();
    let third = Records::open(directory.path()).unwrap();
    assert_eq!((keys(&third), third.damaged().len()), (vec!["a".to_owned(), "b".to_owned()], 0));
    assert!(directory.path().join("7.damaged").exists() && !directory.path().join("10.new").exists());
}

#[test]
fn the_file_is_roots_alone() {
    use std::os::unix::fs::PermissionsExt;
    let directory = tempfile::tempdir().unwrap();
    let mut records = Records::open(directory.path()).unwrap();
    records.put_for_good(record("a", State::Owed)).unwrap();
    assert!(!records.is_unsynced());
    let mode = fs::metadata(directory.path().join("0.json")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
}

#[test]
fn the_disk_is_caught_up_with() {
    let directory = tempfile::tempdir().unwrap();
    let mut records = Records::open(directory.path()).unwrap();
    records.put(record("a", State::Attached)).unwrap();
    records.put(record("b", State::Attached)).unwrap();
    let b = record("b", State::Attached).key;
    records.remove(&b, records.version(&b).unwrap()).unwrap();
    assert!(records.is_unsynced());
    let work = records.sync();
    // one that goes meanwhile does no harm
    let a = record("a", State::Attached).key;
    records.remove(&a, records.version(&a).unwrap()).unwrap();
    work().unwrap();
    assert!(!records.is_unsynced());
    assert!(records.sync()().is_ok());
}

#[test]
fn there_are_bounds() {
    let directory = tempfile::tempdir().unwrap();
    let mut records = Records::open(directory.path()).unwrap();
    for n in 0..MOST {
        let one = record(&format!("c{n}"), State::Attached);
        records.kept.insert(one.key.clone(), Kept { record: one, number: 0, version: 0 });
    }
    let error = records.put(record("more", State::Attaching)).unwrap_err().to_string();
    assert!(error.contains("holds 16384 attachments already"), "{error}");
    records.put(record("more", State::Leaving)).unwrap();
    let mut long = record("long", State::Leaving);
    long.config.insert("x".into(), "y".repeat(usize::try_from(LONGEST).unwrap()).into());
    let error = records.put(long).unwrap_err().to_string();
    assert!(error.contains("is too long"), "{error}");
}

#[test]
fn a_directory_that_cannot_be_used_is_named() {
    let error = Records::open(Path::new("/proc/no/such/place")).unwrap_err().to_string();
    assert!(error.starts_with("/proc/no/such/place: "), "{error}");
}
