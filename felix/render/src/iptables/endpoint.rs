//! The chain of an endpoint (`felix.md` §6 of the contract).

use super::chains::Chain;
use super::groups::{Layout, TierLayout};
use super::line::{Action, Line, Matches};
use super::names;
use super::policy::{LIMIT_MAX, deny, profile_chain};
use super::ruleset::Table;
use crate::form::{Direction, Scope, Verdict};
use crate::settings::{Allow, Deny, Settings};
use felix_calc::endpoint::Limit;
use std::sync::Arc;

/// Where an endpoint has a chain.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Point {
    /// How its name begins.
    pub prefix: &'static str,
    /// In which table.
    pub table: Table,
    /// Which policies are meant.
    pub scope: Scope,
    /// Seen from the endpoint.
    pub direction: Direction,
}

const fn point(prefix: &'static str, table: Table, scope: Scope, direction: Direction) -> Point {
    Point { prefix, table, scope, direction }
}

/// To a workload.
pub const TO_WORKLOAD: Point = point(names::TO_WORKLOAD, Table::Filter, Scope::Workload, Direction::Ingress);
/// From a workload.
pub const FROM_WORKLOAD: Point =
    point(names::FROM_WORKLOAD, Table::Filter, Scope::Workload, Direction::Egress);
/// From the host.
pub const FROM_HOST: Point = point(names::TO_HOST_ENDPOINT, Table::Filter, Scope::Host, Direction::Egress);
/// To the host.
pub const TO_HOST: Point = point(names::FROM_HOST_ENDPOINT, Table::Filter, Scope::Host, Direction::Ingress);
/// Forwarded, in.
pub const FORWARDED_IN: Point =
    point(names::FROM_HOST_ENDPOINT_FORWARDED, Table::Filter, Scope::Forward, Direction::Ingress);
/// Forwarded, out.
pub const FORWARDED_OUT: Point =
    point(names::TO_HOST_ENDPOINT_FORWARDED, Table::Filter, Scope::Forward, Direction::Egress);
/// From the host to a translated destination.
pub const TRANSLATED: Point = point(names::TO_HOST_ENDPOINT, Table::Mangle, Scope::Host, Direction::Egress);
/// In, before destinations are translated.
pub const PRE_DNAT: Point =
    point(names::FROM_HOST_ENDPOINT, Table::Mangle, Scope::PreDnat, Direction::Ingress);
/// In, before connections are tracked.
pub const UNTRACKED_IN: Point =
    point(names::FROM_HOST_ENDPOINT, Table::Raw, Scope::Untracked, Direction::Ingress);
/// From the host, before connections are tracked.
pub const UNTRACKED_OUT: Point =
    point(names::TO_HOST_ENDPOINT, Table::Raw, Scope::Untracked, Direction::Egress);

impl Point {
    /// The chain of an interface.
    pub fn chain(&self, interface: &str) -> Arc<str> {
        names::chain(self.prefix, interface)
    }

    fn failsafe(&self) -> Option<&'static str> {
        let chain = match self.direction {
            Direction::Ingress => names::FAILSAFE_IN,
            Direction::Egress => names::FAILSAFE_OUT,
        };
        matches!(self.scope, Scope::Host | Scope::PreDnat | Scope::Untracked).then_some(chain)
    }

    /// What becomes of packets of known connections.
    fn allow(&self, settings: &Settings) -> Allow {
        match (self.table, self.scope) {
            // the mangle table changes packets, and rules of others there may have to change them too
            (Table::Mangle, Scope::Host) => Allow::Return,
            (Table::Mangle, _) => settings.iptables.mangle_allow,
            _ => settings.iptables.filter_allow,
        }
    }
}

/// What a chain is made of.
pub struct Parts<'a> {
    /// Where it is.
    pub point: Point,
    /// Limits of a workload.
    pub limit: Limit,
    /// Policies.
    pub layout: &'a Layout,
    /// Whether the policies of either direction are about what is forwarded.
    pub forwards: bool,
    /// Profiles, where they have a say.
    pub profiles: &'a [Arc<str>],
    /// The agent's settings.
    pub settings: &'a Settings,
}

/// The chain of an interface.
pub fn chain(interface: &str, parts: &Parts<'_>) -> (Arc<str>, Arc<Chain>) {
    let name = parts.point.chain(interface);
    let chain = Chain::new(&name, &parts.lines());
    (name, chain)
}

impl Parts<'_> {
    fn lines(&self) -> Vec<Line> {
        let marks = &self.settings.iptables.marks;
        let mut lines = Vec::new();
        self.packet_limit(&mut lines);
        if self.point.scope != Scope::Untracked {
            self.connections(&mut lines);
        }
        self.connection_limit(&mut lines);
        lines.extend(self.point.failsafe().map(|chain| Line::always(Action::jump(chain))));
        lines.push(Line::always(Action::clear(marks.verdict())));
        if self.point == FROM_WORKLOAD {
            self.tunnels(&mut lines);
        }
        for tier in &self.layout.tiers {
            self.tier(tier, &mut lines);
        }
        match self.point.scope {
            Scope::Forward if !self.forwards => {
                let allow = Line::always(Action::mark(marks.accept));
                lines.push(allow.about("Allow forwarded traffic by default"));
                let back = Line::always(Action::Return);
                lines.push(back.about("Return for accepted forward traffic"));
            }
            scope if scope.has_profiles() => self.profiles(&mut lines),
            _ => {}
        }
        lines
    }

    fn way(&self) -> &'static str {
        match self.point.direction {
            Direction::Ingress => "ingress",
            Direction::Egress => "egress",
        }
    }

    fn packet_limit(&self, lines: &mut Vec<Line>) {
        let Some((rate, burst)) = self.limit.packets else { return };
        let (rate, burst) = (rate.min(LIMIT_MAX), u64::from(burst).min(LIMIT_MAX));
        let (bit, way) = (self.settings.iptables.marks.scratch0, self.way());
        let clear = || Line::always(Action::clear(bit)).about(&format!("Clear {way} packet rate limit mark"));
        let within = Matches::any().and(format_args!("-m limit --limit {rate}/sec --limit-burst {burst}"));
        let over = Matches::any().and(format_args!("-m mark ! --mark {bit:#x}/{bit:#x}"));
        lines.push(clear());
        lines.push(
            Line::new(within, Action::mark(bit))
                .about(&format!("Mark packets within {way} packet rate limit")),
        );
        lines
            .push(Line::new(over, Action::DROP).about(&format!("Drop packets over {way} packet rate limit")));
        lines.push(clear());
    }

    fn connections(&self, lines: &mut Vec<Line>) {
        let known = || Matches::any().connection("RELATED,ESTABLISHED");
        match self.point.allow(self.settings) {
            Allow::Accept => lines.push(Line::new(known(), Action::ACCEPT)),
            Allow::Return => {
                lines.push(Line::new(known(), Action::mark(self.settings.iptables.marks.accept)));
                lines.push(Line::new(known(), Action::Return));
            }
        }
        if self.settings.drop_invalid {
            lines.push(Line::new(Matches::any().connection("INVALID"), self.deny()));
        }
    }

    fn connection_limit(&self, lines: &mut Vec<Line>) {
        let Some(most) = self.limit.connections else { return };
        let over = Matches::any()
            .and("-p tcp -m tcp --tcp-flags FIN,SYN,RST,ACK SYN")
            .and(format_args!("-m connlimit --connlimit-above {most} --connlimit-mask 0"));
        let reject = Action::Do("-j REJECT --reject-with tcp-reset".into());
        let about = format!("Reject connections over {} connection limit", self.way());
        lines.push(Line::new(over, reject).about(&about));
    }

    /// What a workload wraps up itself its policy would not see.
    fn tunnels(&self, lines: &mut Vec<Line>) {
        let mut drop = |matches, what| {
            let about = format!("{} {what} encapped packets originating in workloads", self.denies());
            lines.push(Line::new(matches, self.deny()).about(&about));
        };
        if !self.settings.vxlan_from_workloads {
            drop(Matches::any().and("-p 17").destination_port(self.settings.vxlan_port), "VXLAN");
        }
        if !self.settings.ipip_from_workloads {
            drop(Matches::any().and("-p 4"), "IPinIP");
        }
    }

    fn tier(&self, tier: &TierLayout, lines: &mut Vec<Line>) {
        let marks = &self.settings.iptables.marks;
        let start = Line::always(Action::clear(marks.pass));
        lines.push(start.about(&format!("Start of tier {}", tier.tier)));
        for chain in tier.groups.iter().flat_map(|group| group.calls(self.point.direction)) {
            lines.push(Line::new(Matches::any().unmarked(marks.pass), Action::Jump(chain)));
            let accepted = || Matches::any().marked(marks.accept);
            if self.point.scope == Scope::Untracked {
                lines.push(Line::new(accepted(), Action::NOTRACK));
            }
            lines.push(Line::new(accepted(), Action::Return).about("Return if policy accepted"));
        }
        if tier.end == Verdict::Deny {
            let end = Line::new(Matches::any().unmarked(marks.pass), self.deny());
            let about = format!("End of tier {}. {} if no policies passed packet", tier.tier, self.denies());
            lines.push(end.about(&about));
        }
    }

    fn profiles(&self, lines: &mut Vec<Line>) {
        for profile in self.profiles {
            lines.push(Line::always(Action::Jump(profile_chain(self.point.direction, profile))));
            let accepted = Matches::any().marked(self.settings.iptables.marks.accept);
            lines.push(Line::new(accepted, Action::Return).about("Return if profile accepted"));
        }
        let about = format!("{} if no profiles matched", self.denies());
        lines.push(Line::always(self.deny()).about(&about));
    }

    fn deny(&self) -> Action {
        deny(self.point.table, self.settings)
    }

    fn denies(&self) -> &'static str {
        match (self.point.table, self.settings.iptables.deny) {
            (Table::Filter, Deny::Reject) => "Reject",
            _ => "Drop",
        }
    }
}
