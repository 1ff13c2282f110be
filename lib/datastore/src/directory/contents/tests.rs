#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use super::*;

const POOL: &str =
    "apiVersion: projectcalico.org/v3\nkind: IPPool\nmetadata: {name: p}\nspec: {cidr: 10.0.0.0/16}\n";

fn pool(name: &str, cidr: &str) -> String {
    POOL.replace("name: p", &format!("name: {name}")).replace("10.0.0.0/16", cidr)
}

fn files(files: &[(&str, &str)]) -> BTreeMap<String, Found> {
    files.iter().map(|(name, text)| ((*name).to_owned(), Ok(text.as_bytes().to_vec()))).collect()
}

fn keys(contents: &Contents) -> Vec<String> {
    let keys = contents.resources().0.into_keys();
    keys.map(|key| String::from_utf8_lossy(&key).rsplit('/').next().unwrap().to_owned()).collect()
}

fn told(contents: &Contents) -> Vec<String> {
    contents.resources().1.iter().map(ToString::to_string).collect()
}

#[test]
fn resources_get_calicos_defaults_and_form() {
    let mut contents = Contents::default();
    contents.update(files(&[("a.yaml", POOL)]));
    let (resources, problems) = contents.resources();
    assert_eq!(problems, []);
    let (key, value) = resources.first_key_value().unwrap();
    assert_eq!(key, "/calico/resources/v3/projectcalico.org/ippools/p");
    let value = String::from_utf8_lossy(value);
    for default in ["\"blockSize\":26", "\"ipipMode\":\"Never\"", "\"nodeSelector\":\"all()\""] {
        assert!(value.contains(default), "{value}");
    }
    assert!(!value.contains("uid"), "{value}");
}

#[test]
fn the_same_text_is_the_same_value() {
    let (mut one, mut two) = (Contents::default(), Contents::default());
    one.update(files(&[("a.yaml", POOL)]));
    two.update(files(&[(
        "b.json",
        &serde_json::json!({
            "kind": "IPPool", "apiVersion": "projectcalico.org/v3",
            "metadata": {"name": "p"}, "spec": {"cidr": "10.0.0.0/16"}
        })
        .to_string(),
    )]));
    assert_eq!(one.resources().0, two.resources().0);
}

#[test]
fn affinities_lie_where_ipam_keeps_them() {
    let text = "apiVersion: projectcalico.org/v3\nkind: BlockAffinity\nmetadata: {name: n-10-0-0-0-26}\nspec: {node: node-1, state: confirmed, cidr: 10.0.0.0/26, deleted: \"false\"}\n";
    let six = text.replace("10.0.0.0/26", "'fd00::/122'").replace("confirmed", "pending");
    let mut contents = Contents::default();
    contents.update(files(&[("a.yaml", text), ("b.yaml", &six)]));
    assert_eq!(told(&contents), [""; 0]);
    let resources = contents.resources().0;
    let value = |key: &str| String::from_utf8_lossy(&resources[key.as_bytes()]).into_owned();
    assert_eq!(
        value("/calico/ipam/v2/host/node-1/ipv4/block/10.0.0.0-26"),
        r#"{"state":"confirmed","deleted":false}"#
    );
    assert_eq!(
        value("/calico/ipam/v2/host/node-1/ipv6/block/fd00::-122"),
        r#"{"state":"pending","deleted":false}"#
    );
}

#[test]
fn a_bad_file_keeps_its_last_good_state() {
    let mut contents = Contents::default();
    contents.update(files(&[("a.yaml", POOL), ("b.yaml", &pool("q", "10.1.0.0/16"))]));
    let bad = format!("{}---\n{}", pool("r", "10.2.0.0/16"), pool("s", "10.3.0.0/33"));
    contents.update(files(&[("a.yaml", &bad), ("b.yaml", &pool("q", "10.9.0.0/16"))]));
    assert_eq!(keys(&contents), ["p", "q"], "nothing of a file with one bad document is used");
    let told = told(&contents);
    assert!(
        told[0].starts_with("a.yaml, document 2 at line 6: IPPool.Spec.CIDR = '10.3.0.0/33'"),
        "{told:?}"
    );
    assert!(told[0].ends_with("the file's last good state stays in force until it is corrected"), "{told:?}");
    contents.update(files(&[("a.yaml", &pool("r", "10.2.0.0/16")), ("b.yaml", POOL)]));
    assert_eq!((keys(&contents), contents.resources().1), (vec!["p".to_owned(), "r".to_owned()], vec![]));
}

#[test]
fn every_way_to_be_bad_is_named() {
    let cases = [
        ("kind: [", "document 1 of a.yaml"),
        ("kind: IPPool\n", "unknown resource type (IPPool) and/or version ()"),
        (&POOL.replace("cidr:", "cdir:"), "spec.cdir"),
        (&POOL.replace("10.0.0.0/16", "[]"), "a.yaml, document 1 at line 1: spec.cidr"),
        (&format!("{POOL}---\n{POOL}"), "IPPool p stands in document 1 at line 1 already"),
        (
            "apiVersion: projectcalico.org/v3\nkind: BlockAffinity\nmetadata: {name: n}\nspec: {cidr: 10.0.0.0/26}\n",
            "spec.node: is missing",
        ),
        (
            "apiVersion: projectcalico.org/v3\nkind: BlockAffinity\nmetadata: {name: n}\nspec: {node: node-1, cidr: x}\n",
            "spec.cidr = 'x': is no CIDR",
        ),
    ];
    for (text, wanted) in cases {
        let mut contents = Contents::default();
        contents.update(files(&[("a.yaml", text)]));
        assert_eq!(keys(&contents), [""; 0], "{text}");
        let told = told(&contents);
        assert!(told.iter().any(|problem| problem.contains(wanted)), "{wanted}: {told:?}");
    }
    let mut contents = Contents::default();
    contents.update([("a.yaml".to_owned(), Ok(vec![0xff, 0xfe]))].into());
    assert!(told(&contents)[0].contains("is not UTF-8"));
}

#[test]
fn a_file_that_cannot_be_read_or_is_cut_to_nothing_keeps_its_state() {
    let mut contents = Contents::default();
    contents.update(files(&[("a.yaml", POOL)]));
    contents.update([("a.yaml".to_owned(), Err("cannot be read: permission denied".to_owned()))].into());
    assert_eq!(keys(&contents), ["p"]);
    assert!(told(&contents)[0].contains("permission denied"));
    contents.update(files(&[("a.yaml", " \n")]));
    assert_eq!(keys(&contents), ["p"]);
    assert!(told(&contents)[0].contains("a.yaml: is empty; its resources stay in force"));
    contents.update(files(&[("a.yaml", "# none for now\n")]));
    assert_eq!((keys(&contents), told(&contents)), (vec![], vec![]), "a comment is meant");
    contents.update(files(&[("a.yaml", POOL)]));
    contents.update(files(&[]));
    assert_eq!((keys(&contents), told(&contents)), (vec![], vec![]), "and so is a deletion");
}

#[test]
fn an_empty_new_file_is_no_problem() {
    let mut contents = Contents::default();
    contents.update(files(&[("a.yaml", "")]));
    assert_eq!(told(&contents), [""; 0]);
}

#[test]
fn of_two_files_with_one_resource_the_first_counts_and_both_are_named() {
    let mut contents = Contents::default();
    let other = pool("p", "10.9.0.0/16");
    contents.update(files(&[("b.yaml", &other), ("a.yaml", POOL)]));
    let (resources, problems) = contents.resources();
    assert!(String::from_utf8_lossy(resources.first_key_value().unwrap().1).contains("10.0.0.0/16"));
    assert_eq!(
        problems[0].to_string(),
        "b.yaml, document 1 at line 1: IPPool p is in a.yaml too, which counts; take it out of one of the two"
    );
    contents.update(files(&[("b.yaml", &other)]));
    let (resources, problems) = contents.resources();
    assert!(String::from_utf8_lossy(resources.first_key_value().unwrap().1).contains("10.9.0.0/16"));
    assert_eq!(problems, []);
}

#[test]
fn a_directory_that_cannot_be_read_leaves_everything_as_it_was() {
    let mut contents = Contents::default();
    contents.update(files(&[("a.yaml", POOL)]));
    contents.unreadable("/r: No such file or directory".to_owned());
    assert_eq!(keys(&contents), ["p"]);
    assert!(told(&contents)[0].starts_with("the directory: /r: No such file"));
    contents.update(files(&[]));
    assert_eq!((keys(&contents), told(&contents)), (vec![], vec![]));
}
