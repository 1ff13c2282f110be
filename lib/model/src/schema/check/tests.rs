use super::*;
use crate::Kind;
use crate::resource::Resource;
use crate::schema::field::{TEXT, Tag, int, list, object, text};
use crate::schema::{KindSchema, normalise};
use serde_json::json;

fn short(value: &Value) -> bool {
    value.as_str().is_some_and(|text| text.len() < 4)
}

const ITEM: &Field = &TEXT.tag(Tag::new("short", short)).check(Check::MaxLength(5));

static NESTED: Object = Object::new(&[
    text("name").always().tag(Tag::REQUIRED).tag(Tag::new("short", short)),
    int("size").check(Check::Min(2)).check(Check::Max(8)),
])
.rule(|_, object, path, out| {
    if object.contains_key("size") {
        out.push(FieldError::at(format!("rule at {path}"), "has a size"));
    }
})
.cel(|_, _, path, out| out.push(FieldError::at(format!("cel at {path}"), "always")));

const NESTED_ITEM: &Field = &Field::item(Type::Object(&NESTED)).check(Check::MaxProperties(1));

static SPEC: Object = Object::new(&[
    object("one", &NESTED).pointer(),
    list("words", ITEM).check(Check::MinItems(2)).check(Check::MaxItems(3)),
    list("many", NESTED_ITEM),
    text("mode").check(Check::Enum(&["A", "B"])).check(Check::MinLength(1)),
    text("level")
        .check(Check::Pattern("^x$", |text| text == "x"))
        .check(Check::Format("ipv9", |text| text == "x")),
    int("number").pointer().tag(Tag::new("judge", |_| false).also_empty()).check(Check::Int32),
]);

static SCHEMA: KindSchema = KindSchema::new(Kind::IPPool, &SPEC);

fn errors(spec: Value) -> Vec<String> {
    let mut resource = Resource::new(Kind::IPPool, "", "a");
    resource.object_mut().insert("spec".into(), spec);
    SCHEMA.check(&resource).iter().map(ToString::to_string).collect()
}

#[test]
fn nothing_given_nothing_wrong() {
    assert_eq!(errors(json!({})), Vec::<String>::new());
}

#[test]
fn tags_then_schema_then_cel() {
    assert_eq!(
        errors(json!({"one": {"name": "", "size": 9}, "mode": "C"})),
        [
            "Name = '' (Reason: failed to validate Field: Name because of Tag: required )",
            "rule at spec.one (has a size)",
            "spec.one.size (spec.one.size in body should be less than or equal to 8)",
            "spec.mode (supported values: \"A\", \"B\")",
            "cel at spec.one (always)",
        ]
    );
}

#[test]
fn items_are_named_by_their_index() {
    assert_eq!(
        errors(json!({"words": ["ok", "too long", "x", "y"], "many": [{"name": "abcd", "size": 1}]})),
        [
            "Words[1] = 'too long' (Reason: failed to validate Field: Words[1] because of Tag: short )",
            "Name = 'abcd' (Reason: failed to validate Field: Name because of Tag: short )",
            "rule at spec.many[0] (has a size)",
            "spec.words (must have at most 3 items)",
            "spec.words[1] (may not be more than 5 bytes)",
            "spec.many[0] (must have at most 1 item)",
            "spec.many[0].size (spec.many[0].size in body should be greater than or equal to 2)",
            "cel at spec.many[0] (always)",
        ]
    );
}

#[test]
fn every_check_of_text() {
    assert_eq!(
        errors(json!({"words": ["a"], "mode": "", "level": "y"})),
        [
            "spec.words (spec.words in body should have at least 2 items)",
            "spec.mode (supported values: \"A\", \"B\")",
            "spec.mode (spec.mode in body should be at least 1 chars long)",
            "spec.level (spec.level in body should match '^x$')",
            "spec.level (spec.level in body must be of type ipv9: \"y\")",
        ]
    );
}

#[test]
fn large_numbers_are_reported_for_the_whole_resource() {
    let found = errors(json!({"number": 2_147_483_648_i64}));
    let expected = "IPPool (Checked value must be of type integer with format int32 in spec.number)";
    assert!(found.iter().any(|error| error == expected), "{found:?}");
}

#[test]
fn a_tag_without_omitempty_judges_zero_but_not_absence() {
    assert_eq!(errors(json!({"number": 0})).len(), 1);
    assert_eq!(errors(json!({})).len(), 0);
}

#[test]
fn values_print_as_go_prints_them() {
    for (value, text) in [
        (json!(["a", "b"]), "[a b]"),
        (json!([{"x": 1, "y": "z"}]), "[{1 z}]"),
        (json!(1.5), "1.5"),
        (json!(true), "true"),
        (json!(null), ""),
    ] {
        assert_eq!(go_text(&value), text);
    }
}

#[test]
fn every_kind_has_its_own_schema() {
    for kind in Kind::ALL {
        assert_eq!(crate::schema::kind::of(*kind).kind, *kind);
        let mut resource = Resource::new(*kind, "n", "a");
        assert_eq!(normalise(&mut resource), Ok(()), "{}", kind.name());
    }
}
