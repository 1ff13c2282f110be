//! What matters of a BGPConfiguration: `default` for all nodes, `node.<name>` for one.
//! Source: `bgp.md` §2, §9, `resources.md` §1.15 of the contract.

use crate::options::{Options, Scope};
use crate::plan::{LogLevel, SecretRef};
use crate::reading::{Absent, Reading, community, prefix};
use bgp_rib::policy::Community;
use bgp_wire::{PerFamily, Prefix};
use model::Resource;
use model::v3::{BGPConfigurationSpec, NamedCommunity, PrefixAdvertisement};
use std::collections::BTreeMap;

/// AS number where none is configured.
pub(crate) const DEFAULT_AS: u32 = 64512;
/// Metric of ordinary routes where none is configured.
pub(crate) const DEFAULT_PRIORITY: u32 = 1024;
/// Greatest metric that can be configured.
pub(crate) const MAX_PRIORITY: u32 = 2_147_483_646;

/// Which cluster routes the speaker programs itself; the others are Felix's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ClusterRoutes {
    pub(crate) ipip: bool,
    pub(crate) no_encap: bool,
}

impl Default for ClusterRoutes {
    fn default() -> Self {
        ClusterRoutes { ipip: false, no_encap: true }
    }
}

/// Communities of routes inside a prefix.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Advertisement {
    pub(crate) prefix: Prefix,
    pub(crate) communities: Vec<Community>,
}

/// A BGPConfiguration; `None` is what it does not say.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Configuration {
    pub(crate) log_level: Option<LogLevel>,
    pub(crate) mesh: Option<bool>,
    pub(crate) as_number: Option<u32>,
    pub(crate) listen_port: Option<u16>,
    pub(crate) mesh_password: Option<SecretRef>,
    pub(crate) mesh_restart_time: Option<u16>,
    pub(crate) bind_node_ip: bool,
    pub(crate) ignored_interfaces: Vec<String>,
    pub(crate) cluster_routes: ClusterRoutes,
    pub(crate) priorities: PerFamily<Option<u32>>,
    pub(crate) advertisements: Vec<Advertisement>,
    pub(crate) options: Options,
}

/// The BGPConfigurations that count, by name.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Configurations(pub(crate) BTreeMap<String, Configuration>);

impl Configurations {
    /// Whether a BGPConfiguration of this name means anything: that of all nodes, or that of one.
    pub(crate) fn counts(name: &str) -> bool {
        name == "default" || name.starts_with("node.")
    }

    /// The name of a node's own.
    pub(crate) fn name_of(node: &str) -> String {
        format!("node.{node}")
    }

    /// What the cluster's says.
    pub(crate) fn global<T>(&self, get: impl Fn(&Configuration) -> Option<T>) -> Option<T> {
        self.0.get("default").and_then(get)
    }

    /// What a node's own says, else the cluster's.
    pub(crate) fn of_node<T>(&self, node: &str, get: impl Fn(&Configuration) -> Option<T>) -> Option<T> {
        self.0.get(&Self::name_of(node)).and_then(&get).or_else(|| self.global(get))
    }

    /// Options of all sessions of a node.
    pub(crate) fn options(&self, node: &str) -> Options {
        let of = |name: &str| self.0.get(name).map(|c| c.options.clone()).unwrap_or_default();
        of(&Self::name_of(node)).over(&of("default"))
    }
}

impl Configuration {
    pub(crate) fn read(resource: &Resource, reading: &mut Reading) -> Result<Self, Absent> {
        let spec: BGPConfigurationSpec = reading.spec(resource)?;
        let mesh_restart = spec.node_mesh_max_restart_time.as_ref();
        Ok(Configuration {
            log_level: log_level(&spec.log_severity_screen),
            mesh: spec.node_to_node_mesh_enabled,
            as_number: match spec.as_number {
                Some(0) => {
                    reading.warn("spec.asNumber", 0, "is no AS number (RFC 7607); 64512 is used");
                    None
                }
                number => number,
            },
            listen_port: (spec.listen_port != 0).then_some(spec.listen_port),
            mesh_password: reading.secret("spec.nodeMeshPassword", spec.node_mesh_password.as_ref()),
            mesh_restart_time: reading.seconds("spec.nodeMeshMaxRestartTime", mesh_restart),
            bind_node_ip: one_of(reading, "spec.bindMode", &spec.bind_mode, &["None", "NodeIP"])
                == Some("NodeIP"),
            cluster_routes: cluster_routes(reading, &spec.program_cluster_routes),
            priorities: PerFamily {
                ipv4: priority(reading, "spec.ipv4NormalRoutePriority", spec.ipv4_normal_route_priority),
                ipv6: priority(reading, "spec.ipv6NormalRoutePriority", spec.ipv6_normal_route_priority),
            },
            advertisements: advertisements(reading, &spec.prefix_advertisements, &spec.communities),
            ignored_interfaces: spec.ignored_interfaces,
            options: Options::read(resource, Scope::Configuration, reading),
        })
    }
}

/// Of all severities three are told apart.
fn log_level(severity: &str) -> Option<LogLevel> {
    match severity.to_ascii_lowercase().as_str() {
        "" => None,
        "debug" => Some(LogLevel::Debug),
        "info" => Some(LogLevel::Info),
        _ => Some(LogLevel::None),
    }
}

/// A value of a closed list; an unknown one (of a newer release, say) counts as not given.
pub(crate) fn one_of<'a>(
    reading: &mut Reading,
    field: &str,
    value: &'a str,
    known: &[&str],
) -> Option<&'a str> {
    if value.is_empty() {
        return None;
    }
    if known.contains(&value) {
        return Some(value);
    }
    let reason = format!("is not known, so the default holds: it can be one of {}", known.join(", "));
    reading.warn(field, value, reason);
    None
}

fn cluster_routes(reading: &mut Reading, value: &str) -> ClusterRoutes {
    let known = ["Enabled", "Disabled", "EnabledIPIPOnly", "EnabledNoEncapOnly"];
    match one_of(reading, "spec.programClusterRoutes", value, &known) {
        Some("Enabled") => ClusterRoutes { ipip: true, no_encap: true },
        Some("Disabled") => ClusterRoutes { ipip: false, no_encap: false },
        Some("EnabledIPIPOnly") => ClusterRoutes { ipip: true, no_encap: false },
        _ => ClusterRoutes::default(),
    }
}

fn priority(reading: &mut Reading, field: &str, value: Option<u32>) -> Option<u32> {
    match value {
        Some(value) if !(1..=MAX_PRIORITY).contains(&value) => {
            reading.warn(
                field,
                value,
                format!("is not from 1 to {MAX_PRIORITY}; {DEFAULT_PRIORITY} is used"),
            );
            None
        }
        value => value,
    }
}

fn advertisements(
    reading: &mut Reading,
    given: &[PrefixAdvertisement],
    named: &[NamedCommunity],
) -> Vec<Advertisement> {
    let mut advertisements = Vec::new();
    for (index, advertisement) in given.iter().enumerate() {
        let field = format!("spec.prefixAdvertisements[{index}]");
        let Some(prefix) = prefix(&advertisement.cidr) else {
            let reason = "is no CIDR; this advertisement is left out: write one without host bits";
            reading.warn(&format!("{field}.cidr"), &advertisement.cidr, reason);
            continue;
        };
        let mut communities = Vec::new();
        for text in &advertisement.communities {
            let by_name = || named.iter().find(|named| named.name == *text).and_then(|n| community(&n.value));
            match community(text).or_else(by_name) {
                Some(community) => communities.push(community),
                None => {
                    let reason = "is neither a community (aa:nn, aa:nn:mm) nor the name of one in spec.communities; it is left out";
                    reading.warn(&format!("{field}.communities"), text, reason);
                }
            }
        }
        advertisements.push(Advertisement { prefix, communities });
    }
    advertisements
}
