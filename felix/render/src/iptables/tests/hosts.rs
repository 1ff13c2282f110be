//! Packets on their way through the tables of a node: workloads, host endpoints, and what stands between them.

use super::accumulated::Ruleset;
use super::interpreter::{Context, hook};
use crate::Render;
use crate::evaluate::Packet;
use crate::iptables::{Renderer, Table};
use crate::settings::{Allow, Deny, EndpointToHost, InsertMode, Iptables, ServiceLoop, Settings};
use crate::tests::objects::{
    host, host_key, ip, local, open, policy, pools, port, rule, tier, workload, workload_key,
};
use felix_calc::Changes;
use felix_calc::endpoint::{EndpointKey, HostInterface, Limit, LocalEndpoint};
use felix_calc::policy::{Policy, Tier};
use model::v3::{Action, PolicyType, Protocol};
use std::sync::Arc;

type Endpoints = Vec<(EndpointKey, Option<Arc<LocalEndpoint>>)>;

fn node(settings: Settings, endpoints: Endpoints) -> Ruleset {
    let mut renderer = Renderer::new(settings);
    for (name, address) in [("eth0", "192.0.2.1"), ("eth1", "203.0.113.1")] {
        renderer.set_interface(name, Some(&[ip(address)]));
    }
    renderer.apply(&Changes {
        sets: pools(),
        profiles: vec![("open".into(), Some(open()))],
        endpoints,
        service_cidrs: Some(["10.96.0.0/12".parse().unwrap()].into()),
        ..Changes::default()
    });
    let mut ruleset = Ruleset::default();
    ruleset.update(renderer.take());
    ruleset
}

/// Whether a packet that came by `from` and leaves by `to` gets through; an empty name is the host itself.
fn passes(node: &Ruleset, from: &str, to: &str, context: &mut Context) -> bool {
    let hooks: &[(Table, &'static str)] = match (from, to) {
        ("", _) => &[
            (Table::Raw, "OUTPUT"),
            (Table::Nat, "OUTPUT"),
            (Table::Filter, "OUTPUT"),
            (Table::Mangle, "POSTROUTING"),
        ],
        (_, "") => &[(Table::Raw, "PREROUTING"), (Table::Mangle, "PREROUTING"), (Table::Filter, "INPUT")],
        _ => &[
            (Table::Raw, "PREROUTING"),
            (Table::Mangle, "PREROUTING"),
            (Table::Filter, "FORWARD"),
            (Table::Mangle, "POSTROUTING"),
        ],
    };
    hooks.iter().all(|(table, chain)| {
        // which way it leaves is known behind routing, which way it came is not where it leaves
        let before = *chain == "PREROUTING";
        let behind = matches!(*chain, "OUTPUT" | "POSTROUTING");
        context.in_name = if behind { String::new() } else { from.into() };
        context.out_name = if before { String::new() } else { to.into() };
        hook(node, *table, chain, context)
    })
}

fn tcp(source: &str, destination: &str, port: u16) -> Packet {
    Packet {
        source: ip(source),
        destination: ip(destination),
        protocol: 6,
        ports: Some((40_000, port)),
        icmp: None,
    }
}

fn sends(node: &Ruleset, from: &str, to: &str, packet: Packet) -> bool {
    passes(node, from, to, &mut Context::new(&packet))
}

const WEB: &str = "10.65.0.1";
const DB: &str = "10.65.0.2";
const HOST: &str = "192.0.2.1";
const OUTSIDE: &str = "198.51.100.9";

/// A policy that lets TCP to one port in and out, and nothing else.
fn only(name: &str, number: u16) -> Arc<Policy> {
    policy(name, |spec| {
        let allow = || {
            vec![rule(Action::Allow, |rule| {
                rule.protocol = Some(Protocol::Number(6));
                rule.destination.ports = vec![port(number)];
            })]
        };
        (spec.policy.ingress, spec.policy.egress) = (allow(), allow());
    })
}

fn workloads(of_web: &[Tier]) -> Endpoints {
    vec![
        (workload_key("web"), local(workload("cali1web", &[WEB], |_| {}), of_web)),
        (workload_key("db"), local(workload("cali2db", &[DB], |_| {}), &[])),
    ]
}

fn host_endpoint(interface: HostInterface, tiers: &[Tier]) -> Endpoints {
    vec![(host_key("node"), local(host(interface, &[HOST]), tiers))]
}

fn eth0() -> HostInterface {
    HostInterface::Named("eth0".into())
}

#[test]
fn both_workloads_must_allow() {
    let node = node(Settings::default(), workloads(&[tier("default", &[&only("p", 80)])]));
    assert!(sends(&node, "cali1web", "cali2db", tcp(WEB, DB, 80)));
    assert!(!sends(&node, "cali1web", "cali2db", tcp(WEB, DB, 81)));
    assert!(sends(&node, "cali2db", "cali1web", tcp(DB, WEB, 80)));
    assert!(!sends(&node, "cali2db", "cali1web", tcp(DB, WEB, 81)));
    // answers pass whatever policy says
    let mut answer = Context::new(&tcp(DB, WEB, 81));
    answer.states = vec!["ESTABLISHED"];
    assert!(passes(&node, "cali2db", "cali1web", &mut answer));
    let mut stray = Context::new(&tcp(DB, WEB, 80));
    stray.states = vec!["INVALID"];
    assert!(!passes(&node, "cali2db", "cali1web", &mut stray));
}

#[test]
fn what_is_no_workloads_is_closed_and_what_is_spoofed_dropped() {
    let node = node(Settings::default(), workloads(&[]));
    assert!(!sends(&node, "cali9", "cali1web", tcp(DB, WEB, 80)));
    assert!(!sends(&node, "cali1web", "cali9", tcp(WEB, DB, 80)));
    let mut spoofed = Context::new(&tcp("10.65.0.9", DB, 80));
    spoofed.spoofed = true;
    assert!(!passes(&node, "cali1web", "cali2db", &mut spoofed));
    // elsewhere that is the host's own affair
    let mut other = Context::new(&tcp(OUTSIDE, DB, 80));
    other.spoofed = true;
    assert!(passes(&node, "eth0", "cali2db", &mut other));
    // a workload does not wrap up what its policy would not see
    let udp = Packet { protocol: 17, ..tcp(WEB, DB, 4789) };
    assert!(!sends(&node, "cali1web", "cali2db", udp));
    assert!(!sends(&node, "cali1web", "cali2db", Packet { protocol: 4, ports: None, ..udp }));
}

#[test]
fn a_workload_reaches_its_host_by_policy_and_the_default_action() {
    for (to_host, reaches) in
        [(EndpointToHost::Drop, false), (EndpointToHost::Return, true), (EndpointToHost::Accept, true)]
    {
        let settings = Settings { endpoint_to_host: to_host, ..Settings::default() };
        let node = node(settings, workloads(&[tier("default", &[&only("p", 80)])]));
        assert_eq!(sends(&node, "cali1web", "", tcp(WEB, HOST, 80)), reaches, "{to_host:?}");
        assert!(!sends(&node, "cali1web", "", tcp(WEB, HOST, 81)), "{to_host:?}");
        // and the host its workloads, whatever policy of egress it has
        assert!(sends(&node, "", "cali2db", tcp(HOST, DB, 81)));
    }
}

#[test]
fn a_host_endpoint_guards_the_hosts_processes_and_failsafe_ports_stay_open() {
    let tiers = [tier("default", &[&only("p", 80)])];
    for interface in [eth0(), HostInterface::ByAddress, HostInterface::All] {
        let node = node(Settings::default(), host_endpoint(interface.clone(), &tiers));
        assert!(sends(&node, "eth0", "", tcp(OUTSIDE, HOST, 80)));
        assert!(!sends(&node, "eth0", "", tcp(OUTSIDE, HOST, 81)), "{interface:?}");
        assert!(sends(&node, "eth0", "", tcp(OUTSIDE, HOST, 22)));
        assert!(sends(&node, "", "eth0", tcp(HOST, OUTSIDE, 80)));
        assert!(!sends(&node, "", "eth0", tcp(HOST, OUTSIDE, 81)), "{interface:?}");
        assert!(sends(&node, "", "eth0", tcp(HOST, OUTSIDE, 2379)));
        let other = interface == HostInterface::All;
        assert_eq!(!sends(&node, "eth1", "", tcp(OUTSIDE, HOST, 81)), other, "{interface:?}");
        // a policy of the host is none of what it forwards
        assert!(sends(&node, "eth0", "eth1", tcp(OUTSIDE, "203.0.113.9", 81)));
    }
}

#[test]
fn translated_packets_of_the_host_are_judged_behind_routing() {
    for deny in [Deny::Drop, Deny::Reject] {
        let settings = Settings { iptables: Iptables { deny, ..Iptables::default() }, ..Settings::default() };
        let node = node(settings, host_endpoint(eth0(), &[tier("default", &[&only("p", 80)])]));
        let translated = |to: u16| {
            let mut context = Context::new(&tcp(HOST, OUTSIDE, to));
            context.states = vec!["NEW", "DNAT"];
            passes(&node, "", "eth0", &mut context)
        };
        assert!(translated(80));
        assert!(!translated(81), "{deny:?}");
    }
}

#[test]
fn early_and_forward_policies_act_where_they_belong() {
    let deny = |name: &str, number: u16, edit: fn(&mut model::v3::GlobalNetworkPolicySpec)| {
        policy(name, |spec| {
            spec.policy.types = vec![PolicyType::Ingress];
            spec.policy.ingress = vec![
                rule(Action::Deny, |rule| {
                    rule.protocol = Some(Protocol::Number(6));
                    rule.destination.ports = vec![port(number)];
                }),
                rule(Action::Allow, |rule| {
                    rule.protocol = Some(Protocol::Number(6));
                    rule.destination.ports = vec![port(8000)];
                }),
            ];
            spec.apply_on_forward = true;
            edit(spec);
        })
    };
    let early = deny("early", 1000, |spec| spec.do_not_track = true);
    let before = deny("before", 2000, |spec| spec.pre_dnat = true);
    let forward = deny("forward", 3000, |_| {});
    let tiers = [tier("default", &[&early, &before, &forward])];
    let node = node(Settings::default(), host_endpoint(eth0(), &tiers));
    let to_host = |number| sends(&node, "eth0", "", tcp(OUTSIDE, HOST, number));
    let through = |number| sends(&node, "eth0", "eth1", tcp(OUTSIDE, "203.0.113.9", number));
    for number in [1000, 2000, 3000] {
        assert!(!to_host(number) && !through(number), "{number}");
    }
    // what an early policy allows no later one is asked about, and no connection is made of it
    let mut context = Context::new(&tcp(OUTSIDE, HOST, 8000));
    assert!(passes(&node, "eth0", "", &mut context) && context.untracked);
    assert!(through(8000));
    // the rest a normal policy decides about
    assert!(!to_host(4000) && !through(4000));
    // no policy says anything about what leaves
    assert!(sends(&node, "eth1", "eth0", tcp("203.0.113.9", OUTSIDE, 3000)));
}

#[test]
fn packets_to_services_that_nobody_translated_go_nowhere() {
    let through = |service_loop| {
        let node = node(Settings { service_loop, ..Settings::default() }, vec![]);
        sends(&node, "eth0", "eth1", tcp(OUTSIDE, "10.96.0.10", 443))
    };
    assert!(through(ServiceLoop::Disabled));
    assert!(!through(ServiceLoop::Drop));
    assert!(!through(ServiceLoop::Reject));
}

#[test]
fn limits_of_packets_are_for_all_and_limits_of_connections_for_new_ones() {
    let limited = |limit: Limit| {
        let endpoint = workload("cali1web", &[WEB], |workload| workload.egress_limit = limit);
        let mut all = workloads(&[]);
        all[0].1 = local(endpoint, &[]);
        let node = node(Settings::default(), all);
        move |over| {
            let mut context = Context::new(&tcp(WEB, DB, 80));
            context.over = over;
            passes(&node, "cali1web", "cali2db", &mut context)
        }
    };
    let packets = limited(Limit { packets: Some((100, 5)), connections: None });
    assert!(packets(false) && !packets(true));
    let connections = limited(Limit { packets: None, connections: Some(1) });
    assert!(connections(false) && !connections(true));
}

#[test]
fn rules_of_ours_are_where_the_settings_say() {
    for insert in [InsertMode::Insert, InsertMode::Append] {
        let iptables = Iptables { insert, filter_allow: Allow::Return, ..Iptables::default() };
        let node = node(Settings { iptables, ..Settings::default() }, workloads(&[]));
        for ((_, table, chain), hook) in &node.hooks {
            let behind = (*table, *chain) == (Table::Nat, "POSTROUTING") || insert == InsertMode::Append;
            assert_eq!(hook.inserted.is_empty(), behind, "{table:?} {chain}");
        }
        let forward = &node.hooks[&(model::net::Family::V4, Table::Filter, "FORWARD")];
        let last: Vec<&str> = forward.appended.iter().rev().take(2).map(|rule| &*rule.text).collect();
        assert_eq!(last[0], "--jump MARK --set-mark 0x10000/0x10000");
        assert!(last[1].ends_with("-m mark --mark 0x10000/0x10000 --jump RETURN"), "{last:?}");
        assert!(sends(&node, "cali1web", "cali2db", tcp(WEB, DB, 80)));
    }
}
