//! Workloads: which interface has which, what leads there, and chains about their addresses.

use super::chains::Chain;
use super::dispatch::{Link, tree};
use super::endpoint::{FROM_WORKLOAD, TO_WORKLOAD};
use super::endpoints::{Endpoints, Target, Wanted};
use super::line::{Action, Line, Matches};
use super::names;
use super::owner::Owner;
use super::ruleset::Table;
use crate::claims::{Claims, workload};
use felix_calc::endpoint::{EndpointKey, LocalEndpoint, Workload};
use model::net::{Cidr, Family, family_of};
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

/// Source prefixes that a workload may use beside its own.
pub const SOURCES_GRANTED: &str = "cali-rpf-skip";
/// Floating addresses to those of workloads.
pub const FLOATING: &str = "cali-fip-dnat";
/// A workload that speaks with itself by its floating address.
pub const HAIRPIN: &str = "cali-fip-snat";
/// DSCP of what leaves the cluster.
pub const DSCP: &str = "cali-egress-dscp";

/// All workloads of the node.
#[derive(Debug, Default)]
pub struct Workloads {
    /// Which interface has which.
    pub claims: Claims,
    endpoints: Endpoints,
}

impl Workloads {
    /// An endpoint came, changed or (`None`) went; whether more than its policies is another thing now.
    pub fn set(
        &mut self,
        key: &EndpointKey,
        endpoint: Option<&Arc<LocalEndpoint>>,
        target: &mut Target<'_>,
    ) -> bool {
        if let Some(endpoint) = endpoint
            && let Some(interface) = self.claims.set_policies(key, endpoint)
        {
            self.render(&interface, false, target);
            return false;
        }
        let touched = self.claims.concerned(key, endpoint);
        self.claims.set(key, endpoint);
        touched.iter().for_each(|interface| self.render(interface, false, target));
        true
    }

    /// Everything anew, as after a change of settings.
    pub fn render_all(&mut self, target: &mut Target<'_>) {
        let all: Vec<Arc<str>> = self.claims.interfaces().cloned().collect();
        all.iter().for_each(|interface| self.render(interface, true, target));
    }

    fn render(&mut self, interface: &Arc<str>, anew: bool, target: &mut Target<'_>) {
        let owner = Owner::Workload(interface.clone());
        let winner = self.claims.winner(interface);
        let Some((endpoint, workload)) =
            winner.as_ref().and_then(|(_, endpoint)| Some((endpoint, workload(endpoint)?)))
        else {
            target.arp.set(interface, &[]);
            return self.endpoints.remove(owner, target);
        };
        target.arp.set(interface, &workload.addresses);
        let wanted = Wanted {
            interface: interface.clone(),
            points: vec![(TO_WORKLOAD, workload.ingress_limit), (FROM_WORKLOAD, workload.egress_limit)],
            profiles: workload.profiles.to_vec(),
            forwards: false,
        };
        self.endpoints.put(owner, wanted, &endpoint.tiers, anew, target);
    }

    fn winners(&self) -> impl Iterator<Item = (&Arc<str>, Arc<LocalEndpoint>)> {
        self.claims.interfaces().filter_map(|name| Some((name, self.claims.winner(name)?.1)))
    }

    /// Addresses of workloads whose packets leave the cluster with a DSCP value.
    pub fn with_dscp(&self) -> BTreeMap<IpAddr, u8> {
        let mut all = BTreeMap::new();
        for (_, endpoint) in self.winners() {
            let Some((workload, value)) = workload(&endpoint).and_then(|of| Some((of, of.dscp?))) else {
                continue;
            };
            for address in &workload.addresses {
                all.entry(*address).or_insert(value);
            }
        }
        all
    }

    /// All chains but those of single endpoints.
    pub fn render_shared(&self, target: &mut Target<'_>) {
        let mut definitions = Vec::new();
        let deny = super::policy::deny(Table::Filter, target.settings);
        let unknown = [Line::always(deny).about("Unknown interface")];
        let interfaces = |point: super::endpoint::Point| {
            self.claims.interfaces().map(|name| (name.clone(), point.chain(name))).collect()
        };
        let mut trees = tree(names::FROM_WORKLOADS, Link::In, &interfaces(FROM_WORKLOAD), &unknown);
        trees.extend(tree(names::TO_WORKLOADS, Link::Out, &interfaces(TO_WORKLOAD), &unknown));
        let dscp = self.with_dscp();
        for family in target.settings.families() {
            for (name, chain) in &trees {
                definitions.push(((family, Table::Filter, name.clone()), chain.clone()));
            }
            let mut put = |table: Table, name: &str, lines: Vec<Line>| {
                definitions.push(((family, table, name.into()), Chain::new(name, &lines)));
            };
            put(Table::Raw, SOURCES_GRANTED, self.granted(family, target));
            put(Table::Mangle, DSCP, dscp_lines(family, &dscp));
            let (floating, hairpin) = self.floating(family, target);
            put(Table::Nat, FLOATING, floating);
            put(Table::Nat, HAIRPIN, hairpin);
        }
        target.chains.put(Owner::Workloads, definitions);
    }

    fn granted(&self, family: Family, target: &Target<'_>) -> Vec<Line> {
        if !target.settings.source_spoofing {
            return Vec::new();
        }
        let line = |interface: &str, net: &Cidr| {
            Line::new(Link::In.is(interface).and(format_args!("--source {net}")), Action::ACCEPT)
        };
        let mut lines = Vec::new();
        for (interface, endpoint) in self.winners() {
            let prefixes = workload(&endpoint).into_iter().flat_map(|of| &of.source_prefixes);
            lines.extend(prefixes.filter(|net| net.family() == family).map(|net| line(interface, net)));
        }
        lines
    }

    /// To floating addresses, and from a workload to itself by one. Of several that claim an address the lowest counts.
    fn floating(&self, family: Family, target: &Target<'_>) -> (Vec<Line>, Vec<Line>) {
        let (mut to, mut hairpin) = (BTreeMap::new(), BTreeMap::new());
        if target.settings.floating_ips {
            for (_, endpoint) in self.winners() {
                let pairs = workload(&endpoint).into_iter().flat_map(floating_of);
                for (external, internal) in pairs.filter(|(external, _)| family_of(*external) == family) {
                    lowest(&mut to, external, internal);
                    lowest(&mut hairpin, internal, external);
                }
            }
        }
        let to_line = |(external, internal): (&IpAddr, &IpAddr)| {
            let matches = Matches::any().and(format_args!("--destination {external}"));
            Line::new(matches, Action::Do(format!("--jump DNAT --to-destination {internal}").into()))
        };
        let hairpin_line = |(internal, external): (&IpAddr, &IpAddr)| {
            let matches = Matches::any().and(format_args!("--destination {internal} --source {internal}"));
            Line::new(
                matches,
                Action::Do(format!("--jump SNAT --to-source {external} --random-fully").into()),
            )
        };
        (to.iter().map(to_line).collect(), hairpin.iter().map(hairpin_line).collect())
    }
}

/// The chains of an interface.
pub fn chains_of(interface: &str) -> [Arc<str>; 2] {
    [TO_WORKLOAD, FROM_WORKLOAD].map(|point| point.chain(interface))
}

fn floating_of(workload: &Workload) -> impl Iterator<Item = (IpAddr, IpAddr)> {
    workload.floating.iter().map(|pair| (pair.external, pair.internal))
}

fn lowest(pairs: &mut BTreeMap<IpAddr, IpAddr>, key: IpAddr, value: IpAddr) {
    let known = pairs.entry(key).or_insert(value);
    *known = value.min(*known);
}

fn dscp_lines(family: Family, values: &BTreeMap<IpAddr, u8>) -> Vec<Line> {
    let line = |(address, value): (&IpAddr, &u8)| {
        let set = Action::Do(format!("--jump DSCP --set-dscp {value}").into());
        Line::new(Matches::any().and(format_args!("--source {address}")), set)
    };
    values.iter().filter(|(address, _)| family_of(**address) == family).map(line).collect()
}
