//! Blocks of conditions before a rule: each ORs its conditions into a bit of the mark and ANDs that to the one bit which the
//! rule looks at last (`felix.md` §6 of the contract, "Match blocks").

use super::line::{Action, Line, Matches};
use super::marks::Marks;
use super::matches::{Protocol, Side};
use super::words::{address, in_port_set, ports_are, protocol_is, split};
use crate::form::End;
use model::net::Family;

/// Rules before a rule.
pub struct Blocks<'a> {
    family: Family,
    marks: &'a Marks,
    /// The rules so far.
    pub lines: Vec<Line>,
    /// There are some, so the rule has to look at the bit.
    pub used: bool,
    /// There has been a block of positive conditions.
    positive: bool,
}

impl<'a> Blocks<'a> {
    /// None yet.
    pub fn new(family: Family, marks: &'a Marks) -> Self {
        Blocks { family, marks, lines: Vec::new(), used: false, positive: false }
    }

    /// Several lists of ports, or sets of named ones.
    pub fn ports(&mut self, end: End, side: &mut Side<'_>, protocols: &[Protocol]) {
        let lists = split(side.ports);
        if lists.len() + side.named.len() <= 1 {
            return;
        }
        let mut any = Vec::new();
        for list in &lists {
            for protocol in protocols {
                let matches = match protocol {
                    Protocol::Is(number) => protocol_is(*number),
                    Protocol::Any | Protocol::Not(_) => Matches::any(),
                };
                any.push(ports_are(matches, end, list));
            }
        }
        any.extend(side.named.iter().map(|id| Matches::any().and(in_port_set(id, self.family, end, false))));
        self.positive(any);
        (side.ports, side.named) = (&[], &[]);
    }

    /// Several networks.
    pub fn nets(&mut self, end: End, side: &mut Side<'_>) {
        if side.nets.len() > 1 {
            self.positive(side.nets.iter().map(|net| address(end, net)).collect());
            side.nets = &[];
        }
    }

    /// Networks it must not be in: several, or beside one that it must be in.
    pub fn not_nets(&mut self, end: End, side: &mut Side<'_>) {
        if side.not_nets.is_empty() || side.nets.len() + side.not_nets.len() <= 1 {
            return;
        }
        self.begin(self.marks.scratch0);
        for net in side.not_nets {
            self.lines.push(Line::new(address(end, net), Action::clear(self.marks.scratch0)));
        }
        side.not_nets = &[];
    }

    fn begin(&mut self, bits: u32) {
        if !std::mem::replace(&mut self.used, true) {
            self.lines.push(Line::always(Action::masked(bits, self.marks.scratch())));
        }
    }

    fn positive(&mut self, any: Vec<Matches>) {
        self.begin(0);
        let first = !std::mem::replace(&mut self.positive, true);
        // the first one needs no bit of its own
        let bit = if first { self.marks.scratch0 } else { self.marks.scratch1 };
        self.lines.extend(any.into_iter().map(|matches| Line::new(matches, Action::mark(bit))));
        if !first {
            let none = Matches::any().unmarked(self.marks.scratch1);
            self.lines.push(Line::new(none, Action::clear(self.marks.scratch0)));
        }
    }
}
