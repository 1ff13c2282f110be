//! Real packets against the oracle while the agent does everything: clusters made up, and those of the recordings.

use ocicat_tests::agent::{Agent, BACKENDS, backend, scenario};
use ocicat_tests::binaries::{Build, programs};
use ocicat_tests::node::{NAME, Node};
use ocicat_tests::policy::cluster::{Cluster, NODE};
use ocicat_tests::policy::matching::Coverage;
use ocicat_tests::policy::object::{identity, text};
use ocicat_tests::policy::oracle::Oracle;
use ocicat_tests::policy::packets::{self, Passage, Place};
use ocicat_tests::policy::stage::Stage;
use ocicat_tests::policy::{services, trial};
use ocicat_tests::random::{Random, seed};
use ocicat_tests::sandbox;
use serde_json::Value;
use std::sync::Mutex;

/// Clusters made up in a run, and packets tried for each.
const CLUSTERS: u64 = 12;
const PACKETS: usize = 120;

/// Sends packets to a node whose agent is ready, beside a proxy of services; verdicts that are not the oracle's, and how many
/// there were.
fn judge(
    cluster: &Cluster,
    stage: &mut Stage,
    random: &mut Random,
    coverage: &mut Coverage,
) -> anyhow::Result<(Vec<String>, usize)> {
    stage.serve(cluster)?;
    let oracle = Oracle::new(NODE, cluster.resources.clone()).beside(services::all(cluster));
    let some = std::iter::repeat_with(|| packets::passage(cluster, random)).take(PACKETS).flatten();
    // how many packets a second pass is no matter of policy
    let limits = |place: &Place| {
        cluster.local_workloads().filter(|one| !one["spec"]["qosControls"].is_null()).any(|one| {
            let (_, namespace, name) = identity(one);
            *place == Place::Workload(namespace.to_owned(), name.to_owned())
        })
    };
    let some = some.filter(|one: &Passage| !limits(&one.from) && !limits(&one.to));
    trial::judge(&oracle, stage, some, coverage)
}

/// Runs each piece of work in a sandbox, two at a time; fails with what is wrong.
fn all<T: Send + Sync>(
    work: Vec<T>,
    run: impl Fn(&T) -> anyhow::Result<(Vec<String>, usize)> + Sync + Send,
) -> usize {
    let programs = programs(Build::Plain).unwrap();
    let work = Mutex::new(work.into_iter());
    let sum = Mutex::new((Vec::new(), 0));
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                loop {
                    let Some(one) = work.lock().unwrap().next() else { break };
                    let result = sandbox::within(NAME, programs, || run(&one));
                    let mut sum = sum.lock().unwrap();
                    match result {
                        Ok((wrong, count)) => {
                            sum.0.extend(wrong);
                            sum.1 += count;
                        }
                        Err(error) => sum.0.push(format!("{error:#}")),
                    }
                }
            });
        }
    });
    let (wrong, count) = sum.into_inner().unwrap();
    let some: Vec<&str> = wrong.iter().take(12).map(String::as_str).collect();
    assert!(wrong.is_empty(), "{} of {count} are not the oracle's:\n{}", wrong.len(), some.join("\n"));
    count
}

#[test]
fn packets_through_a_running_agent_meet_the_oracles_verdicts() {
    let base = seed();
    // each backend has its turn, with clusters of both kinds
    let work: Vec<(usize, u64)> = (0..).zip((0..CLUSTERS).map(|index| base.wrapping_add(index))).collect();
    let coverage = Mutex::new(Coverage::default());
    let count = all(work, |(number, seed)| {
        let cluster = if seed % 4 == 0 { Cluster::with_hosts(*seed) } else { Cluster::new(*seed) };
        let node = Node::without_resources()?;
        for (key, value) in cluster.stored() {
            node.server().client.put(&key, &value.to_string())?;
        }
        let mut stage = Stage::set(&cluster)?;
        let (backend, settings) = backend(*number);
        let agent = Agent::start(NAME, &node.server().url(), &settings)?;
        let mut found = Coverage::default();
        let (wrong, count) = judge(&cluster, &mut stage, &mut Random::new(*seed), &mut found)?;
        coverage.lock().unwrap().add(&found);
        let wrong =
            wrong.into_iter().map(|text| format!("cluster {seed}, {backend}: {text}\n{}", agent.log()));
        Ok((wrong.collect(), count))
    });
    println!("{count} packets");
    for (name, count) in &coverage.into_inner().unwrap().events {
        println!("{name}: {count}");
    }
    assert!(count >= 700, "only {count} packets");
}

/// Also those with which Calico's agent gave up: ours does what was meant.
#[test]
fn packets_in_the_recorded_scenarios_meet_the_oracles_verdicts() {
    let recordings = scenario::all().unwrap();
    let scenarios = recordings.len();
    let each =
        recordings.iter().flat_map(|recording| (0..BACKENDS.len()).map(move |number| (recording, number)));
    let count = all(each.collect(), |(recording, number)| {
        let scenario = &recording.scenario;
        let node = Node::without_resources()?;
        node.apply(&scenario.datastore)?;
        let resources: Vec<Value> = node
            .server()
            .client
            .snapshot()?
            .iter()
            .filter(|(key, _)| key.starts_with("/calico/resources/"))
            .filter_map(|(_, stored)| serde_json::from_str(&stored.value).ok())
            .filter(|resource: &Value| !text(resource, "kind").is_empty())
            .collect();
        let cluster = Cluster { seed: 0, resources, broken: Vec::new() };
        let mut stage = Stage::set(&cluster)?;
        let (backend, mut environment) = backend(*number);
        environment.extend(scenario.agent_environment.clone());
        let _agent = Agent::start(NAME, &node.server().url(), &environment)?;
        let (wrong, count) = judge(&cluster, &mut stage, &mut Random::new(11), &mut Coverage::default())?;
        Ok((wrong.into_iter().map(|text| format!("{}, {backend}: {text}", scenario.case)).collect(), count))
    });
    println!("{count} packets in {scenarios} scenarios with {} backends", BACKENDS.len());
    assert!(scenarios >= 34 && count >= 9000, "only {count} packets in {scenarios} scenarios");
}
