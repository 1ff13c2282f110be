//! What of the agent's configuration decides about the ruleset: what it means for every backend, and what one alone acts
//! on. Fields are called after those of FelixConfiguration (`resources.md` §3.2 of the contract); the defaults are Calico's.

use crate::iptables::Marks;
use model::felix::FailsafePort;
use model::net::Family;
use std::net::{Ipv4Addr, Ipv6Addr};

/// `defaultEndpointToHostAction`: what becomes of a packet from a workload to its host which the workload's policy let
/// through.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum EndpointToHost {
    /// It is dropped.
    #[default]
    Drop,
    /// Other tables of the host decide.
    Return,
    /// It passes; with tables of their own (nftables) that is the same as [`EndpointToHost::Return`].
    Accept,
}

/// `nftablesFilterDenyAction`, `iptablesFilterDenyAction`: how a packet is denied where the kernel allows both.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Deny {
    /// Silently.
    #[default]
    Drop,
    /// The sender is told.
    Reject,
}

/// `serviceLoopPrevention`: what becomes of a forwarded packet to a service address that nobody translated.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum ServiceLoop {
    /// It is forwarded.
    Disabled,
    /// It is dropped.
    #[default]
    Drop,
    /// It is dropped, and the sender is told.
    Reject,
}

/// `logActionRateLimit` and `logActionRateLimitBurst`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LogLimit {
    /// Packets in a unit.
    pub packets: u64,
    /// Seconds of the unit.
    pub unit: u64,
    /// Packets that may come at once.
    pub burst: u32,
}

/// `iptablesFilterAllowAction`, `iptablesMangleAllowAction`: what becomes of a packet that policy let through.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Allow {
    /// Rules of others in that chain of the kernel do not see it.
    #[default]
    Accept,
    /// They decide.
    Return,
}

/// `chainInsertMode`: where in the kernel's chains our rules are.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum InsertMode {
    /// Before those of others.
    #[default]
    Insert,
    /// After those of others.
    Append,
}

/// Exceptions for OpenStack's virtual machines (`felix.md` §5 of the contract).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OpenStack {
    /// `metadataAddr` and `metadataPort`: where questions to the metadata address go; nowhere when `None`.
    pub metadata: Option<(Ipv4Addr, u16)>,
}

/// What the nftables backend alone acts on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Nft {
    /// `nftablesFilterDenyAction`
    pub deny: Deny,
    /// The lowest bit of `nftablesMarkMask`: marks packets that an early policy of a host endpoint let through. It is
    /// used only while there are such policies.
    pub mark: u32,
}

/// What the iptables backend alone acts on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Iptables {
    /// Bits of packets' marks, out of `iptablesMarkMask`.
    pub marks: Marks,
    /// `iptablesFilterAllowAction`
    pub filter_allow: Allow,
    /// `iptablesMangleAllowAction`
    pub mangle_allow: Allow,
    /// `iptablesFilterDenyAction`
    pub deny: Deny,
    /// `chainInsertMode`
    pub insert: InsertMode,
    /// `maxIpsetSize`: most members of an IP set.
    pub max_set_size: u32,
    /// There where virtual machines of OpenStack may be.
    pub openstack: Option<OpenStack>,
}

/// Everything the ruleset depends on beside the datastore and the node's interfaces.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// `interfacePrefix`: how names of workload interfaces begin.
    pub interface_prefixes: Vec<String>,
    /// `ipv6Support`: whether there is an `ip6` table.
    pub ipv6: bool,
    /// `defaultEndpointToHostAction`
    pub endpoint_to_host: EndpointToHost,
    /// `disableConntrackInvalidCheck`, the other way round: whether packets that fit no connection are dropped.
    pub drop_invalid: bool,
    /// `logPrefix`, with its tokens.
    pub log_prefix: String,
    /// Lines a rule with `action: Log` may write; any number when `None`.
    pub log_limit: Option<LogLimit>,
    /// `failsafeInboundHostPorts`
    pub failsafe_inbound: Vec<FailsafePort>,
    /// `failsafeOutboundHostPorts`
    pub failsafe_outbound: Vec<FailsafePort>,
    /// `serviceLoopPrevention`
    pub service_loop: ServiceLoop,
    /// `workloadSourceSpoofing: Any`: whether the source prefixes a workload asks for are granted.
    pub source_spoofing: bool,
    /// `allowVXLANPacketsFromWorkloads`
    pub vxlan_from_workloads: bool,
    /// `allowIPIPPacketsFromWorkloads`
    pub ipip_from_workloads: bool,
    /// `vxlanPort`
    pub vxlan_port: u16,
    /// `floatingIPs`: whether floating addresses are translated.
    pub floating_ips: bool,
    /// `natOutgoingAddress`: the source of what leaves the pools; that of the outgoing interface when `None`.
    pub nat_outgoing_address: Option<Ipv4Addr>,
    /// The same for IPv6, which FelixConfiguration does not have.
    pub nat_outgoing_address_v6: Option<Ipv6Addr>,
    /// `natOutgoingExclusions: IPPoolsAndHostIPs`: whether packets to nodes keep their source.
    pub nat_excludes_hosts: bool,
    /// `natPortRange`: first and last.
    pub nat_ports: Option<(u16, u16)>,
    /// `iptablesNATOutgoingInterfaceFilter`: only what leaves by this interface; one ending in `+` names a prefix.
    pub nat_outgoing_interface: Option<String>,
    /// What only the nftables backend acts on.
    pub nft: Nft,
    /// What only the iptables backend acts on.
    pub iptables: Iptables,
}

impl Default for Nft {
    fn default() -> Self {
        Nft { deny: Deny::default(), mark: 0x10000 }
    }
}

impl Default for Iptables {
    fn default() -> Self {
        Iptables {
            marks: Marks::default(),
            filter_allow: Allow::default(),
            mangle_allow: Allow::default(),
            deny: Deny::default(),
            insert: InsertMode::default(),
            max_set_size: 1 << 20,
            openstack: None,
        }
    }
}

impl Default for Settings {
    fn default() -> Self {
        let ports = |first: &[(&str, u16)]| {
            let common = [179, 2379, 2380, 5473, 6443, 6666, 6667].map(|port| ("tcp", port));
            let port = |(protocol, port): &(&str, u16)| FailsafePort {
                protocol: (*protocol).to_owned(),
                net: None,
                port: *port,
            };
            first.iter().chain(&common).map(port).collect()
        };
        Settings {
            interface_prefixes: vec!["cali".to_owned()],
            ipv6: true,
            endpoint_to_host: EndpointToHost::default(),
            drop_invalid: true,
            log_prefix: "calico-packet".to_owned(),
            log_limit: None,
            failsafe_inbound: ports(&[("tcp", 22), ("udp", 68)]),
            failsafe_outbound: ports(&[("udp", 53), ("udp", 67)]),
            service_loop: ServiceLoop::default(),
            source_spoofing: false,
            vxlan_from_workloads: false,
            ipip_from_workloads: false,
            vxlan_port: 4789,
            floating_ips: false,
            nat_outgoing_address: None,
            nat_outgoing_address_v6: None,
            nat_excludes_hosts: false,
            nat_ports: None,
            nat_outgoing_interface: None,
            nft: Nft::default(),
            iptables: Iptables::default(),
        }
    }
}

impl Settings {
    /// The families that have tables.
    pub(crate) fn families(&self) -> Vec<Family> {
        match self.ipv6 {
            true => vec![Family::V4, Family::V6],
            false => vec![Family::V4],
        }
    }

    /// Whether an interface of this name is a workload's.
    pub fn is_workload(&self, interface: &str) -> bool {
        self.interface_prefixes.iter().any(|prefix| interface.starts_with(&**prefix))
    }
}
