//! DEL by what ADD did.
//!
//! In this order: the container cannot send, and no route leads to it; endpoint and addresses are released, in one request; the
//! runtime gets its answer. What that request needs to know is read meanwhile ([`Gated`]), and the link is deleted behind it.
//! Where the datastore does not answer, the release is owed to it.

use super::Agent;
use super::gate::Gated;
use super::owed::ask;
use super::record::{Key, Record, State};
use super::retire::Severed;
use super::turns::Taken;
use crate::bounded::{self, ipam_failed, store_failed, within};
use crate::del::source;
use crate::detach::remove_host_end;
use crate::endpoint;
use crate::failpoint::failpoint;
use crate::host::Host;
use crate::meanwhile::let_it_be_sent;
use crate::node;
use crate::session::Facts;
use cni_protocol::environment::Environment;
use cni_protocol::{CniError, Request, StoreTrouble};
use datastore::Datastore;
use ipam::{Along, Ipam, Shared};
use mvcc::Txn;
use std::sync::Arc;

/// Detaches a workload.
///
/// # Errors
/// Ready to be printed; to be repeated by the runtime.
pub(crate) async fn del(host: &Host, agent: &Agent, request: &Request) -> Result<(), CniError> {
    node::check_file(&request.conf)?;
    let key = Key::of(request);
    let turn = Arc::new(agent.turn(&key).await);
    let known = agent.records().get(&key);
    let record = match known {
        Some(known) => Record { netns: request.environment.netns.clone(), ..known },
        None => Record::by_configuration(host, request, &node::identity(host, request))?,
    };
    agent.take_apart(host, record, request.environment.clone(), turn).await
}

impl Agent {
    /// Takes an attachment apart, for a call with this environment.
    ///
    /// # Errors
    /// The datastore is locked, or not the one it should be: nothing is changed then. Kernel or another IPAM plugin refuse: it is to
    /// be repeated.
    pub(super) async fn take_apart(
        &self,
        host: &Host,
        record: Record,
        environment: Environment,
        turn: Arc<Taken>,
    ) -> Result<(), CniError> {
        let connecting = async {
            let store = record.connect(host).await?;
            self.pay(host, &record.store).await?;
            Ok::<_, CniError>(store)
        };
        let store = match connecting.await {
            Err(error) if error.store != StoreTrouble::Away => return Err(error),
            store => store,
        };
        let request = record.request(environment)?;
        let mut record = Record { state: State::Leaving, ..record };
        let gate = store.as_ref().ok().cloned().map(Gated::new);
        let shared = store.as_ref().ok().and_then(|store| self.shared(store, &record.node));
        let shared = shared.map(|(shared, _)| shared);
        let (cut, given_back) = futures::join!(
            self.cut_off(host, &record, &store, gate.as_ref(), turn),
            give_back(gate.as_ref().filter(|_| record.is_ours()), shared, &record),
        );
        let CutOff { facts, unknown } = cut?;
        let finishing = async {
            let (store, facts) = (store?, facts?);
            given_back?;
            let (id, stored) = (record.identity(), facts.endpoints.first());
            let interface = match (stored, gate.is_some_and(|gate| gate.did_along())) {
                (Some(pair), true) => endpoint::own_interface(&id, pair)?,
                _ => endpoint::delete(&store, &id, stored).await?,
            };
            if !record.is_ours() {
                source(host, &request, &id, store)?.release().await?;
            }
            failpoint("agent-del-released");
            match interface.filter(|interface| unknown && !interface.is_empty()) {
                Some(interface) => remove_host_end(host, &interface).await,
                None => Ok(()),
            }
        };
        match finishing.await {
            Ok(()) => {
                self.released(record);
                Ok(())
            }
            Err(error) if error.store == StoreTrouble::Away => {
                if !record.is_ours() {
                    let store = record.connect(host).await?;
                    source(host, &request, &record.identity(), store)?.release().await?;
                    record.returned = true;
                }
                self.owe(record).await
            }
            Err(error) => Err(error),
        }
    }

    /// Asks whether the datastore may be written to, cuts the container off, and lets the release go on that waits for it. The
    /// link's name is freed beside that.
    ///
    /// # Errors
    /// The datastore is locked, or the kernel refuses: nothing is released.
    async fn cut_off(
        &self,
        host: &Host,
        record: &Record,
        store: &Result<Arc<dyn Datastore>, CniError>,
        gate: Option<&Gated>,
        turn: Arc<Taken>,
    ) -> Result<CutOff, CniError> {
        let severing = async {
            let facts = match store {
                Ok(store) => ask(store, record).await,
                Err(error) => Err(error.clone()),
            };
            let facts = match facts {
                Err(error) if error.store != StoreTrouble::Away => return Err(error),
                facts => facts,
            };
            if let Err(error) = self.records().put(record.clone()) {
                // A process that dies now is finished by the runtime's next DEL, not by the next agent.
                tracing::warn!(%error, "DEL goes on without a note of it");
            }
            failpoint("agent-del-leaving");
            let severed = self.sever(host, record).await?;
            let along = match facts.as_ref().ok().and_then(|facts| facts.endpoints.first()) {
                Some(pair) => {
                    endpoint::own_interface(&record.identity(), pair)?.map(|_| endpoint::deletion(pair))
                }
                None => None,
            };
            Ok((facts, severed, along))
        };
        let severed = severing.await;
        match (gate, &severed) {
            (Some(gate), Ok((Ok(_), _, along))) => gate.open(along.clone()),
            (Some(gate), _) => gate.shut(),
            (None, _) => {}
        }
        let (facts, severed, _) = severed?;
        let unknown = matches!(severed, Severed::Unknown);
        if let Severed::Cut(cut) = severed {
            let_it_be_sent().await;
            self.put_aside(host, cut, record, Some(turn)).await;
        }
        Ok(CutOff { facts, unknown })
    }
}

/// What is known once a container is cut off.
struct CutOff {
    /// What the datastore had; an error where it does not answer.
    facts: Result<Facts, CniError>,
    /// Its link is in no record, and its namespace cannot be entered.
    unknown: bool,
}

/// Gives the addresses of an attachment back, behind a gate; having none is fine. Without one there are none of ours.
async fn give_back(gate: Option<&Gated>, shared: Option<Shared>, record: &Record) -> Result<(), CniError> {
    let Some(gate) = gate else { return Ok(()) };
    if let Some(shared) = shared
        && let Some(along) = gate.opened().await
    {
        let more = along.is_some();
        let Txn { compare, success, .. } = along.unwrap_or_default();
        let releasing = shared.release(&record.handle, Along { compare, success });
        if releasing.await.map_err(|error| store_failed(&error, &error))?.is_some() {
            if more {
                gate.done_along();
            }
            return Ok(());
        }
    }
    let handles = vec![record.handle.clone(), record.identity().legacy_handle()];
    let releasing = async {
        let released = Ipam::new(Arc::new(gate.clone())).release_by_handles(handles).await;
        released.map(drop).map_err(|error| ipam_failed(&error, &error))
    };
    within(bounded::IPAM, "releasing addresses", releasing).await
}
