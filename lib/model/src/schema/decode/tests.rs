use super::*;
use serde_json::json;

fn decode(value: Value) -> Result<String, String> {
    decode_strict(Kind::IPPool, value)
        .map(|resource| Value::Object(resource.into_object()).to_string())
        .map_err(|error| error.to_string())
}

#[test]
fn fields_come_out_in_stored_order_and_empty_ones_not_at_all() {
    let given = json!({
        "spec": {"blockSize": 26.0, "natOutgoing": false, "cidr": "10.0.0.0/16", "nodeSelector": "", "allowedUses": []},
        "metadata": {"labels": {"b": 1, "a": true, "c": null}, "name": 123, "annotations": {}},
    });
    assert_eq!(
        decode(given).unwrap(),
        r#"{"kind":"IPPool","apiVersion":"projectcalico.org/v3","metadata":{"name":"123","labels":{"a":"true","b":"1","c":""}},"spec":{"cidr":"10.0.0.0/16","blockSize":26}}"#
    );
}

#[test]
fn what_is_always_written_is_written() {
    assert_eq!(
        decode(json!({})).unwrap(),
        r#"{"kind":"IPPool","apiVersion":"projectcalico.org/v3","metadata":{},"spec":{"cidr":""}}"#
    );
}

#[test]
fn every_unknown_field_is_named_with_its_path() {
    let error = decode(json!({"owner": 1, "metadata": {"colour": 2}, "spec": {"size": 3, "blockSize": "x"}}))
        .unwrap_err();
    assert_eq!(
        error,
        "field in document is not recognized or is in the wrong location: colour (metadata.colour), size (spec.size), owner"
    );
}

#[test]
fn unknown_fields_come_with_what_was_meant() {
    let error = decode(json!({"cidr": "10.0.0.0/16", "spec": {"blocksize2": 26, "labels": {}}})).unwrap_err();
    let expected = concat!(
        r#"blocksize2 (spec.blocksize2; did you mean "blockSize"?), "#,
        r#"labels (spec.labels; did you mean "metadata.labels"?), cidr (cidr; did you mean "spec.cidr"?)"#
    );
    assert!(error.ends_with(expected), "{error}");
}

#[test]
fn wrong_types_are_named_with_their_path() {
    for (spec, text) in [
        (json!({"natOutgoing": "yes"}), r#"spec.natOutgoing: the text "yes" where true or false is wanted"#),
        (json!({"cidr": ["10.0.0.0/16"]}), "spec.cidr: a list where text is wanted"),
        (json!({"blockSize": 26.5}), "spec.blockSize: the number 26.5 where a whole number"),
        (
            json!({"allowedUses": "Workload"}),
            r#"spec.allowedUses: the text "Workload" where a list is wanted"#,
        ),
        (json!({"allowedUses": [{}]}), "spec.allowedUses[0]: an object where text is wanted"),
        (json!(5), "spec: the number 5 where an object is wanted"),
    ] {
        let error = decode(json!({"spec": spec})).unwrap_err();
        let expected = format!("error unmarshaling JSON: while decoding JSON: {text}");
        assert!(error.starts_with(&expected), "{error}");
    }
    assert!(decode(json!([1])).unwrap_err().contains("document: a list where an object is wanted"));
}

#[test]
fn names_of_fields_match_in_any_case_as_upstream() {
    assert!(decode(json!({"Spec": {"CIDR": "10.0.0.0/16"}})).unwrap().contains(r#""cidr":"10.0.0.0/16""#));
}

#[test]
fn unknown_fields_survive_in_stored_objects() {
    let mut stored = Resource::new(Kind::IPPool, "", "p");
    stored.object_mut().insert("later".into(), json!([1]));
    stored.spec_mut().insert("future".into(), json!({"a": 0}));
    stored.spec_mut().insert("cidr".into(), json!("10.0.0.0/16"));
    let mut normal = stored.clone();
    normalise(&mut normal).unwrap();
    assert_eq!(
        Value::Object(normal.object().clone()).to_string(),
        r#"{"kind":"IPPool","apiVersion":"projectcalico.org/v3","metadata":{"name":"p"},"spec":{"cidr":"10.0.0.0/16","future":{"a":0}},"later":[1]}"#
    );

    let mut patched = Value::Object(stored.object().clone());
    patched["spec"]["disabled"] = json!(true);
    let read = decode_patched(patched.clone(), &stored).unwrap();
    assert_eq!(read.spec()["future"], json!({"a": 0}));
    patched["spec"]["typo"] = json!(true);
    let error = decode_patched(patched, &stored).unwrap_err();
    assert!(error.has_unknown_field() && error.problems.len() == 1, "{error}");
}

#[test]
fn a_stored_value_of_a_wrong_type_stays_and_is_reported() {
    let mut stored = Resource::new(Kind::IPPool, "", "p");
    stored.spec_mut().insert("cidr".into(), json!(5));
    let error = normalise(&mut stored).unwrap_err();
    assert_eq!(error.problems[0].path, "spec.cidr");
    assert_eq!(stored.spec()["cidr"], json!(5));
}
