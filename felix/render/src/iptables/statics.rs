//! Chains that are there whatever is stored, and how the kernel's own chains lead to them (`felix.md` §5 of the contract).
//! Their order decides: what comes from other tables, from workloads, by host endpoints.

use super::chains::{Chain, Definitions};
use super::dispatch::Link;
use super::hash;
use super::line::{Action, Line, Matches};
use super::names::{
    FROM_HOST_ENDPOINTS, FROM_HOST_ENDPOINTS_FORWARDED, FROM_WORKLOADS, TO_HOST_ENDPOINTS,
    TO_HOST_ENDPOINTS_FORWARDED, TO_WORKLOADS,
};
use super::policy::deny;
use super::ruleset::{Hook, Table};
use super::workloads::{DSCP, SOURCES_GRANTED};
use super::{failsafe, names, nat, sets};
use crate::form::ICMPV6;
use crate::settings::{Allow, EndpointToHost, InsertMode, ServiceLoop, Settings};
use felix_calc::static_sets::POOLS;
use model::net::{Cidr, Family};
use std::sync::Arc;

const WORKLOAD_TO_HOST: &str = "cali-wl-to-host";
const SERVICES: &str = "cali-cidr-block";
const ACCEPTED: &str = "Host endpoint policy accepted packet.";
/// Messages of IPv6 without which a workload does not find its router: multicast listeners, router solicitation,
/// neighbours.
const NEIGHBOUR_TYPES: [u8; 6] = [130, 131, 132, 133, 135, 136];

/// What the chains are made of.
pub struct Facts<'a> {
    /// Of iptables or ip6tables.
    pub family: Family,
    /// The agent's settings.
    pub settings: &'a Settings,
    /// Networks of services, of all families.
    pub services: &'a [Cidr],
    /// Whether pools are masqueraded.
    pub masquerades: bool,
    /// Whether addresses of nodes are not translated.
    pub spares_hosts: bool,
}

/// All of a family.
pub fn chains(facts: &Facts<'_>) -> Definitions {
    let mut definitions = Vec::new();
    let mut put = |table: Table, name: &str, lines: Vec<Line>| {
        definitions.push(((facts.family, table, name.into()), Chain::new(name, &lines)));
    };
    put(Table::Raw, "cali-PREROUTING", facts.raw_prerouting());
    put(Table::Raw, "cali-OUTPUT", facts.raw_output());
    put(Table::Mangle, "cali-PREROUTING", facts.mangle_prerouting());
    put(Table::Mangle, "cali-POSTROUTING", facts.mangle_postrouting());
    put(Table::Filter, "cali-FORWARD", facts.forward());
    put(Table::Filter, "cali-INPUT", facts.input());
    put(Table::Filter, "cali-OUTPUT", facts.output());
    put(Table::Filter, WORKLOAD_TO_HOST, facts.workload_to_host());
    put(Table::Filter, SERVICES, facts.services());
    for table in [Table::Raw, Table::Mangle, Table::Filter] {
        let (inbound, outbound) = failsafe::lines(facts.family, table, facts.settings);
        put(table, names::FAILSAFE_IN, inbound);
        put(table, names::FAILSAFE_OUT, outbound);
    }
    nat::chains(facts, put);
    definitions
}

/// What the kernel's own chains get, and where that leads.
pub fn hooks(settings: &Settings) -> Vec<(Table, &'static str, Hook, Vec<Arc<str>>)> {
    let hook = |table: Table, chain: &'static str| {
        let ours: Arc<str> = format!("cali-{chain}").into();
        let jump = [Line::always(Action::Jump(ours.clone()))];
        let behind = match (table, chain) {
            (Table::Filter, "FORWARD") => accepted_by_others(settings),
            _ => Vec::new(),
        };
        // the proxy of services translates first
        let last = (table, chain) == (Table::Nat, "POSTROUTING");
        let mut hook = Hook::default();
        if last {
            hook.appended = hash::appended(chain, &jump).to_vec();
        } else {
            hook.inserted = hash::rules(chain, &jump).to_vec();
            hook.appended = hash::appended(chain, &behind).to_vec();
        }
        if settings.iptables.insert == InsertMode::Append {
            let inserted = std::mem::take(&mut hook.inserted);
            hook.appended.splice(0..0, inserted);
        }
        (table, chain, hook, vec![ours])
    };
    HOOKS.iter().map(|(table, chain)| hook(*table, chain)).collect()
}

/// The kernel's chains that lead to ours.
pub const HOOKS: [(Table, &str); 10] = [
    (Table::Raw, "PREROUTING"),
    (Table::Raw, "OUTPUT"),
    (Table::Mangle, "PREROUTING"),
    (Table::Mangle, "POSTROUTING"),
    (Table::Nat, "PREROUTING"),
    (Table::Nat, "OUTPUT"),
    (Table::Nat, "POSTROUTING"),
    (Table::Filter, "INPUT"),
    (Table::Filter, "FORWARD"),
    (Table::Filter, "OUTPUT"),
];

/// Behind the rules of others: what policy let through passes, and what is about none of our endpoints is not asked about
/// again where it leaves.
fn accepted_by_others(settings: &Settings) -> Vec<Line> {
    let accept = settings.iptables.marks.accept;
    let passes = Line::new(Matches::any().marked(accept), allow(settings.iptables.filter_allow));
    vec![passes.about("Policy explicitly accepted packet."), Line::always(Action::mark(accept))]
}

fn allow(how: Allow) -> Action {
    match how {
        Allow::Accept => Action::ACCEPT,
        Allow::Return => Action::Return,
    }
}

impl Facts<'_> {
    /// Bits that one hook must not leave to the next. What was denied is gone, so that bit is never set here.
    fn all_marks(&self) -> u32 {
        let marks = &self.settings.iptables.marks;
        marks.verdict() | marks.scratch()
    }

    fn accept(&self) -> u32 {
        self.settings.iptables.marks.accept
    }

    fn accepted(&self, action: Action) -> Line {
        Line::new(Matches::any().marked(self.accept()), action)
    }

    fn filter_allow(&self) -> Action {
        allow(self.settings.iptables.filter_allow)
    }

    fn interfaces(&self) -> impl Iterator<Item = String> {
        self.settings.interface_prefixes.iter().map(|prefix| format!("{prefix}+"))
    }

    fn raw_prerouting(&self) -> Vec<Line> {
        let from_workload = self.settings.iptables.marks.scratch0;
        let mut lines = vec![Line::always(Action::clear(self.all_marks()))];
        lines
            .extend(self.interfaces().map(|name| Line::new(Link::In.is(&name), Action::mark(from_workload))));
        let marked = || Matches::any().marked(from_workload);
        lines.push(Line::new(marked(), Action::jump(SOURCES_GRANTED)));
        if self.settings.iptables.openstack.is_some() && self.family == Family::V4 {
            // a machine that asks for an address has none
            let dhcp = Matches::any().and("-p udp --source 0.0.0.0").source_port(68).destination_port(67);
            lines.push(Line::new(dhcp, Action::ACCEPT));
        }
        let spoofed = marked().and("-m rpfilter --invert --validmark");
        lines.push(Line::new(spoofed, deny(Table::Raw, self.settings)));
        let other = Matches::any().unmarked(from_workload);
        lines.push(Line::new(other, Action::jump(FROM_HOST_ENDPOINTS)));
        lines.push(self.accepted(Action::ACCEPT));
        lines
    }

    fn raw_output(&self) -> Vec<Line> {
        vec![
            Line::always(Action::clear(self.all_marks())),
            Line::always(Action::jump(TO_HOST_ENDPOINTS)),
            self.accepted(Action::ACCEPT),
        ]
    }

    fn mangle_prerouting(&self) -> Vec<Line> {
        let allow = || allow(self.settings.iptables.mangle_allow);
        vec![
            Line::new(Matches::any().connection("RELATED,ESTABLISHED"), allow()),
            self.accepted(allow()),
            Line::always(Action::jump(FROM_HOST_ENDPOINTS)),
            self.accepted(allow()).about(ACCEPTED),
        ]
    }

    fn mangle_postrouting(&self) -> Vec<Line> {
        let set = |id| names::set(id, self.family);
        let leaving = Matches::any()
            .and(format_args!("-m set --match-set {} src", set(sets::DSCP_SOURCES)))
            .and(format_args!("-m set ! --match-set {} dst", set(POOLS)))
            .and(format_args!("-m set ! --match-set {} dst", set(sets::THIS_HOST)));
        vec![
            Line::new(leaving, Action::jump(DSCP)).about("set dscp for traffic leaving cluster."),
            self.accepted(Action::Return),
            Line::always(Action::clear(self.all_marks())),
            Line::new(Matches::any().connection("DNAT"), Action::jump(TO_HOST_ENDPOINTS)),
            self.accepted(Action::Return).about(ACCEPTED),
        ]
    }

    fn forward(&self) -> Vec<Line> {
        let mut lines = vec![
            // an early policy of a host endpoint may have let it through
            Line::always(Action::clear(self.all_marks() & !self.accept())),
            Line::new(Matches::any().unmarked(self.accept()), Action::jump(FROM_HOST_ENDPOINTS_FORWARDED)),
        ];
        for name in self.interfaces() {
            lines.push(Line::new(Link::In.is(&name), Action::jump(FROM_WORKLOADS)));
            lines.push(Line::new(Link::Out.is(&name), Action::jump(TO_WORKLOADS)));
        }
        lines.push(Line::always(Action::jump(TO_HOST_ENDPOINTS_FORWARDED)));
        lines.push(Line::always(Action::jump(SERVICES)));
        lines
    }

    fn input(&self) -> Vec<Line> {
        let to_host = |name: String| Line::new(Link::In.is(&name), Action::Goto(WORKLOAD_TO_HOST.into()));
        let mut lines: Vec<Line> = self.interfaces().map(to_host).collect();
        lines.extend([
            self.accepted(self.filter_allow()),
            Line::always(Action::clear(self.all_marks())),
            Line::always(Action::jump(FROM_HOST_ENDPOINTS)),
            self.accepted(self.filter_allow()).about(ACCEPTED),
        ]);
        lines
    }

    fn output(&self) -> Vec<Line> {
        let mut lines = vec![self.accepted(self.filter_allow())];
        // what the host sends to its workloads no policy of egress is about
        lines.extend(self.interfaces().map(|name| Line::new(Link::Out.is(&name), Action::Return)));
        let untranslated = Matches::any().and("-m conntrack ! --ctstate DNAT");
        lines.extend([
            Line::always(Action::clear(self.all_marks())),
            Line::new(untranslated, Action::jump(TO_HOST_ENDPOINTS)),
            self.accepted(self.filter_allow()).about(ACCEPTED),
        ]);
        lines
    }

    fn workload_to_host(&self) -> Vec<Line> {
        let mut lines = Vec::new();
        if self.family == Family::V6 {
            lines.extend(NEIGHBOUR_TYPES.map(|kind| {
                let message = Matches::any().and(format_args!("-p {ICMPV6} -m icmp6 --icmpv6-type {kind}"));
                Line::new(message, self.filter_allow())
            }));
        }
        if let Some(openstack) = self.settings.iptables.openstack {
            let metadata = openstack.metadata.filter(|_| self.family == Family::V4);
            let to = |(address, port)| {
                Matches::any().and(format_args!("-p tcp --destination {address}")).destination_port(port)
            };
            let udp = || Matches::any().and("-p udp");
            let open = metadata.map(to).into_iter();
            let (dhcp, dns) = match self.family {
                Family::V4 => (udp().source_port(68).destination_port(67), udp().destination_port(53)),
                Family::V6 => (udp().source_port(546).destination_port(547), udp().destination_port(53)),
            };
            lines.extend(open.chain([dhcp, dns]).map(|matches| Line::new(matches, self.filter_allow())));
        }
        lines.push(Line::always(Action::jump(FROM_WORKLOADS)));
        let then = match self.settings.endpoint_to_host {
            EndpointToHost::Drop => Action::DROP,
            EndpointToHost::Return => Action::Return,
            EndpointToHost::Accept => Action::ACCEPT,
        };
        lines.push(Line::always(then).about("Configured DefaultEndpointToHostAction"));
        lines
    }

    fn services(&self) -> Vec<Line> {
        let action = match self.settings.service_loop {
            ServiceLoop::Disabled => return Vec::new(),
            ServiceLoop::Drop => Action::DROP,
            ServiceLoop::Reject => Action::Do("--jump REJECT".into()),
        };
        let of_family = self.services.iter().filter(|net| net.family() == self.family);
        let line =
            |net: &Cidr| Line::new(Matches::any().and(format_args!("--destination {net}")), action.clone());
        of_family.map(line).collect()
    }
}
