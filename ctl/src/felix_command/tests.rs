use super::*;
use felix::proto::{Counts, StatusResponse};

fn args() -> RunArgs {
    RunArgs {
        node: None,
        file: DEFAULT_FILE.into(),
        socket: DEFAULT_SOCKET.into(),
        config: ConfigArgs { config: "/none".to_owned() },
    }
}

#[test]
fn the_node_is_named_by_the_strongest_that_says_it() {
    let env = |name: &str| (name == "NODENAME").then(|| "of-nodename".to_owned());
    let local = Local::new([("FELIX_FELIXHOSTNAME".to_owned(), "of-felix".to_owned())]);
    assert_eq!(node_name(&args(), &local, &env).unwrap(), "of-felix");
    assert_eq!(node_name(&args(), &Local::default(), &env).unwrap(), "of-nodename");
    let given = RunArgs { node: Some("given".to_owned()), ..args() };
    assert_eq!(node_name(&given, &local, &env).unwrap(), "given");
}

#[test]
fn the_agents_own_parameters_say_where_etcd_is() {
    let local = Local::new([("FELIX_ETCDENDPOINTS".to_owned(), "http://192.0.2.9:2379".to_owned())]);
    let connection = local.connection();
    assert_eq!(of_connection(&connection, "ETCD_ENDPOINTS").as_deref(), Some("http://192.0.2.9:2379"));
    assert_eq!(of_connection(&connection, "ETCD_KEY_FILE"), None);
}

#[test]
fn a_broken_file_is_named_with_its_line() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("felix.cfg");
    std::fs::write(&file, "[global]\nnonsense\n").unwrap();
    let Err(Failure::Message(text)) = local([], &file) else { panic!("it is taken") };
    assert!(text.contains("felix.cfg: line 2"), "{text}");
    assert!(local([], &directory.path().join("none")).is_ok());
}

#[test]
fn every_parameter_is_listed_with_what_it_is() {
    let local = Local::new([("FELIX_BPFENABLED".to_owned(), "true".to_owned())]);
    let answer = felix::describe(&resolve(&local, &Stored::default(), "node-1"));
    assert_eq!(answer.params.len(), model::felix::parameters().len());
    let text = show::params_text(&answer);
    let line = |name: &str| {
        text.lines().find(|line| line.split_whitespace().next() == Some(name)).unwrap().to_owned()
    };
    let words = |name: &str| line(name).split_whitespace().map(str::to_owned).collect::<Vec<_>>().join(" ");
    assert_eq!(
        words("BPFEnabled"),
        "BPFEnabled true the environment no false local or FelixConfiguration true or false"
    );
    assert!(words("ServiceLoopPrevention").starts_with("ServiceLoopPrevention Drop default yes Drop"));
    assert!(words("EtcdEndpoints").contains(" yes - local "));
    assert!(text.ends_with(
        "warning: BPFEnabled in the environment: \"true\" has no effect: this agent does not act on it yet\n"
    ));
}

#[test]
fn the_page_says_what_is_enforced_and_what_is_not() {
    let status = StatusResponse {
        node: "node-1".to_owned(),
        source: "etcd".to_owned(),
        in_sync: true,
        known_revision: 7,
        enforced_revision: 7,
        counts: Some(Counts { local_endpoints: 3, policies: 5, active_policies: 2, ..Counts::default() }),
        endpoints_up: 2,
        endpoints_down: 1,
        objects: vec!["IPPool p: spec.ipipMode: Always is not carried".to_owned()],
        ..StatusResponse::default()
    };
    let text = show::status_text(&status);
    assert!(text.contains("enforces:   what the datastore held at revision 7\n"), "{text}");
    assert!(text.contains("3 of this node: 2 up, 1 down, 0 error"), "{text}");
    assert!(text.contains("object:     IPPool p: spec.ipipMode: Always is not carried\n"), "{text}");
    let waiting = StatusResponse { waiting: "datastoreReady is not true".to_owned(), ..status };
    assert!(show::status_text(&waiting).contains("enforces:   nothing new: datastoreReady is not true\n"));
}
