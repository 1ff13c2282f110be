//! Looking at a lab: what should be there, and whether it is.

use super::directory::Directory;
use super::plan::{Etcd, NODE_PROGRAMS, OUTSIDE, UPLINK, WORKLOAD_LINK};
use super::programs::Ready;
use super::shape::Shape;
use super::state::{Phase, State};
use super::watch::Watch;
use super::{converge, process, program, workload};
use anyhow::Result;
use kernel::{Kernel, Netlink, Netns};
use serde::Serialize;
use std::path::Path;
use std::time::Duration;

/// How long a look at one thing may take.
const LOOK: Duration = Duration::from_secs(15);

/// One thing that should be there.
#[derive(Debug, Clone, Serialize)]
pub struct Finding {
    /// What it is.
    pub what: String,
    /// Its particulars.
    pub about: String,
    /// What is wrong with it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fault: Option<String>,
}

/// A lab as it is.
#[derive(Debug, Clone, Serialize)]
pub struct Report {
    /// How far it came.
    pub phase: Phase,
    /// What it was doing.
    pub step: String,
    /// Where the datastore is.
    pub etcd: Etcd,
    /// Nodes and fabric.
    #[serde(flatten)]
    pub shape: Shape,
    /// What should be there.
    pub findings: Vec<Finding>,
}

impl Report {
    /// Whether everything is as it should be.
    pub fn healthy(&self) -> bool {
        self.phase == Phase::Up && self.findings.iter().all(|finding| finding.fault.is_none())
    }

    /// As a table for people.
    pub fn table(&self) -> String {
        let widths =
            |pick: fn(&Finding) -> &str| self.findings.iter().map(|f| pick(f).len()).max().unwrap_or(0);
        let (what, about) = (widths(|f| &f.what), widths(|f| &f.about));
        let mut text = String::new();
        for finding in &self.findings {
            let fault = finding.fault.as_deref().unwrap_or("ok");
            text.push_str(&format!("{:what$}  {:about$}  {fault}\n", finding.what, finding.about));
        }
        text
    }
}

/// Looks at everything the plan has; `None` when there is no lab.
///
/// # Errors
/// The state file cannot be read.
pub fn examine(directory: &Directory, watch: &Watch) -> Result<Option<Report>> {
    watch.doing("reading the state file", LOOK);
    let Some(state) = State::load(directory.path())? else { return Ok(None) };
    let plan = state.plan();
    let mut findings = Vec::new();
    let mut find = |what: String, about: String, result: Result<()>| {
        findings.push(Finding { what, about, fault: result.err().map(|error| format!("{error:#}")) });
    };
    find(OUTSIDE.to_string(), "namespace between the nodes".to_string(), directory.outside().map(drop));
    for program in plan.programs(directory.path(), Path::new("ocicat")) {
        watch.doing(format!("asking {} for its health", program.name), LOOK);
        let started = state.processes.iter().find(|started| started.name == program.name);
        let mut about =
            started.map_or("never started".to_string(), |s| format!("process {}", s.identity.pid));
        let running = started.is_some_and(|started| process::alive(started.identity));
        let result = match (running, &program.ready) {
            (false, _) => Err(anyhow::anyhow!("not running")),
            (true, Ready::Etcd(address)) => {
                about.push_str(&format!(", {address}"));
                program::health(directory, &program.ready)
            }
            (true, Ready::Agent { felix, speaker }) => program::agent(felix).and_then(|status| {
                about.push_str(&format!(", enforces revision {}", status.enforced_revision));
                about.push_str(&sessions(speaker, plan.sessions_of(&program.place))?);
                Ok(())
            }),
            (true, Ready::Speaker(socket)) => {
                sessions(socket, plan.sessions_of(&program.place)).map(|text| about.push_str(&text))
            }
        };
        find(program.name, about, result);
    }
    for node in &plan.nodes {
        watch.doing(format!("looking at {}", node.name), LOOK);
        let about = format!("{} {}", node.ipv4().1, node.ipv6().1);
        let result = directory.place(&node.name).and_then(|place| {
            anyhow::ensure!(place.run(|| Ok(Path::new(NODE_PROGRAMS).is_dir()))?, "its own /run is missing");
            link_is_up(place.net(), UPLINK)
        });
        find(node.name.clone(), about, result);
    }
    for planned in &plan.workloads {
        watch.doing(format!("looking at {}", planned.name), LOOK);
        let known = state.workloads.iter().find(|known| known.name == planned.name);
        let about = known.map_or("never attached".to_string(), |known| {
            let addresses =
                [&known.ipv4, &known.ipv6].into_iter().flatten().cloned().collect::<Vec<_>>().join(" ");
            format!("{addresses} on {} behind {}", known.node, known.host_interface)
        });
        let result = workload::place(directory, planned)
            .and_then(|place| link_is_up(place.net(), WORKLOAD_LINK))
            .and_then(|()| match known {
                Some(known) => link_is_up(directory.place(&known.node)?.net(), &known.host_interface),
                None => Err(anyhow::anyhow!("not in the state file")),
            });
        find(planned.name.clone(), about, result);
    }
    Ok(Some(Report { phase: state.phase, step: state.step, etcd: state.etcd, shape: state.shape, findings }))
}

/// What a speaker's sessions are like, where all that should be up are.
fn sessions(socket: &Path, wanted: usize) -> Result<String> {
    let sessions = converge::sessions(socket)?;
    anyhow::ensure!(sessions.up >= wanted, "sessions are down: {}", sessions.down.join(", "));
    Ok(format!(", BGP: {sessions}"))
}

fn link_is_up(netns: &Netns, name: &str) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        match Netlink::open(netns)?.link(name).await? {
            Some(link) if link.up && link.carrier => Ok(()),
            Some(_) => anyhow::bail!("link {name} is down"),
            None => anyhow::bail!("link {name} is missing"),
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lab_is_healthy_when_complete_and_without_fault() {
        let finding = |fault: Option<&str>| Finding {
            what: "w1".into(),
            about: "x".into(),
            fault: fault.map(str::to_string),
        };
        let report = |phase, findings| Report {
            phase,
            step: String::new(),
            etcd: Etcd::Own,
            shape: Shape::default(),
            findings,
        };
        assert!(report(Phase::Up, vec![finding(None)]).healthy());
        assert!(!report(Phase::Making, vec![finding(None)]).healthy());
        assert!(!report(Phase::Up, vec![finding(None), finding(Some("gone"))]).healthy());
        let table = report(Phase::Up, vec![finding(None), finding(Some("link eth0 is down"))]).table();
        assert_eq!(table, "w1  x  ok\nw1  x  link eth0 is down\n");
    }
}
