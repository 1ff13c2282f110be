use super::*;
use crate::kind::Kind;
use crate::resource::Resource;

fn errors(change: impl FnOnce(&mut Resource)) -> Vec<String> {
    let mut resource = Resource::new(Kind::IPReservation, "", "a");
    change(&mut resource);
    let mut out = Vec::new();
    check(&Context { resource: &resource }, &mut out);
    out.iter().map(ToString::to_string).collect()
}

#[test]
fn names_are_subdomains() {
    assert_eq!(errors(|_| {}), Vec::<String>::new());
    assert_eq!(
        errors(|r| r.set_meta_text("name", "S2")),
        [format!("Metadata.Name = 'S2' ({SUBDOMAIN_TEXT})")]
    );
    assert!(errors(|r| r.set_meta_text("name", ""))[0].starts_with("Metadata.Name = '' ("));
    let long = errors(|r| r.set_meta_text("name", &"a".repeat(255)));
    assert!(matches!(long.as_slice(), [one] if one.ends_with("(name is too long by 2 bytes)")), "{long:?}");
}

#[test]
fn keys_of_labels_are_qualified_names() {
    let key = |key: &str| errors(|r| r.set_meta_entry("labels", key, "")).join("\n");
    for good in ["a", "A_b.c", "example.org/level", "projectcalico.org/orchestrator"] {
        assert_eq!(key(good), "", "{good}");
    }
    for (bad, part) in [
        ("bad key", "(name part must consist of"),
        ("/a", "(prefix part must be non-empty)"),
        ("Upper.org/a", "(prefix part a lowercase"),
        ("a/b/c", "(a qualified name must consist of"),
        ("a/", "(name part must be non-empty)"),
        (&"a".repeat(64), "(name part must be no more than 63 bytes)"),
    ] {
        assert!(key(bad).contains(part), "{bad}: {}", key(bad));
    }
}

#[test]
fn values_of_labels_are_short_words() {
    let value = |value: &str| errors(|r| r.set_meta_entry("labels", "a", value)).join("\n");
    assert_eq!(value(""), "");
    assert_eq!(value("a.b_C-1"), "");
    assert!(
        value("not a label!").starts_with("Metadata.Labels (value) = 'not a label!' (a valid label must be")
    );
    assert!(value(&"a".repeat(64)).contains("must be no more than 63 bytes"));
}

#[test]
fn annotations_are_free_text_of_bounded_size() {
    assert_eq!(
        errors(|r| r.set_meta_entry("annotations", "Example.org/Owner", "<any> text")),
        Vec::<String>::new()
    );
    assert!(
        errors(|r| r.set_meta_entry("annotations", "a b", ""))[0]
            .starts_with("Metadata.Annotations (key) = 'a b'")
    );
    assert!(
        errors(|r| r.set_meta_entry("annotations", "a", &"x".repeat(256 * 1024)))[0]
            .contains("too large by 1 bytes")
    );
}
