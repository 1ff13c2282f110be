//! BGP daemons of Debian's packages, started with a configuration in a namespace of the test: BIRD 2, FRR and GoBGP.
//!
//! Each lies in a directory of its own with its configuration, its control socket and its log. [`Router::start`] returns
//! when the control socket answers; a dropped router is gone. The directory is under `/tmp`, so that routers of one test
//! do not meet; FRR's programs also want `/run/frr`, which a [`crate::sandbox`] has for itself.

pub mod table;

use crate::process::{Background, run, wait_for};
use anyhow::{Context, Result, anyhow, bail};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;
use tempfile::TempDir;

/// Until the control socket answers, and for each query.
const PATIENCE: Duration = Duration::from_secs(30);

/// Which daemon.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// BIRD 2 (package `bird2`).
    Bird,
    /// FRR's `bgpd` alone: every next hop counts as reachable, nothing reaches the kernel (package `frr`).
    FrrAlone,
    /// FRR's `bgpd` beside its `zebra`, which owns next hops and kernel routes.
    Frr,
    /// GoBGP (package `gobgpd`).
    Gobgp,
}

impl Kind {
    /// Its Debian package.
    pub fn package(self) -> &'static str {
        match self {
            Kind::Bird => "bird2",
            Kind::FrrAlone | Kind::Frr => "frr",
            Kind::Gobgp => "gobgpd",
        }
    }
}

/// A running daemon.
#[derive(Debug)]
pub struct Router {
    kind: Kind,
    netns: Option<String>,
    programs: Vec<Background>,
    directory: TempDir,
}

impl Router {
    /// Starts a daemon in the named network namespace, or in the caller's, and waits until it answers.
    ///
    /// # Errors
    /// Its package is missing, or it does not answer in time; the text shows what it logged.
    pub fn start(kind: Kind, netns: Option<&str>, configuration: &str) -> Result<Self> {
        let directory = tempfile::Builder::new().prefix(kind.package()).tempdir()?;
        // FRR's programs give up root for a user of their own before they open their sockets.
        fs::set_permissions(directory.path(), std::os::unix::fs::PermissionsExt::from_mode(0o777))?;
        fs::write(directory.path().join("configuration"), configuration)?;
        let mut router = Self { kind, netns: netns.map(str::to_owned), programs: Vec::new(), directory };
        match kind {
            Kind::Bird => {
                router.launch("/usr/sbin/bird", &["-f", "-c", "{}/configuration", "-s", "{}/control"])?
            }
            Kind::Gobgp => router.launch(
                "/usr/bin/gobgpd",
                &[
                    "-f",
                    "{}/configuration",
                    "--api-hosts",
                    "unix://{}/control",
                    "--pprof-disable",
                    "-l",
                    "warn",
                ],
            )?,
            Kind::FrrAlone => router.launch_frr("bgpd", &["-f", "{}/configuration", "-Z"])?,
            Kind::Frr => {
                router.launch_frr("zebra", &["-f", "/dev/null"])?;
                wait_for("zebra's socket", PATIENCE, || router.path("zserv").exists().then_some(()))?;
                router.launch_frr("bgpd", &["-f", "{}/configuration"])?;
            }
        }
        let hello = match kind {
            Kind::Bird => "show status",
            Kind::FrrAlone | Kind::Frr => "show bgp summary",
            Kind::Gobgp => "global",
        };
        wait_for("the daemon's control socket", PATIENCE, || {
            if router.programs.iter_mut().any(|program| program.ended().is_some()) {
                return Some(Err(anyhow!("it ended")));
            }
            router.query(hello).ok().map(Ok)
        })
        .flatten()
        .with_context(|| format!("{kind:?} said: {}", router.log()))?;
        Ok(router)
    }

    /// What the daemon answers: a line for `birdc`, a command for `vtysh`, arguments for `gobgp`.
    ///
    /// # Errors
    /// It does not answer, or says that the question is wrong.
    pub fn query(&self, question: &str) -> Result<String> {
        let control = self.path("control");
        let mut command = match self.kind {
            Kind::Bird => {
                let mut command = self.inside("/usr/sbin/birdc");
                command.arg("-s").arg(control).args(question.split_whitespace());
                command
            }
            Kind::FrrAlone | Kind::Frr => {
                let mut command = self.inside("/usr/bin/vtysh");
                command.arg("--vty_socket").arg(self.directory.path()).args(["-d", "bgpd", "-c", question]);
                command
            }
            Kind::Gobgp => {
                let mut command = self.inside("/usr/bin/gobgp");
                command.arg("--target").arg(format!("unix://{}", control.display()));
                command.args(question.split_whitespace());
                command
            }
        };
        command.current_dir("/");
        run(command, "", PATIENCE)?.expect_ok(question)
    }

    /// Replaces the configuration and has the daemon read it (BIRD and GoBGP; FRR is told by `query`).
    ///
    /// # Errors
    /// The daemon refuses it or is FRR.
    pub fn configure(&self, configuration: &str) -> Result<()> {
        fs::write(self.path("configuration"), configuration)?;
        match self.kind {
            Kind::Bird => {
                let said = self.query("configure")?;
                if !said.contains("Reconfigured") && !said.contains("Reconfiguration in progress") {
                    bail!("bird refuses the configuration: {said}");
                }
                Ok(())
            }
            Kind::Gobgp => {
                self.programs.iter().try_for_each(|one| one.signal(nix::sys::signal::Signal::SIGHUP))
            }
            Kind::FrrAlone | Kind::Frr => bail!("FRR is configured by its command line"),
        }
    }

    /// Its processes: `bgpd` is the last.
    pub fn pids(&self) -> Vec<u32> {
        self.programs.iter().map(Background::pid).collect()
    }

    /// A file of its directory.
    pub fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// Everything it logged.
    pub fn log(&self) -> String {
        fs::read_to_string(self.path("log")).unwrap_or_default()
    }

    /// A command for a program in the router's namespace.
    fn inside(&self, program: &str) -> Command {
        match &self.netns {
            None => Command::new(program),
            Some(netns) => {
                let mut command = Command::new("ip");
                command.args(["netns", "exec", netns, program]);
                command
            }
        }
    }

    fn launch(&mut self, program: &str, arguments: &[&str]) -> Result<()> {
        if !Path::new(program).exists() {
            bail!("{program} is missing: install package {}", self.kind.package());
        }
        let directory = self.directory.path().display().to_string();
        let mut command = self.inside(program);
        command.args(arguments.iter().map(|argument| argument.replace("{}", &directory)));
        self.programs.push(Background::start_logging(command, &self.path("log"))?);
        Ok(())
    }

    fn launch_frr(&mut self, name: &str, arguments: &[&str]) -> Result<()> {
        fs::create_dir_all("/run/frr")?;
        let pid_file = format!("{{}}/{name}.pid");
        let mut all = vec![
            "--vty_socket",
            "{}",
            "-i",
            &pid_file,
            "-z",
            "{}/zserv",
            "-P",
            "0",
            "--log",
            "stdout",
            "--log-level",
            "warn",
        ];
        all.extend(arguments);
        self.launch(&format!("/usr/lib/frr/{name}"), &all)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sandbox;

    #[test]
    fn each_daemon_starts_answers_and_is_gone_when_dropped() {
        sandbox::within("routers", Path::new("/usr/bin"), || {
            for (kind, configuration, question, answer) in [
                (
                    Kind::Bird,
                    "router id 10.0.0.1; protocol device {}",
                    "show status",
                    "Router ID is 10.0.0.1",
                ),
                (
                    Kind::FrrAlone,
                    "router bgp 64512\n bgp router-id 10.0.0.1\n",
                    "show running-config",
                    "10.0.0.1",
                ),
                (Kind::Frr, "router bgp 64512\n bgp router-id 10.0.0.1\n", "show running-config", "10.0.0.1"),
                (Kind::Gobgp, "[global.config]\nas = 64512\nrouter-id = '10.0.0.1'\n", "global", "10.0.0.1"),
            ] {
                sandbox::add_netns("router")?;
                let router = Router::start(kind, Some("router"), configuration)?;
                let said = router.query(question)?;
                assert!(said.contains(answer), "{kind:?}: {said}");
                let pids = router.pids();
                drop(router);
                assert!(pids.iter().all(|pid| !Path::new(&format!("/proc/{pid}")).exists()), "{kind:?}");
            }
            Ok(())
        })
        .unwrap();
    }

    #[test]
    fn a_daemon_that_refuses_its_configuration_is_named_with_its_words() {
        let error = Router::start(Kind::Bird, None, "no such word;").unwrap_err();
        assert!(format!("{error:#}").contains("syntax error"), "{error:#}");
    }
}
