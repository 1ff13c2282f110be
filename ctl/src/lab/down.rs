//! Taking a lab away, whole or in whatever state it was left. Every step finds what there is by itself, so that
//! a `down` that was killed is finished by the next.

use super::directory::Directory;
use super::failpoint::failpoint;
use super::place::Place;
use super::plan::{Etcd, Plan, Workload};
use super::programs::AGENT;
use super::progress::Progress;
use super::state::{Attached, Created, Identity, Phase, State};
use super::tool::ocicat;
use super::watch::{STEP, Watch};
use super::{bootstrap, process, program, workload};
use anyhow::{Context, Result};
use mvcc::{DeleteRequest, Op, Txn};
use std::time::Duration;

/// How long a datastore that is to be tidied up may take to answer.
const PATIENCE: Duration = Duration::from_secs(5);

/// Removes everything of the lab; nothing there is no error.
///
/// # Errors
/// Something cannot be removed; it is named, and what comes before it is gone.
pub fn remove(directory: &Directory, progress: &mut Progress, watch: &Watch) -> Result<()> {
    watch.doing("reading the state file", STEP);
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
    if let Some(mut state) = state {
        state.phase = Phase::Removing;
        note(directory, &state, progress);
        let foreign = state.etcd != Etcd::Own && !(state.workloads.is_empty() && state.created.is_empty());
        if foreign && leave_datastore(directory, &state, progress, watch) {
            state.workloads.clear();
            state.created.clear();
            note(directory, &state, progress);
        }
    }
    failpoint("down: datastore left");
    watch.doing("ending the lab's processes", STEP);
    let killed = process::kill_all(directory.path(), &directory.namespaces())?;
    if killed > 0 {
        progress.say(&format!("{killed} {} ended", if killed == 1 { "process" } else { "processes" }));
    }
    failpoint("down: processes ended");
    watch.doing("unmounting the lab's directory", STEP);
    directory.remove()?;
    progress.say("namespaces, links, mounts and files are gone");
    Ok(())
}

/// Notes how far it is. What cannot be noted, for want of space perhaps, is taken away all the same.
fn note(directory: &Directory, state: &State, progress: &mut Progress) {
    if let Err(error) = state.save(directory.path()) {
        progress.say(&format!("{error:#}; going on without it"));
    }
}

/// Takes out of a datastore that is not the lab's own what the lab put there; returns whether all of it is out. The
/// datastore may be away: that is told and keeps nothing else from going.
fn leave_datastore(directory: &Directory, state: &State, progress: &mut Progress, watch: &Watch) -> bool {
    let plan = state.plan();
    let detach = state.workloads.iter().filter_map(|known| {
        let planned = plan.workloads.iter().find(|workload| workload.name == known.name)?;
        Some((format!("detach {}", known.name), Left::Workload(planned, known)))
    });
    let reports = state.processes.iter().filter_map(|started| {
        let node = started.name.strip_prefix(AGENT)?;
        Some((format!("remove what {} reported", started.name), Left::Reports(node, started.identity)))
    });
    let delete = state
        .created
        .iter()
        .map(|created| (format!("delete {} {}", created.kind, created.name), Left::Resource(created)));
    let mut all = true;
    let mut reached = false;
    for (what, left) in detach.chain(reports).chain(delete) {
        watch.doing(format!("{what} in the given datastore"), STEP);
        // Asked first, and again after a failure: the time of many refusals is saved.
        if !reached && let Err(error) = reach_datastore(directory, state) {
            progress.say(&format!(
                "the datastore is not reached ({error:#}): what the lab put there stays there"
            ));
            return false;
        }
        let result = left.take_out(directory, &plan);
        reached = result.is_ok();
        if let Err(error) = result {
            all = false;
            progress.say(&format!("{what}: {error:#}"));
        }
    }
    if all {
        progress.say("the given datastore has nothing of the lab left");
    }
    all
}

/// What the lab has put into a given datastore.
enum Left<'a> {
    Workload(&'a Workload, &'a Attached),
    /// Status keys of a node, whose agent must not write them again.
    Reports(&'a str, Identity),
    Resource(&'a Created),
}

impl Left<'_> {
    fn take_out(&self, directory: &Directory, plan: &Plan) -> Result<()> {
        match self {
            Left::Workload(planned, known) => {
                let node = directory.place(&known.node)?;
                workload::del(directory, &node, planned, known, &plan.etcd.cni_config())
            }
            Left::Reports(node, agent) => {
                process::kill_one(*agent)?;
                let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
                let place = Place::of(directory.place(node)?.net().clone());
                place.run(|| {
                    runtime.block_on(async {
                        let store = bootstrap::connect(&plan.etcd)?;
                        let all = DeleteRequest::prefix(felix::status_prefix(node));
                        store.txn(Txn { success: vec![Op::Delete(all)], ..Txn::default() }).await?;
                        Ok(())
                    })
                })
            }
            Left::Resource(created) => {
                let words = ["delete", &created.kind, &created.name, "--skip-not-exists"];
                ocicat(directory, plan, &words, "").map(drop)
            }
        }
    }
}

/// Makes sure that the relays run, as they do unless somebody ended them, and that the datastore answers.
fn reach_datastore(directory: &Directory, state: &State) -> Result<()> {
    let own = std::env::current_exe().context("find this program")?;
    for program in state.plan().datastore_programs(directory.path(), &own) {
        let known = state.processes.iter().find(|started| started.name == program.name);
        let identity =
            match known.map(|started| started.identity).filter(|identity| process::alive(*identity)) {
                Some(identity) => identity,
                None => program::start(directory, &state.etcd, &program)?,
            };
        program::wait_ready(directory, &program, identity, PATIENCE)?;
    }
    Ok(())
}
