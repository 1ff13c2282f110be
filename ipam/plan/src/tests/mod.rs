//! Tests of the operations on a store in memory, paragraph by paragraph of the contract; and the simulator.

mod addresses;
mod affinities;
mod assign;
mod blocks;
mod half_states;
mod looking;
mod owners;
mod plans;
mod pools;
mod release;
mod room;
mod simulator;
mod walks;
mod warm;
mod windows;

use crate::plan::{Plan, Purpose, Step};
use crate::request::{AutoAssignOutcome, AutoAssignRequest};
use crate::{PlanError, auto_assign};
use jiff::{SignedDuration, Timestamp};
use model::Kind;
use model::ipam::AllocationBlock;
use model::key::{Key, Owner};
use model::net::Cidr;
use mvcc::{DeleteRequest, KeyRange, PutRequest, RangeRequest, Store};
use serde_json::{Value, json};

fn cidr(text: &str) -> Cidr {
    text.parse().unwrap()
}

fn host(name: &str) -> Owner {
    Owner::Host(name.to_owned())
}

type Interference = Box<dyn FnOnce(&mut World)>;

/// A store, a clock, and what was asked of the store.
struct World {
    store: Store,
    now: Timestamp,
    asks: Vec<Purpose>,
    /// Somebody else's doing, each before one write of the operation that runs next.
    interference: Vec<Interference>,
}

impl World {
    /// Two nodes of rack r1 and r2, and no pool.
    fn bare() -> Self {
        let now = "2026-11-21T03:13:00Z".parse().unwrap();
        let mut world = World { store: Store::new(), now, asks: Vec::new(), interference: Vec::new() };
        world.node("node-1", "r1");
        world.node("node-2", "r2");
        world
    }

    /// Besides, a pool of two blocks of four addresses.
    fn small() -> Self {
        let mut world = World::bare();
        world.pool("small", json!({"cidr": "10.80.0.0/29", "blockSize": 30}));
        world
    }

    fn node(&mut self, name: &str, rack: &str) {
        let value = json!({"kind": "Node", "metadata": {"name": name, "labels": {"rack": rack}}});
        self.put(&Key::resource(Kind::Node, "", name), value);
    }

    fn pool(&mut self, name: &str, spec: Value) {
        let value = json!({"kind": "IPPool", "metadata": {"name": name}, "spec": spec});
        self.put(&Key::resource(Kind::IPPool, "", name), value);
    }

    fn reserve(&mut self, cidrs: &[&str]) {
        let value =
            json!({"kind": "IPReservation", "metadata": {"name": "r"}, "spec": {"reservedCIDRs": cidrs}});
        self.put(&Key::resource(Kind::IPReservation, "", "r"), value);
    }

    fn configure(&mut self, config: Value) {
        self.put(&Key::IpamConfig, config);
    }

    fn put(&mut self, key: &Key, value: Value) {
        self.put_bytes(key, value.to_string().into_bytes());
    }

    fn put_bytes(&mut self, key: &Key, value: Vec<u8>) {
        self.store.put(&PutRequest::new(key.path(), value)).unwrap();
    }

    fn delete(&mut self, key: &Key) {
        self.store.delete(&DeleteRequest { range: KeyRange::key(key.path()), prev_kv: false }).unwrap();
    }

    fn get(&self, key: &Key) -> Option<Value> {
        let answer = self.store.range(&RangeRequest::key(key.path())).unwrap();
        answer.kvs.first().map(|kv| serde_json::from_slice(&kv.value).unwrap_or(Value::Null))
    }

    fn block(&self, text: &str) -> Option<AllocationBlock> {
        let key = Key::Block(cidr(text));
        let answer = self.store.range(&RangeRequest::key(key.path())).unwrap();
        answer.kvs.first().map(|kv| AllocationBlock::decode(&cidr(text), &kv.value).unwrap())
    }

    fn affinity(&self, node: &str, text: &str) -> Option<String> {
        let value = self.get(&Key::Affinity(host(node), cidr(text)))?;
        Some(value["state"].as_str().unwrap_or_default().to_owned())
    }

    fn put_affinity(&mut self, node: &str, text: &str, state: &str) {
        self.put(&Key::Affinity(host(node), cidr(text)), json!({"state": state, "deleted": false}));
    }

    fn put_block(&mut self, block: &AllocationBlock) {
        self.put_bytes(&Key::Block(block.cidr), block.encode());
    }

    fn handle(&self, id: &str) -> Option<Value> {
        Some(self.get(&Key::Handle(id.to_owned()))?["block"].clone())
    }

    fn keys(&self) -> Vec<String> {
        let all = self.store.range(&RangeRequest::prefix("/calico/ipam/")).unwrap();
        all.kvs.iter().map(|kv| String::from_utf8(kv.key.to_vec()).unwrap()).collect()
    }

    fn pass(&mut self, seconds: i64) {
        self.now = self.now.saturating_add(SignedDuration::from_secs(seconds)).unwrap();
    }

    /// Carries a plan out.
    fn run<T>(&mut self, plan: Plan<Result<T, PlanError>>) -> Result<T, PlanError> {
        self.asks.clear();
        let mut step = plan.begin(self.now);
        loop {
            match step {
                Step::Done(outcome) => return outcome,
                Step::Ask(ask, waiting) => {
                    if matches!(ask.purpose, Purpose::Write(_)) && !self.interference.is_empty() {
                        let interference = self.interference.remove(0);
                        let asks = std::mem::take(&mut self.asks);
                        let others = std::mem::take(&mut self.interference);
                        interference(self);
                        self.interference = others;
                        self.asks = asks;
                    }
                    self.asks.push(ask.purpose);
                    let size = ask.txn.compare.len().max(ask.txn.success.len()).max(ask.txn.failure.len());
                    assert!(size < 128, "{size} operations in one transaction");
                    let answer = self.store.txn(&ask.txn).expect("the store takes it");
                    step = waiting.answer(answer, self.now);
                }
            }
        }
    }

    /// ADD of one IPv4 address.
    fn add(&mut self, node: &str, handle: &str) -> Result<String, PlanError> {
        let outcome = self.auto(AutoAssignRequest {
            handle: Some(handle.to_owned()),
            ..AutoAssignRequest::for_workload(node, 1, 0)
        })?;
        Ok(outcome.v4.assigned.first().unwrap().to_string())
    }

    fn auto(&mut self, request: AutoAssignRequest) -> Result<AutoAssignOutcome, PlanError> {
        self.run(auto_assign(request))
    }

    fn del(&mut self, handle: &str) -> Option<usize> {
        self.run(crate::release_by_handles(vec![handle.to_owned()])).unwrap().map(|released| released.len())
    }

    fn reads(&self) -> usize {
        self.asks.iter().filter(|purpose| **purpose == Purpose::Read).count()
    }

    fn writes(&self) -> Vec<&'static str> {
        let writes = self.asks.iter().filter_map(|purpose| match purpose {
            Purpose::Write(step) => Some(*step),
            Purpose::Read => None,
        });
        writes.collect()
    }
}

fn text<T>(result: Result<T, PlanError>) -> String {
    match result {
        Ok(_) => "no error".to_owned(),
        Err(error) => error.to_string(),
    }
}
