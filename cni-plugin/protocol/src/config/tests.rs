use super::*;
use proptest::prelude::*;
use serde_json::json;

fn read(document: Value) -> Result<NetConf, FieldError> {
    let Value::Object(object) = document else { panic!("an object") };
    NetConf::read(object)
}

#[test]
fn the_first_users_configuration_reads_literally() {
    let conf = read(json!({
        "name": "frontend", "type": "calico", "log_level": "DEBUG",
        "etcd_endpoints": "http://162.105.175.30:2379",
        "ipam": {"type": "calico-ipam", "assign_ipv4": "true", "assign_ipv6": "true",
                 "ipv4_pools": ["10.0.0.0/24", "20.0.0.0/16"], "ipv6_pools": ["2001:db8::1/120"]}
    }))
    .unwrap();
    assert_eq!(conf.name, "frontend");
    assert_eq!(conf.log.level, LogLevel::Debug);
    assert_eq!(conf.datastore, [("ETCD_ENDPOINTS", "http://162.105.175.30:2379".to_owned())]);
    assert!(conf.ipam.assign_ipv4 && conf.ipam.assign_ipv6);
    assert_eq!(conf.ipam.ipv4_pools, ["10.0.0.0/24", "20.0.0.0/16"]);
    assert_eq!(conf.ipam.ipv6_pools, ["2001:db8::1/120"]);
    assert_eq!(conf.nodename_file, "/var/lib/calico/nodename");
    assert!(!conf.nodename_file_optional);
    assert_eq!(conf.policy_type, "");
}

#[test]
fn defaults_of_an_empty_configuration() {
    let conf = read(json!({"name": "n"})).unwrap();
    assert_eq!((conf.mtu, conf.num_queues), (0, 1));
    assert_eq!(conf.device_type, DeviceType::Veth);
    assert_eq!(
        conf.log,
        LogConf {
            level: LogLevel::Info,
            file: String::new(),
            max_size_mb: 100,
            max_age_days: 30,
            max_count: 10
        }
    );
    assert_eq!(conf.ipam_lock_file, "/var/run/calico/ipam.lock");
    assert_eq!(conf.endpoint_status_dir, "/var/run/calico/endpoint-status");
    assert_eq!(conf.ipam.plugin, "");
    assert!(conf.ipam.assign_ipv4 && !conf.ipam.assign_ipv6);
    assert_eq!(conf.policy_setup_timeout_seconds, 0);
    assert!(conf.datastore.is_empty());
}

#[test]
fn every_key_of_the_contract_is_read() {
    let conf = read(serde_json::from_str(r#"{
        "cniVersion": "1.0.0", "name": "n", "type": "calico", "mode": "vxlan", "mtu": 1432, "require_mtu_file": true,
        "num_queues": 2, "device_type": "netkit", "nodename": "a", "nodename_file": "/f", "nodename_file_optional": true,
        "hostname": "h", "datastore_type": "etcdv3", "etcd_endpoints": "e", "etcd_discovery_srv": "d",
        "etcd_key_file": "k", "etcd_cert_file": "c", "etcd_ca_cert_file": "ca", "etcd_scheme": "s",
        "etcd_authority": "au", "log_level": "Error", "log_file_path": "/l", "log_file_max_size": 1,
        "log_file_max_age": 2, "log_file_max_count": 3, "ipam_lock_file": "/lock",
        "policy": {"type": "k8s", "k8s_api_root": "http://p"}, "kubernetes": {"kubeconfig": "/kc", "node_name": "kn"},
        "container_settings": {"allow_ip_forwarding": true},
        "feature_control": {"ip_addrs_no_ipam": true, "floating_ips": true}, "include_default_routes": true,
        "readiness_gates": ["http://localhost:9099/readiness"], "policy_setup_timeout_seconds": -1,
        "endpoint_status_dir": "/es", "dataplane_options": {"type": "x"}, "calico_api_group": "g", "qps": 5, "burst": 6,
        "args": {"org.apache.mesos": {"network_info": {"labels": {"labels": [
            {"key": "role", "value": "db"}, {"key": "projectcalico.org/namespace", "value": "team-x"}]}}}},
        "RuntimeConfig": {"dns": {}}, "windows_use_single_network": true
    }"#).unwrap())
    .unwrap();
    assert_eq!((conf.mtu, conf.require_mtu_file, conf.num_queues), (1432, true, 2));
    assert_eq!(conf.device_type, DeviceType::Netkit);
    assert_eq!(
        (conf.nodename.as_str(), conf.nodename_file.as_str(), conf.hostname.as_str()),
        ("a", "/f", "h")
    );
    let variables: Vec<(&str, &str)> = conf.datastore.iter().map(|(k, v)| (*k, v.as_str())).collect();
    assert_eq!(
        variables,
        [
            ("DATASTORE_TYPE", "etcdv3"),
            ("ETCD_ENDPOINTS", "e"),
            ("ETCD_DISCOVERY_SRV", "d"),
            ("ETCD_SCHEME", "s"),
            ("ETCD_AUTHORITY", "au"),
            ("ETCD_KEY_FILE", "k"),
            ("ETCD_CERT_FILE", "c"),
            ("ETCD_CA_CERT_FILE", "ca"),
            ("CALICO_API_GROUP", "g"),
            ("K8S_CLIENT_QPS", "5"),
            ("K8S_CLIENT_BURST", "6"),
        ]
    );
    assert_eq!(
        conf.log,
        LogConf { level: LogLevel::Error, file: "/l".into(), max_size_mb: 1, max_age_days: 2, max_count: 3 }
    );
    assert_eq!(conf.ipam_lock_file, "/lock");
    assert_eq!((conf.policy_type.as_str(), conf.k8s_api_root.as_str()), ("k8s", "http://p"));
    assert_eq!((conf.kubeconfig.as_str(), conf.k8s_node_name.as_str()), ("/kc", "kn"));
    assert!(
        conf.allow_ip_forwarding && conf.ip_addrs_no_ipam && conf.floating_ips && conf.include_default_routes
    );
    assert_eq!(conf.readiness_gates, ["http://localhost:9099/readiness"]);
    assert_eq!(conf.policy_setup_timeout_seconds, -1);
    assert_eq!(conf.endpoint_status_dir, "/es");
    assert_eq!(conf.labels, [("role".to_owned(), "db".to_owned())]);
    assert_eq!(conf.labels_namespace.as_deref(), Some("team-x"));
    assert!(conf.raw().contains_key("windows_use_single_network"));
}

#[test]
fn the_api_root_of_kubernetes_wins() {
    let conf = read(json!({"policy": {"k8s_api_root": "p"}, "kubernetes": {"k8s_api_root": "k"}})).unwrap();
    assert_eq!(conf.k8s_api_root, "k");
}

#[test]
fn the_configuration_overwrites_the_process() {
    let conf = read(json!({"etcd_endpoints": "http://a:2379"})).unwrap();
    let process = |name: &str| Some(format!("process {name}"));
    assert_eq!(conf.datastore_variable("ETCD_ENDPOINTS", &process).unwrap(), "http://a:2379");
    assert_eq!(conf.datastore_variable("ETCD_KEY_FILE", &process).unwrap(), "process ETCD_KEY_FILE");
}

#[test]
fn wrong_types_are_refused_by_path() {
    for (document, path) in [
        (json!({"ipam": {"type": "calico-ipam", "assign_ipv4": true}}), "ipam.assign_ipv4"),
        (json!({"ipam": {"type": "calico-ipam", "ipv4_pools": "10.65.0.0/24"}}), "ipam.ipv4_pools"),
        (json!({"ipam": {"type": "calico-ipam", "ipv6_pools": [1]}}), "ipam.ipv6_pools[0]"),
        (json!({"ipam": []}), "ipam"),
        (json!({"mtu": "1500"}), "mtu"),
        (json!({"mtu": -1}), "mtu"),
        (json!({"mtu": 65536}), "mtu"),
        (json!({"num_queues": 1e9}), "num_queues"),
        (json!({"policy": {"type": 1}}), "policy.type"),
        (json!({"policy": {"k8s_auth_token": 1}}), "policy.k8s_auth_token"),
        (
            json!({"container_settings": {"allow_ip_forwarding": "yes"}}),
            "container_settings.allow_ip_forwarding",
        ),
        (json!({"readiness_gates": [{}]}), "readiness_gates[0]"),
        (json!({"log_file_max_size": -5}), "log_file_max_size"),
        (json!({"qps": "5"}), "qps"),
        (
            json!({"args": {"org.apache.mesos": {"network_info": {"labels": {"labels": [{"key": 1}]}}}}}),
            "args.org.apache.mesos.network_info.labels.labels[0].key",
        ),
    ] {
        let error = read(document).unwrap_err();
        assert_eq!(error.path, path, "{error}");
        assert!(error.to_string().contains("expected"), "{error}");
    }
}

#[test]
fn the_keys_of_another_ipam_plugin_are_its_own() {
    let conf = read(json!({"ipam": {"type": "host-local", "assign_ipv4": true, "ipv4_pools": 5}})).unwrap();
    assert_eq!(conf.ipam.plugin, "host-local");
}

#[test]
fn assign_takes_other_words_as_the_default() {
    let conf =
        read(json!({"ipam": {"type": "calico-ipam", "assign_ipv4": "no", "assign_ipv6": "yes"}})).unwrap();
    assert!(conf.ipam.assign_ipv4 && !conf.ipam.assign_ipv6);
}

#[test]
fn unknown_levels_are_info() {
    assert_eq!(read(json!({"log_level": "loud"})).unwrap().log.level, LogLevel::Info);
}

fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        "[a-z0-9./:]{0,12}".prop_map(Value::from),
    ];
    leaf.prop_recursive(3, 24, 4, |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            proptest::collection::hash_map(
                "(type|labels|key|assign_ipv4|ipv4_pools|[a-z]{1,3})",
                inner,
                0..4
            )
            .prop_map(|map| Value::Object(map.into_iter().collect())),
        ]
    })
}

proptest! {
    #[test]
    fn any_value_under_any_key_is_read_or_refused_at_that_key(
        key in prop_oneof![
            Just("ipam"), Just("mtu"), Just("policy"), Just("args"), Just("kubernetes"), Just("readiness_gates"),
            Just("log_file_max_age"), Just("feature_control"), Just("name"), Just("other"),
        ],
        value in any_json(),
    ) {
        let document = json!({ key: value });
        match read(document.clone()) {
            Ok(conf) => prop_assert_eq!(Value::Object(conf.raw().clone()), document),
            Err(error) => prop_assert!(error.path.starts_with(key), "{}", error),
        }
    }
}
