//! The directory backend: followed as people and programs change files.

use datastore::directory::{DirectoryError, DirectoryStore};
use datastore::{Client, Datastore, Follow, StoreError};
use model::Kind;
use mvcc::{KeyRange, Op, PutRequest, RangeRequest, Txn};
use std::collections::BTreeMap;
use std::fs;
use std::io::Write;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use syncer::Change;

/// Longest wait for what must come.
const SOON: Duration = Duration::from_secs(20);

fn peer(name: &str, ip: &str) -> String {
    format!(
        "apiVersion: projectcalico.org/v3\nkind: BGPPeer\nmetadata: {{name: {name}}}\nspec: {{peerIP: {ip}, asNumber: 64512}}\n"
    )
}

/// A directory that is followed.
struct Subject {
    directory: tempfile::TempDir,
    store: Arc<DirectoryStore>,
    follow: Follow,
    seen: BTreeMap<String, String>,
    /// How many batches of changes came.
    batches: usize,
}

impl Subject {
    async fn new(files: &[(&str, &str)]) -> Self {
        let directory = tempfile::tempdir().unwrap();
        for (name, text) in files {
            fs::write(directory.path().join(name), text).unwrap();
        }
        let store = Arc::new(DirectoryStore::open(directory.path()).await.unwrap());
        let follow = Follow::new(Arc::clone(&store) as Arc<dyn Datastore>, [KeyRange::prefix("/calico/")]);
        let mut subject = Self { directory, store, follow, seen: BTreeMap::new(), batches: 0 };
        subject.take().await;
        subject
    }

    fn path(&self, name: &str) -> std::path::PathBuf {
        self.directory.path().join(name)
    }

    /// Takes one batch of changes.
    async fn take(&mut self) {
        let output = tokio::time::timeout(SOON, self.follow.next()).await.expect("a change");
        self.batches += 1;
        for change in output.changes {
            match change {
                Change::Put(kv) => {
                    let value: serde_json::Value = serde_json::from_slice(&kv.value).unwrap();
                    let ip = value["spec"]["peerIP"].as_str().unwrap_or_default().to_owned();
                    self.seen.insert(last(&kv.key), ip);
                }
                Change::Delete { key, .. } => {
                    self.seen.remove(&last(&key));
                }
            }
        }
    }

    /// Takes changes until these are the peers.
    async fn until(&mut self, wanted: &[(&str, &str)]) {
        let wanted: BTreeMap<String, String> =
            wanted.iter().map(|(name, ip)| ((*name).to_owned(), (*ip).to_owned())).collect();
        while self.seen != wanted {
            self.take().await;
        }
    }

    /// Waits until what is wrong is this many things, and tells them.
    async fn problems(&self, count: usize) -> Vec<String> {
        let mut problems = self.store.problems();
        let now = tokio::time::timeout(SOON, problems.wait_for(|now| now.len() == count)).await;
        now.expect("so many problems").unwrap().iter().map(ToString::to_string).collect()
    }
}

fn last(key: &[u8]) -> String {
    String::from_utf8_lossy(key).rsplit('/').next().unwrap().to_owned()
}

#[tokio::test]
async fn what_lies_there_is_listed_as_from_any_store() {
    let text = format!("{}---\n{}", peer("a", "192.0.2.1"), peer("b", "192.0.2.2"));
    let subject =
        Subject::new(&[("peers.yaml", &text), ("notes.txt", "no"), (".hidden.yaml", "["), ("x.yaml~", "[")])
            .await;
    assert_eq!(subject.seen.len(), 2);
    assert_eq!(subject.problems(0).await, [""; 0]);
    let client = Client::new(Arc::clone(&subject.store) as Arc<dyn Datastore>);
    let found = client.get(Kind::BGPPeer, "", "b").await.unwrap();
    assert_eq!(found.spec()["peerIP"], "192.0.2.2");
}

#[tokio::test]
async fn it_is_only_read() {
    let subject = Subject::new(&[("a.yaml", &peer("a", "192.0.2.1"))]).await;
    let put = Op::Put(PutRequest::new("/calico/x", "1"));
    let nested = Op::Txn(Box::new(Txn { failure: vec![put.clone()], ..Txn::default() }));
    for op in [put, nested] {
        let refused = subject.store.txn(Txn { success: vec![op], ..Txn::default() }).await;
        assert!(matches!(refused, Err(StoreError::Server(text)) if text.contains("change the files")));
    }
    assert!(subject.store.lease_grant(5).await.is_err());
    let reads = Txn::reads([RangeRequest::prefix("/calico/")]);
    assert_eq!(subject.store.txn(reads).await.unwrap().responses[0].kvs().len(), 1);
}

#[tokio::test]
async fn new_changed_and_deleted_files_are_followed() {
    let mut subject = Subject::new(&[("a.yaml", &peer("a", "192.0.2.1"))]).await;
    fs::write(subject.path("b.yml"), peer("b", "192.0.2.2")).unwrap();
    subject.until(&[("a", "192.0.2.1"), ("b", "192.0.2.2")]).await;
    fs::write(subject.path("a.yaml"), peer("a", "192.0.2.9")).unwrap();
    subject.until(&[("a", "192.0.2.9"), ("b", "192.0.2.2")]).await;
    fs::remove_file(subject.path("b.yml")).unwrap();
    subject.until(&[("a", "192.0.2.9")]).await;
}

/// vim: the old file becomes the backup, a new one is written under its name, the backup goes.
#[tokio::test]
async fn a_save_that_moves_the_old_file_away_removes_nothing() {
    let mut subject = Subject::new(&[("a.yaml", &peer("a", "192.0.2.1"))]).await;
    fs::rename(subject.path("a.yaml"), subject.path("a.yaml~")).unwrap();
    fs::write(subject.path("a.yaml"), peer("a", "192.0.2.2")).unwrap();
    fs::remove_file(subject.path("a.yaml~")).unwrap();
    let before = subject.batches;
    subject.until(&[("a", "192.0.2.2")]).await;
    assert_eq!(subject.batches, before + 1, "one change, and no removal before it");
}

/// Most tools: a temporary file in the same directory, renamed over the old one.
#[tokio::test]
async fn a_save_by_rename_is_one_change() {
    let mut subject = Subject::new(&[("a.yaml", &peer("a", "192.0.2.1"))]).await;
    fs::write(subject.path(".a.yaml.swp"), peer("a", "192.0.2.2")).unwrap();
    fs::rename(subject.path(".a.yaml.swp"), subject.path("a.yaml")).unwrap();
    let before = subject.batches;
    subject.until(&[("a", "192.0.2.2")]).await;
    assert_eq!(subject.batches, before + 1);
}

/// `cat > file`, nano: the file is cut to nothing and written in pieces, of which the first would be a good file.
#[tokio::test]
async fn a_half_written_file_is_waited_for() {
    let two = format!("{}---\n{}", peer("a", "192.0.2.1"), peer("b", "192.0.2.2"));
    let mut subject = Subject::new(&[("a.yaml", &two)]).await;
    let mut file = fs::File::create(subject.path("a.yaml")).unwrap();
    file.write_all(peer("a", "192.0.2.3").as_bytes()).unwrap();
    // longer than a burst may be silent
    tokio::time::sleep(Duration::from_millis(400)).await;
    let half = subject.store.range(RangeRequest::prefix("/calico/")).await.unwrap();
    assert_eq!(half.count, 2, "nothing is taken of a file that somebody is writing");
    file.write_all(format!("---\n{}", peer("b", "192.0.2.4")).as_bytes()).unwrap();
    drop(file);
    let before = subject.batches;
    subject.until(&[("a", "192.0.2.3"), ("b", "192.0.2.4")]).await;
    assert_eq!(subject.batches, before + 1, "and no resource was missing in between");
}

#[tokio::test]
async fn many_files_at_once_are_one_revision() {
    let mut subject = Subject::new(&[("0.yaml", &peer("p0", "192.0.2.1"))]).await;
    let wanted: Vec<(String, String)> =
        (0..200).map(|n| (format!("p{n}"), format!("192.0.2.{}", n + 1))).collect();
    for (n, (name, ip)) in wanted.iter().enumerate() {
        fs::write(subject.path(&format!("{n}.yaml")), peer(name, ip)).unwrap();
    }
    let before = subject.batches;
    let wanted: Vec<(&str, &str)> = wanted.iter().map(|(a, b)| (a.as_str(), b.as_str())).collect();
    subject.until(&wanted).await;
    // a burst that lasts is cut: few revisions, not one a file
    assert!(subject.batches - before < 10, "{} batches", subject.batches - before);
}

#[tokio::test]
async fn bad_files_are_told_and_cured() {
    let mut subject = Subject::new(&[("a.yaml", &peer("a", "192.0.2.1"))]).await;
    fs::write(subject.path("a.yaml"), peer("a", "192.0.2.300")).unwrap();
    let told = subject.problems(1).await;
    assert!(told[0].starts_with("a.yaml, document 1 at line 1: PeerIP = '192.0.2.300'"), "{told:?}");
    fs::write(subject.path("b.yaml"), peer("b", "192.0.2.2")).unwrap();
    subject.until(&[("a", "192.0.2.1"), ("b", "192.0.2.2")]).await;
    fs::write(subject.path("a.yaml"), peer("a", "192.0.2.3")).unwrap();
    subject.until(&[("a", "192.0.2.3"), ("b", "192.0.2.2")]).await;
    assert_eq!(subject.problems(0).await, [""; 0]);
}

#[tokio::test]
async fn a_bad_file_at_the_start_hinders_no_other() {
    let subject = Subject::new(&[("a.yaml", "{"), ("b.yaml", &peer("b", "192.0.2.2"))]).await;
    assert_eq!(subject.seen.len(), 1);
    assert!(subject.problems(1).await[0].starts_with("a.yaml"));
}

/// A mounted ConfigMap: the files are links through a link that is replaced.
#[tokio::test]
async fn links_are_followed() {
    let elsewhere = tempfile::tempdir().unwrap();
    let (old, new) = (elsewhere.path().join("1"), elsewhere.path().join("2"));
    for (place, ip) in [(&old, "192.0.2.1"), (&new, "192.0.2.2")] {
        fs::create_dir(place).unwrap();
        fs::write(place.join("a.yaml"), peer("a", ip)).unwrap();
    }
    let directory = tempfile::tempdir().unwrap();
    let at = |name: &str| directory.path().join(name);
    std::os::unix::fs::symlink(&old, at("..data")).unwrap();
    std::os::unix::fs::symlink("..data/a.yaml", at("a.yaml")).unwrap();
    let store = Arc::new(DirectoryStore::open(directory.path()).await.unwrap());
    let follow = Follow::new(Arc::clone(&store) as Arc<dyn Datastore>, [KeyRange::prefix("/calico/")]);
    let mut subject =
        Subject { directory: tempfile::tempdir().unwrap(), store, follow, seen: BTreeMap::new(), batches: 0 };
    subject.until(&[("a", "192.0.2.1")]).await;
    std::os::unix::fs::symlink(&new, at("..new")).unwrap();
    fs::rename(at("..new"), at("..data")).unwrap();
    subject.until(&[("a", "192.0.2.2")]).await;
    fs::write(new.join("a.yaml"), peer("a", "192.0.2.3")).unwrap();
    subject.until(&[("a", "192.0.2.3")]).await;
}

#[tokio::test]
async fn a_directory_that_goes_away_keeps_its_state_until_it_comes_back() {
    let mut subject = Subject::new(&[("a.yaml", &peer("a", "192.0.2.1"))]).await;
    let (path, aside) =
        (subject.directory.path().to_path_buf(), subject.directory.path().with_extension("aside"));
    fs::rename(&path, &aside).unwrap();
    assert!(subject.problems(1).await[0].starts_with("the directory: "));
    assert_eq!(subject.store.range(RangeRequest::prefix("/calico/")).await.unwrap().count, 1);
    fs::create_dir(&path).unwrap();
    fs::write(path.join("b.yaml"), peer("b", "192.0.2.2")).unwrap();
    subject.until(&[("b", "192.0.2.2")]).await;
    assert_eq!(subject.problems(0).await, [""; 0]);
    fs::remove_dir_all(&aside).unwrap();
}

#[tokio::test]
async fn what_is_no_directory_is_an_error_with_its_name() {
    let missing = Path::new("/nonexistent/resources");
    let error = DirectoryStore::open(missing).await.unwrap_err();
    assert!(matches!(error, DirectoryError::Read { .. }));
    assert!(error.to_string().contains("/nonexistent/resources"), "{error}");
}
