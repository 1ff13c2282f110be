//! Where our chains differ from the recorded ones, and why. `felix/DESIGN.md` lists the same.

/// A chain whose hashes are not the recorded ones.
pub struct Difference {
    pub scenario: &'static str,
    /// `iptables.txt` or `ip6tables.txt`, with `before-` where it is the first of two.
    pub file: &'static str,
    /// Table and chain.
    pub chain: (&'static str, &'static str),
    /// From this rule on, counted from 0.
    pub from: usize,
    /// Whether both have the same number of rules.
    pub same_length: bool,
    pub why: &'static str,
}

const NUMBER: &str = "a protocol written as a number is passed on by its name";
const ANNOTATIONS: &str =
    "several annotations: upstream's order varies from run to run, ours is that of their names";

const fn difference(
    scenario: &'static str,
    file: &'static str,
    chain: (&'static str, &'static str),
    from: usize,
    why: &'static str,
) -> Difference {
    Difference { scenario, file, chain, from, same_length: true, why }
}

pub const DIFFERENCES: &[Difference] = &[
    difference("icmp", "ip6tables.txt", ("filter", "cali-pi-gnp/icmp"), 10, NUMBER),
    difference("logging", "iptables.txt", ("filter", "cali-pi-gnp/logger"), 0, ANNOTATIONS),
    difference("logging", "ip6tables.txt", ("filter", "cali-pi-gnp/logger"), 0, ANNOTATIONS),
];
