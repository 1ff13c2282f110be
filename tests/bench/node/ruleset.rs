//! All of nf_tables in a namespace, as the changes that make it.

use anyhow::Result;
use kernel::Nftables;
use netfilter::nft::{Change, Element, Expression, Object, Place, Query, Rule, TableRef};

/// What makes a ruleset, in the order in which one transaction takes it: tables, chains, sets, elements, rules; each element by
/// itself, without what was counted.
#[derive(Debug, Clone, PartialEq)]
pub struct Ruleset(Vec<Change>);

impl Ruleset {
    /// What is there.
    ///
    /// # Errors
    /// The kernel's.
    pub fn read(nft: &mut Nftables) -> Result<Self> {
        let (mut tables, mut chains, mut sets, mut elements, mut rules) =
            (Vec::new(), Vec::new(), Vec::new(), Vec::new(), Vec::new());
        for object in nft.read(&Query::Tables(None))? {
            let Object::Table(table) = object else { continue };
            let of = table.table.clone();
            tables.push(Change::AddTable(table));
            for object in nft.read(&Query::Chains(of.family))? {
                if let Object::Chain(mut chain) = object
                    && chain.table == of
                {
                    chain.handle = None;
                    chains.push(Change::AddChain(chain));
                }
            }
            for object in nft.read(&Query::Sets(of.clone()))? {
                let Object::Set(mut set) = object else { continue };
                set.handle = None;
                elements.extend(elements_of(nft, &of, &set.name)?);
                sets.push(Change::AddSet(set));
            }
            for object in nft.read(&Query::Rules(of.clone()))? {
                let Object::Rule(rule) = object else { continue };
                let expressions = rule.expressions.into_iter().map(Expression::without_counts).collect();
                rules.push(Change::AddRule(Rule { handle: None, expressions, ..rule }, Place::Last));
            }
        }
        Ok(Self([tables, chains, sets, elements, rules].into_iter().flatten().collect()))
    }

    /// One transaction for all of it.
    pub fn all(&self) -> Vec<Change> {
        together(self.0.iter().cloned())
    }

    /// One transaction for what it has more than another.
    pub fn beyond(&self, other: &Self) -> Vec<Change> {
        together(self.0.iter().filter(|change| !other.0.contains(change)).cloned())
    }
}

/// One transaction that takes back what these changes made.
pub fn undo(changes: &[Change]) -> Vec<Change> {
    let one = |change: &Change| match change.clone() {
        Change::AddElements { table, set, elements } => Some(Change::DeleteElements { table, set, elements }),
        Change::AddChain(chain) => Some(Change::DeleteChain { table: chain.table, name: chain.name }),
        Change::AddSet(set) => Some(Change::DeleteSet { table: set.table, name: set.name }),
        Change::AddTable(table) => Some(Change::DeleteTable(table.table)),
        Change::AddRule(rule, _) => {
            Some(Change::DeleteRule { table: rule.table, chain: rule.chain, handle: None })
        }
        _ => None,
    };
    let mut changes: Vec<Change> = changes.iter().rev().filter_map(one).collect();
    // all rules of a chain go at once
    changes.dedup();
    changes
}

fn elements_of(nft: &mut Nftables, table: &TableRef, set: &str) -> Result<Vec<Change>> {
    let found = nft.read(&Query::Elements { table: table.clone(), set: set.to_owned() })?;
    let elements = found.into_iter().flat_map(|object| match object {
        Object::Elements { elements, .. } => elements,
        _ => Vec::new(),
    });
    let change = |element: Element| Change::AddElements {
        table: table.clone(),
        set: set.to_owned(),
        elements: vec![Element { counter: element.counter.map(|_| (0, 0)), ..element }],
    };
    let mut changes: Vec<Change> = elements.map(change).collect();
    // the kernel lists those of a hash set in any order
    changes.sort_by_key(|change| format!("{change:?}"));
    Ok(changes)
}

/// Elements of one set in one message.
fn together(changes: impl Iterator<Item = Change>) -> Vec<Change> {
    let mut all: Vec<Change> = Vec::new();
    for change in changes {
        match (all.last_mut(), change) {
            (
                Some(Change::AddElements { table, set, elements }),
                Change::AddElements { table: of, set: to, elements: more },
            ) if *table == of && *set == to => elements.extend(more),
            (_, change) => all.push(change),
        }
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;
    use netfilter::nft::{Chain, Family};

    fn table() -> TableRef {
        TableRef { family: Family::Ipv4, name: "t".to_owned() }
    }

    fn element(set: &str, key: u8) -> Change {
        Change::AddElements { table: table(), set: set.to_owned(), elements: vec![Element::key([key])] }
    }

    fn chain(name: &str) -> Change {
        let chain = Chain { table: table(), name: name.to_owned(), handle: None, hook: None, comment: None };
        Change::AddChain(chain)
    }

    fn rule(chain: &str, comment: &str) -> Change {
        let rule = Rule {
            table: table(),
            chain: chain.to_owned(),
            handle: None,
            expressions: Vec::new(),
            comment: Some(comment.to_owned()),
        };
        Change::AddRule(rule, Place::Last)
    }

    #[test]
    fn a_difference_is_made_and_taken_back_in_one_transaction_each() {
        let before = Ruleset(vec![chain("a"), element("s", 1), element("u", 1)]);
        let new = [chain("b"), element("s", 2), element("s", 3), rule("b", "one"), rule("b", "two")];
        let mut after = before.clone();
        after.0.splice(1..1, new.clone());
        let changes = after.beyond(&before);
        assert_eq!(changes.len(), 4, "{changes:?}");
        let undone = undo(&changes);
        let kinds: Vec<&str> = undone
            .iter()
            .map(|change| match change {
                Change::DeleteRule { chain, handle: None, .. } if chain == "b" => "rules of b",
                Change::DeleteElements { set, elements, .. } if set == "s" && elements.len() == 2 => {
                    "elements of s"
                }
                Change::DeleteChain { name, .. } if name == "b" => "b",
                _ => "something else",
            })
            .collect();
        assert_eq!(kinds, ["rules of b", "elements of s", "b"]);
        assert!(before.beyond(&after).is_empty());
    }
}
