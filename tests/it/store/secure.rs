//! TLS and passwords, with etcdctl and with ocicat's own settings.

use super::{etcdctl, ocicat};
use anyhow::{Result, ensure};
use ocicat_tests::certificates;
use ocicat_tests::etcd::{Server, Store, free_port};
use ocicat_tests::process::wait_for;
use std::time::Duration;

const POOL: &str =
    "{apiVersion: projectcalico.org/v3, kind: IPPool, metadata: {name: p}, spec: {cidr: 10.0.0.0/16}}";

#[test]
fn only_who_has_a_certificate_of_the_authority_gets_in() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let file = |name: &str| folder.path().join(name).display().to_string();
    certificates::make(folder.path())?;
    std::fs::write(file("pool.yaml"), POOL)?;
    let server = Server::start_as(
        Store::Embedded,
        &folder.path().join("data"),
        free_port()?,
        "https",
        &[
            format!("--cert-file={}", file("server.crt")),
            format!("--key-file={}", file("server.key")),
            format!("--trusted-ca-file={}", file("ca.crt")),
        ],
    )?;
    let url = format!("https://{}", server.address());
    let named = |name: &str| {
        [
            "--cacert".to_owned(),
            file("ca.crt"),
            "--cert".to_owned(),
            file(&format!("{name}.crt")),
            "--key".to_owned(),
            file(&format!("{name}.key")),
        ]
    };
    let ctl = |flags: &[String], words: &[&str]| {
        let flags: Vec<&str> = flags.iter().map(String::as_str).collect();
        etcdctl(&url, &[&["--dial-timeout=3s", "--command-timeout=5s"], &flags[..], words].concat())
    };
    // the program listens before it has read its database
    let up = || ctl(&named("client"), &["get", "/a"]).ok().filter(|output| output.ok());
    wait_for("an answer over TLS", Duration::from_secs(20), up)?;
    ctl(&named("client"), &["put", "/a", "1"])?.expect_ok("put")?;
    ensure!(ctl(&named("client"), &["get", "/a"])?.expect_ok("get")? == "/a\n1\n");
    for words in [&["endpoint", "status"][..], &["defrag"], &["endpoint", "hashkv"], &["member", "list"]] {
        ctl(&named("client"), words)?.expect_ok(&words.join(" "))?;
    }
    ensure!(!ctl(&named("stranger"), &["get", "/a"])?.ok(), "a stranger got in");
    ensure!(!ctl(&named("client")[..2], &["get", "/a"])?.ok(), "a client without certificate got in");
    let plain = etcdctl(&server.url(), &["--dial-timeout=3s", "--command-timeout=5s", "get", "/a"])?;
    ensure!(!plain.ok(), "somebody got in without TLS");
    let (ca, cert, key) = (file("ca.crt"), file("client.crt"), file("client.key"));
    let good = [("ETCD_CA_CERT_FILE", ca.as_str()), ("ETCD_CERT_FILE", &cert), ("ETCD_KEY_FILE", &key)];
    ocicat(&["apply", "-f", &file("pool.yaml")], &url, &good)?.expect_ok("apply")?;
    ensure!(ocicat(&["get", "ippools"], &url, &good)?.expect_ok("get")?.contains("10.0.0.0/16"));
    let backup = file("backup");
    ocicat(&["datastore", "backup", &backup], &url, &good)?.expect_ok("backup over TLS")?;
    let (cert, key) = (file("stranger.crt"), file("stranger.key"));
    let strange = [("ETCD_CA_CERT_FILE", ca.as_str()), ("ETCD_CERT_FILE", &cert), ("ETCD_KEY_FILE", &key)];
    ensure!(!ocicat(&["get", "ippools"], &url, &strange)?.ok(), "a stranger read pools");
    let untrusting = [("ETCD_CA_CERT_FILE", file("other-ca.crt"))];
    let untrusting = untrusting.each_ref().map(|(name, value)| (*name, value.as_str()));
    ensure!(
        !ocicat(&["get", "ippools"], &url, &untrusting)?.ok(),
        "a server of another authority was believed"
    );
    Ok(())
}

#[test]
fn settings_that_do_not_fit_are_refused_in_words() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let file = |name: &str| folder.path().join(name).display().to_string();
    certificates::make(folder.path())?;
    let data = file("data");
    let (cert, key, other, nowhere) =
        (file("server.crt"), file("server.key"), file("client.key"), file("nowhere"));
    let (https, http) = ("https://127.0.0.1:0", "http://127.0.0.1:0");
    for (listen, flags, says) in [
        (https, vec![], "needs --cert and --key"),
        (http, vec!["--cert", &cert, "--key", &key], "over https only"),
        (https, vec!["--cert", &cert], "belong together"),
        (http, vec!["--client-ca", &cert], "needs them"),
        (https, vec!["--cert", &nowhere, "--key", &key], "nowhere"),
        (https, vec!["--cert", &key, "--key", &key], "certificate"),
        (https, vec!["--cert", &cert, "--key", &cert], "key"),
        (https, vec!["--cert", &cert, "--key", &other], "key"),
    ] {
        let words = [&["datastore", "--data-dir", &data, "--listen", listen], &flags[..]].concat();
        let refused = ocicat(&words, "", &[])?;
        ensure!(!refused.ok() && refused.stderr.contains(says), "{flags:?}: {refused:?}");
    }
    Ok(())
}

#[test]
fn a_password_is_asked_for_when_users_are_configured() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let file = |name: &str| folder.path().join(name).display().to_string();
    std::fs::write(file("users"), "# who may\nroot:se:cret\n")?;
    std::fs::write(file("pool.yaml"), POOL)?;
    let server = Server::start_as(
        Store::Embedded,
        &folder.path().join("data"),
        free_port()?,
        "http",
        &[format!("--users={}", file("users"))],
    )?;
    let good = [("ETCD_USERNAME", "root"), ("ETCD_PASSWORD", "se:cret")];
    ocicat(&["apply", "-f", &file("pool.yaml")], &server.url(), &good)?.expect_ok("apply")?;
    ensure!(ocicat(&["get", "ippools"], &server.url(), &good)?.expect_ok("get")?.contains("10.0.0.0/16"));
    for bad in [vec![], vec![("ETCD_USERNAME", "root"), ("ETCD_PASSWORD", "secret")]] {
        ensure!(!ocicat(&["get", "ippools"], &server.url(), &bad)?.ok(), "{bad:?} got in");
    }
    let ctl = |user: &str| etcdctl(&server.url(), &["--user", user, "get", "", "--prefix", "--keys-only"]);
    ensure!(ctl("root:se:cret")?.expect_ok("get")?.contains("/calico/"));
    ensure!(ctl("root:wrong")?.stderr.contains("invalid user ID or password"));
    Ok(())
}
