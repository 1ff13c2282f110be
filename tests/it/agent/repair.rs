//! What others do to our tables, sets and routes is undone; what the kernel has not got is told, and opens nothing.

use super::around::Ends;
use super::four::{CLIENT, SERVER, four, opened, put, store, udp, with_agent};
use anyhow::{Context, Result, ensure};
use ocicat_tests::agent::between::{Between, Faults};
use ocicat_tests::agent::{Agent, BACKENDS, NFT, OWN, VARIANTS, backend, dump, tables};
use ocicat_tests::binaries::{Build, programs};
use ocicat_tests::node::{NAME, Node};
use ocicat_tests::policy::cluster::Cluster;
use ocicat_tests::policy::stage::Stage;
use ocicat_tests::process::{run, tool, wait_for};
use ocicat_tests::sandbox;
use serde_json::Value;
use std::collections::BTreeSet;
use std::fs;
use std::process::Command;
use std::time::{Duration, Instant};

const PATIENCE: Duration = Duration::from_secs(20);
/// What an event tells of.
const SOON: Duration = Duration::from_secs(1);
/// What a look from time to time finds.
const LATER: Duration = Duration::from_secs(35);

/// What another program does, in words and as a command line; `nft:` begins a script.
type Damage = (&'static str, &'static str);

/// In our own tables.
const TO_OWN: [Damage; 8] = [
    ("a chain is emptied", "nft:flush chain ip ocicat forward-to-workloads"),
    ("a rule is put before all", "nft:insert rule ip ocicat forward-to-workloads counter accept"),
    ("an interface is taken out", "nft:flush map ip ocicat to-workloads"),
    ("a set is emptied", "nft:flush set ip6 ocicat workload-sources"),
    ("a chain is added", "nft:add chain ip ocicat theirs"),
    ("the ARP table goes", "nft:delete table arp ocicat"),
    ("a table sleeps", "nft:add table ip ocicat { flags dormant; }"),
    ("everything goes", "nft:flush ruleset"),
];

/// In tables of the nft variant.
const TO_NFT: [Damage; 8] = [
    ("a chain is emptied", "iptables-nft -F cali-FORWARD"),
    ("a rule is put before all", "iptables-nft -I FORWARD 1 -j ACCEPT"),
    ("a rule is put into ours", "ip6tables-nft -I cali-from-wl-dispatch 1 -j ACCEPT"),
    ("a rule goes", "iptables-nft -D cali-wl-to-host 1"),
    ("what leads to us goes", "iptables-nft -t raw -F PREROUTING"),
    ("a table goes", "nft:delete table ip6 filter"),
    ("the ARP table goes", "nft:delete table arp calico-arp"),
    ("everything goes", "nft:flush ruleset"),
];

/// In routes.
const TO_ROUTES: [Damage; 3] = [
    ("a route goes", "ip route del 10.64.0.4"),
    ("a route leads elsewhere", "ip route replace 10.64.0.4 dev eth0 metric 1024 proto 80"),
    ("a route of ours too many", "ip route add 10.64.0.77 dev eth0 proto 80"),
];

/// What nobody tells of: tables of the legacy variant.
const TO_LEGACY: [Damage; 5] = [
    ("a chain is emptied", "iptables-legacy -F cali-FORWARD"),
    ("a rule is put before all", "iptables-legacy -I FORWARD 1 -j ACCEPT"),
    ("a rule is put into ours", "ip6tables-legacy -I cali-from-wl-dispatch 1 -j ACCEPT"),
    ("what leads to us goes", "iptables-legacy -t raw -F PREROUTING"),
    ("a chain of ours too many", "ip6tables-legacy -t mangle -N cali-theirs"),
];

/// And IP sets, with both variants.
const TO_SETS: [Damage; 1] =
    [("a member of a set too many", "ipset add cali40network-ip-pools 198.51.100.0/24")];

fn does(line: &str) -> Result<()> {
    if let Some(script) = line.strip_prefix("nft:") {
        let mut command = Command::new("nft");
        command.args(["-f", "-"]);
        return run(command, script, Duration::from_secs(10))?.expect_ok(script).map(drop);
    }
    let words: Vec<&str> = line.split(' ').collect();
    tool(words[0], &words[1..]).map(drop)
}

/// What is ours, and whether it is where it belongs: before what others put beside it.
fn ours(number: usize) -> Result<Option<BTreeSet<String>>> {
    for variant in ["legacy", "nft"] {
        let text = tool(&format!("iptables-{variant}-save"), &[])?;
        let first = text.lines().find(|line| line.starts_with("-A FORWARD "));
        if number != OWN && first.is_some_and(|line| !line.contains("cali-FORWARD")) {
            return Ok(None);
        }
    }
    dump::canonical().map(Some)
}

/// What is not as wanted.
fn other(number: usize, wanted: &Option<BTreeSet<String>>) -> Option<BTreeSet<String>> {
    let (now, wanted) = (ours(number).ok()??, wanted.as_ref()?);
    Some(now.symmetric_difference(wanted).cloned().collect())
}

/// Whatever others do to what tells of it is undone within a second.
#[test]
fn what_others_change_of_ours_is_repaired_within_a_second() {
    for (number, damages) in [(OWN, TO_OWN), (NFT, TO_NFT)] {
        let cluster = four(&[53]);
        let work = |_node: &Node, _stage: &mut Stage, agent: Agent| -> Result<()> {
            let wanted = ours(number)?;
            for (what, damage) in damages.into_iter().chain(TO_ROUTES) {
                // the machine may be busy: one of a few times is enough
                let mut times = Vec::new();
                for _ in 0..5 {
                    does(damage).with_context(|| what.to_owned())?;
                    let begun = Instant::now();
                    let whole = || (ours(number).ok()? == wanted).then_some(());
                    wait_for(what, PATIENCE, whole)
                        .with_context(|| format!("{:#?}\n{}", other(number, &wanted), agent.log()))?;
                    times.push(begun.elapsed());
                    if times.last().is_some_and(|time| *time < SOON) {
                        break;
                    }
                }
                println!("{}: {what}: repaired after {times:?}", BACKENDS[number].0);
                assert!(times.iter().any(|time| *time < SOON), "{what}: {times:?}");
            }
            Ok(())
        };
        with_agent(number, &cluster, work).context(BACKENDS[number].0).unwrap();
    }
}

/// A node with an agent that was just begun, between which and iptables' programs others stand.
fn beside(
    number: usize,
    cluster: &Cluster,
    faults: Faults,
    work: impl FnOnce(&Node, &Between, Agent) -> Result<()> + Send,
) -> Result<()> {
    sandbox::within(NAME, programs(Build::Plain)?, || {
        let node = Node::without_resources()?;
        store(&node, cluster)?;
        let _stage = Stage::set(cluster)?;
        let between = Between::make(faults)?;
        fs::write(Between::MISSING, "")?;
        let settings: Vec<_> = backend(number).1.into_iter().chain([between.path()]).collect();
        work(&node, &between, Agent::begin(NAME, &node.server().url(), &settings)?)
    })
}

/// What nobody tells of is found by a look within 35 seconds, all at once; and between two looks no program is started.
#[test]
fn what_nobody_tells_of_is_repaired_within_thirty_five_seconds() {
    for number in VARIANTS {
        let cluster = four(&[53]);
        beside(number, &cluster, Faults::None, |_node, between, agent| {
            let agent = agent.ready()?;
            let wanted = ours(number)?;
            let before = between.calls().len();
            let legacy = if number == NFT { &[][..] } else { &TO_LEGACY[..] };
            for (what, damage) in legacy.iter().chain(&TO_SETS) {
                does(damage).with_context(|| (*what).to_owned())?;
            }
            let begun = Instant::now();
            ensure!(ours(number)? != wanted, "no damage was done");
            // a little more for what a busy machine takes
            let whole = || (ours(number).ok()? == wanted).then_some(());
            wait_for("the repair", LATER + SOON * 5, whole)
                .with_context(|| format!("{:#?}\n{}", other(number, &wanted), agent.log()))?;
            let calls = between.calls().split_off(before);
            println!("{}: repaired after {:?} by {calls:?}", BACKENDS[number].0, begun.elapsed());
            // sets are looked at without a program; tables by one for each family's, and written by one a table
            let most = if number == NFT { 0 } else { 16 };
            ensure!(calls.len() <= most, "{calls:?}");
            Ok(())
        })
        .context(BACKENDS[number].0)
        .unwrap();
    }
}

fn refused(node: &Node) -> Option<Vec<String>> {
    let text =
        node.ocicat(&["felix", "status", "-o", "json"], "").ok()?.expect_ok("ocicat felix status").ok()?;
    let status: Value = serde_json::from_str(&text).ok()?;
    let all = status["refused"].as_array()?;
    Some(all.iter().filter_map(|one| one.as_str().map(str::to_owned)).collect())
}

/// As where its module is missing. Before all is in force nobody is reached; afterwards what is in the other tables goes on.
#[test]
fn a_table_that_the_kernel_has_not_got_is_told_in_the_programs_words_and_opens_nothing() {
    for number in VARIANTS {
        let cluster = four(&[53]);
        beside(number, &cluster, Faults::Missing, |node, _between, agent| {
            let told = |node: &Node| {
                let all = refused(node)?;
                let table = |one: &&String| one.contains("table nat: ") && one.contains(Between::WORDS);
                (all.iter().filter(table).count() == 2 && all.len() == 2).then_some(())
            };
            wait_for("the refusal", PATIENCE, || told(node))
                .with_context(|| format!("{:?}\n{}", refused(node), agent.log()))?;
            let mut ends = Ends::open(&cluster)?;
            let to = |port: u16| udp(CLIENT, SERVER, (40000, port));
            ensure!(!ends.passes(&to(53))? && !ends.passes(&to(54))?, "it is open: {}", agent.log());
            ensure!(tool("ip", &["route", "show", SERVER])?.is_empty(), "it is routed to");
            fs::remove_file(Between::MISSING)?;
            let agent = agent.ready()?;
            ensure!(refused(node).is_some_and(|all| all.is_empty()), "{:?}", refused(node));
            ends.until(&to(53), true, &agent)?;
            ensure!(!ends.passes(&to(54))?);
            // it goes while the agent runs, and what was in it
            let whole = dump::canonical()?;
            fs::write(Between::MISSING, "")?;
            let variant = if number == NFT { "nft" } else { "legacy" };
            for program in ["iptables", "ip6tables"] {
                tool(&format!("{program}-{variant}"), &["-t", "nat", "-F", "PREROUTING"])?;
            }
            if number == NFT {
                // nobody tells of the other variant's
                wait_for("the refusal", PATIENCE, || told(node))
                    .with_context(|| format!("{:?}\n{}", refused(node), agent.log()))?;
            }
            put(node, &opened(&[54]))?;
            ends.until(&to(54), true, &agent)?;
            ends.until(&udp(CLIENT, SERVER, (40001, 53)), false, &agent)?;
            put(node, &opened(&[53]))?;
            fs::remove_file(Between::MISSING)?;
            wait_for("the repair", LATER + PATIENCE, || (dump::canonical().ok()? == whole).then_some(()))
                .with_context(|| agent.log())?;
            ensure!(tables::is_left(variant)?);
            Ok(())
        })
        .context(BACKENDS[number].0)
        .unwrap();
    }
}
