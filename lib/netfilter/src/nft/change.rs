//! Changes, and the transaction they are sent in.
//!
//! A batch is carried out whole or not at all, and takes effect at one instant. Its bytes must reach the kernel in one
//! send; within it only lists of elements have a limit of their own (an attribute's length is 16 bits), so these are
//! split into several messages.

use super::data::Data;
use super::expression_codec::LIST_ELEMENT;
use super::object::{Chain, Element, MapData, Policy, Rule, Set, Table, TableRef};
use super::{SUBSYSTEM, types, userdata};
use crate::wire::{ACK, APPEND, CREATE, ECHO, REPLACE, REQUEST, Writer};

/// Where a new rule goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// Behind all others.
    Last,
    /// Before all others.
    First,
    /// Behind the rule of this handle.
    Behind(u64),
    /// Before the rule of this handle.
    Before(u64),
    /// In place of the rule of this handle.
    InsteadOf(u64),
}

/// One change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// Makes a table; one that is there stays as it is.
    AddTable(Table),
    /// Removes a table with everything in it.
    DeleteTable(TableRef),
    /// Makes a chain; one that is there keeps its rules and takes over the policy.
    AddChain(Chain),
    /// Removes an empty chain that nothing jumps to.
    DeleteChain {
        /// Its table.
        table: TableRef,
        /// Its name.
        name: String,
    },
    /// Adds a rule. The kernel tells its handle by sending it back.
    AddRule(Rule, Place),
    /// Removes the rule of this handle, or all rules of the chain.
    DeleteRule {
        /// Its table.
        table: TableRef,
        /// Its chain.
        chain: String,
        /// All rules of the chain when `None`.
        handle: Option<u64>,
    },
    /// Makes a set or map; one of the same kind that is there stays.
    AddSet(Set),
    /// Removes a set or map that no rule uses.
    DeleteSet {
        /// Its table.
        table: TableRef,
        /// Its name.
        name: String,
    },
    /// Adds elements; those that are there with the same data stay.
    AddElements {
        /// The table.
        table: TableRef,
        /// The set.
        set: String,
        /// In order; the end of an interval follows its beginning.
        elements: Vec<Element>,
    },
    /// Removes elements; one that is missing fails the batch.
    DeleteElements {
        /// The table.
        table: TableRef,
        /// The set.
        set: String,
        /// Which.
        elements: Vec<Element>,
    },
    /// Removes all elements.
    FlushSet {
        /// The table.
        table: TableRef,
        /// The set.
        set: String,
    },
}

// NFT_MSG_*
pub(crate) const NEW_TABLE: u16 = 0;
pub(crate) const DEL_TABLE: u16 = 2;
pub(crate) const NEW_CHAIN: u16 = 3;
pub(crate) const DEL_CHAIN: u16 = 5;
pub(crate) const NEW_RULE: u16 = 6;
pub(crate) const DEL_RULE: u16 = 8;
pub(crate) const NEW_SET: u16 = 9;
pub(crate) const DEL_SET: u16 = 11;
pub(crate) const NEW_ELEMENTS: u16 = 12;
pub(crate) const DEL_ELEMENTS: u16 = 14;

/// Bytes of elements in one message: an attribute's length is 16 bits.
const ELEMENT_BYTES: usize = 60_000;

/// `NFNL_MSG_BATCH_BEGIN` and `…_END`, of no subsystem.
const BATCH_BEGIN: u16 = 0x10;
const BATCH_END: u16 = 0x11;

/// A transaction to send.
#[derive(Debug, Clone)]
pub struct Finished {
    /// In one piece.
    pub bytes: Vec<u8>,
    /// The sequence number for the next request.
    pub next: u32,
    first: u32,
    changes: Vec<usize>,
}

impl Finished {
    /// The change (counted from 0) whose message has this sequence number: what an answer is about. `None` for the
    /// batch as a whole.
    pub fn change_of(&self, sequence: u32) -> Option<usize> {
        let at = usize::try_from(sequence.wrapping_sub(self.first)).ok()?.checked_sub(1)?;
        self.changes.get(at).copied()
    }
}

/// A transaction being written.
#[derive(Debug, Clone)]
pub struct Batch {
    writer: Writer,
    first: u32,
    sequence: u32,
    /// Where the last message begins.
    last: usize,
    /// For each message sent the index of its change.
    changes: Vec<usize>,
    count: usize,
}

impl Batch {
    /// An empty batch whose first message has this sequence number. With a generation the kernel refuses it
    /// (`ERESTART`) when something was changed since that generation was read.
    pub fn new(sequence: u32, generation: Option<u32>) -> Self {
        let mut batch = Batch {
            writer: Writer::new(),
            first: sequence,
            sequence,
            last: 0,
            changes: Vec::new(),
            count: 0,
        };
        batch.edge(BATCH_BEGIN, |w| {
            if let Some(generation) = generation {
                w.be32(1, generation);
            }
        });
        batch
    }

    fn edge(&mut self, kind: u16, body: impl FnOnce(&mut Writer)) {
        self.writer.message(kind, REQUEST, self.sequence, 0, SUBSYSTEM, body);
        self.sequence = self.sequence.wrapping_add(1);
    }

    /// Changes in it.
    pub fn len(&self) -> usize {
        self.count
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Bytes so far.
    pub fn bytes(&self) -> usize {
        self.writer.len()
    }

    /// Ends it. The last change is acknowledged, which tells a success from no answer at all.
    pub fn finish(mut self) -> Finished {
        self.writer.add_flags(self.last, ACK);
        self.edge(BATCH_END, |_| {});
        Finished {
            bytes: self.writer.into_bytes(),
            first: self.first,
            next: self.sequence,
            changes: self.changes,
        }
    }

    /// Adds a change.
    pub fn push(&mut self, change: &Change) {
        match change {
            Change::AddTable(table) => self.message(&table.table, NEW_TABLE, CREATE, |w| {
                w.text(1, &table.table.name);
                w.be32(2, table.flags);
                write_userdata(w, 6, &userdata::comment(table.comment.as_deref()));
            }),
            Change::DeleteTable(table) => self.message(table, DEL_TABLE, 0, |w| w.text(1, &table.name)),
            Change::AddChain(chain) => {
                self.message(&chain.table, NEW_CHAIN, CREATE, |w| write_chain(w, chain));
            }
            Change::DeleteChain { table, name } => self.message(table, DEL_CHAIN, 0, |w| {
                w.text(1, &table.name);
                w.text(3, name);
            }),
            Change::AddRule(rule, place) => {
                let (flags, handle, position) = match place {
                    Place::Last => (CREATE | APPEND, None, None),
                    Place::First => (CREATE, None, None),
                    Place::Behind(handle) => (CREATE | APPEND, None, Some(*handle)),
                    Place::Before(handle) => (CREATE, None, Some(*handle)),
                    Place::InsteadOf(handle) => (REPLACE, Some(*handle), None),
                };
                self.message(&rule.table, NEW_RULE, flags | ECHO, |w| write_rule(w, rule, handle, position));
            }
            Change::DeleteRule { table, chain, handle } => self.message(table, DEL_RULE, 0, |w| {
                w.text(1, &table.name);
                w.text(2, chain);
                if let Some(handle) = handle {
                    w.be64(3, *handle);
                }
            }),
            Change::AddSet(set) => {
                let id = self.sequence;
                self.message(&set.table, NEW_SET, CREATE, |w| write_set(w, set, id));
            }
            Change::DeleteSet { table, name } => self.message(table, DEL_SET, 0, |w| {
                w.text(1, &table.name);
                w.text(2, name);
            }),
            Change::AddElements { table, set, elements } => {
                self.elements(table, set, elements, NEW_ELEMENTS, CREATE)
            }
            Change::DeleteElements { table, set, elements } => {
                self.elements(table, set, elements, DEL_ELEMENTS, 0)
            }
            Change::FlushSet { table, set } => self.message(table, DEL_ELEMENTS, 0, |w| {
                w.text(1, &table.name);
                w.text(2, set);
            }),
        }
        self.count += 1;
    }

    fn message(&mut self, table: &TableRef, kind: u16, flags: u16, body: impl FnOnce(&mut Writer)) {
        let kind = SUBSYSTEM << 8 | kind;
        self.last = self.writer.len();
        self.writer.message(kind, REQUEST | flags, self.sequence, table.family.number(), 0, body);
        self.sequence = self.sequence.wrapping_add(1);
        self.changes.push(self.count);
    }

    fn elements(&mut self, table: &TableRef, set: &str, elements: &[Element], kind: u16, flags: u16) {
        let mut rest = elements.iter().peekable();
        // a list without elements would mean all of them
        while rest.peek().is_some() {
            self.message(table, kind, flags, |w| {
                w.text(1, &table.name);
                w.text(2, set);
                w.nested(3, |w| {
                    let start = w.len();
                    while w.len() - start < ELEMENT_BYTES {
                        let Some(element) = rest.next() else { break };
                        write_element(w, element, kind == NEW_ELEMENTS);
                    }
                });
            });
        }
    }
}

fn write_userdata(w: &mut Writer, kind: u16, bytes: &[u8]) {
    if !bytes.is_empty() {
        w.attribute(kind, bytes);
    }
}

fn write_chain(w: &mut Writer, chain: &Chain) {
    w.text(1, &chain.table.name);
    w.text(3, &chain.name);
    if let Some(hook) = &chain.hook {
        w.nested(4, |w| {
            w.be32(1, hook.number);
            w.attribute(2, &hook.priority.to_be_bytes());
        });
        w.be32(5, u32::from(hook.policy == Policy::Accept));
        w.text(7, hook.kind.name());
    }
    write_userdata(w, 12, &userdata::comment(chain.comment.as_deref()));
}

fn write_rule(w: &mut Writer, rule: &Rule, handle: Option<u64>, position: Option<u64>) {
    w.text(1, &rule.table.name);
    w.text(2, &rule.chain);
    if let Some(handle) = handle {
        w.be64(3, handle);
    }
    if let Some(position) = position {
        w.be64(6, position);
    }
    w.nested(4, |w| rule.expressions.iter().for_each(|expression| expression.write(LIST_ELEMENT, w)));
    write_userdata(w, 7, &userdata::comment(rule.comment.as_deref()));
}

// NFT_SET_*
pub(crate) const SET_INTERVAL: u32 = 0x4;
pub(crate) const SET_MAP: u32 = 0x8;
pub(crate) const SET_TIMEOUT: u32 = 0x10;
pub(crate) const SET_EVAL: u32 = 0x20;
pub(crate) const SET_CONCAT: u32 = 0x80;
/// `NFT_DATA_VERDICT`: the type of a verdict map's data.
pub(crate) const DATA_VERDICT: u32 = 0xffff_ff00;
/// Bytes of a verdict, as nft says them.
const VERDICT_LEN: u32 = 16;

fn write_set(w: &mut Writer, set: &Set, id: u32) {
    let flag = |on: bool, flag: u32| if on { flag } else { 0 };
    let concatenated = set.key.len() > 1;
    w.text(1, &set.table.name);
    w.text(2, &set.name);
    w.be32(
        3,
        flag(set.interval, SET_INTERVAL)
            | flag(set.data.is_some(), SET_MAP)
            | flag(set.timeout, SET_TIMEOUT)
            | flag(set.dynamic, SET_EVAL)
            | flag(set.interval && concatenated, SET_CONCAT),
    );
    w.be32(4, types::number_of(&set.key));
    w.be32(5, types::length_of(&set.key));
    let mut data_in_host_order = None;
    match &set.data {
        Some(MapData::Verdict) => {
            w.be32(6, DATA_VERDICT);
            w.be32(7, VERDICT_LEN);
        }
        Some(MapData::Values(values)) => {
            w.be32(6, types::number_of(values));
            w.be32(7, types::length_of(values));
            data_in_host_order = Some(values.iter().any(|field| field.host_order));
        }
        None => {}
    }
    w.be32(10, id);
    if set.size.is_some() || (set.interval && concatenated) {
        w.nested(9, |w| {
            if let Some(size) = set.size {
                w.be32(1, size);
            }
            if set.interval && concatenated {
                w.nested(2, |w| {
                    for field in &set.key {
                        w.nested(LIST_ELEMENT, |w| w.be32(1, field.len));
                    }
                });
            }
        });
    }
    let key_in_host_order = matches!(set.key.as_slice(), [one] if one.host_order);
    let comment = set.comment.as_deref();
    write_userdata(w, 13, &userdata::set(key_in_host_order, data_in_host_order, comment));
    if set.counter {
        super::Expression::counter().write(17, w);
    }
}

fn write_element(w: &mut Writer, element: &Element, whole: bool) {
    w.nested(LIST_ELEMENT, |w| {
        if element.interval_end {
            w.be32(3, 1);
        }
        super::data::write_value(1, &element.key, w);
        if let Some(end) = &element.key_end {
            super::data::write_value(10, end, w);
        }
        // a removal names the key alone
        if !whole {
            return;
        }
        if let Some(data) = &element.data {
            Data::write(data, 2, w);
        }
        if let Some(timeout) = element.timeout {
            w.be64(4, timeout);
        }
        write_userdata(w, 6, &userdata::comment(element.comment.as_deref()));
    });
}
