//! Filters and standing rules (`bgp.md` §5–§7, §9, §10 of the contract) where no recording says it.

use crate::bird::{Route, Verdict};
use crate::naive;
use crate::support::{add, node, plan, session, view, warnings};
use bgp_wire::{Family, Prefix};
use model::Owner;
use model::ipam::AffinityState;
use model::net::Cidr;
use std::collections::BTreeSet;

const PEER: &str =
    "---\nkind: BGPPeer\nmetadata: {name: p}\nspec: {peerIP: 192.0.2.1, asNumber: 65001, filters: [f]}\n";

fn own() -> String {
    node("a", "10.0.0.9", "2001:db8::9", "", "")
        + "---\nkind: IPPool\nmetadata: {name: p4}\nspec: {cidr: 10.64.0.0/16}\n"
        + "---\nkind: IPPool\nmetadata: {name: p6}\nspec: {cidr: 'fd5f::/64'}\n"
}

fn net(text: &str) -> Prefix {
    let (addr, len) = text.split_once('/').unwrap();
    Prefix::new(addr.parse().unwrap(), len.parse().unwrap()).unwrap()
}

/// A route learnt by BGP as ordinary nodes announce it.
fn learnt(prefix: &str) -> Route {
    Route {
        net: net(prefix),
        by_bgp: true,
        interface: Some("eth0".to_owned()),
        next_hop: Some("10.0.0.10".parse().unwrap()),
        local_pref: Some(2_147_482_623),
        metric: None,
        communities: BTreeSet::new(),
        large: BTreeSet::new(),
        path: Vec::new(),
        preference: None,
        tunnel: None,
    }
}

fn local(prefix: &str, metric: Option<u32>) -> Route {
    Route { by_bgp: false, local_pref: None, next_hop: None, metric, interface: None, ..learnt(prefix) }
}

/// What a filter's rule does on import of a route.
fn imported(rules: &str, route: &Route) -> (Verdict, Route, String) {
    let list = if route.net.family() == Family::Ipv4Unicast { "importV4" } else { "importV6" };
    let text =
        own() + PEER + &format!("---\nkind: BGPFilter\nmetadata: {{name: f}}\nspec: {{{list}: [{rules}]}}\n");
    let plan = plan("a", &text);
    assert_eq!(warnings(&plan), [""; 0]);
    naive::run(session(&plan, "192.0.2.1").routing.import.get(route.net.family()), route, true)
}

fn rejected(condition: &str, route: &Route) -> bool {
    imported(&format!("{{{condition}, action: Reject}}"), route).0 == Verdict::Reject
}

#[test]
fn destinations() {
    for (condition, inside, outside) in [
        (
            "cidr: 10.0.0.0/8, matchOperator: Equal",
            &["10.0.0.0/8"][..],
            &["10.0.0.0/9", "0.0.0.0/0", "11.0.0.0/8"][..],
        ),
        ("cidr: 10.0.0.0/8, matchOperator: NotEqual", &["10.0.0.0/9", "0.0.0.0/0"], &["10.0.0.0/8"]),
        ("cidr: 10.0.0.0/8, matchOperator: In", &["10.0.0.0/8", "10.9.0.0/16"], &["0.0.0.0/0", "11.0.0.0/8"]),
        (
            "cidr: 10.0.0.0/8, matchOperator: NotIn",
            &["0.0.0.0/0", "11.0.0.0/8"],
            &["10.0.0.0/8", "10.9.0.0/16"],
        ),
        (
            "cidr: 10.0.0.0/8, matchOperator: In, prefixLength: {min: 16, max: 24}",
            &["10.0.0.0/16", "10.1.2.0/24"],
            &["10.0.0.0/8", "10.0.0.0/15", "10.1.2.0/25", "11.0.0.0/16"],
        ),
        (
            "cidr: 10.0.0.0/8, matchOperator: NotIn, prefixLength: {min: 16, max: 24}",
            &["10.0.0.0/8", "10.1.2.0/25", "11.0.0.0/16"],
            &["10.0.0.0/16", "10.1.2.0/24"],
        ),
        // clamped to what can be
        (
            "cidr: 10.0.0.0/8, matchOperator: In, prefixLength: {min: 0}",
            &["10.0.0.0/8", "10.1.1.1/32"],
            &["0.0.0.0/0"],
        ),
        ("cidr: 10.0.0.0/8, matchOperator: In, prefixLength: {max: 4}", &[], &["10.0.0.0/8", "0.0.0.0/4"]),
        ("cidr: 0.0.0.0/0, matchOperator: Equal", &["0.0.0.0/0"], &["10.0.0.0/8"]),
        ("cidr: 'fd00::/8', matchOperator: In", &["fd00::/8", "fd12::/64"], &["::/0", "2001:db8::/32"]),
        ("cidr: '::/0', matchOperator: In, prefixLength: {min: 128}", &["fd00::1/128"], &["fd00::/127"]),
    ] {
        inside.iter().for_each(|net| assert!(rejected(condition, &learnt(net)), "{condition}: {net}"));
        outside.iter().for_each(|net| assert!(!rejected(condition, &learnt(net)), "{condition}: {net}"));
    }
}

#[test]
fn conditions_are_anded_and_an_empty_rule_always_matches() {
    let route = Route {
        path: vec![1, 2, 3],
        communities: [(7, 8)].into(),
        large: [(1, 2, 3)].into(),
        ..learnt("10.1.0.0/16")
    };
    for (condition, holds) in [
        ("communities: {values: ['7:8']}", true),
        ("communities: {values: ['7:9']}", false),
        ("communities: {values: ['1:2:3']}", true),
        ("communities: {values: ['1:2:4']}", false),
        ("asPathPrefix: [1, 2]", true),
        ("asPathPrefix: [2]", false),
        ("asPathPrefix: [1, 2, 3, 4]", false),
        ("interface: eth*", true),
        ("interface: bond0", false),
        ("source: RemotePeers", true),
        ("peerType: eBGP", true),
        ("peerType: iBGP", false),
        ("priority: 1024", true),
        ("priority: 512", false),
        ("communities: {values: ['7:8']}, interface: eth0, priority: 1024, asPathPrefix: [1]", true),
        ("communities: {values: ['7:8']}, interface: eth1, priority: 1024, asPathPrefix: [1]", false),
    ] {
        assert_eq!(rejected(condition, &route), holds, "{condition}");
    }
    assert_eq!(imported("{action: Reject}", &route).0, Verdict::Reject);
}

#[test]
fn operations_of_accepted_routes() {
    let operations = "operations: [{addCommunity: {value: '7:8'}}, {addCommunity: {value: '1:2:3'}}, {prependASPath: {prefix: [5, 6]}}, {setPriority: {value: 77}}]";
    let (verdict, route, rule) =
        imported(&format!("{{action: Accept, {operations}}}"), &learnt("10.1.0.0/16"));
    assert_eq!((verdict, rule.as_str()), (Verdict::Accept, "BGPFilter f, importV4 rule 1"));
    assert_eq!((route.communities, route.large), ([(7, 8)].into(), [(1, 2, 3)].into()));
    assert_eq!((route.path, route.local_pref), (vec![5, 6], Some(2_147_483_570)));
    assert_eq!(route.preference, None, "an accepted route goes no further");
}

#[test]
fn elevated_priority_is_preferred_on_import() {
    let import =
        |pref: u32| imported("", &Route { local_pref: Some(pref), ..learnt("10.1.0.0/16") }).1.preference;
    assert_eq!(import(2_147_482_623), None);
    assert_eq!(import(2_147_482_624), Some(200));
    assert_eq!(import(100), None);
}

#[test]
fn filters_follow_each_other_and_missing_ones_are_skipped() {
    let filter = |name: &str, rule: &str| {
        format!("---\nkind: BGPFilter\nmetadata: {{name: {name}}}\nspec: {{importV4: [{rule}]}}\n")
    };
    let text = own()
        + &PEER.replace("[f]", "[one, none, two]")
        + &filter("one", "{cidr: 10.1.0.0/16, matchOperator: Equal, action: Reject}")
        + &filter("two", "{cidr: 10.0.0.0/8, matchOperator: In, action: Accept}");
    let plan = plan("a", &text);
    let told = warnings(&plan);
    assert_eq!(told.len(), 1);
    assert!(
        told[0].starts_with("BGPPeer p: spec.filters[1] = \"none\": there is no such BGPFilter"),
        "{told:?}"
    );
    let import = &session(&plan, "192.0.2.1").routing.import.ipv4;
    assert_eq!(naive::run(import, &learnt("10.1.0.0/16"), true).2, "BGPFilter one, importV4 rule 1");
    assert_eq!(naive::run(import, &learnt("10.2.0.0/16"), true).2, "BGPFilter two, importV4 rule 1");
}

#[test]
fn one_wrong_rule_makes_a_filter_absent_and_every_wrong_rule_is_told() {
    for (rule, field) in [
        ("{cidr: 10.0.0.0/8, action: Reject}", "importV4[1].matchOperator"),
        ("{matchOperator: In, action: Reject}", "importV4[1].cidr"),
        ("{cidr: 10.0.0.1/8, matchOperator: In, action: Reject}", "importV4[1].cidr = \"10.0.0.1/8\""),
        ("{cidr: 'fd00::/8', matchOperator: In, action: Reject}", "importV4[1].cidr"),
        ("{cidr: 10.0.0.0/8, matchOperator: Near, action: Reject}", "importV4[1].matchOperator = \"Near\""),
        ("{action: Drop}", "importV4[1].action = \"Drop\""),
        ("{peerType: both, action: Reject}", "importV4[1].peerType"),
        ("{source: Elsewhere, action: Reject}", "importV4[1].source"),
        ("{communities: {values: ['x']}, action: Reject}", "importV4[1].communities = \"x\""),
        ("{communities: {values: ['70000:1']}, action: Reject}", "importV4[1].communities"),
        ("{priority: 0, action: Reject}", "importV4[1].priority"),
        ("{action: Accept, operations: [{setPriority: {value: 2147483647}}]}", "importV4[1].operations"),
        ("{action: Accept, operations: [{addCommunity: {value: '1'}}]}", "importV4[1].operations"),
    ] {
        let rules = format!("{{action: Reject}}, {rule}, {{action: Perhaps}}");
        let text = own()
            + PEER
            + &format!("---\nkind: BGPFilter\nmetadata: {{name: f}}\nspec: {{importV4: [{rules}]}}\n");
        let plan = plan("a", &text);
        let told = warnings(&plan);
        assert!(
            told.iter().any(|t| t.starts_with(&format!("BGPFilter f: spec.{field}"))),
            "{rule}: {told:?}"
        );
        assert!(told.iter().any(|t| t.starts_with("BGPFilter f: spec.importV4[2].action")), "{told:?}");
        assert!(told.iter().any(|t| t.starts_with("BGPPeer p: spec.filters[0] = \"f\"")), "{told:?}");
        let import = &session(&plan, "192.0.2.1").routing.import.ipv4;
        assert_eq!(naive::run(import, &learnt("10.1.0.0/16"), true).0, Verdict::Accept);
    }
}

#[test]
fn blocks_by_state() {
    let mut view = view("a", &(own() + PEER));
    let block = |text: &str| Cidr::parse_masked(text).unwrap();
    let host = |name: &str| Owner::Host(name.to_owned());
    for (text, state) in [
        ("10.64.0.0/26", AffinityState::Confirmed),
        ("10.64.1.0/26", AffinityState::Unset),
        ("10.64.2.0/26", AffinityState::Pending),
        ("10.64.3.0/26", AffinityState::PendingDeletion),
        ("10.64.4.4/32", AffinityState::Confirmed),
        ("fd5f::/122", AffinityState::Confirmed),
    ] {
        view.set_affinity(&host("a"), block(text), &state);
    }
    view.set_affinity(&host("b"), block("10.64.9.0/26"), &AffinityState::Confirmed);
    view.set_affinity(&Owner::Virtual("a".to_owned()), block("10.64.8.0/26"), &AffinityState::Confirmed);
    let plan = view.plan();
    let blocks: Vec<String> = plan.blocks.iter().map(Prefix::to_string).collect();
    assert_eq!(blocks, ["10.64.0.0/26", "10.64.1.0/26", "10.64.2.0/26", "10.64.3.0/26", "fd5f::/122"]);
    let export = |route: &Route| {
        let (verdict, changed, _) =
            naive::run(session(&plan, "192.0.2.1").routing.export.get(route.net.family()), route, true);
        (verdict == Verdict::Accept).then_some(changed.local_pref.unwrap())
    };
    const ORDINARY: Option<u32> = Some(2_147_482_623);
    for (prefix, metric, sent) in [
        ("10.64.0.0/26", None, ORDINARY),
        ("10.64.0.5/32", Some(1024), None),
        ("10.64.0.5/32", None, None),
        ("10.64.0.5/32", Some(512), Some(2_147_483_135)),
        ("10.64.1.0/26", None, ORDINARY),
        ("10.64.1.5/32", Some(1024), None),
        ("10.64.2.0/26", None, ORDINARY),
        ("10.64.2.5/32", Some(1024), ORDINARY),
        ("10.64.3.5/32", Some(1024), ORDINARY),
        ("10.64.4.4/32", Some(1024), ORDINARY),
        // borrowed from another node's block
        ("10.64.9.7/32", Some(1024), ORDINARY),
        ("10.65.0.1/32", Some(1024), None),
        ("fd5f::5/128", Some(1024), None),
        ("fd5f::/122", None, ORDINARY),
        ("fd5f::1:0/122", None, ORDINARY),
    ] {
        assert_eq!(export(&local(prefix, metric)), sent, "{prefix} {metric:?}");
    }
    view.remove(&model::Key::Affinity(host("a"), block("10.64.0.0/26")));
    view.remove(&model::Key::Affinity(host("b"), block("10.64.1.0/26")));
    let after: Vec<String> = view.plan().blocks.iter().map(Prefix::to_string).collect();
    assert_eq!(after, ["10.64.1.0/26", "10.64.2.0/26", "10.64.3.0/26", "fd5f::/122"]);
}

#[test]
fn an_accepting_filter_lets_out_what_the_standing_rules_would_not() {
    let text = own()
        + PEER
        + "---\nkind: IPPool\nmetadata: {name: silent}\nspec: {cidr: 10.68.0.0/16, disableBGPExport: true}\n"
        + "---\nkind: BGPFilter\nmetadata: {name: f}\nspec: {exportV4: [{cidr: 10.68.1.0/24, matchOperator: In, action: Accept}, {cidr: 8.8.8.0/24, matchOperator: Equal, action: Accept}]}\n";
    let plan = plan("a", &text);
    let export = &session(&plan, "192.0.2.1").routing.export.ipv4;
    for (prefix, rule) in [
        ("10.68.1.0/26", "BGPFilter f, exportV4 rule 1"),
        ("8.8.8.0/24", "BGPFilter f, exportV4 rule 2"),
        ("10.68.2.0/26", "IPPool silent: disableBGPExport"),
        ("10.64.2.0/26", "IPPool p4: exported"),
        ("172.16.0.0/12", "outside of every IPPool"),
    ] {
        assert_eq!(naive::run(export, &learnt(prefix), true).2, rule, "{prefix}");
    }
}

/// Verdict, metric, tunnel and preference in the kernel.
fn kernel(text: &str, route: &Route) -> (bool, Option<u32>, Option<String>, Option<u32>) {
    let plan = plan("a", text);
    let (verdict, route, _) = naive::run(plan.kernel.get(route.net.family()), route, false);
    (verdict == Verdict::Accept, route.metric, route.tunnel, route.preference)
}

#[test]
fn metrics_in_the_kernel() {
    let with = |pref: u32| kernel(&own(), &Route { local_pref: Some(pref), ..learnt("10.64.9.0/26") });
    assert_eq!(with(2_147_482_623), (true, Some(1024), None, None));
    assert_eq!(with(2_147_483_135), (true, Some(512), None, Some(200)));
    assert_eq!(with(100), (true, Some(2_147_483_547), None, None));
    let blackhole = kernel(&own(), &local("10.64.9.0/26", None));
    assert_eq!(blackhole, (true, None, None, None), "routes of ours get no metric");
    let outside = kernel(&own(), &learnt("8.8.8.0/24"));
    assert_eq!(outside, (true, Some(1024), None, None), "routes of no pool are programmed");
}

#[test]
fn who_owns_routes_of_pools() {
    let near = learnt("10.70.0.0/26");
    let far = Route { next_hop: Some("198.51.100.1".parse().unwrap()), ..near.clone() };
    let tunnel = Some("tunl0");
    for (value, mode, near_wanted, far_wanted) in [
        ("EnabledNoEncapOnly", "Never", Some(None), Some(None)),
        ("EnabledNoEncapOnly", "Always", None, None),
        ("Enabled", "Never", Some(None), Some(None)),
        ("Enabled", "Always", Some(tunnel), Some(tunnel)),
        ("Enabled", "CrossSubnet", Some(None), Some(tunnel)),
        ("EnabledIPIPOnly", "Never", None, None),
        ("EnabledIPIPOnly", "CrossSubnet", Some(None), Some(tunnel)),
        ("Disabled", "Never", None, None),
        ("Disabled", "Always", None, None),
        // of a newer release
        ("Sometimes", "Never", Some(None), Some(None)),
    ] {
        let text = own()
            + &format!(
                "---\nkind: BGPConfiguration\nmetadata: {{name: default}}\nspec: {{programClusterRoutes: {value}}}\n"
            )
            + &format!(
                "---\nkind: IPPool\nmetadata: {{name: q}}\nspec: {{cidr: 10.70.0.0/16, ipipMode: {mode}}}\n"
            );
        for (route, wanted) in [(&near, near_wanted), (&far, far_wanted)] {
            let (programmed, _, through, _) = kernel(&text, route);
            let got = programmed.then_some(through.as_deref());
            assert_eq!(got, wanted, "{value}, {mode}, {:?}", route.next_hop);
        }
    }
    for mode in ["Always", "CrossSubnet"] {
        let text = own()
            + &format!(
                "---\nkind: IPPool\nmetadata: {{name: q}}\nspec: {{cidr: 10.70.0.0/16, vxlanMode: {mode}}}\n"
            );
        assert!(!kernel(&text, &near).0, "VXLAN is always Felix's");
    }
}

#[test]
fn pools_of_ipv6_are_only_held_back() {
    let six = |value: &str, vxlan: &str| {
        let text = own().replace("cidr: 'fd5f::/64'", &format!("cidr: 'fd5f::/64', vxlanMode: {vxlan}"))
            + &format!(
                "---\nkind: BGPConfiguration\nmetadata: {{name: default}}\nspec: {{programClusterRoutes: {value}}}\n"
            );
        kernel(&text, &learnt("fd5f::/122")).0
    };
    assert!(six("EnabledNoEncapOnly", "Never"));
    assert!(!six("Disabled", "Never"));
    assert!(!six("EnabledNoEncapOnly", "Always"));
}

#[test]
fn without_an_address_of_ipv4_pools_do_not_matter() {
    let text = own().replace("ipv4Address: 10.0.0.9/24, ", "")
        + "---\nkind: IPPool\nmetadata: {name: q}\nspec: {cidr: 10.70.0.0/16, vxlanMode: Always}\n";
    assert!(kernel(&text, &learnt("10.70.0.0/26")).0);
}

#[test]
fn routes_to_wireguard_nodes_are_felixs_where_this_node_has_it_too() {
    let peer = |wireguard: &str| {
        format!(
            "---\nkind: Node\nmetadata: {{name: b}}\nspec: {{bgp: {{ipv4Address: 10.0.0.10/24}}{wireguard}}}\n"
        )
    };
    const WIREGUARD: &str = ", wireguard: {interfaceIPv4Address: 10.64.0.1}";
    let own_with = own().replace(
        "}}\n---\nkind: IPPool\nmetadata: {name: p4}",
        &format!("}}{WIREGUARD}}}\n---\nkind: IPPool\nmetadata: {{name: p4}}"),
    );
    assert!(own_with.contains("wireguard"));
    let other = Route { next_hop: Some("10.0.0.11".parse().unwrap()), ..learnt("10.64.9.0/26") };
    for (text, programmed) in [
        (own() + &peer(""), true),
        (own() + &peer(WIREGUARD), true),
        (own_with.clone() + &peer(""), true),
        (own_with.clone() + &peer(WIREGUARD), false),
    ] {
        assert_eq!(kernel(&text, &learnt("10.64.9.0/26")).0, programmed, "{text}");
        assert!(kernel(&text, &other).0);
    }
}

#[test]
fn a_nodes_own_advertisements_replace_the_clusters() {
    let configuration = |name: &str, spec: &str| {
        format!("---\nkind: BGPConfiguration\nmetadata: {{name: {name}}}\nspec: {{{spec}}}\n")
    };
    let cluster = configuration(
        "default",
        "communities: [{name: gold, value: '1:1'}], prefixAdvertisements: [{cidr: 10.64.0.0/16, communities: [gold, '1:2:3', silver]}, {cidr: 'fd5f::/64', communities: ['9:9']}]",
    );
    let sent = |text: &str, prefix: &str| {
        let plan = plan("a", text);
        let policy = session(&plan, "192.0.2.1").routing.export.get(net(prefix).family());
        let (_, route, _) = naive::run(policy, &learnt(prefix), true);
        (route.communities, route.large)
    };
    let none = (BTreeSet::new(), BTreeSet::new());
    let text = own() + PEER + &cluster;
    assert_eq!(sent(&text, "10.64.1.0/26"), ([(1, 1)].into(), [(1, 2, 3)].into()));
    assert_eq!(sent(&text, "fd5f::/122"), ([(9, 9)].into(), BTreeSet::new()));
    assert!(warnings(&plan("a", &text)).iter().any(|t| t.contains("= \"silver\"")));
    let own_list = text.clone()
        + &configuration(
            "node.a",
            "prefixAdvertisements: [{cidr: 10.64.2.0/24, communities: ['2:2', gold]}]",
        );
    assert_eq!(sent(&own_list, "10.64.1.0/26"), none);
    assert_eq!(
        sent(&own_list, "10.64.2.0/26"),
        ([(2, 2)].into(), BTreeSet::new()),
        "names are of the same resource"
    );
    assert_eq!(sent(&own_list, "fd5f::/122"), none);
    let others =
        text + &configuration("node.b", "prefixAdvertisements: [{cidr: 10.64.2.0/24, communities: ['2:2']}]");
    assert_eq!(sent(&others, "10.64.2.0/26"), ([(1, 1)].into(), [(1, 2, 3)].into()));
}

#[test]
fn node_configurations_say_only_what_is_theirs() {
    let text = own()
        + "---\nkind: BGPConfiguration\nmetadata: {name: node.a}\nspec: {listenPort: 1790, logSeverityScreen: Debug, asNumber: 65000, bindMode: NodeIP, ipv4NormalRoutePriority: 99, programClusterRoutes: Disabled, ignoredInterfaces: [x]}\n"
        + "---\nkind: BGPConfiguration\nmetadata: {name: other}\nspec: {listenPort: 1}\n";
    let plan = plan("a", &text);
    assert_eq!((plan.listen.port, plan.log_level), (1790, bgp_config::LogLevel::Debug));
    assert_eq!((plan.local_as, plan.normal_priority.ipv4), (64512, 1024));
    assert!(plan.listen.addresses.is_empty() && !plan.ignored_interfaces.contains(&"x".to_owned()));
    assert!(kernel(&text, &learnt("10.64.9.0/26")).0);
}

#[test]
fn equal_policies_are_one_allocation() {
    let mut view = view(
        "a",
        &(own() + PEER + &node("b", "10.0.0.10", "", "", "") + &node("c", "10.0.0.11", "", "", "")),
    );
    let first = view.plan();
    let policy =
        |plan: &bgp_config::NodePlan, address: &str| session(plan, address).routing.export.ipv4.clone();
    assert!(std::sync::Arc::ptr_eq(&policy(&first, "10.0.0.10"), &policy(&first, "10.0.0.11")));
    assert!(
        std::sync::Arc::ptr_eq(&policy(&first, "10.0.0.10"), &policy(&first, "192.0.2.1")),
        "a missing filter is none"
    );
    add(&mut view, &node("d", "10.0.0.12", "", "", ""));
    let second = view.plan();
    assert!(std::sync::Arc::ptr_eq(&policy(&first, "10.0.0.10"), &policy(&second, "10.0.0.12")));
}
