use super::patterns::FEATURE_GATES;
use super::table::SPEC;
use crate::kinds::testing::{created, document, read, refusals, stored_spec, unreadable};
use crate::schema::{Check, Type};
use crate::{Kind, Resource};
use proptest::prelude::*;
use serde_json::{Value, json};

const KIND: Kind = Kind::FelixConfiguration;
const PASS: &[&str] = &[];

fn spec(spec: Value) -> Vec<String> {
    refusals(KIND, "default", spec)
}

fn pattern(field: &str, pattern: &str) -> Vec<String> {
    vec![format!("spec.{field} (spec.{field} in body should match '{pattern}')")]
}

#[test]
fn defaults_are_stored_under_every_name() {
    let expected = "{\"nftablesMode\":\"Auto\",\"nftablesFlowTableOffload\":\"Disabled\",\"bpfLogLevel\":\"\",\
                    \"bpfConnectTimeLoadBalancing\":\"TCP\",\"bpfHostNetworkedNATWithoutCTLB\":\"Enabled\",\
                    \"floatingIPs\":\"Disabled\"}";
    for name in ["default", "node.node-1", "edge"] {
        assert_eq!(stored_spec(KIND, name, json!({})), expected);
    }
}

#[test]
fn the_deprecated_flag_speaks_for_its_successors() {
    for (flag, mode) in [(true, "Enabled"), (false, "Disabled")] {
        let stored = created(
            KIND,
            "default",
            json!({"bpfConnectTimeLoadBalancingEnabled": flag, "bpfConnectTimeLoadBalancing": "TCP", "bpfHostNetworkedNATWithoutCTLB": "Enabled"}),
        );
        assert_eq!(stored.spec()["bpfConnectTimeLoadBalancing"], mode);
        assert_eq!(stored.spec()["bpfHostNetworkedNATWithoutCTLB"], "Disabled");
        assert_eq!(stored.spec()["bpfConnectTimeLoadBalancingEnabled"], flag);
    }
}

#[test]
fn durations_have_no_fractions_signs_or_small_units() {
    let text = r"^([0-9]+(\\.[0-9]+)?(ms|s|m|h))*$";
    for good in ["90s", "1h", "0", "25ms", "1h2m3s", "1000ms"] {
        assert_eq!(spec(json!({"routeRefreshInterval": good})), PASS, "{good}");
    }
    for bad in ["1500ms", "1.5s", "-1s", "5us", "1ns"] {
        assert_eq!(
            spec(json!({"routeRefreshInterval": bad})),
            pattern("routeRefreshInterval", text),
            "{bad}"
        );
    }
    assert_eq!(spec(json!({"liveMigrationRouteConvergenceTime": "1.5s"})), PASS);
    assert_eq!(
        spec(json!({"liveMigrationRouteConvergenceTime": "-1s"})),
        pattern("liveMigrationRouteConvergenceTime", r"^([0-9]+(\.[0-9]+)?(ms|s|m|h))*$")
    );
    // some have no pattern at all
    for field in
        ["dataplaneWatchdogTimeout", "nftablesRefreshInterval", "localSubnetL2ReachabilityRefreshInterval"]
    {
        assert_eq!(spec(json!({field: "1.5s"})), PASS);
    }
    assert!(
        unreadable(KIND, "default", json!({"routeRefreshInterval": 90}))
            .contains("spec.routeRefreshInterval")
    );
    assert!(
        unreadable(KIND, "default", json!({"routeRefreshInterval": "90"}))
            .contains("spec.routeRefreshInterval")
    );
}

#[test]
fn durations_are_stored_as_go_prints_them() {
    let stored =
        created(KIND, "default", json!({"routeRefreshInterval": "90s", "usageReportingInterval": "24h"}));
    assert_eq!(stored.spec()["routeRefreshInterval"], "1m30s");
    assert_eq!(stored.spec()["usageReportingInterval"], "24h0m0s");
}

#[test]
fn words_in_any_case() {
    for good in ["Drop", "ACCEPT", "return", ""] {
        assert_eq!(spec(json!({"defaultEndpointToHostAction": good})), PASS, "{good}");
    }
    assert_eq!(
        spec(json!({"defaultEndpointToHostAction": "Maybe"})),
        pattern("defaultEndpointToHostAction", "^(?i)(Drop|Accept|Return)?$")
    );
    for good in ["Trace", "debug", "WARNING"] {
        let stored = created(KIND, "default", json!({"logSeverityScreen": good}));
        assert_eq!(stored.spec()["logSeverityScreen"], good);
    }
    let levels = "^(?i)(Trace|Debug|Info|Warning|Error|Fatal)?$";
    assert_eq!(spec(json!({"logSeverityScreen": "none"})), pattern("logSeverityScreen", levels));
    assert_eq!(spec(json!({"bpfLogLevel": "Loud"})), pattern("bpfLogLevel", "^(?i)(Off|Info|Debug)?$"));
}

#[test]
fn words_in_one_case() {
    assert_eq!(
        spec(json!({"iptablesBackend": "nft"})),
        [r#"spec.iptablesBackend (supported values: "Legacy", "NFT", "Auto")"#]
    );
    assert_eq!(
        spec(json!({"bpfAttachType": "tc"})),
        [
            "BPFAttachType = 'tc' (Reason: failed to validate Field: BPFAttachType because of Tag: oneof )",
            r#"spec.bpfAttachType (supported values: "TC", "TCX", "Netkit")"#
        ]
    );
    assert_eq!(
        spec(json!({"bpfRedirectToPeer": "L2Only"})),
        [r#"spec.bpfRedirectToPeer (supported values: "Enabled", "Disabled")"#]
    );
    // the struct's tag is stricter than the CRD's pattern
    assert_eq!(
        spec(json!({"serviceLoopPrevention": "drop"})),
        [
            "ServiceLoopPrevention = 'drop' (Reason: failed to validate Field: ServiceLoopPrevention because of Tag: oneof )"
        ]
    );
}

#[test]
fn numbers() {
    for (field, bad, tag) in [
        ("wireguardListeningPort", 0, "gt"),
        ("wireguardListeningPort", 65536, "lte"),
        ("wireguardRoutingRulePriority", 32766, "lt"),
        ("goGCThreshold", -2, "gte"),
        ("ipv4NormalRoutePriority", 0, "gte"),
        ("ipv6ElevatedRoutePriority", 2147483647, "lte"),
        ("bpfMaglevMaxServices", 3001, "lte"),
        ("debugPort", -1, "gte"),
        ("bpfExtToServiceConnmark", 4294967296i64, "lte"),
    ] {
        let refused = spec(json!({field: bad}));
        assert_eq!(refused.len(), 1, "{field}: {refused:?}");
        assert!(refused[0].ends_with(&format!("because of Tag: {tag} )")), "{refused:?}");
    }
    for (field, good) in
        [("goGCThreshold", -1), ("wireguardRoutingRulePriority", 32765), ("healthPort", 99999)]
    {
        assert_eq!(spec(json!({field: good})), PASS, "{field}");
    }
    assert_eq!(
        spec(json!({"iptablesMarkMask": 4294967296u64, "nftablesMarkMask": -1})),
        [
            "spec.iptablesMarkMask (spec.iptablesMarkMask in body should be less than or equal to 4294967295)",
            "spec.nftablesMarkMask (spec.nftablesMarkMask in body should be greater than or equal to 0)"
        ]
    );
    assert_eq!(
        spec(json!({"bpfMapSizeConntrackCleanupQueue": 0})),
        [
            "BPFMapSizeConntrackCleanupQueue = '0' (Reason: failed to validate Field: BPFMapSizeConntrackCleanupQueue because of Tag: gte )",
            "spec.bpfMapSizeConntrackCleanupQueue (spec.bpfMapSizeConntrackCleanupQueue in body should be greater than or equal to 1)"
        ]
    );
}

#[test]
fn addresses_are_of_their_family() {
    for (field, good, other, version) in [
        ("natOutgoingAddress", "192.0.2.1", "fd00::1", 4),
        ("deviceRouteSourceAddress", "192.0.2.1", "fd00::1", 4),
        ("deviceRouteSourceAddressIPv6", "fd00::1", "192.0.2.1", 6),
    ] {
        assert_eq!(spec(json!({field: good})), PASS);
        let family = format!("spec ({field} must be a valid IPv{version} address)");
        assert_eq!(spec(json!({field: other})), [family.as_str()]);
        let refused = spec(json!({field: "x"}));
        assert_eq!(refused.len(), 2);
        assert!(refused[0].ends_with(" = 'x' (is not a valid IP address)"), "{refused:?}");
        assert_eq!(refused[1], family);
    }
}

#[test]
fn external_nodes_are_ipv4() {
    assert_eq!(spec(json!({"externalNodesList": ["192.0.2.1", "10.0.0.1/8"]})), PASS);
    assert_eq!(
        spec(json!({"externalNodesList": ["x", "fd00::/8"]})),
        [
            "ExternalNodesCIDRList = 'x' (has invalid CIDR(s))",
            "ExternalNodesCIDRList = 'fd00::/8' (has invalid IPv6 CIDR)"
        ]
    );
}

#[test]
fn node_port_ranges() {
    assert_eq!(spec(json!({"kubeNodePortRanges": ["30000:32767", 31000]})), PASS);
    assert_eq!(
        spec(json!({"kubeNodePortRanges": [1, 2, 3, 4, 5, 6, 7, 8]})),
        [
            "KubeNodePortRanges = '[1 2 3 4 5 6 7 8]' (node port ranges list is too long (max 7))",
            "spec.kubeNodePortRanges (must have at most 7 items)"
        ]
    );
    assert_eq!(
        spec(json!({"kubeNodePortRanges": [1, "web"]})),
        ["KubeNodePortRanges = '[1 web]' (node port ranges should not contain named ports)"]
    );
    assert_eq!(
        spec(json!({"kubeNodePortRanges": [0]})),
        ["Port = '0' (port range invalid, port number must be between 1 and 65535)"]
    );
    assert_eq!(
        created(KIND, "default", json!({"kubeNodePortRanges": []})).spec()["kubeNodePortRanges"],
        json!([])
    );
}

#[test]
fn table_ranges() {
    assert_eq!(spec(json!({"routeTableRange": {"min": 1, "max": 250}})), PASS);
    for (min, max) in [(0, 5), (5, 4), (1, 251)] {
        let reason = "must be a range of route table indices within 1..250";
        assert_eq!(
            spec(json!({"routeTableRange": {"min": min, "max": max}})),
            [
                format!("RouteTableRange = '{{{min} {max}}}' ({reason})"),
                format!("spec.routeTableRange ({reason})")
            ]
        );
    }
    assert_eq!(spec(json!({"routeTableRanges": [{"min": 1, "max": 65535}]})), PASS);
    assert_eq!(
        spec(
            json!({"routeTableRanges": [{"min": 9, "max": 2}, {"min": 0, "max": 1}, {"min": 1, "max": 4294967296u64}]})
        ),
        [
            "RouteTableRange = '{9 2}' (min value cannot be greater than max value)",
            "RouteTableRange = '{0 1}' (cannot target indices < 1)",
            "RouteTableRange = '{1 4294967296}' (max index too high)",
            "RouteTableRanges = '&[{9 2} {0 1} {1 4294967296}]' (targets too many tables)",
            "spec.routeTableRanges[0] (min must not be greater than max)",
            "spec.routeTableRanges[1] (min must be >= 1)"
        ]
    );
    let range = json!({"min": 1, "max": 2});
    assert_eq!(
        spec(json!({"routeTableRange": range, "routeTableRanges": [range]})),
        ["spec (routeTableRange and routeTableRanges cannot both be set)"]
    );
}

#[test]
fn health_timeouts() {
    let with = |name: &str, timeout: &str| {
        spec(json!({"healthTimeoutOverrides": [{"name": name, "timeout": timeout}]}))
    };
    assert_eq!(with("Int dataplane_main-loop", "1.5s"), PASS);
    assert_eq!(
        with("a.b", "1m"),
        ["HealthTimeoutOverride.Name = '{a.b 1m0s}' (name should match regex ^[a-zA-Z0-9_ -]+$)"]
    );
    assert_eq!(
        with("a", "-1s"),
        ["HealthTimeoutOverride.Timeout = '{a -1s}' (Timeout should not be negative)"]
    );
}

#[test]
fn regions_fit_in_a_namespaces_name() {
    assert_eq!(spec(json!({"openstackRegion": "a".repeat(46)})), PASS);
    let long = "a".repeat(47);
    assert_eq!(spec(json!({"openstackRegion": long})), [format!("OpenstackRegion = '{long}' (is too long)")]);
    assert_eq!(
        spec(json!({"openstackRegion": "Region_1"})),
        ["OpenstackRegion = 'Region_1' (must be a valid DNS label)"]
    );
}

#[test]
fn only_other_names_select_nodes() {
    let reason = "FelixConfiguration (nodeSelector must not be set on the 'default' or per-node ('node.*') FelixConfiguration)";
    for name in ["default", "node.a"] {
        assert_eq!(refusals(KIND, name, json!({"nodeSelector": ""})), [reason]);
    }
    assert_eq!(refusals(KIND, "edge", json!({"nodeSelector": "has(x)"})), PASS);
    assert_eq!(refusals(KIND, "node", json!({"nodeSelector": "has(x)"})), PASS);
}

#[test]
fn patterns_of_single_fields() {
    for (field, good, bad) in [
        ("logPrefix", "calico %t: /x_-", "calico$"),
        ("logActionRateLimit", "9999/hour", "10000/hour"),
        ("logActionRateLimit", "1/day", "0/day"),
        ("logActionRateLimit", "10/minute", "10/week"),
        ("bpfEnforceRPF", "STRICT", "Lax"),
        ("routeSource", "calicoipam", "Static"),
        ("featureDetectOverride", "A=true,B=,C=false", "A=maybe"),
        ("featureDetectOverride", "A=true,", "A=true,,"),
        ("featureGates", "a=b,c=d,", "a=b,c="),
        ("featureGates", "a=b c", "a=b=c"),
    ] {
        assert_eq!(spec(json!({field: good})), PASS, "{field} {good}");
        let refused = spec(json!({field: bad}));
        assert!(
            refused
                .iter()
                .any(|r| r.starts_with(&format!("spec.{field} (spec.{field} in body should match '"))),
            "{field} {bad}: {refused:?}"
        );
    }
    for good in ["2h", "Auto", "1.5h30us", ".5s", "s"] {
        assert_eq!(spec(json!({"bpfConntrackTimeouts": {"tcpSynSent": good}})), PASS, "{good}");
    }
    for bad in ["", "auto", "5", "5 s", "-5s", "1..5s", "Auto1s"] {
        assert_eq!(spec(json!({"bpfConntrackTimeouts": {"tcpSynSent": bad}})).len(), 1, "{bad}");
    }
}

#[test]
fn values_of_feature_gates_may_hold_commas_for_the_pattern() {
    let Check::Pattern(_, accepts) = FEATURE_GATES else { panic!("no pattern") };
    for good in ["", "a=b", "a=b,", "a=,", "a=b,c,d=e", "a-_=b,c=d"] {
        assert!(accepts(good), "{good}");
    }
    for bad in ["a", "a=", "=b", "a=b=c", "a=b,=c", "a=,c=", "a.b=c"] {
        assert!(!accepts(bad), "{bad}");
    }
}

#[test]
fn tags_of_single_fields() {
    for (field, good, bad, tag) in [
        ("prometheusMetricsHost", json!("0.0.0.0"), json!("a b"), "prometheusHost"),
        ("iptablesNATOutgoingInterfaceFilter", json!("eth+"), json!("sixteen-letters+x"), "ifaceFilter"),
        (
            "bpfForceTrackPacketsFromIfaces",
            json!(["docker+", "a:b"]),
            json!(["docker+", "a/b"]),
            "ifaceFilterSlice",
        ),
        ("bpfLogFilters", json!({"eth0": "any text"}), json!({"a b": ""}), "bpfLogFilters"),
        ("bpfDSROptoutCIDRs", json!(["10.0.0.1/8", "fd00::1"]), json!(["x"]), "cidrs"),
        ("wireguardInterfaceName", json!("*"), json!("a:b"), "interface"),
        ("mtuIfacePattern", json!("^((en|wl)[Pcopsvx].*|(eth|wlan).*)"), json!("["), "regexp"),
        ("bpfDataIfacePattern", json!("^eth"), json!("*"), "regexp"),
    ] {
        assert_eq!(spec(json!({field: good})), PASS, "{field}");
        let refused = spec(json!({field: bad}));
        assert_eq!(refused.len(), 1, "{refused:?}");
        assert!(refused[0].ends_with(&format!("because of Tag: {tag} )")), "{refused:?}");
    }
    assert_eq!(
        spec(json!({"bpfLogFilters": {"b": "y", "a b": "x"}})),
        [
            "BPFLogFilters = 'map[a b:x b:y]' (Reason: failed to validate Field: BPFLogFilters because of Tag: bpfLogFilters )"
        ]
    );
}

#[test]
fn what_calico_does_not_look_at() {
    for good in [
        json!({"failsafeInboundHostPorts": [{"protocol": "GRE", "port": 1, "net": "x"}]}),
        json!({"interfacePrefix": "cali,too-long-a-prefix"}),
        json!({"istioDSCPMark": "nonsense"}),
    ] {
        assert_eq!(spec(good.clone()), PASS, "{good}");
    }
}

#[test]
fn stored_forms() {
    assert_eq!(created(KIND, "default", json!({"istioDSCPMark": "46"})).spec()["istioDSCPMark"], 46);
    assert_eq!(created(KIND, "default", json!({"natPortRange": "80:80"})).spec()["natPortRange"], 80);
    let ports = json!({"failsafeInboundHostPorts": []});
    assert_eq!(created(KIND, "default", ports).spec()["failsafeInboundHostPorts"], json!([]));
    let ports = json!({"failsafeOutboundHostPorts": [{"net": "10.0.0.0/8", "port": 53, "protocol": "UDP"}]});
    assert_eq!(
        created(KIND, "default", ports).spec()["failsafeOutboundHostPorts"].to_string(),
        r#"[{"protocol":"UDP","port":53,"net":"10.0.0.0/8"}]"#
    );
}

#[test]
fn every_parameter_of_the_contract_is_in_the_table() {
    assert_eq!(SPEC.fields.len(), 188);
    let mut names: Vec<&str> = SPEC.fields.iter().map(|field| field.name).collect();
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), 188);
}

/// A value that may stand where a field of this type does.
fn value_of(ty: Type) -> BoxedStrategy<Value> {
    let words = prop::sample::select(vec![
        "",
        "Auto",
        "Enabled",
        "disabled",
        "TCP",
        "1m",
        "10.0.0.0/8",
        "fd00::1",
        "has(",
        "(",
    ]);
    match ty {
        Type::Bool => any::<bool>().prop_map(Value::from).boxed(),
        Type::Int { .. } => prop_oneof![any::<i64>(), -2i64..70000].prop_map(Value::from).boxed(),
        Type::Duration => "-?[0-9]{1,3}(ms|s|m|h|us)".prop_map(Value::from).boxed(),
        Type::Port => prop_oneof![(0u16..).prop_map(Value::from), "[a-z]{1,3}".prop_map(Value::from)].boxed(),
        Type::List(item) => prop::collection::vec(value_of(item.ty), 0..3).prop_map(Value::from).boxed(),
        _ => prop_oneof![words.prop_map(Value::from), "\\PC{0,6}".prop_map(Value::from)].boxed(),
    }
}

fn any_spec() -> impl Strategy<Value = Value> {
    let field = (0..SPEC.fields.len()).prop_flat_map(|at| {
        let field = &SPEC.fields[at];
        value_of(field.ty).prop_map(|value| (field.name.to_owned(), value))
    });
    prop::collection::vec(field, 0..12).prop_map(|fields| Value::Object(fields.into_iter().collect()))
}

proptest! {
    #[test]
    fn any_configuration_is_judged_without_panic(spec in any_spec(), name in "default|node\\.a|edge") {
        use crate::admission::{Operation, admit, validate};
        let document = document(KIND, &name, spec);
        let mut stored = Resource::from_object(KIND, document.as_object().cloned().unwrap_or_default());
        let _ = validate(&stored);
        let _ = admit(&mut stored, Operation::Create);
        if crate::schema::decode_strict(KIND, document.clone()).is_ok() {
            let mut resource = read(document);
            if admit(&mut resource, Operation::Create).is_ok() {
                let again = resource.clone();
                let update = Operation::Update { old: &again };
                prop_assert!(admit(&mut resource, update).is_ok());
                prop_assert_eq!(&resource, &again);
            }
        }
    }
}
