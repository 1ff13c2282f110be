//! Users and passwords, with the client library and with etcdctl.

use crate::servers::{Ours, etcdctl, must};
use etcd_client::{Client, ConnectOptions};

#[tokio::test]
async fn who_does_not_log_in_gets_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let server = Ours::with_users(directory.path(), "root:secret\n");
    assert_eq!(must(&server.url, &["--user", "root:secret", "put", "/a", "1"]), "OK\n");
    for (user, says) in [
        (None, "etcdserver: user name is empty"),
        (Some("root:wrong"), "authentication failed, invalid user ID or password"),
        (Some("nobody:secret"), "authentication failed, invalid user ID or password"),
    ] {
        let mut words = vec!["get", "/a"];
        words.extend(user.into_iter().flat_map(|user| ["--user", user]));
        let output = etcdctl(&server.url, &words);
        let text = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(!output.status.success() && text.contains(says), "{user:?}: {text}");
    }
    let options = ConnectOptions::new().with_user("root", "secret");
    let mut client = Client::connect([&server.url], Some(options)).await.unwrap();
    assert_eq!(client.get("/a", None).await.unwrap().kvs()[0].value(), b"1");
    let mut stranger = Client::connect([&server.url], None).await.unwrap();
    assert!(stranger.watch("/a", None).await.is_err());
    assert!(stranger.lease_grant(10, None).await.is_err());
    assert!(stranger.snapshot().await.is_err());
    let told = stranger.user_add("x", "y", None).await.unwrap_err().to_string();
    assert!(told.contains("user name is empty"), "{told}");
}

#[tokio::test]
async fn a_login_to_a_store_without_users_is_etcds_error() {
    let directory = tempfile::tempdir().unwrap();
    let server = Ours::start(directory.path());
    let output = etcdctl(&server.url, &["--user", "root:secret", "get", "/a"]);
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success() || text.contains("authentication is not enabled"), "{text}");
}
