//! Rulesets of whole nodes: what a packet meets on its way through the hooks.

use super::accumulated::Ruleset;
use crate::Render;
use crate::nft::{Renderer, Settings};
use crate::settings::{Deny, EndpointToHost, LogLimit, Nft, ServiceLoop};
use crate::tests::objects::{
    host, host_key, ip, local, open, policy, pools, port, rule, tier, workload, workload_key,
};
use crate::tests::random::{Members, definitions};
use felix_calc::Changes;
use felix_calc::endpoint::{FloatingAddress, HostInterface, Limit};
use model::v3::{self, Action, IcmpFields, PolicyType, Port, Protocol};

/// A node with some of everything.
pub fn everything() -> Ruleset {
    let settings = Settings {
        nft: Nft { deny: Deny::Reject, ..Nft::default() },
        log_prefix: "pkt %t %k %p".into(),
        log_limit: Some(LogLimit { packets: 10, unit: 60, burst: 7 }),
        service_loop: ServiceLoop::Reject,
        source_spoofing: true,
        floating_ips: true,
        nat_excludes_hosts: true,
        nat_ports: Some((32768, 60999)),
        nat_outgoing_address: Some("192.0.2.99".parse().unwrap()),
        nat_outgoing_interface: Some("eth+".into()),
        endpoint_to_host: EndpointToHost::Drop,
        ..Settings::default()
    };
    let mut renderer = Renderer::new(settings);
    let named = |port: &str| vec![Port::Named(port.into())];
    let tcp = |edit: fn(&mut v3::Rule)| {
        rule(Action::Allow, |rule| {
            rule.protocol = Some(Protocol::Number(6));
            edit(rule);
        })
    };
    let mixed = policy("mixed", |spec| {
        spec.policy.ingress = vec![
            rule(Action::Log, |_| {}),
            tcp(|rule| {
                rule.source.selector = "role == 'web'".into();
                rule.destination.ports = vec![port(80), port(443), Port::Range(8000, 8100)];
            }),
            tcp(|rule| {
                rule.source.selector = "role == 'web'".into();
                rule.destination.ports = vec![port(8443)];
            }),
            tcp(|rule| {
                rule.source.nets = vec![
                    "10.0.0.0/8".into(),
                    "192.0.2.0/24".into(),
                    "fd00::/8".into(),
                    "2001:db8::/32".into(),
                ];
                rule.destination.not_ports = vec![port(22), Port::Range(6000, 6100)];
            }),
            rule(Action::Deny, |rule| {
                rule.protocol = Some(Protocol::Number(1));
                rule.icmp = Some(IcmpFields { icmp_type: Some(8), code: Some(3) });
            }),
            rule(Action::Deny, |rule| {
                rule.protocol = Some(Protocol::Number(1));
                rule.not_icmp = Some(IcmpFields { icmp_type: Some(3), code: Some(1) });
            }),
            rule(Action::Allow, |rule| {
                rule.protocol = Some(Protocol::Number(58));
                rule.icmp = Some(IcmpFields { icmp_type: Some(128), code: None });
            }),
        ];
        spec.policy.egress = vec![
            rule(Action::Pass, |rule| {
                rule.protocol = Some(Protocol::Number(17));
                rule.destination.selector = "role == 'dns'".into();
                rule.destination.ports.extend(vec![Port::Named("dns".into())]);
            }),
            rule(Action::Deny, |rule| {
                rule.not_protocol = Some(Protocol::Number(132));
                rule.destination.not_nets = vec!["10.0.0.0/8".into(), "fd00::/8".into()];
            }),
            rule(Action::Deny, |rule| {
                rule.protocol = Some(Protocol::Number(132));
                rule.source.not_ports = vec![port(53)];
            }),
        ];
    });
    let with_named = policy("named", |spec| {
        spec.policy.ingress = vec![
            tcp(|_| {}),
            rule(Action::Deny, |rule| {
                rule.protocol = Some(Protocol::Number(6));
                rule.destination.not_ports = named("http");
            }),
        ];
    });
    let forward = policy("forward", |spec| {
        spec.apply_on_forward = true;
        spec.policy.ingress = vec![rule(Action::Deny, |rule| rule.protocol = Some(Protocol::Number(47)))];
    });
    let early = policy("early", |spec| {
        spec.pre_dnat = true;
        spec.apply_on_forward = true;
        spec.policy.types = vec![PolicyType::Ingress];
        spec.policy.ingress = vec![tcp(|rule| rule.destination.ports = vec![port(30080)])];
    });
    let untracked = policy("untracked", |spec| {
        spec.do_not_track = true;
        spec.apply_on_forward = true;
        let dns = |rule: &mut v3::Rule| {
            rule.protocol = Some(Protocol::Number(17));
            rule.destination.ports = vec![port(53)];
        };
        spec.policy.ingress = vec![rule(Action::Allow, dns)];
        spec.policy.egress = vec![rule(Action::Allow, dns)];
    });
    let of_workloads = [tier("platform", &[&mixed]), tier("default", &[&with_named])];
    let of_hosts = [tier("default", &[&forward, &early, &untracked, &mixed])];
    let mut members = Members::default();
    let mut random = crate::tests::random::Random(1);
    members.fill(&mut random, &definitions(&of_workloads, []));
    let floating = FloatingAddress { external: ip("198.51.100.7"), internal: ip("10.65.0.2") };
    let mut sets = pools();
    sets.extend(members.creations());
    renderer.set_interface("eth0", Some(&[ip("192.0.2.1")]));
    renderer.set_interface("eth1", Some(&[ip("203.0.113.1")]));
    renderer.apply(&Changes {
        sets,
        profiles: vec![("open".into(), Some(open()))],
        endpoints: vec![
            (
                workload_key("web"),
                local(
                    workload("cali1", &["10.65.0.2", "fd00:65::2"], |workload| {
                        workload.floating = [floating].into();
                        workload.ingress_limit = Limit { packets: Some((100, 5)), connections: Some(10) };
                        workload.egress_limit = Limit { packets: Some((200, 9)), connections: None };
                        workload.source_prefixes = [
                            "10.99.0.0/16".parse().unwrap(),
                            "10.99.1.0/24".parse().unwrap(),
                            "fd99::/64".parse().unwrap(),
                        ]
                        .into();
                    }),
                    &of_workloads,
                ),
            ),
            (workload_key("api"), local(workload("cali2", &["10.65.0.3"], |_| {}), &of_workloads)),
            (workload_key("db"), local(workload("cali3", &["10.66.0.3"], |_| {}), &[])),
            (host_key("eth0"), local(host(HostInterface::Named("eth0".into()), &[]), &of_hosts)),
            (host_key("eth1"), local(host(HostInterface::ByAddress, &["203.0.113.1"]), &[])),
            (host_key("all"), local(host(HostInterface::All, &[]), &of_hosts)),
        ],
        service_cidrs: Some(["10.96.0.0/12".parse().unwrap(), "fd00:96::/108".parse().unwrap()].into()),
        ..Changes::default()
    });
    let mut ruleset = Ruleset::default();
    ruleset.update(renderer.take());
    ruleset
}
