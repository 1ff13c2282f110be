use super::*;
use proptest::prelude::*;
use serde_json::json;

fn values(text: &str) -> Vec<Value> {
    parse(text, "f.yaml").unwrap().into_iter().map(|document| document.value).collect()
}

fn error(text: &str) -> String {
    match parse(text, "f.yaml") {
        Err(error) => error.to_string(),
        Ok(documents) => {
            let expanded: Result<Vec<_>, _> = documents.into_iter().map(|d| d.resources("f.yaml")).collect();
            expanded.expect_err("refused").to_string()
        }
    }
}

#[test]
fn documents_are_counted_with_their_lines() {
    let documents = parse("---\na: 1\n---\n\n# note\nb: 2\n---\n", "f").unwrap();
    let seen: Vec<_> = documents.iter().map(|d| (d.index, d.line, d.value.clone())).collect();
    assert_eq!(seen, [(0, 2, json!({"a": 1})), (1, 6, json!({"b": 2}))]);
    assert_eq!(values(""), Vec::<Value>::new());
    assert_eq!(values("# only\n"), [Value::Null]);
    assert_eq!(values("a: 1\n---\n# c\n---\nb: 2\n"), [json!({"a": 1}), Value::Null, json!({"b": 2})]);
    assert_eq!(values("a: 1\n...\n---\nb: 2\n"), [json!({"a": 1}), json!({"b": 2})]);
}

#[test]
fn files_of_other_systems_read_alike() {
    assert_eq!(
        values("\u{feff}a: 1\r\nb: [x,\r\n  z]\r\n---\r\nc: 2\r\n"),
        [json!({"a": 1, "b": ["x", "z"]}), json!({"c": 2})]
    );
    assert_eq!(
        values("{\n\t\"a\": [1,\n\t\t2],\n\t\"b\": \"\\u00e9\\/\"\n}\n"),
        [json!({"a": [1, 2], "b": "é/"})]
    );
    assert_eq!(values("a: 1 # note\nb: 'x # y'\n"), [json!({"a": 1, "b": "x # y"})]);
    assert_eq!(values("--- {a: 1}\n--- {a: 2}\n"), [json!({"a": 1}), json!({"a": 2})]);
    assert_eq!(values("a: |\n  x\n  ---\n  y\n"), [json!({"a": "x\n---\ny\n"})]);
}

#[test]
fn keys_are_text_whatever_they_look_like() {
    assert_eq!(values("{n: 1, 0x10: 2, 1.5: 3, \"y\": 4}"), [json!({"false": 1, "16": 2, "1.5": 3, "y": 4})]);
}

#[test]
fn strings_stay_strings() {
    let text = "a: 'yes'\nb: \"010\"\nc: !!str 5\nd: |\n  on\ne: >-\n  1\n  2\n";
    assert_eq!(values(text), [json!({"a": "yes", "b": "010", "c": "5", "d": "on\n", "e": "1 2"})]);
}

#[test]
fn tags_decide_over_quotes() {
    assert_eq!(
        values("{a: !!str yes, b: !!int '5', c: !!bool \"on\", d: !custom 'x'}"),
        [json!({"a": "yes", "b": 5, "c": true, "d": "x"})]
    );
}

#[test]
fn anchors_and_merge_keys() {
    let text = "base: &b {x: 1, y_: 2}\ncopy: *b\nmore: {<<: *b, x: 3}\nlist: {<<: [*b, {z: 4}]}\n";
    let expected = json!({
        "base": {"x": 1, "y_": 2}, "copy": {"x": 1, "y_": 2}, "more": {"x": 3, "y_": 2},
        "list": {"x": 1, "y_": 2, "z": 4}
    });
    assert_eq!(values(text), [expected]);
    assert_eq!(values("'<<': 5"), [json!({"<<": 5})]);
    assert!(error("<<: 5").contains("map merge requires map"));
}

#[test]
fn a_key_twice_is_refused_with_its_line() {
    assert_eq!(
        error("a: 1\n---\nspec:\n  cidr: x\n  cidr: y\n"),
        "error converting YAML to JSON: yaml: unmarshal errors:\n  line 5: key \"cidr\" already set in map (document 2 of f.yaml)"
    );
    assert!(error("{yes: 1, true: 2}").contains("key \"true\" already set"));
    assert!(error("a:\na: null\n").contains("key \"a\" already set"));
}

#[test]
fn what_is_no_yaml_is_refused_with_its_line() {
    assert!(error("apiVersion: [\n").starts_with("error converting YAML to JSON: yaml: line "));
    let tab = error("a: 1\n---\nmetadata:\n\tname: a\n");
    assert!(tab.contains("line 4: ") && tab.ends_with("(document 2 of f.yaml)"), "{tab}");
    assert!(error("a: *nobody\n").contains("line 1: "));
    assert!(error("[[]: 1]").contains("line 1: ") || error("? [1]\n: 2\n").contains("keys"));
}

#[test]
fn bombs_are_defused() {
    let mut text = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n".to_owned();
    for level in 1..9 {
        let refs = vec![format!("*a{}", level - 1); 10].join(", ");
        text.push_str(&format!("a{level}: &a{level} [{refs}]\n"));
    }
    assert!(error(&text).contains("excessive aliasing"));
    assert!(error(&"[".repeat(5000)).contains("error converting YAML to JSON"));
    assert!(error(&format!("{}{}", "[".repeat(150), "]".repeat(150))).contains("depth"));
    assert!(error("a: &a [*a]\n").contains("line 1"));
}

#[test]
fn resources_lists_and_arrays() {
    let kinds = |text: &str| -> Vec<String> {
        let documents = parse(text, "f").unwrap();
        let all = documents.into_iter().flat_map(|d| d.resources("f").unwrap());
        all.map(|r| format!("{}/{}", r.kind.name(), r.value["metadata"]["name"].as_str().unwrap())).collect()
    };
    let one = "{apiVersion: projectcalico.org/v3, kind: IPPool, metadata: {name: a}}";
    assert_eq!(kinds(one), ["IPPool/a"]);
    assert_eq!(kinds(&format!("[{one}, [{one}]]")), ["IPPool/a", "IPPool/a"]);
    let list = format!(
        "{{apiVersion: projectcalico.org/v3, kind: IPPoolList, metadata: {{}}, items: [{one}, {{metadata: {{name: b}}}}]}}"
    );
    assert_eq!(kinds(&list), ["IPPool/a", "IPPool/b"]);
    assert!(
        error("{apiVersion: projectcalico.org/v3, kind: IPPoolList, entries: []}")
            .contains("wrong location: entries")
    );
    assert_eq!(kinds("{apiVersion: projectcalico.org/v3, kind: IPPoolList}"), Vec::<String>::new());
}

#[test]
fn what_is_no_resource_is_named() {
    for (text, message) in [
        ("# nothing", "unknown resource type () and/or version ()"),
        ("kind: IPPool", "unknown resource type (IPPool) and/or version ()"),
        (
            "{apiVersion: projectcalico.org/v3, kind: ippool}",
            "unknown resource type (ippool) and/or version (projectcalico.org/v3)",
        ),
        (
            "{apiVersion: projectcalico.org/v2, kind: IPPool}",
            "unknown resource type (IPPool) and/or version (projectcalico.org/v2)",
        ),
        (
            "{apiVersion: projectcalico.org/v3, kind: BlockAffinity}",
            "unknown resource type (BlockAffinity) and/or version (projectcalico.org/v3)",
        ),
        ("{apiVersion: v1, kind: ipPool}", "unknown resource type (ipPool) and/or version (v1)"),
        ("apiVersion: projectcalico.org/v3", "an object without a kind where a resource"),
        ("hello", "a text where a resource"),
    ] {
        let error = error(text);
        assert!(error.contains(message), "{error}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn no_text_panics(text in "[-a-z:\\[\\]{},&*!|>'\"#%@ \n\t0-9?<~.]{0,120}") {
        if let Ok(documents) = parse(&text, "f") {
            for document in documents {
                let _ = document.resources("f");
            }
        }
    }

    #[test]
    fn json_reads_as_itself(value in arbitrary_json()) {
        let text = value.to_string();
        prop_assert_eq!(values(&text), [value]);
    }
}

fn arbitrary_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        "[ -~é\\n\\t]{0,12}".prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 32, 6, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..5).prop_map(Value::from),
            prop::collection::btree_map("[a-z]{1,6}", inner, 0..5)
                .prop_map(|map| Value::Object(map.into_iter().collect())),
        ]
    })
}
