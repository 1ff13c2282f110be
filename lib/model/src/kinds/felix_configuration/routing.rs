//! Parameters of routes, WireGuard, flow logs and the process: the end of the table in `table.rs`.

use super::patterns::{DURATION, WHOLE_DURATION, any_case};
use super::table::{TABLE_ID_RANGE, TABLE_RANGE};
use crate::felix::Syntax;
use crate::felix::parameter::{boolean, free, given, seconds, whole, words};
use crate::schema::field::{duration, flag, int, list, object, text};
use crate::schema::tags::{self, above, at_least, at_most, below};
use crate::schema::{Check, Field, Type};

pub(super) const FIELDS: &[Field] = &[
    text("istioAmbientMode").pointer().check(Check::Enum(&["Enabled", "Disabled"])).parameter(words(
        &["Disabled", "Enabled"],
        "Disabled",
        "integrate with Istio ambient",
    )),
    Field::new("istioDSCPMark", Type::Dscp).pointer().parameter(given(
        Syntax::Dscp,
        "23",
        "DSCP used by that integration",
    )),
    text("cgroupV2Path").parameter(free("", "override cgroup2 mount")),
    text("flowLogsPolicyEvaluationMode")
        .pointer()
        .check(Check::Enum(&["None", "Continuous"]))
        .parameter(words(&["Continuous", "None"], "Continuous", "re-evaluate policy for open flows")),
    text("bpfRedirectToPeer")
        .go("BPFRedirectToPeer")
        .check(Check::Enum(&["Enabled", "Disabled"]))
        .parameter(words(&["Disabled", "Enabled", "L2Only"], "Enabled", "bypass host netns stack")),
    text("bpfAttachType")
        .go("BPFAttachType")
        .pointer()
        .tag(tags::one_of!("TC", "TCX", "Netkit"))
        .check(Check::Enum(&["TC", "TCX", "Netkit"]))
        .parameter(words(&["Netkit", "TCX", "TC"], "Netkit", "attach mechanism preference")),
    duration("flowLogsFlushInterval")
        .check(WHOLE_DURATION)
        .parameter(seconds("300", "flow aggregation window")),
    flag("flowLogsCollectorDebugTrace").pointer().parameter(boolean("false", "verbose collector logs")),
    text("flowLogsGoldmaneServer").pointer().parameter(free("", "Goldmane gRPC address; empty off")),
    text("flowLogsLocalReporter").pointer().check(Check::Enum(&["Disabled", "Enabled"])).parameter(words(
        &["Disabled", "Enabled"],
        "Disabled",
        "also serve node-local socket",
    )),
    text("bpfProfiling").go("BPFProfiling").check(Check::Enum(&["Enabled", "Disabled"])).parameter(words(
        &["Disabled", "Enabled"],
        "Disabled",
        "program profiling",
    )),
    text("routeSource").check(any_case!("WorkloadIPs", "CalicoIPAM")).parameter(words(
        &["CalicoIPAM", "WorkloadIPs"],
        "CalicoIPAM",
        "block-based or per-WEP overlay routes",
    )),
    list("routeTableRanges", TABLE_ID_RANGE)
        .pointer()
        .parameter(given(Syntax::TableRanges, "", "tables Felix may use (default 1-250)").fatal()),
    object("routeTableRange", &TABLE_RANGE)
        .pointer()
        .parameter(given(Syntax::TableRange, "", "deprecated, table range").fatal()),
    flag("routeSyncDisabled").pointer().parameter(boolean("false", "do not touch routes at all")),
    int("ipv4NormalRoutePriority")
        .go("IPv4NormalRoutePriority")
        .pointer()
        .tag(at_least::<1>())
        .tag(at_most::<2147483646>())
        .parameter(given(Syntax::Int { min: 1, max: 2147483646 }, "1024", "metric of workload routes")),
    int("ipv4ElevatedRoutePriority")
        .go("IPv4ElevatedRoutePriority")
        .pointer()
        .tag(at_least::<1>())
        .tag(at_most::<2147483646>())
        .parameter(given(
            Syntax::Int { min: 1, max: 2147483646 },
            "512",
            "route metric during live migration",
        )),
    int("ipv6NormalRoutePriority")
        .go("IPv6NormalRoutePriority")
        .pointer()
        .tag(at_least::<1>())
        .tag(at_most::<2147483646>())
        .parameter(given(Syntax::Int { min: 1, max: 2147483646 }, "1024", "same, v6")),
    int("ipv6ElevatedRoutePriority")
        .go("IPv6ElevatedRoutePriority")
        .pointer()
        .tag(at_least::<1>())
        .tag(at_most::<2147483646>())
        .parameter(given(Syntax::Int { min: 1, max: 2147483646 }, "512", "same, v6")),
    duration("liveMigrationRouteConvergenceTime")
        .check(DURATION)
        .parameter(seconds("30", "hold time of elevated routes")),
    flag("wireguardEnabled").pointer().parameter(boolean("false", "IPv4 WireGuard")),
    flag("wireguardEnabledV6").pointer().parameter(boolean("false", "IPv6 WireGuard")),
    flag("wireguardThreadingEnabled").pointer().parameter(boolean("false", "threaded NAPI")),
    int("wireguardListeningPort")
        .pointer()
        .tag(above::<0>())
        .tag(at_most::<65535>())
        .parameter(whole("51820", "UDP port")),
    int("wireguardListeningPortV6")
        .pointer()
        .tag(above::<0>())
        .tag(at_most::<65535>())
        .parameter(whole("51821", "UDP port")),
    int("wireguardRoutingRulePriority")
        .pointer()
        .tag(above::<0>())
        .tag(below::<32766>())
        .parameter(whole("99", "ip rule priority")),
    text("wireguardInterfaceName").tag(tags::INTERFACE_OR_ALL).parameter(given(
        Syntax::Interface,
        "wireguard.cali",
        "device",
    )),
    text("wireguardInterfaceNameV6").tag(tags::INTERFACE_OR_ALL).parameter(given(
        Syntax::Interface,
        "wg-v6.cali",
        "device",
    )),
    int("wireguardMTU").pointer().parameter(whole("0", "0 = auto")),
    int("wireguardMTUV6").pointer().parameter(whole("0", "0 = auto")),
    flag("wireguardHostEncryptionEnabled").pointer().parameter(boolean("false", "encrypt host-host too")),
    duration("wireguardKeepAlive")
        .go("WireguardPersistentKeepAlive")
        .check(WHOLE_DURATION)
        .parameter(seconds("0", "0 off")),
    text("awsSrcDstCheck")
        .go("AWSSrcDstCheck")
        .pointer()
        .tag(tags::one_of!("DoNothing", "Enable", "Disable"))
        .check(Check::Enum(&["DoNothing", "Enable", "Disable"]))
        .parameter(words(&["Disable", "DoNothing", "Enable"], "DoNothing", "EC2 src/dst check")),
    text("serviceLoopPrevention")
        .tag(tags::one_of!("Drop", "Reject", "Disabled"))
        .check(any_case!("Drop", "Reject", "Disabled"))
        .parameter(words(&["Disabled", "Drop", "Reject"], "Drop", "block route loops to unused service IPs")),
    text("workloadSourceSpoofing")
        .tag(tags::one_of!("Disabled", "Any"))
        .check(any_case!("Disabled", "Any"))
        .parameter(words(&["Any", "Disabled"], "Disabled", "honour allowedSourcePrefixes")),
    text("mtuIfacePattern").go("MTUIfacePattern").tag(tags::REGEXP).parameter(given(
        Syntax::Regex,
        "^((en|wl|ww|sl|ib)[Pcopsvx].*|(eth|wlan|wwan).*)",
        "uplinks used for MTU autodetect",
    )),
    text("floatingIPs").pointer().check(Check::Enum(&["Enabled", "Disabled"])).parameter(words(
        &["Disabled", "Enabled"],
        "Disabled",
        "honour WEP ipNATs",
    )),
    text("localSubnetL2Reachability")
        .pointer()
        .tag(tags::one_of!("Disabled", "PodsAndLoadBalancers"))
        .check(Check::Enum(&["Disabled", "PodsAndLoadBalancers"]))
        .parameter(words(
            &["Disabled", "PodsAndLoadBalancers"],
            "Disabled",
            "answer ARP/NDP for pod/LB IPs in local subnet",
        )),
    duration("localSubnetL2ReachabilityRefreshInterval").parameter(seconds("120", "rescan for that")),
    text("windowsManageFirewallRules")
        .pointer()
        .tag(tags::one_of!("Enabled", "Disabled"))
        .check(Check::Enum(&["Enabled", "Disabled"]))
        .parameter(words(&["Disabled", "Enabled"], "Disabled", "Windows only")),
    int("goGCThreshold").pointer().tag(at_least::<-1>()).parameter(given(
        Syntax::Int { min: -1, max: i64::MAX },
        "40",
        "GOGC percent; -1 off; env GOGC wins",
    )),
    int("goMemoryLimitMB").pointer().tag(at_least::<-1>()).parameter(given(
        Syntax::Int { min: -1, max: i64::MAX },
        "-1",
        "soft memory limit; -1 off",
    )),
    int("goMaxProcs").pointer().tag(at_least::<-1>()).parameter(given(
        Syntax::Int { min: -1, max: i64::MAX },
        "-1",
        "GOMAXPROCS; -1 default",
    )),
    flag("requireMTUFile").pointer().parameter(boolean("false", "CNI/Felix MTU file must exist")),
    int("bpfMaglevMaxEndpointsPerService")
        .go("BPFMaglevMaxEndpointsPerService")
        .pointer()
        .tag(above::<0>())
        .tag(at_most::<3000>())
        .parameter(given(Syntax::Int { min: 1, max: 3000 }, "100", "sizing")),
    int("bpfMaglevMaxServices")
        .go("BPFMaglevMaxServices")
        .pointer()
        .tag(above::<0>())
        .tag(at_most::<3000>())
        .parameter(given(Syntax::Int { min: 1, max: 3000 }, "100", "sizing")),
];
