//! Host endpoints: which one an interface has, the points at which it acts, and its chains there (`felix.md` §3.4, §6 of
//! the contract).

use super::objects::Objects;
use super::packet::{goto, interface, table};
use super::piece::{Piece, with_comment};
use super::policy::{Chains, Owner, Wanted};
use super::steps::Step;
use super::workloads::{dispatch, name};
use crate::form::{Direction, Scope, effective};
use crate::host_interfaces::{ALL, HostInterfaces};
use crate::settings::{Deny, Settings};
use felix_calc::endpoint::{EndpointKey, LocalEndpoint};
use model::net::Family;
use netfilter::nft::{Data, Element, Expression, Verdict};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// Where policy of host endpoints acts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Point {
    /// To processes of the host.
    Ingress,
    /// From processes of the host.
    Egress,
    /// The same where the destination was translated: behind routing, where nothing can be rejected.
    EgressTranslated,
    /// Into the host, to be forwarded.
    ForwardIngress,
    /// Out of the host, forwarded.
    ForwardEgress,
    /// Into the host, before destinations are translated.
    PreDnat,
    /// Into the host, before connections are tracked.
    UntrackedIngress,
    /// From processes of the host, before connections are tracked.
    UntrackedEgress,
}

impl Point {
    const ALL: [Point; 8] = [
        Point::Ingress,
        Point::Egress,
        Point::EgressTranslated,
        Point::ForwardIngress,
        Point::ForwardEgress,
        Point::PreDnat,
        Point::UntrackedIngress,
        Point::UntrackedEgress,
    ];

    fn name(self) -> &'static str {
        match self {
            Point::Ingress => "ingress",
            Point::Egress => "egress",
            Point::EgressTranslated => "egress-translated",
            Point::ForwardIngress => "forward-ingress",
            Point::ForwardEgress => "forward-egress",
            Point::PreDnat => "pre-dnat",
            Point::UntrackedIngress => "untracked-ingress",
            Point::UntrackedEgress => "untracked-egress",
        }
    }

    /// The verdict map by interface.
    pub fn map(self) -> Arc<str> {
        format!("hosts-{}", self.name()).into()
    }

    fn chain(self, interface: &str) -> Arc<str> {
        super::names::name(format!("host-{}/{}", super::names::piece(interface), self.name()))
    }

    fn scope(self) -> Scope {
        match self {
            Point::Ingress | Point::Egress | Point::EgressTranslated => Scope::Host,
            Point::ForwardIngress | Point::ForwardEgress => Scope::Forward,
            Point::PreDnat => Scope::PreDnat,
            Point::UntrackedIngress | Point::UntrackedEgress => Scope::Untracked,
        }
    }

    fn direction(self) -> Direction {
        match self {
            Point::Ingress | Point::ForwardIngress | Point::PreDnat | Point::UntrackedIngress => {
                Direction::Ingress
            }
            _ => Direction::Egress,
        }
    }

    /// Rejecting is for the hooks of the filter table alone.
    fn deny(self, settings: &Settings) -> Deny {
        match self {
            Point::Ingress | Point::Egress | Point::ForwardIngress | Point::ForwardEgress => {
                settings.nft.deny
            }
            _ => Deny::Drop,
        }
    }

    fn steps(self) -> Vec<Step> {
        match self.scope() {
            Scope::Workload => Vec::new(),
            Scope::Forward => vec![Step::Invalid],
            Scope::Host | Scope::PreDnat => vec![Step::Invalid, Step::Failsafe],
            Scope::Untracked => vec![Step::Failsafe],
        }
    }

    /// Whether an endpoint has a chain here. With nothing to say about early packets it lets them pass; of what is
    /// forwarded it drops what fits no connection even when no policy is about it.
    fn applies(self, endpoint: &LocalEndpoint, all: bool, settings: &Settings) -> bool {
        match self {
            Point::Ingress | Point::Egress => true,
            Point::ForwardIngress | Point::ForwardEgress if settings.drop_invalid => true,
            Point::EgressTranslated => settings.nft.deny != Deny::Drop,
            // the endpoint for all interfaces has no such policy
            Point::UntrackedIngress | Point::UntrackedEgress if all => false,
            _ => endpoint
                .tiers
                .iter()
                .any(|tier| effective(self.scope(), self.direction(), tier).next().is_some()),
        }
    }
}

/// All host endpoints of the node.
#[derive(Debug, Default)]
pub struct Hosts {
    /// Which interface has which.
    pub interfaces: HostInterfaces,
    chains: BTreeSet<Arc<str>>,
    /// Points that are in use, with the chain of the endpoint for all interfaces, where it has one there.
    points: BTreeMap<Point, Option<Arc<str>>>,
}

impl Hosts {
    /// Whether a point is in use, and which chain takes the packets of interfaces without an endpoint of their own.
    pub fn point(&self, point: Point) -> Option<Option<&Arc<str>>> {
        self.points.get(&point).map(Option::as_ref)
    }

    /// Renders all of it: there are few host endpoints.
    pub fn render(
        &mut self,
        families: &[Family],
        settings: &Settings,
        chains: &mut Chains,
        objects: &mut Objects<Owner>,
    ) {
        let resolved = self.interfaces.with_endpoints(settings);
        let of_interface: Vec<(&str, &EndpointKey, &Arc<LocalEndpoint>)> =
            resolved.iter().map(|(interface, key, endpoint)| (&**interface, key, endpoint)).collect();
        let all = self.interfaces.for_all();
        let mut wanted = BTreeSet::new();
        let mut points = BTreeMap::new();
        let mut piece = Piece::default();
        for point in Point::ALL {
            let mut elements = Vec::new();
            let mut of_all = None;
            let of_all_interfaces = all.iter().map(|(key, endpoint)| (ALL, *key, *endpoint));
            for (interface, key, endpoint) in of_interface.iter().copied().chain(of_all_interfaces) {
                let is_all = interface == ALL;
                let applies = point.applies(endpoint, is_all, settings);
                let chain = point.chain(interface);
                if applies {
                    chains.set(&chain, point.wanted(key, endpoint, settings), &endpoint.tiers);
                    wanted.insert(chain.clone());
                }
                match is_all {
                    true => of_all = applies.then_some(chain),
                    false => elements.push(element(interface, key, applies.then_some(&chain))),
                }
            }
            let decides = |element: &Element| !matches!(element.data, Some(Data::Verdict(Verdict::Accept)));
            if of_all.is_none() && !elements.iter().any(decides) {
                continue;
            }
            let map = point.map();
            let shape = Arc::new(dispatch(&format!("host endpoints, {}", point.name())));
            piece.set(&map, &shape);
            elements.into_iter().for_each(|element| piece.element(&map, &shape, element));
            points.insert(point, of_all);
        }
        self.chains.difference(&wanted).for_each(|chain| chains.remove(chain));
        self.chains = wanted;
        self.points = points;
        objects.put(Owner::Hosts, families.iter().map(|family| (table(*family), piece.clone())).collect());
    }
}

/// The chains of an interface.
pub fn chains_of(interface: &str) -> [Arc<str>; 8] {
    Point::ALL.map(|point| point.chain(interface))
}

impl Point {
    fn wanted(self, key: &EndpointKey, endpoint: &LocalEndpoint, settings: &Settings) -> Wanted {
        Wanted {
            subject: name(key),
            scope: self.scope(),
            direction: self.direction(),
            deny: self.deny(settings),
            steps: self.steps(),
            profiles: endpoint.endpoint.profiles().to_vec(),
        }
    }
}

/// An interface's entry: its chain, or that it has nothing to say, which keeps the endpoint for all interfaces away.
fn element(name_of: &str, key: &EndpointKey, chain: Option<&Arc<str>>) -> Element {
    let data = match chain.map(|chain| goto(chain)) {
        Some(Expression::Verdict(verdict)) => verdict,
        _ => Verdict::Accept,
    };
    with_comment(Element::entry(interface(name_of), Data::Verdict(data)), &name(key))
}
