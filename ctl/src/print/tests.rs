use super::*;

fn pool(name: &str, cidr: &str) -> Resource {
    let mut pool = Resource::new(Kind::IPPool, "", name);
    pool.set_meta_text("uid", "u");
    pool.set_meta_text("resourceVersion", "7");
    pool.spec_mut().insert("cidr".into(), cidr.into());
    pool
}

fn render(format: &str, results: &[Found]) -> String {
    let format = Format::parse(format, Persona::Ocicat).expect("format");
    format.render(results, false, &Facts::default()).expect("rendered")
}

fn refused(format: &str, persona: Persona) -> String {
    match Format::parse(format, persona) {
        Err(Failure::Message(text)) => text,
        other => panic!("{format}: {other:?}"),
    }
}

#[test]
fn one_is_itself_several_are_a_list_none_is_null() {
    let (a, b) = (Found::One(pool("a", "10.0.0.0/8")), Found::One(pool("b", "11.0.0.0/8")));
    assert_eq!(render("yaml", &[]), "null\n");
    assert_eq!(render("json", &[]), "null");
    assert!(
        render("yaml", std::slice::from_ref(&a))
            .starts_with("apiVersion: projectcalico.org/v3\nkind: IPPool\n")
    );
    let several = render("yml", &[a.clone(), b.clone()]);
    assert!(several.starts_with("- apiVersion: projectcalico.org/v3\n  kind: IPPool\n"), "{several}");
    assert!(render("json", &[a.clone(), b.clone()]).starts_with("[\n  {\n    \"kind\": \"IPPool\",\n"));
    assert_eq!(render("ps", &[]), "");
    assert_eq!(
        render("ps", &[a, b]),
        "NAME   CIDR         SELECTOR   \na      10.0.0.0/8              \n\n\
         NAME   CIDR         SELECTOR   \nb      11.0.0.0/8              \n\n"
    );
}

#[test]
fn lists_are_objects() {
    let list = Found::List { kind: Kind::IPPool, revision: 84, items: vec![pool("a", "10.0.0.0/8")] };
    let empty = Found::List { kind: Kind::NetworkPolicy, revision: 5, items: Vec::new() };
    assert_eq!(
        render("yaml", std::slice::from_ref(&empty)),
        "apiVersion: projectcalico.org/v3\nitems: []\nkind: NetworkPolicyList\nmetadata:\n  resourceVersion: \"5\"\n"
    );
    assert_eq!(
        render("json", std::slice::from_ref(&empty)),
        "{\n  \"kind\": \"NetworkPolicyList\",\n  \"apiVersion\": \"projectcalico.org/v3\",\n  \"metadata\": {\n    \
         \"resourceVersion\": \"5\"\n  },\n  \"items\": []\n}"
    );
    assert_eq!(render("ps", &[empty]), "NAME   TIER   \n\n");
    assert_eq!(render("name", &[list]), "ippool/a\n");
}

#[test]
fn export_takes_the_cluster_out_of_one_resource_only() {
    let one = Found::One(pool("a", "10.0.0.0/8")).exported();
    assert_eq!(
        render("yaml", &[one]),
        "apiVersion: projectcalico.org/v3\nkind: IPPool\nmetadata:\n  name: a\nspec:\n  cidr: 10.0.0.0/8\n"
    );
    let list =
        Found::List { kind: Kind::IPPool, revision: 1, items: vec![pool("a", "10.0.0.0/8")] }.exported();
    assert!(render("yaml", &[list]).contains("uid: u"));
}

#[test]
fn formats_refused_in_the_words_of_the_recordings() {
    for (format, text) in [
        ("name", "unrecognized output format 'name'"),
        ("table", "unrecognized output format 'table'"),
        ("xml", "unrecognized output format 'xml'"),
        ("custom-columns=", "need to specify at least one column"),
        ("go-template=", "need to specify a template"),
        ("go-template-file=", "need to specify a template file"),
    ] {
        assert_eq!(refused(format, Persona::Calicoctl), text);
    }
    assert!(refused("xml", Persona::Ocicat).contains("use ps, table"));
    assert!(refused("go-template={{.}}", Persona::Calicoctl).contains("use -o json"));
}

#[test]
fn columns_by_heading() {
    let format = Format::parse("custom-columns=CIDR,name", Persona::Calicoctl).expect("format");
    let results = [Found::One(pool("a", "10.0.0.0/8"))];
    let text = format.render(&results, false, &Facts::default()).expect("rendered");
    assert_eq!(text, "CIDR         NAME   \n10.0.0.0/8   a      \n\n");
    let format = Format::parse("custom-columns=NAME,SHOE", Persona::Calicoctl).expect("format");
    let Err(Failure::Message(text)) = format.render(&results, false, &Facts::default()) else {
        panic!("not refused")
    };
    assert_eq!(
        text,
        "unknown heading SHOE, valid values are: NAME, CIDR, NAT, IPIPMODE, VXLANMODE, DISABLED, DISABLEBGPEXPORT, SELECTOR, \
         ASSIGNMENTMODE"
    );
}

#[test]
fn the_clusters_as_number_is_needed_for_nodes_only() {
    let needs =
        |format: &str, kind| Format::parse(format, Persona::Ocicat).expect("format").needs_default_as(kind);
    assert!(needs("wide", Kind::Node) && needs("custom-columns=NAME,asn", Kind::Node));
    assert!(!needs("ps", Kind::Node) && !needs("yaml", Kind::Node) && !needs("wide", Kind::IPPool));
}
