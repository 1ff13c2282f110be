//! Requests and events a second, in rounds that alternate between the servers; medians count.

use super::watchers::Watchers;
use super::{BOTH, PATIENCE, VALUE, line, options};
use crate::report::quantile;
use anyhow::{Context, Result, bail, ensure};
use datastore::Datastore;
use datastore::etcd::{EtcdStore, whole_store_client};
use futures::future::{BoxFuture, try_join_all};
use mvcc::{Compare, Op, PutRequest, Txn};
use ocicat_tests::etcd::{Server, free_port};
use std::path::Path;
use std::time::{Duration, Instant};

/// Rounds that count, after one that does not.
const ROUNDS: usize = 7;
/// Clients of the busy rows, each with a connection of its own.
const CLIENTS: usize = 64;
const WATCHERS: usize = 1000;
/// Connections that the watchers share, where they do.
const SHARED: usize = 10;
/// A block of 64 addresses as Calico stores it, half full; and a handle.
const BLOCK: usize = 2048;
const HANDLE: usize = 200;

/// How much was done, and how long it took.
type Done = (usize, Duration);

/// One rate.
pub struct Rate {
    name: &'static str,
    run: for<'a> fn(&'a Server, usize) -> BoxFuture<'a, Result<Done>>,
}

/// One client that waits for each answer: what a durable write takes.
pub fn puts_of_one() -> Rate {
    Rate { name: "puts/s, 1 client", run: |server, round| Box::pin(puts(server, round, 1, 600)) }
}

/// As many as a busy cluster has at once: writes share the disk's work.
pub fn puts_of_many() -> Rate {
    Rate { name: "puts/s, 64 clients", run: |server, round| Box::pin(puts(server, round, CLIENTS, 60)) }
}

/// What an assignment of an address writes: a block if nobody changed it, and a handle that is not there yet.
pub fn assignments() -> Rate {
    Rate { name: "IPAM transactions/s, 64 clients", run: |server, round| Box::pin(assign(server, round)) }
}

/// Many watchers behind few proxies.
pub fn watchers_sharing_connections() -> Rate {
    Rate {
        name: "events/s to 1,000 watchers, 10 connections",
        run: |server, round| Box::pin(fan_out(server, round, SHARED)),
    }
}

/// A thousand nodes.
pub fn watchers_alone() -> Rate {
    Rate {
        name: "events/s to 1,000 watchers, each its own",
        run: |server, round| Box::pin(fan_out(server, round, WATCHERS)),
    }
}

/// Measures and prints one rate.
pub fn print(folder: &Path, rate: fn() -> Rate) -> Result<()> {
    let rate = rate();
    let mut servers = Vec::new();
    for store in BOTH {
        let data = tempfile::tempdir_in(folder)?;
        let server = Server::start_as(store, data.path(), free_port()?, "http", &[])?;
        servers.push((server, data, Vec::new(), Vec::new()));
    }
    for round in 0..=ROUNDS {
        // who goes first changes too
        servers.reverse();
        for (server, _, rates, costs) in &mut servers {
            let before = processor_time(server)?;
            let work = async { tokio::time::timeout(PATIENCE, (rate.run)(server, round)).await? };
            let (count, took) = runtime()?.block_on(work)?;
            if round > 0 {
                rates.push(count as f64 / took.as_secs_f64());
                costs.push((processor_time(server)? - before) * 1e6 / count as f64);
            }
        }
    }
    if ROUNDS.is_multiple_of(2) {
        servers.reverse();
    }
    let [etcd, embedded] = servers.as_mut_slice() else { bail!("two servers") };
    line(rate.name, quantile(&etcd.2, 0.5), quantile(&embedded.2, 0.5), 0, "≥ 1.5");
    line("  server's µs of processor for each", quantile(&etcd.3, 0.5), quantile(&embedded.3, 0.5), 1, "");
    Ok(())
}

fn runtime() -> Result<tokio::runtime::Runtime> {
    Ok(tokio::runtime::Builder::new_current_thread().enable_all().build()?)
}

/// Seconds of processor that a server has taken.
fn processor_time(server: &Server) -> Result<f64> {
    let stat = std::fs::read_to_string(format!("/proc/{}/stat", server.process().pid()))?;
    let (_, fields) = stat.rsplit_once(')').context("a stat line")?;
    let ticks = fields.split_whitespace().skip(11).take(2).map(str::parse::<f64>).sum::<Result<f64, _>>()?;
    Ok(ticks / 100.0)
}

async fn puts(server: &Server, round: usize, clients: usize, each: usize) -> Result<Done> {
    let settings = options(server);
    let stores = try_join_all((0..clients).map(|_| whole_store_client(&settings))).await?;
    let begun = Instant::now();
    try_join_all((0..).zip(stores).map(|(client, mut store)| async move {
        for n in 0..each {
            store.put(format!("/p/{round}/{client}/{n}"), vec![b'x'; VALUE], None).await?;
        }
        Ok::<(), anyhow::Error>(())
    }))
    .await?;
    Ok((clients * each, begun.elapsed()))
}

fn put(key: &str, size: usize) -> Op {
    Op::Put(PutRequest::new(key.to_owned(), vec![b'x'; size]))
}

async fn assign(server: &Server, round: usize) -> Result<Done> {
    const EACH: usize = 40;
    let settings = options(server);
    let stores: Vec<EtcdStore> = (0..CLIENTS).map(|_| EtcdStore::new(&settings)).collect::<Result<_, _>>()?;
    // connected before the clock runs
    try_join_all(stores.iter().map(|store| store.txn(Txn::default()))).await?;
    let begun = Instant::now();
    try_join_all((0..).zip(&stores).map(|(client, store)| async move {
        let block = format!("/calico/ipam/v2/assignment/ipv4/block/{round}.{client}");
        let mut last = 0;
        for n in 0..EACH {
            let handle = format!("/calico/ipam/v2/handle/{round}.{client}.{n}");
            let answer = store
                .txn(Txn {
                    compare: vec![
                        Compare::mod_revision(block.clone(), last),
                        Compare::absent(handle.clone()),
                    ],
                    success: vec![put(&block, BLOCK), put(&handle, HANDLE)],
                    failure: Vec::new(),
                })
                .await?;
            ensure!(answer.succeeded, "somebody else changed {block}");
            last = answer.revision;
        }
        Ok(())
    }))
    .await?;
    Ok((CLIENTS * EACH, begun.elapsed()))
}

/// From the first write until the last watcher has the last event.
async fn fan_out(server: &Server, round: usize, connections: usize) -> Result<Done> {
    const WRITES: usize = 100;
    let key = format!("/w/{round}");
    let mut writer = whole_store_client(&options(server)).await?;
    let mut watchers = Vec::new();
    while watchers.len() < connections {
        // no server has to take a thousand connections in one moment
        let now = CLIENTS.min(connections - watchers.len());
        let begin = || Watchers::begin(server.address(), &key, WATCHERS / connections);
        watchers.extend(try_join_all((0..now).map(|_| begin())).await?);
    }
    let begun = Instant::now();
    let write = async {
        for _ in 0..WRITES {
            writer.put(key.as_str(), vec![b'x'; VALUE], None).await?;
        }
        Ok::<(), anyhow::Error>(())
    };
    let read = watchers.iter_mut().map(|some| some.await_events(WRITES * WATCHERS / connections));
    futures::future::try_join(write, try_join_all(read)).await?;
    Ok((WATCHERS * WRITES, begun.elapsed()))
}
