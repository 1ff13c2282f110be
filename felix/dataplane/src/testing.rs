//! For tests on the real kernel: a namespace of their own, `nft` and `ip` as independent views, and a kernel that fails when
//! it is told to.

use futures::stream::{BoxStream, StreamExt};
use kernel::{
    CommitError, Flows, IpSets, KernelError, Netfilter, Netns, NewRule, NftEvent, NftKernel, Nftables,
    Refused, XTables,
};
use netfilter::nft::{Change, Object, Query};
use std::future::Future;
use std::path::PathBuf;
use std::process::Command;
use std::sync::{Arc, Mutex};

/// Whether tests that need the real kernel run.
pub fn root() -> bool {
    let root = nix::unistd::geteuid().is_root();
    if !root {
        eprintln!("not root: the real kernel is left out");
    }
    root
}

/// Runs a test that needs the real kernel.
pub fn as_root(test: impl Future<Output = ()>) {
    if root() {
        block_on(test);
    }
}

pub fn block_on<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(future)
}

/// A namespace that goes with this.
pub struct Space {
    pub netns: Netns,
    path: PathBuf,
    _folder: tempfile::TempDir,
}

impl Space {
    pub fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("n");
        Self { netns: Netns::create_at(&path).unwrap(), path, _folder: folder }
    }

    pub fn nftables(&self) -> Nftables {
        Nftables::open(&self.netns).unwrap()
    }

    /// What a program says inside.
    pub fn run(&self, program: &str, arguments: &[&str]) -> String {
        let arguments: Vec<String> = arguments.iter().map(ToString::to_string).collect();
        let name = program.to_owned();
        let output = self.netns.run(move || Command::new(&name).args(arguments).output()).unwrap();
        let package = match program {
            "nft" => "nftables",
            "ipset" => "ipset",
            "ip" => "iproute2",
            _ => "iptables",
        };
        let output =
            output.unwrap_or_else(|_| panic!("{program} cannot be run: install the package {package}"));
        assert!(output.status.success(), "{program}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    }

    pub fn nft(&self, command: &str) -> String {
        self.run("nft", &[command])
    }

    /// The ruleset without counters, sorted by table and object as `nft` lists them in order of making.
    pub fn canonical(&self) -> String {
        let listed = self.run("nft", &["-s", "list", "ruleset"]);
        let mut objects: Vec<String> = Vec::new();
        let mut table = String::new();
        for line in listed.lines() {
            if line.starts_with("table") {
                table = line.to_owned();
            } else if line.starts_with('\t') && !line.starts_with("\t\t") && line.ends_with('{') {
                objects.push(format!("{table}\n{line}"));
            } else if line != "}"
                && let Some(object) = objects.last_mut()
            {
                object.push('\n');
                object.push_str(line);
            }
        }
        let objects: Vec<String> = objects.iter().map(|object| sorted_elements(object)).collect();
        let mut objects = objects;
        objects.sort();
        objects.join("\n")
    }
}

/// Elements of a hash come in no order.
fn sorted_elements(object: &str) -> String {
    let Some((before, rest)) = object.split_once("elements = {") else { return object.trim_end().to_owned() };
    let end = rest.rfind("}\n\t}").or_else(|| rest.find('}')).unwrap_or(rest.len());
    let mut elements: Vec<String> = rest[..end]
        .split(",\n")
        .flat_map(|line| if line.contains('"') { vec![line] } else { line.split(", ").collect() })
        .map(|element| element.trim().to_owned())
        .collect();
    elements.sort();
    format!("{before}elements = {}", elements.join("\n"))
}

impl Drop for Space {
    fn drop(&mut self) {
        let _ = Netns::delete_at(&self.path);
    }
}

/// How an operation fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// Nothing happens, and an error comes back.
    Lost,
    /// It happens, and an error comes back all the same.
    Unanswered,
    /// The kernel refuses one change of the batch: the one of this place, counted round.
    Refused(usize),
    /// The generation is said to be another one.
    Stale,
}

/// What a [`Faulty`] kernel does.
#[derive(Default)]
pub struct Plan {
    /// Operations so far: commits and reads.
    pub count: usize,
    /// Which of them fails, and how.
    pub fault: Option<(usize, Fault)>,
    /// How often.
    pub times: usize,
    /// Reads do not count, and do not fail.
    pub commits_alone: bool,
    /// Commits that were carried out.
    pub commits: Vec<usize>,
    /// Called after each commit that was carried out.
    pub watch: Option<Box<dyn FnMut() + Send>>,
}

/// nf_tables with faults.
pub struct Faulty {
    inner: Nftables,
    pub plan: Arc<Mutex<Plan>>,
}

impl Faulty {
    pub fn new(inner: Nftables) -> (Self, Arc<Mutex<Plan>>) {
        let plan = Arc::new(Mutex::new(Plan { times: 1, ..Plan::default() }));
        (Self { inner, plan: plan.clone() }, plan)
    }

    fn strikes(&self, read: bool) -> Option<Fault> {
        let mut plan = self.plan.lock().unwrap();
        if read && plan.commits_alone {
            return None;
        }
        plan.count += 1;
        let (at, fault) = plan.fault?;
        let strikes = plan.count > at && plan.count <= at.saturating_add(plan.times);
        strikes.then_some(fault)
    }
}

fn failed() -> KernelError {
    KernelError::Socket("planned fault".to_owned())
}

impl NftKernel for Faulty {
    fn commit(&mut self, changes: &[Change], generation: Option<u32>) -> Result<Vec<NewRule>, CommitError> {
        match self.strikes(false) {
            Some(Fault::Lost) => return Err(failed().into()),
            Some(Fault::Stale) => return Err(CommitError::Stale),
            Some(Fault::Refused(place)) => {
                let change = place % changes.len();
                return Err(CommitError::Refused(vec![Refused { change, errno: 22, words: None }]));
            }
            Some(Fault::Unanswered) => {
                self.inner.commit(changes, generation)?;
                self.watch(changes.len());
                return Err(failed().into());
            }
            None => {}
        }
        let result = self.inner.commit(changes, generation)?;
        self.watch(changes.len());
        Ok(result)
    }

    fn read(&mut self, query: &Query) -> Result<Vec<Object>, KernelError> {
        if self.strikes(true).is_some() { Err(failed()) } else { self.inner.read(query) }
    }

    fn generation(&mut self) -> Result<u32, KernelError> {
        if self.strikes(true).is_some() { Err(failed()) } else { self.inner.generation() }
    }

    fn events_of_others(&self) -> Result<BoxStream<'static, NftEvent>, KernelError> {
        NftKernel::events_of_others(&self.inner)
    }
}

impl Faulty {
    fn watch(&self, changes: usize) {
        let mut plan = self.plan.lock().unwrap();
        plan.commits.push(changes);
        if let Some(mut watch) = plan.watch.take() {
            drop(plan);
            watch();
            self.plan.lock().unwrap().watch = Some(watch);
        }
    }
}

/// nf_tables that takes everything but what it is told to refuse, and tells nothing, beside the in-memory kernel.
#[derive(Default)]
pub struct Accepting {
    rules: u64,
    /// Changes of the chain or set of this name are refused.
    pub refuses: Arc<Mutex<Option<String>>>,
}

impl NftKernel for Accepting {
    fn commit(&mut self, changes: &[Change], _: Option<u32>) -> Result<Vec<NewRule>, CommitError> {
        let refuses = self.refuses.lock().unwrap().clone();
        let about = |change: &Change| match change {
            Change::AddRule(rule, _) => Some(rule.chain.clone()),
            Change::AddElements { set, .. } | Change::DeleteElements { set, .. } => Some(set.clone()),
            _ => None,
        };
        let refused = changes.iter().position(|change| refuses.is_some() && about(change) == refuses);
        if let Some(change) = refused {
            return Err(CommitError::Refused(vec![Refused { change, errno: 12, words: None }]));
        }
        let rules = changes.iter().enumerate().filter(|(_, change)| matches!(change, Change::AddRule(..)));
        let new = |(change, _)| {
            self.rules += 1;
            NewRule { change, handle: self.rules }
        };
        Ok(rules.map(new).collect())
    }

    fn read(&mut self, _: &Query) -> Result<Vec<Object>, KernelError> {
        Ok(Vec::new())
    }

    fn generation(&mut self) -> Result<u32, KernelError> {
        Ok(1)
    }

    fn events_of_others(&self) -> Result<BoxStream<'static, NftEvent>, KernelError> {
        Ok(futures::stream::pending().boxed())
    }
}

/// Netfilter of nothing: an [`Accepting`] nf_tables that shares what it refuses, and tables of iptables in memory.
#[derive(Default)]
pub struct Pretended {
    pub refuses: Arc<Mutex<Option<String>>>,
    pub world: crate::iptables::World,
}

impl Netfilter for Pretended {
    fn nftables(&self) -> Result<Box<dyn NftKernel>, KernelError> {
        Ok(Box::new(Accepting { refuses: self.refuses.clone(), ..Accepting::default() }))
    }

    fn sets(&self) -> Result<Box<dyn IpSets>, KernelError> {
        Ok(Box::new(self.world.clone()))
    }

    fn programs(&self) -> Arc<dyn XTables> {
        Arc::new(self.world.clone())
    }

    fn legacy_tables(&self) -> Vec<String> {
        Vec::new()
    }
}

/// Connection tracking that remembers what it was to forget.
#[derive(Default, Clone)]
pub struct Forgets(Arc<Mutex<(Vec<std::net::IpAddr>, usize)>>);

impl Forgets {
    pub fn take(&self) -> Vec<std::net::IpAddr> {
        std::mem::take(&mut self.0.lock().unwrap().0)
    }

    /// Fails so many times.
    pub fn fail(&self, times: usize) {
        self.0.lock().unwrap().1 = times;
    }
}

impl Flows for Forgets {
    fn forget(&mut self, addresses: &[std::net::IpAddr]) -> Result<usize, KernelError> {
        let mut state = self.0.lock().unwrap();
        if state.1 > 0 {
            state.1 -= 1;
            return Err(failed());
        }
        state.0.extend(addresses);
        Ok(addresses.len())
    }
}
