use super::*;
use model::v3::{HttpMatch, IcmpFields, ServiceMatch};

fn rule(edit: impl FnOnce(&mut v3::Rule)) -> v3::Rule {
    let mut rule = v3::Rule { action: Action::Allow, ..v3::Rule::default() };
    edit(&mut rule);
    rule
}

fn compiled(edit: impl FnOnce(&mut v3::Rule)) -> (Rule, Vec<SetDefinition>) {
    compile(&rule(edit), 0, Scope::Cluster).unwrap()
}

fn tcp() -> Option<Protocol> {
    Some(Protocol::Name("TCP".into()))
}

/// The names that the recording `named-ports` has for its sets, as far as ipset shows them.
#[test]
fn sets_of_named_ports_have_the_recorded_names() {
    let set = |protocol: Option<Protocol>, selector: &str, port: &str| {
        let (rule, sets) = compiled(|r| {
            r.protocol = protocol;
            r.destination.selector = selector.into();
            r.destination.ports = vec![Port::Named(port.into())];
        });
        // with a named port alone the set of addresses is not wanted
        assert_eq!(rule.destination.set, None);
        assert_eq!(sets.len(), 1);
        rule.destination.named_ports[0].to_string()
    };
    let udp = Some(Protocol::Name("UDP".into()));
    for (id, recorded) in [
        (set(tcp(), "", "http"), "n:cl9_Kgeu4H0OGLbhovVR3NB"),
        (set(udp, "", "dns"), "n:wBUuGT_s8isCYKpah3eXsbd"),
        (set(tcp(), "app == 'web'", "http"), "n:ac_JrbZRp5ORL-z9cQxMyVp"),
        (set(tcp(), "app == 'web'", "absent"), "n:K37CD_HiAhoASaZ761wqefb"),
        (set(None, "", "http"), "n:FvKMFOOSYvkZZJ0ch1bwT7b"),
    ] {
        // the name is cut at 31 characters with `cali40` before it
        assert_eq!(id[..25], *recorded, "{id}");
    }
}

#[test]
fn a_named_port_beside_a_number_needs_the_addresses_too() {
    let (rule, sets) = compiled(|r| {
        r.protocol = tcp();
        r.destination.selector = "app == 'web'".into();
        r.destination.ports = vec![Port::Range(80, 90), Port::Named("http".into())];
    });
    assert!(rule.destination.set.is_some());
    assert_eq!(rule.destination.ports, [(80, 90)]);
    assert_eq!(sets.len(), 2);
}

#[test]
fn the_same_set_on_both_sides_is_named_once() {
    let (rule, sets) = compiled(|r| {
        r.source.selector = "app == 'web'".into();
        r.destination.selector = "app in {'web'} && app == \"web\" || app == 'web'".into();
        r.destination.selector = "app  ==  \"web\"".into();
    });
    assert_eq!(rule.source.set, rule.destination.set);
    assert_eq!(sets.len(), 1);
}

#[test]
fn plain_fields_are_carried_over() {
    let (rule, sets) = compiled(|r| {
        r.ip_version = Some(4);
        r.not_protocol = Some(Protocol::Number(47));
        r.icmp = Some(IcmpFields { icmp_type: Some(8), code: Some(0) });
        r.not_icmp = Some(IcmpFields { icmp_type: Some(3), code: None });
        r.source.nets = vec!["10.0.0.0/8".into(), "192.0.2.1".into()];
        r.source.not_nets = vec!["10.1.2.3/16".into()];
    });
    assert_eq!(rule.ip_version, Some(4));
    assert_eq!((rule.protocol, rule.not_protocol), (None, Some(47)));
    assert_eq!(rule.icmp, Some(Icmp { kind: 8, code: Some(0) }));
    assert_eq!(rule.not_icmp, Some(Icmp { kind: 3, code: None }));
    let texts = |nets: &[Cidr]| nets.iter().map(ToString::to_string).collect::<Vec<_>>();
    assert_eq!(texts(&rule.source.nets), ["10.0.0.0/8", "192.0.2.1/32"]);
    assert_eq!(texts(&rule.source.not_nets), ["10.1.0.0/16"]);
    assert_eq!(sets, []);
    let (rule, _) = compiled(|r| {
        r.protocol = tcp();
        r.destination.not_ports = vec![Port::Range(1, 2)];
    });
    assert_eq!((rule.protocol, rule.destination.not_ports), (Some(6), vec![(1, 2)]));
}

#[test]
fn what_is_not_enforced_is_named() {
    assert_eq!(compiled(|r| r.http = Some(HttpMatch::default())).0.unenforced, Some("http"));
    assert_eq!(
        compiled(|r| r.destination.services = Some(ServiceMatch::default())).0.unenforced,
        Some("services")
    );
    assert_eq!(compiled(|_| {}).0.unenforced, None);
}

#[test]
fn what_cannot_be_read_names_its_field() {
    let error = |edit: &dyn Fn(&mut v3::Rule)| {
        compile(&rule(|r| edit(r)), 0, Scope::Cluster).unwrap_err().to_string()
    };
    for (said, field) in [
        (error(&|r| r.source.nets = vec!["10.0.0.0/33".into()]), "source.nets: \"10.0.0.0/33\""),
        (error(&|r| r.protocol = Some(Protocol::Name("XYZ".into()))), "protocol: \"XYZ\""),
        (error(&|r| r.protocol = Some(Protocol::Number(0))), "protocol: \"0\""),
        (error(&|r| r.not_protocol = Some(Protocol::Number(0))), "notProtocol: \"0\""),
        (error(&|r| r.destination.selector = "a ==".into()), "destination.selector: "),
        (error(&|r| r.action = Action::Unknown), "action: "),
        (error(&|r| r.ip_version = Some(5)), "ipVersion: \"5\""),
        (error(&|r| r.not_icmp = Some(IcmpFields { icmp_type: None, code: Some(1) })), "notICMP.code: \"1\""),
        (error(&|r| r.source.ports = vec![Port::Range(80, 80)]), "source.ports: \"80\" needs protocol"),
        (
            error(&|r| {
                r.protocol = Some(Protocol::Name("ICMP".into()));
                r.destination.not_ports = vec![Port::Named("web".into())];
            }),
            "destination.notPorts: \"web\" needs protocol",
        ),
        (
            error(&|r| {
                r.protocol = tcp();
                r.source.ports = vec![Port::Range(0, 9)];
            }),
            "source.ports: \"0:9\" is no port",
        ),
    ] {
        assert!(said.starts_with(field), "{said}");
    }
}
