//! ADD's last step where an agent is: nothing is told to be done before the dataplane has it in force.

use crate::host::{Dataplane, Host};
use cni_protocol::config::TimeoutAction;
use cni_protocol::error::code;
use cni_protocol::identity::Identity;
use cni_protocol::{CniError, Request};
use mvcc::Event;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Who routes to the workload and judges its packets, where it is the agent, and is to be waited for.
pub(crate) fn dataplane(host: &Host, request: &Request, id: &Identity) -> Option<Arc<dyn Dataplane>> {
    let dataplane = host.dataplane.clone()?;
    if request.conf.dataplane_timeout_seconds == 0 {
        tracing::debug!("dataplane_timeout_seconds is 0: routed by this call, and not waited for");
        return None;
    }
    if dataplane.node() != id.node {
        tracing::warn!(
            endpoint_node = id.node,
            agent_node = dataplane.node(),
            "the endpoint is another node's by this configuration: routed by this call, and no policy is waited for"
        );
        return None;
    }
    Some(dataplane)
}

/// Waits until the endpoint is in force, for as long as the configuration allows.
///
/// # Errors
/// It is not, and the configuration does not say to go on all the same; to be tried again.
pub(crate) async fn wait(
    dataplane: &dyn Dataplane,
    written: Event,
    request: &Request,
) -> Result<(), CniError> {
    let seconds = request.conf.dataplane_timeout_seconds;
    let begin = Instant::now();
    let revision = written.kv.mod_revision;
    let limit = Duration::from_secs(u64::from(seconds));
    if tokio::time::timeout(limit, dataplane.in_force(written)).await.is_ok() {
        let microseconds = u64::try_from(begin.elapsed().as_micros()).unwrap_or(u64::MAX);
        tracing::debug!(revision, microseconds, "route and policy are in force");
        return Ok(());
    }
    match request.conf.dataplane_timeout_action {
        TimeoutAction::Proceed => {
            tracing::warn!(
                revision,
                seconds,
                "route and policy are not in force yet; going on all the same (dataplane_timeout_action: proceed)"
            );
            Ok(())
        }
        TimeoutAction::Fail => {
            tracing::error!(
                revision,
                seconds,
                "route and policy are not in force; taken back (dataplane_timeout_action: fail)"
            );
            Err(CniError::new(
                code::TRY_AGAIN,
                format!(
                    "route and policy of the workload are not in force after {seconds} s: `ocicat status` on this node \
                     says what the agent waits for"
                ),
            ))
        }
    }
}
