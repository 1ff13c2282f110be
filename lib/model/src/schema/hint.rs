//! What a person probably meant by a field that does not exist.

use super::field::{Object, Type};
use super::kind::KindSchema;
use super::metadata::METADATA;

/// Another name of the same object that differs by little, or the place where a field of this name belongs.
pub(super) fn hint(name: &str, siblings: &[&'static str], schema: &'static KindSchema) -> Option<String> {
    let close = siblings.iter().map(|sibling| (distance(name, sibling), *sibling)).min();
    let allowed = if name.len() < 6 { 1 } else { 2 };
    match close {
        Some((distance, sibling)) if distance <= allowed => Some(sibling.to_owned()),
        _ => place("metadata", &METADATA, name)
            .or_else(|| schema.spec.and_then(|spec| place("spec", spec, name))),
    }
}

/// Where below an object a field of this name stands, the shallowest one first.
fn place(path: &str, object: &'static Object, name: &str) -> Option<String> {
    let mut level: Vec<(String, &'static Object)> = vec![(path.to_owned(), object)];
    while !level.is_empty() {
        let mut deeper = Vec::new();
        for (path, object) in level {
            for field in object.fields {
                if field.name == name {
                    return Some(format!("{path}.{name}"));
                }
                match field.ty {
                    Type::Object(object) => deeper.push((format!("{path}.{}", field.name), object)),
                    Type::List(item) | Type::Map(item) => {
                        if let Type::Object(object) = item.ty {
                            deeper.push((format!("{path}.{}[]", field.name), object));
                        }
                    }
                    _ => {}
                }
            }
        }
        level = deeper;
    }
    None
}

/// Letters to insert, remove or replace to make one word the other, whatever their case.
fn distance(a: &str, b: &str) -> usize {
    if a.len().abs_diff(b.len()) > 2 {
        return usize::MAX;
    }
    let b: Vec<char> = b.chars().map(|c| c.to_ascii_lowercase()).collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (index, letter) in a.chars().map(|c| c.to_ascii_lowercase()).enumerate() {
        let mut next = vec![index + 1];
        let mut left = index + 1;
        for (other, window) in b.iter().zip(row.windows(2)) {
            let [corner, above] = window else { continue };
            left = (left + 1).min(above + 1).min(corner + usize::from(*other != letter));
            next.push(left);
        }
        row = next;
    }
    row.last().copied().unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Kind;
    use crate::schema::kind::of;
    use proptest::prelude::*;

    #[test]
    fn misspelt_and_misplaced() {
        let pool = |name: &str, siblings: &[&'static str]| hint(name, siblings, of(Kind::IPPool));
        let spec: Vec<&str> = of(Kind::IPPool).spec.unwrap().fields.iter().map(|field| field.name).collect();
        assert_eq!(pool("blocksize", &spec).as_deref(), Some("blockSize"));
        assert_eq!(pool("natOutgoin", &spec).as_deref(), Some("natOutgoing"));
        assert_eq!(pool("cidrs", &spec).as_deref(), Some("cidr"));
        assert_eq!(pool("cidr", &["metadata", "spec"]).as_deref(), Some("spec.cidr"));
        assert_eq!(pool("labels", &spec).as_deref(), Some("metadata.labels"));
        assert_eq!(pool("colour", &spec), None);
        let filter = |name: &str| hint(name, &["exportV4"], of(Kind::BGPFilter));
        assert_eq!(filter("matchOperator").as_deref(), Some("spec.exportV4[].matchOperator"));
    }

    proptest! {
        #[test]
        fn distance_is_symmetric(a in "[a-d]{0,6}", b in "[a-d]{0,6}") {
            prop_assert_eq!(distance(&a, &b), distance(&b, &a));
            prop_assert_eq!(distance(&a, &b) == 0, a == b);
        }

        #[test]
        fn one_change_is_one_away(word in "[a-z]{1,8}", at: prop::sample::Index, letter in "[A-Z]") {
            let mut longer = word.clone();
            longer.insert_str(at.index(word.len() + 1), &letter);
            prop_assert_eq!(distance(&word, &longer), 1);
        }

        #[test]
        fn no_name_panics(name in "\\PC{0,20}") {
            let _ = hint(&name, &["spec", "metadata"], of(Kind::NetworkPolicy));
        }
    }
}
