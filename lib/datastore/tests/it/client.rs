//! The resource level over both backends.

use crate::{Subject, subjects};
use datastore::{Bootstrap, Client, ClientError, DeleteOptions, ListOptions, StoreError, prepare_create};
use model::{Key, Kind, Resource};
use mvcc::{Op, PutRequest, RangeRequest, Txn};
use serde_json::{Value, json};

fn resource(kind: Kind, namespace: &str, name: &str, spec: Value) -> Resource {
    let mut resource = Resource::new(kind, namespace, name);
    *resource.spec_mut() = spec.as_object().unwrap().clone();
    resource
}

fn set(name: &str) -> Resource {
    resource(Kind::GlobalNetworkSet, "", name, json!({"nets": ["10.0.0.0/8"]}))
}

fn pool(name: &str, cidr: &str) -> Resource {
    resource(Kind::IPPool, "", name, json!({"cidr": cidr}))
}

async fn plant(subject: &Subject, key: String, value: &str) {
    let op = Op::Put(PutRequest::new(key, value.to_owned()));
    subject.store.txn(Txn { success: vec![op], ..Txn::default() }).await.unwrap();
}

async fn raw(subject: &Subject, key: &Key) -> Option<String> {
    let answer = subject.store.range(RangeRequest::key(key.path())).await.unwrap();
    answer.kvs.first().map(|kv| String::from_utf8_lossy(&kv.value).into_owned())
}

async fn initialized(subject: &Subject) -> Client {
    let client = subject.client();
    client.ensure_initialized(Bootstrap::default()).await.unwrap();
    client
}

#[tokio::test]
async fn a_resource_from_birth_to_death() {
    for subject in subjects() {
        let (client, name) = (subject.client(), subject.name);
        let made = client.create(set("s1")).await.unwrap();
        assert_eq!(made.uid().len(), 36, "{name}");
        assert_eq!(made.creation_timestamp().len(), 20, "{name}: {}", made.creation_timestamp());
        assert!(!made.resource_version().is_empty(), "{name}");
        let got = client.get(Kind::GlobalNetworkSet, "", "s1").await.unwrap();
        assert_eq!(got, made, "{name}");
        let stored = raw(&subject, &made.key()).await.unwrap();
        assert!(!stored.contains("resourceVersion"), "{name}: {stored}");

        let again = client.create(set("s1")).await.unwrap_err();
        assert_eq!(
            again.to_string(),
            "resource already exists: GlobalNetworkSet(s1) with error: <nil>",
            "{name}"
        );
        assert!(matches!(&again, ClientError::AlreadyExists { current: Some(found), .. } if **found == made));

        let mut next = got.clone();
        next.set_meta_entry("labels", "a", "b");
        let updated = client.update(next.clone()).await.unwrap();
        assert_ne!(updated.resource_version(), made.resource_version(), "{name}");
        assert_eq!(updated.uid(), made.uid(), "{name}");
        let stale = client.update(next).await.unwrap_err();
        assert_eq!(stale.to_string(), "update conflict: GlobalNetworkSet(s1)", "{name}");
        assert!(stale.is_conflict());

        let old = DeleteOptions { revision: Some(made.resource_version().into()), uid: None };
        let refused = client.delete(Kind::GlobalNetworkSet, "", "s1", old).await.unwrap_err();
        assert!(refused.is_conflict(), "{name}: {refused}");
        let other = DeleteOptions { revision: None, uid: Some("someone else".into()) };
        let refused = client.delete(Kind::GlobalNetworkSet, "", "s1", other).await.unwrap_err();
        assert!(refused.is_missing(), "{name}: {refused}");
        let exact =
            DeleteOptions { revision: Some(updated.resource_version().into()), uid: Some(made.uid().into()) };
        let gone = client.delete(Kind::GlobalNetworkSet, "", "s1", exact).await.unwrap();
        assert_eq!(gone.label("a"), Some("b"), "{name}");
        for missing in [
            client.get(Kind::GlobalNetworkSet, "", "s1").await.map(|_| ()),
            client.update(updated).await.map(|_| ()),
            client.delete(Kind::GlobalNetworkSet, "", "s1", DeleteOptions::default()).await.map(|_| ()),
        ] {
            let text = missing.unwrap_err().to_string();
            assert_eq!(text, "resource does not exist: GlobalNetworkSet(s1) with error: <nil>", "{name}");
        }
    }
}

#[tokio::test]
async fn what_a_request_must_and_must_not_carry() {
    for subject in subjects() {
        let client = subject.client();
        let refused = |result: Result<Resource, ClientError>| result.unwrap_err().to_string();
        let mut versioned = set("s");
        versioned.set_meta_text("resourceVersion", "5");
        let text = refused(client.create(versioned.clone()).await);
        assert!(text.starts_with("error with field Metadata.ResourceVersion = '5'"), "{text}");
        let text = refused(client.update(set("s")).await);
        assert!(text.starts_with("error with field Metadata.ResourceVersion = ''"), "{text}");
        let text = refused(client.update(versioned.clone()).await);
        assert!(text.starts_with("error with field Metadata.CreationTimestamp"), "{text}");
        versioned.set_meta_text("creationTimestamp", "2026-01-01T00:00:00Z");
        let text = refused(client.update(versioned.clone()).await);
        assert!(text.starts_with("error with field Metadata.UID"), "{text}");
        versioned.set_meta_text("uid", "u");
        versioned.set_meta_text("resourceVersion", "abc");
        assert_eq!(refused(client.update(versioned).await), "error with field ResourceVersion = 'abc'");
        let text = refused(client.create(set("")).await);
        assert!(text.contains("Metadata.Name = ''"), "{text}");
        let text = refused(client.create(resource(Kind::NetworkSet, "", "n", json!({}))).await);
        assert!(text.contains("Namespace"), "{text}");
        assert_eq!(
            refused(client.get(Kind::NetworkSet, "", "n").await),
            "insufficient identifiers, missing 'namespace'"
        );
        assert_eq!(
            refused(client.get(Kind::IPPool, "", "").await),
            "insufficient identifiers, missing 'name'"
        );
        let text = DeleteOptions { revision: Some("abc".into()), uid: None };
        let text = refused(client.delete(Kind::IPPool, "", "p", text).await);
        assert_eq!(text, "error with field ResourceVersion = 'abc'");
    }
}

#[tokio::test]
async fn lists() {
    for subject in subjects() {
        let (client, name) = (subject.client(), subject.name);
        for (namespace, set) in [("b", "x"), ("a", "y"), ("a", "x"), ("ab", "xx")] {
            client.create(resource(Kind::NetworkSet, namespace, set, json!({}))).await.unwrap();
        }
        let before = client.list(Kind::NetworkSet, ListOptions::default()).await.unwrap();
        // neither of these may hide the others
        plant(&subject, Key::resource(Kind::NetworkSet, "a", "broken").path(), "{").await;
        plant(&subject, "/calico/resources/v3/projectcalico.org/networksets/odd".into(), "{}").await;
        let ids = |list: &[Resource]| {
            list.iter().map(|r| format!("{}/{}", r.namespace(), r.name())).collect::<Vec<_>>()
        };
        let list = async |options| client.list(Kind::NetworkSet, options).await.unwrap();
        let all = list(ListOptions::default()).await;
        assert_eq!(ids(&all.items), ["a/x", "a/y", "ab/xx", "b/x"], "{name}");
        assert!(all.revision > before.revision, "{name}");
        let one = list(ListOptions { namespace: Some("a".into()), ..ListOptions::default() }).await;
        assert_eq!(ids(&one.items), ["a/x", "a/y"], "{name}: not those of namespace ab");
        let named = ListOptions { name_prefix: Some("x".into()), ..ListOptions::default() };
        assert_eq!(ids(&list(named.clone()).await.items), ["a/x", "ab/xx", "b/x"], "{name}");
        let both = ListOptions { namespace: Some("ab".into()), ..named };
        assert_eq!(ids(&list(both).await.items), ["ab/xx"], "{name}");
        client.delete(Kind::NetworkSet, "b", "x", DeleteOptions::default()).await.unwrap();
        let past = ListOptions { revision: Some(before.revision), ..ListOptions::default() };
        assert_eq!(list(past).await.items, before.items, "{name}");
    }
}

#[tokio::test]
async fn damaged_objects_are_named_and_can_be_deleted() {
    for subject in subjects() {
        let (client, name) = (subject.client(), subject.name);
        let key = Key::resource(Kind::IPPool, "", "p");
        plant(&subject, key.path(), "{\"spec\": 5}").await;
        let refused = client.get(Kind::IPPool, "", "p").await.unwrap_err();
        assert!(matches!(refused, ClientError::Stored(_)), "{name}: {refused}");
        assert_eq!(refused.to_string(), format!("{}: spec is not an object", key.path()), "{name}");
        client.delete(Kind::IPPool, "", "p", DeleteOptions::default()).await.unwrap();
        assert_eq!(raw(&subject, &key).await, None, "{name}");
    }
}

#[tokio::test]
async fn the_first_write_makes_what_every_cluster_has() {
    for subject in subjects() {
        let (client, name) = (subject.client(), subject.name);
        let asked = Bootstrap { cluster_type: "k8s,bgp".into(), version: "v3.33.0".into() };
        client.ensure_initialized(asked).await.unwrap();
        let information = Key::resource(Kind::ClusterInformation, "", "default");
        let stored: Value = serde_json::from_str(&raw(&subject, &information).await.unwrap()).unwrap();
        let spec = stored.get("spec").unwrap();
        assert_eq!(spec.get("clusterType"), Some(&json!("k8s,bgp")), "{name}");
        assert_eq!(spec.get("calicoVersion"), Some(&json!("v3.33.0")), "{name}");
        assert_eq!(spec.get("datastoreReady"), Some(&json!(true)), "{name}");
        let guid = spec.get("clusterGUID").and_then(Value::as_str).unwrap();
        assert!(guid.len() == 32 && guid.chars().all(|c| c.is_ascii_hexdigit()), "{name}: {guid}");
        let tiers = client.list(Kind::Tier, ListOptions::default()).await.unwrap();
        let rows: Vec<_> = tiers.items.iter().map(|t| (t.name(), t.spec().to_string())).collect();
        assert_eq!(
            rows,
            [
                ("kube-admin", r#"{"order":1000,"defaultAction":"Pass"}"#.to_owned()),
                ("default", r#"{"order":1000000,"defaultAction":"Deny"}"#.to_owned()),
                ("kube-baseline", r#"{"order":10000000,"defaultAction":"Pass"}"#.to_owned()),
            ],
            "{name}"
        );
        let before = tiers.revision;
        client.ensure_initialized(Bootstrap::default()).await.unwrap();
        let after = client.list(Kind::Tier, ListOptions::default()).await.unwrap().revision;
        assert_eq!(before, after, "{name}: nothing to do, nothing written");

        client.set_datastore_ready(false).await.unwrap();
        let more = Bootstrap { cluster_type: "bgp,typha".into(), version: String::new() };
        client.ensure_initialized(more).await.unwrap();
        let locked = client.get(Kind::ClusterInformation, "", "default").await.unwrap();
        assert_eq!(locked.spec().get("datastoreReady"), Some(&json!(false)), "{name}: a lock stays");
        assert_eq!(locked.spec().get("clusterType"), Some(&json!("k8s,bgp,typha")), "{name}");
        assert_eq!(locked.spec().get("clusterGUID"), Some(&json!(guid)), "{name}");
        client.set_datastore_ready(true).await.unwrap();
        for refused in [
            client.update(locked.clone()).await.map(|_| ()),
            client.create(Resource::new(Kind::ClusterInformation, "", "default")).await.map(|_| ()),
            client
                .delete(Kind::ClusterInformation, "", "default", DeleteOptions::default())
                .await
                .map(|_| ()),
        ] {
            assert!(matches!(refused, Err(ClientError::NotSupported { .. })), "{name}: {refused:?}");
        }
    }
}

#[tokio::test]
async fn a_node_brings_the_bootstrap_with_it() {
    for subject in subjects() {
        let client = subject.client();
        client.create(resource(Kind::Node, "", "n1", json!({}))).await.unwrap();
        assert!(client.get(Kind::ClusterInformation, "", "default").await.is_ok(), "{}", subject.name);
        let stored = raw(&subject, &Key::resource(Kind::Node, "", "n1")).await.unwrap();
        assert!(stored.ends_with(r#""spec":{},"status":{}}"#), "{stored}");
    }
}

#[tokio::test]
async fn policies_need_their_tier_and_tiers_stay_while_used() {
    for subject in subjects() {
        let (client, name) = (initialized(&subject).await, subject.name);
        let policy =
            |tier: &str, name: &str| resource(Kind::GlobalNetworkPolicy, "", name, json!({"tier": tier}));
        let missing = client.create(policy("platform", "x")).await.unwrap_err();
        assert_eq!(
            missing.to_string(),
            "resource does not exist: Tier(platform) with error: <nil>",
            "{name}"
        );
        client.create(resource(Kind::Tier, "", "platform", json!({"order": 10}))).await.unwrap();
        let made = client.create(policy("platform", "x")).await.unwrap();
        assert_eq!(made.label("projectcalico.org/tier"), Some("platform"), "{name}");
        assert_eq!(made.annotations().count(), 0, "{name}: the carrier of the name is not shown");
        let stored = raw(&subject, &made.key()).await.unwrap();
        assert!(stored.contains(r#""projectcalico.org/metadata":"{\"name\":\"x\"}""#), "{name}: {stored}");
        let delete = async |tier: &str| client.delete(Kind::Tier, "", tier, DeleteOptions::default()).await;
        assert_eq!(
            delete("platform").await.unwrap_err().to_string(),
            "operation delete is not supported on platform: Cannot delete a non-empty tier",
            "{name}"
        );
        assert_eq!(
            delete("kube-admin").await.unwrap_err().to_string(),
            "operation Delete is not supported on kube-admin: Cannot delete kube-admin tier",
            "{name}"
        );
        client.delete(Kind::GlobalNetworkPolicy, "", "x", DeleteOptions::default()).await.unwrap();
        delete("platform").await.unwrap();
        assert!(delete("platform").await.unwrap_err().is_missing(), "{name}");
    }
}

#[tokio::test]
async fn policies_of_older_releases() {
    // golden: store/verbs/legacy-default-prefix
    for subject in subjects() {
        let (client, name) = (subject.client(), subject.name);
        let key = Key::resource(Kind::GlobalNetworkPolicy, "", "default.old");
        plant(
            &subject,
            key.path(),
            r#"{"metadata":{"name":"default.old","uid":"u","creationTimestamp":"2024-01-02T03:04:05Z","annotations":{"projectcalico.org/metadata":"{\"name\":\"old\"}"}},"spec":{"order":3}}"#,
        )
        .await;
        let list = client.list(Kind::GlobalNetworkPolicy, ListOptions::default()).await.unwrap();
        assert_eq!(list.items.first().unwrap().name(), "old", "{name}");
        assert_eq!(list.items.first().unwrap().label("projectcalico.org/tier"), Some("default"), "{name}");
        assert!(client.get(Kind::GlobalNetworkPolicy, "", "old").await.unwrap_err().is_missing(), "{name}");
        assert_eq!(
            client.get(Kind::GlobalNetworkPolicy, "", "default.old").await.unwrap().name(),
            "old",
            "{name}"
        );
    }
}

#[tokio::test]
async fn pools_do_not_overlap_and_fit_the_blocks() {
    for subject in subjects() {
        let (client, name) = (subject.client(), subject.name);
        client.create(pool("first", "10.0.0.0/16")).await.unwrap();
        for (cidr, shown) in [("10.0.0.0/16", "10.0.0.0/16"), ("10.0.0.0/8", "10.0.0.0/8")] {
            let refused = client.create(pool("second", cidr)).await.unwrap_err().to_string();
            let expected = format!(
                "error with field IPPool.Spec.CIDR = '{shown}' (IPPool(second) CIDR overlaps with IPPool(first) CIDR 10.0.0.0/16)"
            );
            assert_eq!(refused, expected, "{name}");
        }
        let again = client.create(pool("first", "10.9.0.0/16")).await.unwrap_err();
        assert_eq!(again.to_string(), "resource already exists: IPPool(first) with error: <nil>", "{name}");
        plant(&subject, "/calico/ipam/v2/assignment/ipv4/block/10.1.0.0-28".into(), "{}").await;
        let refused = client.create(pool("second", "10.1.0.0/16")).await.unwrap_err().to_string();
        assert_eq!(
            refused,
            "error with field IPPool.Spec.BlockSize = '26' (IPPool blocksSize conflicts with existing allocations that use a different blockSize)",
            "{name}"
        );
        let mut fitting = pool("second", "10.1.0.0/16");
        fitting.spec_mut().insert("blockSize".into(), 28.into());
        client.create(fitting).await.unwrap();
        client.create(pool("other-family", "fd00::/48")).await.unwrap();
    }
}

#[tokio::test]
async fn racing_pools_do_not_both_win() {
    for subject in subjects() {
        let client = subject.client();
        let tasks: Vec<_> = (0..8)
            .map(|i| {
                let client = client.clone();
                tokio::spawn(
                    async move { client.create(pool(&format!("p{i}"), "10.0.0.0/16")).await.is_ok() },
                )
            })
            .collect();
        let mut won = 0;
        for task in tasks {
            won += usize::from(task.await.unwrap());
        }
        assert_eq!(won, 1, "{}", subject.name);
    }
}

#[tokio::test]
async fn peers_need_their_filters() {
    for subject in subjects() {
        let (client, name) = (subject.client(), subject.name);
        let peer = |filters: Value| {
            let spec = json!({"peerIP": "192.0.2.3", "asNumber": 64512, "filters": filters});
            resource(Kind::BGPPeer, "", "b", spec)
        };
        client.create(resource(Kind::BGPFilter, "", "there", json!({}))).await.unwrap();
        let refused = client.create(peer(json!(["there", "absent"]))).await.unwrap_err();
        assert_eq!(
            refused.to_string(),
            "error with field BGPPeer.Spec.Filters = '[absent]' (BGPFilter(s) not found)",
            "{name}"
        );
        let mut made = client.create(peer(json!(["there"]))).await.unwrap();
        made.spec_mut().insert("filters".into(), json!(["gone"]));
        assert!(client.update(made).await.unwrap_err().to_string().contains("'[gone]'"), "{name}");
    }
}

#[tokio::test]
async fn endpoints_are_named_by_what_they_are() {
    for subject in subjects() {
        let (client, name) = (subject.client(), subject.name);
        let endpoint = |name: &str| {
            let spec = json!({"node": "node-1", "orchestrator": "cni", "containerID": "abc", "endpoint": "eth0",
                "interfaceName": "cali1", "ipNetworks": ["10.0.0.1/32"]});
            resource(Kind::WorkloadEndpoint, "default", name, spec)
        };
        let made = client.create(endpoint("")).await.unwrap();
        assert_eq!(made.name(), "node--1-cni-abc-eth0", "{name}");
        assert_eq!(made.label("projectcalico.org/namespace"), Some("default"), "{name}");
        assert_eq!(made.label("projectcalico.org/orchestrator"), Some("cni"), "{name}");
        let refused = client.create(endpoint("node--1-cni-zzz-eth0")).await.unwrap_err().to_string();
        assert_eq!(
            refused,
            "error with field Name = 'node--1-cni-zzz-eth0' (the WorkloadEndpoint name does not match the primary identifiers assigned in the Spec: expected name node--1-cni-abc-eth0)",
            "{name}"
        );
        let mut nowhere = endpoint("x");
        nowhere.spec_mut().shift_remove("node");
        let refused = client.create(nowhere).await.unwrap_err().to_string();
        assert_eq!(refused, "error with field node (field should be assigned)", "{name}");
    }
}

#[tokio::test]
async fn the_profile_that_is_not_stored() {
    // golden: errors/Profile/reserved-name, errors/command/profile-built-in
    for subject in subjects() {
        let (client, name) = (subject.client(), subject.name);
        let builtin = "projectcalico-default-allow";
        client.create(resource(Kind::Profile, "", "zz", json!({}))).await.unwrap();
        let list = client.list(Kind::Profile, ListOptions::default()).await.unwrap();
        let names: Vec<_> = list.items.iter().map(Resource::name).collect();
        assert_eq!(names, ["zz", builtin], "{name}");
        let profile = client.get(Kind::Profile, "", builtin).await.unwrap();
        assert_eq!(profile.resource_version(), "1", "{name}");
        assert_eq!(
            client.create(resource(Kind::Profile, "", builtin, json!({}))).await.unwrap_err().to_string(),
            "resource already exists: projectcalico-default-allow with error: projectcalico-default-allow already exists. The profile \"projectcalico-default-allow\" is default provided by Calico"
        );
        assert_eq!(
            client.update(profile).await.unwrap_err().to_string(),
            "operation Update is not supported on projectcalico-default-allow: The profile \"projectcalico-default-allow\" is a default provided by Calico and cannot be updated"
        );
        assert_eq!(
            client
                .delete(Kind::Profile, "", builtin, DeleteOptions::default())
                .await
                .unwrap_err()
                .to_string(),
            "operation Delete is not supported on projectcalico-default-allow: The profile \"projectcalico-default-allow\" is a default provided by Calico and cannot be deleted"
        );
    }
}

#[tokio::test]
async fn affinities_on_their_way_out_are_hidden() {
    for subject in subjects() {
        let (client, name) = (subject.client(), subject.name);
        for (affinity, deleted) in [("a", "false"), ("b", "true")] {
            let value = format!(r#"{{"metadata":{{"name":"{affinity}"}},"spec":{{"deleted":"{deleted}"}}}}"#);
            plant(&subject, Key::resource(Kind::BlockAffinity, "", affinity).path(), &value).await;
        }
        let list = client.list(Kind::BlockAffinity, ListOptions::default()).await.unwrap();
        assert_eq!(list.items.len(), 1, "{name}");
        assert!(client.get(Kind::BlockAffinity, "", "b").await.unwrap_err().is_missing(), "{name}");
        assert!(client.get(Kind::BlockAffinity, "", "a").await.is_ok(), "{name}");
    }
}

#[tokio::test]
async fn prepared_writes_join_one_transaction() {
    for subject in subjects() {
        let name = subject.name;
        let writes = [prepare_create(set("a")).unwrap(), prepare_create(set("b")).unwrap()];
        let mut txn = Txn::default();
        for write in &writes {
            txn.compare.push(write.compare.clone());
            txn.success.push(write.op.clone());
        }
        let answer = subject.store.txn(txn.clone()).await.unwrap();
        assert!(answer.succeeded, "{name}");
        for write in writes {
            let stored = write.stored_at(answer.revision);
            let read = subject.client().get(Kind::GlobalNetworkSet, "", stored.name()).await.unwrap();
            assert_eq!(read, stored, "{name}");
        }
        assert!(!subject.store.txn(txn).await.unwrap().succeeded, "{name}: both or none, once");
    }
}

#[tokio::test]
async fn unknown_fields_survive_an_update() {
    for subject in subjects() {
        let (client, name) = (subject.client(), subject.name);
        let key = Key::resource(Kind::GlobalNetworkSet, "", "s");
        plant(
            &subject,
            key.path(),
            r#"{"kind":"GlobalNetworkSet","metadata":{"name":"s","uid":"u","creationTimestamp":"2026-01-01T00:00:00Z","newer":1},"spec":{"nets":["10.0.0.0/8"],"newest":{"a":[]}}}"#,
        )
        .await;
        let mut read = client.get(Kind::GlobalNetworkSet, "", "s").await.unwrap();
        read.set_meta_entry("labels", "a", "b");
        client.update(read).await.unwrap();
        let stored: Value = serde_json::from_str(&raw(&subject, &key).await.unwrap()).unwrap();
        assert_eq!(stored.pointer("/spec/newest"), Some(&json!({"a": []})), "{name}");
        assert_eq!(stored.pointer("/metadata/newer"), Some(&json!(1)), "{name}");
        assert_eq!(stored.pointer("/metadata/labels/a"), Some(&json!("b")), "{name}");
    }
}

#[tokio::test]
async fn a_store_that_is_away_is_told_as_such() {
    let options = datastore::etcd::EtcdOptions {
        endpoints: vec!["http://127.0.0.1:9".into()],
        timeout: std::time::Duration::from_secs(2),
        ..Default::default()
    };
    let client = Client::new(std::sync::Arc::new(datastore::etcd::EtcdStore::new(&options).unwrap()));
    let refused = client.get(Kind::IPPool, "", "p").await.unwrap_err();
    assert!(matches!(refused, ClientError::Store(StoreError::Unavailable(_))), "{refused}");
}
