//! Host endpoints: their chains at the interfaces they are about, and what leads there.

use super::chains::Definitions;
use super::dispatch::{Link, tree};
use super::endpoint::{
    FORWARDED_IN, FORWARDED_OUT, FROM_HOST, PRE_DNAT, Point, TO_HOST, TRANSLATED, UNTRACKED_IN, UNTRACKED_OUT,
};
use super::endpoints::{Endpoints, Target, Wanted};
use super::line::{Action, Line};
use super::names;
use super::owner::Owner;
use crate::form::{Direction, Scope, governing};
use crate::host_interfaces::{ALL, HostInterfaces};
use crate::settings::Settings;
use felix_calc::endpoint::{Limit, LocalEndpoint};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// Where host endpoints act, with what leads there.
const DISPATCHES: [(Point, &str, Link); 8] = [
    (TO_HOST, names::FROM_HOST_ENDPOINTS, Link::In),
    (FROM_HOST, names::TO_HOST_ENDPOINTS, Link::Out),
    (FORWARDED_IN, names::FROM_HOST_ENDPOINTS_FORWARDED, Link::In),
    (FORWARDED_OUT, names::TO_HOST_ENDPOINTS_FORWARDED, Link::Out),
    (PRE_DNAT, names::FROM_HOST_ENDPOINTS, Link::In),
    (TRANSLATED, names::TO_HOST_ENDPOINTS, Link::Out),
    (UNTRACKED_IN, names::FROM_HOST_ENDPOINTS, Link::In),
    (UNTRACKED_OUT, names::TO_HOST_ENDPOINTS, Link::Out),
];

/// All host endpoints of the node.
#[derive(Debug, Default)]
pub struct Hosts {
    /// Which interface has which.
    pub interfaces: HostInterfaces,
    endpoints: Endpoints,
    rendered: BTreeSet<Arc<str>>,
}

impl Hosts {
    /// Renders all of it: there are few host endpoints.
    pub fn render(&mut self, anew: bool, target: &mut Target<'_>) {
        let mut all = self.interfaces.with_endpoints(target.settings);
        // rules cannot name it: they would take a `+` at the end for any rest
        all.retain(|(name, ..)| names::is_word(name) && !name.ends_with('+'));
        let of_all = self.interfaces.for_all();
        all.extend(of_all.map(|(key, endpoint)| (ALL.into(), key.clone(), endpoint.clone())));
        let names: BTreeSet<Arc<str>> = all.iter().map(|(name, ..)| name.clone()).collect();
        for gone in self.rendered.difference(&names) {
            self.endpoints.remove(Owner::Host(gone.clone()), target);
        }
        self.rendered = names;
        let mut points: BTreeMap<Arc<str>, Vec<Point>> = BTreeMap::new();
        for (name, _, endpoint) in &all {
            let here = points_of(endpoint, **name == *ALL);
            points.insert(name.clone(), here.clone());
            let wanted = Wanted {
                interface: name.clone(),
                points: here.into_iter().map(|point| (point, Limit::default())).collect(),
                profiles: endpoint.endpoint.profiles().to_vec(),
                forwards: is_about(endpoint, Scope::Forward),
            };
            self.endpoints.put(Owner::Host(name.clone()), wanted, &endpoint.tiers, anew, target);
        }
        target.chains.put(Owner::Hosts, dispatches(&points, target.settings));
    }
}

/// The chains of an interface.
pub fn chains_of(interface: &str) -> [Arc<str>; 8] {
    DISPATCHES.map(|(point, ..)| point.chain(interface))
}

/// Where an endpoint has chains. One for all interfaces has no untracked policy.
fn points_of(endpoint: &LocalEndpoint, all: bool) -> Vec<Point> {
    let mut points = vec![TO_HOST, FROM_HOST, FORWARDED_IN, FORWARDED_OUT, TRANSLATED];
    if is_about(endpoint, Scope::PreDnat) {
        points.push(PRE_DNAT);
    }
    if !all && is_about(endpoint, Scope::Untracked) {
        points.extend([UNTRACKED_IN, UNTRACKED_OUT]);
    }
    points
}

fn is_about(endpoint: &LocalEndpoint, scope: Scope) -> bool {
    let ways = [Direction::Ingress, Direction::Egress];
    endpoint.tiers.iter().any(|tier| ways.iter().any(|way| governing(scope, *way, tier).next().is_some()))
}

fn dispatches(points: &BTreeMap<Arc<str>, Vec<Point>>, settings: &Settings) -> Definitions {
    let mut definitions = Vec::new();
    for (point, root, link) in DISPATCHES {
        let has = points.iter().filter(|(_, points)| points.contains(&point));
        let mut interfaces: BTreeMap<Arc<str>, Arc<str>> =
            has.map(|(name, _)| (name.clone(), point.chain(name))).collect();
        let mut ends = Vec::new();
        if let Some(chain) = interfaces.remove(ALL) {
            if point == TRANSLATED {
                let skip = |prefix: &String| {
                    let local = Line::new(link.is(&format!("{prefix}+")), Action::Return);
                    local.about("Skip egress WHEP policy for traffic to local workload")
                };
                ends.extend(settings.interface_prefixes.iter().map(skip));
            }
            ends.push(Line::always(Action::Goto(chain)));
        }
        for (name, chain) in tree(root, link, &interfaces, &ends) {
            for family in settings.families() {
                definitions.push(((family, point.table, name.clone()), chain.clone()));
            }
        }
    }
    definitions
}
