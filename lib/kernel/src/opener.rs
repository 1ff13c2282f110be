//! All of netfilter that a ruleset needs, opened as it is needed: which of it depends on the backend.

use crate::api::KernelError;
use crate::ipsets::{IpSets, SetSocket};
use crate::netns::Netns;
use crate::nftables::{NftKernel, Nftables};
use crate::xtables::{Programs, XTables};
use std::sync::Arc;

/// Netfilter of one namespace: [`NetfilterOf`], or something between an agent and it.
pub trait Netfilter: Send + Sync {
    /// nf_tables.
    ///
    /// # Errors
    /// Where there is no socket.
    fn nftables(&self) -> Result<Box<dyn NftKernel>, KernelError>;

    /// IP sets.
    ///
    /// # Errors
    /// Where there is no socket.
    fn sets(&self) -> Result<Box<dyn IpSets>, KernelError>;

    /// The programs of iptables.
    fn programs(&self) -> Arc<dyn XTables>;

    /// Tables of the legacy variant that the kernel has, by their names: nothing else tells of them but the program that
    /// shows them.
    fn legacy_tables(&self) -> Vec<String>;
}

/// The kernel's, of one namespace.
#[derive(Debug, Clone)]
pub struct NetfilterOf(pub Netns);

impl Netfilter for NetfilterOf {
    fn nftables(&self) -> Result<Box<dyn NftKernel>, KernelError> {
        Ok(Box::new(Nftables::open(&self.0)?))
    }

    fn sets(&self) -> Result<Box<dyn IpSets>, KernelError> {
        Ok(Box::new(SetSocket::open(&self.0)?))
    }

    fn programs(&self) -> Arc<dyn XTables> {
        Arc::new(Programs::of(&self.0))
    }

    fn legacy_tables(&self) -> Vec<String> {
        let files =
            ["ip_tables_names", "ip6_tables_names"].map(|name| format!("/proc/thread-self/net/{name}"));
        // without the module there is no file
        let read = || files.map(|path| std::fs::read_to_string(path).unwrap_or_default());
        let texts = self.0.run(read).unwrap_or_default();
        texts.iter().flat_map(|text| text.lines()).map(str::to_owned).collect()
    }
}
