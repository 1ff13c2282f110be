//! Every parameter of the node agent that a FelixConfiguration can set, in stored order: name, type, and what the
//! schema says about its value; and, for the agent itself, how the parameter is written elsewhere, its default and its
//! meaning ([`crate::felix`]). Source: `resources.md` §3 of the contract.

use super::patterns::{
    CONNTRACK_TIMEOUT, FEATURE_DETECTION, FEATURE_GATES, IFACE_FILTER, LOG_PREFIX, LOG_RATE, PROMETHEUS_HOST,
    WHOLE_DURATION, any_case,
};
use super::{checks, ebpf, routing};
use crate::felix::Syntax;
use crate::felix::parameter::{boolean, free, given, seconds, whole, words};
use crate::net::Family;
use crate::schema::field::{Default, TEXT, duration, flag, int, list, text, uint16};
use crate::schema::tags::{self, at_least, at_most};
use crate::schema::{Check, Field, Object, Type};

pub(super) static SPEC: Object = Object::new(&FIELDS).rule(checks::rule).cel(checks::cel);

/// The eBPF data plane has a file of its own, and so has what follows it.
static FIELDS: [Field; FIRST.len() + ebpf::FIELDS.len() + routing::FIELDS.len()] =
    join([FIRST, ebpf::FIELDS, routing::FIELDS]);

#[allow(clippy::indexing_slicing)] // evaluated when compiling: a wrong length does not build
const fn join<const N: usize>(parts: [&[Field]; 3]) -> [Field; N] {
    let mut all = [Field::item(Type::Any); N];
    let (mut at, mut part) = (0, 0);
    while part < parts.len() {
        let mut index = 0;
        while index < parts[part].len() {
            all[at] = parts[part][index];
            (at, index) = (at + 1, index + 1);
        }
        part += 1;
    }
    all
}

const FIRST: &[Field] = &[
    text("nodeSelector").pointer().check(Check::MaxLength(1024)),
    flag("useInternalDataplaneDriver").pointer().parameter(boolean("true", "built-in dataplane")),
    text("dataplaneDriver").parameter(
        given(Syntax::Path, "calico-iptables-plugin", "external driver binary (if internal off)")
            .fatal()
            .required(),
    ),
    duration("dataplaneWatchdogTimeout")
        .parameter(seconds("90", "main loop liveness timeout (deprecated for overrides)")),
    flag("ipv6Support")
        .go("IPv6Support")
        .pointer()
        .parameter(boolean("true", "program IPv6").named("Ipv6Support")),
    duration("routeRefreshInterval").check(WHOLE_DURATION).parameter(seconds("90", "route resync; 0 off")),
    duration("interfaceRefreshInterval")
        .check(WHOLE_DURATION)
        .parameter(seconds("90", "rescan of links; 0 off")),
    duration("iptablesRefreshInterval")
        .check(WHOLE_DURATION)
        .parameter(seconds("180", "iptables resync; 0 off")),
    duration("iptablesPostWriteCheckInterval")
        .check(WHOLE_DURATION)
        .parameter(seconds("5", "re-read delay after writes").named("IptablesPostWriteCheckIntervalSecs")),
    duration("iptablesLockProbeInterval")
        .check(WHOLE_DURATION)
        .parameter(given(Syntax::Millis, "50", "xtables lock poll").named("IptablesLockProbeIntervalMillis")),
    text("featureDetectOverride").tag(tags::KEY_VALUES).check(FEATURE_DETECTION).parameter(given(
        Syntax::Pairs,
        "",
        "force detected features, e.g. SNATFullyRandom=true",
    )),
    text("featureGates").tag(tags::KEY_VALUES).check(FEATURE_GATES).parameter(given(
        Syntax::Pairs,
        "",
        "experimental switches key=value",
    )),
    duration("ipsetsRefreshInterval").check(WHOLE_DURATION).parameter(seconds("90", "ipset resync; 0 off")),
    int("maxIpsetSize").pointer().parameter(whole("1048576", "maxelem of ipsets")),
    text("iptablesBackend")
        .pointer()
        .check(Check::Enum(&["Legacy", "NFT", "Auto"]))
        .check(any_case!("Auto", "Legacy", "NFT"))
        .parameter(words(&["auto", "legacy", "nft"], "auto", "iptables variant")),
    duration("xdpRefreshInterval")
        .go("XDPRefreshInterval")
        .check(WHOLE_DURATION)
        .parameter(seconds("90", "XDP resync; 0 off")),
    duration("netlinkTimeout")
        .check(WHOLE_DURATION)
        .parameter(seconds("10", "netlink socket timeout").named("NetlinkTimeoutSecs")),
    text("metadataAddr")
        .parameter(given(Syntax::Hostname, "127.0.0.1", "OpenStack metadata IP; none off").fatal()),
    int("metadataPort")
        .pointer()
        .parameter(given(Syntax::Int { min: 0, max: 65535 }, "8775", "metadata port").fatal()),
    text("openstackRegion").parameter(given(Syntax::Region, "", "region in status keys").fatal()),
    text("interfacePrefix")
        .parameter(given(Syntax::Prefixes, "cali", "list of workload interface prefixes").fatal().required()),
    text("interfaceExclude").parameter(given(
        Syntax::NamesOrRegexes,
        "kube-ipvs0",
        "names or /regex/ ignored for auto host endpoints",
    )),
    text("chainInsertMode").check(any_case!("Insert", "Append")).parameter(
        words(
            &["append", "insert"],
            "insert",
            "hook rules at top (insert) or bottom (append) of kernel chains",
        )
        .fatal()
        .required(),
    ),
    text("defaultEndpointToHostAction").check(any_case!("Drop", "Accept", "Return")).parameter(
        words(&["ACCEPT", "DROP", "RETURN"], "DROP", "what to do with pod→host after policy")
            .fatal()
            .required(),
    ),
    text("iptablesFilterAllowAction").check(any_case!("Accept", "Return")).parameter(
        words(&["ACCEPT", "RETURN"], "ACCEPT", "final action of allow in filter").fatal().required(),
    ),
    text("iptablesMangleAllowAction").check(any_case!("Accept", "Return")).parameter(
        words(&["ACCEPT", "RETURN"], "ACCEPT", "final action of allow in mangle").fatal().required(),
    ),
    text("iptablesFilterDenyAction")
        .check(any_case!("Drop", "Reject"))
        .parameter(words(&["DROP", "REJECT"], "DROP", "deny verdict").fatal().required()),
    text("logPrefix")
        .check(LOG_PREFIX)
        .parameter(free("calico-packet", "prefix of Log rules; %t tier %k kind %p policy %n ns/name")),
    text("logActionRateLimit").pointer().check(LOG_RATE).parameter(given(
        Syntax::Rate,
        "",
        "rate limit of Log rules, n/unit",
    )),
    int("logActionRateLimitBurst").pointer().check(Check::Min(0)).check(Check::Max(9999)).parameter(given(
        Syntax::Int { min: 0, max: i64::MAX },
        "5",
        "burst for that limit",
    )),
    text("logFilePath")
        .parameter(given(Syntax::Path, "/var/log/calico/felix.log", "log file; empty/none = off").fatal()),
    text("logSeverityFile")
        .check(any_case!("Trace", "Debug", "Info", "Warning", "Error", "Fatal"))
        .parameter(words(&["DEBUG", "ERROR", "FATAL", "INFO", "TRACE", "WARNING"], "INFO", "file threshold")),
    text("logSeverityScreen")
        .check(any_case!("Trace", "Debug", "Info", "Warning", "Error", "Fatal"))
        .parameter(words(
            &["DEBUG", "ERROR", "FATAL", "INFO", "TRACE", "WARNING"],
            "INFO",
            "stdout threshold",
        )),
    text("logSeveritySys").check(any_case!("Trace", "Debug", "Info", "Warning", "Error", "Fatal")).parameter(
        words(&["DEBUG", "ERROR", "FATAL", "INFO", "TRACE", "WARNING"], "INFO", "syslog threshold"),
    ),
    text("logDebugFilenameRegex").tag(tags::REGEXP).parameter(given(
        Syntax::Regex,
        "",
        "restrict debug logs to source files",
    )),
    flag("ipipEnabled")
        .go("IPIPEnabled")
        .pointer()
        .parameter(boolean("", "unset = auto from pools").named("IpInIpEnabled")),
    int("ipipMTU").go("IPIPMTU").pointer().parameter(whole("0", "0 = auto").named("IpInIpMtu")),
    flag("vxlanEnabled").go("VXLANEnabled").pointer().parameter(boolean("", "unset = auto from pools")),
    int("vxlanMTU").go("VXLANMTU").pointer().parameter(whole("0", "0 = auto")),
    int("vxlanMTUV6").go("VXLANMTUV6").pointer().parameter(whole("0", "0 = auto")),
    int("vxlanPort").go("VXLANPort").pointer().parameter(whole("4789", "UDP port")),
    int("vxlanVNI").go("VXLANVNI").pointer().parameter(whole("4096", "VNI")),
    flag("allowVXLANPacketsFromWorkloads")
        .pointer()
        .parameter(boolean("false", "do not drop VXLAN from pods")),
    flag("allowIPIPPacketsFromWorkloads").pointer().parameter(boolean("false", "do not drop IPIP from pods")),
    duration("reportingInterval")
        .check(WHOLE_DURATION)
        .parameter(seconds("30", "Felix status period; 0 off").named("ReportingIntervalSecs")),
    duration("reportingTTL")
        .check(WHOLE_DURATION)
        .parameter(seconds("90", "lease of active status").named("ReportingTTLSecs")),
    flag("endpointReportingEnabled").pointer().parameter(boolean("false", "write endpoint status to etcd")),
    duration("endpointReportingDelay")
        .check(WHOLE_DURATION)
        .parameter(seconds("1", "min gap between status writes").named("EndpointReportingDelaySecs")),
    text("endpointStatusPathPrefix").parameter(given(
        Syntax::Path,
        "/var/run/calico",
        "dir prefix for endpoint-status files; empty = off",
    )),
    int("iptablesMarkMask")
        .pointer()
        .check(Check::Min(0))
        .check(Check::Max(4294967295))
        .parameter(given(Syntax::Mask, "0xffff0000", "mark bits Felix may use").fatal().required()),
    flag("disableConntrackInvalidCheck").pointer().parameter(boolean("false", "do not drop ct INVALID")),
    flag("healthEnabled").pointer().parameter(boolean("false", "serve /liveness and /readiness")),
    text("healthHost").pointer().parameter(given(
        Syntax::HostAddress,
        "localhost",
        "bind address of health server",
    )),
    int("healthPort").pointer().parameter(given(
        Syntax::Int { min: 0, max: 65535 },
        "9099",
        "port of health server",
    )),
    list("healthTimeoutOverrides", HEALTH_TIMEOUT).parameter(given(
        Syntax::Timeouts,
        "",
        "per-component watchdog timeouts",
    )),
    flag("prometheusMetricsEnabled").pointer().parameter(boolean("false", "serve metrics")),
    text("prometheusMetricsHost").tag(PROMETHEUS_HOST).parameter(given(
        Syntax::HostAddress,
        "",
        "bind address; empty = all",
    )),
    int("prometheusMetricsPort").pointer().parameter(given(
        Syntax::Int { min: 0, max: 65535 },
        "9091",
        "metrics port",
    )),
    flag("prometheusGoMetricsEnabled").pointer().parameter(boolean("true", "export Go runtime metrics")),
    flag("prometheusProcessMetricsEnabled").pointer().parameter(boolean("true", "export process metrics")),
    flag("prometheusWireGuardMetricsEnabled")
        .pointer()
        .parameter(boolean("true", "export WireGuard metrics")),
    text("prometheusMetricsCAFile").pointer().parameter(free("", "mTLS CA")),
    text("prometheusMetricsCertFile").pointer().parameter(free("", "TLS cert for metrics")),
    text("prometheusMetricsKeyFile").pointer().parameter(free("", "TLS key")),
    text("prometheusMetricsClientAuth")
        .pointer()
        .tag(tags::one_of!(
            "RequireAndVerifyClientCert",
            "RequireAnyClientCert",
            "VerifyClientCertIfGiven",
            "NoClientCert"
        ))
        .check(Check::Enum(&[
            "RequireAndVerifyClientCert",
            "RequireAnyClientCert",
            "VerifyClientCertIfGiven",
            "NoClientCert",
        ]))
        .parameter(words(
            &[
                "NoClientCert",
                "RequireAndVerifyClientCert",
                "RequireAnyClientCert",
                "VerifyClientCertIfGiven",
            ],
            "NoClientCert",
            "client cert policy",
        )),
    list("failsafeInboundHostPorts", PROTO_PORT).pointer().parameter(
        given(
            Syntax::FailsafePorts,
            "tcp:22,udp:68,tcp:179,tcp:2379,tcp:2380,tcp:5473,tcp:6443,tcp:6666,tcp:6667",
            "always-allowed inbound ports on host endpoints",
        )
        .fatal(),
    ),
    list("failsafeOutboundHostPorts", PROTO_PORT).pointer().parameter(
        given(
            Syntax::FailsafePorts,
            "udp:53,udp:67,tcp:179,tcp:2379,tcp:2380,tcp:5473,tcp:6443,tcp:6666,tcp:6667",
            "always-allowed outbound ports",
        )
        .fatal(),
    ),
    list("kubeNodePortRanges", PORT).pointer().check(Check::MaxItems(7)).parameter(given(
        Syntax::PortRanges,
        "30000:32767",
        "NodePort ranges to pass in forward/IPVS logic",
    )),
    text("policySyncPathPrefix").parameter(given(Syntax::Path, "", "dir for policy-sync sockets; empty off")),
    flag("usageReportingEnabled").pointer().parameter(boolean("true", "anonymous usage reports")),
    duration("usageReportingInitialDelay")
        .check(WHOLE_DURATION)
        .parameter(seconds("300", "first report delay").named("UsageReportingInitialDelaySecs")),
    duration("usageReportingInterval")
        .check(WHOLE_DURATION)
        .parameter(seconds("86400", "period").named("UsageReportingIntervalSecs")),
    Field::new("natPortRange", Type::Port).go("NATPortRange").pointer().parameter(given(
        Syntax::PortRange,
        "",
        "ports for SNAT/MASQUERADE",
    )),
    text("natOutgoingAddress").go("NATOutgoingAddress").check(Check::MaxLength(45)).parameter(given(
        Syntax::Address(Family::V4),
        "",
        "SNAT source instead of MASQUERADE",
    )),
    text("natOutgoingExclusions")
        .go("NATOutgoingExclusions")
        .pointer()
        .tag(tags::one_of!("IPPoolsOnly", "IPPoolsAndHostIPs"))
        .check(Check::Enum(&["IPPoolsOnly", "IPPoolsAndHostIPs"]))
        .parameter(words(
            &["IPPoolsAndHostIPs", "IPPoolsOnly"],
            "IPPoolsOnly",
            "destinations exempt from outgoing NAT",
        )),
    text("deviceRouteSourceAddress").check(Check::MaxLength(45)).parameter(given(
        Syntax::Address(Family::V4),
        "",
        "IPv4 src hint on workload routes",
    )),
    text("deviceRouteSourceAddressIPv6").check(Check::MaxLength(45)).parameter(given(
        Syntax::Address(Family::V6),
        "",
        "IPv6 src hint",
    )),
    int("deviceRouteProtocol").pointer().parameter(whole("3", "routing protocol number on Felix routes")),
    flag("removeExternalRoutes")
        .pointer()
        .parameter(boolean("true", "delete foreign routes on workload links")),
    text("programClusterRoutes")
        .pointer()
        .check(Check::Enum(&["Enabled", "Disabled", "EnabledIPIPOnly", "EnabledNoEncapOnly"]))
        .parameter(words(
            &["Disabled", "EnabledIPIPOnly", "EnabledNoEncapOnly", "Enabled"],
            "EnabledIPIPOnly",
            "which no-VXLAN pool types Felix routes",
        )),
    text("ipForwarding").go("IPForwarding").check(Check::Enum(&["Enabled", "Disabled"])).parameter(words(
        &["Disabled", "Enabled"],
        "Enabled",
        "write ip_forward sysctls",
    )),
    list("externalNodesList", TEXT)
        .go("ExternalNodesCIDRList")
        .pointer()
        .parameter(given(Syntax::Cidrs, "", "extra sources allowed to send IPIP/VXLAN").fatal()),
    text("debugMemoryProfilePath").parameter(given(Syntax::Path, "", "heap profile on SIGUSR1")),
    flag("debugDisableLogDropping").pointer().parameter(boolean("false", "never drop logs")),
    duration("debugSimulateCalcGraphHangAfter").check(WHOLE_DURATION).parameter(seconds("0", "test")),
    duration("debugSimulateDataplaneHangAfter").check(WHOLE_DURATION).parameter(seconds("0", "test")),
    duration("debugSimulateDataplaneApplyDelay").check(WHOLE_DURATION).parameter(seconds("0", "test")),
    text("debugHost").pointer().parameter(given(Syntax::HostAddress, "localhost", "pprof bind")),
    int("debugPort").pointer().tag(at_least::<0>()).tag(at_most::<65535>()).parameter(given(
        Syntax::Int { min: 0, max: 65535 },
        "",
        "pprof port",
    )),
    text("iptablesNATOutgoingInterfaceFilter").tag(IFACE_FILTER).parameter(given(
        Syntax::Interface,
        "",
        "only NAT out of matching uplinks",
    )),
    flag("sidecarAccelerationEnabled")
        .pointer()
        .parameter(boolean("false", "sockmap acceleration (experimental)")),
    flag("xdpEnabled")
        .go("XDPEnabled")
        .pointer()
        .parameter(boolean("true", "XDP for untracked ingress deny")),
    flag("genericXDPEnabled").pointer().parameter(boolean("false", "allow generic XDP")),
    text("nftablesMode")
        .go("NFTablesMode")
        .pointer()
        .check(Check::Enum(&["Disabled", "Enabled", "Auto"]))
        .default(Default::Text("Auto"))
        .parameter(words(&["Auto", "Disabled", "Enabled"], "Auto", "use nftables backend")),
    text("nftablesFlowTableOffload")
        .go("NFTablesFlowTableOffload")
        .pointer()
        .check(Check::Enum(&["All", "Disabled"]))
        .default(Default::Text("Disabled"))
        .parameter(words(&["All", "Disabled"], "Disabled", "flowtable fast path")),
    text("nftablesFlowTableDataIfacePattern")
        .go("NFTablesFlowTableDataIfacePattern")
        .tag(tags::REGEXP)
        .parameter(given(Syntax::Regex, "", "uplinks for flowtable")),
    duration("nftablesRefreshInterval").parameter(seconds("180", "nft resync; 0 off")),
    text("nftablesFilterAllowAction")
        .check(any_case!("Accept", "Return"))
        .parameter(words(&["ACCEPT", "RETURN"], "ACCEPT", "as iptables").fatal().required()),
    text("nftablesMangleAllowAction")
        .check(any_case!("Accept", "Return"))
        .parameter(words(&["ACCEPT", "RETURN"], "ACCEPT", "as iptables").fatal().required()),
    text("nftablesFilterDenyAction")
        .check(any_case!("Drop", "Reject"))
        .parameter(words(&["DROP", "REJECT"], "DROP", "as iptables").fatal().required()),
    int("nftablesMarkMask")
        .pointer()
        .check(Check::Min(0))
        .check(Check::Max(4294967295))
        .parameter(given(Syntax::Mask, "0xffff0000", "as iptables").fatal().required()),
];

const PORT: &Field = &Field::item(Type::Port);

const PROTO_PORT: &Field = &Field::item(Type::Object(&PROTO_PORT_FIELDS));
static PROTO_PORT_FIELDS: Object = Object::new(&[text("protocol"), uint16("port").always(), text("net")]);

const HEALTH_TIMEOUT: &Field = &Field::item(Type::Object(&HEALTH_TIMEOUT_FIELDS));
static HEALTH_TIMEOUT_FIELDS: Object =
    Object::new(&[text("name").always(), Field::new("timeout", Type::Duration).always()])
        .rule(checks::health_timeout);

pub(super) const TABLE_ID_RANGE: &Field = &Field::item(Type::Object(&TABLE_ID_RANGE_FIELDS));
static TABLE_ID_RANGE_FIELDS: Object = Object::new(&[int("min").always(), int("max").always()])
    .rule(checks::table_id_range)
    .cel(checks::table_id_range_cel);

pub(super) static TABLE_RANGE: Object = Object::new(&[int("min").always(), int("max").always()])
    .rule(checks::table_range)
    .cel(checks::table_range_cel);

const fn conntrack_timeout(name: &'static str) -> Field {
    text(name).pointer().check(CONNTRACK_TIMEOUT)
}

pub(super) static CONNTRACK_TIMEOUTS: Object = Object::new(&[
    conntrack_timeout("creationGracePeriod"),
    conntrack_timeout("tcpSynSent"),
    conntrack_timeout("tcpEstablished"),
    conntrack_timeout("tcpFinsSeen"),
    conntrack_timeout("tcpResetSeen"),
    conntrack_timeout("udpTimeout"),
    conntrack_timeout("genericTimeout"),
    conntrack_timeout("icmpTimeout"),
]);
