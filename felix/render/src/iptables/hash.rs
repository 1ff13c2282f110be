//! Hashes: what tells a rule of ours from others' and a rule as it should be from one that is not (`felix.md` §4.1 of the
//! contract), and what groups of policies are called by (§4).

use super::line::Line;
use super::ruleset::Rule;
use crate::form::Direction;
use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use felix_calc::policy::PolicyKey;
use sha2::{Digest as _, Sha224};
use sha3::Sha3_224;
use std::sync::Arc;

/// Characters of a rule's hash.
pub const RULE: usize = 16;
/// Characters of a group's, so that `cali-gi-` and it fill the name of a chain.
const GROUP: usize = 20;

/// The rules of a chain with their hashes. Each hash stands for its rule and all before it.
pub fn rules(chain: &str, lines: &[Line]) -> Arc<[Rule]> {
    let mut last = Sha224::digest(chain);
    let one = |line: &Line| {
        let text = line.text();
        let mut hash = Sha224::new_with_prefix(last);
        for part in ["-A ", chain, " HASH ", &text] {
            hash.update(part);
        }
        last = hash.finalize();
        Rule { hash: short(&last, RULE).into(), text: text.into() }
    };
    lines.iter().map(one).collect()
}

/// Those that go behind the rules of others in a chain of the kernel.
pub fn appended(chain: &str, lines: &[Line]) -> Arc<[Rule]> {
    rules(&format!("{chain}*appends*"), lines)
}

/// What a group of policies is called by: their selector in canonical form, and which they are.
pub fn group<'a>(
    selector: &str,
    direction: Direction,
    policies: impl ExactSizeIterator<Item = &'a PolicyKey>,
) -> String {
    let direction = match direction {
        Direction::Ingress => "inbound",
        Direction::Egress => "outbound",
    };
    let mut hash = Sha3_224::new();
    let mut item = |text: &str| {
        hash.update(text);
        hash.update("\n");
    };
    item(selector);
    item(direction);
    item(&policies.len().to_string());
    for PolicyKey { kind, namespace, name } in policies {
        item(&format!("{{Name: {name}, Namespace: {namespace}, Kind: {}}}", kind.name()));
    }
    short(&hash.finalize(), GROUP)
}

/// The first characters of a hash.
pub fn short(hash: &[u8], characters: usize) -> String {
    let mut text = BASE64_URL_SAFE_NO_PAD.encode(hash);
    text.truncate(characters);
    text
}

#[cfg(test)]
mod tests {
    use super::super::line::{Action, Matches};
    use super::*;

    /// Of the recording `empty-node`.
    #[test]
    fn hashes_are_the_recorded_ones() {
        let hashes = |rules: Arc<[Rule]>| rules.iter().map(|rule| rule.hash.to_string()).collect::<Vec<_>>();
        let output =
            [Line::always(Action::clear(0x1b0000)), Line::always(Action::jump("cali-to-host-endpoint"))];
        assert_eq!(hashes(rules("cali-OUTPUT", &output)), ["clI8WObfCl4yhr60", "ZbkN6P8OdRcBRPpU"]);
        let accepted = Line::new(Matches::any().marked(0x10000), Action::ACCEPT);
        let accepted = accepted.about("Policy explicitly accepted packet.");
        let forward = [accepted, Line::always(Action::mark(0x10000))];
        assert_eq!(hashes(appended("FORWARD", &forward)), ["S93hcgKJrXEqnTfs", "mp77cMpurHhyjLrM"]);
    }
}
