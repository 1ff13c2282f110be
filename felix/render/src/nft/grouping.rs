//! Rules of one chain: the rule form to rules of the kernel.
//!
//! In a run of rules with one verdict the order decides nothing. So rules of a run that differ in protocol and
//! destination port alone become one rule, which looks both up in a set; each element of the set stands for a rule,
//! with its comment and counter. A thousand rules from fifty sources are fifty rules then.

use super::matches::{WITH_PORTS, conditions};
use super::names;
use super::packet::{self, R, port, protocol};
use super::piece::{Elements, Piece, rule, shape, with_comment};
use super::ruleset::{Rule, SetShape};
use super::sets::Layouts;
use crate::form::{self, End, Match, Origin, Scope, Verdict};
use crate::log_prefix;
use crate::settings::{Deny, Settings};
use model::net::Family;
use netfilter::nft::{self, DataType, Element, Expression, LogLevel, Register};
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

/// Longest prefix of a log line, its terminating zero apart.
const LOG_PREFIX_MAX: usize = 127;

/// Where rules are rendered for.
#[derive(Clone, Copy)]
pub struct Place<'a> {
    /// Of packets.
    pub family: Family,
    /// Whose policies they are.
    pub scope: Scope,
    /// How they deny.
    pub deny: Deny,
    /// The agent's settings.
    pub settings: &'a Settings,
    /// The sets there are.
    pub sets: &'a dyn Layouts,
}

/// The rules of a chain, and the sets that belong to it. What the chain does at its end is not among them.
pub fn rules(chain: &str, rules: &[form::Rule], place: Place<'_>) -> (Vec<Rule>, Vec<Elements>) {
    let mut builder = Builder { chain, place, rules: Vec::new(), sets: Vec::new(), names: HashMap::new() };
    let of_family: Vec<form::Rule> = rules.iter().filter_map(|rule| rule.for_family(place.family)).collect();
    for run in of_family.chunk_by(|a, b| a.verdict == b.verdict) {
        match run {
            [one] => builder.alone(one),
            several if several.iter().any(|rule| rule.verdict == Verdict::Log) => {
                several.iter().for_each(|rule| builder.alone(rule));
            }
            several => builder.run(several),
        }
    }
    (builder.rules, builder.sets)
}

struct Builder<'a> {
    chain: &'a str,
    place: Place<'a>,
    rules: Vec<Rule>,
    sets: Vec<Elements>,
    /// How often a set's name was wanted in this chain.
    names: HashMap<String, usize>,
}

/// Rules of a run that differ in protocol and single destination port alone.
struct Group<'a> {
    /// What they have in common.
    rest: Vec<Match>,
    verdict: Verdict,
    /// Which rule is the first to name a protocol and port.
    ports: BTreeMap<(u8, u16), &'a Origin>,
}

enum Item<'a> {
    Group(usize),
    Alone(std::borrow::Cow<'a, form::Rule>),
}

impl Builder<'_> {
    fn alone(&mut self, rule: &form::Rule) {
        match self.split(rule) {
            // several ports of one rule are a group, too
            Some((group, None)) if group.ports.len() > 1 => self.group(&group),
            _ => self.plain(&rule.matches, rule.verdict, &rule.origin),
        }
    }

    fn run(&mut self, run: &[form::Rule]) {
        let mut groups: Vec<Group<'_>> = Vec::new();
        let mut by_rest: HashMap<Vec<Match>, usize> = HashMap::new();
        let mut items = Vec::new();
        for rule in run {
            let Some((part, left)) = self.split(rule) else {
                items.push(Item::Alone(std::borrow::Cow::Borrowed(rule)));
                continue;
            };
            let known = by_rest.get(&part.rest).copied();
            match known.and_then(|at| groups.get_mut(at)) {
                Some(group) => part.ports.into_iter().for_each(|(port, origin)| {
                    group.ports.entry(port).or_insert(origin);
                }),
                None => {
                    by_rest.insert(part.rest.clone(), groups.len());
                    items.push(Item::Group(groups.len()));
                    groups.push(part);
                }
            }
            items.extend(left.map(|rule| Item::Alone(std::borrow::Cow::Owned(rule))));
        }
        for item in items {
            match item {
                Item::Alone(rule) => self.plain(&rule.matches, rule.verdict, &rule.origin),
                Item::Group(at) => groups.get(at).into_iter().for_each(|group| self.group(group)),
            }
        }
    }

    /// The part of a rule that is about single destination ports of a protocol, and the rest of the rule that is about
    /// ranges of them.
    fn split<'r>(&self, rule: &'r form::Rule) -> Option<(Group<'r>, Option<form::Rule>)> {
        if rule.verdict == Verdict::Log {
            return None;
        }
        let mut rest = Vec::new();
        let (mut number, mut wanted) = (None, None);
        for one in &rule.matches {
            match one {
                Match::Protocol { number: of, negated: false } if number.is_none() => number = Some(*of),
                Match::Ports { end: End::Destination, ranges, sets, negated: false }
                    if wanted.is_none() && sets.is_empty() =>
                {
                    wanted = Some(ranges);
                }
                other => rest.push(other.clone()),
            }
        }
        let number = number.filter(|number| WITH_PORTS.contains(number))?;
        // a range that holds a single port may do without it
        let (single, wide): (Vec<_>, Vec<_>) = wanted?.iter().partition(|(first, last)| first == last);
        if single.is_empty() {
            return None;
        }
        let left = (!wide.is_empty()).then(|| {
            let ports =
                Match::Ports { end: End::Destination, ranges: wide, sets: Vec::new(), negated: false };
            let matches = [Match::Protocol { number, negated: false }, ports];
            form::Rule { matches: matches.into_iter().chain(rest.iter().cloned()).collect(), ..rule.clone() }
        });
        let ports = single.into_iter().map(|(port, _)| ((number, port), &rule.origin)).collect();
        Some((Group { rest, verdict: rule.verdict, ports }, left))
    }

    /// A group of one port is a plain rule.
    fn group(&mut self, group: &Group<'_>) {
        if let (1, Some(((number, port), origin))) = (group.ports.len(), group.ports.first_key_value()) {
            let ranges = vec![(*port, *port)];
            let ports = Match::Ports { end: End::Destination, ranges, sets: Vec::new(), negated: false };
            let first = [Match::Protocol { number: *number, negated: false }, ports];
            let matches: Vec<Match> = first.into_iter().chain(group.rest.iter().cloned()).collect();
            return self.plain(&matches, group.verdict, origin);
        }
        let (size, room) = names::room(group.ports.len());
        let text = format!("{:?} {:?}", group.verdict, group.rest);
        let seen = self.names.entry(text.clone()).or_default();
        *seen += 1;
        let again = if *seen == 1 { String::new() } else { format!("-{seen}") };
        let set = names::name(format!("{}/{}{again}{room}", self.chain, names::digest(&text)));
        let verb = match group.verdict {
            Verdict::Allow => "allowed",
            Verdict::Deny => "denied",
            Verdict::Pass => "passed on",
            Verdict::Log => "logged",
        };
        let subject = group.ports.values().next().map(|origin| subject(origin)).unwrap_or_default();
        let comment = format!("{subject}, {verb} by protocol and port");
        let found = self.conditions(&group.rest, group.verdict);
        if found.is_empty() {
            return;
        }
        // the lookup comes last: elements count what matches the whole rule
        let lookup = [protocol(R), port(End::Destination, Register(1)), packet::in_set(&set, false)];
        for matches in found {
            let action = self.action(group.verdict, None);
            self.rules.push(rule(matches.into_iter().chain(lookup.clone()), action, &comment));
        }
        let element = |((number, port), origin): (&(u8, u16), &&Origin)| {
            let [high, low] = port.to_be_bytes();
            with_comment(Element::key([*number, 0, 0, 0, high, low, 0, 0]), &origin.to_string())
        };
        let plain = shape(&[DataType::PROTOCOL, DataType::PORT], None, true, &comment);
        self.sets.push(Elements {
            set,
            shape: Arc::new(SetShape { size: Some(size), ..plain }),
            elements: group.ports.iter().map(element).collect(),
        });
    }

    fn plain(&mut self, matches: &[Match], verdict: Verdict, origin: &Origin) {
        let comment = origin.to_string();
        for matches in self.conditions(matches, verdict) {
            let action = self.action(verdict, Some(origin));
            self.rules.push(rule(matches, action, &comment));
        }
    }

    fn conditions(&mut self, matches: &[Match], verdict: Verdict) -> Vec<Vec<Expression>> {
        let found = conditions(self.place.family, matches, verdict == Verdict::Log, self.place.sets);
        if !found.rules.is_empty() {
            self.sets.extend(found.constants);
        }
        found.rules
    }

    fn action(&self, verdict: Verdict, origin: Option<&Origin>) -> Vec<Expression> {
        match verdict {
            Verdict::Allow => allowed(self.place.scope, self.place.settings),
            Verdict::Deny => vec![packet::deny(self.place.family, self.place.deny)],
            Verdict::Pass => vec![Expression::Verdict(nft::Verdict::Return)],
            Verdict::Log => log(self.place.settings, origin),
        }
    }
}

/// What lets a packet through. What passes an early stage of a host endpoint is not judged at a later one: it is marked.
fn allowed(scope: Scope, settings: &Settings) -> Vec<Expression> {
    let mark = || packet::mark(settings.nft.mark, true).into_iter();
    match scope {
        Scope::Workload | Scope::Host | Scope::Forward => vec![packet::accept()],
        Scope::PreDnat => mark().chain([packet::accept()]).collect(),
        Scope::Untracked => mark().chain([Expression::Notrack, packet::accept()]).collect(),
    }
}

/// What a set of rules of one tier or profile is called.
fn subject(origin: &Origin) -> String {
    match origin {
        Origin::Policy { tier, direction, .. } => format!("tier {tier}, {direction}"),
        Origin::Profile { name, direction, .. } => format!("Profile {name}, {direction}"),
        other => other.to_string(),
    }
}

fn log(settings: &Settings, origin: Option<&Origin>) -> Vec<Expression> {
    let limit = settings.log_limit.map(|limit| Expression::Limit {
        rate: limit.packets,
        unit: limit.unit,
        burst: limit.burst,
        bytes: false,
        over: false,
    });
    let prefix = origin.map(|origin| log_prefix(&settings.log_prefix, origin));
    limit.into_iter().chain([Expression::Log { prefix, level: LogLevel::Info }]).collect()
}

fn log_prefix(text: &str, origin: &Origin) -> String {
    let out = log_prefix::of(text, origin);
    let clean: String = out.chars().map(|c| if c == '"' || c.is_control() { '_' } else { c }).collect();
    let room = LOG_PREFIX_MAX - 2;
    let end = (0..=clean.len().min(room)).rev().find(|end| clean.is_char_boundary(*end)).unwrap_or(0);
    format!("{}: ", clean.get(..end).unwrap_or_default())
}

/// Adds a chain of the rules of a tier or profile to a piece.
pub fn chain(piece: &mut Piece, name: &Arc<str>, of: &[form::Rule], end: Option<Rule>, place: Place<'_>) {
    let (mut found, sets) = rules(name, of, place);
    found.extend(end);
    piece.chain(name, found);
    piece.sets.extend(sets);
}
