//! The lab's policies: applied as a person would, shown by packets, explained by `ocicat why`.

use super::directory::Directory;
use super::matrix::{self, End, Probe};
use super::plan::{LABEL, POLICIES, Plan};
use super::state::State;
use super::tool::ocicat;
use anyhow::Result;
use serde::Serialize;
use std::time::{Duration, Instant};

/// How long a packet that policy lets through may take; one that takes longer counts as denied, and is looked at again
/// when it should not have been.
const ANSWER: Duration = Duration::from_millis(500);
/// How long the nodes may take until they enforce what was applied.
const ENFORCED: Duration = Duration::from_secs(10);

/// What the policies have done.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Shown {
    /// What `ocicat apply` said.
    pub applied: String,
    /// Packets after it.
    pub packets: Vec<Probe>,
    /// Whether each of them had the fate the policies give it.
    pub as_policies_say: bool,
    /// Command lines of `ocicat why` and their answers.
    pub why: Vec<(String, String)>,
}

/// Takes the policies away, as far as they are there.
///
/// # Errors
/// The datastore refuses.
pub fn remove(directory: &Directory, plan: &Plan) -> Result<()> {
    ocicat(directory, plan, &["delete", "--skip-not-exists", "-f", "-"], POLICIES).map(drop)
}

/// Applies the policies, and sends packets until they fare as the policies say, for a while at most.
///
/// # Errors
/// The datastore refuses, or an end has gone.
pub fn show(directory: &Directory, state: &State, ends: &[End]) -> Result<Shown> {
    let plan = state.plan();
    let applied = ocicat(directory, &plan, &["apply", "-f", "-"], POLICIES)?;
    let begin = Instant::now();
    let (packets, as_policies_say) = loop {
        let packets = matrix::run(ends, ANSWER)?;
        let good = packets
            .iter()
            .all(|probe| probe.round_trip_micros.is_none() == denied(&plan, &probe.from, &probe.to));
        if good || begin.elapsed() > ENFORCED {
            break (packets, good);
        }
    };
    let mut why = Vec::new();
    for (from, to) in [("w1", "w2"), ("w3", "w2")] {
        let (Some(from), Some(to)) = (address(state, from), address(state, to)) else { continue };
        let words = ["why", from, to, "--port", "80"];
        why.push((format!("ocicat {}", words.join(" ")), ocicat(directory, &plan, &words, "")?));
    }
    Ok(Shown { applied: applied.trim().to_owned(), packets, as_policies_say, why })
}

/// Whether the policies deny an echo request from one end to another. A node reaches its own workloads in any case.
pub fn denied(plan: &Plan, from: &str, to: &str) -> bool {
    let home = |name: &str| {
        plan.workloads.iter().find(|workload| workload.name == name).map(|one| one.node.as_str())
    };
    let to_w2 = to == "w2" && from != "w1" && home("w2") != Some(from);
    let from_w3 = from == "w3" && to != "w1";
    to_w2 || from_w3
}

/// The label by which policies know a workload, put on it as a person would.
///
/// # Errors
/// The datastore refuses.
pub fn label(directory: &Directory, plan: &Plan, endpoint: &str, name: &str) -> Result<()> {
    let label = format!("{LABEL}={name}");
    ocicat(directory, plan, &["label", "workloadendpoint", endpoint, &label, "--overwrite"], "").map(drop)
}

fn address<'a>(state: &'a State, name: &str) -> Option<&'a str> {
    state.workloads.iter().find(|known| known.name == name)?.ipv4.as_deref()
}

#[cfg(test)]
mod tests {
    use super::super::plan::Etcd;
    use super::super::shape::{Fabric, Shape};
    use super::*;

    #[test]
    fn what_is_denied_follows_from_the_policies() {
        let plan = Plan::new(Etcd::Own, Shape { nodes: 2, fabric: Fabric::Segment, ..Shape::default() });
        for (from, to, expected) in [
            ("w1", "w2", false),
            ("w4", "w2", true),
            ("node-1", "w2", false),
            ("node-2", "w2", true),
            ("w3", "w1", false),
            ("w3", "node-2", true),
            ("w3", "outside", true),
            ("w1", "outside", false),
            ("w3", "w4", true),
            ("w1", "w3", false),
        ] {
            assert_eq!(denied(&plan, from, to), expected, "{from} {to}");
        }
    }

    #[test]
    fn the_policies_are_what_is_noted() {
        let named: Vec<&str> = POLICIES.lines().filter_map(|line| line.strip_prefix("  name: ")).collect();
        let noted: Vec<&str> = super::super::bootstrap::MADE_LATER
            .iter()
            .filter(|(word, ..)| word.ends_with("policy"))
            .map(|(_, _, name)| *name)
            .collect();
        assert_eq!(named, noted);
    }
}
