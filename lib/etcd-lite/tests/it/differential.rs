//! The same random sequence of requests to a real etcd and to ours; every field of every answer and event must be equal
//! but who answers (cluster, member), raft terms, and what clocks decide (remaining times).

use crate::generator::{LEASES, Random};
use crate::servers::{Etcd, Ours, connect, quick_directory};
use etcd_client::proto::{PbResponseHeader, PbResponseOp, PbTxnOpResponse, PbWatchResponse};
use etcd_client::{
    Client, CompactionOptions, LeaseGrantOptions, LeaseTimeToLiveOptions, WatchOptions, WatchStream,
};
use std::collections::BTreeMap;
use std::time::Duration;

/// Operations, each condition and each operation of a transaction being one. `OCICAT_OPERATIONS` asks for others.
const OPERATIONS: usize = 100_000;
/// etcd 3.4 looks every 100 ms for watches that begin in the past, and answers nothing from which that could be seen.
const CATCH_UP: Duration = Duration::from_millis(300);
const PATIENCE: Duration = Duration::from_secs(20);

fn plain(header: &mut Option<PbResponseHeader>) {
    if let Some(header) = header {
        (header.cluster_id, header.member_id, header.raft_term) = (0, 0, 0);
    }
}

/// An answer without who gave it, or a refusal with its code and text.
fn told<T: std::fmt::Debug>(result: Result<T, etcd_client::Error>, show: impl FnOnce(T) -> String) -> String {
    match result {
        Ok(answer) => show(answer),
        Err(etcd_client::Error::GRpcStatus(status)) => {
            format!("refused {:?}: {}", status.code(), status.message())
        }
        Err(error) => panic!("no answer: {error}"),
    }
}

fn plain_ops(responses: &mut [PbResponseOp]) {
    for response in responses {
        match &mut response.response {
            Some(PbTxnOpResponse::ResponseRange(answer)) => plain(&mut answer.header),
            Some(PbTxnOpResponse::ResponsePut(answer)) => plain(&mut answer.header),
            Some(PbTxnOpResponse::ResponseDeleteRange(answer)) => plain(&mut answer.header),
            Some(PbTxnOpResponse::ResponseTxn(answer)) => {
                plain(&mut answer.header);
                plain_ops(&mut answer.responses);
            }
            None => {}
        }
    }
}

/// One server with its watch stream, and what the stream said.
struct Side {
    client: Client,
    stream: WatchStream,
    said: BTreeMap<i64, Vec<PbWatchResponse>>,
    progress: Vec<PbWatchResponse>,
}

impl Side {
    async fn new(url: &str) -> Self {
        let mut client = connect(url).await;
        // keeps the stream open; nothing happens there
        let stream = client.watch("/none", Some(WatchOptions::new().with_watch_id(1_000_000))).await.unwrap();
        Self { client, stream, said: BTreeMap::new(), progress: Vec::new() }
    }

    fn count(&self) -> usize {
        self.said.values().map(Vec::len).sum::<usize>() + self.progress.len()
    }

    /// Reads until there were `count` messages.
    async fn read_until(&mut self, count: usize, what: &str) {
        while self.count() < count {
            let message = tokio::time::timeout(PATIENCE, self.stream.message()).await;
            let message =
                message.unwrap_or_else(|_| panic!("{what}: message {count} does not come; {:#?}", self.said));
            self.take(message.unwrap().unwrap());
        }
    }

    fn take(&mut self, message: etcd_client::WatchResponse) {
        let mut message = message.0;
        plain(&mut message.header);
        if message.watch_id == -1 && !message.created {
            self.progress.push(message);
        } else {
            self.said.entry(message.watch_id).or_default().push(message);
        }
    }

    /// Reads what is there and what comes within a moment.
    async fn read_rest(&mut self) {
        while let Ok(message) = tokio::time::timeout(Duration::from_millis(3), self.stream.message()).await {
            self.take(message.unwrap().unwrap());
        }
    }
}

/// Both sides have said the same.
async fn compare(ours: &mut Side, theirs: &mut Side, what: &str) {
    ours.read_rest().await;
    theirs.read_until(ours.count(), what).await;
    theirs.read_rest().await;
    ours.read_until(theirs.count(), what).await;
    let same = ours.said == theirs.said && ours.progress == theirs.progress;
    if !same {
        for (id, said) in &ours.said {
            let other = theirs.said.get(id);
            assert_eq!(Some(said), other, "{what}: watch {id}: ours, etcd's");
        }
        assert_eq!(ours.progress, theirs.progress, "{what}");
        panic!("{what}: etcd's watches: {:?}, ours: {:?}", theirs.said.keys(), ours.said.keys());
    }
    ours.said.clear();
    theirs.said.clear();
    ours.progress.clear();
    theirs.progress.clear();
}

#[tokio::test]
async fn ours_answers_as_etcd_does() {
    let asked = std::env::var("OCICAT_OPERATIONS").ok().and_then(|text| text.parse().ok());
    let operations: usize = asked.unwrap_or(OPERATIONS);
    let seed = std::env::var("OCICAT_SEED").ok().and_then(|text| text.parse().ok()).unwrap_or(20_261_128);
    let directory = quick_directory();
    let (etcd, server) = (Etcd::start(), Ours::start(directory.path()));
    let (mut ours, mut theirs) = (Side::new(&server.url).await, Side::new(&etcd.url).await);
    let mut random = Random(seed);
    let (mut done, mut requests, mut newest, mut watches, mut refused) = (0, 0, 1, Vec::new(), 0);
    let mut next_watch = 1;
    while done < operations {
        requests += 1;
        let what = format!("seed {seed}, request {requests}, revision {newest}");
        let (mine, other) = match random.below(100) {
            0..20 => {
                done += 1;
                let (key, options) = random.get(newest);
                let show = |mut answer: etcd_client::GetResponse| {
                    plain(&mut answer.0.header);
                    format!("{:?}", answer.0)
                };
                let (a, b) = tokio::join!(
                    ours.client.get(key.clone(), Some(options.clone())),
                    theirs.client.get(key.clone(), Some(options.clone()))
                );
                (told(a, show), told(b, show))
            }
            20..32 => {
                done += 1;
                let (key, value, options) = random.put();
                let show = |mut answer: etcd_client::PutResponse| {
                    plain(&mut answer.0.header);
                    format!("{:?}", answer.0)
                };
                let (a, b) = tokio::join!(
                    ours.client.put(key.clone(), value.clone(), Some(options.clone())),
                    theirs.client.put(key.clone(), value.clone(), Some(options.clone()))
                );
                (told(a, show), told(b, show))
            }
            32..36 => {
                done += 1;
                let (key, options) = random.delete();
                let show = |mut answer: etcd_client::DeleteResponse| {
                    plain(&mut answer.0.header);
                    format!("{:?}", answer.0)
                };
                let (a, b) = tokio::join!(
                    ours.client.delete(key.clone(), Some(options.clone())),
                    theirs.client.delete(key.clone(), Some(options.clone()))
                );
                (told(a, show), told(b, show))
            }
            36..40 => {
                done += 1;
                lease(&mut random, &mut ours.client, &mut theirs.client).await
            }
            40 if random.one_in(4) => {
                done += 1;
                let revision = newest + 1 - random.below(40.min(newest));
                let options = CompactionOptions::new().with_physical();
                // whatever watches have to say of what goes now, they have said
                compare(&mut ours, &mut theirs, &what).await;
                let show = |mut answer: etcd_client::CompactionResponse| {
                    plain(&mut answer.0.header);
                    format!("{:?}", answer.0)
                };
                let (a, b) = tokio::join!(
                    ours.client.compact(revision, Some(options.clone())),
                    theirs.client.compact(revision, Some(options.clone()))
                );
                (told(a, show), told(b, show))
            }
            41..44 => {
                done += 1;
                if watches.len() > 12 || (random.one_in(3) && !watches.is_empty()) {
                    let at = usize::try_from(random.below(i64::try_from(watches.len()).unwrap())).unwrap();
                    let id: i64 = watches.swap_remove(at);
                    compare(&mut ours, &mut theirs, &what).await;
                    let (a, b) = tokio::join!(ours.stream.cancel(id), theirs.stream.cancel(id));
                    a.unwrap();
                    b.unwrap();
                    ours.read_until(1, &what).await;
                    theirs.read_until(1, &what).await;
                } else {
                    // sometimes an id that is taken
                    let id = if random.one_in(20) { next_watch - 1 } else { next_watch };
                    let (key, options, past) = random.watch(newest);
                    let options = options.with_watch_id(id);
                    // both have begun it before anything else is asked
                    compare(&mut ours, &mut theirs, &what).await;
                    let (a, b) = tokio::join!(
                        ours.stream.watch(key.clone(), Some(options.clone())),
                        theirs.stream.watch(key.clone(), Some(options.clone()))
                    );
                    a.unwrap();
                    b.unwrap();
                    ours.read_until(1, &what).await;
                    theirs.read_until(1, &what).await;
                    next_watch = next_watch.max(id + 1);
                    if ours.said.contains_key(&id) {
                        watches.push(id);
                    }
                    // etcd looks for the past in intervals: what is told then must be nothing younger
                    if past {
                        tokio::time::sleep(CATCH_UP).await;
                        compare(&mut ours, &mut theirs, &what).await;
                    }
                }
                (String::new(), String::new())
            }
            _ => {
                let txn = random.txn(newest, 2, &mut done);
                done += 1;
                let show = |mut answer: etcd_client::TxnResponse| {
                    plain(&mut answer.0.header);
                    plain_ops(&mut answer.0.responses);
                    format!("{:?}", answer.0)
                };
                let (a, b) = tokio::join!(ours.client.txn(txn.clone()), theirs.client.txn(txn.clone()));
                let (a, b) = (told(a, show), told(b, show));
                assert_eq!(a, b, "{what}: {txn:#?}");
                (a, b)
            }
        };
        assert_eq!(mine, other, "{what}");
        refused += usize::from(mine.starts_with("refused"));
        if requests % 5 == 0 {
            let now = ours.client.get("/k/0", None).await.unwrap();
            newest = now.header().unwrap().revision();
        }
        if requests % 20 == 0 {
            compare(&mut ours, &mut theirs, &what).await;
        }
        if requests % 200 == 0 {
            let (a, b) = tokio::join!(ours.stream.request_progress(), theirs.stream.request_progress());
            a.unwrap();
            b.unwrap();
            ours.read_until(1, &what).await;
            compare(&mut ours, &mut theirs, &what).await;
        }
    }
    compare(&mut ours, &mut theirs, "the end").await;
    println!("{done} operations in {requests} requests, {refused} refused, revision {newest}, seed {seed}");
    assert!(usize::try_from(newest).unwrap() > requests / 4 && refused > requests / 20, "that is no test");
}

async fn lease(random: &mut Random, ours: &mut Client, theirs: &mut Client) -> (String, String) {
    let id = 1 + random.below(LEASES);
    match random.below(8) {
        0 => {
            let (a, b) = tokio::join!(ours.lease_revoke(id), theirs.lease_revoke(id));
            let show = |mut answer: etcd_client::LeaseRevokeResponse| {
                plain(&mut answer.0.header);
                format!("{:?}", answer.0)
            };
            (told(a, show), told(b, show))
        }
        1..4 => {
            let ttl = if random.one_in(10) { 9_000_000_001 } else { 1000 + random.below(1000) };
            let options = LeaseGrantOptions::new().with_id(id);
            let (a, b) = tokio::join!(
                ours.lease_grant(ttl, Some(options.clone())),
                theirs.lease_grant(ttl, Some(options.clone()))
            );
            let show = |mut answer: etcd_client::LeaseGrantResponse| {
                plain(&mut answer.0.header);
                format!("{:?}", answer.0)
            };
            (told(a, show), told(b, show))
        }
        4 => {
            let (a, b) = tokio::join!(ours.leases(), theirs.leases());
            let show = |mut answer: etcd_client::LeaseLeasesResponse| {
                plain(&mut answer.0.header);
                // etcd's order is that of the ends
                answer.0.leases.sort_by_key(|lease| lease.id);
                format!("{:?}", answer.0)
            };
            (told(a, show), told(b, show))
        }
        5 => {
            let renew = |client: &mut Client| {
                let mut client = client.clone();
                async move {
                    let (mut keeper, mut stream) = client.lease_keep_alive(id).await.ok()?;
                    keeper.keep_alive().await.ok()?;
                    let mut answer = stream.message().await.ok()??;
                    plain(&mut answer.0.header);
                    Some(format!("{:?}", answer.0))
                }
            };
            let (a, b) = tokio::join!(renew(ours), renew(theirs));
            (format!("{a:?}"), format!("{b:?}"))
        }
        _ => {
            let options = LeaseTimeToLiveOptions::new().with_keys();
            let (a, b) = tokio::join!(
                ours.lease_time_to_live(id, Some(options.clone())),
                theirs.lease_time_to_live(id, Some(options.clone()))
            );
            let show = |mut answer: etcd_client::LeaseTimeToLiveResponse| {
                plain(&mut answer.0.header);
                answer.0.keys.sort();
                // clocks decide
                answer.0.ttl = answer.0.ttl.min(1);
                format!("{:?}", answer.0)
            };
            (told(a, show), told(b, show))
        }
    }
}
