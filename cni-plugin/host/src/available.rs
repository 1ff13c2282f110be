//! STATUS: whether an ADD would work now.

use crate::address::is_own;
use crate::agent;
use crate::azure::AZURE_IPAM;
use crate::delegate::{self, Delegate};
use crate::host::Host;
use crate::node;
use crate::session::{self, Questions};
use cni_protocol::config::CALICO_IPAM;
use cni_protocol::error::code;
use cni_protocol::{CniError, Request};
use std::time::Duration;

/// How long the datastore may take to answer.
const PATIENCE: Duration = Duration::from_secs(5);

/// Looks for all that an ADD needs before its workload is known: the node's name, a datastore that may be written to, the plugin
/// that gives addresses.
///
/// # Errors
/// Code 50, with what is missing. What is attached stays attached: the agent enforces and forwards without the datastore.
pub(crate) async fn status(host: &Host, request: &Request) -> Result<(), CniError> {
    let conf = &request.conf;
    let looking = async {
        node::check_file(conf)?;
        let store = session::connect(host, conf).await?;
        let nothing =
            Questions { endpoints: model::key::ROOT.to_owned(), exact: true, ..Questions::default() };
        session::ask(&store, &nothing).await?;
        if let Some(agent) = &host.agent {
            agent::status::nothing_owed(host, agent, conf).await?;
        }
        if is_own(conf) {
            return delegate::find(CALICO_IPAM, &request.environment.path).map(drop);
        }
        // that one has no state of its own to ask for
        if conf.ipam.plugin.is_empty() || conf.ipam.plugin == AZURE_IPAM {
            return Ok(());
        }
        Delegate::new(&host.executor, request, conf.raw())?.status().await
    };
    let unavailable =
        |reason: String| CniError::new(code::UNAVAILABLE, "plugin not available").with_details(reason);
    match tokio::time::timeout(PATIENCE, looking).await {
        Ok(result) => result.map_err(|error| unavailable(error.to_string())),
        Err(_) => Err(unavailable(format!("no answer within {} s", PATIENCE.as_secs()))),
    }
}
