//! ARP of workloads: nobody speaks for another's address. IPv6 has the same in its own messages, which are packets.

use super::base::base;
use super::packet::{Link, R, drop, in_set, is};
use super::piece::{Piece, rule};
use super::workloads::{ARP_ADDRESSES, of_interfaces};
use crate::settings::Settings;
use model::net::Family;
use netfilter::nft::{ChainKind, Expression, PayloadBase, Register};
use std::sync::Arc;

// NF_ARP_*
const IN: u32 = 0;
pub(crate) const OUT: u32 = 1;

/// The ARP table's chains.
pub fn chains(settings: &Settings) -> Piece {
    let mut piece = Piece::default();
    let set: Arc<str> = ARP_ADDRESSES.into();
    piece.set(&set, &Arc::new(of_interfaces(Family::V4, ARP_ADDRESSES)));
    // a workload that asks whether its address is taken says 0.0.0.0
    let probe = |to| [sender(to), is([0; 4], true)];
    let spoofed = |prefix: &String| {
        let own = [sender(Register(4)), in_set(&set, true)];
        let matches = Link::In.begins(prefix).into_iter().chain(own).chain(probe(R));
        let text = format!("sender's address is none of the workload's, interface {prefix}*");
        rule(matches, [drop()], &text)
    };
    let rules = settings.interface_prefixes.iter().map(spoofed).collect();
    base(&mut piece, "input", (IN, 0, ChainKind::Filter), rules);
    let answered =
        [operation(), is([0, 2], false), Link::Out.load(), sender(Register(4)), in_set(&set, false)];
    let own = rule(answered, [drop()], "the host does not answer a workload's question for its own address");
    base(&mut piece, "output", (OUT, 0, ChainKind::Filter), vec![own]);
    piece
}

/// Loads what a message is: a question or an answer.
pub(crate) fn operation() -> Expression {
    Expression::Payload { base: PayloadBase::Network, offset: 6, len: 2, to: R }
}

/// Loads whose hardware address a message tells.
pub(crate) fn sender(to: Register) -> Expression {
    Expression::Payload { base: PayloadBase::Network, offset: 14, len: 4, to }
}
