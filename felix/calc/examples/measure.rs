//! Times and memory of the calculation in a large cluster: `cargo run --release -p ocicat-felix-calc --example measure`.
//!
//! 250,000 endpoints on other nodes and 200 here; 10,000 policies, each for `app == 'aI'` with one rule from
//! `role == 'rJ'`, a fifth of which apply here; 50 roles, so 250,000 members of sets in all. Values are stored JSON, made
//! a thousand at a time as a paged list gives them, and only the calculation is timed. Numbers of remote endpoints and
//! policies can be given instead.

#![allow(clippy::unwrap_used, clippy::panic)]

extern crate ocicat_felix_calc as felix_calc;

use bytes::Bytes;
use felix_calc::{Changes, Feed, Options};
use model::{Key, Kind};
use std::time::{Duration, Instant};

const PAGE: usize = 1000;
const LOCALS: usize = 200;
const APPS: usize = 1000;
const ROLES: usize = 50;

fn key(kind: Kind, name: &str) -> Bytes {
    Key::resource(kind, "default", name).path().into()
}

/// As Calico's CNI plugin writes it for a pod.
fn endpoint(node: &str, number: usize, role: usize, extra: &str) -> (Bytes, Bytes) {
    let name = format!("{}-k8s-pod--{number}-eth0", node.replace('-', "--"));
    let app = number % APPS;
    let (a, b, c) = (number / 65536, number / 256 % 256, number % 256);
    let value = format!(
        r#"{{"kind":"WorkloadEndpoint","apiVersion":"projectcalico.org/v3","metadata":{{"name":"{name}","generateName":"pod-","namespace":"default","uid":"6d7b6a1e-9f2c-4e0c-8a5e-{number:012x}","creationTimestamp":"2026-08-22T10:00:00Z","labels":{{"app":"a{app}","role":"r{role}","pod-template-hash":"5d4f8c7b9"{extra},"projectcalico.org/namespace":"default","projectcalico.org/orchestrator":"k8s","projectcalico.org/serviceaccount":"default"}}}},"spec":{{"orchestrator":"k8s","node":"{node}","containerID":"0f9c6ab1e7c24be7b7a7f6d1c3{number:038x}","pod":"pod-{number}","endpoint":"eth0","serviceAccountName":"default","ipNetworks":["10.{a}.{b}.{c}/32"],"profiles":["kns.default","ksa.default.default"],"interfaceName":"cali{number:011x}","mac":"0a:58:0a:{a:02x}:{b:02x}:{c:02x}"}}}}"#
    );
    (key(Kind::WorkloadEndpoint, &name), value.into())
}

fn policy(number: usize, role: usize) -> (Bytes, Bytes) {
    let app = number % APPS;
    let name = format!("policy-{number}");
    let value = format!(
        r#"{{"kind":"NetworkPolicy","apiVersion":"projectcalico.org/v3","metadata":{{"name":"{name}","namespace":"default","uid":"6d7b6a1e-9f2c-4e0c-8a5e-{number:012x}","creationTimestamp":"2026-08-22T10:00:00Z","labels":{{"projectcalico.org/tier":"default"}},"annotations":{{"projectcalico.org/metadata":"{{\"name\":\"{name}\"}}"}}}},"spec":{{"tier":"default","order":{number},"selector":"app == 'a{app}'","types":["Ingress"],"ingress":[{{"action":"Allow","protocol":"TCP","source":{{"selector":"role == 'r{role}'"}},"destination":{{"ports":[{}]}}}}]}}}}"#,
        1024 + number
    );
    (key(Kind::NetworkPolicy, &name), value.into())
}

fn profile(name: &str, label: &str) -> (Bytes, Bytes) {
    let value = format!(
        r#"{{"kind":"Profile","apiVersion":"projectcalico.org/v3","metadata":{{"name":"{name}"}},"spec":{{"ingress":[{{"action":"Allow"}}],"egress":[{{"action":"Allow"}}],"labelsToApply":{{"{label}":"default"}}}}}}"#
    );
    (key(Kind::Profile, name), value.into())
}

/// A feed and how long it was busy.
struct Timed {
    feed: Feed,
    busy: Duration,
}

impl Timed {
    fn take_in(&mut self, pairs: Vec<(Bytes, Bytes)>) {
        let start = busy();
        for (key, value) in pairs {
            self.feed.push(key, Some(value));
        }
        while self.feed.work(500) > 0 {}
        self.busy += busy() - start;
    }

    fn list(&mut self, what: &str, count: usize, make: impl Fn(usize) -> (Bytes, Bytes)) {
        let before = self.busy;
        for page in 0..count.div_ceil(PAGE) {
            self.take_in((page * PAGE..count.min((page + 1) * PAGE)).map(&make).collect());
        }
        report(&format!("{count} {what}"), self.busy - before);
    }

    fn take(&mut self) -> Changes {
        let start = busy();
        let changes = self.feed.take();
        self.busy += busy() - start;
        changes
    }

    /// The same change again and again, each told at once: the time of one.
    fn changes(&mut self, what: &str, make: impl Fn(usize) -> (Bytes, Bytes)) {
        const TIMES: usize = 2000;
        let pairs: Vec<_> = (0..TIMES).map(make).collect();
        let mut times = Vec::with_capacity(TIMES);
        let mut told = 0;
        for (key, value) in pairs {
            let start = Instant::now();
            self.feed.push(key, Some(value));
            self.feed.work(1);
            let changes = self.feed.take();
            times.push(start.elapsed());
            told += changes.sets.len() + changes.endpoints.len();
        }
        times.sort();
        println!(
            "{what:<58} median {:>8.1} µs, p99 {:>8.1} µs, {told} told",
            micros(times.get(TIMES / 2)),
            micros(times.get(TIMES * 99 / 100))
        );
    }
}

fn micros(time: Option<&Duration>) -> f64 {
    time.map_or(0.0, Duration::as_secs_f64) * 1e6
}

fn report(what: &str, time: Duration) {
    println!("{what:<58} {:>8.0} ms, peak {} MB", time.as_secs_f64() * 1e3, peak() / 1024);
}

/// Time this thread had a processor: on a machine with other work, what the wall clock says is theirs, too.
fn busy() -> Duration {
    let stat = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap();
    Duration::from_nanos(stat.split(' ').next().unwrap().parse().unwrap())
}

/// The most memory this process had, in kB.
fn peak() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}

fn main() {
    let mut arguments = std::env::args().skip(1).map(|text| text.parse::<usize>().unwrap());
    let remotes = arguments.next().unwrap_or(250_000);
    let policies = arguments.next().unwrap_or(10_000);
    let mut timed = Timed { feed: Feed::new("node-1", Options::default()), busy: Duration::ZERO };
    timed.take_in(vec![profile("kns.default", "pcns.projectcalico.org/name")]);
    timed.take_in(vec![profile("ksa.default.default", "pcsa.projectcalico.org/name")]);
    timed.list("policies", policies, |number| policy(number, (number / APPS * 7 + number) % ROLES));
    timed.list("endpoints here", LOCALS, |number| endpoint("node-1", number, number % ROLES, ""));
    timed.list("endpoints elsewhere", remotes, |number| {
        let number = number + APPS;
        endpoint(&format!("node-{}", number / 110 + 2), number, number / 7 % ROLES, "")
    });
    let before = timed.busy;
    let changes = timed.take();
    report("first take", timed.busy - before);
    report("all of the above", timed.busy);
    println!("{:?}", timed.feed.counts());
    println!("{} sets, {} endpoints told", changes.sets.len(), changes.endpoints.len());
    drop(changes);

    let remote = |number: usize| 110_000 + number % 7;
    timed.changes("elsewhere: another role", |n| endpoint("node-1002", remote(n), n / 7 % ROLES, ""));
    timed.changes("elsewhere: a label nobody asks for", |n| {
        endpoint("node-1002", remote(n), 3, &format!(r#","version":"{n}""#))
    });
    timed.changes("here: another role", |n| endpoint("node-1", n % LOCALS, (n / LOCALS + n) % ROLES, ""));
    timed.changes("here: a label nobody asks for", |n| {
        endpoint("node-1", n % LOCALS, 3, &format!(r#","version":"{n}""#))
    });
    timed.changes("a policy for endpoints here: another source", |n| policy(n * APPS % policies, n % ROLES));
    timed.changes("a policy for endpoints elsewhere: another source", |n| {
        policy((n * APPS + 900) % policies, n % ROLES)
    });
    println!("peak {} MB", peak() / 1024);
}
