//! Taking a lab away, whole or in whatever state it was left. Every step finds what there is by itself, so that
//! a `down` that was killed is finished by the next.

use super::directory::Directory;
use super::failpoint::failpoint;
use super::plan::{Etcd, NODE_PROGRAMS, Plan};
use super::progress::Progress;
use super::state::{Phase, State};
use super::{process, program, tool, workload};
use anyhow::{Context, Result};
use std::time::Duration;

/// How long a datastore that is to be tidied up may take to answer.
const PATIENCE: Duration = Duration::from_secs(5);

/// Removes everything of the lab; nothing there is no error.
///
/// # Errors
/// Something cannot be removed; it is named, and what comes before it is gone.
pub fn remove(directory: &Directory, progress: &mut Progress) -> Result<()> {
    if !directory.exists() {
        return Ok(());
    }
    let state = match State::load(directory.path()) {
        Ok(state) => state,
        Err(error) => {
            // Everything but resources in a given datastore is found without it.
            progress.say(&format!("{error:#}; going on without it"));
            None
        }
    };
    if let Some(mut state) = state.clone() {
        state.phase = Phase::Removing;
        state.save(directory.path())?;
        let foreign = state.etcd != Etcd::Own && !(state.workloads.is_empty() && state.created.is_empty());
        if foreign && leave_datastore(directory, &state, progress) {
            state.workloads.clear();
            state.created.clear();
            state.save(directory.path())?;
        }
    }
    failpoint("down: datastore left");
    let killed = process::kill_all(directory.path(), &directory.namespaces())?;
    if killed > 0 {
        progress.say(&format!("{killed} {} ended", if killed == 1 { "process" } else { "processes" }));
    }
    failpoint("down: processes ended");
    directory.remove()?;
    progress.say("namespaces, links, mounts and files are gone");
    Ok(())
}

/// Takes out of a datastore that is not the lab's own what the lab put there; returns whether all of it is out. The
/// datastore may be away: that is told and keeps nothing else from going.
fn leave_datastore(directory: &Directory, state: &State, progress: &mut Progress) -> bool {
    let mut failed = 0;
    let mut attempt = |what: String, result: Result<()>, progress: &mut Progress| {
        if let Err(error) = result {
            failed += 1;
            progress.say(&format!("{what}: {error:#}"));
        }
    };
    // Unreachable once is unreachable for all: the time of many refusals is saved.
    if let Err(error) = reach_datastore(directory, state) {
        progress
            .say(&format!("the datastore is not reached ({error:#}): what the lab put there stays there"));
        return false;
    }
    let plan = Plan::new(state.etcd.clone());
    let config = state.etcd.cni_config();
    for known in &state.workloads {
        let Some(planned) = plan.workloads.iter().find(|workload| workload.name == known.name) else {
            continue;
        };
        let result = directory
            .place(&known.node)
            .and_then(|node| workload::del(directory, &node, planned, known, &config));
        attempt(format!("detach {}", known.name), result, progress);
    }
    let environment = super::node_environment(&state.etcd);
    let ocicat = format!("{NODE_PROGRAMS}/ocicat");
    for created in &state.created {
        let words = [ocicat.as_str(), "delete", &created.kind, &created.name, "--skip-not-exists"];
        let result = plan
            .nodes
            .first()
            .context("no node")
            .and_then(|node| directory.place(&node.name))
            .and_then(|node| tool::run(&node, directory.path(), &words, &environment, ""))
            .and_then(|said| said.good(&format!("delete {} {}", created.kind, created.name)).map(drop));
        attempt(format!("{} {}", created.kind, created.name), result, progress);
    }
    if failed == 0 {
        progress.say("the given datastore has nothing of the lab left");
    }
    failed == 0
}

/// Makes sure that the relays run, as they do unless somebody ended them, and that the datastore answers.
fn reach_datastore(directory: &Directory, state: &State) -> Result<()> {
    let own = std::env::current_exe().context("find this program")?;
    for program in Plan::new(state.etcd.clone()).programs(directory.path(), &own, &own) {
        let known = state.processes.iter().find(|started| started.name == program.name);
        let identity =
            match known.map(|started| started.identity).filter(|identity| process::alive(*identity)) {
                Some(identity) => identity,
                None => program::start(directory, &program)?,
            };
        program::wait_ready(directory, &program, identity, PATIENCE)?;
    }
    Ok(())
}
