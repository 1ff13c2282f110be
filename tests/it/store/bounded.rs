//! A long run of changes: what is superseded goes by itself, from memory and from disk.

use super::runtime;
use anyhow::{Result, ensure};
use datastore::Datastore;
use mvcc::{Op, PutRequest, Txn};
use ocicat_tests::etcd::{Server, Store, free_port};
use ocicat_tests::process::wait_for;
use std::path::Path;
use std::time::Duration;

const ROUNDS: usize = 16;
const KEYS: usize = 50;
const VALUE: usize = 20_000;
/// What the log holds back from the database.
const LOG: u64 = 8 << 20;

fn resident(server: &Server) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", server.process().pid())).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().trim_end_matches("kB").trim().parse::<u64>().unwrap() * 1024
}

/// Writes all keys four times: 4 MB.
async fn write(store: &impl Datastore, round: usize) -> Result<()> {
    for n in 0..4 * KEYS {
        let put = PutRequest::new(format!("/k/{}", n % KEYS), vec![round as u8; VALUE]);
        store.txn(Txn { success: vec![Op::Put(put)], ..Txn::default() }).await?;
    }
    Ok(())
}

/// With `retention`, runs many rounds and tells sizes of file and process after some of them.
fn run(data: &Path, more: &[String], compacts: bool) -> Result<(Server, Vec<(u64, u64)>)> {
    let server = Server::start_as(Store::Embedded, data, free_port()?, "http", more)?;
    // connections live in the runtime that made them
    let (store, runtime) = (super::client(&server)?, runtime());
    let mut sizes = Vec::new();
    for round in 0..ROUNDS {
        runtime.block_on(write(&store, round))?;
        let newest = server.client.revision()?;
        if compacts {
            // by itself it keeps what is younger than the time it was told
            wait_for("history to go", Duration::from_secs(30), || {
                let text = server.client.metrics().ok()?;
                let value = |name: &str| {
                    let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '))?;
                    line.parse::<i64>().ok()
                };
                (value("etcd_debugging_mvcc_compact_revision")? >= newest).then_some(())
            })?;
        }
        sizes.push((std::fs::metadata(data.join("store.redb"))?.len(), resident(&server)));
    }
    Ok((server, sizes))
}

#[test]
fn superseded_values_go_by_themselves() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let quick = ["--auto-compaction-retention=1s".to_owned()];
    let (server, sizes) = run(&folder.path().join("kept"), &quick, true)?;
    let (early, late) = (sizes[ROUNDS / 4], sizes[ROUNDS - 1]);
    ensure!(late.0 < early.0 * 3 / 2 + LOG, "the file grows without bound: {sizes:?}");
    ensure!(late.1 < early.1 * 3 / 2 + LOG, "memory grows without bound: {sizes:?}");
    ensure!(server.client.snapshot()?.len() == KEYS, "what is not superseded stays");
    let before = late.0;
    super::etcdctl(&server.address().to_string(), &["defrag"])?.expect_ok("defrag")?;
    let after = std::fs::metadata(folder.path().join("kept/store.redb"))?.len();
    ensure!(after < before && after < 8 * (KEYS * VALUE) as u64, "{before} bytes became {after}");
    // with everything kept it is larger than all that was written: the test can fail
    let (_, sizes) = run(&folder.path().join("all"), &["--auto-compaction-retention=0".to_owned()], false)?;
    let written = (ROUNDS * 4 * KEYS * VALUE) as u64;
    let (file, memory) = sizes[ROUNDS - 1];
    ensure!(file + LOG > written && file > 2 * late.0 && memory > written, "{written}: {late:?}, {sizes:?}");
    Ok(())
}
