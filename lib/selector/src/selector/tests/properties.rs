//! A random expression, written out in a random way, means what a naive evaluator says.

use super::*;
use proptest::prelude::*;
use std::collections::BTreeMap;

/// The naive form: a tree evaluated by recursion.
#[derive(Debug, Clone)]
enum Naive {
    All,
    Global,
    Has(String),
    Compare(String, &'static str, String),
    Member(String, bool, Vec<String>),
    Not(Box<Naive>),
    And(Vec<Naive>),
    Or(Vec<Naive>),
}

impl Naive {
    fn eval(&self, labels: &BTreeMap<String, String>) -> bool {
        match self {
            Naive::All | Naive::Global => true,
            Naive::Has(label) => labels.contains_key(label),
            Naive::Compare(label, operator, value) => match (labels.get(label), *operator) {
                (None, operator) => operator == "!=",
                (Some(actual), "==") => actual == value,
                (Some(actual), "!=") => actual != value,
                (Some(actual), "contains") => actual.contains(value.as_str()),
                (Some(actual), "starts with") => actual.starts_with(value.as_str()),
                (Some(actual), _) => actual.ends_with(value.as_str()),
            },
            Naive::Member(label, wanted, values) => match labels.get(label) {
                None => !wanted,
                Some(actual) => values.contains(actual) == *wanted,
            },
            Naive::Not(inner) => !inner.eval(labels),
            Naive::And(all) => all.iter().all(|n| n.eval(labels)),
            Naive::Or(any) => any.iter().any(|n| n.eval(labels)),
        }
    }

    /// The expression as a person may write it, `tight` or with blanks wherever they may stand.
    fn write(&self, tight: bool) -> String {
        let gap = if tight { "" } else { " \t" };
        match self {
            Naive::All => format!("all({gap})"),
            Naive::Global => format!("global({gap})"),
            Naive::Has(label) => format!("has({gap}{label}{gap})"),
            Naive::Compare(label, operator, value) => {
                format!("{label} {operator}{gap}{}", quote(value, tight))
            }
            Naive::Member(label, wanted, values) => {
                let operator = match (wanted, tight) {
                    (true, _) => "in",
                    (false, true) => "notin",
                    (false, false) => "not in",
                };
                let values: Vec<String> = values.iter().map(|v| quote(v, tight)).collect();
                let comma = if tight || values.is_empty() { "" } else { " ," };
                format!("{label} {operator}{gap}{{{gap}{}{comma}{gap}}}", values.join(","))
            }
            Naive::Not(inner) => format!("!{gap}({})", inner.write(tight)),
            // precedence makes parentheses needless around a conjunction, and around what is no group
            Naive::And(all) => {
                let parts: Vec<String> = all
                    .iter()
                    .map(|n| match n {
                        Naive::Or(_) => format!("({})", n.write(tight)),
                        n => n.write(tight),
                    })
                    .collect();
                parts.join(&format!("{gap}&&{gap}"))
            }
            Naive::Or(any) => {
                let parts: Vec<String> = any.iter().map(|n| n.write(tight)).collect();
                parts.join(&format!("{gap}||{gap}"))
            }
        }
    }
}

fn quote(value: &str, tight: bool) -> String {
    match (value.contains('"'), value.contains('\''), tight) {
        (true, _, _) | (false, false, true) => format!("'{value}'"),
        _ => format!("\"{value}\""),
    }
}

fn label() -> impl Strategy<Value = String> {
    prop::sample::select(vec!["a", "b", "in", "not", "has", "k8s.io/x-y_z", "all", "contains"])
        .prop_map(str::to_owned)
}

/// Values with at most one kind of quote, since no string can hold both.
fn value() -> impl Strategy<Value = String> {
    prop_oneof![
        prop::sample::select(vec!["", "x", "xy", "y", "it's", "say \"x\"", "&&", "all()", "ü"])
            .prop_map(str::to_owned),
        "[a-c ]{0,3}",
    ]
}

fn expression() -> impl Strategy<Value = Naive> {
    let leaf = prop_oneof![
        Just(Naive::All),
        Just(Naive::Global),
        label().prop_map(Naive::Has),
        (label(), prop::sample::select(vec!["==", "!=", "contains", "starts with", "ends with"]), value())
            .prop_map(|(l, o, v)| Naive::Compare(l, o, v)),
        (label(), any::<bool>(), prop::collection::vec(value(), 0..4))
            .prop_map(|(l, w, v)| Naive::Member(l, w, v)),
    ];
    leaf.prop_recursive(5, 40, 4, |inner| {
        prop_oneof![
            inner.clone().prop_map(|n| Naive::Not(Box::new(n))),
            prop::collection::vec(inner.clone(), 1..4).prop_map(Naive::And),
            prop::collection::vec(inner, 1..4).prop_map(Naive::Or),
        ]
    })
}

fn labels() -> impl Strategy<Value = BTreeMap<String, String>> {
    prop::collection::btree_map(label(), value(), 0..6)
}

proptest! {
    #[test]
    fn means_what_the_naive_evaluator_says(expression in expression(), labels in labels(), tight: bool) {
        let text = expression.write(tight);
        let selector = Selector::parse(&text).map_err(|e| TestCaseError::fail(format!("{text}: {e}")))?;
        prop_assert_eq!(selector.matches(&labels), expression.eval(&labels), "{}", text);
        let canonical = selector.to_string();
        let again =
            Selector::parse(&canonical).map_err(|e| TestCaseError::fail(format!("{canonical}: {e}")))?;
        prop_assert_eq!(again.matches(&labels), expression.eval(&labels), "{}", canonical);
    }

    #[test]
    fn what_matches_has_one_of_the_needs(expression in expression(), labels in labels()) {
        let selector = parse(&expression.write(true));
        if let Some(needs) = selector.needs() && selector.matches(&labels) {
            let met = |need: &crate::Need| {
                let value = crate::Labels::get(&labels, &need.label);
                value.is_some_and(|value| need.value.as_deref().is_none_or(|wanted| wanted == value))
            };
            prop_assert!(needs.iter().any(met), "{}: {:?} with {:?}", selector, needs, labels);
        }
    }

    #[test]
    fn canonical_text_is_a_fixpoint(expression in expression(), tight: bool) {
        // negations that touch in the text are folded by reading it once more, as upstream does
        let folded = parse(&parse(&expression.write(tight)).to_string());
        let canonical = folded.to_string();
        let again = parse(&canonical);
        prop_assert_eq!(again.to_string(), canonical);
        prop_assert_eq!(again.unique_id(), folded.unique_id());
    }

    #[test]
    fn blanks_and_quotes_do_not_matter(expression in expression()) {
        prop_assert_eq!(parse(&expression.write(false)), parse(&expression.write(true)));
    }

    #[test]
    fn prefixing_moves_the_labels(expression in expression(), labels in labels()) {
        let selector = parse(&expression.write(false)).with_label_prefix("p.");
        let moved: BTreeMap<String, String> =
            labels.iter().map(|(k, v)| (format!("p.{k}"), v.clone())).collect();
        prop_assert_eq!(selector.matches(&moved), expression.eval(&labels));
        prop_assert!(selector.labels().all(|l| l.starts_with("p.")));
    }

    #[test]
    fn arbitrary_text_never_panics(text in "[ab!&|(){}'\", =inothas.]{0,40}|\\PC{0,40}") {
        if let Ok(selector) = Selector::parse(&text) {
            let canonical = selector.to_string();
            prop_assert!(Selector::parse(&canonical).is_ok(), "{} from {}", canonical, text);
        }
    }
}
