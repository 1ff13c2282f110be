//! The programs under test, built once and laid out under every name they answer to.

use crate::process::run;
use anyhow::{Context, Result, anyhow, bail};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Mutex, OnceLock, PoisonError};
use std::time::Duration;

/// Plugins of Debian's `containernetworking-plugins` that tests delegate to or compare with.
const DEBIAN_PLUGINS: [&str; 3] = ["host-local", "ptp", "loopback"];

/// Where Debian installs them.
const DEBIAN_PLUGIN_DIR: &str = "/usr/lib/cni";

/// How the programs are built.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Build {
    /// As `cargo build` does.
    Plain,
    /// With failpoints compiled in.
    Failpoints,
}

/// A directory that holds `ocicat`, `calicoctl`, `calico`, `calico-ipam` and Debian's plugins, for `PATH` and `CNI_PATH`.
///
/// The environment variable `OCICAT_BIN_DIR` names a directory with finished `ocicat` and `calico` instead (an installed
/// package, a release build); else cargo builds them, once a test run.
///
/// # Errors
/// The build fails, or a plugin of `containernetworking-plugins` is missing.
pub fn programs(build: Build) -> Result<&'static Path> {
    static PLAIN: OnceLock<Result<PathBuf, String>> = OnceLock::new();
    static FAILPOINTS: OnceLock<Result<PathBuf, String>> = OnceLock::new();
    let cell = match build {
        Build::Plain => &PLAIN,
        Build::Failpoints => &FAILPOINTS,
    };
    cell.get_or_init(|| prepare(build).map_err(|error| format!("{error:#}")))
        .as_deref()
        .map_err(|text| anyhow!("{text}"))
}

fn prepare(build: Build) -> Result<PathBuf> {
    // Both builds come out under the same names: what one built must be laid out before the other begins.
    static TURN: Mutex<()> = Mutex::new(());
    let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    let layout = lay_out(build)?;
    if build == Build::Failpoints {
        // Nobody shall find programs that can be told to die where a plain build belongs.
        cargo_build(Build::Plain)?;
    }
    Ok(layout)
}

fn lay_out(build: Build) -> Result<PathBuf> {
    let given = std::env::var_os("OCICAT_BIN_DIR").filter(|_| build == Build::Plain);
    let built = match given {
        Some(directory) => PathBuf::from(directory),
        None => cargo_build(build)?,
    };
    let target = tests_target()?;
    let layout = target.join(match build {
        Build::Plain => "programs",
        Build::Failpoints => "programs-failpoints",
    });
    fs::create_dir_all(&layout)?;
    for (source, name) in
        [("ocicat", "ocicat"), ("ocicat", "calicoctl"), ("calico", "calico"), ("calico", "calico-ipam")]
    {
        place(&built.join(source), &layout.join(name))?;
    }
    for name in DEBIAN_PLUGINS {
        let source = Path::new(DEBIAN_PLUGIN_DIR).join(name);
        if !source.exists() {
            bail!("{} is missing: install package containernetworking-plugins", source.display());
        }
        place(&source, &layout.join(name))?;
    }
    Ok(layout)
}

/// A hard link where the file system allows it, else a copy. Never a symbolic link: inside a sandbox its target may be hidden.
fn place(source: &Path, to: &Path) -> Result<()> {
    // nobody else's: what another process links there is the source itself, which a copy onto it would empty
    let staged = to.with_extension(format!("{}.new", std::process::id()));
    let _ = fs::remove_file(&staged);
    if fs::hard_link(source, &staged).is_err() {
        fs::copy(source, &staged).with_context(|| format!("copy {}", source.display()))?;
    }
    fs::rename(&staged, to)?;
    Ok(())
}

fn cargo_build(build: Build) -> Result<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().context("the workspace")?;
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(cargo);
    command.current_dir(root).args(["build", "--quiet", "-p", "ocicat", "-p", "ocicat-cni-plugin"]);
    if build == Build::Failpoints {
        command.args(["--features", "ocicat/failpoints"]);
    }
    let target = target_dir()?;
    command.arg("--target-dir").arg(&target);
    // What cargo sets for this test must not reach the build of others.
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("CARGO_PKG_") {
            command.env_remove(name);
        }
    }
    run(command, "", Duration::from_secs(1800))?.expect_ok("cargo build of the programs under test")?;
    Ok(target.join("debug"))
}

/// The target directory this test was built into.
fn target_dir() -> Result<PathBuf> {
    let exe = std::env::current_exe()?;
    exe.ancestors()
        .find(|path| path.join("CACHEDIR.TAG").exists())
        .map(Path::to_path_buf)
        .with_context(|| format!("no target directory above {}", exe.display()))
}

fn tests_target() -> Result<PathBuf> {
    Ok(target_dir()?.join("harness"))
}
