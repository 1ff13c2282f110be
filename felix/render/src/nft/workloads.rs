//! Workloads: their two chains, what leads there, and the addresses they may use.

use super::constants::without_covered;
use super::objects::Objects;
use super::packet::{address_type, bytes, drop, goto, interface, jump, last, table};
use super::piece::{Piece, rule, shape, with_comment};
use super::policy::{Chains, Owner, Wanted};
use super::ruleset::SetShape;
use super::steps::Step;
use crate::claims::{Claims, workload};
use crate::form::{Direction, Scope};
use crate::settings::Settings;
use felix_calc::endpoint::{EndpointKey, Limit, LocalEndpoint, Workload};
use model::net::{Cidr, Family, family_of};
use netfilter::nft::{Data, DataType, Element, Expression, Family as Table, MapData};
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;

/// Verdict map: interface → chain for packets from its workload.
pub const FROM: &str = "from-workloads";
/// Verdict map: interface → chain for packets to its workload.
pub const TO: &str = "to-workloads";
/// Verdict map: interface → chain that counts packets from its workload.
pub const LIMITED_FROM: &str = "limited-from-workloads";
/// Verdict map: interface → chain that counts packets to its workload.
pub const LIMITED_TO: &str = "limited-to-workloads";
/// Set: interface and address its workload may send from.
pub const SOURCES: &str = "workload-sources";
/// Set of ranges: interface and foreign addresses its workload may send from.
pub const SOURCE_PREFIXES: &str = "workload-source-prefixes";
/// Set of the ARP table: interface and address of its workload.
pub const ARP_ADDRESSES: &str = "workload-addresses";
/// Map: floating address → address of the workload.
pub const FLOATING: &str = "floating-addresses";
/// Map: an address of a workload, twice → its floating address.
pub const HAIRPIN: &str = "floating-hairpin";

/// Most workloads of a node, and most addresses of them.
const ROOM: u32 = 1 << 14;

/// All workloads of the node.
#[derive(Debug, Default)]
pub struct Workloads {
    /// Which interface has which.
    pub claims: Claims,
    floating: Pairs,
    hairpin: Pairs,
}

/// Addresses by address, each with how many workloads say so; the lowest one counts.
type Pairs = BTreeMap<IpAddr, BTreeMap<IpAddr, u32>>;

/// Where a workload's parts go.
pub struct Target<'a> {
    /// Families that have tables.
    pub families: &'a [Family],
    /// The agent's settings.
    pub settings: &'a Settings,
    /// Chains of policy.
    pub chains: &'a mut Chains,
    /// All else.
    pub objects: &'a mut Objects<Owner>,
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
            && self.set_policies(key, endpoint, target)
        {
            return false;
        }
        let touched = self.claims.concerned(key, endpoint);
        let winners = |claims: &Claims| -> Vec<_> {
            touched.iter().filter_map(|interface| claims.winner(interface)).collect()
        };
        let before = winners(&self.claims);
        self.claims.set(key, endpoint);
        let now = winners(&self.claims);
        self.translate(before.iter(), false, target);
        for interface in &touched {
            self.render(interface, target);
        }
        self.translate(now.iter(), true, target);
        true
    }

    /// Whether the endpoint is this one already, but for the policies that it has now.
    fn set_policies(
        &mut self,
        key: &EndpointKey,
        endpoint: &Arc<LocalEndpoint>,
        target: &mut Target<'_>,
    ) -> bool {
        let Some(interface) = self.claims.set_policies(key, endpoint) else { return false };
        if let Some((first, endpoint)) = self.claims.winner(&interface).filter(|(first, _)| first == key)
            && let Some(workload) = workload(&endpoint)
        {
            set_chains(&chain_names(&interface), &name(&first), workload, &endpoint, target);
        }
        true
    }

    /// Everything anew, as after a change of settings.
    pub fn render_all(&mut self, target: &mut Target<'_>) {
        for interface in self.claims.interfaces() {
            self.render(interface, target);
        }
        self.floating.keys().for_each(|address| self.render_floating(*address, target));
        self.hairpin.keys().for_each(|address| self.render_hairpin(*address, target));
    }

    fn render(&self, interface: &Arc<str>, target: &mut Target<'_>) {
        let owner = Owner::Workload(interface.clone());
        let chains @ [to, from] = &chain_names(interface);
        let winner = self.claims.winner(interface);
        let Some((key, endpoint, workload)) =
            winner.as_ref().and_then(|(key, endpoint)| Some((key, endpoint, workload(endpoint)?)))
        else {
            target.chains.remove(to);
            target.chains.remove(from);
            return target.objects.remove(owner);
        };
        let subject = name(key);
        set_chains(chains, &subject, workload, endpoint, target);
        let mut pieces: Vec<(Table, Piece)> = Vec::new();
        for family in target.families {
            let mut piece = Piece::default();
            for (map, chain) in [(FROM, from), (TO, to)] {
                let entry = Element::entry(interface_key(interface), verdict(goto(chain)));
                piece.element(&map.into(), &Arc::new(dispatch(map)), with_comment(entry, &subject));
            }
            for (map, chain, limit) in
                [(LIMITED_FROM, from, workload.egress_limit), (LIMITED_TO, to, workload.ingress_limit)]
            {
                packet_limit(&mut piece, map, chain, limit, interface, &subject);
            }
            sources(&mut piece, *family, interface, workload, target.settings, &subject);
            pieces.push((table(*family), piece));
        }
        let mut arp = Piece::default();
        for address in addresses(workload, Family::V4) {
            let key = [interface_key(interface), bytes(address)].concat();
            arp.element(
                &ARP_ADDRESSES.into(),
                &Arc::new(of_interfaces(Family::V4, ARP_ADDRESSES)),
                with_comment(Element::key(key), &subject),
            );
        }
        pieces.push((Table::Arp, arp));
        target.objects.put(owner, pieces);
    }

    /// Counts the floating addresses of these endpoints in or out.
    fn translate<'a>(
        &mut self,
        endpoints: impl Iterator<Item = &'a (EndpointKey, Arc<LocalEndpoint>)>,
        begins: bool,
        target: &mut Target<'_>,
    ) {
        let endpoints: BTreeMap<&EndpointKey, &Arc<LocalEndpoint>> =
            endpoints.map(|(key, endpoint)| (key, endpoint)).collect();
        for pair in endpoints
            .values()
            .filter_map(|endpoint| workload(endpoint))
            .flat_map(|workload| &workload.floating)
        {
            count(&mut self.floating, pair.external, pair.internal, begins);
            count(&mut self.hairpin, pair.internal, pair.external, begins);
            self.render_floating(pair.external, target);
            self.render_hairpin(pair.internal, target);
        }
    }

    fn render_floating(&self, external: IpAddr, target: &mut Target<'_>) {
        let found = self.floating.get(&external).and_then(|all| all.first_key_value());
        let element = |(internal, _): (&IpAddr, &u32)| {
            let entry = Element::entry(bytes(external), Data::Value(bytes(*internal)));
            (FLOATING, with_comment(entry, &format!("floating address {external} of {internal}")))
        };
        put_translation(Owner::Floating(external), external, found.map(element), target);
    }

    fn render_hairpin(&self, internal: IpAddr, target: &mut Target<'_>) {
        let found = self.hairpin.get(&internal).and_then(|all| all.first_key_value());
        let element = |(external, _): (&IpAddr, &u32)| {
            let key = [bytes(internal), bytes(internal)].concat();
            let entry = Element::entry(key, Data::Value(bytes(*external)));
            (
                HAIRPIN,
                with_comment(entry, &format!("{internal} to itself by its floating address {external}")),
            )
        };
        put_translation(Owner::Hairpin(internal), internal, found.map(element), target);
    }
}

/// The chains of packets to and from an interface's workload.
fn chain_names(interface: &str) -> [Arc<str>; 2] {
    ["to", "from"].map(|way| format!("{way}-{}", super::names::piece(interface)).into())
}

/// All chains of an interface.
pub fn chains_of(interface: &str) -> [Arc<str>; 4] {
    let [to, from] = chain_names(interface);
    let [to_limit, from_limit] = [limit_chain(&to), limit_chain(&from)];
    [to, from, to_limit, from_limit]
}

/// The chain that counts packets before one of those sees them.
fn limit_chain(chain: &str) -> Arc<str> {
    format!("{chain}/limit").into()
}

/// What the chains of an endpoint call.
fn set_chains(
    [to, from]: &[Arc<str>; 2],
    subject: &str,
    workload: &Workload,
    endpoint: &LocalEndpoint,
    target: &mut Target<'_>,
) {
    for (chain, direction) in [(to, Direction::Ingress), (from, Direction::Egress)] {
        let limit = match direction {
            Direction::Ingress => workload.ingress_limit,
            Direction::Egress => workload.egress_limit,
        };
        let steps = limit.connections.map(Step::Connections).into_iter().collect();
        let wanted = Wanted {
            subject: subject.to_owned(),
            scope: Scope::Workload,
            direction,
            deny: target.settings.nft.deny,
            steps,
            profiles: workload.profiles.to_vec(),
        };
        target.chains.set(chain, wanted, &endpoint.tiers);
    }
}

fn put_translation(owner: Owner, address: IpAddr, found: Option<(&str, Element)>, target: &mut Target<'_>) {
    let family = family_of(address);
    match found.filter(|_| target.settings.floating_ips && target.families.contains(&family)) {
        Some((map, element)) => {
            let mut piece = Piece::default();
            piece.element(&map.into(), &Arc::new(translation(family, map)), element);
            target.objects.put(owner, vec![(table(family), piece)]);
        }
        None => target.objects.remove(owner),
    }
}

fn count(pairs: &mut Pairs, key: IpAddr, value: IpAddr, begins: bool) {
    let values = pairs.entry(key).or_default();
    let count = values.entry(value).or_default();
    *count = if begins { *count + 1 } else { count.saturating_sub(1) };
    if *count == 0 {
        values.remove(&value);
    }
    if values.is_empty() {
        pairs.remove(&key);
    }
}

/// At most so many packets a second, those of known connections among them: so it comes before all else.
fn packet_limit(piece: &mut Piece, map: &str, chain: &str, limit: Limit, interface: &str, subject: &str) {
    let Some((rate, burst)) = limit.packets else { return };
    let name = limit_chain(chain);
    let over = Expression::Limit { rate, unit: 1, burst, bytes: false, over: true };
    piece
        .chain(&name, vec![rule([over], [drop()], &format!("{subject}, more than {rate} packets a second"))]);
    let entry = Element::entry(interface_key(interface), verdict(jump(&name)));
    piece.element(&map.into(), &Arc::new(dispatch(map)), with_comment(entry, subject));
}

/// The interface's addresses and what else it may send from.
fn sources(
    piece: &mut Piece,
    family: Family,
    interface: &str,
    workload: &Workload,
    settings: &Settings,
    subject: &str,
) {
    for address in addresses(workload, family) {
        let key = [interface_key(interface), bytes(address)].concat();
        piece.element(
            &SOURCES.into(),
            &Arc::new(of_interfaces(family, SOURCES)),
            with_comment(Element::key(key), subject),
        );
    }
    if !settings.source_spoofing {
        return;
    }
    let of_family: Vec<Cidr> =
        workload.source_prefixes.iter().filter(|net| net.family() == family).copied().collect();
    // the kernel refuses ranges that overlap
    for net in without_covered(&of_family) {
        let end = |address| [interface_key(interface), bytes(address)].concat();
        let range = Element { key_end: Some(end(last(&net))), ..Element::key(end(net.addr())) };
        let element = with_comment(range, &format!("{subject}, allowed source {net}"));
        piece.element(&SOURCE_PREFIXES.into(), &Arc::new(source_prefixes(family)), element);
    }
}

fn addresses(workload: &Workload, family: Family) -> BTreeSet<IpAddr> {
    workload.addresses.iter().filter(|address| family_of(**address) == family).copied().collect()
}

/// What an endpoint is called in comments.
pub fn name(key: &EndpointKey) -> String {
    match key {
        EndpointKey::Workload(namespace, name) => format!("WorkloadEndpoint {namespace}/{name}"),
        EndpointKey::Host(name) => format!("HostEndpoint {name}"),
    }
}

fn interface_key(name: &str) -> Vec<u8> {
    interface(name)
}

fn verdict(expression: Expression) -> Data {
    match expression {
        Expression::Verdict(verdict) => Data::Verdict(verdict),
        _ => Data::Value(Vec::new()),
    }
}

/// A verdict map by interface.
pub fn dispatch(comment: &str) -> SetShape {
    let plain = shape(&[DataType::LINK_NAME], Some(MapData::Verdict), true, comment);
    SetShape { size: Some(ROOM), ..plain }
}

/// A set of interfaces with addresses.
pub fn of_interfaces(family: Family, comment: &str) -> SetShape {
    let plain = shape(&[DataType::LINK_NAME, address_type(family)], None, false, comment);
    SetShape { size: Some(ROOM), ..plain }
}

fn source_prefixes(family: Family) -> SetShape {
    SetShape { interval: true, size: None, ..of_interfaces(family, SOURCE_PREFIXES) }
}

fn translation(family: Family, map: &str) -> SetShape {
    let address = address_type(family);
    let key = if map == HAIRPIN { vec![address, address] } else { vec![address] };
    let plain = shape(&key, Some(MapData::Values(vec![address])), true, map);
    SetShape { size: Some(ROOM), ..plain }
}
