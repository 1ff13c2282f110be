//! `calico-ipam -upgrade`: moves the addresses of `host-local` into our own address manager, once, before a node's first
//! start. Which pod has which address only the Kubernetes API knows, so here it goes as far as finding out that there is
//! nothing to move, which is what it finds on every start but one.

use crate::host::Host;
use cni_protocol::CniError;
use std::path::Path;

/// Where `host-local` keeps what it gave.
pub(crate) const HOST_LOCAL_STATE: &str = "/var/lib/cni/networks/k8s-pod-network";

/// Succeeds where nothing has to be moved.
///
/// # Errors
/// Without `KUBERNETES_NODE_NAME`, and when there is something to move.
pub(crate) fn upgrade(host: &Host) -> Result<(), CniError> {
    if host.variable("KUBERNETES_NODE_NAME").is_none_or(|name| name.is_empty()) {
        return Err(CniError::internal("-upgrade: KUBERNETES_NODE_NAME not specified, refusing to migrate"));
    }
    let path: &Path = &host.host_local_state;
    match path.try_exists() {
        Ok(false) => Ok(()),
        Ok(true) => Err(CniError::internal(format!(
            "-upgrade: moving the addresses in {} into calico-ipam needs the Kubernetes API, which is not supported; \
             drain the node and remove the directory instead",
            path.display()
        ))),
        Err(error) => {
            Err(CniError::internal(format!("-upgrade: cannot look at {}: {error}", path.display())))
        }
    }
}
