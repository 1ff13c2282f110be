//! The comparison judged by the corpus itself: a recording equals itself, also when everything that may differ does; and what
//! may not differ is found.

use super::case::{Case, Dump, Exit, Step, corpus_dir, load};
use super::compare::{Comparison, Finding, Outcome, block_of};
use super::normal::{Class, replace_tokens};
use super::renaming::Renaming;
use crate::etcd::{Changes, Stored};
use crate::process::{Ending, Output};
use model::net::Cidr;
use std::collections::BTreeMap;
use std::time::Duration;

/// What the programs of the recording did in a step, every text changed by `change`.
fn outcome(step: &Step, change: &dyn Fn(&str) -> String) -> Outcome {
    let text = |text: &Option<String>| change(text.as_deref().unwrap_or_default());
    let pairs = |list: &[super::case::Pair]| -> BTreeMap<String, String> {
        list.iter().map(|pair| (change(&pair.key), change(&pair.value))).collect()
    };
    let ending = match &step.exit {
        Some(Exit::Code(code)) => Ending::Exit(*code),
        _ => Ending::Timeout,
    };
    let stored = |value: String| Stored { value, revision: 1, lease: false };
    let etcd = step.etcd.clone().unwrap_or_default();
    let dump = |dump: &Dump| match dump {
        Dump::Lines(lines) => Dump::Lines(change(lines)),
        sysctls => sysctls.clone(),
    };
    let dumps =
        |named: &BTreeMap<String, Dump>| named.iter().map(|(name, one)| (name.clone(), dump(one))).collect();
    Outcome {
        output: Some(Output {
            ending,
            stdout: text(&step.stdout),
            stderr: text(&step.stderr),
            took: Duration::ZERO,
        }),
        changes: Changes { put: pairs(&etcd.put), del: etcd.del.iter().map(|key| change(key)).collect() },
        after: pairs(step.ipam_keys.as_deref().unwrap_or_default())
            .into_iter()
            .map(|(key, value)| (key, stored(value)))
            .collect(),
        wrote: step.wrote.iter().map(|(name, content)| (name.clone(), change(content))).collect(),
        kernel: (step.kernel.iter().flatten()).map(|(place, named)| (place.clone(), dumps(named))).collect(),
    }
}

/// Differences of a case from itself, its texts changed by `change`.
fn differences(case: &Case, change: &dyn Fn(&str) -> String) -> Vec<(usize, Finding)> {
    let mut comparison = Comparison::default();
    let mut found = Vec::new();
    for (number, step) in (1..).zip(&case.steps) {
        let ours = comparison.carry_over(step);
        comparison.planted(&step.put, &ours.put);
        let findings = comparison.step(step, &outcome(step, change));
        found.extend(findings.into_iter().map(|finding| (number, finding)));
    }
    found
}

#[test]
fn every_recording_equals_itself() {
    for located in load(&corpus_dir()).unwrap() {
        let found = differences(&located.case, &str::to_owned);
        assert!(found.is_empty(), "{}: {:?}", located.path, found.first());
    }
}

/// Another identifier for each, the same one each time; what the case wrote itself stays.
fn exchanged(text: &str, written: &str) -> String {
    replace_tokens(text, |token, class| match class {
        // a planted block goes on from the number it was planted with
        Class::Sequence if written.contains("sequenceNumber") => token.to_owned(),
        Class::Sequence => {
            token.parse::<i64>().map_or(token.to_owned(), |number| (number + 5_000_000).to_string())
        }
        _ if written.contains(token) || token == "ee:ee:ee:ee:ee:ee" => token.to_owned(),
        Class::Time => token.replace("2026-11", "2027-12"),
        _ => token
            .chars()
            .map(|c| c.to_digit(16).map_or(c, |d| char::from_digit(15 - d, 16).unwrap()))
            .collect(),
    })
}

#[test]
fn other_identifiers_times_and_numbers_are_no_difference() {
    for located in load(&corpus_dir()).unwrap() {
        let steps = located.case.steps.iter();
        let planted: Vec<&str> = steps
            .flat_map(|step| step.put.iter().map(|pair| &pair.value).chain(&step.stdin))
            .map(String::as_str)
            .collect();
        let written = planted.join("\n");
        let found = differences(&located.case, &|text| exchanged(text, &written));
        assert!(found.is_empty(), "{}: {:?}", located.path, found.first());
    }
}

/// The blocks that a case claims by itself, each exchanged for one beside it.
fn moved(case: &Case) -> Renaming {
    let mut renaming = Renaming::default();
    let keys = case.steps.iter().flat_map(|step| step.etcd.iter().flat_map(|change| &change.put));
    let blocks: Vec<Cidr> = keys.filter_map(|pair| block_of(&pair.key)).collect();
    let inputs: String = case.steps.iter().filter_map(|step| step.stdin.clone()).collect();
    for (place, block) in blocks.iter().enumerate() {
        let named = inputs.contains(&block.to_string());
        if !named && !blocks[..place].contains(block) {
            let other = blocks[place..]
                .iter()
                .find(|one| *one != block && one.prefix() == block.prefix() && !renaming.taken(**one));
            renaming.learn(*block, *other.unwrap_or(block));
        }
    }
    renaming
}

#[test]
fn other_blocks_are_no_difference_where_no_input_names_them() {
    let mut tried = 0;
    for path in ["three-nodes", "borrow", "dual-stack", "max-blocks"] {
        let case =
            load(&corpus_dir()).unwrap().into_iter().find(|located| located.path == format!("ipam/{path}"));
        let case = case.unwrap().case;
        let renaming = moved(&case);
        tried += usize::from(!renaming.is_identity());
        let found = differences(&case, &|text| renaming.apply(text));
        assert!(found.is_empty(), "{path}: {:?}", found.first());
    }
    assert!(tried > 1, "only {tried} cases had blocks to exchange");
}

#[test]
fn any_other_change_of_an_output_is_found() {
    for located in load(&corpus_dir()).unwrap() {
        let told = located
            .case
            .steps
            .iter()
            .any(|step| step.stdout.as_deref().is_some_and(|text| text.contains('a')));
        let found = differences(&located.case, &|text| text.replacen('a', "b", 1));
        assert!(!told || !found.is_empty(), "{}: nothing found", located.path);
    }
}
