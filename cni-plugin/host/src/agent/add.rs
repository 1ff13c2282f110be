//! What ADD notes of itself, so that DEL, CHECK, GC and the next agent know.

use super::Agent;
use super::record::{HostEnd, Key, Record, State};
use super::store_variables;
use crate::add;
use crate::bounded::{self, within};
use crate::failpoint::failpoint;
use crate::host::Host;
use cni_protocol::identity::Identity;
use cni_protocol::result::CniResult;
use cni_protocol::{CniError, Request, StoreTrouble};
use std::net::IpAddr;

/// Attaches a workload; before that, what is owed to the datastore is carried out.
///
/// # Errors
/// Ready to be printed. Code 11: the datastore does not answer.
pub(crate) async fn add(host: &Host, agent: &Agent, request: &Request) -> Result<CniResult, CniError> {
    let _turn = agent.turn(&Key::of(request)).await;
    paid(host, agent, request, add::add(host, request)).await
}

/// Does `work`, which writes to the datastore, after what is owed to it.
///
/// # Errors
/// Those of `work`. Code 11: the datastore does not answer.
pub(crate) async fn paid<T>(
    host: &Host,
    agent: &Agent,
    request: &Request,
    work: impl Future<Output = Result<T, CniError>>,
) -> Result<T, CniError> {
    agent.pay(host, &store_variables(host, &request.conf)).await.map_err(later)?;
    work.await.map_err(later)
}

/// A datastore that does not answer is nothing the runtime, or its user, did wrong.
pub(super) fn later(error: CniError) -> CniError {
    match error.store {
        StoreTrouble::Away => CniError::try_again(error.to_string()).with_store(error.store),
        StoreTrouble::None | StoreTrouble::NotReady => error,
    }
}

/// An ADD under way; without an agent it notes nothing.
pub(crate) struct Noted(Option<(Agent, Record)>);

/// Notes that an ADD begins: what it may leave is found by this from now on. `endpoint` is the key it will write.
///
/// # Errors
/// It cannot be noted, so that nothing may be done.
pub(crate) fn begin(
    host: &Host,
    request: &Request,
    id: &Identity,
    endpoint: Option<String>,
) -> Result<Noted, CniError> {
    let Some(agent) = &host.agent else { return Ok(Noted(None)) };
    let mut record = Record::by_configuration(host, request, id)?;
    record.state = State::Attaching;
    record.endpoint = endpoint.unwrap_or(record.endpoint);
    let name = id.host_interface(&host.variable("FELIX_INTERFACEPREFIX").unwrap_or_default());
    record.host_end = Some(HostEnd { name, index: None, boot: agent.0.boot.clone() });
    agent.put(record.clone())?;
    failpoint("agent-add-begun");
    Ok(Noted(Some((agent.clone(), record))))
}

impl Noted {
    /// Waits until no link of this host answers for these addresses any more: they may have been released a moment ago.
    ///
    /// # Errors
    /// It takes too long.
    pub(crate) async fn wait_until_free(&self, addresses: &[IpAddr]) -> Result<(), CniError> {
        let Some((agent, _)) = &self.0 else { return Ok(()) };
        let waiting = async {
            agent.0.graveyard.wait_until_free(addresses).await;
            Ok(())
        };
        within(bounded::KERNEL, "deleting the link that had the address before", waiting).await
    }

    /// Notes the index of the host's end.
    pub(crate) fn made(&mut self, index: u32) {
        let end = self.0.as_mut().and_then(|(_, record)| record.host_end.as_mut());
        end.into_iter().for_each(|end| end.index = Some(index));
    }

    /// Notes how it ended; `whole` says whether everything of an ADD that failed is taken back.
    ///
    /// # Errors
    /// What was done cannot be noted.
    pub(crate) async fn end(
        self,
        host: &Host,
        result: &Result<CniResult, CniError>,
        whole: bool,
    ) -> Result<(), CniError> {
        let Some((agent, record)) = self.0 else { return Ok(()) };
        match result {
            Ok(result) => {
                agent.put(attached(record, result))?;
                failpoint("agent-add-attached");
            }
            Err(_) if whole => {
                let version = agent.records().version(&record.key);
                version.into_iter().for_each(|version| agent.forget(&record.key, version));
            }
            // the datastore may hold something of it, and nobody has told the runtime
            Err(_) => {
                agent.discard_link(host, &record).await?;
                agent.owe(record).await?;
            }
        }
        Ok(())
    }
}

/// What is known after an ADD.
fn attached(record: Record, result: &CniResult) -> Record {
    Record {
        state: State::Attached,
        addresses: result.ips.iter().map(|ip| ip.address.addr).collect(),
        mac: result.interfaces.get(1).map(|interface| interface.mac.clone()).unwrap_or_default(),
        ..record
    }
}
