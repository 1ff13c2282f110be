//! Debian's etcdctl, command by command.

use crate::servers::{Etcd, Ours, connect, etcdctl, must};
use etcd_lite::{backup, transfer};
use std::io::Write;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

#[test]
fn every_command_of_these_services_works() {
    let directory = tempfile::tempdir().unwrap();
    let server = Ours::start(directory.path());
    let ctl = |words: &[&str]| must(&server.url, words);
    assert_eq!(ctl(&["put", "/a", "1"]), "OK\n");
    assert_eq!(ctl(&["put", "/a", "2", "--prev-kv"]), "OK\n/a\n1\n");
    assert_eq!(ctl(&["get", "/a", "--rev", "2", "--print-value-only"]), "1\n");
    assert_eq!(ctl(&["get", "", "--prefix", "--keys-only"]), "/a\n\n");
    assert_eq!(ctl(&["put", "/b", "3"]), "OK\n");
    assert_eq!(ctl(&["del", "/b"]), "1\n");
    let health = etcdctl(&server.url, &["endpoint", "health"]);
    let health = [health.stdout, health.stderr].concat();
    assert!(String::from_utf8_lossy(&health).contains("is healthy"));
    assert!(ctl(&["endpoint", "status"]).contains("3.4"));
    assert!(ctl(&["endpoint", "hashkv"]).contains(server.url.trim_start_matches("http://")));
    assert!(ctl(&["member", "list"]).contains(&server.url));
    assert_eq!(ctl(&["alarm", "list"]), "");
    assert_eq!(ctl(&["alarm", "disarm"]), "");
    let granted = ctl(&["lease", "grant", "600"]);
    let id = granted.split_whitespace().nth(1).unwrap();
    assert_eq!(ctl(&["put", "/l", "1", "--lease", id]), "OK\n");
    assert!(ctl(&["lease", "timetolive", id, "--keys"]).contains("/l"));
    assert!(ctl(&["lease", "keep-alive", "--once", id]).contains("keepalived"));
    assert!(ctl(&["lease", "list"]).contains(id));
    assert!(ctl(&["lease", "revoke", id]).contains("revoked"));
    assert_eq!(ctl(&["get", "/l"]), "");
    assert!(ctl(&["compaction", "3"]).contains("compacted revision 3"));
    let refused = etcdctl(&server.url, &["get", "/a", "--rev", "1"]);
    assert!(String::from_utf8_lossy(&refused.stderr).contains("required revision has been compacted"));
    assert!(ctl(&["defrag"]).contains("Finished"));
    let mut txn = Command::new("/usr/bin/etcdctl")
        .env_clear()
        .env("ETCDCTL_API", "3")
        .args(["--endpoints", &server.url, "txn"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    txn.stdin.take().unwrap().write_all(b"value(\"/a\") = \"2\"\n\nput /a 9\n\nput /a 0\n\n").unwrap();
    let said = txn.wait_with_output().unwrap();
    assert!(String::from_utf8_lossy(&said.stdout).starts_with("SUCCESS"));
    assert_eq!(ctl(&["get", "/a", "--print-value-only"]), "9\n");
    // a watch of the past, which etcdctl ends when it is killed
    let mut watch = Command::new("timeout")
        .args(["2", "/usr/bin/etcdctl", "--endpoints", &server.url, "watch", "/a", "--rev", "3"])
        .env("ETCDCTL_API", "3")
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    watch.wait().unwrap();
    let mut text = String::new();
    std::io::Read::read_to_string(&mut watch.stdout.take().unwrap(), &mut text).unwrap();
    assert_eq!(text, "PUT\n/a\n2\nPUT\n/a\n9\n");
}

/// What etcdctl makes of several requests: a lock, an election, a mirror.
#[test]
fn recipes_work() {
    let directory = tempfile::tempdir().unwrap();
    let (server, etcd) = (Ours::start(directory.path()), Etcd::start());
    let held = must(&server.url, &["lock", "/lock", "--", "/bin/sh", "-c", "echo $ETCD_LOCK_KEY"]);
    assert!(held.starts_with("/lock/"), "{held}");
    assert_eq!(must(&server.url, &["get", "/lock", "--prefix"]), "", "given back");
    must(&server.url, &["put", "/m/1", "one"]);
    let run = |words: &[&str]| {
        let mut command = Command::new("/usr/bin/etcdctl");
        command.env_clear().env("ETCDCTL_API", "3").args(["--endpoints", &server.url]).args(words);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap()
    };
    let wait = |what: &str, done: &dyn Fn() -> bool| {
        let deadline = Instant::now() + Duration::from_secs(20);
        while !done() {
            assert!(Instant::now() < deadline, "{what}");
            std::thread::sleep(Duration::from_millis(50));
        }
    };
    let mut leader = run(&["elect", "/election", "first"]);
    let elected = |name: &str| {
        must(&server.url, &["get", "/election", "--prefix", "--print-value-only"]).contains(name)
    };
    wait("nobody is elected", &|| elected("first"));
    leader.kill().unwrap();
    leader.wait().unwrap();
    let to = etcd.url.trim_start_matches("http://").to_owned();
    let mut mirror = run(&["make-mirror", "--prefix", "/m/", &to]);
    let there = |key: &str| must(&etcd.url, &["get", key, "--print-value-only"]);
    wait("what was there is not mirrored", &|| there("/m/1") == "one\n");
    must(&server.url, &["put", "/m/2", "two"]);
    wait("what came later is not mirrored", &|| there("/m/2") == "two\n");
    mirror.kill().unwrap();
    mirror.wait().unwrap();
}

#[tokio::test]
async fn a_saved_snapshot_is_restored_with_its_revisions() {
    let directory = tempfile::tempdir().unwrap();
    let server = Ours::start(directory.path());
    for number in 0..40 {
        must(&server.url, &["put", &format!("/k/{}", number % 7), &format!("{number}")]);
    }
    must(&server.url, &["del", "/k/3"]);
    must(&server.url, &["compaction", "20"]);
    let file = directory.path().join("saved");
    must(&server.url, &["snapshot", "save", file.to_str().unwrap()]);
    let target = directory.path().join("again");
    let done = backup::restore(std::fs::File::open(&file).unwrap(), &target).unwrap();
    let second = Ours::start(&target);
    let show =
        |url: &str, words: &[&str]| must(url, &[&["get", "/k", "--prefix", "-w", "fields"], words].concat());
    let plain =
        |text: String| text.lines().filter(|line| !line.contains("ID\"")).collect::<Vec<_>>().join("\n");
    for words in [&[][..], &["--rev", "25"]] {
        assert_eq!(plain(show(&second.url, words)), plain(show(&server.url, words)));
    }
    assert_eq!(done.revision, 42);
}

#[tokio::test]
async fn to_a_real_etcd_and_back() {
    let directory = tempfile::tempdir().unwrap();
    let (server, etcd) = (Ours::start(directory.path()), Etcd::start());
    let (mut ours, mut theirs) = (connect(&server.url).await, connect(&etcd.url).await);
    let lease = ours.lease_grant(900, None).await.unwrap().id();
    for number in 0..2500 {
        let options = etcd_client::PutOptions::new().with_lease(if number % 10 == 0 { lease } else { 0 });
        ours.put(format!("/k/{number:04}"), format!("value {number}"), Some(options)).await.unwrap();
    }
    let (saved, read) = transfer::export(&mut ours, Vec::new()).await.unwrap();
    assert_eq!((read.keys, read.leases, read.source_revision), (2500, 1, 2501));
    let wrote = transfer::import(&mut theirs, saved.as_slice()).await.unwrap();
    assert_eq!((wrote.keys, wrote.leases), (2500, 1));
    let show = |url: &str| must(url, &["get", "", "--prefix"]);
    assert_eq!(show(&etcd.url), show(&server.url));
    assert!(must(&etcd.url, &["lease", "timetolive", &format!("{lease:x}"), "--keys"]).contains("/k/2490"));
    let full = transfer::import(&mut theirs, saved.as_slice()).await.unwrap_err().to_string();
    assert!(full.contains("holds 2500 keys already"), "{full}");
    let (back, _) = transfer::export(&mut theirs, Vec::new()).await.unwrap();
    let target = directory.path().join("back");
    backup::restore(back.as_slice(), &target).unwrap();
    assert_eq!(show(&Ours::start(&target).url), show(&server.url));
}
