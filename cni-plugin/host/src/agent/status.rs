//! What STATUS asks the agent.

use super::{Agent, store_variables};
use crate::host::Host;
use cni_protocol::{CniError, NetConf};

/// Carries out what is owed to the configuration's datastore.
///
/// # Errors
/// It cannot be, so that no ADD would work.
pub(crate) async fn nothing_owed(host: &Host, agent: &Agent, conf: &NetConf) -> Result<(), CniError> {
    agent.pay(host, &store_variables(host, conf)).await
}
