//! What an index can look up: labels without which a selector cannot match.

use crate::lexer::Comparison;
use crate::tree::{Node, Term, Tree};

/// A label, with a value or with any.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Need {
    /// The label.
    pub label: Box<str>,
    /// Its value; any when `None`.
    pub value: Option<Box<str>>,
}

/// Labels of which every match has at least one; `None` where something without labels may match.
pub(crate) fn of(tree: &Tree) -> Option<Vec<Need>> {
    // children stand before their parents, so one pass from the front is enough
    let mut needs: Vec<Option<Vec<Need>>> = Vec::new();
    for node in tree.nodes() {
        let child = |id: &usize| needs.get(*id).cloned().flatten();
        let need = match node {
            Node::Term(term) => of_term(term),
            // what does not match may lack every label
            Node::Not(_) => None,
            Node::And(children) => children.iter().filter_map(child).min_by_key(|needs| cost(needs)),
            Node::Or(children) => children
                .iter()
                .map(child)
                .collect::<Option<Vec<_>>>()
                .map(|all| all.into_iter().flatten().collect()),
        };
        needs.push(need);
    }
    let mut found = needs.pop().flatten()?;
    found.sort();
    found.dedup();
    Some(found)
}

/// A value picks fewer than a label alone.
fn cost(needs: &[Need]) -> (bool, usize) {
    (needs.iter().any(|need| need.value.is_none()), needs.len())
}

fn of_term(term: &Term) -> Option<Vec<Need>> {
    match term {
        Term::All | Term::Global | Term::NotIn { .. } => None,
        Term::Compare { comparison: Comparison::NotEquals, .. } => None,
        Term::Compare { label, comparison: Comparison::Equals, value } => {
            Some(vec![Need { label: label.clone(), value: Some(value.clone()) }])
        }
        Term::Has { label } | Term::Compare { label, .. } => {
            Some(vec![Need { label: label.clone(), value: None }])
        }
        Term::In { label, values } => Some(
            values.iter().map(|value| Need { label: label.clone(), value: Some(value.clone()) }).collect(),
        ),
    }
}

#[cfg(test)]
mod tests {
    use crate::Selector;

    fn needs(text: &str) -> Option<Vec<String>> {
        let needs = Selector::parse(text).unwrap().needs()?;
        let one = |need: super::Need| match need.value {
            Some(value) => format!("{}={value}", need.label),
            None => need.label.to_string(),
        };
        Some(needs.into_iter().map(one).collect())
    }

    #[test]
    fn the_needs_of_each_form() {
        for (text, expected) in [
            ("a == '1'", Some(vec!["a=1"])),
            ("a in {'1', '2'}", Some(vec!["a=1", "a=2"])),
            ("has(a)", Some(vec!["a"])),
            ("a contains 'x'", Some(vec!["a"])),
            ("a != '1'", None),
            ("a not in {'1'}", None),
            ("!has(a)", None),
            ("!(a != '1')", None),
            ("all()", None),
            ("", None),
            ("has(a) && b == '1'", Some(vec!["b=1"])),
            ("a in {'1', '2'} && b == '1' && c != '4'", Some(vec!["b=1"])),
            ("all() && has(a)", Some(vec!["a"])),
            ("a == '1' || b == '2'", Some(vec!["a=1", "b=2"])),
            ("a == '1' || a == '1'", Some(vec!["a=1"])),
            ("a == '1' || b != '2'", None),
            ("(a == '1' || has(b)) && c in {'1', '2', '3'}", Some(vec!["c=1", "c=2", "c=3"])),
        ] {
            let expected: Option<Vec<String>> =
                expected.map(|all| all.into_iter().map(String::from).collect());
            assert_eq!(needs(text), expected, "{text}");
        }
    }
}
