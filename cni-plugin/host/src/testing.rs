//! A host in memory: kernel, store, plugins.

use crate::agent::Agent;
use crate::host::{Dataplane, Host, Stores, Variables};
use crate::run::{Output, run};
use cni_protocol::request::{self, Call};
use cni_protocol::{Program, Request};
use datastore::memory::{Asked, Disturbed, Fate, MemoryStore};
use datastore::{Bootstrap, Client, Datastore, StoreError};
use futures::future::BoxFuture;
use kernel::memory::World;
use kernel::{Kernel, Namespaces, Op};
use model::{Kind, Resource};
use mvcc::RangeRequest;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

/// A request as the checks would let it through.
pub(crate) fn request(command: &str, conf: Value) -> Request {
    let get = |name: &str| Some(variables(command, "c1").get(name)?.clone());
    match request::read(&get, conf.to_string().as_bytes()).unwrap() {
        Call::Add(request) | Call::Del(request) | Call::Gc(request) => *request,
        other => panic!("{other:?}"),
    }
}

fn variables(command: &str, container: &str) -> BTreeMap<String, String> {
    [
        ("CNI_COMMAND", command.to_owned()),
        ("CNI_CONTAINERID", container.to_owned()),
        ("CNI_NETNS", format!("/var/run/netns/{container}")),
        ("CNI_IFNAME", "eth0".to_owned()),
        ("CNI_PATH", "/nonexistent".to_owned()),
    ]
    .map(|(name, value)| (name.to_owned(), value))
    .into()
}

/// What happens to a write of the store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    /// Does not carry it out, and says so.
    Refuse,
    /// Carries it out, and loses the answer.
    Lose,
}

/// How many requests came, how many of them wrote, and which write has a fault.
pub(crate) struct Traffic {
    world: World,
    /// What the kernel had been asked when the last write came.
    kernel_before: Mutex<Vec<(String, Op)>>,
    requests: AtomicUsize,
    writes: AtomicUsize,
    plan: Mutex<Option<(usize, Fault)>>,
    away: AtomicBool,
}

impl Traffic {
    fn new(world: World) -> Self {
        Self {
            world,
            kernel_before: Mutex::default(),
            requests: AtomicUsize::default(),
            writes: AtomicUsize::default(),
            plan: Mutex::default(),
            away: AtomicBool::default(),
        }
    }

    /// What the kernel had been asked before the last write to the store.
    pub(crate) fn kernel_before(&self) -> Vec<(String, Op)> {
        self.kernel_before.lock().unwrap().clone()
    }

    /// The `n`-th transaction that writes from now on, counted from 0, has a fault.
    pub(crate) fn fail_write(&self, n: usize, fault: Fault) {
        *self.plan.lock().unwrap() = Some((self.writes.load(Ordering::SeqCst) + n, fault));
    }

    /// Nothing is answered until it is healed.
    pub(crate) fn go_away(&self) {
        self.away.store(true, Ordering::SeqCst);
    }

    fn heal(&self) {
        self.away.store(false, Ordering::SeqCst);
        *self.plan.lock().unwrap() = None;
    }

    fn counts(&self) -> (usize, usize) {
        (self.requests.load(Ordering::SeqCst), self.writes.load(Ordering::SeqCst))
    }

    fn pass(&self, asked: Asked) -> Fate {
        self.requests.fetch_add(1, Ordering::SeqCst);
        if self.away.load(Ordering::SeqCst) {
            return Fate::Refused(StoreError::Unavailable("planned absence".into()));
        }
        if asked == Asked::Read {
            return Fate::Answered;
        }
        *self.kernel_before.lock().unwrap() = self.world.log();
        let number = self.writes.fetch_add(1, Ordering::SeqCst);
        let error = StoreError::Unavailable("planned fault".into());
        match *self.plan.lock().unwrap() {
            Some((at, Fault::Refuse)) if number == at => Fate::Refused(error),
            Some((at, Fault::Lose)) if number == at => Fate::Lost(error),
            _ => Fate::Answered,
        }
    }
}

struct OneStore(Arc<dyn Datastore>);

impl Stores for OneStore {
    fn connect<'a>(&'a self, _: Variables<'a>) -> BoxFuture<'a, Result<Arc<dyn Datastore>, String>> {
        Box::pin(std::future::ready(Ok(Arc::clone(&self.0))))
    }
}

/// A node with two pools, `node-1`, and containers on demand.
pub(crate) struct Node {
    pub(crate) world: World,
    pub(crate) store: Arc<Traffic>,
    memory: MemoryStore,
    disturbed: Arc<dyn Datastore>,
    pub(crate) client: Client,
    pub(crate) directory: tempfile::TempDir,
    pub(crate) variables: BTreeMap<String, String>,
    pub(crate) dataplane: Option<Arc<dyn Dataplane>>,
    /// With what calls are carried out; none for a node without an agent.
    pub(crate) agent: Option<Agent>,
}

impl Node {
    pub(crate) async fn new() -> Self {
        let node = Self::empty();
        node.client.ensure_initialized(Bootstrap::default()).await.unwrap();
        node.put(Kind::Node, "node-1", json!({})).await;
        for (name, cidr, size) in [("four", "10.65.0.0/24", 28), ("six", "fd5f:64::/112", 122)] {
            let spec = json!({"cidr": cidr, "blockSize": size, "nodeSelector": "all()", "vxlanMode": "Never",
                "ipipMode": "Never", "allowedUses": ["Workload", "Tunnel"], "assignmentMode": "Automatic"});
            node.put(Kind::IPPool, name, spec).await;
        }
        node
    }

    /// Without anything in the store.
    pub(crate) fn empty() -> Self {
        let world = World::new().unwrap();
        let (store, memory) = (Arc::new(Traffic::new(world.clone())), MemoryStore::new());
        let traffic = Arc::clone(&store);
        let disturbed: Arc<dyn Datastore> = Arc::new(Disturbed::new(memory.clone(), move |asked| {
            let traffic = Arc::clone(&traffic);
            // as a client has it: a connection's task sends what another task hands it
            let sending = tokio::spawn(async move { tokio::spawn(async move { traffic.pass(asked) }).await });
            Box::pin(async { sending.await.unwrap().unwrap() })
        }));
        let directory = tempfile::tempdir().unwrap();
        fs::write(directory.path().join("nodename"), "node-1").unwrap();
        let node = Self {
            world,
            client: Client::new(Arc::clone(&disturbed)),
            store,
            memory,
            disturbed,
            directory,
            variables: BTreeMap::new(),
            dataplane: None,
            agent: None,
        };
        node.plugin("calico-ipam", "exit 99");
        node
    }

    pub(crate) async fn put(&self, kind: Kind, name: &str, spec: Value) {
        let mut resource = Resource::new(kind, "", name);
        *resource.spec_mut() = spec.as_object().unwrap().clone();
        self.client.create(resource).await.unwrap();
    }

    /// Installs a shell script as a plugin.
    pub(crate) fn plugin(&self, name: &str, script: &str) {
        let file = self.directory.path().join(name);
        let directory = self.directory.path().display();
        fs::write(&file, format!("#!/bin/sh\ncd {directory}\n{script}\n")).unwrap();
        fs::set_permissions(&file, fs::Permissions::from_mode(0o755)).unwrap();
    }

    pub(crate) fn container(&self, name: &str) -> Arc<dyn Kernel> {
        Arc::new(self.world.add(&format!("/var/run/netns/{name}")).unwrap())
    }

    pub(crate) fn conf(&self) -> Value {
        json!({
            "cniVersion": "0.3.1", "name": "net-a", "type": "calico", "log_level": "error",
            "etcd_endpoints": "http://memory",
            "nodename_file": self.directory.path().join("nodename"),
            "ipam_lock_file": self.directory.path().join("ipam.lock"),
            "ipam": {"type": "calico-ipam", "ipv4_pools": ["10.65.0.0/24"]}
        })
    }

    pub(crate) fn dual(&self) -> Value {
        let mut conf = self.conf();
        conf["ipam"] = json!({"type": "calico-ipam", "assign_ipv6": "true"});
        conf
    }

    pub(crate) async fn call(&self, command: &str, container: &str, conf: &Value) -> Output {
        self.call_with(Program::Calico, command, container, conf, &[]).await
    }

    pub(crate) async fn call_with(
        &self,
        program: Program,
        command: &str,
        container: &str,
        conf: &Value,
        changes: &[(&str, &str)],
    ) -> Output {
        let mut all = variables(command, container);
        all.insert("CNI_PATH".into(), self.directory.path().display().to_string());
        all.extend(self.variables.clone());
        all.extend(changes.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())));
        let host = Host { variables: all, ..self.host() };
        run(program, &[], &host, conf.to_string().as_bytes()).await
    }

    /// The surroundings, without variables.
    pub(crate) fn host(&self) -> Host {
        let namespaces: Arc<dyn Namespaces> = Arc::new(self.world.clone());
        Host {
            variables: BTreeMap::new(),
            namespaces,
            stores: Arc::new(OneStore(Arc::clone(&self.disturbed))),
            mtu_file: self.directory.path().join("mtu"),
            azure_networks: self.directory.path().join("azure"),
            host_local_state: self.directory.path().join("host-local"),
            hostname: "Gold-Host".into(),
            executor: Arc::new(crate::SystemExecutor),
            dataplane: self.dataplane.clone(),
            agent: self.agent.clone(),
            own_log: true,
        }
    }

    /// ADD that must succeed.
    pub(crate) async fn add(&self, container: &str, conf: &Value) -> Value {
        let output = self.call("ADD", container, conf).await;
        assert_eq!(output.exit, 0, "{}", output.stdout);
        serde_json::from_str(&output.stdout).unwrap()
    }

    /// DEL that must succeed.
    pub(crate) async fn del(&self, container: &str, conf: &Value) {
        let output = self.call("DEL", container, conf).await;
        assert_eq!((output.exit, output.stdout.as_str()), (0, ""));
    }

    /// The message of a call that must fail with the plugin's own code.
    pub(crate) async fn refusal(&self, command: &str, container: &str, conf: &Value) -> String {
        message(&self.call(command, container, conf).await)
    }

    /// Faults of kernel and store are over.
    pub(crate) fn heal(&self) {
        self.world.clear_faults();
        self.store.heal();
    }

    /// Requests to the store, and how many of them wrote, while `work` ran.
    pub(crate) async fn requests<T>(&self, work: impl Future<Output = T>) -> (T, usize, usize) {
        let before = self.store.counts();
        let result = work.await;
        let after = self.store.counts();
        (result, after.0 - before.0, after.1 - before.1)
    }

    /// Everything in the store below `prefix`.
    pub(crate) async fn stored(&self, prefix: &str) -> BTreeMap<String, Value> {
        let answer = self.memory.range(RangeRequest::prefix(prefix.to_owned())).await.unwrap();
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
        answer.kvs.iter().map(|kv| (text(&kv.key), serde_json::from_slice(&kv.value).unwrap())).collect()
    }

    /// Whatever somebody holds of addresses, endpoints and links: nothing, after the last DEL.
    pub(crate) async fn held(&self) -> Vec<String> {
        let mut held: Vec<String> = Vec::new();
        held.extend(self.stored("/calico/ipam/v2/handle/").await.into_keys());
        held.extend(
            self.stored("/calico/resources/v3/projectcalico.org/workloadendpoints/").await.into_keys(),
        );
        for (key, block) in self.stored("/calico/ipam/v2/assignment/").await {
            let used = block["allocations"].as_array().unwrap().iter().filter(|slot| !slot.is_null()).count();
            if used > 0 {
                held.push(format!("{used} addresses of {key}"));
            }
        }
        let host = self.world.host();
        held.extend(
            host.links().await.unwrap().into_iter().map(|link| link.name).filter(|name| name != "lo"),
        );
        held.extend(host.routes(Default::default()).await.unwrap().iter().map(|route| format!("{route:?}")));
        held.extend(host.neighbours(None).await.unwrap().iter().map(|entry| format!("{entry:?}")));
        held
    }
}

/// The message of an output that must be the plugin's own error.
pub(crate) fn message(output: &Output) -> String {
    assert_eq!(output.exit, 1, "{}", output.stdout);
    let error: Value = serde_json::from_str(&output.stdout).unwrap();
    assert_eq!(error["code"], 999, "{error}");
    error["msg"].as_str().unwrap().to_owned()
}
