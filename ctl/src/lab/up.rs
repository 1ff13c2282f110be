//! Bringing a lab up: each step is written into the state file before it is taken.

use super::directory::Directory;
use super::failpoint::failpoint;
use super::matrix::{self, End, Probe};
use super::node::{self, Programs};
use super::place::Place;
use super::plan::{ETCD_ADDRESS, Etcd, OUTSIDE, POOLS, PROFILE, Plan};
use super::programs::{self, Program, Started};
use super::progress::Progress;
use super::shape::Shape;
use super::state::{Identity, Phase, State};
use super::tool::ocicat;
use super::watch::{STEP, Watch};
use super::{bootstrap, converge, fabric, policy, program, workload};
use anyhow::{Context, Result};
use std::net::IpAddr;
use std::time::{Duration, Instant};

/// How long a missing answer is waited for.
const LOST: Duration = Duration::from_secs(3);
/// How long packets may get lost after all sessions are up.
const ROUTES: Duration = Duration::from_secs(10);

/// Programs the lab is made with.
#[derive(Debug)]
pub struct Needs {
    programs: Programs,
}

impl Needs {
    /// Finds them, before anything is touched.
    ///
    /// # Errors
    /// One is missing.
    pub fn find() -> Result<Self> {
        Ok(Self { programs: Programs::find()? })
    }
}

/// A lab being made.
pub struct Making<'a> {
    directory: &'a Directory,
    plan: Plan,
    needs: Needs,
    state: State,
    progress: &'a mut Progress,
    watch: &'a Watch,
}

impl<'a> Making<'a> {
    /// Nothing is made yet.
    pub fn new(
        directory: &'a Directory,
        etcd: Etcd,
        shape: Shape,
        needs: Needs,
        progress: &'a mut Progress,
        watch: &'a Watch,
    ) -> Self {
        let state = State::new(etcd, shape);
        Self { directory, plan: state.plan(), needs, state, progress, watch }
    }

    /// Makes everything.
    ///
    /// # Errors
    /// A step failed; what was made is left for a look.
    pub fn run(mut self) -> Result<()> {
        self.watch.doing("the lab's directory", STEP);
        self.directory.make(&self.plan.nodes)?;
        self.step("the namespace between the nodes")?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        runtime.block_on(node::make_outside(self.directory, &self.plan))?;
        let datastore = self.plan.datastore_programs(self.directory.path(), &self.needs.programs.ocicat);
        let started = self.start_programs(datastore)?;
        for node in self.plan.nodes.clone() {
            self.step(&format!("node {}", node.name))?;
            runtime.block_on(node::make_node(self.directory, &self.plan, &node, &self.needs.programs))?;
            self.progress.say(&format!(
                "{}: network and mount namespace, own /var/lib, /run and /etc/cni, {} {}",
                node.name,
                node.ipv4().1,
                node.ipv6().1
            ));
        }
        self.step("waiting for the datastore")?;
        for (program, identity) in &started {
            program::wait_ready(self.directory, program, *identity, program::READY)?;
        }
        match &self.plan.etcd {
            Etcd::Own => self
                .progress
                .say(&format!("the datastore answers at {}", self.plan.etcd.endpoints().join(","))),
            Etcd::Given(given) => self.progress.say(&format!(
                "your etcd at {} answers, for the nodes at {}",
                given.join(","),
                self.plan.etcd.endpoints().join(",")
            )),
        }
        self.bootstrap()?;
        let speakers = self.start_agents()?;
        self.apply_resources()?;
        for number in 0..self.plan.workloads.len() {
            self.attach(&runtime, number)?;
        }
        self.converge(&speakers)?;
        self.state.phase = Phase::Up;
        self.step("up")
    }

    fn step(&mut self, step: &str) -> Result<()> {
        self.watch.doing(step, STEP);
        self.state.step = step.to_string();
        self.state.save(self.directory.path())?;
        failpoint(step);
        Ok(())
    }

    fn start_programs(&mut self, programs: Vec<Program>) -> Result<Vec<(Program, Identity)>> {
        let mut started = Vec::new();
        for program in programs {
            // Killed right after the start, it is known by its marker.
            self.step(&format!("start {}", program.name))?;
            let identity = program::start(self.directory, &self.plan.etcd, &program)?;
            failpoint(&format!("started {}", program.name));
            self.state.processes.push(Started { name: program.name.clone(), identity });
            self.state.save(self.directory.path())?;
            started.push((program, identity));
        }
        Ok(started)
    }

    /// Starts the agents, and the router's speaker with its own resources; waits until the nodes are registered and
    /// enforce what the datastore holds.
    fn start_agents(&mut self) -> Result<Vec<Program>> {
        let resources = programs::router_resources(self.directory.path());
        for (name, text) in fabric::of_router(&self.plan) {
            std::fs::create_dir_all(&resources)?;
            std::fs::write(resources.join(name), text)?;
        }
        let mut programs = self.plan.agents(self.directory.path());
        programs.extend(self.plan.router(self.directory.path(), &self.needs.programs.ocicat));
        let started = self.start_programs(programs)?;
        self.step("waiting for the agents")?;
        for (program, identity) in &started {
            program::wait_ready(self.directory, program, *identity, program::READY)?;
        }
        self.progress.say(
            "agents run: nodes are registered; cluster information, tiers, default pools and configurations are there",
        );
        Ok(started.into_iter().map(|(program, _)| program).collect())
    }

    fn converge(&mut self, speakers: &[Program]) -> Result<()> {
        self.step("BGP sessions")?;
        let sessions = converge::wait(self.directory, &self.plan, speakers)?;
        if sessions > 0 {
            let fabric = self.plan.shape.fabric;
            self.progress.say(&format!("{sessions} BGP sessions are up ({fabric})"));
        }
        Ok(())
    }

    fn bootstrap(&mut self) -> Result<()> {
        self.step("what the agents must find")?;
        let first = self.plan.nodes.first().context("a lab has a node")?;
        // The node's network, with our own files: the state file is not to be seen from a node.
        let place = Place::of(self.directory.place(&first.name)?.net().clone());
        let (state, directory) = (&mut self.state, self.directory);
        place.run(|| {
            bootstrap::run(&self.plan, |created| {
                state.created.push(created);
                state.save(directory.path())
            })
        })
    }

    fn apply_resources(&mut self) -> Result<()> {
        self.step("pools")?;
        let fabric = fabric::of_nodes(&self.plan);
        for (what, text) in [("pools", POOLS), ("profile", PROFILE), ("fabric", fabric.as_str())] {
            if text.is_empty() {
                continue;
            }
            let out = ocicat(self.directory, &self.plan, &["apply", "-f", "-"], text)
                .with_context(|| format!("the {what}"))?;
            self.progress.say(out.trim());
        }
        Ok(())
    }

    fn attach(&mut self, runtime: &tokio::runtime::Runtime, number: usize) -> Result<()> {
        let planned = self.plan.workloads.get(number).context("no such workload")?.clone();
        let mut known = workload::planned(&planned);
        self.state.workloads.push(known.clone());
        self.step(&format!("attach {}", planned.name))?;
        let node = self.directory.place(&planned.node)?;
        let netns = workload::make_netns(&node, &planned)?;
        failpoint(&format!("namespace of {}", planned.name));
        runtime.block_on(node::loopback(&netns))?;
        let begin = self.progress.seconds();
        workload::add(self.directory, &node, &planned, &mut known, &self.plan.etcd.cni_config())?;
        let took = self.progress.seconds() - begin;
        policy::label(self.directory, &self.plan, &known.endpoint()?, &known.name)?;
        failpoint(&format!("attached {}", planned.name));
        let addresses =
            [&known.ipv4, &known.ipv6].into_iter().flatten().cloned().collect::<Vec<_>>().join(" ");
        self.progress.say(&format!(
            "{} attached in {:.0} ms: {addresses} behind {}",
            planned.name,
            took * 1000.0,
            known.host_interface
        ));
        if let Some(last) = self.state.workloads.last_mut() {
            *last = known;
        }
        self.state.save(self.directory.path())
    }
}

/// All ends of a lab that is up.
///
/// # Errors
/// One has gone.
pub fn ends(directory: &Directory, state: &State) -> Result<Vec<End>> {
    let plan = state.plan();
    let mut ends = Vec::new();
    for planned in &plan.workloads {
        let known = state.workloads.iter().find(|known| known.name == planned.name);
        let texts = known.into_iter().flat_map(|known| [&known.ipv4, &known.ipv6]).flatten();
        ends.push(End {
            name: planned.name.clone(),
            place: workload::place(directory, planned)?,
            addresses: texts.filter_map(|text| text.parse().ok()).collect(),
            sends: true,
        });
    }
    for node in &plan.nodes {
        let addresses = vec![IpAddr::V4(node.ipv4().1), IpAddr::V6(node.ipv6().1)];
        ends.push(End {
            name: node.name.clone(),
            place: directory.place(&node.name)?,
            addresses,
            sends: true,
        });
    }
    // It has no route to workloads: its answers come back because the node gave the questions its own address.
    let addresses = vec![IpAddr::V4(ETCD_ADDRESS)];
    ends.push(End { name: OUTSIDE.to_string(), place: directory.outside()?, addresses, sends: false });
    Ok(ends)
}

/// Sends packets between all of them.
///
/// # Errors
/// An end has gone.
pub fn probe(ends: &[End]) -> Result<Vec<Probe>> {
    // Sessions are up before routes are in the kernel.
    let begin = Instant::now();
    loop {
        let probes = matrix::run(ends, LOST)?;
        if matrix::complete(&probes) || begin.elapsed() > ROUTES {
            return Ok(probes);
        }
    }
}
