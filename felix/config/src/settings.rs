//! What the agent understands of its parameters, by who needs it.
//!
//! Here and nowhere else parameters are read: what [`Settings::of`] asks for is what the agent acts on.

use crate::reader::Reader;
use crate::resolve::Configuration;
use felix_calc::Options;
use felix_render::iptables::Marks;
use felix_render::settings::{
    self, Allow, Deny, EndpointToHost, InsertMode, Iptables, LogLimit, Nft, OpenStack, ServiceLoop,
};
use felix_render::wish::{IptablesBackend, NftablesMode, Wish};
use model::felix::Setting;
use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::PathBuf;
use std::sync::LazyLock;
use std::time::Duration;

/// Everything the agent's parts act on.
#[derive(Debug, Clone, PartialEq)]
pub struct Settings {
    /// Of the calculation.
    pub calc: Options,
    /// `nftablesMode` and `iptablesBackend`
    pub backend: Wish,
    /// Of the ruleset.
    pub rules: settings::Settings,
    /// Of routes and the host's parameters.
    pub host: Host,
    /// What is told about endpoints and the agent.
    pub status: Status,
    /// Where people and programs ask for health and metrics.
    pub observe: Observe,
}

/// Routes to workloads and parameters of the host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Host {
    /// `deviceRouteProtocol`; none where no source says anything.
    pub route_protocol: Option<u8>,
    /// `deviceRouteSourceAddress`
    pub route_source: Option<Ipv4Addr>,
    /// `deviceRouteSourceAddressIPv6`
    pub route_source_v6: Option<Ipv6Addr>,
    /// `ipv4NormalRoutePriority`
    pub route_metric: u32,
    /// `ipv6NormalRoutePriority`
    pub route_metric_v6: u32,
    /// `removeExternalRoutes`
    pub removes_external_routes: bool,
    /// `routeSyncDisabled`, the other way round.
    pub programs_routes: bool,
    /// `ipForwarding`
    pub forwards: bool,
    /// `requireMTUFile`: without the file for the CNI plugin the agent ends.
    pub requires_mtu_file: bool,
    /// `mtuIfacePattern`: links whose MTU bounds that of workloads.
    pub mtu_interfaces: String,
}

/// What the agent tells about endpoints and about itself (`felix.md` §16 of the contract).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Status {
    /// `endpointStatusPathPrefix`: the directory that holds `endpoint-status`; none for no files.
    pub path: Option<PathBuf>,
    /// `endpointReportingEnabled`: status of endpoints goes into the datastore.
    pub endpoints: bool,
    /// `endpointReportingDelay`: least time between two such writes.
    pub delay: Duration,
    /// `reportingInterval` between the agent's own reports; none for no reports.
    pub interval: Option<Duration>,
    /// `reportingTTL` of such a report.
    pub ttl: Duration,
    /// `openstackRegion`
    pub region: Option<String>,
}

/// Where the agent can be asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Observe {
    /// `/liveness` and `/readiness`.
    pub health: Option<Listen>,
    /// `/metrics`. None also where it should be TLS, which is not served yet: what is meant to be hidden is not shown in clear.
    pub metrics: Option<Listen>,
    /// Metrics tell what the kernel knows of the process, too: `prometheusProcessMetricsEnabled`.
    pub process_metrics: bool,
    /// Silence of the main loop after which it counts as dead.
    pub watchdog: Duration,
    /// `logSeverityScreen`
    pub log_level: String,
    /// `logFilePath`, where a source sets it; none for no file.
    pub log_file: Option<PathBuf>,
    /// `logSeverityFile`
    pub log_level_file: String,
}

/// Where a server listens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listen {
    /// Name or address; empty for all addresses.
    pub host: String,
    /// TCP port.
    pub port: u16,
}

/// The reporter whose promise `dataplaneWatchdogTimeout` is, as `healthTimeoutOverrides` calls it.
pub const MAIN_LOOP: &str = "InternalDataplaneMainLoop";
/// The watchdog is never quicker (`felix.md` §1.1 of the contract).
const LEAST_WATCHDOG: Duration = Duration::from_secs(20);

/// Whether the agent acts on a parameter, by its name as in the table.
pub fn is_acted_on(name: &str) -> bool {
    static ASKED: LazyLock<BTreeSet<&'static str>> = LazyLock::new(|| {
        let defaults = Configuration::defaults();
        let reader = Reader::new(&defaults);
        Settings::read(&reader);
        let mut asked = reader.asked();
        // read before there is a configuration: see `Local`
        asked.extend(["FelixHostname", "DatastoreType", "EtcdEndpoints", "EtcdAddr", "EtcdScheme"]);
        asked.extend(["EtcdCaFile", "EtcdCertFile", "EtcdKeyFile"]);
        asked
    });
    ASKED.contains(name)
}

/// Where all of these are set `/metrics` should be TLS. Not asked for as parameters that are acted on: it is not served at all.
pub(crate) const TLS_OF_METRICS: [&str; 2] = ["PrometheusMetricsCertFile", "PrometheusMetricsKeyFile"];

/// What Calico's agent does and this one never does, each with the value that says not to: a source that says so has what it
/// wants.
const NEVER_DONE: [(&str, &str); 5] = [
    ("UsageReportingEnabled", "false"),
    ("XDPEnabled", "false"),
    ("PrometheusGoMetricsEnabled", "false"),
    ("PrometheusWireGuardMetricsEnabled", "false"),
    ("LogSeveritySys", "none"),
];

/// Whether a value of a parameter that is not acted on asks for nothing that the agent does not do anyway.
pub(crate) fn asks_for_nothing(name: &str, text: &str) -> bool {
    NEVER_DONE.iter().any(|(known, never)| *known == name && text.eq_ignore_ascii_case(never))
}

impl Settings {
    /// What a configuration means.
    pub fn of(configuration: &Configuration) -> Self {
        Self::read(&Reader::new(configuration))
    }

    // No parameter is read under a condition: see `is_acted_on`.
    fn read(reader: &Reader<'_>) -> Self {
        Self {
            calc: calc(reader),
            backend: backend(reader),
            rules: rules(reader),
            host: host(reader),
            status: status(reader),
            observe: observe(reader),
        }
    }
}

fn calc(reader: &Reader<'_>) -> Options {
    let routes = reader.text("ProgramClusterRoutes").to_ascii_lowercase();
    Options {
        ipip_routes: matches!(&*routes, "enabled" | "enabledipiponly"),
        no_encap_routes: matches!(&*routes, "enabled" | "enablednoencaponly"),
        ipip_enabled: reader.optional_flag("IpInIpEnabled"),
        masquerade_spares_hosts: spares_hosts(reader),
        external_nodes: reader.cidrs("ExternalNodesCIDRList").to_vec(),
    }
}

fn backend(reader: &Reader<'_>) -> Wish {
    let (nftables, iptables) = (reader.text("NFTablesMode"), reader.text("IptablesBackend"));
    Wish {
        nftables: match &*nftables.to_ascii_lowercase() {
            "enabled" => NftablesMode::Enabled,
            "disabled" => NftablesMode::Disabled,
            _ => NftablesMode::Auto,
        },
        iptables: match &*iptables.to_ascii_lowercase() {
            "legacy" => IptablesBackend::Legacy,
            "nft" => IptablesBackend::Nft,
            _ => IptablesBackend::Auto,
        },
    }
}

fn spares_hosts(reader: &Reader<'_>) -> bool {
    reader.is("NATOutgoingExclusions", "IPPoolsAndHostIPs")
}

fn rules(reader: &Reader<'_>) -> settings::Settings {
    let address_v4 = |name| match reader.address(name) {
        Some(IpAddr::V4(address)) => Some(address),
        _ => None,
    };
    let to_host = reader.text("DefaultEndpointToHostAction").to_ascii_uppercase();
    let service_loop = reader.text("ServiceLoopPrevention").to_ascii_lowercase();
    let burst = reader.number("LogActionRateLimitBurst");
    settings::Settings {
        interface_prefixes: reader.texts("InterfacePrefix").to_vec(),
        ipv6: reader.flag("Ipv6Support"),
        endpoint_to_host: match &*to_host {
            "ACCEPT" => EndpointToHost::Accept,
            "RETURN" => EndpointToHost::Return,
            _ => EndpointToHost::Drop,
        },
        drop_invalid: !reader.flag("DisableConntrackInvalidCheck"),
        log_prefix: reader.text("LogPrefix").to_owned(),
        log_limit: log_limit(reader.text("LogActionRateLimit"), burst),
        failsafe_inbound: reader.failsafe_ports("FailsafeInboundHostPorts").to_vec(),
        failsafe_outbound: reader.failsafe_ports("FailsafeOutboundHostPorts").to_vec(),
        service_loop: match &*service_loop {
            "disabled" => ServiceLoop::Disabled,
            "reject" => ServiceLoop::Reject,
            _ => ServiceLoop::Drop,
        },
        source_spoofing: reader.is("WorkloadSourceSpoofing", "Any"),
        vxlan_from_workloads: reader.flag("AllowVXLANPacketsFromWorkloads"),
        ipip_from_workloads: reader.flag("AllowIPIPPacketsFromWorkloads"),
        vxlan_port: reader.number("VXLANPort"),
        floating_ips: reader.is("FloatingIPs", "Enabled"),
        nat_outgoing_address: address_v4("NATOutgoingAddress"),
        nat_outgoing_address_v6: None,
        nat_excludes_hosts: spares_hosts(reader),
        nat_ports: match reader.get("NATPortRange") {
            Setting::PortRange(first, last) => Some((*first, *last)).filter(|(_, last)| *last > 0),
            _ => None,
        },
        nat_outgoing_interface: reader.optional_text("IptablesNATOutgoingInterfaceFilter"),
        nft: nft(reader),
        iptables: iptables(reader),
    }
}

fn nft(reader: &Reader<'_>) -> Nft {
    let mask: u32 = reader.number("NftablesMarkMask");
    Nft { deny: deny(reader, "NftablesFilterDenyAction"), mark: mask & mask.wrapping_neg() }
}

fn iptables(reader: &Reader<'_>) -> Iptables {
    let allow = |name| if reader.is(name, "RETURN") { Allow::Return } else { Allow::Accept };
    Iptables {
        // a mask that is too small is a problem, and the default counts: see `unusable`
        marks: Marks::of(reader.number(MARK_MASK)).unwrap_or_default(),
        filter_allow: allow("IptablesFilterAllowAction"),
        mangle_allow: allow("IptablesMangleAllowAction"),
        deny: deny(reader, "IptablesFilterDenyAction"),
        insert: if reader.is("ChainInsertMode", "append") { InsertMode::Append } else { InsertMode::Insert },
        max_set_size: reader.number("MaxIpsetSize"),
        openstack: openstack(reader),
    }
}

fn deny(reader: &Reader<'_>, name: &'static str) -> Deny {
    if reader.is(name, "REJECT") { Deny::Reject } else { Deny::Drop }
}

/// There where something hints at it, as upstream's: interfaces as its virtual machines have them, or a metadata service that
/// somebody set.
fn openstack(reader: &Reader<'_>) -> Option<OpenStack> {
    let (address, port) = (reader.text("MetadataAddr"), reader.number("MetadataPort"));
    let taps = reader.texts("InterfacePrefix").iter().any(|prefix| prefix == "tap");
    let set = address != "127.0.0.1" || port != 8775;
    let metadata = address.parse().ok().filter(|_| port != 0).map(|address| (address, port));
    (taps || set).then_some(OpenStack { metadata })
}

const MARK_MASK: &str = "IptablesMarkMask";

/// What a value lacks that can be read and be of no use; Calico's agent ends with such a one.
pub(crate) fn unusable(name: &str, value: &Setting) -> Option<String> {
    match value {
        Setting::Int(mask) if name == MARK_MASK => {
            let usable = u32::try_from(*mask).ok().and_then(Marks::of).is_some();
            (!usable).then(|| format!("a mask of at least {} bits", Marks::NEEDED))
        }
        _ => None,
    }
}

/// `count/unit`, as the table's syntax admits it.
fn log_limit(text: &str, burst: u32) -> Option<LogLimit> {
    let (count, unit) = text.split_once('/')?;
    let unit = match unit {
        "second" => 1,
        "minute" => 60,
        "hour" => 60 * 60,
        "day" => 24 * 60 * 60,
        _ => return None,
    };
    Some(LogLimit { packets: count.parse().ok()?, unit, burst })
}

fn host(reader: &Reader<'_>) -> Host {
    let protocol = reader.number("DeviceRouteProtocol");
    Host {
        route_protocol: reader.given("DeviceRouteProtocol").then_some(protocol),
        route_source: match reader.address("DeviceRouteSourceAddress") {
            Some(IpAddr::V4(address)) => Some(address),
            _ => None,
        },
        route_source_v6: match reader.address("DeviceRouteSourceAddressIPv6") {
            Some(IpAddr::V6(address)) => Some(address),
            _ => None,
        },
        route_metric: reader.number("IPv4NormalRoutePriority"),
        route_metric_v6: reader.number("IPv6NormalRoutePriority"),
        removes_external_routes: reader.flag("RemoveExternalRoutes"),
        programs_routes: !reader.flag("RouteSyncDisabled"),
        forwards: reader.is("IPForwarding", "Enabled"),
        requires_mtu_file: reader.flag("RequireMTUFile"),
        mtu_interfaces: reader.text("MTUIfacePattern").to_owned(),
    }
}

fn status(reader: &Reader<'_>) -> Status {
    Status {
        path: reader.optional_text("EndpointStatusPathPrefix").map(PathBuf::from),
        endpoints: reader.flag("EndpointReportingEnabled"),
        delay: reader.duration("EndpointReportingDelaySecs"),
        interval: Some(reader.duration("ReportingIntervalSecs")).filter(|interval| !interval.is_zero()),
        ttl: reader.duration("ReportingTTLSecs"),
        region: reader.optional_text("OpenstackRegion"),
    }
}

fn observe(reader: &Reader<'_>) -> Observe {
    let listen = |on, host, port| {
        let listen = Listen { host: reader.text(host).to_owned(), port: reader.number(port) };
        reader.flag(on).then_some(listen)
    };
    let overridden = match reader.get("HealthTimeoutOverrides") {
        Setting::Timeouts(timeouts) => timeouts.get(MAIN_LOOP).copied(),
        _ => None,
    };
    let watchdog = reader.duration("DataplaneWatchdogTimeout").max(LEAST_WATCHDOG);
    let file = reader.optional_text("LogFilePath");
    Observe {
        health: listen("HealthEnabled", "HealthHost", "HealthPort"),
        metrics: listen("PrometheusMetricsEnabled", "PrometheusMetricsHost", "PrometheusMetricsPort")
            .filter(|_| !TLS_OF_METRICS.into_iter().all(|name| reader.given(name))),
        process_metrics: reader.flag("PrometheusProcessMetricsEnabled"),
        watchdog: overridden.unwrap_or(watchdog),
        log_level: reader.text("LogSeverityScreen").to_owned(),
        log_file: file.filter(|_| reader.given("LogFilePath")).map(PathBuf::from),
        log_level_file: reader.text("LogSeverityFile").to_owned(),
    }
}

#[cfg(test)]
mod tests;
