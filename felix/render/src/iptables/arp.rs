//! The table that Calico's agent has beside those of iptables, for nf_tables has ARP and iptables has not (`felix.md` §13
//! of the contract): the host does not answer a workload's question for the workload's own address.

use super::hash::short;
use crate::nft::arp::{OUT, operation, sender};
use crate::nft::base::base;
use crate::nft::objects::Objects;
use crate::nft::packet::{Link, R, drop, goto, interface, is, jump, vmap};
use crate::nft::piece::Piece;
use crate::nft::ruleset::{Rule, SetShape, Update};
use model::net::{Family, family_of};
use netfilter::nft::{ChainKind, Data, DataType, Element, Expression, Family as Table, MapData};
use sha2::{Digest as _, Sha224};
use std::net::IpAddr;
use std::sync::Arc;

/// Name of the table, in the family `arp`.
pub const TABLE: &str = "calico-arp";

const OUTPUT: &str = "filter-OUTPUT";
/// A chain, and the map it looks interfaces up in.
const DISPATCH: &str = "filter-cali-arp-dispatch";

/// The table's chains, and what of them was told.
#[derive(Debug)]
pub struct Arp {
    /// The chains of an interface, and (`None`) those of all.
    objects: Objects<Option<Arc<str>>>,
}

impl Default for Arp {
    fn default() -> Self {
        let mut arp = Arp { objects: Objects::default() };
        let mut piece = Piece::default();
        piece.set(&DISPATCH.into(), &map());
        let mut output = Hashed::new(OUTPUT);
        let text = format!("counter jump {DISPATCH}");
        base(
            &mut piece,
            OUTPUT,
            (OUT, 0, ChainKind::Filter),
            vec![output.rule(&text, vec![Expression::counter(), jump(DISPATCH)])],
        );
        let look = Hashed::new(DISPATCH)
            .rule(&format!("oifname vmap @{DISPATCH}"), vec![Link::Out.load(), vmap(DISPATCH)]);
        piece.chain(&DISPATCH.into(), vec![look]);
        arp.objects.put(None, vec![(Table::Arp, piece)]);
        arp
    }
}

impl Arp {
    /// An interface's workload has these addresses.
    pub fn set(&mut self, name: &Arc<str>, addresses: &[IpAddr]) {
        let owner = Some(name.clone());
        let addresses: Vec<&IpAddr> =
            addresses.iter().filter(|address| family_of(**address) == Family::V4).collect();
        if addresses.is_empty() {
            return self.objects.remove(owner);
        }
        let chain: Arc<str> = format!("filter-cali-arp-{name}").into();
        let mut hashed = Hashed::new(&chain);
        let own = addresses.into_iter().map(|address| {
            let text = format!("oifname {name} arp operation reply arp saddr ip {address} counter drop");
            let answer = [operation(), is([0, 2], false), sender(R), is(bytes(*address), false)];
            let matches = Link::Out.is(name).into_iter().chain(answer);
            hashed.rule(&text, matches.chain([Expression::counter(), drop()]).collect())
        });
        let mut piece = Piece::default();
        piece.chain(&chain, own.collect());
        if let Expression::Verdict(verdict) = goto(&chain) {
            let entry = Element::entry(interface(name), Data::Verdict(verdict));
            piece.element(&DISPATCH.into(), &map(), entry);
        }
        self.objects.put(owner, vec![(Table::Arp, piece)]);
    }

    /// What has changed since it was asked last, about the table [`TABLE`].
    pub fn take(&mut self) -> Vec<Update> {
        let mut updates = Vec::new();
        self.objects.take(&mut updates);
        updates
    }
}

fn bytes(address: IpAddr) -> Vec<u8> {
    crate::nft::packet::bytes(address)
}

fn map() -> Arc<SetShape> {
    Arc::new(SetShape {
        key: vec![DataType::LINK_NAME],
        data: Some(MapData::Verdict),
        interval: false,
        counter: false,
        size: None,
        comment: None,
    })
}

/// Hashes of a chain's rules: of their text, which is not that of iptables.
struct Hashed(Vec<u8>);

impl Hashed {
    fn new(chain: &str) -> Self {
        Hashed(Sha224::digest(chain).to_vec())
    }

    fn rule(&mut self, text: &str, expressions: Vec<Expression>) -> Rule {
        self.0 = Sha224::new_with_prefix(&self.0).chain_update(text).finalize().to_vec();
        Rule { expressions, comment: Some(format!("cali:{};", short(&self.0, super::hash::RULE))) }
    }
}
