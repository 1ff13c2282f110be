//! Every parameter of the node agent that a FelixConfiguration can set, in stored order: name, type, and what the
//! schema says about its value. Source: `resources.md` §3 of the contract.

use super::checks;
use super::patterns::{
    CONNTRACK_TIMEOUT, DURATION, FEATURE_DETECTION, FEATURE_GATES, IFACE_FILTER, IFACE_FILTERS, LOG_FILTERS,
    LOG_PREFIX, LOG_RATE, PROMETHEUS_HOST, WHOLE_DURATION, any_case,
};
use crate::schema::field::{Default, TEXT, duration, flag, int, list, object, text, text_map, uint16};
use crate::schema::tags::{self, above, at_least, at_most, below};
use crate::schema::{Check, Field, Object, Type};

pub(super) static SPEC: Object = Object::new(&[
    text("nodeSelector").pointer().check(Check::MaxLength(1024)),
    flag("useInternalDataplaneDriver").pointer(),
    text("dataplaneDriver"),
    duration("dataplaneWatchdogTimeout"),
    flag("ipv6Support").go("IPv6Support").pointer(),
    duration("routeRefreshInterval").check(WHOLE_DURATION),
    duration("interfaceRefreshInterval").check(WHOLE_DURATION),
    duration("iptablesRefreshInterval").check(WHOLE_DURATION),
    duration("iptablesPostWriteCheckInterval").check(WHOLE_DURATION),
    duration("iptablesLockProbeInterval").check(WHOLE_DURATION),
    text("featureDetectOverride").tag(tags::KEY_VALUES).check(FEATURE_DETECTION),
    text("featureGates").tag(tags::KEY_VALUES).check(FEATURE_GATES),
    duration("ipsetsRefreshInterval").check(WHOLE_DURATION),
    int("maxIpsetSize").pointer(),
    text("iptablesBackend")
        .pointer()
        .check(Check::Enum(&["Legacy", "NFT", "Auto"]))
        .check(any_case!("Auto", "Legacy", "NFT")),
    duration("xdpRefreshInterval").go("XDPRefreshInterval").check(WHOLE_DURATION),
    duration("netlinkTimeout").check(WHOLE_DURATION),
    text("metadataAddr"),
    int("metadataPort").pointer(),
    text("openstackRegion"),
    text("interfacePrefix"),
    text("interfaceExclude"),
    text("chainInsertMode").check(any_case!("Insert", "Append")),
    text("defaultEndpointToHostAction").check(any_case!("Drop", "Accept", "Return")),
    text("iptablesFilterAllowAction").check(any_case!("Accept", "Return")),
    text("iptablesMangleAllowAction").check(any_case!("Accept", "Return")),
    text("iptablesFilterDenyAction").check(any_case!("Drop", "Reject")),
    text("logPrefix").check(LOG_PREFIX),
    text("logActionRateLimit").pointer().check(LOG_RATE),
    int("logActionRateLimitBurst").pointer().check(Check::Min(0)).check(Check::Max(9999)),
    text("logFilePath"),
    text("logSeverityFile").check(any_case!("Trace", "Debug", "Info", "Warning", "Error", "Fatal")),
    text("logSeverityScreen").check(any_case!("Trace", "Debug", "Info", "Warning", "Error", "Fatal")),
    text("logSeveritySys").check(any_case!("Trace", "Debug", "Info", "Warning", "Error", "Fatal")),
    text("logDebugFilenameRegex").tag(tags::REGEXP),
    flag("ipipEnabled").go("IPIPEnabled").pointer(),
    int("ipipMTU").go("IPIPMTU").pointer(),
    flag("vxlanEnabled").go("VXLANEnabled").pointer(),
    int("vxlanMTU").go("VXLANMTU").pointer(),
    int("vxlanMTUV6").go("VXLANMTUV6").pointer(),
    int("vxlanPort").go("VXLANPort").pointer(),
    int("vxlanVNI").go("VXLANVNI").pointer(),
    flag("allowVXLANPacketsFromWorkloads").pointer(),
    flag("allowIPIPPacketsFromWorkloads").pointer(),
    duration("reportingInterval").check(WHOLE_DURATION),
    duration("reportingTTL").check(WHOLE_DURATION),
    flag("endpointReportingEnabled").pointer(),
    duration("endpointReportingDelay").check(WHOLE_DURATION),
    text("endpointStatusPathPrefix"),
    int("iptablesMarkMask").pointer().check(Check::Min(0)).check(Check::Max(4294967295)),
    flag("disableConntrackInvalidCheck").pointer(),
    flag("healthEnabled").pointer(),
    text("healthHost").pointer(),
    int("healthPort").pointer(),
    list("healthTimeoutOverrides", HEALTH_TIMEOUT),
    flag("prometheusMetricsEnabled").pointer(),
    text("prometheusMetricsHost").tag(PROMETHEUS_HOST),
    int("prometheusMetricsPort").pointer(),
    flag("prometheusGoMetricsEnabled").pointer(),
    flag("prometheusProcessMetricsEnabled").pointer(),
    flag("prometheusWireGuardMetricsEnabled").pointer(),
    text("prometheusMetricsCAFile").pointer(),
    text("prometheusMetricsCertFile").pointer(),
    text("prometheusMetricsKeyFile").pointer(),
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
        ])),
    list("failsafeInboundHostPorts", PROTO_PORT).pointer(),
    list("failsafeOutboundHostPorts", PROTO_PORT).pointer(),
    list("kubeNodePortRanges", PORT).pointer().check(Check::MaxItems(7)),
    text("policySyncPathPrefix"),
    flag("usageReportingEnabled").pointer(),
    duration("usageReportingInitialDelay").check(WHOLE_DURATION),
    duration("usageReportingInterval").check(WHOLE_DURATION),
    Field::new("natPortRange", Type::Port).go("NATPortRange").pointer(),
    text("natOutgoingAddress").go("NATOutgoingAddress").check(Check::MaxLength(45)),
    text("natOutgoingExclusions")
        .go("NATOutgoingExclusions")
        .pointer()
        .tag(tags::one_of!("IPPoolsOnly", "IPPoolsAndHostIPs"))
        .check(Check::Enum(&["IPPoolsOnly", "IPPoolsAndHostIPs"])),
    text("deviceRouteSourceAddress").check(Check::MaxLength(45)),
    text("deviceRouteSourceAddressIPv6").check(Check::MaxLength(45)),
    int("deviceRouteProtocol").pointer(),
    flag("removeExternalRoutes").pointer(),
    text("programClusterRoutes").pointer().check(Check::Enum(&[
        "Enabled",
        "Disabled",
        "EnabledIPIPOnly",
        "EnabledNoEncapOnly",
    ])),
    text("ipForwarding").go("IPForwarding").check(Check::Enum(&["Enabled", "Disabled"])),
    list("externalNodesList", TEXT).go("ExternalNodesCIDRList").pointer(),
    text("debugMemoryProfilePath"),
    flag("debugDisableLogDropping").pointer(),
    duration("debugSimulateCalcGraphHangAfter").check(WHOLE_DURATION),
    duration("debugSimulateDataplaneHangAfter").check(WHOLE_DURATION),
    duration("debugSimulateDataplaneApplyDelay").check(WHOLE_DURATION),
    text("debugHost").pointer(),
    int("debugPort").pointer().tag(at_least::<0>()).tag(at_most::<65535>()),
    text("iptablesNATOutgoingInterfaceFilter").tag(IFACE_FILTER),
    flag("sidecarAccelerationEnabled").pointer(),
    flag("xdpEnabled").go("XDPEnabled").pointer(),
    flag("genericXDPEnabled").pointer(),
    text("nftablesMode")
        .go("NFTablesMode")
        .pointer()
        .check(Check::Enum(&["Disabled", "Enabled", "Auto"]))
        .default(Default::Text("Auto")),
    text("nftablesFlowTableOffload")
        .go("NFTablesFlowTableOffload")
        .pointer()
        .check(Check::Enum(&["All", "Disabled"]))
        .default(Default::Text("Disabled")),
    text("nftablesFlowTableDataIfacePattern").go("NFTablesFlowTableDataIfacePattern").tag(tags::REGEXP),
    duration("nftablesRefreshInterval"),
    text("nftablesFilterAllowAction").check(any_case!("Accept", "Return")),
    text("nftablesMangleAllowAction").check(any_case!("Accept", "Return")),
    text("nftablesFilterDenyAction").check(any_case!("Drop", "Reject")),
    int("nftablesMarkMask").pointer().check(Check::Min(0)).check(Check::Max(4294967295)),
    flag("bpfEnabled").go("BPFEnabled").pointer(),
    text("bpfOverlayHostSourceIP")
        .go("BPFOverlayHostSourceIP")
        .pointer()
        .tag(tags::one_of!("TunnelAddress", "HostAddress"))
        .check(Check::Enum(&["TunnelAddress", "HostAddress"])),
    flag("bpfDisableUnprivileged").go("BPFDisableUnprivileged").pointer(),
    text("bpfJITHardening")
        .go("BPFJITHardening")
        .pointer()
        .tag(tags::one_of!("Auto", "Strict"))
        .check(Check::Enum(&["Auto", "Strict"])),
    text("bpfLogLevel").go("BPFLogLevel").always().check(any_case!("Off", "Info", "Debug")),
    text("bpfConntrackLogLevel")
        .go("BPFConntrackLogLevel")
        .tag(tags::one_of!("Off", "Debug"))
        .check(Check::Enum(&["Off", "Debug"])),
    text("bpfConntrackMode")
        .go("BPFConntrackCleanupMode")
        .pointer()
        .tag(tags::one_of!("Auto", "Userspace", "BPFProgram"))
        .check(Check::Enum(&["Auto", "Userspace", "BPFProgram"])),
    object("bpfConntrackTimeouts", &CONNTRACK_TIMEOUTS).go("BPFConntrackTimeouts").pointer(),
    duration("bpfIPFragTimeout").go("BPFIPFragTimeout").check(WHOLE_DURATION),
    text_map("bpfLogFilters").go("BPFLogFilters").pointer().tag(LOG_FILTERS),
    text("bpfCTLBLogFilter").go("BPFCTLBLogFilter"),
    text("bpfDataIfacePattern").go("BPFDataIfacePattern").tag(tags::REGEXP),
    text("bpfL3IfacePattern").go("BPFL3IfacePattern").tag(tags::REGEXP),
    flag("bpfConnectTimeLoadBalancingEnabled").go("BPFConnectTimeLoadBalancingEnabled").pointer(),
    text("bpfConnectTimeLoadBalancing")
        .go("BPFConnectTimeLoadBalancing")
        .pointer()
        .tag(tags::one_of!("TCP", "Enabled", "Disabled"))
        .check(Check::Enum(&["TCP", "Enabled", "Disabled"])),
    text("bpfHostNetworkedNATWithoutCTLB")
        .go("BPFHostNetworkedNATWithoutCTLB")
        .pointer()
        .tag(tags::one_of!("Enabled", "Disabled"))
        .check(Check::Enum(&["Enabled", "Disabled"])),
    text("bpfExternalServiceMode").go("BPFExternalServiceMode").check(any_case!("Tunnel", "DSR")),
    list("bpfDSROptoutCIDRs", TEXT).go("BPFDSROptoutCIDRs").pointer().tag(tags::CIDRS),
    int("bpfExtToServiceConnmark")
        .go("BPFExtToServiceConnmark")
        .pointer()
        .tag(at_least::<0>())
        .tag(at_most::<4294967295>()),
    flag("bpfKubeProxyIptablesCleanupEnabled").go("BPFKubeProxyIptablesCleanupEnabled").pointer(),
    duration("bpfKubeProxyMinSyncPeriod").go("BPFKubeProxyMinSyncPeriod").check(WHOLE_DURATION),
    int("bpfKubeProxyHealthzPort")
        .go("BPFKubeProxyHealthzPort")
        .pointer()
        .tag(at_least::<0>())
        .tag(at_most::<65535>()),
    Field::new("bpfPSNATPorts", Type::Port).go("BPFPSNATPorts").pointer(),
    int("bpfMapSizeNATFrontend").go("BPFMapSizeNATFrontend").pointer(),
    int("bpfMapSizeNATBackend").go("BPFMapSizeNATBackend").pointer(),
    int("bpfMapSizeNATAffinity").go("BPFMapSizeNATAffinity").pointer(),
    int("bpfMapSizeRoute").go("BPFMapSizeRoute").pointer(),
    int("bpfMapSizeConntrack").go("BPFMapSizeConntrack").pointer(),
    int("bpfMapSizePerCpuConntrack").go("BPFMapSizePerCPUConntrack").pointer(),
    text("bpfMapSizeConntrackScaling")
        .go("BPFMapSizeConntrackScaling")
        .check(any_case!("Disabled", "DoubleIfFull")),
    int("bpfMapSizeConntrackCleanupQueue")
        .go("BPFMapSizeConntrackCleanupQueue")
        .pointer()
        .tag(at_least::<1>())
        .check(Check::Min(1)),
    int("bpfMapSizeIPSets").go("BPFMapSizeIPSets").pointer(),
    int("bpfMapSizeIfState").go("BPFMapSizeIfState").pointer(),
    flag("bpfHostConntrackBypass").go("BPFHostConntrackBypass").pointer(),
    flag("bpfIPFragmentReassemblyEnabled").go("BPFIPFragmentReassemblyEnabled").pointer(),
    text("bpfEnforceRPF").go("BPFEnforceRPF").check(any_case!("Disabled", "Strict", "Loose")),
    flag("bpfPolicyDebugEnabled").go("BPFPolicyDebugEnabled").pointer(),
    list("bpfForceTrackPacketsFromIfaces", TEXT)
        .go("BPFForceTrackPacketsFromIfaces")
        .pointer()
        .tag(IFACE_FILTERS),
    text("bpfDisableGROForIfaces").go("BPFDisableGROForIfaces").tag(tags::REGEXP),
    list("bpfExcludeCIDRsFromNAT", TEXT).go("BPFExcludeCIDRsFromNAT").pointer().tag(tags::CIDRS),
    int("bpfExportBufferSizeMB").go("BPFExportBufferSizeMB").pointer(),
    text("istioAmbientMode").pointer().check(Check::Enum(&["Enabled", "Disabled"])),
    Field::new("istioDSCPMark", Type::Dscp).pointer(),
    text("cgroupV2Path"),
    text("flowLogsPolicyEvaluationMode").pointer().check(Check::Enum(&["None", "Continuous"])),
    text("bpfRedirectToPeer").go("BPFRedirectToPeer").check(Check::Enum(&["Enabled", "Disabled"])),
    text("bpfAttachType")
        .go("BPFAttachType")
        .pointer()
        .tag(tags::one_of!("TC", "TCX", "Netkit"))
        .check(Check::Enum(&["TC", "TCX", "Netkit"])),
    duration("flowLogsFlushInterval").check(WHOLE_DURATION),
    flag("flowLogsCollectorDebugTrace").pointer(),
    text("flowLogsGoldmaneServer").pointer(),
    text("flowLogsLocalReporter").pointer().check(Check::Enum(&["Disabled", "Enabled"])),
    text("bpfProfiling").go("BPFProfiling").check(Check::Enum(&["Enabled", "Disabled"])),
    text("routeSource").check(any_case!("WorkloadIPs", "CalicoIPAM")),
    list("routeTableRanges", TABLE_ID_RANGE).pointer(),
    object("routeTableRange", &TABLE_RANGE).pointer(),
    flag("routeSyncDisabled").pointer(),
    int("ipv4NormalRoutePriority")
        .go("IPv4NormalRoutePriority")
        .pointer()
        .tag(at_least::<1>())
        .tag(at_most::<2147483646>()),
    int("ipv4ElevatedRoutePriority")
        .go("IPv4ElevatedRoutePriority")
        .pointer()
        .tag(at_least::<1>())
        .tag(at_most::<2147483646>()),
    int("ipv6NormalRoutePriority")
        .go("IPv6NormalRoutePriority")
        .pointer()
        .tag(at_least::<1>())
        .tag(at_most::<2147483646>()),
    int("ipv6ElevatedRoutePriority")
        .go("IPv6ElevatedRoutePriority")
        .pointer()
        .tag(at_least::<1>())
        .tag(at_most::<2147483646>()),
    duration("liveMigrationRouteConvergenceTime").check(DURATION),
    flag("wireguardEnabled").pointer(),
    flag("wireguardEnabledV6").pointer(),
    flag("wireguardThreadingEnabled").pointer(),
    int("wireguardListeningPort").pointer().tag(above::<0>()).tag(at_most::<65535>()),
    int("wireguardListeningPortV6").pointer().tag(above::<0>()).tag(at_most::<65535>()),
    int("wireguardRoutingRulePriority").pointer().tag(above::<0>()).tag(below::<32766>()),
    text("wireguardInterfaceName").tag(tags::INTERFACE_OR_ALL),
    text("wireguardInterfaceNameV6").tag(tags::INTERFACE_OR_ALL),
    int("wireguardMTU").pointer(),
    int("wireguardMTUV6").pointer(),
    flag("wireguardHostEncryptionEnabled").pointer(),
    duration("wireguardKeepAlive").go("WireguardPersistentKeepAlive").check(WHOLE_DURATION),
    text("awsSrcDstCheck")
        .go("AWSSrcDstCheck")
        .pointer()
        .tag(tags::one_of!("DoNothing", "Enable", "Disable"))
        .check(Check::Enum(&["DoNothing", "Enable", "Disable"])),
    text("serviceLoopPrevention")
        .tag(tags::one_of!("Drop", "Reject", "Disabled"))
        .check(any_case!("Drop", "Reject", "Disabled")),
    text("workloadSourceSpoofing").tag(tags::one_of!("Disabled", "Any")).check(any_case!("Disabled", "Any")),
    text("mtuIfacePattern").go("MTUIfacePattern").tag(tags::REGEXP),
    text("floatingIPs").pointer().check(Check::Enum(&["Enabled", "Disabled"])),
    text("localSubnetL2Reachability")
        .pointer()
        .tag(tags::one_of!("Disabled", "PodsAndLoadBalancers"))
        .check(Check::Enum(&["Disabled", "PodsAndLoadBalancers"])),
    duration("localSubnetL2ReachabilityRefreshInterval"),
    text("windowsManageFirewallRules")
        .pointer()
        .tag(tags::one_of!("Enabled", "Disabled"))
        .check(Check::Enum(&["Enabled", "Disabled"])),
    int("goGCThreshold").pointer().tag(at_least::<-1>()),
    int("goMemoryLimitMB").pointer().tag(at_least::<-1>()),
    int("goMaxProcs").pointer().tag(at_least::<-1>()),
    flag("requireMTUFile").pointer(),
    int("bpfMaglevMaxEndpointsPerService")
        .go("BPFMaglevMaxEndpointsPerService")
        .pointer()
        .tag(above::<0>())
        .tag(at_most::<3000>()),
    int("bpfMaglevMaxServices").go("BPFMaglevMaxServices").pointer().tag(above::<0>()).tag(at_most::<3000>()),
])
.rule(checks::rule)
.cel(checks::cel);

const PORT: &Field = &Field::item(Type::Port);

const PROTO_PORT: &Field = &Field::item(Type::Object(&PROTO_PORT_FIELDS));
static PROTO_PORT_FIELDS: Object = Object::new(&[text("protocol"), uint16("port").always(), text("net")]);

const HEALTH_TIMEOUT: &Field = &Field::item(Type::Object(&HEALTH_TIMEOUT_FIELDS));
static HEALTH_TIMEOUT_FIELDS: Object =
    Object::new(&[text("name").always(), Field::new("timeout", Type::Duration).always()])
        .rule(checks::health_timeout);

const TABLE_ID_RANGE: &Field = &Field::item(Type::Object(&TABLE_ID_RANGE_FIELDS));
static TABLE_ID_RANGE_FIELDS: Object = Object::new(&[int("min").always(), int("max").always()])
    .rule(checks::table_id_range)
    .cel(checks::table_id_range_cel);

static TABLE_RANGE: Object = Object::new(&[int("min").always(), int("max").always()])
    .rule(checks::table_range)
    .cel(checks::table_range_cel);

const fn conntrack_timeout(name: &'static str) -> Field {
    text(name).pointer().check(CONNTRACK_TIMEOUT)
}

static CONNTRACK_TIMEOUTS: Object = Object::new(&[
    conntrack_timeout("creationGracePeriod"),
    conntrack_timeout("tcpSynSent"),
    conntrack_timeout("tcpEstablished"),
    conntrack_timeout("tcpFinsSeen"),
    conntrack_timeout("tcpResetSeen"),
    conntrack_timeout("udpTimeout"),
    conntrack_timeout("genericTimeout"),
    conntrack_timeout("icmpTimeout"),
]);
