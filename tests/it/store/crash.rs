//! `kill -9` under load, again and again: what was answered is there, whole, and revisions never go back.

use super::{client, client_within, embedded, etcdctl, runtime};
use anyhow::{Context, Result, ensure};
use datastore::Datastore;
use datastore::etcd::EtcdStore;
use mvcc::{Op, PutRequest, RangeRequest, Txn};
use ocicat_tests::process::wait_for;
use std::collections::BTreeMap;
use std::sync::mpsc::Sender;
use std::time::Duration;

const ROUNDS: u64 = 20;
const WRITERS: usize = 16;
/// A server that does not answer for so long is gone.
const GONE: Duration = Duration::from_secs(3);
/// Keys of one writer, each with a twin that is written in the same transaction.
const KEYS: usize = 20;

/// A write that was answered: key, value, revision.
type Told = (String, String, i64);

/// Writes until the server is gone.
async fn write(store: EtcdStore, round: u64, writer: usize, told: Sender<Told>) {
    for n in 0.. {
        let (key, value) = (format!("/k/{writer:02}.{}", n % KEYS), format!("{round}.{n}"));
        let put = |key: String| Op::Put(PutRequest::new(key, value.clone()));
        let success = vec![put(key.clone()), put(key.replace("/k/", "/twin/"))];
        let Ok(answer) = store.txn(Txn { success, ..Txn::default() }).await else { return };
        if told.send((key, value, answer.revision)).is_err() {
            return;
        }
    }
}

/// Everything that was answered is there, or something newer; twins agree. Returns the store's revision.
async fn check(store: &EtcdStore, answered: &BTreeMap<String, (String, i64)>) -> Result<i64> {
    let keys = store.range(RangeRequest::prefix("/k/")).await?;
    let twins = store.range(RangeRequest::prefix("/twin/")).await?;
    let found: BTreeMap<&[u8], _> = keys.kvs.iter().map(|kv| (kv.key.as_ref(), kv)).collect();
    for (key, (value, revision)) in answered {
        let kv = found.get(key.as_bytes()).with_context(|| format!("{key} is gone"))?;
        let same = kv.mod_revision == *revision && kv.value.as_ref() == value.as_bytes();
        ensure!(same || kv.mod_revision > *revision, "{key} went back from revision {revision}: {kv:?}");
    }
    ensure!(keys.kvs.len() == twins.kvs.len(), "half a transaction");
    for (kv, twin) in keys.kvs.iter().zip(&twins.kvs) {
        ensure!(kv.value == twin.value && kv.mod_revision == twin.mod_revision, "half a transaction: {kv:?}");
    }
    Ok(keys.revision)
}

#[test]
fn what_was_answered_survives_kill_9_again_and_again() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let mut answered: BTreeMap<String, (String, i64)> = BTreeMap::new();
    let mut newest = 0;
    for round in 0..=ROUNDS {
        let server = embedded(folder.path())?;
        let checked = client(&server).map(|store| runtime().block_on(check(&store, &answered)))?;
        let now = checked.with_context(|| format!("round {round}"))?;
        ensure!(now >= newest, "round {round}: the store went back from revision {newest} to {now}");
        if round % 5 == 3 {
            // history goes, and while it does the next writes come
            server.client.compact()?;
        }
        let (told, heard) = std::sync::mpsc::channel();
        let store = client_within(&server, GONE)?;
        let writers = std::thread::spawn(move || {
            let work = (0..WRITERS).map(|writer| write(store.clone(), round, writer, told.clone()));
            runtime().block_on(futures::future::join_all(work));
        });
        let mut take = |(key, value, revision): Told| {
            newest = newest.max(revision);
            match answered.get(&key) {
                Some((_, known)) if *known > revision => {}
                _ => drop(answered.insert(key, (value, revision))),
            }
        };
        // another moment each time, by writes, not by time
        for _ in 0..60 + round * 41 % 200 {
            take(heard.recv_timeout(Duration::from_secs(30))?);
        }
        drop(server);
        writers.join().expect("writers end");
        heard.try_iter().for_each(take);
    }
    ensure!(answered.len() > WRITERS * KEYS / 2, "{} keys are no test", answered.len());
    Ok(())
}

#[test]
fn a_lease_runs_out_after_kill_9_too() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let server = embedded(folder.path())?;
    let granted = etcdctl(&server.url(), &["lease", "grant", "4"])?.expect_ok("grant")?;
    let id = granted.split_whitespace().nth(1).context("an id")?;
    etcdctl(&server.url(), &["put", "/leased", "1", "--lease", id])?.expect_ok("put")?;
    drop(server);
    let server = embedded(folder.path())?;
    let left = etcdctl(&server.url(), &["lease", "timetolive", id, "--keys"])?.expect_ok("timetolive")?;
    ensure!(left.contains("granted with TTL(4s)") && left.contains("/leased"), "it begins anew: {left}");
    wait_for("the key's end", Duration::from_secs(20), || {
        server.client.snapshot().is_ok_and(|all| all.is_empty()).then_some(())
    })?;
    let gone = etcdctl(&server.url(), &["lease", "list"])?.expect_ok("list")?;
    ensure!(!gone.contains(id), "{gone}");
    Ok(())
}
