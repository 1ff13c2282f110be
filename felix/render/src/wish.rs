//! Which backend is wished for.

/// `nftablesMode`
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum NftablesMode {
    /// What suits the node.
    #[default]
    Auto,
    /// nftables.
    Enabled,
    /// iptables.
    Disabled,
}

/// `iptablesBackend`
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum IptablesBackend {
    /// The one that others on the node use.
    #[default]
    Auto,
    /// ip_tables.
    Legacy,
    /// nf_tables, in tables of iptables' names.
    Nft,
}

/// What the configuration says about the backend.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Wish {
    /// Whether it is nftables.
    pub nftables: NftablesMode,
    /// Which variant of iptables, where it is iptables.
    pub iptables: IptablesBackend,
}
