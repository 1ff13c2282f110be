//! DEL by what ADD did.
//!
//! In this order: the container cannot send, and no route leads to it; endpoint and addresses are released; the runtime gets its
//! answer. The link is deleted behind it. Where the datastore does not answer, the release is owed to it.

use super::Agent;
use super::owed::{ask, release};
use super::record::{Key, Record, State};
use super::retire::Severed;
use crate::del::source;
use crate::detach::remove_host_end;
use crate::failpoint::failpoint;
use crate::host::Host;
use crate::node;
use cni_protocol::environment::Environment;
use cni_protocol::identity::Identity;
use cni_protocol::{CniError, Request, StoreTrouble};

/// Detaches a workload.
///
/// # Errors
/// Ready to be printed; to be repeated by the runtime.
pub(crate) async fn del(host: &Host, agent: &Agent, request: &Request) -> Result<(), CniError> {
    node::check_file(&request.conf)?;
    let key = Key::of(request);
    let _turn = agent.turn(&key).await;
    let known = agent.records().get(&key);
    let record = match known {
        Some(known) => Record { netns: request.environment.netns.clone(), ..known },
        None => {
            let test_namespace = host.variable("CNI_TEST_NAMESPACE");
            let id = Identity::new(request, &node::name(host, &request.conf), test_namespace.as_deref());
            Record::by_configuration(host, request, &id)?
        }
    };
    agent.take_apart(host, record, request.environment.clone()).await
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
    ) -> Result<(), CniError> {
        let asking = async {
            let store = record.connect(host).await?;
            self.pay(host, &record.store).await?;
            let facts = ask(&store, &record).await?;
            Ok::<_, CniError>((store, facts))
        };
        let asked = match asking.await {
            Err(error) if error.store != StoreTrouble::Away => return Err(error),
            asked => asked,
        };
        let request = record.request(environment)?;
        let mut record = Record { state: State::Leaving, ..record };
        if let Err(error) = self.records().put(record.clone()) {
            // A process that dies now is finished by the runtime's next DEL, not by the next agent.
            tracing::warn!(%error, "DEL goes on without a note of it");
        }
        failpoint("agent-del-leaving");
        let severed = self.sever(host, &record).await?;
        let unknown = matches!(severed, Severed::Unknown);
        let aside = async {
            if let Severed::Cut(cut) = severed {
                self.put_aside(host, cut, &record).await;
            }
        };
        let releasing = async {
            let (store, facts) = asked?;
            release(host, &store, &record, &request, &facts).await
        };
        let ((), released) = futures::join!(aside, releasing);
        match released {
            Ok(interface) => {
                let interface = interface.filter(|interface| unknown && !interface.is_empty());
                if let Some(interface) = interface {
                    remove_host_end(host, &interface).await?;
                }
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
}
