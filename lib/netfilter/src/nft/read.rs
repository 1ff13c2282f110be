//! What is there: requests for dumps, and objects out of dumps and events.

use super::change::{
    DATA_VERDICT, DEL_CHAIN, DEL_ELEMENTS, DEL_RULE, DEL_SET, DEL_TABLE, NEW_CHAIN, NEW_ELEMENTS, NEW_RULE,
    NEW_SET, NEW_TABLE, SET_EVAL, SET_INTERVAL, SET_MAP, SET_TIMEOUT,
};
use super::data::{Data, read_value};
use super::expression::Expression;
use super::expression_codec::read_list;
use super::object::{Chain, ChainKind, Element, Family, Hook, MapData, Policy, Rule, Set, Table, TableRef};
use super::{SUBSYSTEM, types, userdata};
use crate::wire::{Attributes, DUMP, REQUEST, Reply, Writer};

/// What to read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Query {
    /// The generation: a number that each committed batch raises.
    Generation,
    /// All tables, of one family when given.
    Tables(Option<Family>),
    /// The chains of a family; the kernel does not filter by table.
    Chains(Family),
    /// The rules of a table, in order within each chain.
    Rules(TableRef),
    /// The rules of a chain, in order.
    RulesOf {
        /// Its table.
        table: TableRef,
        /// Its name.
        chain: String,
    },
    /// The sets and maps of a table.
    Sets(TableRef),
    /// The elements of a set.
    Elements {
        /// Its table.
        table: TableRef,
        /// Its name.
        set: String,
    },
}

impl Query {
    /// The request; the answers carry its sequence number.
    pub fn request(&self, sequence: u32) -> Vec<u8> {
        let mut w = Writer::new();
        let mut send = |kind: u16, flags: u16, family: u8, body: &dyn Fn(&mut Writer)| {
            w.message(SUBSYSTEM << 8 | kind, REQUEST | flags, sequence, family, 0, |w| body(w));
        };
        match self {
            Query::Generation => send(16, 0, 0, &|_| {}),
            Query::Tables(family) => send(1, DUMP, family.map_or(0, Family::number), &|_| {}),
            Query::Chains(family) => send(4, DUMP, family.number(), &|_| {}),
            Query::Rules(table) => send(7, DUMP, table.family.number(), &|w| w.text(1, &table.name)),
            Query::RulesOf { table, chain } => send(7, DUMP, table.family.number(), &|w| {
                w.text(1, &table.name);
                w.text(2, chain);
            }),
            Query::Sets(table) => send(10, DUMP, table.family.number(), &|w| w.text(1, &table.name)),
            Query::Elements { table, set } => send(13, DUMP, table.family.number(), &|w| {
                w.text(1, &table.name);
                w.text(2, set);
            }),
        }
        w.into_bytes()
    }
}

/// Something of nf_tables, out of a dump or an event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Object {
    /// A table.
    Table(Table),
    /// A chain.
    Chain(Chain),
    /// A rule.
    Rule(Rule),
    /// A set or map.
    Set(Set),
    /// Elements of a set.
    Elements {
        /// Its table.
        table: TableRef,
        /// Its name.
        set: String,
        /// Those of this message.
        elements: Vec<Element>,
    },
    /// A generation: the state up to here is that of one committed batch.
    Generation {
        /// The number.
        id: u32,
        /// The process that committed it, in events.
        process: Option<u32>,
        /// That process's name.
        name: Option<String>,
    },
}

/// Whether an object is there or gone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Presence {
    /// It is there, or came, or changed.
    There,
    /// It went.
    Gone,
}

const NEW_GENERATION: u16 = 15;

/// The object of a message; `None` for one of another subsystem or kind.
pub fn read(reply: &Reply<'_>) -> Option<(Presence, Object)> {
    let Reply::Data { kind, family, attributes, .. } = reply else { return None };
    if kind >> 8 != SUBSYSTEM {
        return None;
    }
    let kind = kind & 0xff;
    let a = Attributes::new(attributes);
    if kind == NEW_GENERATION {
        let id = a.be32(1)?;
        return Some((
            Presence::There,
            Object::Generation { id, process: a.be32(2), name: a.text(3).map(str::to_owned) },
        ));
    }
    let table = TableRef { family: Family::from_number(*family)?, name: a.text(1)?.to_owned() };
    let presence = match kind {
        DEL_TABLE | DEL_CHAIN | DEL_RULE | DEL_SET | DEL_ELEMENTS => Presence::Gone,
        _ => Presence::There,
    };
    let object = match kind {
        NEW_TABLE | DEL_TABLE => Object::Table(Table {
            table,
            flags: a.be32(2).unwrap_or(0),
            comment: a.get(6).and_then(userdata::read_comment),
        }),
        NEW_CHAIN | DEL_CHAIN => Object::Chain(read_chain(table, a)?),
        NEW_RULE | DEL_RULE => Object::Rule(Rule {
            table,
            chain: a.text(2)?.to_owned(),
            handle: a.be64(3),
            expressions: a.nested(4).map(read_list).unwrap_or_default(),
            comment: a.get(7).and_then(userdata::read_comment),
        }),
        NEW_SET | DEL_SET => Object::Set(read_set(table, a)?),
        NEW_ELEMENTS | DEL_ELEMENTS => Object::Elements {
            table,
            set: a.text(2)?.to_owned(),
            elements: a
                .nested(3)
                .into_iter()
                .flatten()
                .filter_map(|(_, element)| read_element(Attributes::new(element)))
                .collect(),
        },
        _ => return None,
    };
    Some((presence, object))
}

fn read_chain(table: TableRef, a: Attributes<'_>) -> Option<Chain> {
    let hook = match a.nested(4) {
        None => None,
        Some(hook) => Some(Hook {
            number: hook.be32(1)?,
            priority: hook.be32(2)?.cast_signed(),
            kind: match a.text(7)? {
                "nat" => ChainKind::Nat,
                "route" => ChainKind::Route,
                _ => ChainKind::Filter,
            },
            policy: if a.be32(5) == Some(0) { Policy::Drop } else { Policy::Accept },
        }),
    };
    Some(Chain {
        table,
        name: a.text(3)?.to_owned(),
        handle: a.be64(2),
        hook,
        comment: a.get(12).and_then(userdata::read_comment),
    })
}

fn read_set(table: TableRef, a: Attributes<'_>) -> Option<Set> {
    let flags = a.be32(3).unwrap_or(0);
    let has = |flag: u32| flags & flag != 0;
    let counts =
        |expression: Attributes<'_>| matches!(Expression::read(expression), Some(Expression::Counter { .. }));
    Some(Set {
        table,
        name: a.text(2)?.to_owned(),
        handle: a.be64(16),
        key: types::from_number(a.be32(4).unwrap_or(0)),
        data: match a.be32(6) {
            _ if !has(SET_MAP) => None,
            Some(DATA_VERDICT) => Some(MapData::Verdict),
            number => Some(MapData::Values(types::from_number(number.unwrap_or(0)))),
        },
        interval: has(SET_INTERVAL),
        dynamic: has(SET_EVAL),
        timeout: has(SET_TIMEOUT),
        counter: a.nested(17).is_some_and(counts),
        size: a.nested(9).and_then(|desc| desc.be32(1)),
        comment: a.get(13).and_then(userdata::read_set_comment),
    })
}

fn read_element(a: Attributes<'_>) -> Option<Element> {
    let counter = a.nested(7).and_then(Expression::read).and_then(|expression| match expression {
        Expression::Counter { packets, bytes } => Some((packets, bytes)),
        _ => None,
    });
    Some(Element {
        key: read_value(a, 1)?,
        interval_end: a.be32(3).unwrap_or(0) & 1 != 0,
        key_end: read_value(a, 10),
        data: a.nested(2).and_then(Data::read),
        timeout: a.be64(4),
        comment: a.get(6).and_then(userdata::read_comment),
        counter,
    })
}
