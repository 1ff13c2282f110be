//! One history: who does what when, and what goes wrong.

use super::Coverage;
use super::check::Mirror;
use super::random::Random;
use super::upstream::{self, GaveUp, Site};
use crate::plan::{Ask, Plan, Purpose, Step};
use crate::request::{AssignIpRequest, AutoAssignRequest, Release};
use crate::{MAX_CONFLICTS, PlanError};
use jiff::{SignedDuration, Timestamp};
use model::ipam::{AffinityState, AllocationBlock, Attribute, BlockAffinity, IpamConfig};
use model::key::{Key, Owner};
use model::net::Cidr;
use model::{Kind, v3::PoolUse};
use mvcc::{Compare, Op, PutRequest, RangeRequest, Store, Txn, TxnResponse};
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

/// Pools: two of IPv4 with two blocks of four addresses each, the second for some nodes only; one of IPv6 with four
/// blocks of two.
const POOLS: [(&str, &str, u8, &str); 3] = [
    ("a", "10.0.0.0/29", 30, "all()"),
    ("b", "10.1.0.0/29", 30, "zone == 'b'"),
    ("six", "fd00::/125", 127, "all()"),
];

/// How an operation of a client ended.
enum Ending {
    /// It got addresses.
    Got(Vec<IpAddr>),
    /// It is done.
    Done,
    /// It was refused, nothing of it was written.
    Refused(PlanError),
    /// It failed in a way after which anything may be there.
    Unclear,
}

/// What a client is doing.
#[derive(Debug, Clone, PartialEq)]
enum Errand {
    /// Addresses for this handle.
    Add(String),
    /// All addresses of this handle.
    Del(String),
    /// One address of this handle.
    Release(String),
    /// Anything without a handle.
    Other,
}

/// What a client does next.
enum Turn {
    Ask(Ask, Resume),
    Done(Ending),
}

type Begin = Box<dyn FnOnce(Timestamp) -> Turn>;
type Resume = Box<dyn FnOnce(TxnResponse, Timestamp) -> Turn>;

struct Running {
    resume: Resume,
    ask: Ask,
    errand: Errand,
    ours: bool,
}

struct Client {
    node: usize,
    ours: bool,
    running: Option<Running>,
}

/// One history.
pub(super) struct History {
    random: Random,
    store: Store,
    mirror: Mirror,
    now: Timestamp,
    clients: Vec<Client>,
    nodes: usize,
    config: IpamConfig,
    reserved: Vec<Cidr>,
    /// Operations still to begin.
    left: usize,
    next_handle: usize,
    /// Handles that may have something although nobody knows; they are deleted until that is certain.
    unclear: BTreeSet<String>,
    /// Nothing goes wrong any more.
    calm: bool,
    /// Print every write.
    trace: bool,
}

fn cidr(text: &str) -> Cidr {
    text.parse().expect("a CIDR")
}

/// A plan and what follows from it, as one closure; `judge` makes an ending of its outcome.
fn begin<T: 'static>(plan: Plan<T>, now: Timestamp, judge: impl Fn(T) -> Ending + 'static) -> Turn {
    turn(plan.begin(now), judge)
}

fn turn<T: 'static>(step: Step<T>, judge: impl Fn(T) -> Ending + 'static) -> Turn {
    match step {
        Step::Done(outcome) => Turn::Done(judge(outcome)),
        Step::Ask(ask, waiting) => {
            Turn::Ask(ask, Box::new(move |answer, now| turn(waiting.answer(answer, now), judge)))
        }
    }
}

fn boxed<T: 'static>(plan: Plan<Result<T, PlanError>>, tell: fn(T) -> Ending) -> Begin {
    Box::new(move |now| {
        begin(plan, now, move |result| match result {
            Ok(outcome) => tell(outcome),
            Err(refusal) => Ending::Refused(refusal),
        })
    })
}

fn boxed_upstream<T: 'static>(plan: Plan<Result<T, GaveUp>>, tell: fn(T) -> Ending) -> Begin {
    Box::new(move |now| {
        begin(plan, now, move |result| match result {
            Ok(outcome) => tell(outcome),
            Err(GaveUp) => Ending::Unclear,
        })
    })
}

impl History {
    pub(super) fn new(seed: u64) -> Self {
        let mut random = Random::new(seed);
        let nodes = 3 + random.below(2);
        let upstream = random.once_in(2);
        let clients = (0..4 + random.below(4))
            .map(|index| Client {
                node: if index < nodes { index } else { random.below(nodes) },
                ours: !upstream || !random.once_in(3),
                running: None,
            })
            .collect();
        let mut history = History {
            left: 20 + random.below(15),
            random,
            store: Store::new(),
            mirror: Mirror { upstream_at_work: upstream, ..Mirror::default() },
            now: "2026-11-21T00:00:00Z".parse().expect("a time"),
            clients,
            nodes,
            config: IpamConfig::default(),
            reserved: Vec::new(),
            next_handle: 0,
            unclear: BTreeSet::new(),
            calm: false,
            trace: std::env::var_os("OCICAT_TRACE").is_some(),
        };
        history.furnish();
        history
    }

    /// Nodes, pools, settings, and now and then a half state.
    fn furnish(&mut self) {
        for node in 0..self.nodes {
            self.put_node(node);
        }
        for (name, cidr, block_size, selector) in POOLS {
            let value = format!(
                r#"{{"kind":"IPPool","metadata":{{"name":"{name}"}},"spec":{{"cidr":"{cidr}","blockSize":{block_size},"nodeSelector":"{selector}"}}}}"#
            );
            self.put(Key::resource(Kind::IPPool, "", name), value.into_bytes());
        }
        if self.random.once_in(4) {
            self.reserved = vec![cidr("10.0.0.0/31")];
            let value = r#"{"kind":"IPReservation","metadata":{"name":"r"},"spec":{"reservedCIDRs":["10.0.0.0/31"]}}"#;
            self.put(Key::resource(Kind::IPReservation, "", "r"), value.into());
        }
        self.config.strict_affinity = self.random.once_in(5);
        if self.random.once_in(2) {
            self.config.ip_cooldown_seconds = *self.random.pick(&[5, 60, 600]).expect("some");
        }
        self.put(Key::IpamConfig, self.config.encode());
        if self.random.once_in(2) {
            self.plant();
        }
    }

    /// Something a Calico node left behind.
    fn plant(&mut self) {
        let cidr = *self.random.pick(&v4_blocks()).expect("some");
        let owner = self.random.below(self.nodes);
        let owner = self.owner(owner);
        let kind = self.random.below(5);
        let affinity = match kind {
            0 => BlockAffinity::new(AffinityState::Pending).encode(),
            1 => BlockAffinity::new(AffinityState::PendingDeletion).encode(),
            2 => br#"{"state":""}"#.to_vec(),
            3 => Vec::new(),
            _ => BlockAffinity::new(AffinityState::Confirmed).encode(),
        };
        let mut writes = vec![(Key::Affinity(owner.clone(), cidr), affinity)];
        if self.random.once_in(2) {
            // a block of its own, of somebody else's, or of nobody's with an address in use
            let other = self.random.below(self.nodes);
            let other = self.owner(other);
            let block_owner = if self.random.once_in(2) { owner } else { other };
            let mut block =
                AllocationBlock::new(cidr, Some(&block_owner), Some(self.now), 7).expect("a block");
            if self.random.once_in(3) {
                let handle = self.fresh_handle();
                let attribute = Attribute { handle: Some(handle.clone()), ..Attribute::default() };
                crate::block::assign_at(&mut block, 1, &attribute);
                block.affinity = None;
                block.affinity_claim_time = None;
                let counts = format!(r#"{{"block":{{"{cidr}":3}},"deleted":false}}"#);
                self.mirror.upstream_at_work = true;
                writes.push((Key::Handle(handle.clone()), counts.into_bytes()));
                self.unclear.insert(handle);
            }
            writes.push((Key::Block(cidr), block.encode()));
        }
        self.mirror.planted.insert(cidr);
        let success =
            writes.into_iter().map(|(key, value)| Op::Put(PutRequest::new(key.path(), value))).collect();
        let txn = Txn { success, ..Txn::default() };
        self.store.txn(&txn).expect("a transaction");
        self.mirror.apply(&txn, false);
    }

    fn put(&mut self, key: Key, value: Vec<u8>) {
        self.store.put(&PutRequest::new(key.path(), value)).expect("a put");
    }

    fn put_node(&mut self, node: usize) {
        let zone = if self.random.once_in(3) { "b" } else { "a" };
        let value =
            format!(r#"{{"kind":"Node","metadata":{{"name":"node-{node}","labels":{{"zone":"{zone}"}}}}}}"#);
        self.put(Key::resource(Kind::Node, "", &format!("node-{node}")), value.into_bytes());
    }

    fn owner(&self, node: usize) -> Owner {
        Owner::Host(format!("node-{node}"))
    }

    fn fresh_handle(&mut self) -> String {
        self.next_handle += 1;
        format!("h{}", self.next_handle)
    }

    /// Runs the history to its end and checks what is left.
    pub(super) fn run(mut self, coverage: &mut Coverage) {
        while self.left > 0 || self.clients.iter().any(|client| client.running.is_some()) {
            self.disturb(coverage);
            let index = self.random.below(self.clients.len());
            if self.clients[index].running.is_some() {
                self.go_on(index, coverage);
            } else if self.left > 0 {
                self.left -= 1;
                self.begin(index, coverage);
            }
        }
        self.finish(coverage);
    }

    /// Time passes; now and then the world changes.
    fn disturb(&mut self, coverage: &mut Coverage) {
        let pause = match self.random.below(40) {
            0 => 700_000,
            1 | 2 => 61_000,
            3..8 => 4_000,
            8..20 => 20,
            _ => 1,
        };
        self.now = self.now.saturating_add(SignedDuration::from_millis(pause)).expect("a time");
        // refused when nothing was written since the last one
        if self.random.once_in(60) && self.store.compact(self.store.revision()).is_ok() {
            coverage.note("compaction");
        }
        if self.random.once_in(40) {
            let node = self.random.below(self.nodes);
            self.put_node(node);
        }
    }

    fn site(&self, node: usize) -> Site {
        Site {
            owner: self.owner(node),
            blocks: v4_blocks(),
            cooldown: self.config.ip_cooldown_seconds,
            strict: self.config.strict_affinity,
            reserved: self.reserved.clone(),
        }
    }

    /// Handles whose addresses are known, and that nobody is busy with.
    fn idle_handles(&self) -> Vec<String> {
        let busy: BTreeSet<&String> =
            self.clients.iter().filter_map(|c| c.running.as_ref()?.errand.handle()).collect();
        let handles: BTreeSet<String> = self.mirror.held.values().cloned().collect();
        handles
            .into_iter()
            .filter(|handle| !busy.contains(handle) && !self.unclear.contains(handle))
            .collect()
    }

    fn idle_unclear(&self) -> Vec<String> {
        let busy: BTreeSet<&String> =
            self.clients.iter().filter_map(|c| c.running.as_ref()?.errand.handle()).collect();
        self.unclear.iter().filter(|handle| !busy.contains(handle)).cloned().collect()
    }

    fn begin(&mut self, index: usize, coverage: &mut Coverage) {
        let (node, ours) = (self.clients[index].node, self.clients[index].ours);
        let idle = self.idle_handles();
        let unclear = self.idle_unclear();
        let (errand, begin) =
            if let Some(handle) = self.random.pick(&unclear).cloned().filter(|_| self.random.once_in(2)) {
                self.del(node, ours, handle)
            } else {
                match self.random.below(20) {
                    0..10 => self.add(node, ours),
                    10..14 if !idle.is_empty() => {
                        let handle = self.random.pick(&idle).expect("some").clone();
                        self.del(node, ours, handle)
                    }
                    14 | 15 if ours && !idle.is_empty() => {
                        let handle = self.random.pick(&idle).expect("some").clone();
                        self.release_one(handle)
                    }
                    16 | 17 if ours => self.assign_ip(node),
                    18 if ours && self.random.once_in(2) => self.room(node),
                    18 if ours => self.whole_node(node),
                    19 if !ours => {
                        let own: Vec<Cidr> = self.affinities_of(node);
                        match self.random.pick(&own).copied() {
                            Some(cidr) => {
                                let plan = upstream::release_affinity(self.site(node), cidr);
                                (Errand::Other, boxed_upstream(plan, |()| Ending::Done))
                            }
                            None => self.add(node, ours),
                        }
                    }
                    19 => self.whole_block(node),
                    _ => self.add(node, ours),
                }
            };
        self.start(index, errand, begin, ours, coverage);
    }

    fn affinities_of(&self, node: usize) -> Vec<Cidr> {
        let owner = self.owner(node);
        self.mirror.affinities.keys().filter(|(_, other)| *other == owner).map(|(cidr, _)| *cidr).collect()
    }

    fn add(&mut self, node: usize, ours: bool) -> (Errand, Begin) {
        let handle = self.fresh_handle();
        if !ours {
            let plan = upstream::add(self.site(node), handle.clone());
            return (Errand::Add(handle), boxed_upstream(plan, |address| Ending::Got(vec![address])));
        }
        let (v4, v6) = *self
            .random
            .pick(&[(1, 0), (1, 0), (1, 0), (0, 1), (1, 1), (1, 1), (3, 0), (6, 2)])
            .expect("some");
        let request = AutoAssignRequest {
            handle: Some(handle.clone()),
            attributes: BTreeMap::from([("node".to_owned(), format!("node-{node}"))]),
            accept_fewer: self.random.once_in(4),
            max_blocks: if self.random.once_in(6) { 1 } else { 0 },
            ..AutoAssignRequest::for_workload(&format!("node-{node}"), v4, v6)
        };
        let plan = crate::auto_assign(request);
        (
            Errand::Add(handle),
            boxed(plan, |outcome| {
                Ending::Got(
                    outcome.v4.assigned.iter().chain(&outcome.v6.assigned).map(|a| a.address).collect(),
                )
            }),
        )
    }

    fn assign_ip(&mut self, node: usize) -> (Errand, Begin) {
        let handle = self.fresh_handle();
        let pool = cidr(POOLS[self.random.below(POOLS.len())].1);
        let address = pool.nth(self.random.below(8) as u128).expect("inside");
        let plan = crate::assign_ip(AssignIpRequest {
            address,
            owner: self.owner(node),
            handle: Some(handle.clone()),
            attributes: BTreeMap::new(),
            intended_use: Some(PoolUse::Workload),
            max_per_handle: 0,
            host_reserved: None,
        });
        (Errand::Add(handle), boxed(plan, |assigned| Ending::Got(vec![assigned.address])))
    }

    /// A block ahead of its need.
    fn room(&mut self, node: usize) -> (Errand, Begin) {
        let (v4, v6) = *self.random.pick(&[(1, 0), (2, 1), (5, 0), (0, 3)]).expect("some");
        let request = AutoAssignRequest {
            max_blocks: if self.random.once_in(6) { 1 } else { 0 },
            ..AutoAssignRequest::for_workload(&format!("node-{node}"), v4, v6)
        };
        (Errand::Other, boxed(crate::make_room(request, BTreeSet::new()), |_| Ending::Done))
    }

    /// From here on the addresses are nobody's any more.
    fn let_go(&mut self, handle: &str) {
        self.mirror.held.retain(|_, holder| holder != handle);
    }

    fn del(&mut self, node: usize, ours: bool, handle: String) -> (Errand, Begin) {
        self.let_go(&handle);
        let resume = if ours {
            boxed(crate::release_by_handles(vec![handle.clone()]), |_| Ending::Done)
        } else {
            boxed_upstream(upstream::del(self.site(node), handle.clone()), |()| Ending::Done)
        };
        (Errand::Del(handle), resume)
    }

    fn release_one(&mut self, handle: String) -> (Errand, Begin) {
        let held = self.mirror.held.iter().find(|(_, holder)| **holder == handle);
        let address = *held.expect("an idle handle has one").0;
        self.mirror.held.remove(&address);
        let release = Release {
            address,
            handle: self.random.once_in(2).then(|| handle.clone()),
            sequence_number: None,
        };
        let plan = crate::release_ips(vec![release]);
        (
            Errand::Release(handle),
            boxed(plan, |outcome| {
                assert!(outcome.failed.is_empty(), "{:?}", outcome.failed);
                Ending::Done
            }),
        )
    }

    fn whole_node(&mut self, node: usize) -> (Errand, Begin) {
        let plan = if self.random.once_in(2) {
            crate::release_host_affinities(format!("node-{node}"), self.random.once_in(2))
        } else {
            crate::release_pool_affinities(cidr(POOLS[self.random.below(POOLS.len())].1))
        };
        (Errand::Other, boxed(plan, |()| Ending::Done))
    }

    fn whole_block(&mut self, node: usize) -> (Errand, Begin) {
        let range =
            *self.random.pick(&[cidr("10.0.0.0/29"), cidr("10.0.0.4/30"), cidr("fd00::/126")]).expect("some");
        let owner = self.owner(node);
        let resume = if self.random.once_in(2) {
            boxed(crate::claim_affinity(owner, range), |_| Ending::Done)
        } else {
            boxed(crate::release_affinity(owner, range, self.random.once_in(2)), |()| Ending::Done)
        };
        (Errand::Other, resume)
    }

    fn start(&mut self, index: usize, errand: Errand, begin: Begin, ours: bool, coverage: &mut Coverage) {
        match begin(self.now) {
            Turn::Ask(ask, resume) => {
                self.clients[index].running = Some(Running { resume, ask, errand, ours });
            }
            Turn::Done(ending) => self.end(errand, ending, coverage),
        }
    }

    /// One transaction of a client, or what happens instead.
    fn go_on(&mut self, index: usize, coverage: &mut Coverage) {
        let Some(mut running) = self.clients[index].running.take() else { return };
        let write = match running.ask.purpose {
            Purpose::Read => None,
            Purpose::Write(step) => Some(step),
        };
        let fault = if self.calm { 100 } else { self.random.below(100) };
        if fault < 2 {
            // the request got lost, or the client died before it was sent
            self.end(running.errand, Ending::Unclear, coverage);
            return;
        }
        let txn = std::mem::take(&mut running.ask.txn);
        assert!(txn.compare.len().max(txn.success.len()).max(txn.failure.len()) <= 128);
        assert!(running.ask.conflicts <= MAX_CONFLICTS);
        let answer = self.store.txn(&txn).expect("a transaction the store takes");
        if let Some(step) = write {
            if self.trace {
                self.tell(index, step, &running, &txn, answer.succeeded);
            }
            if answer.succeeded {
                self.mirror.apply(&txn, running.ours);
                self.mirror.events.drain(..).for_each(|event| coverage.note(event));
                self.note(step, &running.errand, &txn, coverage);
            } else if running.ours {
                coverage.note("lost race");
            }
        }
        // what is written seldom is cut off more often
        let seldom = matches!(write, Some("repair" | "resume" | "claim-affinity" | "release-affinity"));
        if fault < (if seldom { 30 } else { 7 }) && write.is_some() && answer.succeeded {
            // the answer got lost, or the client died before it came
            coverage.note("lost answer");
            match (running.ours, write) {
                (true, Some(step)) => coverage.note(format!("crash after {step}")),
                _ => coverage.note("upstream crash"),
            }
            self.end(running.errand, Ending::Unclear, coverage);
            return;
        }
        match (running.resume)(answer, self.now) {
            Turn::Ask(ask, resume) => {
                let (errand, ours) = (running.errand, running.ours);
                self.clients[index].running = Some(Running { resume, ask, errand, ours });
            }
            Turn::Done(ending) => self.end(running.errand, ending, coverage),
        }
    }

    fn tell(&self, client: usize, step: &str, running: &Running, txn: &Txn, succeeded: bool) {
        let node = self.clients[client].node;
        println!("{} client {client} on node-{node}: {:?}, {step}: {succeeded}", self.now, running.errand);
        for op in &txn.success {
            match op {
                Op::Put(put) => println!("    put {:?} {:?}", put.key, put.value),
                Op::Delete(delete) => println!("    del {:?}", delete.range.key),
                _ => {}
            }
        }
    }

    fn note(&self, step: &'static str, errand: &Errand, txn: &Txn, coverage: &mut Coverage) {
        coverage.note(step);
        match step {
            "release-affinity" => coverage.note("affinity release"),
            "resume" => coverage.note("half state resumed"),
            _ => {}
        }
        if let Errand::Add(_) = errand {
            let blocks = |family: &str| {
                txn.success.iter().any(|op| match op {
                    Op::Put(put) => {
                        put.key.starts_with(format!("/calico/ipam/v2/assignment/{family}/").as_bytes())
                    }
                    _ => false,
                })
            };
            if blocks("ipv4") && blocks("ipv6") {
                coverage.note("both families at once");
            }
        }
        if step == "release-handle" || step == "release" {
            let deletes = txn.success.iter().filter(|op| matches!(op, Op::Delete(_))).count();
            if deletes >= 3 {
                coverage.note("node not selected any more");
            }
        }
    }

    fn end(&mut self, errand: Errand, ending: Ending, _coverage: &mut Coverage) {
        match (errand, ending) {
            (Errand::Add(handle), Ending::Got(addresses)) => {
                for address in addresses {
                    self.mirror.give(address, &handle);
                }
            }
            (Errand::Add(handle), Ending::Refused(refusal)) => {
                assert!(!matches!(refusal, PlanError::TooManyConflicts | PlanError::Stored(_)), "{refusal}");
                let got = self.mirror.in_use();
                assert!(
                    !got.values().any(|holder| *holder == handle),
                    "{handle} was refused ({refusal}) and has {got:?}"
                );
            }
            (Errand::Del(handle), Ending::Done) => {
                let got = self.mirror.in_use();
                assert!(
                    !got.values().any(|holder| *holder == handle),
                    "{handle} was deleted and has {got:?}"
                );
                self.unclear.remove(&handle);
            }
            (Errand::Add(handle) | Errand::Del(handle) | Errand::Release(handle), Ending::Unclear) => {
                self.let_go(&handle);
                self.unclear.insert(handle);
            }
            (_, Ending::Refused(refusal)) => {
                let harmless = matches!(refusal, PlanError::NotEmpty(_) | PlanError::ClaimConflict { .. });
                assert!(harmless, "{refusal}");
            }
            _ => {}
        }
    }

    /// A client of ours does one thing undisturbed.
    fn alone(&mut self, (errand, begin): (Errand, Begin), coverage: &mut Coverage) {
        self.start(0, errand, begin, true, coverage);
        while self.clients[0].running.is_some() {
            self.go_on(0, coverage);
        }
    }

    /// All is given back, and all must be there.
    fn finish(&mut self, coverage: &mut Coverage) {
        self.calm = true;
        for handle in self.unclear.clone() {
            let del = self.del(0, true, handle);
            self.alone(del, coverage);
        }
        assert!(self.unclear.is_empty());
        self.check_against_store();
        assert_eq!(self.mirror.in_use(), self.mirror.held, "in use is what somebody was given");
        let counted: BTreeSet<String> = self.mirror.handles.keys().cloned().collect();
        let holding: BTreeSet<String> = self.mirror.held.values().cloned().collect();
        assert!(counted.is_superset(&holding), "every address is counted");
        // Calico's own release leaves a handle that was counted up by one who then crashed
        assert!(self.mirror.upstream_at_work || counted == holding, "{counted:?} count, {holding:?} hold");

        for handle in counted {
            let del = self.del(0, true, handle);
            self.alone(del, coverage);
        }
        assert!(self.mirror.handles.is_empty(), "{:?}", self.mirror.handles);
        assert!(self.mirror.in_use().is_empty());
        let lost = |block: &&AllocationBlock| {
            block.affinity.is_none()
                && block.attributes.is_empty()
                && !self.mirror.planted.contains(&block.cidr)
        };
        assert!(self.mirror.blocks.values().find(lost).is_none(), "an empty block of nobody's");

        self.now = self.now.saturating_add(SignedDuration::from_secs(3600)).expect("a time");
        self.config = IpamConfig::default();
        self.put(Key::IpamConfig, self.config.encode());
        let value = br#"{"kind":"Node","metadata":{"name":"node-0","labels":{"zone":"b"}}}"#;
        self.put(Key::resource(Kind::Node, "", "node-0"), value.to_vec());
        let request = AutoAssignRequest {
            handle: Some("everything".to_owned()),
            accept_fewer: true,
            ..AutoAssignRequest::for_workload("node-0", 16, 8)
        };
        let resume = boxed(crate::auto_assign(request), |outcome| {
            Ending::Got(outcome.v4.assigned.iter().chain(&outcome.v6.assigned).map(|a| a.address).collect())
        });
        self.alone((Errand::Add("everything".to_owned()), resume), coverage);
        let all = 24 - 2 * self.reserved.len();
        assert_eq!(self.mirror.held.len(), all, "addresses were lost: {:#?}", self.mirror.blocks);
        self.check_against_store();
    }

    /// The mirror is what is stored.
    fn check_against_store(&self) {
        let stored = self.store.range(&RangeRequest::prefix("/calico/ipam/v2/")).expect("a range");
        let mut fresh = Mirror { planted: self.mirror.planted.clone(), ..Mirror::default() };
        fresh.upstream_at_work = true;
        let success =
            stored.kvs.iter().map(|kv| Op::Put(PutRequest::new(kv.key.clone(), kv.value.clone()))).collect();
        fresh.apply(&Txn { compare: Vec::<Compare>::new(), success, failure: Vec::new() }, false);
        assert_eq!(fresh.blocks, self.mirror.blocks);
        assert_eq!(fresh.affinities, self.mirror.affinities);
        assert_eq!(fresh.handles, self.mirror.handles);
    }
}

impl Errand {
    fn handle(&self) -> Option<&String> {
        match self {
            Errand::Add(handle) | Errand::Del(handle) | Errand::Release(handle) => Some(handle),
            Errand::Other => None,
        }
    }
}

fn v4_blocks() -> Vec<Cidr> {
    ["10.0.0.0/30", "10.0.0.4/30", "10.1.0.0/30", "10.1.0.4/30"].map(cidr).to_vec()
}
