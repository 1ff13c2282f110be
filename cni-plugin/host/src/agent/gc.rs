//! GC: frees what this node recorded and a runtime has not any more.
//!
//! Death is proven before anything is freed: an attachment whose link is still there has a namespace that lives, whatever the list
//! says. A list that would free more than the cap is not believed at all.

use super::Agent;
use super::record::{Key, Record, State};
use crate::bounded::{self, within};
use crate::delegate::Delegate;
use crate::host::Host;
use crate::node;
use cni_protocol::environment::Environment;
use cni_protocol::gc::{MOST, Wanted};
use cni_protocol::{CniError, Request};
use std::sync::Arc;

/// Frees what is recorded under the network's name and missing from the list.
///
/// # Errors
/// After as much as can be done is done: what was left, and why.
pub(crate) async fn gc(host: &Host, agent: &Agent, request: &Request) -> Result<(), CniError> {
    let wanted = Wanted::read(&request.conf)?;
    node::check_file(&request.conf)?;
    let missing: Vec<Key> = {
        let records = agent.records();
        let ours = records.all().filter(|record| record.key.network == request.conf.name);
        let attached = ours.filter(|record| record.state == State::Attached).map(|record| &record.key);
        let is_missing = |key: &&Key| {
            let place = (key.container.clone(), key.interface.clone());
            !wanted.valid.contains(&place)
        };
        attached.filter(is_missing).cloned().collect()
    };
    if missing.len() > wanted.most {
        tracing::error!(missing = missing.len(), most = wanted.most, "GC would free too many and frees none");
        return Err(CniError::internal(format!(
            "the list of valid attachments lacks {} that this node has, and GC frees at most {}: none is freed; if they \
             are really gone, raise {MOST} in the network configuration",
            missing.len(),
            wanted.most
        )));
    }
    let mut left = Vec::new();
    for key in missing {
        let turn = Arc::new(agent.turn(&key).await);
        // an ADD or DEL may have been faster
        let Some(record) = agent.records().get(&key).filter(|record| record.state == State::Attached) else {
            continue;
        };
        if agent.lives(host, &record).await? {
            tracing::warn!(attachment = %key, "not in the list of valid attachments, but its namespace holds its link: kept");
            left.push(format!("{key} is kept: its namespace still holds its link"));
            continue;
        }
        tracing::info!(attachment = %key, "not in the list of valid attachments: freed");
        let environment = Environment {
            path: request.environment.path.clone(),
            netns: String::new(),
            ..record.environment()
        };
        match agent.take_apart(host, record, environment, turn).await {
            Ok(()) => {}
            Err(error) => left.push(format!("{key}: {error}")),
        }
    }
    if let Err(error) = delegated(host, request).await {
        left.push(error.to_string());
    }
    if left.is_empty() { Ok(()) } else { Err(CniError::internal(left.join("; "))) }
}

/// Another IPAM plugin has records of its own.
async fn delegated(host: &Host, request: &Request) -> Result<(), CniError> {
    let plugin = &request.conf.ipam.plugin;
    if plugin.is_empty() || crate::address::is_own(&request.conf) || plugin == crate::azure::AZURE_IPAM {
        return Ok(());
    }
    Delegate::new(&host.executor, request, request.conf.raw())?.gc().await
}

impl Agent {
    /// Whether the link of an attachment is there: it goes with the namespace of either end.
    async fn lives(&self, host: &Host, record: &Record) -> Result<bool, CniError> {
        let Some(end) = &record.host_end else { return Ok(false) };
        let here = host.namespaces.current().map_err(CniError::internal)?;
        let found = within(bounded::KERNEL, "looking for the link", async {
            here.link(&end.name).await.map_err(CniError::internal)
        });
        Ok(found.await?.is_some_and(|link| self.is_of(record, end, &link)))
    }
}
