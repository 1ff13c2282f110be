use super::*;
use serde_json::{Value, json};

fn resource(kind: Kind, spec: Value) -> Resource {
    let mut resource = Resource::new(kind, "shop", "a");
    *resource.spec_mut() = spec.as_object().cloned().unwrap_or_default();
    resource
}

fn headings(kind: Kind, width: Width, namespace: bool) -> String {
    table(kind, width, namespace).iter().map(|c| c.heading).collect::<Vec<_>>().join(" ")
}

fn row(width: Width, resource: &Resource) -> String {
    let facts = Facts { default_as_number: "64512".into() };
    table(resource.kind(), width, false)
        .iter()
        .map(|c| (c.cell)(resource, &facts))
        .collect::<Vec<_>>()
        .join("|")
}

#[test]
fn headings_of_the_contract() {
    for (kind, narrow, wide) in [
        (Kind::BGPConfiguration, "NAME LOGSEVERITY MESHENABLED ASNUMBER", ""),
        (Kind::BGPFilter, "NAME NUMEXPORTV4 NUMIMPORTV4 NUMEXPORTV6 NUMIMPORTV6", ""),
        (Kind::BGPPeer, "NAME PEERIP NODE ASN", ""),
        (Kind::CalicoNodeStatus, "NAME NODE", "NAME NODE CLASSES"),
        (Kind::ClusterInformation, "NAME CLUSTERGUID CLUSTERTYPE CALICOVERSION DATASTOREREADY", ""),
        (Kind::FelixConfiguration, "NAME", ""),
        (Kind::GlobalNetworkPolicy, "NAME TIER", "NAME TIER ORDER SELECTOR"),
        (Kind::GlobalNetworkSet, "NAME", "NAME NETS"),
        (Kind::HostEndpoint, "NAME NODE", "NAME NODE INTERFACE IPS PROFILES"),
        (
            Kind::IPAMConfiguration,
            "NAME STRICTAFFINITY AUTOALLOCATEBLOCKS",
            "NAME STRICTAFFINITY AUTOALLOCATEBLOCKS MAXBLOCKSPERHOST",
        ),
        (
            Kind::IPPool,
            "NAME CIDR SELECTOR",
            "NAME CIDR NAT IPIPMODE VXLANMODE DISABLED DISABLEBGPEXPORT SELECTOR ASSIGNMENTMODE",
        ),
        (Kind::IPReservation, "NAME", "NAME CIDRS"),
        (Kind::Node, "NAME", "NAME ASN IPV4 IPV6"),
        (Kind::Profile, "NAME", "NAME LABELS"),
        (Kind::StagedKubernetesNetworkPolicy, "NAME", "NAME PODSELECTOR"),
        (Kind::Tier, "NAME ORDER", ""),
        (
            Kind::WorkloadEndpoint,
            "WORKLOAD NODE NETWORKS INTERFACE",
            "NAME WORKLOAD NODE NETWORKS INTERFACE PROFILES NATS",
        ),
    ] {
        assert_eq!(headings(kind, Width::Default, false), narrow, "{kind:?}");
        assert_eq!(
            headings(kind, Width::Wide, false),
            if wide.is_empty() { narrow } else { wide },
            "{kind:?}"
        );
    }
    assert_eq!(
        headings(Kind::WorkloadEndpoint, Width::Default, true),
        "NAMESPACE WORKLOAD NODE NETWORKS INTERFACE"
    );
    assert_eq!(headings(Kind::IPPool, Width::Default, true), "NAME CIDR SELECTOR");
}

#[test]
fn headings_by_name() {
    assert_eq!(by_heading(Kind::WorkloadEndpoint, "orchestrator").map(|c| c.heading), Some("ORCHESTRATOR"));
    assert_eq!(by_heading(Kind::NetworkSet, "NAMESPACE").map(|c| c.heading), Some("NAMESPACE"));
    assert!(by_heading(Kind::IPPool, "NAMESPACE").is_none());
    assert!(by_heading(Kind::IPPool, "SHOE").is_none());
}

#[test]
fn every_kind_of_the_command_line_begins_with_a_name_or_workload() {
    for kind in Kind::ALL {
        let first = table(*kind, Width::Default, false).first().map(|c| c.heading);
        assert!(matches!(first, Some("NAME" | "WORKLOAD")), "{kind:?}");
    }
}

#[test]
fn cells() {
    for (kind, spec, wide) in [
        (Kind::BGPConfiguration, json!({"logSeverityScreen": "Info"}), "a|Info|-|-"),
        (
            Kind::BGPConfiguration,
            json!({"nodeToNodeMeshEnabled": false, "asNumber": 64700}),
            "a||false|64700",
        ),
        (Kind::BGPFilter, json!({"exportV4": [{}, {}], "importV6": [{}]}), "a|2|0|0|1"),
        (Kind::BGPPeer, json!({"nodeSelector": "has(rack)"}), "a||has(rack)|0"),
        (Kind::BGPPeer, json!({"peerIP": "192.0.2.1", "asNumber": 64601}), "a|192.0.2.1|(global)|64601"),
        (Kind::BGPPeer, json!({"node": "n1", "peerIP": "192.0.2.9:1179"}), "a|192.0.2.9:1179|n1|0"),
        (Kind::CalicoNodeStatus, json!({"node": "n1", "classes": ["Agent", "BGP"]}), "a|n1|Agent,BGP"),
        (Kind::ClusterInformation, json!({"clusterGUID": "e9"}), "a|e9|||<nil>"),
        (Kind::GlobalNetworkPolicy, json!({"tier": "default"}), "a|default|<nil>|"),
        (
            Kind::GlobalNetworkPolicy,
            json!({"tier": "t", "order": 1_000_000, "selector": "has(x)"}),
            "a|t|1e+06|has(x)",
        ),
        (Kind::NetworkPolicy, json!({"tier": "t", "order": 2.5}), "a|t|2.5|"),
        (
            Kind::IPAMConfiguration,
            json!({"strictAffinity": true, "maxBlocksPerHost": 1_000_000}),
            "a|true|false|1000000",
        ),
        (
            Kind::IPPool,
            json!({"cidr": "10.0.0.0/8", "nodeSelector": "all()"}),
            "a|10.0.0.0/8|false|Never|Never|false|false|all()|",
        ),
        (
            Kind::Node,
            json!({"bgp": {"asNumber": 64555, "ipv4Address": "192.0.2.1/24"}}),
            "a|64555|192.0.2.1/24|",
        ),
        (Kind::Node, json!({"bgp": {"ipv6Address": "2001:db8::1/64"}}), "a|(64512)||2001:db8::1/64"),
        (Kind::Node, json!({}), "a|||"),
        (Kind::Profile, json!({"labelsToApply": {"b": "2", "a": "1"}}), "a|a=1,b=2"),
        (Kind::Tier, json!({"order": 1.5}), "a|1.5"),
        (
            Kind::StagedKubernetesNetworkPolicy,
            json!({"podSelector": {"matchLabels": {"a": "b"}, "matchExpressions": [
                {"key": "c", "operator": "In", "values": ["d", "e"]}, {"key": "f", "operator": "DoesNotExist"}]}}),
            "a|a=b,c in (d,e),!f",
        ),
        (
            Kind::WorkloadEndpoint,
            json!({"pod": "web-0", "node": "n1", "ipNetworks": ["10.64.0.2/32", "fd5f::1/128"], "interfaceName": "calik1",
                "profiles": ["p", "q"], "ipNATs": [{"internalIP": "10.64.0.2", "externalIP": "203.0.113.2"}]}),
            "a|web-0|n1|10.64.0.2/32,fd5f::1/128|calik1|p,q|203.0.113.2->10.64.0.2",
        ),
    ] {
        assert_eq!(row(Width::Wide, &resource(kind, spec)), wide, "{kind:?}");
    }
}

#[test]
fn long_lists_are_cut() {
    let nets: Vec<String> = (0..20).map(|i| format!("10.{i}.0.0/16")).collect();
    let cells = row(Width::Wide, &resource(Kind::GlobalNetworkSet, json!({"nets": nets})));
    assert_eq!(cells, "a|10.0.0.0/16,10.1.0.0/16,10.2.0.0/16,10.3.0.0/16,10.4.0.0/16,10.5.0.0/16,10.6....");
}

#[test]
fn odd_stored_values_do_not_hurt() {
    for kind in Kind::ALL {
        for spec in [
            json!({"order": "x", "cidr": 5, "bgp": [], "nets": "a", "labelsToApply": 3, "classes": {}}),
            Value::Null,
        ] {
            for width in [Width::Default, Width::Wide] {
                row(width, &resource(*kind, spec.clone()));
            }
        }
    }
}
