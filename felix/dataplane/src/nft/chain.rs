//! A chain, wanted and there, and the fewest changes between the two: rules that stay keep handle and counters.

use felix_render::nft::ruleset::{Chain, Rule};
use netfilter::nft::{Change, Place, TableRef};
use std::collections::HashMap;
use std::collections::VecDeque;
use std::sync::Arc;

/// A chain as it is in the kernel. What is in the kernel and wanted is one value.
#[derive(Debug, Clone)]
pub struct Actual {
    /// Its rules, counters apart.
    pub chain: Arc<Chain>,
    /// The handles of its rules.
    pub handles: Vec<u64>,
}

/// Where the handle of a rule comes from once a batch was carried out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Handle {
    /// The rule was there.
    Known(u64),
    /// The change of this place in the batch added it.
    New(usize),
}

/// The changes from one list of rules to another.
#[derive(Debug, Default)]
pub struct Difference {
    /// In order.
    pub changes: Vec<Change>,
    /// The rules' handles afterwards; places count from the first of `changes`.
    pub handles: Vec<Handle>,
}

/// Makes `before` (with its handles) to `wanted`.
pub fn difference(table: &TableRef, name: &str, before: &Actual, wanted: &Chain) -> Difference {
    let mut result = Difference::default();
    let stays = staying(&before.chain.rules, &wanted.rules);
    let mut kept = vec![false; before.handles.len()];
    for place in stays.iter().flatten() {
        if let Some(kept) = kept.get_mut(*place) {
            *kept = true;
        }
    }
    for (handle, _) in before.handles.iter().zip(&kept).filter(|(_, kept)| !**kept) {
        let (table, chain) = (table.clone(), name.to_owned());
        result.changes.push(Change::DeleteRule { table, chain, handle: Some(*handle) });
    }
    // each new rule goes before the next one that stays
    let mut next = None;
    let mut places = Vec::with_capacity(stays.len());
    for stay in stays.iter().rev() {
        if let Some(handle) = stay.and_then(|place| before.handles.get(place)) {
            next = Some(*handle);
        }
        places.push(next);
    }
    for ((rule, stay), next) in wanted.rules.iter().zip(&stays).zip(places.into_iter().rev()) {
        if let Some(handle) = stay.and_then(|place| before.handles.get(place)) {
            result.handles.push(Handle::Known(*handle));
            continue;
        }
        result.handles.push(Handle::New(result.changes.len()));
        let rule = rule.in_kernel(table.clone(), name);
        result.changes.push(Change::AddRule(rule, next.map_or(Place::Last, Place::Before)));
    }
    result
}

/// For each rule wanted the place it has now, where it stays; places ascend.
fn staying(before: &[Rule], wanted: &[Rule]) -> Vec<Option<usize>> {
    let alike = |(a, b): &(&Rule, &Rule)| a == b;
    let head = before.iter().zip(wanted).take_while(alike).count();
    let (before_tail, wanted_tail) =
        (before.get(head..).unwrap_or_default(), wanted.get(head..).unwrap_or_default());
    let tail = before_tail.iter().rev().zip(wanted_tail.iter().rev()).take_while(alike).count();
    let middle = wanted_tail.len() - tail;
    let mut places: HashMap<&Rule, VecDeque<usize>> = HashMap::new();
    let before_middle = before_tail.len() - tail;
    for (place, rule) in before_tail.iter().take(before_middle).enumerate() {
        places.entry(rule).or_default().push_back(head + place);
    }
    let found: Vec<Option<usize>> = wanted_tail
        .iter()
        .take(middle)
        .map(|rule| places.get_mut(rule).and_then(VecDeque::pop_front))
        .collect();
    let mut result: Vec<Option<usize>> = (0..head).map(Some).collect();
    result.extend(longest_ascending(&found));
    result.extend((before.len() - tail..before.len()).map(Some));
    result
}

/// The longest ascending selection of these numbers: those not selected become `None`.
fn longest_ascending(numbers: &[Option<usize>]) -> Vec<Option<usize>> {
    // for each length the selection with the smallest end: its end's place and number
    let mut ends: Vec<(usize, usize)> = Vec::new();
    let mut previous: Vec<Option<usize>> = vec![None; numbers.len()];
    for (place, number) in numbers.iter().enumerate() {
        let Some(number) = *number else { continue };
        let length = ends.partition_point(|(_, end)| *end < number);
        let before = length.checked_sub(1).and_then(|at| ends.get(at)).map(|(place, _)| *place);
        if let Some(slot) = previous.get_mut(place) {
            *slot = before;
        }
        match ends.get_mut(length) {
            Some(end) => *end = (place, number),
            None => ends.push((place, number)),
        }
    }
    let mut selected = vec![None; numbers.len()];
    let mut at = ends.last().map(|(place, _)| *place);
    while let Some(place) = at {
        if let (Some(slot), Some(number)) = (selected.get_mut(place), numbers.get(place)) {
            *slot = *number;
        }
        at = previous.get(place).copied().flatten();
    }
    selected
}

#[cfg(test)]
mod tests;
