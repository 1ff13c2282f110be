//! What settings and addresses make of a node's chains and sets.

use super::accumulated::{Ruleset, Told};
use crate::Render;
use crate::iptables::{Member, Renderer, SetKind, Table};
use crate::settings::{Iptables, OpenStack, Settings};
use crate::tests::objects::{ip, local, open, pools, workload, workload_key};
use felix_calc::Changes;
use felix_calc::endpoint::FloatingAddress;
use felix_calc::sets::SetChange;
use model::net::Family;

fn node(settings: Settings) -> (Renderer, Ruleset) {
    let mut renderer = Renderer::new(settings);
    renderer.apply(&Changes { sets: pools(), ..Changes::default() });
    let mut ruleset = Ruleset::default();
    ruleset.update(renderer.take());
    (renderer, ruleset)
}

fn words(ruleset: &Ruleset, family: Family, table: Table, chain: &str) -> Vec<String> {
    ruleset.rules(family, table, chain).iter().map(|rule| rule.text.to_string()).collect()
}

fn outgoing(settings: Settings, family: Family) -> Vec<String> {
    words(&node(settings).1, family, Table::Nat, "cali-nat-outgoing")
}

const LEAVING: &str =
    "-m set --match-set cali40masq-ipam-pools src -m set ! --match-set cali40network-ip-pools dst";

#[test]
fn what_leaves_the_pools_has_the_source_that_the_settings_say() {
    let found = outgoing(Settings::default(), Family::V4);
    assert_eq!(found, [format!("{LEAVING} --jump MASQUERADE --random-fully")]);
    let ports = Settings { nat_ports: Some((1024, 2048)), ..Settings::default() };
    let found = outgoing(ports.clone(), Family::V4);
    assert_eq!(
        found,
        [
            format!("{LEAVING} -p tcp --jump MASQUERADE --to-ports 1024-2048 --random-fully"),
            format!("{LEAVING} -p tcp --jump RETURN"),
            format!("{LEAVING} -p udp --jump MASQUERADE --to-ports 1024-2048 --random-fully"),
            format!("{LEAVING} -p udp --jump RETURN"),
            format!("{LEAVING} --jump MASQUERADE --random-fully"),
        ]
    );
    let address = Settings {
        nat_outgoing_address: Some("192.0.2.9".parse().unwrap()),
        nat_outgoing_address_v6: Some("2001:db8::9".parse().unwrap()),
        nat_outgoing_interface: Some("eth+".into()),
        nat_excludes_hosts: true,
        ..ports
    };
    let found = outgoing(address.clone(), Family::V4);
    let hosts = "-m set ! --match-set cali40all-hosts-net dst";
    assert_eq!(
        found[4],
        format!("{LEAVING} {hosts} --out-interface eth+ --jump SNAT --to-source 192.0.2.9 --random-fully")
    );
    let found = outgoing(address, Family::V6);
    assert!(
        found[0].ends_with("--jump SNAT --to-source [2001:db8::9]:1024-2048 --random-fully"),
        "{found:?}"
    );
}

#[test]
fn addresses_of_nodes_are_asked_about_where_they_are_spared_and_known() {
    let (mut renderer, mut ruleset) = node(Settings::default());
    let names = |ruleset: &Ruleset| {
        let of = ruleset.sets.keys().filter(|(_, name)| name.ends_with("all-hosts-net"));
        of.map(|(family, _)| *family).collect::<Vec<_>>()
    };
    assert_eq!(names(&ruleset), [Family::V4]);
    renderer.set_settings(Settings { nat_excludes_hosts: true, ..Settings::default() });
    ruleset.update(renderer.take());
    assert_eq!(names(&ruleset), [Family::V4, Family::V6]);
    let rule = |ruleset: &Ruleset| words(ruleset, Family::V6, Table::Nat, "cali-nat-outgoing")[0].clone();
    assert!(rule(&ruleset).contains("cali60all-hosts-net"));
    let removal = vec![("all-hosts-net".into(), SetChange::Remove)];
    renderer.apply(&Changes { sets: removal, ..Changes::default() });
    ruleset.update(renderer.take());
    assert_eq!(names(&ruleset), []);
    assert!(!rule(&ruleset).contains("all-hosts-net"));
}

#[test]
fn the_host_knows_its_own_addresses() {
    let (mut renderer, mut ruleset) = node(Settings::default());
    let mut members = |name: &str, addresses: Option<&[&str]>| {
        let addresses = addresses.map(|all| all.iter().map(|text| ip(text)).collect::<Vec<_>>());
        renderer.set_interface(name, addresses.as_deref());
        ruleset.update(renderer.take());
        let of = |family| {
            let (shape, members) =
                &ruleset.sets[&(family, format!("cali{}0this-host", Family::number(family)).into())];
            assert_eq!(shape.kind, SetKind::Ip);
            members
                .iter()
                .map(|member| match member {
                    Member::Net { address, .. } => address.to_string(),
                    other => panic!("{other:?}"),
                })
                .collect::<Vec<_>>()
        };
        (of(Family::V4), of(Family::V6))
    };
    let loopback = (vec!["127.0.0.0".to_owned(), "127.0.0.1".to_owned()], vec!["::1".to_owned()]);
    assert_eq!(members("lo", Some(&["127.0.0.1", "::1"])), loopback);
    let (v4, v6) = members("eth0", Some(&["192.0.2.1", "fe80::1"]));
    assert_eq!((v4.len(), v6.len()), (3, 2));
    // those of workloads are not its own
    assert_eq!(members("cali1", Some(&["169.254.1.1"])), (v4, v6));
    assert_eq!(members("eth0", None), loopback);
}

#[test]
fn virtual_machines_find_their_address_and_their_metadata() {
    let openstack = |metadata: Option<(&str, u16)>| {
        let metadata = metadata.map(|(address, port)| (address.parse().unwrap(), port));
        let iptables = Iptables { openstack: Some(OpenStack { metadata }), ..Iptables::default() };
        node(Settings { iptables, ..Settings::default() }).1
    };
    let ruleset = openstack(None);
    let to_host = |ruleset: &Ruleset, family| words(ruleset, family, Table::Filter, "cali-wl-to-host");
    let dhcp = "-p udp -m multiport --source-ports 68 -m multiport --destination-ports 67 --jump ACCEPT";
    assert_eq!(to_host(&ruleset, Family::V4)[0], dhcp);
    let dhcp = "-p udp -m multiport --source-ports 546 -m multiport --destination-ports 547 --jump ACCEPT";
    assert_eq!(to_host(&ruleset, Family::V6)[6], dhcp);
    assert_eq!(words(&ruleset, Family::V4, Table::Nat, "cali-PREROUTING").len(), 1);
    let ruleset = openstack(Some(("192.0.2.8", 80)));
    let open = "-p tcp --destination 192.0.2.8 -m multiport --destination-ports 80 --jump ACCEPT";
    assert_eq!(to_host(&ruleset, Family::V4)[0], open);
    assert_eq!(words(&ruleset, Family::V4, Table::Nat, "cali-PREROUTING").len(), 2);
    assert_eq!(words(&ruleset, Family::V6, Table::Nat, "cali-PREROUTING").len(), 1);
}

#[test]
fn the_lowest_of_several_that_claim_a_floating_address_has_it() {
    let settings = Settings { floating_ips: true, ..Settings::default() };
    let (mut renderer, mut ruleset) = node(settings);
    let floating = |name: &str, address: &str| {
        let endpoint = workload(&format!("cali{name}"), &[address], |workload| {
            let pair = FloatingAddress { external: ip("203.0.113.1"), internal: ip(address) };
            workload.floating = [pair].into();
            workload.dscp = Some(46);
        });
        (workload_key(name), local(endpoint, &[]))
    };
    renderer.apply(&Changes {
        profiles: vec![("open".into(), Some(open()))],
        endpoints: vec![floating("a", "10.65.0.2"), floating("b", "10.65.0.1")],
        ..Changes::default()
    });
    ruleset.update(renderer.take());
    let dnat = |ruleset: &Ruleset| words(ruleset, Family::V4, Table::Nat, "cali-fip-dnat");
    let to = |address: &str| format!("--destination 203.0.113.1 --jump DNAT --to-destination {address}");
    assert_eq!(dnat(&ruleset), [to("10.65.0.1")]);
    let dscp = words(&ruleset, Family::V4, Table::Mangle, "cali-egress-dscp");
    assert_eq!(dscp[0], "--source 10.65.0.1 --jump DSCP --set-dscp 46");
    renderer.apply(&Changes { endpoints: vec![(workload_key("b"), None)], ..Changes::default() });
    ruleset.update(renderer.take());
    assert_eq!(dnat(&ruleset), [to("10.65.0.2")]);
    let (_, sources) = &ruleset.sets[&(Family::V4, "cali40dscp-src-net".into())];
    assert_eq!(sources.len(), 1);
}

#[test]
fn sets_are_made_anew_where_their_size_is_another() {
    let (mut renderer, mut ruleset) = node(Settings::default());
    let iptables = Iptables { max_set_size: 100, ..Iptables::default() };
    renderer.set_settings(Settings { iptables, ..Settings::default() });
    let Told { chains, hooks, sets, members } = ruleset.update(renderer.take());
    // each goes and comes; rules that name them stay as they are
    assert_eq!((chains.len(), hooks, sets.len()), (0, 0, 2 * ruleset.sets.len()));
    assert_eq!(members, ruleset.sets.values().map(|(_, members)| members.len()).sum::<usize>());
    assert!(ruleset.sets.values().all(|(shape, _)| shape.max == 100));
    assert_eq!(renderer.take(), []);
}

#[test]
fn a_family_that_is_switched_off_leaves_nothing_behind() {
    let (mut renderer, mut ruleset) = node(Settings::default());
    renderer.set_settings(Settings { ipv6: false, ..Settings::default() });
    ruleset.update(renderer.take());
    assert!(ruleset.chains.keys().all(|(family, ..)| *family == Family::V4));
    assert!(ruleset.sets.keys().all(|(family, _)| *family == Family::V4));
    let of_v6 = ruleset.hooks.iter().filter(|((family, ..), _)| *family == Family::V6);
    assert!(of_v6.clone().count() == 10 && of_v6.clone().all(|(_, hook)| **hook == Default::default()));
    assert_eq!(renderer.endpoints_of(&["cali-fw-a".into()].into(), &Default::default()), [].into());
}
