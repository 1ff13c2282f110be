//! Translation: floating addresses, and the source of what leaves the pools (`felix.md` §5 of the contract).

use super::line::{Action, Line, Matches};
use super::names;
use super::ruleset::Table;
use super::statics::Facts;
use super::workloads::{FLOATING, HAIRPIN};
use felix_calc::static_sets::{HOSTS, MASQUERADED_POOLS, POOLS};
use model::net::Family;
use std::net::IpAddr;

const OUTGOING: &str = "cali-nat-outgoing";
/// Where virtual machines ask about themselves.
const METADATA: &str = "169.254.169.254/32";

/// The chains of a family.
pub fn chains(facts: &Facts<'_>, mut put: impl FnMut(Table, &str, Vec<Line>)) {
    let mut prerouting = vec![Line::always(Action::jump(FLOATING))];
    let metadata = facts.settings.iptables.openstack.and_then(|openstack| openstack.metadata);
    if let Some((address, port)) = metadata.filter(|_| facts.family == Family::V4) {
        let asked =
            Matches::any().and("-p tcp").destination_port(80).and(format_args!("--destination {METADATA}"));
        let answer = Action::Do(format!("--jump DNAT --to-destination {address}:{port}").into());
        prerouting.push(Line::new(asked, answer));
    }
    put(Table::Nat, "cali-PREROUTING", prerouting);
    put(Table::Nat, "cali-OUTPUT", vec![Line::always(Action::jump(FLOATING))]);
    let postrouting = [HAIRPIN, OUTGOING].map(|chain| Line::always(Action::jump(chain)));
    put(Table::Nat, "cali-POSTROUTING", postrouting.to_vec());
    put(Table::Nat, OUTGOING, if facts.masquerades { outgoing(facts) } else { Vec::new() });
}

fn outgoing(facts: &Facts<'_>) -> Vec<Line> {
    let settings = facts.settings;
    let set = |id| names::set(id, facts.family);
    let leaving = |protocol: Option<&str>| {
        let mut matches = Matches::any()
            .and(format_args!("-m set --match-set {} src", set(MASQUERADED_POOLS)))
            .and(format_args!("-m set ! --match-set {} dst", set(POOLS)));
        if facts.spares_hosts {
            matches = matches.and(format_args!("-m set ! --match-set {} dst", set(HOSTS)));
        }
        if let Some(protocol) = protocol {
            matches = matches.and(format_args!("-p {protocol}"));
        }
        match &settings.nat_outgoing_interface {
            Some(name) => matches.and(format_args!("--out-interface {name}")),
            None => matches,
        }
    };
    let address: Option<IpAddr> = match facts.family {
        Family::V4 => settings.nat_outgoing_address.map(IpAddr::V4),
        Family::V6 => settings.nat_outgoing_address_v6.map(IpAddr::V6),
    };
    let translate = |ports: Option<(u16, u16)>| {
        let words = match (address, ports) {
            (None, None) => "--jump MASQUERADE".to_owned(),
            (None, Some((first, last))) => format!("--jump MASQUERADE --to-ports {first}-{last}"),
            (Some(address), None) => format!("--jump SNAT --to-source {address}"),
            (Some(IpAddr::V4(address)), Some((first, last))) => {
                format!("--jump SNAT --to-source {address}:{first}-{last}")
            }
            (Some(IpAddr::V6(address)), Some((first, last))) => {
                format!("--jump SNAT --to-source [{address}]:{first}-{last}")
            }
        };
        Action::Do(format!("{words} --random-fully").into())
    };
    let mut lines = Vec::new();
    if let Some(ports) = settings.nat_ports {
        for protocol in ["tcp", "udp"] {
            lines.push(Line::new(leaving(Some(protocol)), translate(Some(ports))));
            lines.push(Line::new(leaving(Some(protocol)), Action::Return));
        }
    }
    lines.push(Line::new(leaving(None), translate(None)));
    lines
}
