//! TLS and users.

use crate::etcd::Etcd;
use crate::options;
use datastore::etcd::{EtcdOptions, EtcdStore, Tls};
use datastore::{Bootstrap, Client, ConnectConfig, Datastore, Follow, ListOptions, StoreError, connect};
use futures::StreamExt;
use model::{Kind, Resource};
use mvcc::{KeyRange, Op, PutRequest, RangeRequest, Txn, WatchRequest};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use syncer::Change;

fn read(path: &PathBuf) -> String {
    std::fs::read_to_string(path).unwrap()
}

async fn works(store: &dyn Datastore) -> Result<(), StoreError> {
    store.txn(Txn { success: vec![Op::Put(PutRequest::new("/x", "1"))], ..Txn::default() }).await?;
    assert_eq!(store.range(RangeRequest::key("/x")).await?.kvs.len(), 1);
    Ok(())
}

#[tokio::test]
async fn client_certificates_by_file_inline_and_by_settings() {
    let server = Etcd::start_tls();
    let pki = server.pki();
    let identity = Some((read(&pki.client.0), read(&pki.client.1)));
    let tls = Tls { authority: Some(read(&pki.ca)), identity };
    let store = EtcdStore::new(&EtcdOptions { tls: tls.clone(), ..options(&[server.url()]) }).unwrap();
    works(&store).await.unwrap();

    let text = |path: &PathBuf| path.to_str().unwrap().to_owned();
    let by_file = ConnectConfig {
        etcd_endpoints: server.url(),
        etcd_ca_cert_file: text(&pki.ca),
        etcd_cert_file: text(&pki.client.0),
        etcd_key_file: text(&pki.client.1),
        ..ConnectConfig::default()
    };
    works(&*connect(&by_file).unwrap()).await.unwrap();
    let inline = ConnectConfig {
        etcd_endpoints: server.url(),
        etcd_ca_cert: read(&pki.ca),
        etcd_cert: read(&pki.client.0),
        etcd_key: read(&pki.client.1),
        ..ConnectConfig::default()
    };
    works(&*connect(&inline).unwrap()).await.unwrap();
}

#[tokio::test]
async fn wrong_certificates_fail_with_a_reason_and_soon() {
    let server = Etcd::start_tls();
    let pki = server.pki();
    let client = Some((read(&pki.client.0), read(&pki.client.1)));
    let stranger = Some((read(&pki.stranger.0), read(&pki.stranger.1)));
    let ca = Some(read(&pki.ca));
    let cases = [
        ("no client certificate", Tls { authority: ca.clone(), identity: None }),
        ("a stranger's certificate", Tls { authority: ca.clone(), identity: stranger }),
        (
            "a server of an unknown authority",
            Tls { authority: Some(read(&pki.stranger.0)), identity: client.clone() },
        ),
        ("no PEM", Tls { authority: Some("rubbish".into()), identity: client.clone() }),
        (
            "a key that is none",
            Tls { authority: ca, identity: Some((read(&pki.client.0), "rubbish".into())) },
        ),
    ];
    for (case, tls) in cases {
        let given = EtcdOptions { tls, timeout: Duration::from_secs(3), ..options(&[server.url()]) };
        let store = EtcdStore::new(&given).unwrap();
        let refused =
            tokio::time::timeout(Duration::from_secs(6), works(&store)).await.expect(case).unwrap_err();
        assert!(refused.to_string().len() > 20, "{case}: {refused}");
    }
    // plain HTTP to a TLS port
    let plain = server.url().replace("https", "http");
    let given = EtcdOptions { timeout: Duration::from_secs(3), ..options(&[plain]) };
    let refused = works(&EtcdStore::new(&given).unwrap()).await.unwrap_err();
    assert!(matches!(refused, StoreError::Unavailable(_)), "{refused}");
}

fn with_users() -> Etcd {
    let server = Etcd::start();
    for arguments in [
        &["user", "add", "root:secret"][..],
        &["user", "grant-role", "root", "root"],
        &["role", "add", "reader"],
        &["role", "grant-permission", "reader", "read", "/x"],
        &["user", "add", "guest:word"],
        &["user", "grant-role", "guest", "reader"],
        &["auth", "enable"],
    ] {
        server.must(arguments);
    }
    server
}

#[tokio::test]
async fn users_and_what_they_may() {
    let server = with_users();
    let login = |user: Option<(&str, &str)>| {
        let user = user.map(|(name, password)| (name.to_owned(), password.to_owned()));
        EtcdStore::new(&EtcdOptions { user, ..options(&[server.url()]) }).unwrap()
    };
    works(&login(Some(("root", "secret")))).await.unwrap();
    let guest = login(Some(("guest", "word")));
    assert_eq!(guest.range(RangeRequest::key("/x")).await.unwrap().kvs.len(), 1);
    for (case, store) in [
        ("may not write", guest),
        ("wrong password", login(Some(("root", "wrong")))),
        ("nobody", login(Some(("nobody", "word")))),
        ("no user", login(None)),
    ] {
        let refused = works(&store).await.unwrap_err();
        assert!(matches!(refused, StoreError::Unauthorized(_)), "{case}: {refused}");
        assert!(
            refused.to_string().starts_with("connection is unauthorized: etcdserver: "),
            "{case}: {refused}"
        );
    }
    let guest = login(Some(("guest", "word")));
    let mut forbidden = match guest.watch(WatchRequest::new(KeyRange::prefix("/secret/"), 0)).await {
        Ok(stream) => stream,
        Err(refused) => return assert!(matches!(refused, StoreError::Unauthorized(_)), "{refused}"),
    };
    let refused = tokio::time::timeout(Duration::from_secs(10), forbidden.next()).await.unwrap().unwrap();
    assert!(matches!(refused, Err(StoreError::Unauthorized(_))), "{refused:?}");
}

/// As on a site that lets each node read the kinds it needs and nothing else.
#[tokio::test]
async fn roots_are_followed_each_for_itself_where_the_rest_may_not_be_read() {
    let server = with_users();
    let root = ["--user", "root:secret"];
    for arguments in [
        &["role", "grant-permission", "--prefix=true", "reader", "read", "/a/"][..],
        &["role", "grant-permission", "--prefix=true", "reader", "read", "/c/"],
    ] {
        server.must(&[&root[..], arguments].concat());
    }
    let login = |name: &str, password: &str| {
        let user = Some((name.to_owned(), password.to_owned()));
        EtcdStore::new(&EtcdOptions { user, ..options(&[server.url()]) }).unwrap()
    };
    let (writer, reader) = (login("root", "secret"), login("guest", "word"));
    let put = async |key: &'static str| {
        let op = Op::Put(PutRequest::new(key, "1"));
        writer.txn(Txn { success: vec![op], ..Txn::default() }).await.unwrap().revision
    };
    put("/a/1").await;
    put("/b/1").await;
    let mut follow = Follow::together(Arc::new(reader), ["/a/", "/c/"].map(KeyRange::prefix));
    let mut told = Vec::new();
    let mut last = 0;
    for key in ["/c/1", "/b/2", "/a/2", "/c/2"] {
        last = put(key).await;
        while !told.contains(&key.to_owned()) && !key.starts_with("/b/") {
            let next = tokio::time::timeout(Duration::from_secs(20), follow.next()).await.unwrap();
            for change in next.changes {
                let Change::Put(kv) = change else { panic!("{change:?}") };
                told.push(String::from_utf8(kv.key.to_vec()).unwrap());
            }
        }
    }
    assert_eq!(told, ["/a/1", "/c/1", "/a/2", "/c/2"]);
    // of the one root nothing newer was heard than its own last change
    assert_eq!((follow.syncer().revision(), follow.syncer().newest()), (last - 1, last));
}

#[tokio::test]
async fn a_login_survives_a_restart_of_the_server() {
    // the server's simple tokens die with it
    let mut server = with_users();
    let user = Some(("root".to_owned(), "secret".to_owned()));
    let store = EtcdStore::new(&EtcdOptions { user, ..options(&[server.url()]) }).unwrap();
    works(&store).await.unwrap();
    let mut stream = store.watch(WatchRequest::new(KeyRange::key("/x"), 0)).await.unwrap();
    server.kill();
    server.resume();
    let read = store.range(RangeRequest::key("/x")).await.unwrap();
    assert_eq!(read.kvs.len(), 1);
    works(&store).await.unwrap();
    let message =
        tokio::time::timeout(Duration::from_secs(20), stream.next()).await.unwrap().unwrap().unwrap();
    assert_eq!(message.events.len(), 1);
}

#[tokio::test]
async fn a_user_at_a_server_without_users() {
    let server = Etcd::start();
    let user = Some(("root".to_owned(), "secret".to_owned()));
    let store = EtcdStore::new(&EtcdOptions { user, ..options(&[server.url()]) }).unwrap();
    works(&store).await.unwrap();
}

#[tokio::test]
async fn tiers_that_may_not_be_written_do_not_stop_a_node() {
    let server = Etcd::start();
    let information = "/calico/resources/v3/projectcalico.org/clusterinformations/default";
    for arguments in [
        &["user", "add", "root:secret"][..],
        &["user", "grant-role", "root", "root"],
        &["role", "add", "node"],
        &["role", "grant-permission", "--prefix=true", "node", "read", "/calico/"],
        &["role", "grant-permission", "node", "readwrite", information],
        &["user", "add", "node:word"],
        &["user", "grant-role", "node", "node"],
        &["auth", "enable"],
    ] {
        server.must(arguments);
    }
    let user = Some(("node".to_owned(), "word".to_owned()));
    let store = EtcdStore::new(&EtcdOptions { user, ..options(&[server.url()]) }).unwrap();
    let client = Client::new(Arc::new(store));
    client.ensure_initialized(Bootstrap::default()).await.unwrap();
    assert!(client.get(Kind::ClusterInformation, "", "default").await.is_ok());
    assert!(client.list(Kind::Tier, ListOptions::default()).await.unwrap().items.is_empty());
    let refused = client.create(Resource::new(Kind::GlobalNetworkSet, "", "s")).await.unwrap_err();
    assert_eq!(refused.to_string(), "connection is unauthorized: etcdserver: permission denied");
}
