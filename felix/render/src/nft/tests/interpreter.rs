//! A small nf_tables: what the kernel would do with a packet.

use super::accumulated::Ruleset;
use crate::evaluate::Packet;
use crate::nft::Chain;
use netfilter::nft::{
    Comparison, CtKey, Data, Element, Expression, Family, FibResult, MapTarget, MetaKey, PayloadBase, Verdict,
};
use std::net::IpAddr;
use std::sync::Arc;

/// A packet and what the kernel knows about it.
#[derive(Debug, Clone)]
pub struct Context {
    pub family: Family,
    pub network: Vec<u8>,
    pub transport: Vec<u8>,
    pub protocol: u8,
    pub in_name: String,
    pub out_name: String,
    pub ct_state: u32,
    pub ct_status: u32,
    pub mark: u32,
    pub untracked: bool,
    /// Whether the routing table says that it is for the host.
    pub to_host: bool,
    /// Whether every limit is exceeded.
    pub over: bool,
    /// Comments of rules that logged.
    pub logged: Vec<String>,
    /// The comment of the rule, or the element, that decided.
    pub decided: Option<String>,
}

impl Context {
    pub fn new(packet: &Packet) -> Self {
        let mut transport = vec![0; 20];
        if let Some((source, destination)) = packet.ports {
            transport[..2].copy_from_slice(&source.to_be_bytes());
            transport[2..4].copy_from_slice(&destination.to_be_bytes());
        }
        if let Some((kind, code)) = packet.icmp {
            (transport[0], transport[1]) = (kind, code);
        }
        let mut network = vec![0; 40];
        let (family, at) = match packet.source {
            IpAddr::V4(_) => (Family::Ipv4, 12),
            IpAddr::V6(_) => (Family::Ipv6, 8),
        };
        for (end, address) in [packet.source, packet.destination].into_iter().enumerate() {
            let bytes = crate::nft::packet::bytes(address);
            let at = at + end * bytes.len();
            network[at..at + bytes.len()].copy_from_slice(&bytes);
        }
        Context {
            family,
            network,
            transport,
            protocol: packet.protocol,
            in_name: String::new(),
            out_name: String::new(),
            ct_state: 8,
            ct_status: 0,
            mark: 0,
            untracked: false,
            to_host: false,
            over: false,
            logged: Vec::new(),
            decided: None,
        }
    }
}

/// How a chain was left.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Left {
    Accepted,
    Dropped,
    /// Its end was reached, or it returned.
    End,
}

/// Runs the base chains of a hook; whether the packet gets through.
pub fn hook(ruleset: &Ruleset, number: u32, context: &mut Context) -> bool {
    let of_hook =
        |chain: &Chain| chain.hook.as_ref().filter(|hook| hook.number == number).map(|hook| hook.priority);
    let mut chains: Vec<(i32, Arc<str>)> = ruleset
        .chains
        .iter()
        .filter(|((family, _), _)| *family == context.family)
        .filter_map(|((_, name), chain)| Some((of_hook(chain)?, name.clone())))
        .collect();
    chains.sort();
    chains.iter().all(|(_, name)| chain(ruleset, name, context) != Left::Dropped)
}

/// Runs one chain.
pub fn chain(ruleset: &Ruleset, name: &str, context: &mut Context) -> Left {
    let Some(chain_of) = ruleset.chains.get(&(context.family, name.into())) else {
        panic!("no chain {name}")
    };
    for rule in &chain_of.rules {
        let mut registers = [0u8; 64];
        let comment = rule.comment.clone().unwrap_or_default();
        let mut outcome = Step::Next;
        for expression in &rule.expressions {
            outcome = step(ruleset, expression, &mut registers, context, &comment);
            if outcome != Step::Next {
                break;
            }
        }
        match outcome {
            Step::Next | Step::Break => {}
            Step::Verdict(Verdict::Accept) => {
                context.decided.get_or_insert(comment);
                return Left::Accepted;
            }
            Step::Verdict(Verdict::Drop) => {
                context.decided = Some(comment);
                return Left::Dropped;
            }
            Step::Verdict(Verdict::Return) => return Left::End,
            Step::Verdict(Verdict::Jump(next)) => match chain(ruleset, &next, context) {
                Left::End => {}
                left => return left,
            },
            Step::Verdict(Verdict::Goto(next)) => return chain(ruleset, &next, context),
            Step::Verdict(other) => panic!("{other:?}"),
        }
    }
    Left::End
}

#[derive(Debug, Clone, PartialEq)]
enum Step {
    Next,
    Break,
    Verdict(Verdict),
}

fn step(
    ruleset: &Ruleset,
    expression: &Expression,
    registers: &mut [u8; 64],
    context: &mut Context,
    comment: &str,
) -> Step {
    let next = |holds: bool| if holds { Step::Next } else { Step::Break };
    match expression {
        Expression::Meta { key, to } => {
            let value = match key {
                MetaKey::InName => padded(&context.in_name),
                MetaKey::OutName => padded(&context.out_name),
                MetaKey::InIndex => u32::from(!context.in_name.is_empty()).to_ne_bytes().to_vec(),
                MetaKey::TransportProtocol => vec![context.protocol],
                MetaKey::Mark => context.mark.to_ne_bytes().to_vec(),
                other => panic!("{other:?}"),
            };
            store(registers, to.0, &value);
            Step::Next
        }
        Expression::SetMeta { key: MetaKey::Mark, from } => {
            context.mark = u32::from_ne_bytes(load(registers, from.0, 4).try_into().unwrap());
            Step::Next
        }
        Expression::Payload { base, offset, len, to } => {
            let bytes = match base {
                PayloadBase::Network => &context.network,
                PayloadBase::Transport => &context.transport,
                PayloadBase::Link => panic!("no link layer"),
            };
            match bytes.get(*offset as usize..(*offset + *len) as usize) {
                Some(value) => {
                    let value = value.to_vec();
                    store(registers, to.0, &value);
                    Step::Next
                }
                None => Step::Break,
            }
        }
        Expression::Compare { from, op, value } => {
            let ordering = load(registers, from.0, value.len()).cmp(value);
            next(match op {
                Comparison::Equal => ordering.is_eq(),
                Comparison::NotEqual => ordering.is_ne(),
                Comparison::Less => ordering.is_lt(),
                Comparison::LessOrEqual => ordering.is_le(),
                Comparison::Greater => ordering.is_gt(),
                Comparison::GreaterOrEqual => ordering.is_ge(),
            })
        }
        Expression::Range { from, outside, low, high } => {
            let value = load(registers, from.0, low.len());
            next((value >= *low && value <= *high) != *outside)
        }
        Expression::Bitwise { from, to, mask, xor } => {
            let value = load(registers, from.0, mask.len());
            let value: Vec<u8> =
                value.iter().zip(mask).zip(xor).map(|((value, mask), xor)| value & mask ^ xor).collect();
            store(registers, to.0, &value);
            Step::Next
        }
        Expression::Lookup { set, from, to, invert } => {
            let found = lookup(ruleset, context.family, set, registers, from.0);
            match (found, to) {
                (found, None) => next(found.is_some() != *invert),
                (None, Some(_)) => Step::Break,
                (Some(element), Some(MapTarget::Verdict)) => match &element.data {
                    Some(Data::Verdict(verdict)) => Step::Verdict(verdict.clone()),
                    other => panic!("{other:?}"),
                },
                (Some(element), Some(MapTarget::Register(to))) => {
                    let Some(Data::Value(value)) = &element.data else { panic!("{element:?}") };
                    store(registers, to.0, value);
                    Step::Next
                }
            }
        }
        Expression::Immediate { to, value } => {
            store(registers, to.0, value);
            Step::Next
        }
        Expression::Verdict(verdict) => Step::Verdict(verdict.clone()),
        Expression::Ct { key, to, .. } => {
            let value = match key {
                CtKey::State if context.untracked => 64,
                CtKey::State => context.ct_state,
                // the kernel leaves a rule that asks about a connection there is not
                _ if context.untracked => return Step::Break,
                CtKey::Status => context.ct_status,
                other => panic!("{other:?}"),
            };
            store(registers, to.0, &value.to_ne_bytes());
            Step::Next
        }
        Expression::Counter { .. } => Step::Next,
        Expression::Limit { over, .. } | Expression::ConnLimit { over, .. } => next(*over == context.over),
        Expression::Log { .. } => {
            context.logged.push(comment.to_owned());
            Step::Next
        }
        Expression::Notrack => {
            context.untracked = true;
            Step::Next
        }
        Expression::Reject(_) => Step::Verdict(Verdict::Drop),
        Expression::Fib { result: FibResult::AddressType, flags: 2, to } => {
            let kind: u32 = if context.to_host { 2 } else { 1 };
            store(registers, to.0, &kind.to_ne_bytes());
            Step::Next
        }
        other => panic!("{other:?} is not understood here"),
    }
}

fn padded(name: &str) -> Vec<u8> {
    crate::nft::packet::interface(name)
}

/// Values fill whole words.
fn store(registers: &mut [u8; 64], word: u8, value: &[u8]) {
    let at = usize::from(word) * 4;
    registers[at..at + value.len().next_multiple_of(4)].fill(0);
    registers[at..at + value.len()].copy_from_slice(value);
}

fn load(registers: &[u8; 64], word: u8, len: usize) -> Vec<u8> {
    let at = usize::from(word) * 4;
    registers[at..at + len].to_vec()
}

fn lookup<'a>(
    ruleset: &'a Ruleset,
    family: Family,
    name: &str,
    registers: &[u8; 64],
    word: u8,
) -> Option<&'a Element> {
    let Some(set) = ruleset.sets.get(&(family, name.into())) else { panic!("no set {name}") };
    let len: u32 = match set.shape.key.as_slice() {
        [one] => one.len,
        several => several.iter().map(|field| field.padded()).sum(),
    };
    let key = load(registers, word, len as usize);
    if !set.shape.interval {
        return set.elements.get(&(key, false));
    }
    if set.shape.key.len() > 1 {
        let within = |element: &&Element| {
            let end = element.key_end.as_ref().unwrap_or(&element.key);
            // each field by itself, and all of ours begin and end at words
            element
                .key
                .chunks(4)
                .zip(end.chunks(4))
                .zip(key.chunks(4))
                .all(|((low, high), key)| low <= key && key <= high)
        };
        return set.elements.values().find(within);
    }
    // the last boundary at or before the key
    let before = set.elements.range(..=(key, true)).next_back().map(|(_, element)| element);
    before.filter(|element| !element.interval_end)
}
