//! A recorded step against ours.

use super::case::{Exit, Pair, Step};
use super::kernel::{self, Dumps};
use super::meaning;
use super::normal::Normaliser;
use super::renaming::Renaming;
use crate::etcd::{Changes, Snapshot};
use crate::process::{Ending, Output};
use model::net::Cidr;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};

/// What a step is judged by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Part {
    /// How the program ended.
    Exit,
    /// Standard output.
    Stdout,
    /// Standard error.
    Stderr,
    /// Keys changed and removed.
    Etcd,
    /// New files.
    Wrote,
    /// State of the namespaces.
    Kernel,
    /// All IPAM keys.
    IpamKeys,
}

/// A part that came out differently, both sides in their normal form.
#[derive(Debug, Clone)]
pub struct Finding {
    /// Which part.
    pub part: Part,
    /// What was recorded.
    pub recorded: String,
    /// What came out.
    pub ours: String,
}

/// What a step of ours did.
#[derive(Debug, Default)]
pub struct Outcome {
    /// The program's output, if one ran.
    pub output: Option<Output>,
    /// What it changed in the store.
    pub changes: Changes,
    /// The store afterwards.
    pub after: Snapshot,
    /// Files it wrote.
    pub wrote: BTreeMap<String, String>,
    /// The dumps that were recorded.
    pub kernel: Dumps,
}

/// Where etcd holds blocks.
const BLOCKS: &str = "/calico/ipam/v2/assignment/";

/// Where etcd holds everything of IPAM.
const IPAM: &str = "/calico/ipam/";

/// What both sides have shown so far in a case.
#[derive(Debug, Default, Clone)]
pub struct Comparison {
    recorded: Normaliser,
    ours: Normaliser,
    renaming: Renaming,
    everywhere: BTreeSet<&'static str>,
}

impl Comparison {
    /// Starts a case with a renaming of blocks that is known already (from an earlier attempt).
    pub fn new(renaming: Renaming) -> Self {
        Self { renaming, ..Self::default() }
    }

    /// The renaming of blocks as it is now.
    pub fn renaming(&self) -> &Renaming {
        &self.renaming
    }

    /// Reasons of the differences that every dump may have and some had.
    pub fn everywhere(&self) -> &BTreeSet<&'static str> {
        &self.everywhere
    }

    /// The step with its inputs as they must be for our side.
    pub fn carry_over(&mut self, step: &Step) -> Step {
        let mut step = step.clone();
        let inputs = (step.run.iter_mut().skip(1))
            .chain(step.env.values_mut())
            .chain(step.files.values_mut())
            .chain(step.stdin.iter_mut())
            .chain(step.del.iter_mut())
            .chain(step.put.iter_mut().flat_map(|pair| [&mut pair.key, &mut pair.value]));
        for text in inputs {
            *text = self.input(text);
        }
        step
    }

    /// One input as it must be for our side.
    pub fn input(&mut self, text: &str) -> String {
        self.recorded.keep_literal(text);
        let carried = self.renaming.apply(&self.recorded.carry_over(text, &self.ours));
        self.ours.keep_literal(&carried);
        carried
    }

    /// Notes blocks that were planted, as recorded and as carried over: they are counterparts, and their numbers start afresh.
    pub fn planted(&mut self, recorded: &[Pair], ours: &[Pair]) {
        for (theirs, ours) in recorded.iter().zip(ours) {
            if let (Some(from), Some(to)) = (block_of(&theirs.key), block_of(&ours.key)) {
                self.renaming.learn(from, to);
                for (side, pair) in [(&mut self.recorded, theirs), (&mut self.ours, ours)] {
                    side.forget_block(&ours.key);
                    side.value(&ours.key, &pair.value);
                }
            }
        }
    }

    /// Notes what a program wrote that is not replayed: a later step may be given it.
    pub fn not_replayed(&mut self, step: &Step) {
        for text in step.wrote.values() {
            self.recorded.text(text);
        }
    }

    /// Every part of the step that differs.
    pub fn step(&mut self, step: &Step, outcome: &Outcome) -> Vec<Finding> {
        let empty = Vec::new();
        let (put, del) = step.etcd.as_ref().map_or((&empty, &[][..]), |change| (&change.put, &change.del));
        self.learn(put, &outcome.changes);
        let mut findings = Vec::new();
        let mut check = |part, recorded: String, ours: String| {
            if recorded != ours {
                findings.push(Finding { part, recorded, ours });
            }
        };
        if let (Some(recorded), Some(output)) = (&step.exit, &outcome.output) {
            check(Part::Exit, recorded.to_string(), output.ending.to_string());
        }
        let recorded: BTreeMap<String, String> = put
            .iter()
            .map(|pair| (self.renaming.apply(&pair.key), self.renaming.apply(&pair.value)))
            .collect();
        let mut gone: Vec<String> = del.iter().map(|key| self.renaming.apply(key)).collect();
        gone.sort();
        check(
            Part::Etcd,
            stored(&mut self.recorded, &recorded, &gone),
            stored(&mut self.ours, &outcome.changes.put, &outcome.changes.del),
        );
        if let Some(output) = &outcome.output {
            for (part, recorded, ours) in
                [(Part::Stdout, &step.stdout, &output.stdout), (Part::Stderr, &step.stderr, &output.stderr)]
            {
                if let Some(recorded) = recorded {
                    let (recorded, ours) = self.texts(recorded, ours);
                    check(part, recorded, ours);
                }
            }
        }
        let wrote = |side: &mut Normaliser, files: &BTreeMap<String, String>| {
            files.iter().map(|(name, text)| format!("{name}:\n{}\n", side.text(text))).collect::<String>()
        };
        let renamed =
            step.wrote.iter().map(|(name, text)| (name.clone(), self.renaming.apply(text))).collect();
        check(Part::Wrote, wrote(&mut self.recorded, &renamed), wrote(&mut self.ours, &outcome.wrote));
        if let Some(recorded) = &step.kernel {
            let renaming = &self.renaming;
            let recorded = kernel::normal_form(recorded, &mut self.recorded, |text| renaming.apply(text));
            let mut dumps = outcome.kernel.clone();
            self.everywhere.extend(kernel::strip_intended(&mut dumps));
            let ours = kernel::normal_form(&dumps, &mut self.ours, str::to_owned);
            check(Part::Kernel, recorded, ours);
        }
        if let Some(recorded) = &step.ipam_keys {
            let recorded = recorded
                .iter()
                .map(|pair| (self.renaming.apply(&pair.key), self.renaming.apply(&pair.value)))
                .collect();
            let ours = outcome.after.iter().filter(|(key, _)| key.starts_with(IPAM));
            let ours = ours.map(|(key, stored)| (key.clone(), stored.value.clone())).collect();
            check(
                Part::IpamKeys,
                stored(&mut self.recorded, &recorded, &[]),
                stored(&mut self.ours, &ours, &[]),
            );
        }
        for key in del {
            let ours = self.renaming.apply(key);
            self.recorded.forget_block(&ours);
            if let Some(block) = block_of(key) {
                self.renaming.forget(block);
            }
        }
        for key in &outcome.changes.del {
            self.ours.forget_block(key);
        }
        findings
    }

    /// Pairs the blocks that appeared on either side, by owner and pool-independent order.
    fn learn(&mut self, recorded: &[Pair], ours: &Changes) {
        let new_here: Vec<(Cidr, String)> = recorded
            .iter()
            .filter_map(|pair| Some((block_of(&pair.key)?, owner(&pair.value))))
            .filter(|(block, _)| !self.renaming.knows(*block))
            .collect();
        let mut new_there: Vec<(Cidr, String)> = ours
            .put
            .iter()
            .filter_map(|(key, value)| Some((block_of(key)?, owner(value))))
            .filter(|(block, _)| !self.renaming.taken(*block))
            .collect();
        for (block, owner) in new_here {
            let alike = |other: &(Cidr, String)| {
                other.1 == owner && other.0.prefix() == block.prefix() && other.0.family() == block.family()
            };
            let same = new_there.iter().position(|other| other.0 == block);
            if let Some(place) = same.or_else(|| new_there.iter().position(alike)) {
                let (counterpart, _) = new_there.remove(place);
                self.renaming.learn(block, counterpart);
            }
        }
    }

    fn texts(&mut self, recorded: &str, ours: &str) -> (String, String) {
        let recorded = self.recorded.text(&self.renaming.apply(recorded));
        let ours = self.ours.text(ours);
        let (recorded, ours) = meaning::reconcile(&recorded, &ours);
        if recorded == ours || self.renaming.is_identity() {
            return (recorded, ours);
        }
        // Renamed blocks are wider or narrower and sort elsewhere.
        (unordered(&recorded), unordered(&ours))
    }
}

/// The lines of a table without its padding and its order.
fn unordered(text: &str) -> String {
    let mut lines: Vec<String> = text
        .lines()
        .map(|line| {
            let squeezed = line.split_whitespace().collect::<Vec<_>>().join(" ");
            if squeezed.starts_with("+-") { "+-".to_owned() } else { squeezed }
        })
        .collect();
    lines.sort();
    lines.join("\n")
}

fn owner(value: &str) -> String {
    let parsed: Value = serde_json::from_str(value).unwrap_or_default();
    parsed["affinity"].as_str().unwrap_or_default().to_owned()
}

/// The block whose allocations a key holds.
pub(super) fn block_of(key: &str) -> Option<Cidr> {
    let (_, name) = key.strip_prefix(BLOCKS)?.split_once("/block/")?;
    let (address, length) = name.rsplit_once('-')?;
    Cidr::parse_masked(&format!("{address}/{length}")).ok()
}

/// Changed keys with their values and removed keys, one form for equal meaning.
fn stored(side: &mut Normaliser, put: &BTreeMap<String, String>, del: &[String]) -> String {
    let mut text = String::new();
    for (key, value) in put {
        let value = side.value(key, value);
        let pretty = serde_json::to_string_pretty(&sorted(value)).unwrap_or_default();
        text.push_str(&format!("put {}\n{pretty}\n", side.text(key)));
    }
    for key in del {
        text.push_str(&format!("del {}\n", side.text(key)));
    }
    text
}

/// The value with the fields of every object in order of their names.
pub fn sorted(value: Value) -> Value {
    match value {
        Value::Object(fields) => {
            let ordered: BTreeMap<String, Value> =
                fields.into_iter().map(|(name, value)| (name, sorted(value))).collect();
            Value::Object(ordered.into_iter().collect())
        }
        Value::Array(items) => items.into_iter().map(sorted).collect(),
        other => other,
    }
}

impl PartialEq<Ending> for Exit {
    fn eq(&self, ending: &Ending) -> bool {
        self.to_string() == ending.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn recorded(stdout: &str, put: &[(&str, &str)]) -> Step {
        let put: Vec<_> =
            put.iter().map(|(key, value)| serde_json::json!({"key": key, "value": value})).collect();
        serde_json::from_value(
            serde_json::json!({"run": ["calico"], "exit": 0, "stdout": stdout, "etcd": {"put": put}}),
        )
        .unwrap()
    }

    fn ours(stdout: &str, put: &[(&str, &str)]) -> Outcome {
        let output = Output {
            ending: Ending::Exit(0),
            stdout: stdout.to_owned(),
            stderr: String::new(),
            took: Duration::ZERO,
        };
        let put = put.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
        Outcome { output: Some(output), changes: Changes { put, del: Vec::new() }, ..Outcome::default() }
    }

    const BLOCK: &str = r#"{"affinity":"host:a","cidr":"CIDR","sequenceNumber":10}"#;

    fn block(at: &str) -> (String, String) {
        let key = format!("/calico/ipam/v2/assignment/ipv4/block/{}", at.replace('/', "-"));
        (key, BLOCK.replace("CIDR", at))
    }

    #[test]
    fn another_free_block_is_no_difference_but_another_address_in_it_is() {
        let (their_key, their_value) = block("10.0.0.8/30");
        let (our_key, our_value) = block("10.0.0.0/30");
        let step = recorded("address 10.0.0.9\n", &[(&their_key, &their_value)]);
        let mut comparison = Comparison::default();
        let found = comparison.step(&step, &ours("address 10.0.0.1\n", &[(&our_key, &our_value)]));
        assert!(found.is_empty(), "{found:?}");
        let found = comparison.step(&recorded("10.0.0.10", &[]), &ours("10.0.0.1", &[]));
        assert_eq!(found.len(), 1);
        assert_eq!(comparison.input("--ip=10.0.0.10"), "--ip=10.0.0.2");
    }

    #[test]
    fn a_missing_key_a_wrong_value_and_a_wrong_exit_are_found() {
        let step = recorded("", &[("/a", r#"{"x":1,"y":2}"#)]);
        let same = ours("", &[("/a", r#"{"y":2,"x":1}"#)]);
        assert!(Comparison::default().step(&step, &same).is_empty());
        let parts = |outcome: &Outcome| {
            Comparison::default().step(&step, outcome).iter().map(|found| found.part).collect::<Vec<_>>()
        };
        assert_eq!(parts(&ours("", &[])), [Part::Etcd]);
        assert_eq!(parts(&ours("", &[("/a", r#"{"x":1,"y":"2"}"#)])), [Part::Etcd]);
        let mut failed = ours("", &[("/a", r#"{"x":1,"y":2}"#)]);
        failed.output.as_mut().unwrap().ending = Ending::Exit(1);
        assert_eq!(parts(&failed), [Part::Exit]);
    }
}
