//! How long a server with many keys takes to its first answer, and what is resident then: after an orderly end, and
//! after `kill -9`, where it has to look at more.

use super::{BOTH, VALUE, line, memory, options};
use anyhow::{Result, bail};
use datastore::Datastore;
use datastore::etcd::EtcdStore;
use mvcc::{Op, PutRequest, Txn};
use ocicat_tests::etcd::{Server, Store, free_port};
use std::path::Path;
use std::time::{Duration, Instant};

/// Keys of one transaction while it is filled: below etcd's 128.
const AT_ONCE: usize = 100;
/// Starts of each kind; the least time counts.
const STARTS: usize = 3;

/// What starts took and left resident.
#[derive(Debug, Default)]
struct Found {
    orderly: Duration,
    killed: Duration,
    /// kB: all, and without what is only mapped from the file.
    resident: f64,
    own: f64,
}

/// Measures and prints starts with so many keys; `goals` says whether there are any for it.
pub fn print(folder: &Path, keys: usize, goals: bool) -> Result<()> {
    let mut found = Vec::new();
    for store in BOTH {
        found.push(starts(folder, store, keys)?);
    }
    let [etcd, embedded] = found.as_slice() else { bail!("two servers") };
    let goal = |text: &'static str| if goals { text } else { "" };
    let seconds = |time: Duration| time.as_secs_f64();
    let keys = format!("{keys} keys");
    let name = format!("start with {keys}, s");
    line(&name, seconds(etcd.orderly), seconds(embedded.orderly), 3, goal("≤ 0.5 s"));
    line("  after kill -9, s", seconds(etcd.killed), seconds(embedded.killed), 3, goal("≤ 0.5 s"));
    line(
        "  resident after the start, MB",
        etcd.resident / 1024.0,
        embedded.resident / 1024.0,
        1,
        goal("≤ 0.4"),
    );
    line("  of that not mapped from files, MB", etcd.own / 1024.0, embedded.own / 1024.0, 1, "");
    Ok(())
}

fn starts(folder: &Path, store: Store, keys: usize) -> Result<Found> {
    let data = tempfile::tempdir_in(folder)?;
    let start = || Server::start_as(store, data.path(), free_port()?, "http", &[]);
    let server = start()?;
    fill(&server, keys)?;
    server.stop()?;
    let mut found = Found { orderly: Duration::MAX, killed: Duration::MAX, ..Found::default() };
    for _ in 0..STARTS {
        let begun = Instant::now();
        let server = start()?;
        found.orderly = found.orderly.min(begun.elapsed());
        (found.resident, found.own) = (memory(&server, "VmRSS")?, memory(&server, "RssAnon")?);
        // something to be found at the next start
        server.client.put("/registry/key/00000000", "again")?;
        drop(server);
        let begun = Instant::now();
        let server = start()?;
        found.killed = found.killed.min(begun.elapsed());
        server.stop()?;
    }
    Ok(found)
}

fn fill(server: &Server, keys: usize) -> Result<()> {
    let store = EtcdStore::new(&options(server))?;
    let put = |n: usize| Op::Put(PutRequest::new(format!("/registry/key/{n:08}"), vec![b'x'; VALUE]));
    tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
        for from in (0..keys).step_by(AT_ONCE) {
            let success = (from..keys.min(from + AT_ONCE)).map(put).collect();
            store.txn(Txn { success, ..Txn::default() }).await?;
        }
        Ok(())
    })
}
