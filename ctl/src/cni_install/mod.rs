//! `ocicat cni install | uninstall`: the plugins and their configuration where a container runtime looks for them.
//! Source: `cni.md` §9 of the contract.
//!
//! What is wanted, what lies there and what was remembered give a list of [`Step`]s, each of which is one effect that a crash
//! leaves whole or not done. A runtime begins to use a network when its configuration appears, so that comes last and goes
//! first; the record of what is ours is written before any of it. Whatever was interrupted, the next call finishes.

mod step;
mod template;

#[cfg(test)]
mod tests;

use crate::io::{Failure, Io};
use crate::session;
use clap::{Args, Subcommand};
use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use step::{Record, Step, digest, mode_of, read};

/// Names of the plugin's binary.
const PLUGINS: [&str; 2] = ["calico", "calico-ipam"];
/// Where it is remembered what is ours.
const RECORD: &str = "/var/lib/ocicat/cni-install.json";

/// `cni`.
#[derive(Debug, Subcommand)]
pub enum CniCommand {
    /// Put the plugins and their configuration where the container runtime looks for them
    Install(InstallArgs),
    /// Take away what `install` put there
    Uninstall(PlaceArgs),
    /// Be a plugin (the thin binaries `calico` and `calico-ipam` execute this)
    #[command(external_subcommand)]
    Plugin(Vec<OsString>),
}

/// Where to, and what.
#[derive(Debug, Args)]
pub struct InstallArgs {
    /// Where to.
    #[command(flatten)]
    pub place: PlaceArgs,
    /// Directory of plugins
    #[arg(long, default_value = "/opt/cni/bin", value_name = "DIR")]
    pub bin_dir: PathBuf,
    /// Directory of configurations
    #[arg(long, default_value = "/etc/cni/net.d", value_name = "DIR")]
    pub conf_dir: PathBuf,
    /// Name of the configuration (CNI_CONF_NAME)
    #[arg(long, value_name = "NAME")]
    pub conf_name: Option<String>,
    /// The configuration (CNI_NETWORK_CONFIG_FILE, or its text in CNI_NETWORK_CONFIG); else a usual one
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// The thin plugin; else the file `calico` beside this program
    #[arg(long, value_name = "FILE")]
    pub plugin: Option<PathBuf>,
}

/// What both verbs take.
#[derive(Debug, Args)]
pub struct PlaceArgs {
    /// Replace or remove files too that are somebody else's, or were changed since
    #[arg(long)]
    pub force: bool,
    /// Where it is remembered which files are ours
    #[arg(long, default_value = RECORD, value_name = "FILE")]
    pub record: PathBuf,
}

/// A file that has to be there.
struct Planned {
    path: PathBuf,
    bytes: Vec<u8>,
    mode: u32,
}

/// Everything that has to be there.
struct Wanted {
    /// In the order of their making: the configuration last.
    files: Vec<Planned>,
    /// Files that stay as they are, whether there are any or not.
    kept: Vec<PathBuf>,
}

/// Installs.
///
/// # Errors
/// A file of somebody else's is in the way; a file cannot be read or written; the configuration is none.
pub fn install(args: &InstallArgs, env: session::Environment<'_>, io: &mut Io) -> Result<(), Failure> {
    let wanted = Wanted::of(args, env)?;
    let old = env("CNI_OLD_CONF_NAME").map(|name| args.conf_dir.join(name));
    carry_out(&plan_install(&wanted, old.as_deref(), &args.place).map_err(failed)?, io)
}

/// Uninstalls.
///
/// # Errors
/// A file was changed since; one cannot be removed.
pub fn uninstall(args: &PlaceArgs, io: &mut Io) -> Result<(), Failure> {
    carry_out(&plan_uninstall(args).map_err(failed)?, io)
}

fn carry_out(steps: &[Step], io: &mut Io) -> Result<(), Failure> {
    for step in steps {
        step.carry_out().map_err(failed)?;
        if let Some(said) = step.said() {
            io.line(&said)?;
        }
    }
    if steps.iter().all(|step| step.said().is_none()) {
        io.line("nothing to do")?;
    }
    Ok(())
}

impl Wanted {
    fn of(args: &InstallArgs, env: session::Environment<'_>) -> Result<Self, Failure> {
        let (mut files, mut kept) = (Vec::new(), Vec::new());
        let skipped = env("SKIP_CNI_BINARIES").unwrap_or_default();
        let update = !matches!(env("UPDATE_CNI_BINARIES").as_deref(), Some("false" | "no" | "0"));
        let source = plugin(args)?;
        let bytes = read(&source).map_err(failed)?.ok_or_else(|| {
            failed(format!("{}: it is not there; give the thin plugin with --plugin", source.display()))
        })?;
        for name in PLUGINS {
            let path = args.bin_dir.join(name);
            let is_skipped = skipped.split(',').any(|word| word.trim() == name);
            if is_skipped || (!update && path.exists()) {
                kept.push(path);
            } else {
                files.push(Planned { path, bytes: bytes.clone(), mode: 0o755 });
            }
        }
        let tls = template::tls_assets(&args.conf_dir, env).map_err(failed)?;
        let text = match (&args.config, env("CNI_NETWORK_CONFIG"), env("CNI_NETWORK_CONFIG_FILE")) {
            (Some(file), ..) => given(file)?,
            (None, Some(text), _) if !text.is_empty() => text,
            (None, _, Some(file)) if !file.is_empty() => given(Path::new(&file))?,
            _ => template::usual(&args.bin_dir, env),
        };
        let text = template::fill(&text, &|name| tls.value(name).or_else(|| env(name))).map_err(failed)?;
        files.extend(tls.files.into_iter().map(|(path, bytes)| Planned { path, bytes, mode: 0o600 }));
        let name =
            args.conf_name.clone().or_else(|| env("CNI_CONF_NAME")).unwrap_or_else(|| template::NAME.into());
        if !is_configuration_name(&name) {
            return Err(failed(format!(
                "CNI_CONF_NAME={name:?}: expected a file name that ends with .conflist, .conf or .json, which runtimes read"
            )));
        }
        files.push(Planned { path: args.conf_dir.join(name), bytes: text.into_bytes(), mode: 0o600 });
        Ok(Self { files, kept })
    }
}

fn given(file: &Path) -> Result<String, Failure> {
    std::fs::read_to_string(file).map_err(|error| failed(format!("{}: {error}", file.display())))
}

fn is_configuration_name(name: &str) -> bool {
    let path = Path::new(name);
    let suffix = path.extension().and_then(|suffix| suffix.to_str()).unwrap_or_default();
    path.file_name().is_some_and(|file| file == name) && matches!(suffix, "conflist" | "conf" | "json")
}

fn plugin(args: &InstallArgs) -> Result<PathBuf, Failure> {
    let beside = || std::env::current_exe().map(|own| own.with_file_name("calico"));
    args.plugin.clone().map_or_else(beside, Ok).map_err(|error| failed(format!("this program: {error}")))
}

/// What has to be done for these files to be there. `old`: a configuration that goes once they are.
fn plan_install(wanted: &Wanted, old: Option<&Path>, place: &PlaceArgs) -> Result<Vec<Step>, String> {
    let known = Record::read(&place.record)?;
    let (mut steps, mut foreign) = (Vec::new(), Vec::new());
    let mut now = BTreeMap::new();
    for file in &wanted.files {
        let digest = digest(&file.bytes);
        let there = read(&file.path)?;
        now.insert(file.path.clone(), vec![digest.clone()]);
        match there {
            Some(there) if there == file.bytes && mode_of(&file.path)? == file.mode => continue,
            Some(there) if there != file.bytes && !place.force && !known.has(&file.path, &there) => {
                foreign.push(file.path.display().to_string());
            }
            _ => {}
        }
        steps.push(Step::Write { path: file.path.clone(), bytes: file.bytes.clone(), mode: file.mode });
    }
    if !foreign.is_empty() {
        return Err(format!(
            "{}: not written by `ocicat cni install`, or changed since; move it away, or overwrite it with --force",
            foreign.join(", ")
        ));
    }
    let configuration = wanted.files.last().map(|file| file.path.as_path());
    // what an earlier call put elsewhere is ours to take away, as long as nobody has changed it
    for path in known.paths().filter(|path| !now.contains_key(*path)) {
        if wanted.kept.iter().any(|kept| kept == path) {
            continue;
        }
        match read(path)? {
            Some(there) if known.has(path, &there) => steps.push(Step::Remove(path.to_owned())),
            _ => {}
        }
    }
    if let Some(old) = old.filter(|old| Some(*old) != configuration && old.exists()) {
        let step = Step::Remove(old.to_owned());
        if !steps.contains(&step) {
            steps.push(step);
        }
    }
    let now = Record::of(now).and(&known.only(&wanted.kept));
    if !steps.is_empty() {
        // until all is done, both what was there and what will be is ours
        steps.insert(0, Step::Remember { record: place.record.clone(), what: known.and(&now) });
    }
    if known != now || !steps.is_empty() {
        steps.push(Step::Remember { record: place.record.clone(), what: now });
    }
    Ok(steps)
}

/// What has to be done for nothing of ours to be there.
fn plan_uninstall(place: &PlaceArgs) -> Result<Vec<Step>, String> {
    let known = Record::read(&place.record)?;
    let (mut steps, mut changed) = (Vec::new(), Vec::new());
    for path in known.paths() {
        // one that is not there yet may be half written
        let there = read(path)?;
        if there.is_some_and(|there| !place.force && !known.has(path, &there)) {
            changed.push(path.display().to_string());
        }
        steps.push(Step::Remove(path.to_owned()));
    }
    if !changed.is_empty() {
        return Err(format!(
            "{}: changed since `ocicat cni install` wrote it; move it away, or remove it with --force",
            changed.join(", ")
        ));
    }
    // a runtime must not find a network whose plugin has gone
    steps.sort_by_key(|step| !step.is_configuration());
    if place.record.exists() {
        steps.push(Step::Forget(place.record.clone()));
    }
    Ok(steps)
}

fn failed(error: impl std::fmt::Display) -> Failure {
    Failure::Message(format!("ocicat cni: {error}"))
}
