//! For every recorded scenario but VXLAN's: routes, rules, neighbours, sysctls, status files and keys, members of sets; with
//! iptables its tables, IP sets and the table of ARP.

use ocicat_tests::agent::differences::DIFFERENCES;
use ocicat_tests::agent::scenario::{self, Recording};
use ocicat_tests::agent::tables::VARIANTS;
use ocicat_tests::binaries::{Build, programs};
use ocicat_tests::sandbox;
use std::collections::BTreeSet;
use std::sync::Mutex;

#[test]
fn what_the_agent_leaves_is_what_was_recorded() {
    let (chosen, met) = replay(scenario::all().unwrap());
    if !chosen {
        for (place, line) in DIFFERENCES.iter().enumerate() {
            assert!(met.contains(&place), "no longer differs: {line:?}");
        }
    }
}

#[test]
fn what_the_agent_leaves_with_iptables_is_what_was_recorded() {
    for (folder, variant) in VARIANTS {
        println!("the variant {variant}");
        replay(scenario::of_iptables(folder, variant).unwrap());
    }
}

/// Replays them, or those that are chosen by name; whether they are, and which differences were met.
fn replay(recordings: Vec<Recording>) -> (bool, BTreeSet<usize>) {
    let chosen = std::env::var("OCICAT_GOLDEN").unwrap_or_default();
    let recordings: Vec<Recording> = recordings
        .into_iter()
        .filter(|one| format!("felix/{}", one.scenario.case).contains(&chosen))
        .collect();
    assert!(!chosen.is_empty() || recordings.len() >= 34, "{} scenarios", recordings.len());
    let programs = programs(Build::Plain).unwrap();
    let work = Mutex::new(recordings.into_iter());
    let result = Mutex::new((Vec::new(), BTreeSet::new()));
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                loop {
                    let Some(recording) = work.lock().unwrap().next() else { break };
                    let name = recording.scenario.case.clone();
                    let replayed = sandbox::within("node-1", programs, || scenario::replay(&recording));
                    let mut result = result.lock().unwrap();
                    match replayed {
                        Ok((wrong, met)) => {
                            result.1.extend(met);
                            if !wrong.is_empty() {
                                result.0.push(format!("== {name}\n{}", wrong.join("\n")));
                            }
                        }
                        Err(error) => result.0.push(format!("== {name}\n{error:#}")),
                    }
                }
            });
        }
    });
    let (wrong, met) = result.into_inner().unwrap();
    assert!(wrong.is_empty(), "{} scenarios differ:\n{}", wrong.len(), wrong.join("\n"));
    (!chosen.is_empty(), met)
}
