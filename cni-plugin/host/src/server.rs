//! The agent's side of the socket that thin plugins ask: each connection is one call.
//!
//! Who connects must be root. The container's namespace comes as a descriptor; another IPAM plugin is executed by whoever
//! called, not here; connections to datastores are kept from call to call. A caller that goes away changes nothing: the
//! call is carried out to its end, and the next one finds what it did.

mod connection;
mod shared;

use crate::agent::Agent;
use crate::host::{Dataplane, Host, Stores};
use crate::run::{Output, run};
use cni_protocol::handover::{Answer, Message};
use cni_protocol::{CniError, Program};
use connection::Connection;
use kernel::{Kernel, Namespaces, SystemNamespaces};
use nix::errno::Errno;
use observe::health::Health;
use observe::shutdown::Shutdown;
use shared::{HandedOver, KeptStores, Remote};
use std::collections::BTreeMap;
use std::os::unix::net::UnixListener;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::Semaphore;

/// Calls carried out at a time; more wait in the socket's queue.
const AT_ONCE: usize = 64;
/// How long a caller may take to say what it wants.
const SAY: Duration = Duration::from_secs(5);

/// How soon a call is taken that the system had no descriptor for.
const SCARCE: Duration = Duration::from_millis(50);

/// Answers calls with what `agent` knows until `shutdown` fires, and those that are under way to their end. What an agent before
/// this one left is taken in hand before the first call is answered. Where there is a dataplane, it routes to workloads, and
/// ADD waits for it.
///
/// # Errors
/// The socket fails.
pub async fn serve(
    listener: UnixListener,
    agent: Agent,
    dataplane: Option<Arc<dyn Dataplane>>,
    health: Health,
    shutdown: Shutdown,
) -> Result<(), std::io::Error> {
    listener.set_nonblocking(true)?;
    let listener = tokio::net::UnixListener::from_std(listener)?;
    let stores: Arc<dyn Stores> = Arc::new(KeptStores::default());
    let host = Host {
        variables: BTreeMap::new(),
        stores: Arc::clone(&stores),
        agent: Some(agent.clone()),
        own_log: false,
        ..Host::system()
    };
    agent.bury_links(Arc::clone(&host.namespaces), &shutdown)?;
    agent.recover(&host).await;
    let keeper = tokio::spawn({
        let (agent, shutdown) = (agent.clone(), shutdown.clone());
        let reporter = health.register("cni attachments", None);
        async move {
            agent.keep_paying(&host, &shutdown, || reporter.report(agent.report(), Instant::now())).await;
        }
    });
    let here = SystemNamespaces.current().map_err(std::io::Error::other)?;
    let places = Arc::new(Semaphore::new(AT_ONCE));
    let mut scarce = false;
    loop {
        let place = tokio::select! {
            () = shutdown.wait() => break,
            place = places.clone().acquire_owned() => place.map_err(std::io::Error::other)?,
        };
        let accepted = tokio::select! {
            () = shutdown.wait() => break,
            accepted = listener.accept() => accepted,
        };
        let stream = match accepted {
            Ok((stream, _)) => {
                scarce = false;
                stream
            }
            Err(error) if is_scarcity(&error) => {
                // who connects waits in the queue, as while all places are taken
                if !std::mem::replace(&mut scarce, true) {
                    tracing::warn!(%error, "no more calls over the CNI socket can be taken for now");
                }
                tokio::time::sleep(SCARCE).await;
                continue;
            }
            Err(error) => return Err(error),
        };
        let (stores, agent, dataplane) = (Arc::clone(&stores), agent.clone(), dataplane.clone());
        let here = Arc::clone(&here);
        tokio::spawn(async move {
            answer(Connection::new(stream), here, stores, agent, dataplane).await;
            drop(place);
        });
    }
    // all places are free when the last call has its answer
    let all = u32::try_from(AT_ONCE).unwrap_or(u32::MAX);
    let _ = places.acquire_many(all).await;
    keeper.await.map_err(std::io::Error::other)
}

/// Whether the system is short of descriptors or memory: others will give theirs back.
fn is_scarcity(error: &std::io::Error) -> bool {
    let scarce = [Errno::EMFILE, Errno::ENFILE, Errno::ENOBUFS, Errno::ENOMEM];
    // the peer was quicker to give up than we to take it
    let gone = [Errno::ECONNABORTED, Errno::EINTR];
    let errno = error.raw_os_error().map(Errno::from_raw);
    errno.is_some_and(|errno| scarce.contains(&errno) || gone.contains(&errno))
}

/// One call.
async fn answer(
    connection: Connection,
    here: Arc<dyn Kernel>,
    stores: Arc<dyn Stores>,
    agent: Agent,
    dataplane: Option<Arc<dyn Dataplane>>,
) {
    let output = match tokio::time::timeout(SAY, connection.call()).await {
        Ok(Ok((call, netns))) => {
            let connection = connection.clone();
            let host = Host {
                variables: call.variables,
                namespaces: Arc::new(HandedOver::new(here, netns)),
                stores,
                executor: Arc::new(Remote(connection)),
                dataplane,
                agent: Some(agent),
                own_log: false,
                ..Host::system()
            };
            match Program::parse(&call.program) {
                Some(program) => run(program, &[], &host, call.config.as_bytes()).await,
                None => refusal(format!("unknown plugin {:?}", call.program)),
            }
        }
        Ok(Err(reason)) => {
            tracing::warn!(reason, "a call over the CNI socket cannot be understood");
            refusal(reason)
        }
        Err(_) => refusal("the plugin did not say what it wants".to_owned()),
    };
    let answer = Answer { stdout: output.stdout, stderr: output.stderr, exit: output.exit };
    if let Err(reason) = connection.send(&Message::Answer(answer)).await {
        tracing::warn!(reason, "the plugin has gone without its answer");
    }
}

fn refusal(reason: String) -> Output {
    Output { stdout: CniError::internal(reason).to_json(), exit: 1, ..Output::default() }
}

#[cfg(test)]
mod tests;
