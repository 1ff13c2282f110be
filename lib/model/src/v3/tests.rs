use super::*;
use crate::{Kind, Resource};
use serde_json::json;

fn resource(kind: Kind, spec: serde_json::Value) -> Resource {
    let mut resource = Resource::new(kind, "", "x");
    resource.object_mut().insert("spec".into(), spec);
    resource
}

#[test]
fn an_old_pool_gets_the_meaning_of_what_it_lacks() {
    let pool: IPPoolSpec = resource(Kind::IPPool, json!({"cidr": "10.0.0.0/16"})).typed_spec().unwrap();
    assert_eq!(pool.block_prefix(), 26);
    assert!(
        pool.allows(PoolUse::Workload) && pool.allows(PoolUse::Tunnel) && !pool.allows(PoolUse::LoadBalancer)
    );
    assert_eq!(pool.assignment_mode, AssignmentMode::Automatic);
    let pool: IPPoolSpec =
        resource(Kind::IPPool, json!({"cidr": "fd00::/48", "allowedUses": [], "blockSize": null}))
            .typed_spec()
            .unwrap();
    assert_eq!(pool.block_prefix(), 122);
    assert!(pool.allows(PoolUse::Tunnel));
}

#[test]
fn values_of_newer_versions_do_not_break_reading() {
    let spec = json!({"cidr": "10.0.0.0/16", "ipipMode": "Quantum", "allowedUses": ["Workload", "Moon"], "new": {"a": 1}});
    let pool: IPPoolSpec = resource(Kind::IPPool, spec).typed_spec().unwrap();
    assert_eq!(pool.ipip_mode, EncapMode::Never);
    assert_eq!(pool.allowed_uses, [PoolUse::Workload, PoolUse::Unknown]);
}

#[test]
fn a_spec_round_trips() {
    let spec = json!({
        "orchestrator": "k8s", "node": "n", "pod": "p", "endpoint": "eth0", "ipNetworks": ["10.0.0.1/32", "10.0.0.2"],
        "interfaceName": "cali1", "ports": [{"name": "", "protocol": "UDP", "port": 53, "hostPort": 5353, "hostIP": ""},
        {"name": "x", "protocol": 6, "port": 53, "hostPort": 0, "hostIP": ""}], "qosControls": {"ingressBandwidth": 1000}
    });
    let typed: WorkloadEndpointSpec = resource(Kind::WorkloadEndpoint, spec.clone()).typed_spec().unwrap();
    assert_eq!(serde_json::to_value(&typed).unwrap(), spec);
    assert_eq!(typed.nets().map(|n| n.to_string()).collect::<Vec<_>>(), ["10.0.0.1/32", "10.0.0.2/32"]);
}

#[test]
fn a_node_knows_its_addresses() {
    let node: NodeSpec =
        resource(Kind::Node, json!({"bgp": {"ipv4Address": "192.0.2.5/24", "ipv6Address": "2001:db8::5"}}))
            .typed_spec()
            .unwrap();
    let (addr, net) = node.ipv4().unwrap();
    assert_eq!((addr.to_string(), net.to_string()), ("192.0.2.5".into(), "192.0.2.0/24".into()));
    assert_eq!(node.ipv6().unwrap().1.to_string(), "2001:db8::5/128");
    assert_eq!(NodeSpec::default().ipv4(), None);
}

#[test]
fn a_wrong_type_is_an_error_that_names_the_key() {
    let error = resource(Kind::IPPool, json!({"cidr": 5})).typed_spec::<IPPoolSpec>().unwrap_err();
    assert!(error.to_string().contains("ippools/x"), "{error}");
}

#[test]
fn a_policy_round_trips() {
    let spec = json!({
        "tier": "platform", "order": 10.5,
        "ingress": [{
            "action": "Allow", "ipVersion": 4, "protocol": "TCP",
            "source": {
                "nets": ["10.0.0.0/8"], "selector": "has(a)", "namespaceSelector": "all()",
                "ports": [1024, "2000:3000", "http"], "notNets": ["10.1.0.0/16"], "notSelector": "has(b)",
                "notPorts": [2500], "serviceAccounts": {"names": ["x"], "selector": "has(c)"}
            },
            "destination": {"services": {"name": "s", "namespace": "n"}},
            "http": {"methods": ["GET"], "paths": [{"exact": "/a"}, {"prefix": "/b"}]},
            "metadata": {"annotations": {"k": "v"}}
        }, {"action": "Deny", "protocol": 1, "icmp": {"type": 0, "code": 0}, "notProtocol": "UDP", "notICMP": {"type": 3}}],
        "egress": [{"action": "Pass"}],
        "selector": "all()", "types": ["Ingress", "Egress"], "serviceAccountSelector": "has(d)",
        "performanceHints": ["AssumeNeededOnEveryNode"],
        "doNotTrack": true, "preDNAT": true, "applyOnForward": true, "namespaceSelector": "has(e)"
    });
    let typed: GlobalNetworkPolicySpec =
        resource(Kind::GlobalNetworkPolicy, spec.clone()).typed_spec().unwrap();
    assert_eq!(serde_json::to_value(&typed).unwrap(), spec);
    assert_eq!(typed.policy.ingress[0].source.ports[1], Port::Range(2000, 3000));
    assert_eq!(typed.policy.ingress[0].source.ports[2], Port::Named("http".into()));
    let mut staged = spec;
    staged["stagedAction"] = "Learn".into();
    let typed: StagedGlobalNetworkPolicySpec =
        resource(Kind::StagedGlobalNetworkPolicy, staged.clone()).typed_spec().unwrap();
    assert_eq!(typed.staged_action, StagedAction::Learn);
    assert_eq!(serde_json::to_value(&typed).unwrap(), staged);
}

#[test]
fn a_policy_of_an_older_writer_means_what_it_meant() {
    let policy: NetworkPolicySpec =
        resource(Kind::NetworkPolicy, json!({"ingress": [{"action": "Allow", "source": {}}]}))
            .typed_spec()
            .unwrap();
    assert_eq!((policy.tier.as_str(), policy.order), ("default", None));
    assert!(policy.ingress[0].source.is_empty());
    assert_eq!(policy.policy_types(), [PolicyType::Ingress]);
    let types = |spec| {
        let policy: NetworkPolicySpec = resource(Kind::NetworkPolicy, spec).typed_spec().unwrap();
        policy.policy_types()
    };
    let rule = json!([{"action": "Deny"}]);
    assert_eq!(types(json!({})), [PolicyType::Ingress]);
    assert_eq!(types(json!({"egress": rule})), [PolicyType::Egress]);
    assert_eq!(types(json!({"ingress": rule, "egress": rule})), [PolicyType::Ingress, PolicyType::Egress]);
    assert_eq!(types(json!({"ingress": rule, "types": ["Egress"]})), [PolicyType::Egress]);
    let tier: TierSpec = resource(Kind::Tier, json!({})).typed_spec().unwrap();
    assert_eq!((tier.order, tier.default_action), (None, Action::Deny));
}

#[test]
fn policies_of_newer_versions_never_open_anything() {
    let spec = json!({"tier": "default", "types": ["Ingress", "Sideways"], "ingress": [{"action": "Teleport", "new": 1}]});
    let policy: NetworkPolicySpec = resource(Kind::NetworkPolicy, spec).typed_spec().unwrap();
    assert_eq!(policy.ingress[0].action, Action::Unknown);
    assert_eq!(policy.types, [PolicyType::Ingress, PolicyType::Unknown]);
    let staged: StagedNetworkPolicySpec =
        resource(Kind::StagedNetworkPolicy, json!({"stagedAction": "Dream"})).typed_spec().unwrap();
    assert_eq!(staged.staged_action, StagedAction::Ignore);
    assert_eq!(StagedNetworkPolicySpec::default().staged_action, StagedAction::Set);
}

#[test]
fn ports_are_numbers_ranges_or_names() {
    for (text, port) in [
        ("80", Port::Range(80, 80)),
        ("80:80", Port::Range(80, 80)),
        ("0:65535", Port::Range(0, 65535)),
        ("web", Port::Named("web".into())),
    ] {
        let parsed: Port = text.parse().unwrap();
        assert_eq!(parsed, port);
        assert_eq!(parsed.to_string().parse::<Port>().unwrap(), port);
    }
    for text in ["65536", "90:80", "1:70000", "", "a b", "1:2:3"] {
        assert!(text.parse::<Port>().is_err(), "{text}");
    }
    let error = resource(Kind::Profile, json!({"ingress": [{"destination": {"ports": ["9:1"]}}]}));
    let error = error.typed_spec::<ProfileSpec>().unwrap_err().to_string();
    assert!(error.contains("minimum port number (9) is greater"), "{error}");
}

#[test]
fn protocols_have_numbers() {
    let name = |text: &str| Protocol::Name(text.into());
    assert_eq!(name("TCP").number(), Some(6));
    assert_eq!(name("udplite").number(), Some(136));
    assert_eq!(name("GRE").number(), None);
    assert_eq!(Protocol::Number(89).number(), Some(89));
    assert!(name("SCTP").has_ports() && Protocol::Number(17).has_ports());
    assert!(!name("ICMP").has_ports() && !Protocol::Number(47).has_ports());
}

/// Every recorded spec of a kind reads as its type and writes back the same.
fn recorded_specs_round_trip<T: serde::de::DeserializeOwned + serde::Serialize>(kind: Kind) {
    let recorded = crate::tests::golden::stored_specs(kind);
    assert!(!recorded.is_empty());
    for (case, mut spec) in recorded {
        let typed: T = resource(kind, spec.clone()).typed_spec().unwrap_or_else(|e| panic!("{case}: {e}"));
        let written = serde_json::to_value(&typed).unwrap();
        if written.get("tier").is_some() && spec.get("tier").is_none() {
            // old writers left the default tier out
            spec["tier"] = crate::DEFAULT_TIER.into();
        }
        assert_eq!(written, spec, "{case}");
    }
}

#[test]
fn what_calico_stored_round_trips() {
    recorded_specs_round_trip::<IPPoolSpec>(Kind::IPPool);
    recorded_specs_round_trip::<IPReservationSpec>(Kind::IPReservation);
    recorded_specs_round_trip::<IPAMConfigurationSpec>(Kind::IPAMConfiguration);
    recorded_specs_round_trip::<NodeSpec>(Kind::Node);
    recorded_specs_round_trip::<WorkloadEndpointSpec>(Kind::WorkloadEndpoint);
    recorded_specs_round_trip::<HostEndpointSpec>(Kind::HostEndpoint);
    recorded_specs_round_trip::<ClusterInformationSpec>(Kind::ClusterInformation);
    recorded_specs_round_trip::<BGPConfigurationSpec>(Kind::BGPConfiguration);
    recorded_specs_round_trip::<BGPPeerSpec>(Kind::BGPPeer);
    recorded_specs_round_trip::<BGPFilterSpec>(Kind::BGPFilter);
    recorded_specs_round_trip::<NetworkPolicySpec>(Kind::NetworkPolicy);
    recorded_specs_round_trip::<GlobalNetworkPolicySpec>(Kind::GlobalNetworkPolicy);
    recorded_specs_round_trip::<StagedNetworkPolicySpec>(Kind::StagedNetworkPolicy);
    recorded_specs_round_trip::<StagedGlobalNetworkPolicySpec>(Kind::StagedGlobalNetworkPolicy);
    recorded_specs_round_trip::<TierSpec>(Kind::Tier);
    recorded_specs_round_trip::<ProfileSpec>(Kind::Profile);
    recorded_specs_round_trip::<NetworkSetSpec>(Kind::NetworkSet);
    recorded_specs_round_trip::<NetworkSetSpec>(Kind::GlobalNetworkSet);
}

#[test]
fn durations_read_as_durations() {
    assert_eq!(GoDuration("1m30s".into()).get(), Some(std::time::Duration::from_secs(90)));
    assert_eq!(GoDuration("-1s".into()).get(), None);
    assert_eq!(GoDuration("soon".into()).get(), None);
}

#[test]
fn the_controllers_have_their_defaults_at_run_time() {
    let empty: KubeControllersConfigurationSpec =
        resource(Kind::KubeControllersConfiguration, json!({})).typed_spec().unwrap();
    assert_eq!(empty, KubeControllersConfigurationSpec::default());
    assert_eq!((empty.prometheus_metrics_port, empty.log_severity_screen.as_str()), (9094, "Info"));
    assert_eq!(empty.etcd_v3_compaction_period.get(), Some(std::time::Duration::from_secs(600)));
    assert_eq!(empty.controllers, Controllers::default(), "none runs");
    let spec = json!({"etcdV3CompactionPeriod": "0s", "healthChecks": "Perhaps", "controllers": {
        "node": {"hostEndpoint": {"autoCreate": "Enabled", "templates": [{"generateName": "t", "interfaceCIDRs": ["10.0.0.0/8"]}]}},
        "policy": {}, "loadBalancer": {}, "migration": {"policyNameMigrator": "Disabled"}, "unheardOf": {}}});
    let some: KubeControllersConfigurationSpec =
        resource(Kind::KubeControllersConfiguration, spec).typed_spec().unwrap();
    assert_eq!(some.health_checks, Switch::Disabled);
    let node = some.controllers.node.unwrap();
    assert_eq!(node.leak_grace(), Some(std::time::Duration::from_secs(900)));
    assert_eq!((node.sync_labels, node.host_endpoint.auto_create), (Switch::Enabled, Switch::Enabled));
    assert_eq!(node.host_endpoint.create_default_host_endpoint, Switch::Enabled);
    assert_eq!(node.host_endpoint.templates[0].interface_cidrs, ["10.0.0.0/8"]);
    assert_eq!(some.controllers.policy, Some(PeriodicController::default()));
    assert_eq!(some.controllers.load_balancer.unwrap().assign_ips, AssignIps::AllServices);
    assert_eq!(some.controllers.migration.unwrap().policy_name_migrator, Switch::Disabled);
    assert!(some.controllers.namespace.is_none());
    let off = NodeController { leak_grace_period: GoDuration("0s".into()), ..NodeController::default() };
    assert_eq!(off.leak_grace(), None);
}

#[test]
fn a_nodes_report_round_trips() {
    let mut report = resource(
        Kind::CalicoNodeStatus,
        json!({"node": "n", "classes": ["BGP", "Weather"], "updatePeriodSeconds": 10}),
    );
    let status = json!({"lastUpdated": "2026-11-21T04:00:00Z",
        "agent": {"birdV4": {"state": "Ready", "version": "2", "routerID": "10.0.0.1"}, "birdV6": {}},
        "bgp": {"numberEstablishedV4": 1, "numberNotEstablishedV4": 0, "numberEstablishedV6": 0, "numberNotEstablishedV6": 2,
            "peersV4": [{"peerIP": "10.0.0.2", "type": "NodeMesh", "state": "Established", "since": "s"}]},
        "routes": {"routesV6": [{"type": "FIB", "destination": "fd00::/64", "learnedFrom": {"sourceType": "Kernel"}}]}});
    report.object_mut().insert("status".into(), status.clone());
    let spec: CalicoNodeStatusSpec = report.typed_spec().unwrap();
    assert_eq!(spec.classes, [NodeStatusClass::BGP, NodeStatusClass::Unknown]);
    let typed: CalicoNodeStatusStatus = report.typed_status().unwrap();
    assert_eq!(serde_json::to_value(&typed).unwrap(), status);
    let skeleton = resource(Kind::CalicoNodeStatus, json!({}));
    assert_eq!(skeleton.typed_status::<CalicoNodeStatusStatus>().unwrap(), CalicoNodeStatusStatus::default());
}

#[test]
fn a_staged_policy_of_kubernetes_round_trips() {
    let spec = json!({
        "stagedAction": "Set",
        "podSelector": {"matchLabels": {"a": "b"}, "matchExpressions": [{"key": "k", "operator": "In", "values": ["v"]}]},
        "ingress": [{"ports": [{"protocol": "UDP", "port": "dns"}, {"port": 80, "endPort": 90}],
            "from": [{"podSelector": {}, "namespaceSelector": {"matchLabels": {"n": "s"}}}, {"ipBlock": {"cidr": "10.0.0.0/8", "except": ["10.1.0.0/16"]}}]}],
        "egress": [{}],
    });
    let typed: StagedKubernetesNetworkPolicySpec =
        resource(Kind::StagedKubernetesNetworkPolicy, spec.clone()).typed_spec().unwrap();
    assert_eq!(serde_json::to_value(&typed).unwrap(), spec);
    assert_eq!(typed.directions(), [PolicyType::Ingress, PolicyType::Egress]);
    let peers = &typed.ingress[0].from;
    assert_eq!(peers[0].pod_selector, Some(LabelSelector::default()), "empty is not absent");
    assert_eq!(peers[1].pod_selector, None);
    let plain = StagedKubernetesNetworkPolicySpec::default();
    assert_eq!((plain.directions(), plain.staged_action), (vec![PolicyType::Ingress], StagedAction::Set));
    let only = StagedKubernetesNetworkPolicySpec { policy_types: vec![PolicyType::Egress], ..plain };
    assert_eq!(only.directions(), [PolicyType::Egress]);
}
