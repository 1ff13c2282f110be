//! Removing a workload's link.

use crate::attach::is_gone;
use crate::bounded::{self, within};
use crate::failpoint::failpoint;
use crate::host::Host;
use crate::undo::delete_link;
use cni_protocol::CniError;
use kernel::KernelError;

/// What became of the container's end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Detached {
    /// It is not there any more, and with it went the host's end.
    Gone,
    /// The namespace cannot be entered any more, so nothing is known.
    NoNamespace,
}

/// Removes the link `ifname` in the namespace at `netns`. A missing link, a missing namespace and an empty path are
/// success (`cni.md` §8 of the contract).
///
/// # Errors
/// When the kernel refuses.
pub(crate) async fn detach(host: &Host, netns: &str, ifname: &str) -> Result<Detached, CniError> {
    if netns.is_empty() {
        return Ok(Detached::NoNamespace);
    }
    let container = match host.namespaces.open(netns) {
        Ok(container) => container,
        Err(error) if is_gone(&error) => return Ok(Detached::NoNamespace),
        // The mount is gone and only its file is left: the namespace cannot be reached, which is the same to us.
        Err(error @ KernelError::Namespace { .. }) => {
            tracing::warn!(%error, "nothing to detach");
            return Ok(Detached::NoNamespace);
        }
        Err(error) => return Err(CniError::internal(error)),
    };
    within(bounded::KERNEL, "removing the link", delete_link(&container, ifname)).await?;
    failpoint("cni-del-link");
    Ok(Detached::Gone)
}

/// Removes what is left of a pair on the host when the container's side cannot be reached.
///
/// # Errors
/// When the kernel refuses.
pub(crate) async fn remove_host_end(host: &Host, link: &str) -> Result<(), CniError> {
    let here = host.namespaces.current().map_err(CniError::internal)?;
    within(bounded::KERNEL, "removing the link", delete_link(&here, link)).await
}
