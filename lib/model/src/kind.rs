//! The kinds of `projectcalico.org/v3`: one row each drives keys, plurals, aliases and scope.
//! Source: `datamodel.md` §3 and `calicoctl.md` §4 of the contract.

/// API group and version of every resource.
pub const API_VERSION: &str = "projectcalico.org/v3";

macro_rules! kinds {
    ($($(#[$doc:meta])* $kind:ident, $plural:literal, $namespaced:literal, [$($alias:literal),*];)*) => {
        /// A kind of resource.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Kind { $($(#[$doc])* $kind,)* }

        impl Kind {
            /// Every kind, in alphabetical order.
            pub const ALL: &'static [Kind] = &[$(Kind::$kind,)*];

            /// The row of this kind.
            pub fn info(self) -> &'static KindInfo {
                match self { $(Kind::$kind => &KindInfo {
                    kind: Kind::$kind, name: stringify!($kind), plural: $plural, namespaced: $namespaced,
                    aliases: &[$($alias),*],
                },)* }
            }
        }
    };
}

/// What is fixed about a kind.
#[derive(Debug)]
pub struct KindInfo {
    /// The kind.
    pub kind: Kind,
    /// As written in `kind:`.
    pub name: &'static str,
    /// As in keys and on the command line.
    pub plural: &'static str,
    /// Lives in a namespace.
    pub namespaced: bool,
    /// Names the command line takes besides the lower-case kind and the plural; empty for kinds it does not offer.
    pub aliases: &'static [&'static str],
}

kinds! {
    /// BGP settings of the cluster or a node.
    BGPConfiguration, "bgpconfigurations", false, ["bgpconfig", "bgpconfigs"];
    /// Import and export rules of BGP peers.
    BGPFilter, "bgpfilters", false, ["bgpf", "bgpfs", "bf", "bfs"];
    /// A BGP neighbour.
    BGPPeer, "bgppeers", false, ["bgpp", "bgpps", "bp", "bps"];
    /// Read-mostly view of a block affinity.
    BlockAffinity, "blockaffinities", false, [];
    /// Status a node reports on request.
    CalicoNodeStatus, "caliconodestatuses", false, ["nodestatus", "nodestatuses"];
    /// Facts about the whole cluster.
    ClusterInformation, "clusterinformations", false, ["clusterinfo", "clusterinfos"];
    /// Settings of the node agent.
    FelixConfiguration, "felixconfigurations", false, ["felixconfig", "felixconfigs"];
    /// Policy for all namespaces and hosts.
    GlobalNetworkPolicy, "globalnetworkpolicies", false, ["gnp", "gnps"];
    /// Named networks for all namespaces.
    GlobalNetworkSet, "globalnetworksets", false, ["gnetsets"];
    /// An interface of a host under policy.
    HostEndpoint, "hostendpoints", false, ["hep", "heps"];
    /// IPAM settings, v1 resource kind.
    IPAMConfig, "ipamconfigs", false, [];
    /// IPAM settings.
    IPAMConfiguration, "ipamconfigurations", false, ["ipamconfig", "ipamconfigs"];
    /// Addresses to assign from.
    IPPool, "ippools", false, ["ipp", "ipps", "pool", "pools"];
    /// Addresses not to assign.
    IPReservation, "ipreservations", false, ["reservation", "reservations"];
    /// Settings of the controllers.
    KubeControllersConfiguration, "kubecontrollersconfigurations", false, ["kubecontrollersconfig", "kubecontrollersconfigs"];
    /// A migrating virtual machine (internal).
    LiveMigration, "livemigrations", true, [];
    /// Policy for one namespace.
    NetworkPolicy, "networkpolicies", true, ["policy", "policies", "np", "pol", "pols"];
    /// Named networks for one namespace.
    NetworkSet, "networksets", true, ["netsets"];
    /// A host.
    Node, "nodes", false, ["no", "nos"];
    /// Rules and labels endpoints inherit.
    Profile, "profiles", false, ["pro", "pros"];
    /// A global policy that is evaluated but not enforced.
    StagedGlobalNetworkPolicy, "stagedglobalnetworkpolicies", false, ["sgnp", "sgnps"];
    /// A Kubernetes policy that is evaluated but not enforced.
    StagedKubernetesNetworkPolicy, "stagedkubernetesnetworkpolicies", true,
        ["stagedkubernetespolicy", "stagedkubernetespolicies", "sknp", "skpol", "skpols"];
    /// A policy that is evaluated but not enforced.
    StagedNetworkPolicy, "stagednetworkpolicies", true, ["stagedpolicy", "stagedpolicies", "snp", "spol", "spols"];
    /// An ordered group of policies.
    Tier, "tiers", false, [];
    /// A workload's interface.
    WorkloadEndpoint, "workloadendpoints", true, ["wep", "weps"];
}

impl Kind {
    /// As written in `kind:`.
    pub fn name(self) -> &'static str {
        self.info().name
    }

    /// Whether the command line offers the kind.
    pub fn is_writable(self) -> bool {
        !self.info().aliases.is_empty() || self == Kind::Tier
    }

    /// As in keys.
    pub fn plural(self) -> &'static str {
        self.info().plural
    }

    /// Lives in a namespace.
    pub fn namespaced(self) -> bool {
        self.info().namespaced
    }

    /// The kind written exactly so in `kind:`.
    pub fn from_name(name: &str) -> Option<Kind> {
        Kind::ALL.iter().copied().find(|k| k.name() == name)
    }

    /// The kind of this plural in a key.
    pub fn from_plural(plural: &str) -> Option<Kind> {
        Kind::ALL.iter().copied().find(|k| k.plural() == plural)
    }

    /// The kind a person means on the command line, any case; `None` also for kinds the command line does not offer.
    pub fn from_alias(word: &str) -> Option<Kind> {
        let word = word.to_ascii_lowercase();
        Kind::ALL.iter().copied().find(|k| {
            let info = k.info();
            k.is_writable()
                && (info.name.eq_ignore_ascii_case(&word)
                    || info.plural == word
                    || info.aliases.contains(&word.as_str()))
        })
    }
}

#[cfg(test)]
mod tests;
