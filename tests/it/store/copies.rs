//! `ocicat datastore backup`, `restore`, `migrate --to`: to a file, to a real etcd, and back.

use super::{embedded, etcdctl, ocicat};
use anyhow::{Result, ensure};
use ocicat_tests::etcd::{Server, Store, free_port};
use std::path::Path;

fn values(server: &Server) -> Result<Vec<(String, String)>> {
    Ok(server.client.snapshot()?.into_iter().map(|(key, stored)| (key, stored.value)).collect())
}

fn etcd(data: &Path) -> Result<Server> {
    Server::start_as(Store::Etcd, data, free_port()?, "http", &[])
}

#[test]
fn a_backup_is_restored_with_its_revisions() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let text = |name: &str| folder.path().join(name).display().to_string();
    let ours = embedded(&folder.path().join("ours"))?;
    for n in 0..300 {
        ours.client.put(&format!("/calico/{}", n % 200), &format!("value {n}"))?;
    }
    let said = ocicat(&["datastore", "backup", &text("file")], &ours.url(), &[])?.expect_ok("backup")?;
    ensure!(said.contains("200 keys") && said.contains("revision 301"), "{said}");
    let again = ocicat(&["datastore", "backup", &text("file")], &ours.url(), &[])?;
    ensure!(!again.ok() && again.stderr.contains("exists"), "a backup was overwritten: {again:?}");
    let said = ocicat(&["datastore", "restore", &text("file"), "--data-dir", &text("new")], "", &[])?;
    let said = said.expect_ok("restore")?;
    ensure!(said.contains("newest revision is 301") && said.contains("resource versions stay"), "{said}");
    ensure!(said.contains("must list anew"), "{said}");
    let restored = embedded(&folder.path().join("new"))?;
    ensure!(restored.client.snapshot()? == ours.client.snapshot()?, "revisions and all");
    restored.client.put("/calico/next", "1")?;
    ensure!(restored.client.snapshot()?["/calico/next"].revision == 302, "counting goes on");
    // what etcdctl saves of ours is a backup too, history included
    etcdctl(&ours.url(), &["snapshot", "save", &text("saved")])?.expect_ok("snapshot save")?;
    let words = ["datastore", "restore", &text("saved"), "--data-dir", &text("third")];
    ocicat(&words, "", &[])?.expect_ok("restore of a snapshot")?;
    let third = embedded(&folder.path().join("third"))?;
    ensure!(third.client.snapshot()? == ours.client.snapshot()?, "revisions and all");
    let old = etcdctl(&third.url(), &["get", "/calico/5", "--rev", "50", "--print-value-only"])?;
    ensure!(old.expect_ok("get")? == "value 5\n", "history comes along");
    // and of a directory that nothing serves
    ours.stop()?;
    let words = ["datastore", "backup", &text("cold"), "--from-dir", &text("ours")];
    ensure!(ocicat(&words, "", &[])?.expect_ok("backup of a directory")?.contains("200 keys"));
    Ok(())
}

#[test]
fn everything_moves_to_a_real_etcd_and_back() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let path = |name: &str| folder.path().join(name);
    let text = |name: &str| path(name).display().to_string();
    let (ours, etcd) = (embedded(&path("ours"))?, etcd(&path("etcd"))?);
    let resource =
        "{apiVersion: projectcalico.org/v3, kind: IPPool, metadata: {name: p}, spec: {cidr: 10.0.0.0/16}}";
    std::fs::write(path("pool.yaml"), resource)?;
    ocicat(&["apply", "-f", &text("pool.yaml")], &ours.url(), &[])?.expect_ok("apply")?;
    for n in 0..250 {
        ours.client.put(&format!("/calico/x/{n}"), &"v".repeat(n * 40))?;
    }
    let migrate =
        |from: &Server, to: &Server| ocicat(&["datastore", "migrate", "--to", &to.url()], &from.url(), &[]);
    let said = migrate(&ours, &etcd)?.expect_ok("migrate")?;
    let newest = etcd.client.revision()?;
    ensure!(said.contains(&format!("revision {} of the source", ours.client.revision()?)), "{said}");
    ensure!(said.contains(&format!("newest revision is now {newest}")), "{said}");
    ensure!(said.contains("resource versions are new") && said.contains("list anew"), "{said}");
    ensure!(values(&etcd)? == values(&ours)?, "etcd has something else");
    let pools = ocicat(&["get", "ippools"], &etcd.url(), &[])?.expect_ok("get")?;
    ensure!(pools.contains("10.0.0.0/16"), "{pools}");
    // never into what is in use
    let full = migrate(&ours, &etcd)?;
    ensure!(!full.ok() && full.stderr.contains("keys already"), "{}", full.stderr);
    ensure!(values(&etcd)? == values(&ours)?, "a refused copy wrote");
    // back: from the etcd into an embedded store that runs, and through a file
    let again = embedded(&path("again"))?;
    migrate(&etcd, &again)?.expect_ok("migrate back")?;
    ensure!(values(&again)? == values(&etcd)?, "something else came back");
    ocicat(&["datastore", "backup", &text("file")], &etcd.url(), &[])?.expect_ok("backup of etcd")?;
    ocicat(&["datastore", "restore", &text("file"), "--data-dir", &text("third")], "", &[])?
        .expect_ok("restore")?;
    ensure!(
        embedded(&path("third"))?.client.snapshot()? == etcd.client.snapshot()?,
        "revisions of the etcd stay"
    );
    Ok(())
}
