//! Facts that the node's agent leaves in files: the node's name and the MTU.

use crate::host::Host;
use cni_protocol::identity::Identity;
use cni_protocol::{CniError, NetConf, Request};
use std::fs;
use std::io;
use std::path::Path;

/// Checks that the agent has written the node's name, as ADD and DEL ask for even where the name comes from elsewhere
/// (`cni.md` §2 of the contract): it is the sign that the agent is there.
///
/// # Errors
/// When the file is missing and not optional.
pub(crate) fn check_file(conf: &NetConf) -> Result<(), CniError> {
    match fs::metadata(Path::new(&conf.nodename_file)) {
        Err(error) if !conf.nodename_file_optional => Err(CniError::internal(format!(
            "stat {}: {}: check that the calico/node container is running and has mounted /var/lib/calico/",
            conf.nodename_file,
            words(&error)
        ))),
        _ => Ok(()),
    }
}

/// Whom a request is about, on this node.
pub(crate) fn identity(host: &Host, request: &Request) -> Identity {
    let test_namespace = host.variable("CNI_TEST_NAMESPACE");
    Identity::new(request, &name(host, &request.conf), test_namespace.as_deref())
}

/// The node's name: `nodename`, else the file's content as it is, else `hostname`, else the machine's name in lower
/// case.
pub(crate) fn name(host: &Host, conf: &NetConf) -> String {
    if !conf.nodename.is_empty() {
        return conf.nodename.clone();
    }
    // Written by the agent without a newline, and taken without trimming: what differs by a newline is another node.
    let content = fs::read_to_string(Path::new(&conf.nodename_file)).unwrap_or_default();
    if !content.is_empty() {
        return content;
    }
    if !conf.hostname.is_empty() {
        return conf.hostname.clone();
    }
    host.hostname.trim().to_lowercase()
}

/// The MTU for the pair: the configuration's, else the file's, else 0 for the kernel's.
///
/// # Errors
/// When the file has to be there and is not, or holds no number.
pub(crate) fn mtu(host: &Host, conf: &NetConf) -> Result<u32, CniError> {
    if conf.mtu != 0 {
        return Ok(conf.mtu);
    }
    let path = host.mtu_file.display();
    match fs::read_to_string(&host.mtu_file) {
        Ok(text) => text.trim().parse().map_err(|_| {
            CniError::internal(format!("failed to read MTU file: {path}: {:?} is not a number", text.trim()))
        }),
        Err(error) if error.kind() == io::ErrorKind::NotFound && !conf.require_mtu_file => Ok(0),
        Err(error) => {
            Err(CniError::internal(format!("failed to read MTU file: open {path}: {}", words(&error))))
        }
    }
}

/// The system's words for an error, as C and Go print them.
pub(crate) fn words(error: &io::Error) -> String {
    match error.raw_os_error() {
        Some(errno) => {
            let text = nix::errno::Errno::from_raw(errno).desc();
            let mut letters = text.chars();
            letters.next().map(|first| first.to_lowercase().chain(letters).collect()).unwrap_or_default()
        }
        None => error.to_string(),
    }
}
