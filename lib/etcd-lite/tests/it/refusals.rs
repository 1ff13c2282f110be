//! What is refused, with which code and in which words: the same as etcd, one cause after the other.

use crate::servers::{Etcd, Ours, connect, etcdctl, must, quick_directory};
use etcd_client::{
    Client, CompactionOptions, Compare, CompareOp, ConnectOptions, DeleteOptions, Error, GetOptions,
    LeaseGrantOptions, PutOptions, Txn, TxnOp,
};
use futures::future::BoxFuture;

type Told = Result<String, Error>;
type Ask = for<'a> fn(&'a mut Client) -> BoxFuture<'a, Told>;

/// Most of what a transaction may have of each, and one more.
const TOO_MANY: usize = 129;

async fn get(client: &mut Client, key: &str, revision: i64) -> Told {
    let options = GetOptions::new().with_revision(revision);
    client.get(key, Some(options)).await.map(|answer| format!("{:?}", answer.kvs()))
}

async fn put(client: &mut Client, key: &str, value: &str, options: PutOptions) -> Told {
    client.put(key, value, Some(options)).await.map(|answer| format!("{:?}", answer.prev_key()))
}

async fn txn(client: &mut Client, txn: Txn) -> Told {
    client.txn(txn).await.map(|answer| format!("{}", answer.succeeded()))
}

async fn grant(client: &mut Client, id: i64, ttl: i64) -> Told {
    let options = LeaseGrantOptions::new().with_id(id);
    client.lease_grant(ttl, Some(options)).await.map(|answer| format!("{} {}", answer.id(), answer.ttl()))
}

fn op(key: &str) -> TxnOp {
    TxnOp::put(key, "v", None)
}

fn then(ops: impl IntoIterator<Item = TxnOp>) -> Txn {
    Txn::new().and_then(ops.into_iter().collect::<Vec<_>>())
}

fn ops(number: usize) -> Vec<TxnOp> {
    (0..number).map(|n| TxnOp::get(format!("/{n}"), None)).collect()
}

fn conditions(number: usize) -> Vec<Compare> {
    (0..number).map(|n| Compare::version(format!("/{n}"), CompareOp::Equal, 0)).collect()
}

/// In this order: some stand on what came before.
const CASES: &[(&str, Ask)] = &[
    ("a put", |c| Box::pin(put(c, "/a", "1", PutOptions::new()))),
    ("no key to put", |c| Box::pin(put(c, "", "1", PutOptions::new()))),
    ("no key to get", |c| Box::pin(get(c, "", 0))),
    ("no key to delete", |c| Box::pin(async { c.delete("", None).await.map(|_| String::new()) })),
    ("no key in a transaction", |c| Box::pin(txn(c, then([op("")])))),
    ("no key in a condition", |c| {
        Box::pin(txn(c, Txn::new().when(vec![Compare::version("", CompareOp::Equal, 0)])))
    }),
    ("no key in a nested transaction", |c| Box::pin(txn(c, then([TxnOp::txn(then([op("")]))])))),
    ("no key on the way not taken", |c| Box::pin(txn(c, Txn::new().or_else(vec![op("")])))),
    ("an empty transaction", |c| Box::pin(txn(c, Txn::new()))),
    ("as many operations as may be", |c| Box::pin(txn(c, then(ops(TOO_MANY - 1))))),
    ("an operation more", |c| Box::pin(txn(c, then(ops(TOO_MANY))))),
    ("an operation more on the way not taken", |c| Box::pin(txn(c, Txn::new().or_else(ops(TOO_MANY))))),
    ("as many conditions as may be", |c| Box::pin(txn(c, Txn::new().when(conditions(TOO_MANY - 1))))),
    ("a condition more", |c| Box::pin(txn(c, Txn::new().when(conditions(TOO_MANY))))),
    ("an operation more in a nested one", |c| Box::pin(txn(c, then([TxnOp::txn(then(ops(TOO_MANY)))])))),
    ("a key put twice", |c| Box::pin(txn(c, then([op("/k"), op("/k")])))),
    ("a key put twice, once nested", |c| Box::pin(txn(c, then([op("/k"), TxnOp::txn(then([op("/k")]))])))),
    ("a key put and deleted", |c| Box::pin(txn(c, then([op("/k"), TxnOp::delete("/k", None)])))),
    ("a key put and deleted with others", |c| {
        let options = DeleteOptions::new().with_prefix();
        Box::pin(txn(c, then([op("/k/1"), TxnOp::delete("/k/", Some(options))])))
    }),
    ("a value that is to be ignored", |c| Box::pin(put(c, "/a", "2", PutOptions::new().with_ignore_value()))),
    ("a value that is to be ignored, in a transaction", |c| {
        let put = TxnOp::put("/a", "2", Some(PutOptions::new().with_ignore_value()));
        Box::pin(txn(c, then([put])))
    }),
    ("a lease that is to be ignored", |c| {
        Box::pin(put(c, "/a", "2", PutOptions::new().with_ignore_lease().with_lease(9)))
    }),
    ("the value of nothing kept", |c| Box::pin(put(c, "/none", "", PutOptions::new().with_ignore_value()))),
    ("the lease of nothing kept", |c| Box::pin(put(c, "/none", "2", PutOptions::new().with_ignore_lease()))),
    ("the value of nothing kept, in a transaction", |c| {
        let put = TxnOp::put("/none", "", Some(PutOptions::new().with_ignore_value()));
        Box::pin(txn(c, then([put])))
    }),
    ("an unknown lease", |c| Box::pin(put(c, "/a", "2", PutOptions::new().with_lease(99)))),
    ("an unknown lease, in a transaction", |c| {
        Box::pin(txn(c, then([TxnOp::put("/a", "2", Some(PutOptions::new().with_lease(99)))])))
    }),
    ("a request that is too large", |c| {
        Box::pin(async { put(c, "/large", &"x".repeat((3 << 19) + 1), PutOptions::new()).await })
    }),
    ("a transaction that is too large", |c| {
        let half = || "x".repeat(3 << 18);
        Box::pin(txn(c, then([TxnOp::put("/1", half(), None), TxnOp::put("/2", half(), None)])))
    }),
    ("a revision to come", |c| Box::pin(get(c, "/a", 1000))),
    ("a revision to come, in a transaction", |c| {
        let options = GetOptions::new().with_revision(1000);
        Box::pin(txn(c, then([op("/b"), TxnOp::get("/a", Some(options))])))
    }),
    ("nothing of it happened", |c| Box::pin(get(c, "/b", 0))),
    ("a compaction to come", |c| Box::pin(async { c.compact(1000, None).await.map(|_| String::new()) })),
    ("a compaction", |c| {
        let options = CompactionOptions::new().with_physical();
        Box::pin(async { c.compact(2, Some(options)).await.map(|_| String::new()) })
    }),
    ("the same compaction", |c| Box::pin(async { c.compact(2, None).await.map(|_| String::new()) })),
    ("what was compacted", |c| Box::pin(get(c, "/a", 1))),
    ("what was compacted, in a transaction", |c| {
        let options = GetOptions::new().with_revision(1);
        Box::pin(txn(c, then([op("/b"), TxnOp::get("/a", Some(options))])))
    }),
    ("a lease", |c| Box::pin(grant(c, 7, 1000))),
    ("the same lease", |c| Box::pin(grant(c, 7, 1000))),
    ("a lease for too long", |c| Box::pin(grant(c, 8, 9_000_000_001))),
    ("a lease for no time", |c| Box::pin(grant(c, 8, 0))),
    ("an unknown lease revoked", |c| Box::pin(async { c.lease_revoke(99).await.map(|_| String::new()) })),
    ("an unknown lease asked for", |c| {
        let told = |answer: etcd_client::LeaseTimeToLiveResponse| {
            format!("{} {} {}", answer.id(), answer.ttl(), answer.granted_ttl())
        };
        Box::pin(async move { c.lease_time_to_live(99, None).await.map(told) })
    }),
];

fn words(told: Told) -> String {
    match told {
        Ok(answer) => format!("taken: {answer}"),
        Err(Error::GRpcStatus(status)) => format!("{:?}: {}", status.code(), status.message()),
        Err(error) => panic!("no answer: {error}"),
    }
}

#[tokio::test]
async fn refusals_have_etcds_codes_and_words() {
    let directory = quick_directory();
    let (etcd, server) = (Etcd::start(), Ours::start(directory.path()));
    let (mut ours, mut theirs) = (connect(&server.url).await, connect(&etcd.url).await);
    let (mut refused, mut taken) = (0, 0);
    for (case, ask) in CASES {
        let (mine, other) = tokio::join!(ask(&mut ours), ask(&mut theirs));
        let (mine, other) = (words(mine), words(other));
        assert_eq!(mine, other, "{case}: ours, etcd's");
        if mine.starts_with("taken") { taken += 1 } else { refused += 1 }
    }
    assert!(refused > 25 && taken > 5, "{refused} refused and {taken} taken are no test");
    let (mine, other) = tokio::join!(ours.get("/a", None), theirs.get("/a", None));
    let revision = |answer: etcd_client::GetResponse| answer.header().unwrap().revision();
    assert_eq!(revision(mine.unwrap()), revision(other.unwrap()), "what is refused changes nothing");
}

#[tokio::test]
async fn logins_are_refused_with_etcds_codes_and_words() {
    let directory = quick_directory();
    let (etcd, server) = (Etcd::start(), Ours::with_users(directory.path(), "root:secret\n"));
    for words in
        [&["user", "add", "root:secret"][..], &["user", "grant-role", "root", "root"], &["auth", "enable"]]
    {
        must(&etcd.url, words);
    }
    for user in [None, Some(("root", "wrong")), Some(("nobody", "secret")), Some(("root", "secret"))] {
        let mut said = Vec::new();
        for url in [&server.url, &etcd.url] {
            let options = user.map(|(name, password)| ConnectOptions::new().with_user(name, password));
            let put = async {
                let mut client = Client::connect([url], options).await?;
                put(&mut client, "/a", "1", PutOptions::new()).await
            };
            said.push(words(put.await));
        }
        assert_eq!(said[0], said[1], "{user:?}: ours, etcd's");
        assert_eq!(said[0].starts_with("taken"), user == Some(("root", "secret")), "{}", said[0]);
    }
}

/// What etcdctl says, without who answered and without what it logs.
fn said(url: &str, words: &[&str]) -> String {
    let output = etcdctl(url, words);
    let text = [output.stdout, output.stderr].concat();
    let text = String::from_utf8_lossy(&text).into_owned();
    let own = ["\"ClusterID\"", "\"MemberID\"", "\"RaftTerm\""];
    let lines =
        text.lines().filter(|line| !line.starts_with('{') && !own.iter().any(|word| line.contains(word)));
    format!("{} {}", output.status, lines.collect::<Vec<_>>().join("\n"))
}

#[test]
fn etcdctl_says_the_same_of_both() {
    let directory = quick_directory();
    let (etcd, server) = (Etcd::start(), Ours::start(directory.path()));
    let commands = [
        "put /a 1",
        "put /a 2 --prev-kv -w fields",
        "put /b 3 --lease=99",
        "put /none x --ignore-value",
        "put /none --ignore-value",
        "put /a --ignore-value -w fields",
        "put /a 4 --ignore-lease",
        "put /b/1 z",
        "put /b/2 y",
        "put /b/3 x",
        "get /b/ --prefix -w fields",
        "get /b/ --prefix --order=DESCEND --sort-by=KEY",
        "get /b/ --prefix --order=ASCEND --sort-by=VALUE -w fields",
        "get /b/ --prefix --order=DESCEND --sort-by=VERSION",
        "get /b/ --prefix --order=DESCEND --sort-by=CREATE",
        "get /b/ --prefix --order=ASCEND --sort-by=MODIFY --limit=2 -w fields",
        "get /b/1 /b/3",
        "get /b/2 --from-key --keys-only",
        "get /b/ --prefix --count-only -w fields",
        "get /a --rev=2 --print-value-only",
        "get /a --rev=900",
        "get /a --consistency=s --hex",
        "del /b/1 --prev-kv -w fields",
        "del /b/2 /b/9 --prev-kv",
        "del /none",
        "compaction 900",
        "compaction 4 --physical",
        "compaction 4",
        "get /a --rev=2",
        "lease timetolive 99",
        "lease revoke 99",
        "lease keep-alive --once 99",
        "lease list",
        "alarm list",
        "alarm disarm",
        "del --prefix /",
        "get --from-key /",
    ];
    for command in commands {
        let words: Vec<&str> = command.split(' ').collect();
        assert_eq!(said(&server.url, &words), said(&etcd.url, &words), "etcdctl {command}: ours, etcd's");
    }
}
