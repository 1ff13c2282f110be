//! The order of keys: numbers inside names count by value, and what is no letter comes before letters.

use std::cmp::Ordering;

/// Compares two keys as Go's YAML writers do: `a2` before `a10`, `a-b` before `ab`.
pub fn natural(a: &str, b: &str) -> Ordering {
    let a: Vec<char> = a.chars().collect();
    let b: Vec<char> = b.chars().collect();
    let Some(at) = a.iter().zip(&b).position(|(x, y)| x != y) else { return a.len().cmp(&b.len()) };
    let (common, rest_a) = a.split_at(at);
    let rest_b = b.get(at..).unwrap_or_default();
    let (Some(x), Some(y)) = (rest_a.first(), rest_b.first()) else { return Ordering::Equal };
    match (x.is_alphabetic(), y.is_alphabetic()) {
        (true, true) => return x.cmp(y),
        (true, false) => return Ordering::Greater,
        (false, true) => return Ordering::Less,
        (false, false) => {}
    }
    // A zero inside a number weighs as much as its digits before say: 10 and 1a differ, 0 and 00 in front do not.
    let inside_number = common.iter().rev().take_while(|c| c.is_ascii_digit()).any(|c| *c != '0');
    let start = u64::from((*x == '0' || *y == '0') && inside_number);
    let number = |rest: &[char]| {
        let digits: Vec<u32> = rest.iter().map_while(|c| c.to_digit(10)).collect();
        let value = digits.iter().fold(start, |n, d| n.wrapping_mul(10).wrapping_add(u64::from(*d)));
        (value, digits.len())
    };
    number(rest_a).cmp(&number(rest_b)).then(x.cmp(y))
}
