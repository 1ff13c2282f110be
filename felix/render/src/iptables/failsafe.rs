//! Ports of a host that no policy closes (`felix.md` §5 of the contract, "failsafe chains").

use super::line::{Action, Line, Matches};
use super::ruleset::Table;
use crate::settings::Settings;
use model::felix::FailsafePort;
use model::net::{Cidr, Family};

/// The rules for what comes in, and for what goes out. Before connections are tracked answers need rules, too.
pub fn lines(family: Family, table: Table, settings: &Settings) -> (Vec<Line>, Vec<Line>) {
    let there = |ports: &[FailsafePort], of: fn(&FailsafePort, Family) -> Option<Line>| -> Vec<Line> {
        ports.iter().filter_map(|port| of(port, family)).collect()
    };
    let (inbound, outbound) = (&settings.failsafe_inbound, &settings.failsafe_outbound);
    let mut lines = (there(inbound, to_us), there(outbound, to_others));
    if table == Table::Raw {
        lines.0.extend(there(outbound, from_others));
        lines.1.extend(there(inbound, from_us));
    }
    lines
}

fn to_us(port: &FailsafePort, family: Family) -> Option<Line> {
    Some(line(protocol(port).destination_port(port.port), "--source", net(port, family)?))
}

fn to_others(port: &FailsafePort, family: Family) -> Option<Line> {
    Some(line(protocol(port).destination_port(port.port), "--destination", net(port, family)?))
}

fn from_others(port: &FailsafePort, family: Family) -> Option<Line> {
    Some(line(protocol(port).source_port(port.port), "--source", net(port, family)?))
}

fn from_us(port: &FailsafePort, family: Family) -> Option<Line> {
    Some(line(protocol(port).source_port(port.port), "--destination", net(port, family)?))
}

fn protocol(port: &FailsafePort) -> Matches {
    Matches::any().and(format_args!("-p {}", port.protocol.to_ascii_lowercase()))
}

/// The network of the other end, if any; `None` for one of the other family.
fn net(port: &FailsafePort, family: Family) -> Option<Option<Cidr>> {
    match port.net {
        Some(net) if net.family() != family => None,
        net => Some(net),
    }
}

fn line(matches: Matches, option: &str, net: Option<Cidr>) -> Line {
    let matches = match net {
        Some(net) => matches.and(format_args!("{option} {net}")),
        None => matches,
    };
    Line::new(matches, Action::ACCEPT)
}
