//! The chains the kernel calls.
//!
//! Accepting a packet ends one base chain, and the next of the hook sees it: so each decision that must not end the others
//! has a base chain of its own, and no packet carries a mark from one to the next. (The exception: what an early policy
//! of a host endpoint lets through is not judged again where it reaches the host; that is one bit of the mark, used
//! while there are such policies.) A chain that nobody needs is not there: a hook costs every packet.

use super::hosts::{Hosts, Point};
use super::objects::Objects;
use super::packet::{
    DNAT, KNOWN, Link, R, UNTRACKED, accept, address, ct_bits, deny, drop, goto, in_set, is, mark, marked,
    protocol_is, table, vmap,
};
use super::piece::{Elements, Piece, rule, shape};
use super::policy::Owner;
use super::ruleset::{Chain, Rule};
use super::steps::of_all_workloads;
use super::workloads::{self, of_interfaces};
use crate::form::{End, ICMPV6};
use crate::settings::{Deny, EndpointToHost, ServiceLoop, Settings};
use model::net::Family;
use netfilter::nft::{
    ChainKind, CtKey, DataType, Element, Expression, FibResult, Hook, MetaKey, PayloadBase, Policy, Register,
};
use std::sync::Arc;

/// Set: networks of services.
pub const SERVICES: &str = "service-cidrs";

// NF_INET_*
pub(super) const PREROUTING: u32 = 0;
const INPUT: u32 = 1;
const FORWARD: u32 = 2;
pub(super) const OUTPUT: u32 = 3;
pub(super) const POSTROUTING: u32 = 4;

// where iptables has its tables
const RAW: i32 = -300;
const MANGLE: i32 = -150;
const FILTER: i32 = 0;

/// Adds a base chain.
pub(crate) fn base(piece: &mut Piece, name: &str, hook: (u32, i32, ChainKind), rules: Vec<Rule>) {
    let (number, priority, kind) = hook;
    let hook = Some(Hook { number, priority, kind, policy: Policy::Accept });
    piece.chains.push((name.into(), Arc::new(Chain { hook, rules })));
}

/// What base chains are made of.
pub struct Facts<'a> {
    /// The agent's settings.
    pub settings: &'a Settings,
    /// Host endpoints.
    pub hosts: &'a Hosts,
    /// What others put.
    pub objects: &'a Objects<Owner>,
}

/// The filtering base chains of a family.
pub fn filter(family: Family, facts: &Facts<'_>) -> Piece {
    let mut base = Base { family, facts, piece: Piece::default() };
    base.raw();
    base.pre_dnat();
    base.leaving_workloads();
    base.forward();
    base.input();
    base.output();
    base.piece
}

struct Base<'a> {
    family: Family,
    facts: &'a Facts<'a>,
    piece: Piece,
}

impl Base<'_> {
    fn add(&mut self, name: &str, hook: u32, priority: i32, rules: Vec<Rule>) {
        base(&mut self.piece, name, (hook, priority, ChainKind::Filter), rules);
    }

    fn prefixes(&self) -> impl Iterator<Item = &str> {
        self.facts.settings.interface_prefixes.iter().map(String::as_str)
    }

    fn point(&self, point: Point) -> Option<Option<Arc<str>>> {
        self.facts.hosts.point(point).map(|all| all.cloned())
    }

    /// Whether packets may carry the mark.
    fn marks(&self) -> bool {
        let early = [Point::PreDnat, Point::UntrackedIngress, Point::UntrackedEgress];
        early.into_iter().any(|point| self.facts.hosts.point(point).is_some())
    }

    /// Before connections are tracked: sources of workloads, then untracked policy.
    fn raw(&mut self) {
        let clear = || rule([], mark(self.facts.settings.nft.mark, false), "no mark from elsewhere");
        let mut rules = Vec::new();
        if self.marks() {
            rules.push(clear());
        }
        rules.extend(self.prefixes().map(|prefix| self.spoofed(prefix)));
        rules.extend(
            self.point(Point::UntrackedIngress)
                .map(|_| by_interface(Link::In, &Point::UntrackedIngress.map())),
        );
        let sources = Arc::new(of_interfaces(self.family, workloads::SOURCES));
        let egress = self.point(Point::UntrackedEgress).is_some();
        let out = egress.then(|| vec![clear(), by_interface(Link::Out, &Point::UntrackedEgress.map())]);
        self.piece.set(&workloads::SOURCES.into(), &sources);
        self.add("prerouting", PREROUTING, RAW, rules);
        if let Some(rules) = out {
            self.add("output-untracked", OUTPUT, RAW, rules);
        }
    }

    /// A workload sends from its own addresses. In IPv6 also from link-local ones, and from none while it looks for
    /// duplicates of its own. Every packet of a workload comes by here: the interface is loaded once, and the lookup that
    /// ends the rule for an honest packet comes first.
    fn spoofed(&self, prefix: &str) -> Rule {
        let mut matches: Vec<Expression> = Link::In.begins(prefix).into();
        matches.extend([address(self.family, End::Source, Register(4)), in_set(workloads::SOURCES, true)]);
        if self.facts.objects.has_set(table(self.family), workloads::SOURCE_PREFIXES) {
            matches.push(in_set(workloads::SOURCE_PREFIXES, true));
        }
        if self.family == Family::V6 {
            let link_local = super::packet::masked(Family::V6, 10);
            let mut first = vec![0; 16];
            first.splice(..2, [0xfe, 0x80]);
            matches.extend([address(self.family, End::Source, R), link_local, is(first, true)]);
            matches.extend([address(self.family, End::Source, R), is([0; 16], true)]);
        }
        rule(matches, [drop()], &format!("source address is none of the workload's, interface {prefix}*"))
    }

    /// Host endpoints before destinations are translated.
    fn pre_dnat(&mut self) {
        let Some(all) = self.point(Point::PreDnat) else { return };
        let mut rules = vec![known(), self.accepted()];
        rules.extend(dispatch(Link::In, Point::PreDnat, all));
        self.add("prerouting-pre-dnat", PREROUTING, MANGLE, rules);
    }

    /// What workloads send, to the host or beyond: judged once its destination was translated, before routing. One hook
    /// for both, since the kernel walks over all their chains for every hook that reaches them whenever a rule changes.
    fn leaving_workloads(&mut self) {
        let mut rules = self.limited(Link::In, workloads::LIMITED_FROM);
        rules.push(known());
        rules.extend(self.neighbour_discovery());
        rules.extend(self.workloads(Link::In, workloads::FROM));
        self.add("prerouting-from-workloads", PREROUTING, FILTER, rules);
    }

    fn forward(&mut self) {
        if let Some(all) = self.point(Point::ForwardIngress) {
            let accepted = self.marks().then(|| self.accepted());
            let mut rules: Vec<Rule> = [known()].into_iter().chain(accepted).collect();
            rules.extend(dispatch(Link::In, Point::ForwardIngress, all));
            self.add("forward-from-hosts", FORWARD, FILTER, rules);
        }
        let mut rules = self.limited(Link::Out, workloads::LIMITED_TO);
        rules.push(known());
        rules.extend(self.service_loop());
        rules.extend(self.workloads(Link::Out, workloads::TO));
        self.add("forward-to-workloads", FORWARD, FILTER + 1, rules);
        if let Some(all) = self.point(Point::ForwardEgress) {
            let mut rules = vec![known()];
            rules.extend(dispatch(Link::Out, Point::ForwardEgress, all));
            self.add("forward-to-hosts", FORWARD, FILTER + 2, rules);
        }
    }

    /// Packets of workloads with a limit are counted, while there are such workloads.
    fn limited(&self, link: Link, map: &str) -> Vec<Rule> {
        let wanted = self.facts.objects.has_set(table(self.family), map);
        wanted.then(|| rule([link.load()], [vmap(map)], "packet limits by interface")).into_iter().collect()
    }

    /// The workload's chain; an interface that looks like a workload's and is not known is closed.
    fn workloads(&mut self, link: Link, map: &str) -> Vec<Rule> {
        self.piece.set(&map.into(), &Arc::new(workloads::dispatch(map)));
        let unknown = |prefix: &str| {
            rule(link.begins(prefix), [drop()], &format!("interface {prefix}* of no known workload"))
        };
        let settings = self.facts.settings;
        let alike = self.prefixes().flat_map(|prefix| of_all_workloads(link, prefix, self.family, settings));
        alike.chain([by_interface(link, map)]).chain(self.prefixes().map(unknown)).collect()
    }

    fn service_loop(&self) -> Option<Rule> {
        let how = match self.facts.settings.service_loop {
            ServiceLoop::Disabled => return None,
            ServiceLoop::Drop => Deny::Drop,
            ServiceLoop::Reject => Deny::Reject,
        };
        self.facts.objects.has_set(table(self.family), SERVICES).then(|| {
            let matches = [address(self.family, End::Destination, R), in_set(SERVICES, false)];
            rule(matches, [deny(self.family, how)], "service address that no service takes would loop")
        })
    }

    /// To the host: from workloads, after their policy, the configured action; from elsewhere host endpoints.
    fn input(&mut self) {
        if let Some(all) = self.point(Point::Ingress) {
            let mut rules = vec![known()];
            rules.extend(self.spares_workloads(Link::In));
            rules.extend(self.marks().then(|| self.accepted()));
            rules.extend(dispatch(Link::In, Point::Ingress, all));
            self.add("input", INPUT, FILTER, rules);
        }
        if self.facts.settings.endpoint_to_host == EndpointToHost::Drop {
            let mut rules = vec![known()];
            rules.extend(self.neighbour_discovery());
            let closed = |prefix: &str| {
                let text = format!("defaultEndpointToHostAction Drop, interface {prefix}*");
                rule(Link::In.begins(prefix), [drop()], &text)
            };
            rules.extend(self.prefixes().map(closed));
            self.add("input-default-action", INPUT, FILTER + 1, rules);
        }
    }

    /// What a workload needs to find its gateway, and the other way round. It is for the host itself: what the routing
    /// table would forward is judged as anything else.
    fn neighbour_discovery(&mut self) -> Vec<Rule> {
        if self.family == Family::V4 {
            return Vec::new();
        }
        let set = Elements {
            set: "neighbour-discovery".into(),
            shape: Arc::new(shape(
                &[DataType::ICMPV6_TYPE],
                None,
                false,
                "ICMPv6 between a workload and its host",
            )),
            elements: [130, 131, 132, 133, 135, 136].into_iter().map(|kind| Element::key([kind])).collect(),
        };
        const DESTINATION: u32 = 2;
        const UNICAST: u32 = 1;
        let kind = Expression::Payload { base: PayloadBase::Transport, offset: 0, len: 1, to: R };
        let route = Expression::Fib { result: FibResult::AddressType, flags: DESTINATION, to: R };
        let to_host = [route, is(UNICAST.to_ne_bytes(), true)];
        let allowed = |prefix: &str| {
            let icmp = protocol_is(ICMPV6, false).into_iter().chain([kind.clone(), in_set(&set.set, false)]);
            let icmp = icmp.chain(to_host.clone());
            let text = format!("neighbour discovery, interface {prefix}*");
            rule(Link::In.begins(prefix).into_iter().chain(icmp), [accept()], &text)
        };
        let rules = self.prefixes().map(allowed).collect();
        self.piece.sets.push(set);
        rules
    }

    /// From processes of the host. Where the destination was translated, the outgoing interface is known only later.
    fn output(&mut self) {
        let Some(all) = self.point(Point::Egress) else { return };
        let mut rules = vec![known()];
        rules.extend(self.spares_workloads(Link::Out));
        rules.extend(self.marks().then(|| self.accepted()));
        rules.push(rule(
            ct_bits(CtKey::Status, DNAT, false),
            [accept()],
            "translated: judged behind routing",
        ));
        rules.extend(dispatch(Link::Out, Point::Egress, all.clone()));
        self.add("output", OUTPUT, FILTER, rules);

        let translated = self.point(Point::EgressTranslated);
        let point = if translated.is_some() { Point::EgressTranslated } else { Point::Egress };
        let incoming = Expression::Meta { key: MetaKey::InIndex, to: R };
        let mut rules = vec![
            known(),
            // without a connection the rule after this one does not match
            rule(ct_bits(CtKey::State, UNTRACKED, false), [accept()], "not tracked, so not translated"),
            rule(ct_bits(CtKey::Status, DNAT, true), [accept()], "not translated"),
            rule([incoming, is([0; 4], true)], [accept()], "forwarded"),
        ];
        rules.extend(self.spares_workloads(Link::Out));
        rules.extend(dispatch(Link::Out, point, translated.unwrap_or(all)));
        self.add("postrouting-translated", POSTROUTING, MANGLE, rules);
    }

    /// Packets of workloads are not judged by a host endpoint's policy for the host's own.
    fn spares_workloads(&self, link: Link) -> impl Iterator<Item = Rule> {
        let way = match link {
            Link::In => "from",
            Link::Out => "to",
        };
        self.prefixes().map(move |prefix| {
            rule(link.begins(prefix), [accept()], &format!("{way} a workload, interface {prefix}*"))
        })
    }

    fn accepted(&self) -> Rule {
        rule(
            marked(self.facts.settings.nft.mark),
            [accept()],
            "let through by an early policy of a host endpoint",
        )
    }
}

/// The first rule of every base chain behind connection tracking, limits of packets apart: nothing else is done for
/// packets of known connections.
fn known() -> Rule {
    rule(ct_bits(CtKey::State, KNOWN, false), [accept()], "packet of a known connection")
}

fn by_interface(link: Link, map: &str) -> Rule {
    rule([link.load()], [vmap(map)], "by interface")
}

/// The interface's own endpoint, else the one for all interfaces.
fn dispatch(link: Link, point: Point, all: Option<Arc<str>>) -> Vec<Rule> {
    let of_all = all.map(|chain| rule([], [goto(&chain)], "any other interface"));
    [by_interface(link, &point.map())].into_iter().chain(of_all).collect()
}
