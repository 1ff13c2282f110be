//! Verdicts of what the agent calculates, evaluated in user space, and the oracle's: equal for every packet.

use super::told::Told;
use ocicat_tests::policy::cluster::{Cluster, NODE};
use ocicat_tests::policy::fields;
use ocicat_tests::policy::matching::Coverage;
use ocicat_tests::policy::object::{identity, prefix, text, texts};
use ocicat_tests::policy::oracle::{Direction, Oracle, Scope};
use ocicat_tests::policy::packets::{self, Place};
use ocicat_tests::random::{Random, seed};
use serde_json::Value;

/// Clusters of a run, and packets for each: 10⁵ pairs.
const CLUSTERS: u64 = 2000;
const PACKETS: u64 = 50;
/// How often as many clusters again are judged for what has not occurred.
const ROUNDS: u64 = 4;

/// Match fields that must have held in a rule that matched, and must alone have kept another from matching.
const FIELDS: [&str; 31] = [
    "ipVersion",
    "protocol",
    "notProtocol",
    "icmp type",
    "icmp code",
    "notICMP type",
    "notICMP code",
    "source nets",
    "source notNets",
    "source selector",
    "source notSelector",
    "source notSelector alone",
    "source namespaceSelector",
    "source serviceAccounts",
    "source ports",
    "source notPorts",
    "source named ports",
    "source named notPorts",
    "destination nets",
    "destination notNets",
    "destination selector",
    "destination notSelector",
    "destination notSelector alone",
    "destination namespaceSelector",
    "destination serviceAccounts",
    "destination ports",
    "destination notPorts",
    "destination named ports",
    "destination named notPorts",
    "source services, denied",
    "destination services, denied",
];

/// What must have happened.
const EVENTS: [&str; 27] = [
    "rule allows",
    "rule denies",
    "rule passes",
    "rule logs",
    "end of tier denies",
    "end of tier passes",
    "tier that is not there",
    "tie of orders",
    "policy without types",
    "policy with a selector of namespaces",
    "policy with a selector of service accounts",
    "staged policy",
    "profile allows",
    "profile denies",
    "profile passes",
    "profile logs",
    "default profile allows",
    "missing profile denies",
    "no profile allows",
    "nothing decided",
    "workload asked",
    "host endpoint asked",
    "host endpoint asked about what is forwarded",
    "host endpoint asked before DNAT",
    "host endpoint asked before tracking",
    "object that cannot be read",
    "endpoint without address",
];

/// A local endpoint and the scopes in which it is asked.
fn scopes(endpoint: &Value) -> &'static [Scope] {
    match text(endpoint, "kind") {
        "WorkloadEndpoint" => &[Scope::Workload],
        _ => &[Scope::Normal, Scope::Forward, Scope::PreDnat, Scope::Untracked],
    }
}

struct Judge {
    cluster: Cluster,
    oracle: Oracle,
    told: Told,
    coverage: Coverage,
}

impl Judge {
    fn new(cluster: Cluster, random: &mut Random) -> Self {
        let oracle = Oracle::new(NODE, cluster.resources.clone());
        let told = Told::new(&cluster, random);
        let mut coverage = Coverage::default();
        if !cluster.broken.is_empty() {
            coverage.event("object that cannot be read");
        }
        let without = |one: &&Value| {
            text(one, "kind") == "WorkloadEndpoint" && texts(&one["spec"], "ipNetworks").next().is_none()
        };
        if cluster.resources.iter().any(|one| without(&one)) {
            coverage.event("endpoint without address");
        }
        assert_eq!(told.endpoints(), oracle.local_endpoints().count(), "seed {}", cluster.seed);
        Self { cluster, oracle, told, coverage }
    }

    fn ask(&mut self, endpoint: &Value, scope: Scope, direction: Direction, packet: &packets::Packet) {
        let ours = self.told.verdict(endpoint, scope, direction, packet);
        self.coverage.trail.clear();
        let oracle = self.oracle.verdict(endpoint, scope, direction, packet, &mut self.coverage);
        assert!(
            ours.0 == oracle,
            "cluster {}: {:?} {scope:?} {direction:?}\n{packet:?}\noracle: {oracle:?} by {}\nours: {:?} by {}",
            self.cluster.seed,
            identity(endpoint),
            self.coverage.trail.join(", "),
            ours.0,
            ours.1,
        );
    }

    /// One packet near an endpoint's rules, or one between two places of the node.
    fn packet(&mut self, random: &mut Random) {
        let endpoints: Vec<Value> = self.oracle.local_endpoints().cloned().collect();
        if random.chance(50)
            && let Some(passage) = packets::passage(&self.cluster, random)
        {
            for (place, direction) in [(&passage.from, Direction::Egress), (&passage.to, Direction::Ingress)]
            {
                let Place::Workload(namespace, name) = place else { continue };
                let own = |one: &&Value| identity(one) == ("WorkloadEndpoint", namespace, name);
                let endpoint = endpoints.iter().find(own).unwrap();
                self.ask(endpoint, Scope::Workload, direction, &passage.packet);
            }
            return;
        }
        let endpoint = random.pick(&endpoints);
        let addresses: Vec<_> = ["ipNetworks", "expectedIPs"]
            .iter()
            .flat_map(|field| texts(&endpoint["spec"], field))
            .filter_map(|text| prefix(text).map(|net| net.addr()))
            .collect();
        let own =
            if addresses.is_empty() || random.chance(10) { None } else { Some(*random.pick(&addresses)) };
        let (packet, outward) = packets::any_packet(&self.cluster, own, random).unwrap();
        let direction = if outward { Direction::Egress } else { Direction::Ingress };
        let scope = *random.pick(scopes(endpoint));
        self.ask(endpoint, scope, direction, &packet);
    }
}

/// Judges so many clusters; what occurred.
fn judge(base: u64) -> Coverage {
    let threads = 2;
    std::thread::scope(|scope| {
        let runs: Vec<_> = (0..threads)
            .map(|thread| {
                scope.spawn(move || {
                    let mut coverage = Coverage::default();
                    for index in (thread..CLUSTERS).step_by(threads as usize) {
                        let seed = base.wrapping_add(index);
                        let mut random = Random::new(seed ^ 0x5eed);
                        let mut judge = Judge::new(Cluster::new(seed), &mut random);
                        (0..PACKETS).for_each(|_| judge.packet(&mut random));
                        coverage.add(&judge.coverage);
                    }
                    coverage
                })
            })
            .collect();
        let mut sum = Coverage::default();
        for run in runs {
            sum.add(&run.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)));
        }
        sum
    })
}

/// What has not occurred yet.
fn missing(coverage: &Coverage) -> Vec<String> {
    let field = |name: &&str| {
        let count = coverage.fields.get(*name).copied().unwrap_or_default();
        // what is denied as if the field were absent never keeps a rule from matching
        let decides = !name.ends_with("denied");
        (count.held == 0 || (count.decided == 0 && decides)).then(|| format!("{name}: {count:?}"))
    };
    let event = |name: &&str| {
        let happened = coverage.events.get(*name).copied().unwrap_or_default() > 0;
        (!happened).then(|| format!("{name} never happened"))
    };
    let unenforced = coverage.fields.get("unenforced").is_none_or(|count| count.decided == 0);
    let mut all: Vec<String> =
        FIELDS.iter().filter_map(field).chain(EVENTS.iter().filter_map(event)).collect();
    all.extend(unenforced.then(|| "http and services".to_owned()));
    all
}

#[test]
fn a_hundred_thousand_verdicts_are_the_oracles() {
    let base = seed();
    let mut coverage = judge(base);
    // what is rare by chance gets more chances
    for round in 1..=ROUNDS {
        if missing(&coverage).is_empty() {
            break;
        }
        coverage.add(&judge(base.wrapping_add(round * CLUSTERS)));
    }
    for (name, count) in &coverage.fields {
        println!("{name}: held {}, decided {}", count.held, count.decided);
    }
    for (name, count) in &coverage.events {
        println!("{name}: {count}");
    }
    let missing = missing(&coverage);
    assert!(missing.is_empty(), "{missing:?}");
}

/// One case a match field: ignoring the field would turn the verdict on the second packet.
#[test]
fn every_match_field_decides() {
    let mut random = Random::new(1);
    for case in fields::cases() {
        for (cluster, hit, miss) in [(case.cluster(), true, false), (case.without_field(), true, true)] {
            let judge = Judge::new(cluster, &mut random);
            for (passage, wanted) in [(&case.hit, hit), (&case.miss, miss)] {
                let oracle = judge.oracle.passage(passage, &mut Coverage::default());
                assert_eq!(oracle.arrives, wanted, "{}: the oracle", case.name);
                let ends = [(&passage.from, Direction::Egress), (&passage.to, Direction::Ingress)];
                let allowed = ends.into_iter().all(|(place, direction)| {
                    let Place::Workload(namespace, name) = place else { return true };
                    let own = |one: &&Value| identity(one) == ("WorkloadEndpoint", namespace, name);
                    let endpoint = judge.oracle.local_endpoints().find(own).unwrap();
                    let (verdict, _) =
                        judge.told.verdict(endpoint, Scope::Workload, direction, &passage.packet);
                    verdict == ocicat_tests::policy::oracle::Verdict::Allow
                });
                assert_eq!(allowed, wanted, "{}: {}", case.name, packets::describe(passage));
            }
        }
    }
}
