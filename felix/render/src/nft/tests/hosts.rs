//! Packets on their way through the hooks of a node: workloads, host endpoints, and what stands between them.

use super::accumulated::Ruleset;
use super::interpreter::{Context, hook};
use crate::Render;
use crate::evaluate::Packet;
use crate::nft::{Renderer, Settings};
use crate::settings::{Deny, EndpointToHost, Nft, ServiceLoop};
use crate::tests::objects::{
    host, host_key, ip, local, open, policy, port, rule, tier, workload, workload_key,
};
use felix_calc::Changes;
use felix_calc::endpoint::{EndpointKey, HostInterface, Limit, LocalEndpoint, Workload};
use felix_calc::policy::{Policy, Tier};
use model::felix::FailsafePort;
use model::v3::{Action, PolicyType, Protocol};
use std::sync::Arc;

const PREROUTING: u32 = 0;
const INPUT: u32 = 1;
const FORWARD: u32 = 2;
const OUTPUT: u32 = 3;
const POSTROUTING: u32 = 4;

/// A node.
struct Node {
    ruleset: Ruleset,
    renderer: Renderer,
}

impl Node {
    fn new(settings: Settings, endpoints: Vec<(EndpointKey, Option<Arc<LocalEndpoint>>)>) -> Self {
        let mut renderer = Renderer::new(settings);
        for (name, address) in [("eth0", "192.0.2.1"), ("eth1", "203.0.113.1")] {
            renderer.set_interface(name, Some(&[ip(address)]));
        }
        renderer.apply(&Changes {
            profiles: vec![("open".into(), Some(open()))],
            endpoints,
            ..Changes::default()
        });
        let mut ruleset = Ruleset::default();
        ruleset.update(renderer.take());
        Node { ruleset, renderer }
    }

    /// Whether a packet that came by `from` and leaves by `to` gets through; an empty name is the host itself.
    fn passes(&self, from: &str, to: &str, context: &mut Context) -> bool {
        let hooks: &[u32] = match (from, to) {
            ("", _) => &[OUTPUT, POSTROUTING],
            (_, "") => &[PREROUTING, INPUT],
            _ => &[PREROUTING, FORWARD, POSTROUTING],
        };
        context.in_name = from.into();
        context.to_host = to.is_empty();
        hooks.iter().all(|number| {
            // the outgoing interface is known behind routing
            context.out_name = if *number == PREROUTING { String::new() } else { to.into() };
            hook(&self.ruleset, *number, context)
        })
    }

    fn sends(&self, from: &str, to: &str, packet: Packet) -> bool {
        self.passes(from, to, &mut Context::new(&packet))
    }

    fn has_chain(&self, name: &str) -> bool {
        self.ruleset.chains.contains_key(&(netfilter::nft::Family::Ipv4, name.into()))
    }
}

fn tcp(source: &str, destination: &str, to: u16) -> Packet {
    Packet {
        source: ip(source),
        destination: ip(destination),
        protocol: 6,
        ports: Some((40000, to)),
        icmp: None,
    }
}

fn udp(source: &str, destination: &str, to: u16) -> Packet {
    Packet { protocol: 17, ..tcp(source, destination, to) }
}

const A: &str = "10.65.0.2";
const B: &str = "10.65.0.3";
const HOST: &str = "192.0.2.1";
const OUTSIDE: &str = "198.51.100.9";

/// Allows TCP to one port, both ways.
fn only(name: &str, number: u16) -> Arc<Policy> {
    let allow = || {
        vec![rule(Action::Allow, |rule| {
            rule.protocol = Some(Protocol::Number(6));
            rule.destination.ports = vec![port(number)];
        })]
    };
    policy(name, |spec| {
        spec.policy.ingress = allow();
        spec.policy.egress = allow();
    })
}

fn two_workloads(of_a: &[Tier], of_b: &[Tier]) -> Vec<(EndpointKey, Option<Arc<LocalEndpoint>>)> {
    vec![
        (workload_key("a"), local(workload("cali1", &[A, "fd00:65::2"], |_| {}), of_a)),
        (workload_key("b"), local(workload("cali2", &[B, "fd00:65::3"], |_| {}), of_b)),
    ]
}

#[test]
fn both_workloads_must_allow() {
    let eighty = [tier("default", &[&only("p", 80)])];
    let node = Node::new(Settings::default(), two_workloads(&eighty, &[]));
    assert!(node.sends("cali1", "cali2", tcp(A, B, 80)));
    assert!(!node.sends("cali1", "cali2", tcp(A, B, 81)));
    assert!(node.sends("cali2", "cali1", tcp(B, A, 80)));
    assert!(!node.sends("cali2", "cali1", tcp(B, A, 81)));
    let node = Node::new(Settings::default(), two_workloads(&[], &eighty));
    assert!(!node.sends("cali1", "cali2", tcp(A, B, 81)));
    assert!(node.sends("cali1", "eth0", tcp(A, OUTSIDE, 81)));
    // answers come back without a rule
    let mut answer = Context::new(&tcp(B, A, 40000));
    answer.ct_state = 2;
    assert!(node.passes("cali2", "cali1", &mut answer));
    let mut stray = Context::new(&tcp(A, B, 80));
    stray.ct_state = 1;
    assert!(!node.passes("cali1", "cali2", &mut stray));
    assert_eq!(stray.decided.as_deref(), Some("interface cali*, packet of no connection"));
}

#[test]
fn a_workload_sends_from_its_own_addresses() {
    let node = Node::new(Settings::default(), two_workloads(&[], &[]));
    let mut spoofed = Context::new(&tcp(B, OUTSIDE, 80));
    assert!(!node.passes("cali1", "eth0", &mut spoofed));
    assert_eq!(spoofed.decided.as_deref(), Some("source address is none of the workload's, interface cali*"));
    // not for packets of known connections either
    spoofed.ct_state = 2;
    assert!(!node.passes("cali1", "eth0", &mut spoofed));
    assert!(node.sends("cali1", "eth0", tcp("fd00:65::2", "2001:db8::1", 80)));
    assert!(!node.sends("cali1", "eth0", tcp("fd00:65::3", "2001:db8::1", 80)));
    let discovery = |source: &str, kind| Packet {
        source: ip(source),
        destination: ip("ff02::1:ff00:1"),
        protocol: 58,
        ports: None,
        icmp: Some((kind, 0)),
    };
    assert!(node.sends("cali1", "", discovery("fe80::1", 135)));
    assert!(node.sends("cali1", "", discovery("::", 135)));
    assert!(!node.sends("cali1", "", discovery("fe80::1", 128)));
}

#[test]
fn source_prefixes_are_granted_where_the_settings_say_so() {
    let endpoint = || {
        let endpoint = workload("cali1", &[A], |workload| {
            workload.source_prefixes =
                ["10.99.0.0/16".parse().unwrap(), "10.99.1.0/24".parse().unwrap()].into();
        });
        vec![(workload_key("a"), local(endpoint, &[]))]
    };
    let node = Node::new(Settings::default(), endpoint());
    assert!(!node.sends("cali1", "eth0", tcp("10.99.1.1", OUTSIDE, 80)));
    let node = Node::new(Settings { source_spoofing: true, ..Settings::default() }, endpoint());
    assert!(node.sends("cali1", "eth0", tcp("10.99.1.1", OUTSIDE, 80)));
    assert!(node.sends("cali1", "eth0", tcp(A, OUTSIDE, 80)));
    assert!(!node.sends("cali1", "eth0", tcp("10.98.1.1", OUTSIDE, 80)));
}

#[test]
fn an_interface_that_looks_like_a_workloads_and_is_not_known_is_closed() {
    let node = Node::new(Settings::default(), two_workloads(&[], &[]));
    assert!(!node.sends("cali9", "eth0", tcp(A, OUTSIDE, 80)));
    let mut to = Context::new(&tcp(OUTSIDE, "10.65.0.9", 80));
    assert!(!node.passes("eth0", "cali9", &mut to));
    assert_eq!(to.decided.as_deref(), Some("interface cali* of no known workload"));
    // what has nothing to do with workloads is not ours
    assert!(node.sends("eth0", "eth1", tcp(OUTSIDE, "203.0.113.9", 80)));
    let mut stray = Context::new(&tcp(OUTSIDE, "203.0.113.9", 80));
    stray.ct_state = 1;
    assert!(node.passes("eth0", "eth1", &mut stray));
}

#[test]
fn a_workload_reaches_its_host_by_policy_and_the_default_action() {
    let eighty = [tier("default", &[&only("p", 80)])];
    let with = |endpoint_to_host| Settings { endpoint_to_host, ..Settings::default() };
    let node = Node::new(with(EndpointToHost::Drop), two_workloads(&eighty, &[]));
    let mut allowed = Context::new(&tcp(A, HOST, 80));
    assert!(!node.passes("cali1", "", &mut allowed));
    assert_eq!(allowed.decided.as_deref(), Some("defaultEndpointToHostAction Drop, interface cali*"));
    for action in [EndpointToHost::Return, EndpointToHost::Accept] {
        let node = Node::new(with(action), two_workloads(&eighty, &[]));
        assert!(node.sends("cali1", "", tcp(A, HOST, 80)));
        assert!(!node.sends("cali1", "", tcp(A, HOST, 81)));
    }
    // the host is not policed towards its workloads
    assert!(node.sends("", "cali1", tcp(HOST, A, 81)));
}

#[test]
fn tunnels_are_not_a_workloads_to_make() {
    let node = Node::new(Settings::default(), two_workloads(&[], &[]));
    let ipip = Packet { protocol: 4, ports: None, ..tcp(A, OUTSIDE, 0) };
    assert!(!node.sends("cali1", "eth0", udp(A, OUTSIDE, 4789)));
    assert!(!node.sends("cali1", "eth0", ipip));
    let settings = Settings { vxlan_from_workloads: true, ipip_from_workloads: true, ..Settings::default() };
    let node = Node::new(settings, two_workloads(&[], &[]));
    assert!(node.sends("cali1", "eth0", udp(A, OUTSIDE, 4789)));
    assert!(node.sends("cali1", "eth0", ipip));
}

#[test]
fn limits_of_packets_are_for_all_and_limits_of_connections_for_new_ones() {
    let limited =
        |edit: fn(&mut Workload)| vec![(workload_key("a"), local(workload("cali1", &[A], edit), &[]))];
    let rate = Limit { packets: Some((100, 5)), connections: None };
    // every limit is exceeded
    let sent = |node: &Node, from: &str, to: &str, packet, state| {
        let mut context = Context::new(&packet);
        (context.over, context.ct_state) = (true, state);
        node.passes(from, to, &mut context)
    };
    let node = Node::new(Settings::default(), limited(|_| {}));
    assert!(sent(&node, "cali1", "eth0", tcp(A, OUTSIDE, 80), 8));
    for state in [2, 8] {
        let mut from = limited(|_| {});
        from[0].1 = local(workload("cali1", &[A], |workload| workload.egress_limit = rate), &[]);
        let node = Node::new(Settings::default(), from);
        assert!(!sent(&node, "cali1", "eth0", tcp(A, OUTSIDE, 80), state));
        assert!(sent(&node, "eth0", "cali1", tcp(OUTSIDE, A, 80), state));
        let to = local(workload("cali1", &[A], |workload| workload.ingress_limit = rate), &[]);
        let node = Node::new(Settings::default(), vec![(workload_key("a"), to)]);
        assert!(!sent(&node, "eth0", "cali1", tcp(OUTSIDE, A, 80), state));
    }
    let node =
        Node::new(Settings::default(), limited(|workload| workload.ingress_limit.connections = Some(10)));
    let syn = |node: &Node, state| {
        let mut context = Context::new(&tcp(OUTSIDE, A, 80));
        context.transport[13] = 2;
        (context.over, context.ct_state) = (true, state);
        node.passes("eth0", "cali1", &mut context)
    };
    assert!(!syn(&node, 8));
    assert!(syn(&node, 2));
    assert!(sent(&node, "eth0", "cali1", udp(OUTSIDE, A, 80), 8));
}

#[test]
fn service_addresses_do_not_loop() {
    for (how, passes) in
        [(ServiceLoop::Drop, false), (ServiceLoop::Reject, false), (ServiceLoop::Disabled, true)]
    {
        let mut node = Node::new(Settings { service_loop: how, ..Settings::default() }, vec![]);
        let services = Some(["10.96.0.0/12".parse().unwrap()].into());
        node.renderer.apply(&Changes { service_cidrs: services, ..Changes::default() });
        node.ruleset.update(node.renderer.take());
        assert_eq!(node.sends("eth0", "eth0", tcp(OUTSIDE, "10.96.0.1", 80)), passes, "{how:?}");
        assert!(node.sends("eth0", "eth0", tcp(OUTSIDE, "10.128.0.1", 80)));
    }
}

fn named(name: &str) -> HostInterface {
    HostInterface::Named(name.into())
}

fn with_host(interface: HostInterface, tiers: &[Tier]) -> Vec<(EndpointKey, Option<Arc<LocalEndpoint>>)> {
    let mut endpoints = two_workloads(&[], &[]);
    endpoints.push((host_key("h"), local(host(interface, &["203.0.113.1"]), tiers)));
    endpoints
}

#[test]
fn a_host_endpoint_guards_the_hosts_processes_and_failsafe_ports_stay_open() {
    let eighty = [tier("default", &[&only("p", 80)])];
    let node = Node::new(Settings::default(), with_host(named("eth0"), &eighty));
    assert!(node.sends("eth0", "", tcp(OUTSIDE, HOST, 80)));
    assert!(!node.sends("eth0", "", tcp(OUTSIDE, HOST, 81)));
    assert!(node.sends("eth0", "", tcp(OUTSIDE, HOST, 22)));
    assert!(node.sends("eth1", "", tcp(OUTSIDE, HOST, 81)));
    assert!(node.sends("", "eth0", tcp(HOST, OUTSIDE, 80)));
    assert!(!node.sends("", "eth0", tcp(HOST, OUTSIDE, 81)));
    assert!(node.sends("", "eth0", udp(HOST, OUTSIDE, 53)));
    assert!(!node.sends("", "eth0", tcp(HOST, OUTSIDE, 22)));
    // nothing of it is for what is forwarded, but that it has to fit a connection
    assert!(node.sends("eth0", "eth1", tcp(OUTSIDE, "203.0.113.9", 81)));
    for (from, to) in [("eth0", "eth1"), ("eth1", "eth0"), ("eth1", "eth2")] {
        let mut stray = Context::new(&tcp(OUTSIDE, "203.0.113.9", 80));
        stray.ct_state = 1;
        assert_eq!(node.passes(from, to, &mut stray), from != "eth0" && to != "eth0", "{from} to {to}");
    }
    let unchecked = Settings { drop_invalid: false, ..Settings::default() };
    let node = Node::new(unchecked, with_host(named("eth0"), &eighty));
    assert!(!node.has_chain("forward-from-hosts"));
}

#[test]
fn failsafe_ports_may_be_for_a_network_only() {
    let of = |net: &str| FailsafePort { protocol: "tcp".into(), net: Some(net.parse().unwrap()), port: 22 };
    let settings = Settings {
        failsafe_inbound: vec![of("198.51.100.0/24"), of("2001:db8::/32")],
        ..Settings::default()
    };
    let none = [tier("default", &[&policy("p", |_| {})])];
    let node = Node::new(settings, with_host(named("eth0"), &none));
    assert!(node.sends("eth0", "", tcp(OUTSIDE, HOST, 22)));
    assert!(!node.sends("eth0", "", tcp("203.0.113.9", HOST, 22)));
    assert!(node.sends("eth0", "", tcp("2001:db8::9", "2001:db8::1", 22)));
    assert!(!node.sends("eth0", "", tcp("fd00::9", "2001:db8::1", 22)));
}

#[test]
fn a_host_endpoint_is_found_by_address_and_the_first_one_has_the_interface() {
    let none = [tier("default", &[&policy("p", |_| {})])];
    let mut node = Node::new(Settings::default(), with_host(HostInterface::ByAddress, &none));
    assert!(!node.sends("eth1", "", tcp(OUTSIDE, HOST, 80)));
    assert!(node.sends("eth0", "", tcp(OUTSIDE, HOST, 80)));
    // another one that comes before it by name, and lets everything through
    let first = local(host(named("eth1"), &[]), &[]);
    node.renderer.apply(&Changes { endpoints: vec![(host_key("g"), first)], ..Changes::default() });
    node.ruleset.update(node.renderer.take());
    assert!(node.sends("eth1", "", tcp(OUTSIDE, HOST, 80)));
    let found: Vec<_> = node.renderer.host_interfaces().into_iter().collect();
    assert_eq!(found, [("eth1".into(), host_key("g"))]);
    // the address moves
    node.renderer.set_interface("eth0", Some(&[ip("203.0.113.1")]));
    node.ruleset.update(node.renderer.take());
    assert!(!node.sends("eth0", "", tcp(OUTSIDE, HOST, 80)));
}

#[test]
fn a_policy_for_forwarded_packets_acts_on_these_too() {
    let forward = |edit: fn(&mut model::v3::GlobalNetworkPolicySpec)| {
        [tier(
            "default",
            &[&policy("p", |spec| {
                spec.apply_on_forward = true;
                edit(spec);
            })],
        )]
    };
    let ingress = forward(|spec| spec.policy.types = vec![PolicyType::Ingress]);
    let node = Node::new(Settings::default(), with_host(named("eth0"), &ingress));
    assert!(!node.sends("eth0", "cali1", tcp(OUTSIDE, A, 80)));
    assert!(node.sends("cali1", "eth0", tcp(A, OUTSIDE, 80)));
    assert!(
        !node.sends("eth0", "cali1", tcp(OUTSIDE, A, 22)),
        "failsafe ports are not for forwarded packets"
    );
    let egress = forward(|spec| spec.policy.types = vec![PolicyType::Egress]);
    let node = Node::new(Settings::default(), with_host(named("eth0"), &egress));
    assert!(node.sends("eth0", "cali1", tcp(OUTSIDE, A, 80)));
    assert!(!node.sends("cali1", "eth0", tcp(A, OUTSIDE, 80)));
}

#[test]
fn a_host_endpoint_for_all_interfaces_acts_where_no_other_does() {
    let closed = [tier("default", &[&policy("p", |spec| spec.apply_on_forward = true)])];
    let mut endpoints = with_host(named("eth0"), &[]);
    endpoints.push((host_key("all"), local(host(HostInterface::All, &[]), &closed)));
    let node = Node::new(Settings::default(), endpoints);
    assert!(node.sends("eth0", "", tcp(OUTSIDE, HOST, 80)));
    assert!(!node.sends("eth1", "", tcp(OUTSIDE, HOST, 80)));
    assert!(!node.sends("", "eth1", tcp(HOST, OUTSIDE, 80)));
    assert!(node.sends("", "cali1", tcp(HOST, A, 80)), "towards workloads it does not act");
    assert!(node.sends("eth0", "eth0", tcp(OUTSIDE, "203.0.113.9", 80)));
    // forwarded packets of workloads are among those of other interfaces
    assert!(!node.sends("cali1", "eth0", tcp(A, OUTSIDE, 80)));
}

#[test]
fn what_an_early_policy_lets_through_is_not_judged_again_by_the_host() {
    let early = policy("early", |spec| {
        spec.pre_dnat = true;
        spec.apply_on_forward = true;
        spec.policy.types = vec![PolicyType::Ingress];
        let of = |action, number| {
            rule(action, |rule| {
                rule.protocol = Some(Protocol::Number(6));
                rule.destination.ports = vec![port(number)];
            })
        };
        spec.policy.ingress = vec![of(Action::Allow, 80), of(Action::Deny, 81)];
    });
    let closed = policy("closed", |spec| spec.apply_on_forward = true);
    let node =
        Node::new(Settings::default(), with_host(named("eth0"), &[tier("default", &[&early, &closed])]));
    assert!(node.sends("eth0", "", tcp(OUTSIDE, HOST, 80)));
    assert!(!node.sends("eth0", "", tcp(OUTSIDE, HOST, 82)));
    // before translation: also for what is not for the host
    assert!(node.sends("eth0", "cali1", tcp(OUTSIDE, A, 80)));
    assert!(!node.sends("eth0", "cali1", tcp(OUTSIDE, A, 81)));
    // a mark from elsewhere is none
    let mut marked = Context::new(&tcp(OUTSIDE, HOST, 82));
    marked.mark = Settings::default().nft.mark;
    assert!(!node.passes("eth0", "", &mut marked));
    // without an early policy there is no mark at all
    let node = Node::new(Settings::default(), with_host(named("eth0"), &[tier("default", &[&closed])]));
    assert!(!node.has_chain("prerouting-pre-dnat"));
    let mut context = Context::new(&tcp(OUTSIDE, HOST, 82));
    context.mark = Settings::default().nft.mark;
    assert!(!node.passes("eth0", "", &mut context));
    assert_eq!(context.mark, Settings::default().nft.mark);
}

#[test]
fn untracked_policy_acts_before_connections_both_ways() {
    let dns = |edit: fn(&mut model::v3::Rule) -> &mut model::v3::EntityRule| {
        vec![rule(Action::Allow, |rule| {
            rule.protocol = Some(Protocol::Number(17));
            edit(rule).ports = vec![port(53)];
        })]
    };
    let untracked = policy("untracked", |spec| {
        spec.do_not_track = true;
        spec.apply_on_forward = true;
        spec.policy.ingress = dns(|rule| &mut rule.destination);
        spec.policy.egress = dns(|rule| &mut rule.source);
    });
    let closed = policy("closed", |_| {});
    let node =
        Node::new(Settings::default(), with_host(named("eth0"), &[tier("default", &[&untracked, &closed])]));
    let mut asked = Context::new(&udp(OUTSIDE, HOST, 53));
    assert!(node.passes("eth0", "", &mut asked));
    assert!(asked.untracked);
    let answer = Packet { ports: Some((53, 40000)), ..udp(HOST, OUTSIDE, 0) };
    let mut answered = Context::new(&answer);
    assert!(node.passes("", "eth0", &mut answered));
    assert!(answered.untracked);
    assert!(!node.sends("eth0", "", udp(OUTSIDE, HOST, 54)));
    // answers to failsafe ports pass this stage, and stay tracked
    let ssh = Packet { ports: Some((22, 40000)), ..tcp(HOST, OUTSIDE, 0) };
    let mut answer = Context::new(&ssh);
    answer.ct_state = 2;
    assert!(node.passes("", "eth0", &mut answer));
    assert!(!answer.untracked);
}

#[test]
fn translated_packets_of_the_host_are_judged_behind_routing() {
    let eighty = [tier("default", &[&only("p", 80)])];
    for deny in [Deny::Drop, Deny::Reject] {
        let node = Node::new(
            Settings { nft: Nft { deny, ..Nft::default() }, ..Settings::default() },
            with_host(named("eth0"), &eighty),
        );
        let translated = |to: u16| {
            let mut context = Context::new(&tcp(HOST, OUTSIDE, to));
            context.ct_status = 32;
            node.passes("", "eth0", &mut context)
        };
        assert!(translated(80));
        assert!(!translated(81), "{deny:?}");
        // forwarded ones are not the host's
        let mut forwarded = Context::new(&tcp("203.0.113.9", OUTSIDE, 81));
        forwarded.ct_status = 32;
        assert!(node.passes("eth1", "eth0", &mut forwarded));
        // where nothing can be rejected packets are dropped
        let behind = &node.ruleset.chains[&(netfilter::nft::Family::Ipv4, "postrouting-translated".into())];
        assert!(!format!("{behind:?}").contains("Reject"));
    }
}

#[test]
fn a_chain_nobody_needs_is_not_there() {
    let node = Node::new(Settings::default(), vec![]);
    let names: Vec<String> = node
        .ruleset
        .chains
        .keys()
        .filter(|(family, _)| *family == netfilter::nft::Family::Ipv4)
        .map(|(_, name)| name.to_string())
        .collect();
    assert_eq!(
        names,
        ["forward-to-workloads", "input-default-action", "prerouting", "prerouting-from-workloads"]
    );
}

#[test]
fn a_workload_finds_its_gateway_whatever_policy_says_and_no_other_workload_by_it() {
    const SOLICITATION: u8 = 135;
    let node = Node::new(Settings::default(), two_workloads(&[tier("default", &[&only("p", 80)])], &[]));
    let packet = |kind: u8| Packet {
        source: ip("fd00:65::2"),
        destination: ip("fd00:65::3"),
        protocol: 58,
        ports: None,
        icmp: Some((kind, 0)),
    };
    assert!(node.sends("cali1", "", packet(SOLICITATION)));
    assert!(!node.sends("cali1", "", packet(128)));
    assert!(!node.sends("cali1", "cali2", packet(SOLICITATION)));
}
