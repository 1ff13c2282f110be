use super::*;
use proptest::prelude::*;

const SET: &str =
    "apiVersion: projectcalico.org/v3\nkind: GlobalNetworkSet\nmetadata: {name: s1}\nspec: {}\n";

fn args(recursive: bool, skip_empty: bool) -> FileArgs {
    FileArgs { filename: Vec::new(), recursive, skip_empty }
}

fn from_text(text: &str) -> Result<Vec<String>, String> {
    match read(&args(false, false), "-", &mut text.as_bytes()) {
        Ok(given) => Ok(names(given)),
        Err(error) => Err(error.message(Persona::Calicoctl)),
    }
}

fn names(given: Vec<Given>) -> Vec<String> {
    given.iter().map(|given| format!("{}/{}", given.resource.kind().name(), given.resource.name())).collect()
}

#[test]
fn documents_lists_and_arrays() {
    assert_eq!(from_text(SET), Ok(vec!["GlobalNetworkSet/s1".to_owned()]));
    assert_eq!(from_text(&format!("{SET}---\n{SET}")).map(|names| names.len()), Ok(2));
    let list = "apiVersion: projectcalico.org/v3\nkind: GlobalNetworkSetList\nitems:\n- metadata: {name: a}\n- {kind: GlobalNetworkSet, \
                apiVersion: projectcalico.org/v3, metadata: {name: b}}\n";
    assert_eq!(from_text(list), Ok(vec!["GlobalNetworkSet/a".to_owned(), "GlobalNetworkSet/b".to_owned()]));
    let array = r#"[{"apiVersion":"projectcalico.org/v3","kind":"NetworkSet","metadata":{"name":"s4","namespace":"x"}},
                    {"apiVersion":"projectcalico.org/v3","kind":"Tier","metadata":{"name":"t"}}]"#;
    assert_eq!(from_text(array), Ok(vec!["NetworkSet/s4".to_owned(), "Tier/t".to_owned()]));
    let none = "apiVersion: projectcalico.org/v3\nkind: TierList\nitems: []\n";
    assert_eq!(from_text(none), Err("no resources specified in file -".to_owned()));
}

#[test]
fn what_is_no_resource() {
    let unknown = |kind: &str, version: &str| {
        Err(format!("failed to execute command: unknown resource type ({kind}) and/or version ({version})"))
    };
    assert_eq!(from_text(""), Err("no resources specified in file -".to_owned()));
    assert_eq!(from_text("# nothing here\n"), unknown("", ""));
    assert_eq!(from_text(&format!("{SET}---\n\n---\n{SET}---\n")), unknown("", ""));
    assert_eq!(from_text("kind: IPPool\nmetadata: {name: a}\n"), unknown("IPPool", ""));
    assert_eq!(from_text(&SET.replace("GlobalNetworkSet", "Pool")), unknown("Pool", "projectcalico.org/v3"));
    assert_eq!(
        from_text(&SET.replace("GlobalNetworkSet", "ippool")),
        unknown("ippool", "projectcalico.org/v3")
    );
    assert_eq!(from_text(&SET.replace("/v3", "/v2")), unknown("GlobalNetworkSet", "projectcalico.org/v2"));
    assert_eq!(
        from_text(&SET.replace("GlobalNetworkSet", "BlockAffinity")),
        unknown("BlockAffinity", "projectcalico.org/v3")
    );
    for text in ["hello\n", "apiVersion: projectcalico.org/v3\nmetadata: {name: a}\n", "- 1\n"] {
        let error = from_text(text).expect_err(text);
        assert!(
            error.starts_with("failed to execute command: error unmarshaling JSON: while decoding JSON: "),
            "{error}"
        );
    }
}

#[test]
fn unknown_fields_and_places() {
    let text = SET.replace("{name: s1}", "{name: s1, owner: me}");
    assert_eq!(
        from_text(&text),
        Err("field in document is not recognized or is in the wrong location: owner".to_owned())
    );
    let text = format!("{SET}---\n{text}");
    let error = read(&args(false, false), "-", &mut text.as_bytes()).expect_err("unknown field");
    let message = error.message(Persona::Ocicat);
    assert!(
        message.contains("metadata.owner") && message.ends_with("(standard input, document 2 at line 6)"),
        "{message}"
    );
}

#[test]
fn directories() {
    let directory = tempfile::tempdir().expect("directory");
    let write = |name: &str, text: &str| {
        let path = directory.path().join(name);
        std::fs::create_dir_all(path.parent().expect("parent")).expect("made");
        std::fs::write(path, text).expect("written");
    };
    let named = |name: &str| SET.replace("s1", name);
    write("b.YML", &named("b"));
    write("a.yaml", &named("a"));
    write("c.json", r#"{"apiVersion": "projectcalico.org/v3", "kind": "Tier", "metadata": {"name": "c"}}"#);
    write("d.txt", "not read");
    write("sub/e.yaml", &named("e"));
    let path = directory.path().to_str().expect("text");
    let found = |recursive| names(read(&args(recursive, false), path, &mut io::empty()).expect("read"));
    assert_eq!(found(false), ["GlobalNetworkSet/a", "GlobalNetworkSet/b", "Tier/c"]);
    assert_eq!(found(true), ["GlobalNetworkSet/a", "GlobalNetworkSet/b", "Tier/c", "GlobalNetworkSet/e"]);

    let empty = directory.path().join("none");
    std::fs::create_dir(&empty).expect("made");
    let empty = empty.to_str().expect("text");
    let error = read(&args(false, false), empty, &mut io::empty()).expect_err("nothing there");
    assert_eq!(error.message(Persona::Calicoctl), format!("no resources specified in directory {empty}"));
    assert_eq!(read(&args(false, true), empty, &mut io::empty()).expect("skipped"), []);
}

#[test]
fn files_that_cannot_be_read() {
    let error = read(&args(false, false), "nosuch.yaml", &mut io::empty()).expect_err("missing");
    assert_eq!(
        error.message(Persona::Calicoctl),
        "failed to execute command: open nosuch.yaml: no such file or directory"
    );
}

#[test]
fn arguments() {
    let words = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>();
    assert_eq!(named(&words(&["PODS"])), Err("resource type 'PODS' is not supported".to_owned()));
    assert_eq!(
        named(&words(&["ippool,tier"])),
        Err("resource type 'ippool,tier' is not supported".to_owned())
    );
    assert_eq!(named(&words(&["Pools", "a", "b"])), Ok((Kind::IPPool, vec!["a", "b"])));
    assert_eq!(named(&words(&["tiers"])), Ok((Kind::Tier, vec![])));
    assert_eq!(named(&words(&["ippool", ""])), Err("resource name may not be empty".to_owned()));
    assert!(named(&[]).is_err());
}

proptest! {
    /// Whatever stands in a file, it is read or refused, and a refusal says something.
    #[test]
    fn any_text_is_read_or_refused(text in any::<String>()) {
        let _ = from_text(&text);
    }

    /// The same for what nearly is a resource.
    #[test]
    fn any_damaged_document_is_read_or_refused(at in 0..SET.len(), with in "[a-z:\\[\\]{}\"'&*|>0-9 \n-]{0,3}") {
        let mut text = SET.to_owned();
        text.insert_str(at, &with);
        if let Err(message) = from_text(&text) {
            prop_assert!(!message.trim().is_empty());
        }
    }
}
