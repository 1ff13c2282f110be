//! An etcd with a [`State`] in it, and writers.

use super::state::{Pair, State};
use anyhow::{Context, Result, anyhow};
use datastore::{ConnectConfig, Datastore, connect};
use futures::StreamExt;
use futures::stream::{self, FuturesUnordered};
use mvcc::{DeleteRequest, Op, PutRequest, Txn};
use ocicat_tests::etcd::Server;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};
use tempfile::TempDir;
use tokio::runtime::Runtime;

/// Pairs of one transaction: etcd takes 128 by default.
const TOGETHER: usize = 100;

/// Transactions on their way at once.
const AT_ONCE: usize = 8;

/// A network set of 100,000 CIDRs is more than etcd takes by default, 1.5 MiB.
const MORE: [&str; 2] = ["--max-request-bytes=8388608", "--quota-backend-bytes=8589934592"];

/// A running etcd and a connection to it. Its data is on disk, as a cluster's: [`Store::put`] tells what that costs.
pub struct Store {
    server: Server,
    client: Client,
    _data: TempDir,
}

/// A connection, used by one thread.
pub struct Client {
    runtime: Runtime,
    store: Arc<dyn Datastore>,
}

impl Client {
    fn connect(url: &str) -> Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let store = runtime.block_on(async {
            connect(&ConnectConfig {
                datastore_type: "etcdv3".to_owned(),
                etcd_endpoints: url.to_owned(),
                ..ConnectConfig::default()
            })
        })?;
        Ok(Self { runtime, store })
    }

    /// Writes one pair and returns how long etcd took to acknowledge it.
    ///
    /// # Errors
    /// etcd's.
    pub fn put(&self, (key, value): &Pair) -> Result<Duration> {
        self.write(Op::Put(PutRequest::new(key.clone(), value.clone())))
    }

    /// Removes one key, likewise.
    ///
    /// # Errors
    /// etcd's.
    pub fn delete(&self, key: &str) -> Result<Duration> {
        self.write(Op::Delete(DeleteRequest::key(key.to_owned())))
    }

    fn write(&self, op: Op) -> Result<Duration> {
        let begun = Instant::now();
        self.runtime.block_on(self.store.txn(Txn { success: vec![op], ..Txn::default() }))?;
        Ok(begun.elapsed())
    }

    fn load(&self, state: State) -> Result<usize> {
        let mut pairs = state.pairs();
        let chunks = std::iter::from_fn(|| {
            let ops: Vec<Op> = pairs
                .by_ref()
                .take(TOGETHER)
                .map(|(key, value)| Op::Put(PutRequest::new(key, value)))
                .collect();
            (!ops.is_empty()).then_some(ops)
        });
        let mut count = 0;
        self.runtime.block_on(async {
            let mut written = stream::iter(chunks)
                .map(|ops| {
                    count += ops.len();
                    self.store.txn(Txn { success: ops, ..Txn::default() })
                })
                .buffer_unordered(AT_ONCE);
            while let Some(result) = written.next().await {
                result?;
            }
            Ok::<(), anyhow::Error>(())
        })?;
        Ok(count)
    }
}

impl Store {
    /// Starts etcd at `address` and fills it.
    ///
    /// # Errors
    /// etcd does not start or refuses a write.
    pub fn start(address: SocketAddr, state: State) -> Result<Self> {
        let data = tempfile::Builder::new().prefix("ocicat-bench").tempdir()?;
        let server = Server::start_with(data.path(), address, "http", &MORE.map(str::to_owned))?;
        let client = Client::connect(&server.url())?;
        let begun = Instant::now();
        let count = client.load(state)?;
        println!("stored {count} pairs in {:.1?}", begun.elapsed());
        Ok(Self { server, client, _data: data })
    }

    /// The connection of the calling thread.
    pub fn client(&self) -> &Client {
        &self.client
    }

    /// `http://…` of it.
    pub fn url(&self) -> String {
        self.server.url()
    }

    /// Starts writing `pair(0)`, `pair(1)`, … at a steady rate a second, each a transaction of its own, from a thread of
    /// its own until [`Churn::stop`].
    ///
    /// # Errors
    /// The connection cannot be made.
    pub fn churn(&self, rate: u32, pair: impl Fn(usize) -> Pair + Send + 'static) -> Result<Churn> {
        let stop = Arc::new(AtomicBool::new(false));
        let asked = Arc::clone(&stop);
        let url = self.url();
        let thread = thread::spawn(move || {
            let client = Client::connect(&url)?;
            client.runtime.block_on(steadily(&*client.store, rate, pair, &asked))
        });
        Ok(Churn { stop, thread })
    }
}

/// Writes that go on in the background.
pub struct Churn {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<Result<f64>>,
}

impl Churn {
    /// Stops and returns how many were acknowledged a second.
    ///
    /// # Errors
    /// A write failed.
    pub fn stop(self) -> Result<f64> {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().map_err(|_| anyhow!("the writer panicked"))?.context("endpoint updates")
    }
}

async fn steadily(
    store: &dyn Datastore,
    rate: u32,
    pair: impl Fn(usize) -> Pair,
    stop: &AtomicBool,
) -> Result<f64> {
    let begun = Instant::now();
    let mut ticks = tokio::time::interval(Duration::from_millis(2));
    let mut running = FuturesUnordered::new();
    let (mut sent, mut done) = (0_usize, 0_usize);
    while !stop.load(Ordering::Relaxed) {
        tokio::select! {
            _ = ticks.tick() => {
                let due = (begun.elapsed().as_secs_f64() * f64::from(rate)) as usize;
                // etcd that cannot keep up shows in the rate returned, not in memory
                while sent < due && running.len() < 200 {
                    let (key, value) = pair(sent);
                    let op = Op::Put(PutRequest::new(key, value));
                    running.push(store.txn(Txn { success: vec![op], ..Txn::default() }));
                    sent += 1;
                }
            }
            Some(result) = running.next(), if !running.is_empty() => {
                result?;
                done += 1;
            }
        }
    }
    let took = begun.elapsed();
    while let Some(result) = running.next().await {
        result?;
    }
    Ok(done as f64 / took.as_secs_f64())
}
