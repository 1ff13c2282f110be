use super::*;
use serde_json::Map;
use std::collections::HashMap;

fn env(pairs: &[(&str, &str)]) -> ConnectConfig {
    let map: HashMap<String, String> =
        pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
    ConnectConfig::from_env(&|name| map.get(name).cloned())
}

fn refusal(config: &ConnectConfig) -> String {
    match connect(config) {
        Ok(_) => panic!("accepted: {config:?}"),
        Err(error) => error.to_string(),
    }
}

fn file(text: &str) -> Result<ConnectConfig, String> {
    file::parse(text, "ctl.cfg").map_err(|error| error.to_string())
}

#[test]
fn every_variable_is_read_bare_and_prefixed() {
    for (_, variable, place) in SETTINGS {
        let Some(variable) = variable else { continue };
        let prefixed = format!("CALICO_{variable}");
        let mut config = env(&[(variable, "bare")]);
        assert_eq!(place(&mut config), "bare", "{variable}");
        let mut config = env(&[(variable, "bare"), (&prefixed, "prefixed")]);
        assert_eq!(place(&mut config), "prefixed", "{variable}");
        let mut config = env(&[(variable, "bare"), (&prefixed, "")]);
        assert_eq!(place(&mut config), "bare", "{variable}");
    }
}

#[test]
fn the_type_follows_from_the_endpoints() {
    assert!(connect(&env(&[("ETCD_ENDPOINTS", "http://127.0.0.1:9")])).is_ok());
    assert!(refusal(&env(&[])).starts_with("no datastore configured"));
    assert!(refusal(&env(&[("DATASTORE_TYPE", "kubernetes")])).contains("not supported"));
}

#[test]
fn recorded_refusals() {
    // golden: errors/datastore
    assert_eq!(refusal(&env(&[("DATASTORE_TYPE", "zookeeper")])), "unknown datastore type: zookeeper");
    let empty = [("DATASTORE_TYPE", "etcdv3"), ("ETCD_ENDPOINTS", "")];
    assert_eq!(refusal(&env(&empty)), "no etcd endpoints specified");
    let bare = [("DATASTORE_TYPE", "etcdv3"), ("ETCD_ENDPOINTS", "127.0.0.1")];
    assert!(refusal(&env(&bare)).contains("\"127.0.0.1\" has neither scheme nor port"));
}

#[test]
fn settings_that_exclude_or_need_each_other() {
    let srv = [("ETCD_DISCOVERY_SRV", "example.org")];
    let found = env(&srv).etcd_options().unwrap();
    assert_eq!(found.discovery.unwrap().domain, "example.org");
    assert!(connect(&env(&srv)).is_ok(), "nothing is looked up before the first request");
    let both = [("ETCD_DISCOVERY_SRV", "example.org"), ("ETCD_ENDPOINTS", "http://127.0.0.1:9")];
    assert!(refusal(&env(&both)).starts_with("multiple discovery or bootstrap options specified"));
    let base = ConnectConfig { etcd_endpoints: "https://127.0.0.1:9".into(), ..ConnectConfig::default() };
    let lone = ConnectConfig { etcd_cert: "pem".into(), ..base.clone() };
    assert!(refusal(&lone).contains("without its key"));
    let lone = ConnectConfig { etcd_key: "pem".into(), ..base.clone() };
    assert!(refusal(&lone).contains("without its certificate"));
    let mixed = ConnectConfig { etcd_key: "pem".into(), etcd_ca_cert_file: "ca".into(), ..base.clone() };
    assert!(refusal(&mixed).contains("may not be mixed"));
    let gone = ConnectConfig { etcd_ca_cert_file: "nowhere/ca.pem".into(), ..base };
    assert!(refusal(&gone).starts_with("cannot read nowhere/ca.pem: "));
}

#[test]
fn lists_of_endpoints_may_have_blanks() {
    let config = env(&[("ETCD_ENDPOINTS", " http://a:1, http://b:2,"), ("ETCD_USERNAME", "u")]);
    let options = config.etcd_options().unwrap();
    assert_eq!(options.endpoints, ["http://a:1", "http://b:2"]);
    assert_eq!(options.user, None, "a user without password is not used");
    assert_eq!(options.timeout, DEFAULT_TIMEOUT);
    let config = ConnectConfig { etcd_password: "p".into(), ..config }.with_timeout(Duration::from_secs(1));
    let options = config.etcd_options().unwrap();
    assert_eq!(options.user, Some(("u".into(), "p".into())));
    assert_eq!(options.timeout, Duration::from_secs(1));
}

#[test]
fn files_as_recorded() {
    // golden: ctl/get/config-file
    let good = "apiVersion: projectcalico.org/v3\nkind: CalicoAPIConfig\nmetadata:\nspec:\n  datastoreType: etcdv3\n  etcdEndpoints: http://127.0.0.1:2379\n";
    let config = file(good).unwrap();
    assert_eq!(config.datastore_type, "etcdv3");
    assert_eq!(config.etcd_endpoints, "http://127.0.0.1:2379");
    assert_eq!(
        file("apiVersion: projectcalico.org/v3\nkind: CalicoAPIConfig\nspec:\n  etcdEndpoint: x\n")
            .unwrap_err(),
        "syntax error in ctl.cfg: failed to parse config as YAML/JSON: error unmarshaling JSON: while decoding JSON: json: unknown field \"etcdEndpoint\""
    );
    assert_eq!(
        file("apiVersion: v1\nkind: calicoApiConfig\nspec: {}\n").unwrap_err(),
        "syntax error in ctl.cfg: invalid config file: unknown APIVersion 'v1'"
    );
    assert_eq!(
        file("apiVersion: projectcalico.org/v3\nkind: Config\nspec: {}\n").unwrap_err(),
        "syntax error in ctl.cfg: invalid config file: expected kind 'CalicoAPIConfig', got 'Config'"
    );
}

#[test]
fn json_and_every_known_field() {
    let mut spec = Map::new();
    for (name, ..) in SETTINGS {
        spec.insert(name.to_owned(), "x".into());
    }
    spec.insert("k8sClientQPS".into(), 5.into());
    spec.insert("usePodCIDR".into(), true.into());
    let document = serde_json::json!({
        "apiVersion": "projectcalico.org/v3", "kind": "CalicoAPIConfig", "metadata": {}, "spec": spec,
    });
    let mut config = file(&document.to_string()).unwrap();
    for (name, _, place) in SETTINGS {
        assert_eq!(place(&mut config), "x", "{name}");
    }
}

#[test]
fn what_is_no_settings_file() {
    for text in ["", "[]", "a: [", "\u{0}", "apiVersion: 3", "spec: 1", "extra: 1", "text"] {
        assert!(file(text).is_err(), "{text:?}");
    }
    let number = "apiVersion: projectcalico.org/v3\nkind: CalicoAPIConfig\nspec:\n  etcdPassword: 12\n";
    assert!(file(number).unwrap_err().ends_with("field spec.etcdPassword is not a text: put it in quotes"));
    let missing = ConnectConfig::from_file(Path::new("nowhere.cfg")).unwrap_err();
    assert!(missing.to_string().starts_with("cannot read nowhere.cfg: "));
}

#[test]
fn secrets_are_not_printed() {
    let config = ConnectConfig {
        etcd_username: "root".into(),
        etcd_password: "s3cret".into(),
        etcd_key: "s3cret".into(),
        ..ConnectConfig::default()
    };
    let shown = format!("{config:?}");
    assert!(shown.contains("root") && !shown.contains("s3cret"), "{shown}");
}

#[test]
fn a_file_on_disk() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("calicoctl.cfg");
    std::fs::write(
        &path,
        "apiVersion: projectcalico.org/v3\nkind: CalicoAPIConfig\nspec: {etcdEndpoints: 'http://a:1'}\n",
    )
    .unwrap();
    assert_eq!(ConnectConfig::from_file(&path).unwrap().etcd_endpoints, "http://a:1");
}
