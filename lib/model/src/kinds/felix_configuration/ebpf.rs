//! Parameters of the eBPF data plane; the middle of the table in `table.rs`.

use super::patterns::{IFACE_FILTERS, LOG_FILTERS, WHOLE_DURATION, any_case};
use super::table::CONNTRACK_TIMEOUTS;
use crate::felix::Syntax;
use crate::felix::parameter::{boolean, given, seconds, whole, words};
use crate::schema::field::{TEXT, duration, flag, int, list, object, text, text_map};
use crate::schema::tags::{self, at_least, at_most};
use crate::schema::{Check, Field, Type};

pub(super) const FIELDS: &[Field] = &[
    flag("bpfEnabled").go("BPFEnabled").pointer().parameter(boolean("false", "eBPF dataplane")),
    text("bpfOverlayHostSourceIP")
        .go("BPFOverlayHostSourceIP")
        .pointer()
        .tag(tags::one_of!("TunnelAddress", "HostAddress"))
        .check(Check::Enum(&["TunnelAddress", "HostAddress"])).parameter(words(&["HostAddress", "TunnelAddress"], "TunnelAddress", "host source over overlay")),
    flag("bpfDisableUnprivileged").go("BPFDisableUnprivileged").pointer().parameter(boolean("true", "set unprivileged_bpf_disabled")),
    text("bpfJITHardening")
        .go("BPFJITHardening")
        .pointer()
        .tag(tags::one_of!("Auto", "Strict"))
        .check(Check::Enum(&["Auto", "Strict"])).parameter(words(&["Auto", "Strict"], "Auto", "bpf_jit_harden handling")),
    text("bpfLogLevel").go("BPFLogLevel").always().check(any_case!("Off", "Info", "Debug")).parameter(words(&["debug", "info", "off"], "off", "BPF program log level")),
    text("bpfConntrackLogLevel")
        .go("BPFConntrackLogLevel")
        .tag(tags::one_of!("Off", "Debug"))
        .check(Check::Enum(&["Off", "Debug"])).parameter(words(&["debug", "off"], "off", "cleaner logging")),
    text("bpfConntrackMode")
        .go("BPFConntrackCleanupMode")
        .pointer()
        .tag(tags::one_of!("Auto", "Userspace", "BPFProgram"))
        .check(Check::Enum(&["Auto", "Userspace", "BPFProgram"])).parameter(words(&["Auto", "BPFProgram", "Userspace"], "Auto", "who expires conntrack")),
    object("bpfConntrackTimeouts", &CONNTRACK_TIMEOUTS).go("BPFConntrackTimeouts").pointer().parameter(given(Syntax::Pairs, "CreationGracePeriod=10s,TCPSynSent=20s,TCPEstablished=1h,TCPFinsSeen=Auto,TCPResetSeen=40s,UDPTimeout=60s,GenericTimeout=10m,ICMPTimeout=5s", "timeouts per state; Auto = kernel sysctl")),
    duration("bpfIPFragTimeout").go("BPFIPFragTimeout").check(WHOLE_DURATION).parameter(seconds("0", "fragment expiry; 0 = kernel")),
    text_map("bpfLogFilters").go("BPFLogFilters").pointer().tag(LOG_FILTERS).parameter(given(Syntax::Pairs, "", "iface→pcap filter for logs")),
    text("bpfCTLBLogFilter").go("BPFCTLBLogFilter").parameter(words(&["all"], "", "CTLB debug log selector")),
    text("bpfDataIfacePattern").go("BPFDataIfacePattern").tag(tags::REGEXP).parameter(given(Syntax::Regex, "^((en|wl|ww|sl|ib)[Popsx].*|(eth|wlan|wwan|bond).*)", "uplink match")),
    text("bpfL3IfacePattern").go("BPFL3IfacePattern").tag(tags::REGEXP).parameter(given(Syntax::Regex, "", "L3 (no MAC) uplinks")),
    flag("bpfConnectTimeLoadBalancingEnabled").go("BPFConnectTimeLoadBalancingEnabled").pointer().parameter(boolean("", "deprecated bool form")),
    text("bpfConnectTimeLoadBalancing")
        .go("BPFConnectTimeLoadBalancing")
        .pointer()
        .tag(tags::one_of!("TCP", "Enabled", "Disabled"))
        .check(Check::Enum(&["TCP", "Enabled", "Disabled"])).parameter(words(&["Disabled", "Enabled", "TCP"], "TCP", "connect-time LB scope")),
    text("bpfHostNetworkedNATWithoutCTLB")
        .go("BPFHostNetworkedNATWithoutCTLB")
        .pointer()
        .tag(tags::one_of!("Enabled", "Disabled"))
        .check(Check::Enum(&["Enabled", "Disabled"])).parameter(words(&["Disabled", "Enabled"], "Enabled", "NAT for host-net without CTLB")),
    text("bpfExternalServiceMode").go("BPFExternalServiceMode").check(any_case!("Tunnel", "DSR")).parameter(words(&["dsr", "tunnel"], "tunnel", "NodePort forwarding mode")),
    list("bpfDSROptoutCIDRs", TEXT).go("BPFDSROptoutCIDRs").pointer().tag(tags::CIDRS).parameter(given(Syntax::Cidrs, "", "clients never served by DSR")),
    int("bpfExtToServiceConnmark")
        .go("BPFExtToServiceConnmark")
        .pointer()
        .tag(at_least::<0>())
        .tag(at_most::<4294967295>()).parameter(whole("0", "mark for external→service")),
    flag("bpfKubeProxyIptablesCleanupEnabled").go("BPFKubeProxyIptablesCleanupEnabled").pointer().parameter(boolean("true", "remove kube-proxy rules")),
    duration("bpfKubeProxyMinSyncPeriod").go("BPFKubeProxyMinSyncPeriod").check(WHOLE_DURATION).parameter(seconds("1", "min service sync gap")),
    int("bpfKubeProxyHealthzPort")
        .go("BPFKubeProxyHealthzPort")
        .pointer()
        .tag(at_least::<0>())
        .tag(at_most::<65535>()).parameter(whole("10256", "healthz of built-in proxy")),
    Field::new("bpfPSNATPorts", Type::Port).go("BPFPSNATPorts").pointer().parameter(given(Syntax::PortRange, "20000:29999", "ports for pod SNAT conflicts")),
    int("bpfMapSizeNATFrontend").go("BPFMapSizeNATFrontend").pointer().parameter(whole("65536", "map size")),
    int("bpfMapSizeNATBackend").go("BPFMapSizeNATBackend").pointer().parameter(whole("262144", "map size")),
    int("bpfMapSizeNATAffinity").go("BPFMapSizeNATAffinity").pointer().parameter(whole("65536", "map size")),
    int("bpfMapSizeRoute").go("BPFMapSizeRoute").pointer().parameter(whole("262144", "map size")),
    int("bpfMapSizeConntrack").go("BPFMapSizeConntrack").pointer().parameter(whole("512000", "map size")),
    int("bpfMapSizePerCpuConntrack").go("BPFMapSizePerCPUConntrack").pointer().parameter(whole("0", "per-CPU sizing; 0 = fixed")),
    text("bpfMapSizeConntrackScaling")
        .go("BPFMapSizeConntrackScaling")
        .check(any_case!("Disabled", "DoubleIfFull")).parameter(words(&["Disabled", "DoubleIfFull"], "DoubleIfFull", "grow when full")),
    int("bpfMapSizeConntrackCleanupQueue")
        .go("BPFMapSizeConntrackCleanupQueue")
        .pointer()
        .tag(at_least::<1>())
        .check(Check::Min(1)).parameter(whole("100000", "map size")),
    int("bpfMapSizeIPSets").go("BPFMapSizeIPSets").pointer().parameter(whole("1048576", "map size")),
    int("bpfMapSizeIfState").go("BPFMapSizeIfState").pointer().parameter(whole("1000", "map size")),
    flag("bpfHostConntrackBypass").go("BPFHostConntrackBypass").pointer().parameter(boolean("false", "skip Linux ct for host")),
    flag("bpfIPFragmentReassemblyEnabled").go("BPFIPFragmentReassemblyEnabled").pointer().parameter(boolean("true", "reassemble fragments")),
    text("bpfEnforceRPF").go("BPFEnforceRPF").check(any_case!("Disabled", "Strict", "Loose")).parameter(words(&["Disabled", "Loose", "Strict"], "Loose", "host RPF mode")),
    flag("bpfPolicyDebugEnabled").go("BPFPolicyDebugEnabled").pointer().parameter(boolean("true", "keep policy debug maps")),
    list("bpfForceTrackPacketsFromIfaces", TEXT)
        .go("BPFForceTrackPacketsFromIfaces")
        .pointer()
        .tag(IFACE_FILTERS).parameter(given(Syntax::InterfacePatterns, "docker+", "must use Linux conntrack")),
    text("bpfDisableGROForIfaces").go("BPFDisableGROForIfaces").tag(tags::REGEXP).parameter(given(Syntax::Regex, "", "links with GRO off")),
    list("bpfExcludeCIDRsFromNAT", TEXT).go("BPFExcludeCIDRsFromNAT").pointer().tag(tags::CIDRS).parameter(given(Syntax::Cidrs, "", "service CIDRs left alone")),
    int("bpfExportBufferSizeMB").go("BPFExportBufferSizeMB").pointer().parameter(whole("1", "event ring size")),
];
