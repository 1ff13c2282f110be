//! `ocicat lab`: a node, a datastore and workloads on this machine.
//!
//! Everything the lab has lies in namespaces of its own and in one directory that is a mount (`directory`), and every
//! process carries a marker (`process`): `down` finds all of it without trusting what `up` came to write. `plan` is
//! the table from which all is made; `state` says what was made.

mod bootstrap;
mod converge;
mod directory;
mod down;
mod echo;
mod fabric;
mod failpoint;
mod matrix;
mod mount_ns;
mod node;
mod place;
mod plan;
mod policy;
mod process;
mod program;
mod programs;
mod progress;
mod relay;
mod report;
mod shape;
mod state;
mod status;
mod tool;
mod up;
mod watch;
mod workload;

use anyhow::{Context, Result, bail};
use directory::Directory;
use plan::{Etcd, NODE_PROGRAMS, OUTSIDE, ROUTER};
use progress::Progress;
use shape::{Backend, Fabric, Shape};
use state::{Phase, State};
use std::ffi::OsString;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Command, ExitCode};
use watch::{STEP, Watch, watched};

/// Where the lab lives, for those who want several.
const DIRECTORY_VARIABLE: &str = "OCICAT_LAB_DIR";

/// What the lab can do.
#[derive(Debug, clap::Subcommand)]
pub enum LabCommand {
    /// Bring up nodes with datastore and workloads, and send packets between all of them
    Up {
        /// How many nodes
        #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u8).range(1..=16))]
        nodes: u8,
        /// What lies between them
        #[arg(long, value_enum, default_value_t)]
        fabric: Fabric,
        /// What judges packets
        #[arg(long, value_enum, default_value_t)]
        backend: Backend,
        /// Use this etcd instead of the lab's own store
        #[arg(long, value_name = "URL[,URL]")]
        etcd: Option<String>,
        /// Print the results as JSON
        #[arg(long)]
        json: bool,
    },
    /// Show what there is, and what is wrong with it
    Status {
        /// Print it as JSON
        #[arg(long)]
        json: bool,
    },
    /// Run a command in a node or a workload
    Exec {
        /// A node or workload, such as node-1 or w1, or the router: tor
        #[arg(value_name = "NODE|WORKLOAD")]
        name: String,
        /// The command, after `--`
        #[arg(last = true, required = true, value_name = "CMD")]
        command: Vec<OsString>,
    },
    /// Take everything away
    Down,
    /// Carry connections from the lab to an etcd of the host's network
    #[command(hide = true)]
    Relay {
        /// Namespace to listen in
        #[arg(long)]
        netns: PathBuf,
        /// Address to listen at
        #[arg(long)]
        listen: String,
        /// Address to connect to
        #[arg(long)]
        to: String,
    },
}

/// Runs one lab command.
pub fn run(command: LabCommand) -> ExitCode {
    let done = match command {
        LabCommand::Up { nodes, fabric, backend, etcd, json } => {
            let shape = Shape { nodes, fabric, backend };
            watched(move |watch| up(etcd.as_deref(), shape, json, watch))
        }
        LabCommand::Status { json } => watched(move |watch| status(json, watch)),
        LabCommand::Exec { name, command } => watched(move |watch| exec(&name, command, watch)),
        LabCommand::Down => watched(down),
        // Runs until it is killed.
        LabCommand::Relay { netns, listen, to } => {
            relay::run(&netns, &listen, &to).map(|()| ExitCode::SUCCESS)
        }
    };
    done.unwrap_or_else(|error| {
        eprintln!("ocicat lab: {error:#}");
        ExitCode::FAILURE
    })
}

fn directory() -> Result<Directory> {
    Directory::new(std::env::var_os(DIRECTORY_VARIABLE).map_or_else(|| plan::DIRECTORY.into(), PathBuf::from))
}

/// The lab's directory, for commands that change something.
fn changeable() -> Result<Directory> {
    if !nix::unistd::geteuid().is_root() {
        bail!("the lab makes namespaces and mounts: run as root");
    }
    if std::env::var_os(process::MARKER).is_some() {
        bail!("this shell runs inside the lab; change the lab from outside");
    }
    directory()
}

fn up(etcd: Option<&str>, shape: Shape, json: bool, watch: &Watch) -> Result<ExitCode> {
    let wanted = etcd.map_or(Ok(Etcd::Own), Etcd::parse).map_err(anyhow::Error::msg)?;
    let directory = changeable()?;
    let _turn = directory.turn()?;
    let mut progress = Progress::new(json);
    let found = status::examine(&directory, watch).unwrap_or_default();
    match found {
        Some(found) if found.healthy() && found.etcd != wanted => {
            bail!("a lab with another datastore is up; `ocicat lab down` first")
        }
        Some(found) if found.healthy() && found.shape != shape => {
            bail!("a lab of {} is up; `ocicat lab down` first", found.shape)
        }
        Some(found) if found.healthy() => progress.say("the lab is up already"),
        found => make_anew(&directory, found, (wanted, shape), &mut progress, watch)?,
    }
    let state = State::load(directory.path())?.context("the state file has gone")?;
    watch.doing("taking the policies of an earlier look away", STEP);
    policy::remove(&directory, &state.plan())?;
    watch.doing("sending packets", STEP);
    let ends = up::ends(&directory, &state)?;
    let probes = up::probe(&ends)?;
    let complete = matrix::complete(&probes);
    let lost = probes.iter().filter(|probe| probe.round_trip_micros.is_none()).count();
    progress.say(&format!("{} packets sent and {} came back", probes.len(), probes.len() - lost));
    watch.doing("applying policies and sending packets again", STEP);
    let policies = policy::show(&directory, &state, &ends)?;
    let denied = policies.packets.iter().filter(|probe| probe.round_trip_micros.is_none()).count();
    progress.say(&format!(
        "{}; {denied} packets of {} are denied now",
        policies.applied,
        policies.packets.len()
    ));
    let good = complete && policies.as_policies_say;
    watch.doing("looking at the datastore", STEP);
    let report = report::Report::new(&directory, &state, &probes, &policies, &progress);
    watch.for_a_person();
    print(&if json { report.json() } else { report.text() });
    Ok(if good { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn make_anew(
    directory: &Directory,
    found: Option<status::Report>,
    (etcd, shape): (Etcd, Shape),
    progress: &mut Progress,
    watch: &Watch,
) -> Result<()> {
    let needs = up::Needs::find()?;
    if directory.exists() {
        match found {
            Some(found) if found.phase == Phase::Making => {
                progress
                    .say(&format!("an earlier `up` stopped at {:?}; taking away what it left", found.step));
            }
            _ => progress.say("the lab that is here is not whole; taking it away"),
        }
        down::remove(directory, progress, watch)?;
    }
    up::Making::new(directory, etcd, shape, needs, progress, watch).run().with_context(|| {
        let logs = directory.path().join("log");
        format!("not brought up; logs are in {}, `ocicat lab down` takes away what is there", logs.display())
    })
}

fn down(watch: &Watch) -> Result<ExitCode> {
    let directory = changeable()?;
    let _turn = directory.turn()?;
    let mut progress = Progress::new(false);
    if directory.exists() {
        down::remove(&directory, &mut progress, watch)?;
    } else {
        print("no lab is here\n");
    }
    Ok(ExitCode::SUCCESS)
}

fn status(json: bool, watch: &Watch) -> Result<ExitCode> {
    let directory = directory()?;
    let report = status::examine(&directory, watch)?;
    watch.for_a_person();
    let Some(report) = report else {
        print(if json { "null\n" } else { "no lab is here; `ocicat lab up` makes one\n" });
        return Ok(ExitCode::FAILURE);
    };
    let healthy = report.healthy();
    if json {
        print(&format!("{}\n", serde_json::to_string_pretty(&report)?));
    } else {
        print(&report.table());
        if report.phase != Phase::Up {
            print(&format!(
                "not complete: {:?} at {:?}; `ocicat lab up` makes it anew, `ocicat lab down` takes it away\n",
                report.phase, report.step
            ));
        } else if !healthy {
            print("not whole: `ocicat lab up` makes it anew\n");
        }
    }
    Ok(if healthy { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn exec(name: &str, words: Vec<OsString>, watch: &Watch) -> Result<ExitCode> {
    watch.doing(format!("entering {name}"), STEP);
    let directory = directory()?;
    let state = State::load(directory.path())?.context("no lab is here; `ocicat lab up` makes one")?;
    let plan = state.plan();
    let (program, args) = words.split_first().context("no command")?;
    let mut command = Command::new(program);
    command.args(args).env(process::MARKER, directory.path());
    let place = if let Some(node) = plan.nodes.iter().find(|node| node.name == name) {
        process::scrub(&mut command);
        command.envs(node_environment(&plan.etcd)).current_dir("/");
        directory.place(&node.name)
    } else if name == ROUTER && plan.shape.fabric.has_router() || name == OUTSIDE {
        directory.outside()
    } else if let Some(workload) = plan.workloads.iter().find(|workload| workload.name == name) {
        workload::place(&directory, workload)
    } else {
        let nodes = plan.nodes.iter().map(|node| node.name.as_str());
        let router = plan.shape.fabric.has_router().then_some(ROUTER);
        let names: Vec<&str> =
            nodes.chain(router).chain(plan.workloads.iter().map(|w| w.name.as_str())).collect();
        bail!("{name:?} is neither node nor workload; there are {}", names.join(", "));
    }
    .with_context(|| format!("{name} is not there; see `ocicat lab status`"))?;
    // The command takes this process over, and with it the terminal and its signals.
    let error = place.run(|| Ok(command.exec()))?;
    eprintln!("ocicat lab: {}: {error}", program.to_string_lossy());
    // As a shell says it.
    Ok(ExitCode::from(if error.kind() == std::io::ErrorKind::NotFound { 127 } else { 126 }))
}

/// What a program on a node finds in its environment, besides what the host gives it.
fn node_environment(etcd: &Etcd) -> [(&'static str, String); 3] {
    let path = std::env::var("PATH").unwrap_or_else(|_| "/usr/sbin:/usr/bin:/sbin:/bin".to_string());
    [
        ("PATH", format!("{NODE_PROGRAMS}:{path}")),
        ("DATASTORE_TYPE", "etcdv3".to_string()),
        ("ETCD_ENDPOINTS", etcd.endpoints().join(",")),
    ]
}

fn print(text: &str) {
    use std::io::Write;
    let mut out = std::io::stdout();
    // A reader that has gone needs no more.
    let _ = out.write_all(text.as_bytes()).and_then(|()| out.flush());
}
