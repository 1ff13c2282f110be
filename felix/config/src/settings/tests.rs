use super::*;
use crate::{Local, Stored, resolve};
use model::felix::parameters;

fn settings(variables: &[(&str, &str)]) -> Settings {
    let variables = variables.iter().map(|(name, value)| (format!("FELIX_{name}"), (*value).to_owned()));
    let configuration = resolve(&Local::new(variables), &Stored::default(), "node-1");
    assert_eq!(configuration.problems, []);
    Settings::of(&configuration)
}

/// The engines' own defaults are what the table's defaults come to.
#[test]
fn nothing_given_is_what_the_engines_take_for_granted() {
    let found = settings(&[]);
    assert_eq!(found.rules, settings::Settings::default());
    assert_eq!(found.calc, Options::default());
    assert_eq!(found, Settings::of(&Configuration::defaults()));
    assert_eq!(found.host.route_protocol, None);
    assert_eq!(
        (found.host.route_metric, found.host.forwards, found.host.programs_routes),
        (1024, true, true)
    );
    let status = found.status;
    assert_eq!(status.path.as_deref(), Some(std::path::Path::new("/var/run/calico")));
    assert_eq!((status.endpoints, status.delay), (false, Duration::from_secs(1)));
    assert_eq!((status.interval, status.ttl), (Some(Duration::from_secs(30)), Duration::from_secs(90)));
    assert_eq!((found.observe.health, found.observe.metrics), (None, None));
    assert_eq!((found.observe.watchdog, &*found.observe.log_level), (Duration::from_secs(90), "INFO"));
}

/// Each parameter that is acted on makes a difference when it is set to something else.
#[test]
fn every_parameter_acted_on_makes_a_difference() {
    let others = [
        ("AllowIPIPPacketsFromWorkloads", "true"),
        ("AllowVXLANPacketsFromWorkloads", "true"),
        ("ChainInsertMode", "append"),
        ("DataplaneWatchdogTimeout", "30"),
        ("DefaultEndpointToHostAction", "Return"),
        ("DeviceRouteProtocol", "3"),
        ("DeviceRouteSourceAddress", "192.0.2.1"),
        ("DeviceRouteSourceAddressIPv6", "2001:db8::1"),
        ("DisableConntrackInvalidCheck", "true"),
        ("EndpointReportingDelaySecs", "0.5"),
        ("EndpointReportingEnabled", "true"),
        ("EndpointStatusPathPrefix", "/elsewhere"),
        ("ExternalNodesCIDRList", "198.51.100.0/24"),
        ("FailsafeInboundHostPorts", "none"),
        ("FailsafeOutboundHostPorts", "none"),
        ("FloatingIPs", "Enabled"),
        ("HealthEnabled", "true"),
        ("HealthTimeoutOverrides", "InternalDataplaneMainLoop=5m"),
        ("IPForwarding", "Disabled"),
        ("IPv4NormalRoutePriority", "7"),
        ("IPv6NormalRoutePriority", "7"),
        ("InterfacePrefix", "tap,cali"),
        ("IpInIpEnabled", "false"),
        ("Ipv6Support", "false"),
        ("IptablesBackend", "nft"),
        ("IptablesFilterAllowAction", "RETURN"),
        ("IptablesFilterDenyAction", "REJECT"),
        ("IptablesMangleAllowAction", "RETURN"),
        ("IptablesMarkMask", "0xff000000"),
        ("IptablesNATOutgoingInterfaceFilter", "eth+"),
        ("LogActionRateLimit", "10/minute"),
        ("LogFilePath", "/var/log/elsewhere"),
        ("LogPrefix", "ours"),
        ("LogSeverityFile", "DEBUG"),
        ("LogSeverityScreen", "DEBUG"),
        ("MTUIfacePattern", "^ens"),
        ("MaxIpsetSize", "1000"),
        ("MetadataAddr", "192.0.2.8"),
        ("MetadataPort", "80"),
        ("NATOutgoingAddress", "192.0.2.7"),
        ("NATOutgoingExclusions", "IPPoolsAndHostIPs"),
        ("NATPortRange", "1024:2000"),
        ("NFTablesMode", "Disabled"),
        ("NftablesFilterDenyAction", "REJECT"),
        ("NftablesMarkMask", "0xff000000"),
        ("OpenstackRegion", "north"),
        ("ProgramClusterRoutes", "Enabled"),
        ("PrometheusMetricsEnabled", "true"),
        ("PrometheusProcessMetricsEnabled", "false"),
        ("RemoveExternalRoutes", "false"),
        ("ReportingIntervalSecs", "0"),
        ("ReportingTTLSecs", "60"),
        ("RequireMTUFile", "true"),
        ("RouteSyncDisabled", "true"),
        ("ServiceLoopPrevention", "Disabled"),
        ("VXLANPort", "4790"),
        ("WorkloadSourceSpoofing", "Any"),
    ];
    // these say where or how much, and need the switch
    let with_switch = [
        ("HealthHost", "0.0.0.0", "HealthEnabled", "true"),
        ("HealthPort", "1", "HealthEnabled", "true"),
        ("LogActionRateLimitBurst", "9", "LogActionRateLimit", "10/minute"),
        ("PrometheusMetricsHost", "localhost", "PrometheusMetricsEnabled", "true"),
        ("PrometheusMetricsPort", "1", "PrometheusMetricsEnabled", "true"),
    ];
    // and these say how the datastore is reached, before anything else is read
    let connection = [
        "DatastoreType",
        "EtcdAddr",
        "EtcdCaFile",
        "EtcdCertFile",
        "EtcdEndpoints",
        "EtcdKeyFile",
        "EtcdScheme",
        "FelixHostname",
    ];
    for (name, value) in others {
        assert_ne!(settings(&[(name, value)]), settings(&[]), "{name}");
    }
    for (name, value, switch, on) in with_switch {
        assert_ne!(settings(&[(name, value), (switch, on)]), settings(&[(switch, on)]), "{name}");
    }
    let mut tested: Vec<&str> = others.iter().map(|(name, _)| *name).collect();
    tested.extend(with_switch.iter().map(|(name, ..)| *name));
    tested.extend(connection);
    tested.sort_unstable();
    let mut acted_on: Vec<&str> =
        parameters().iter().map(|row| &*row.name).filter(|name| is_acted_on(name)).collect();
    acted_on.sort_unstable();
    assert_eq!(acted_on, tested);
}

#[test]
fn words_numbers_and_rates_mean_what_calico_means() {
    let found = settings(&[("DefaultEndpointToHostAction", "accept"), ("NftablesMarkMask", "0x60000")]);
    assert_eq!((found.rules.endpoint_to_host, found.rules.nft.mark), (EndpointToHost::Accept, 0x20000));
    let found = settings(&[("LogActionRateLimit", "3/hour"), ("LogActionRateLimitBurst", "2")]);
    assert_eq!(found.rules.log_limit, Some(LogLimit { packets: 3, unit: 3600, burst: 2 }));
    for (word, ipip, plain) in [
        ("Disabled", false, false),
        ("EnabledIPIPOnly", true, false),
        ("EnabledNoEncapOnly", false, true),
        ("Enabled", true, true),
    ] {
        let found = settings(&[("ProgramClusterRoutes", word)]).calc;
        assert_eq!((found.ipip_routes, found.no_encap_routes), (ipip, plain), "{word}");
    }
    let found = settings(&[("EndpointStatusPathPrefix", "none"), ("DataplaneWatchdogTimeout", "1")]);
    assert_eq!((found.status.path, found.observe.watchdog), (None, Duration::from_secs(20)));
    let excluded = settings(&[("NATOutgoingExclusions", "IPPoolsAndHostIPs")]);
    assert!(excluded.rules.nat_excludes_hosts && excluded.calc.masquerade_spares_hosts);
}

#[test]
fn a_log_file_is_written_only_where_somebody_says_so() {
    assert_eq!(settings(&[]).observe.log_file, None);
    assert_eq!(settings(&[("LogFilePath", "none")]).observe.log_file, None);
    let given = settings(&[("LogFilePath", "/var/log/calico/felix.log")]).observe;
    assert_eq!(given.log_file, Some(PathBuf::from("/var/log/calico/felix.log")));
}

/// Nobody is warned who switches off what is not there.
#[test]
fn what_is_never_done_may_be_switched_off() {
    for (name, never) in NEVER_DONE {
        assert!(model::felix::find(name).is_some() && !is_acted_on(name), "{name}");
        settings(&[(name, never)]);
    }
    let given = [("FELIX_XDPEnabled".to_owned(), "true".to_owned())];
    let told = resolve(&Local::new(given), &Stored::default(), "node-1");
    assert_eq!(told.problems, [], "the default");
}

/// An operator who asks for TLS does not get the same in clear.
#[test]
fn metrics_that_should_be_tls_are_not_served_in_clear() {
    let variables = |names: &[&str]| {
        let on = [("FELIX_PrometheusMetricsEnabled".to_owned(), "true".to_owned())];
        let files = names.iter().map(|name| (format!("FELIX_{name}"), "/etc/metrics.pem".to_owned()));
        let given = Local::new(on.into_iter().chain(files));
        let configuration = resolve(&given, &Stored::default(), "node-1");
        let told: Vec<String> = configuration.problems.iter().map(ToString::to_string).collect();
        (Settings::of(&configuration).observe.metrics, told)
    };
    assert!(variables(&[]).0.is_some());
    assert!(variables(&TLS_OF_METRICS[..1]).0.is_some(), "as with Calico a certificate alone is no TLS");
    let (metrics, told) = variables(&TLS_OF_METRICS);
    assert_eq!(metrics, None);
    assert_eq!(told.len(), 2, "{told:?}");
    assert!(told.iter().all(|text| text.contains("not served by TLS yet")), "{told:?}");
}
