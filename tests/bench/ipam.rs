//! Address management as a library: many clients, many nodes, a real etcd.

use anyhow::{Context, Result, ensure};
use datastore::{ConnectConfig, connect};
use ipam::Ipam;
use ipam_plan::AutoAssignRequest;
use ocicat_tests::node::{Node, documents};
use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

/// Clients at once, each with a connection of its own.
const CLIENTS: usize = 64;

/// Nodes they act for.
const NODES: usize = 100;

/// Operating-system threads that the clients share.
const THREADS: usize = 2;

/// Assignments of one client.
const EACH: usize = 40;

/// Assigns and releases; prints rates and the tail of the times.
pub fn many_clients() -> Result<()> {
    let node = &Node::start()?;
    let nodes: Vec<String> = (0..NODES).map(|n| format!("bench-{n:03}")).collect();
    node.apply(&documents(&nodes, &[]))?;
    let given: Mutex<BTreeSet<IpAddr>> = Mutex::new(BTreeSet::new());
    let (assigned, assign_times) = phase(node, |ipam, client, n| {
        let given = &given;
        async move {
            let mut request = AutoAssignRequest::for_workload(&node_of(client, n), 1, 0);
            request.handle = Some(handle(client, n));
            let outcome = ipam.auto_assign(request).await?;
            let address = outcome.v4.assigned.first().context("an address")?.address;
            let new = given.lock().is_ok_and(|mut given| given.insert(address));
            ensure!(new, "{address} given twice");
            Ok(())
        }
    })?;
    let (released, release_times) = phase(node, |ipam, client, n| async move {
        ipam.release_by_handle(&handle(client, n)).await?;
        Ok(())
    })?;
    println!("\nipam as a library, {CLIENTS} clients over {NODES} nodes, {} addresses", CLIENTS * EACH);
    for (name, took, times) in [("assign", assigned, assign_times), ("release", released, release_times)] {
        let rate = (CLIENTS * EACH) as f64 / took.as_secs_f64();
        let at = |part: usize| times.get(times.len() * part / 100).copied().unwrap_or_default();
        println!("{name:<10} {rate:>7.0}/s   median {:.1?}   p99 {:.1?}", at(50), at(99));
    }
    Ok(())
}

fn handle(client: usize, n: usize) -> String {
    format!("bench.{client}.{n}")
}

fn node_of(client: usize, n: usize) -> String {
    format!("bench-{:03}", (client * EACH + n) % NODES)
}

/// Runs `work` [`EACH`] times by every client, all at once. Returns the whole time and each call's, sorted.
fn phase<'a, F>(
    node: &'a Node,
    work: impl Fn(Ipam, usize, usize) -> F + Sync,
) -> Result<(Duration, Vec<Duration>)>
where
    F: Future<Output = Result<()>> + 'a,
{
    let times: Mutex<Vec<Duration>> = Mutex::new(Vec::new());
    let started = Instant::now();
    thread::scope(|scope| {
        let threads: Vec<_> = (0..THREADS)
            .map(|thread| {
                let (times, work) = (&times, &work);
                scope.spawn(move || -> Result<()> {
                    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
                    let clients = (thread..CLIENTS).step_by(THREADS).map(|client| async move {
                        let url = node.server().url();
                        let env = move |name: &str| match name {
                            "ETCD_ENDPOINTS" => Some(url.clone()),
                            "DATASTORE_TYPE" => Some("etcdv3".to_owned()),
                            _ => None,
                        };
                        let store = connect(&ConnectConfig::from_env(&env))?;
                        for n in 0..EACH {
                            let begun = Instant::now();
                            work(Ipam::new(store.clone()), client, n).await?;
                            let took = begun.elapsed();
                            times.lock().unwrap_or_else(PoisonError::into_inner).push(took);
                        }
                        Ok::<(), anyhow::Error>(())
                    });
                    runtime.block_on(futures::future::try_join_all(clients))?;
                    Ok(())
                })
            })
            .collect();
        threads.into_iter().try_for_each(|thread| match thread.join() {
            Ok(result) => result,
            Err(panic) => std::panic::resume_unwind(panic),
        })
    })?;
    let took = started.elapsed();
    let mut times = times.into_inner().unwrap_or_default();
    times.sort_unstable();
    Ok((took, times))
}
