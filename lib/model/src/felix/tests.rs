use super::*;
use crate::kind::Kind;
use crate::net::Cidr;
use crate::resource::Resource;
use proptest::prelude::*;
use serde_json::{Value, json};
use std::collections::BTreeSet;

fn row(name: &str) -> &'static Row {
    find(name).unwrap_or_else(|| panic!("{name}"))
}

fn cidr(text: &str) -> Cidr {
    text.parse().unwrap()
}

#[test]
fn the_table_is_whole() {
    let names: BTreeSet<String> = parameters().iter().map(|row| row.name.to_ascii_lowercase()).collect();
    assert_eq!((parameters().len(), names.len()), (209, 209), "resources.md §3.2 lists so many");
    let without: Vec<&str> = felix_configuration::fields()
        .iter()
        .filter(|field| field.parameter.is_none())
        .map(|field| field.name)
        .collect();
    assert_eq!(without, ["nodeSelector"], "says whom the others are for");
    for row in parameters() {
        let Parameter { default, doc, syntax, .. } = row.parameter;
        assert!(!row.name.is_empty() && !doc.is_empty(), "{row:?}");
        assert!(!row.parameter.local || row.field.is_none(), "{row:?}");
        match default.is_empty() {
            true => assert!(
                matches!(
                    row.default(),
                    Setting::Unset
                        | Setting::Text(_)
                        | Setting::Texts(_)
                        | Setting::Cidrs(_)
                        | Setting::Pairs(_)
                        | Setting::Timeouts(_)
                        | Setting::TableRanges(_)
                ),
                "{row:?}"
            ),
            false => assert!(syntax.read(default).is_ok(), "{} cannot be its default {default}", row.name),
        }
        assert!(row.read("none").is_ok() != row.parameter.required, "{row:?}");
    }
}

#[test]
fn names_are_found_in_any_case() {
    assert_eq!(row("LOGSEVERITYSCREEN").field, Some("logSeverityScreen"));
    assert_eq!(row("ipinipmtu").field, Some("ipipMTU"));
    assert_eq!(row("BPFMapSizePerCPUConntrack").field, Some("bpfMapSizePerCpuConntrack"));
    assert_eq!((row("EtcdEndpoints").field, row("EtcdEndpoints").parameter.local), (None, true));
    assert!(find("NoSuchThing").is_none() && find("").is_none());
}

#[test]
fn defaults() {
    for (name, expected) in [
        ("RouteRefreshInterval", Setting::Duration(Duration::from_secs(90))),
        ("IptablesLockProbeIntervalMillis", Setting::Duration(Duration::from_millis(50))),
        ("IptablesMarkMask", Setting::Int(0xffff_0000)),
        ("VXLANEnabled", Setting::Unset),
        ("DebugPort", Setting::Unset),
        ("NATPortRange", Setting::Unset),
        ("BPFPSNATPorts", Setting::PortRange(20000, 29999)),
        ("KubeNodePortRanges", Setting::PortRanges(vec![(30000, 32767)])),
        ("InterfacePrefix", Setting::Texts(vec!["cali".into()])),
        ("RouteTableRanges", Setting::TableRanges(Vec::new())),
        ("IstioDSCPMark", Setting::Int(23)),
        ("LogFilePath", Setting::Text("/var/log/calico/felix.log".into())),
    ] {
        assert_eq!(row(name).default(), expected, "{name}");
    }
    let Setting::FailsafePorts(ports) = row("FailsafeInboundHostPorts").default() else { panic!("ports") };
    assert_eq!(ports.len(), 9);
    assert_eq!(ports[1], FailsafePort { protocol: "udp".into(), net: None, port: 68 });
    let Setting::Pairs(timeouts) = row("BPFConntrackTimeouts").default() else { panic!("pairs") };
    assert_eq!(timeouts["TCPFinsSeen"], "Auto");
}

#[test]
fn texts_that_are_read() {
    let texts = |items: &[&str]| Setting::Texts(items.iter().map(|item| (*item).to_owned()).collect());
    let port = |protocol: &str, net: Option<&str>, port| FailsafePort {
        protocol: protocol.into(),
        net: net.map(cidr),
        port,
    };
    for (name, text, expected) in [
        ("Ipv6Support", "Y", Setting::Bool(true)),
        ("Ipv6Support", "F", Setting::Bool(false)),
        ("ReportingTTLSecs", "0.5", Setting::Duration(Duration::from_millis(500))),
        ("IptablesLockProbeIntervalMillis", "1.5", Setting::Duration(Duration::from_micros(1500))),
        ("LogSeverityScreen", "debug", Setting::Text("DEBUG".into())),
        ("ChainInsertMode", "Append", Setting::Text("append".into())),
        ("IptablesMarkMask", "0xF0", Setting::Int(0xf0)),
        ("IptablesMarkMask", "3", Setting::Int(3)),
        ("InterfaceExclude", "kube-ipvs0,/^docker.*/", texts(&["kube-ipvs0", "/^docker.*/"])),
        (
            "ExternalNodesCIDRList",
            "10.0.0.1, 10.1.2.3/16",
            Setting::Cidrs(vec![cidr("10.0.0.1/32"), cidr("10.1.0.0/16")]),
        ),
        (
            "FailsafeInboundHostPorts",
            "22,UDP:53,tcp:10.0.0.0/8:80,tcp:[fd00::/8]:81,sctp:fd00::/8:82",
            Setting::FailsafePorts(vec![
                port("tcp", None, 22),
                port("udp", None, 53),
                port("tcp", Some("10.0.0.0/8"), 80),
                port("tcp", Some("fd00::/8"), 81),
                port("sctp", Some("fd00::/8"), 82),
            ]),
        ),
        ("FailsafeInboundHostPorts", "None", Setting::FailsafePorts(Vec::new())),
        ("KubeNodePortRanges", "100,200:300", Setting::PortRanges(vec![(100, 100), (200, 300)])),
        ("RouteTableRange", "1-250", Setting::TableRanges(vec![(1, 250)])),
        ("RouteTableRanges", "1-2,5-9", Setting::TableRanges(vec![(1, 2), (5, 9)])),
        (
            "FeatureDetectOverride",
            "A=true,B=,",
            Setting::Pairs([("A".into(), "true".into()), ("B".into(), String::new())].into()),
        ),
        (
            "HealthTimeoutOverrides",
            "calc=1m30s",
            Setting::Timeouts([("calc".into(), Duration::from_secs(90))].into()),
        ),
        ("IstioDSCPMark", "af41", Setting::Int(34)),
        ("LogActionRateLimit", "10/minute", Setting::Text("10/minute".into())),
        ("LogActionRateLimit", "", Setting::Text(String::new())),
        ("LogFilePath", "NONE", Setting::Text(String::new())),
        ("FlowLogsPolicyEvaluationMode", "none", Setting::Text("None".into())),
        ("MetadataPort", "none", Setting::Int(0)),
        ("NATOutgoingAddress", "none", Setting::Unset),
        ("DeviceRouteSourceAddressIPv6", "fd00::1", Setting::Address("fd00::1".parse().unwrap())),
        ("GoGCThreshold", "-1", Setting::Int(-1)),
        ("BPFForceTrackPacketsFromIfaces", "docker+,eth0", texts(&["docker+", "eth0"])),
    ] {
        assert_eq!(row(name).read(text).as_ref(), Ok(&expected), "{name}={text}");
    }
}

#[test]
fn texts_that_are_not() {
    for (name, text) in [
        ("Ipv6Support", "maybe"),
        ("Ipv6Support", ""),
        ("HealthPort", "65536"),
        ("HealthPort", "1e3"),
        ("GoMaxProcs", "-2"),
        ("ReportingTTLSecs", "-1"),
        ("ReportingTTLSecs", "NaN"),
        ("ReportingTTLSecs", "1m"),
        ("IptablesMarkMask", "0x1"),
        ("IptablesMarkMask", "0x1ffffffff"),
        ("ChainInsertMode", "none"),
        ("ChainInsertMode", ""),
        ("InterfacePrefix", "none"),
        ("InterfacePrefix", "cali,"),
        ("InterfaceExclude", "/(/"),
        ("MTUIfacePattern", "("),
        ("NATOutgoingAddress", "fd00::1"),
        ("ExternalNodesCIDRList", "10.0.0.0/33"),
        ("FailsafeInboundHostPorts", "icmp:1"),
        ("FailsafeInboundHostPorts", "tcp:x:1"),
        ("KubeNodePortRanges", "9:1"),
        ("RouteTableRange", "0-5"),
        ("RouteTableRange", "7"),
        ("FeatureGates", "a"),
        ("HealthTimeoutOverrides", "a=-1s"),
        ("IstioDSCPMark", "64"),
        ("LogActionRateLimit", "10/week"),
        ("OpenstackRegion", "Not_A_Label"),
        ("EtcdAddr", "127.0.0.1"),
        ("EtcdEndpoints", "127.0.0.1:2379"),
        ("HealthHost", "a b"),
    ] {
        let error = row(name).read(text).unwrap_err();
        assert_eq!((error.name.as_str(), error.value.as_str()), (row(name).name.as_str(), text));
        assert!(error.to_string().len() > 30 && !error.expected.is_empty(), "{error}");
    }
    let words = row("IptablesFilterDenyAction").read("Log").unwrap_err();
    assert_eq!(words.to_string(), "parameter IptablesFilterDenyAction: \"Log\" is not one of DROP, REJECT");
    assert!(words.fatal);
    let port = row("HealthPort").read("x").unwrap_err().to_string();
    assert_eq!(port, "parameter HealthPort: \"x\" is not a whole number from 0 to 65535; using the default");
}

#[test]
fn settings_have_a_value_for_everything() {
    let texts =
        [("FELIX", "x"), ("logseverityscreen", "Warning"), ("HealthPort", "no"), ("BPFENABLED", "true")];
    let (settings, errors) = Settings::read(texts);
    assert_eq!(errors.len(), 1);
    assert_eq!((settings.text("LogSeverityScreen"), settings.flag("BPFEnabled")), ("WARNING", Some(true)));
    assert_eq!(settings.number("HealthPort"), Some(9099), "what cannot be read has its default");
    assert_eq!(settings.duration("RouteRefreshInterval"), Some(Duration::from_secs(90)));
    assert_eq!((settings.flag("VXLANEnabled"), settings.text("HealthPort")), (None, ""));
    assert_eq!(settings.get("FELIX"), &Setting::Unset);
    for row in parameters() {
        assert!(settings.0.contains_key(&row.name));
    }
}

fn configuration(spec: Value) -> Resource {
    let mut resource = Resource::new(Kind::FelixConfiguration, "", "default");
    *resource.spec_mut() = spec.as_object().unwrap().clone();
    resource
}

#[test]
fn a_resource_becomes_names_and_texts() {
    let mut resource = configuration(json!({
        "nodeSelector": "all()",
        "ipv6Support": false,
        "ipipMTU": 1440,
        "routeRefreshInterval": "1m30s",
        "iptablesLockProbeInterval": "1.5s",
        "reportingTTL": "2m0.5s",
        "logSeverityScreen": "Debug",
        "natPortRange": "1:2",
        "natOutgoingAddress": "",
        "failsafeInboundHostPorts": [{"protocol": "TCP", "port": 22}, {"protocol": "udp", "net": "10.0.0.0/8", "port": 53}, {"port": 1}],
        "failsafeOutboundHostPorts": [],
        "kubeNodePortRanges": [80, "90:100"],
        "externalNodesList": ["10.0.0.0/8", "fd00::1"],
        "healthTimeoutOverrides": [{"name": "calc", "timeout": "30s"}],
        "routeTableRange": {"min": 10, "max": 20},
        "routeTableRanges": [{"min": 1, "max": 2}, {"min": 4, "max": 5}],
        "bpfLogFilters": {"all": "tcp", "eth0": "host 10.0.0.1"},
        "bpfConntrackTimeouts": {"tcpSynSent": "20s", "udpTimeout": "Auto"},
        "somethingNew": 5,
        "wireguardMTU": null,
    }));
    resource.set_meta_entry("annotations", "config.projectcalico.org/LogSeveritySys", "FATAL");
    resource.set_meta_entry("annotations", "config.projectcalico.org/IpInIpMtu", "9000");
    let found = flat(&resource);
    let expected = [
        ("BPFConntrackTimeouts", "TCPSynSent=20s,UDPTimeout=Auto"),
        ("BPFLogFilters", "all=tcp,eth0=host 10.0.0.1"),
        ("ExternalNodesCIDRList", "10.0.0.0/8,fd00::1"),
        ("FailsafeInboundHostPorts", "tcp:22,udp:10.0.0.0/8:53,tcp:1"),
        ("FailsafeOutboundHostPorts", "none"),
        ("HealthTimeoutOverrides", "calc=30s"),
        ("IpInIpMtu", "9000"),
        ("IptablesLockProbeIntervalMillis", "1500"),
        ("Ipv6Support", "false"),
        ("KubeNodePortRanges", "80,90:100"),
        ("LogSeverityScreen", "Debug"),
        ("LogSeveritySys", "FATAL"),
        ("NATOutgoingAddress", ""),
        ("NATPortRange", "1:2"),
        ("ReportingTTLSecs", "120.5"),
        ("RouteRefreshInterval", "90"),
        ("RouteTableRange", "10-20"),
        ("RouteTableRanges", "1-2,4-5"),
    ];
    let found: Vec<(&str, &str)> = found.iter().map(|(name, text)| (name.as_str(), text.as_str())).collect();
    assert_eq!(found, expected);
    let (settings, errors) = Settings::read(found);
    let names: Vec<&str> = errors.iter().map(|error| error.name.as_str()).collect();
    assert_eq!(names, ["NATOutgoingAddress"], "an empty address is none");
    assert_eq!(settings.number("IpInIpMtu"), Some(9000));
    assert_eq!(settings.duration("IptablesLockProbeIntervalMillis"), Some(Duration::from_millis(1500)));
}

#[test]
fn every_duration_of_the_schema_is_one_of_the_parameters() {
    for (field, row) in felix_configuration::fields()
        .iter()
        .filter_map(|field| Some((field, parameters().iter().find(|row| row.field == Some(field.name))?)))
    {
        let timed = matches!(row.parameter.syntax, Syntax::Seconds | Syntax::Millis);
        let duration = matches!(field.ty, crate::schema::Type::Duration);
        assert_eq!(timed, duration, "{}", field.name);
        let flag = matches!(field.ty, crate::schema::Type::Bool);
        assert_eq!(row.parameter.syntax == Syntax::Bool, flag, "{}", field.name);
    }
}

proptest! {
    #[test]
    fn no_text_panics(place in 0usize..209, text in "\\PC{0,30}|[0-9a-z:,=./-]{0,30}") {
        let row = &parameters()[place];
        let _ = row.read(&text);
    }

    #[test]
    fn durations_survive(nanoseconds in 0i64..1_000_000_000_000) {
        let text = crate::schema::scalar::format_duration(nanoseconds);
        let found = flat(&configuration(json!({"reportingTTL": text, "iptablesLockProbeInterval": text})));
        for name in ["ReportingTTLSecs", "IptablesLockProbeIntervalMillis"] {
            let Ok(Setting::Duration(read)) = row(name).read(&found[name]) else { panic!("{found:?}") };
            let wrong = read.as_nanos().abs_diff(u128::try_from(nanoseconds).unwrap());
            prop_assert!(wrong <= 1, "{read:?} of {nanoseconds}");
        }
    }
}
