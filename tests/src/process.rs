//! Child processes that cannot outlive the test or hang it.

use anyhow::{Context, Result, bail};
use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread;
use std::time::{Duration, Instant};

/// How often a condition is looked at again.
const POLL: Duration = Duration::from_millis(3);

/// How a program ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    /// It returned this code.
    Exit(i32),
    /// A signal ended it.
    Signal(i32),
    /// It was still running at the deadline and was killed.
    Timeout,
}

impl std::fmt::Display for Ending {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Ending::Exit(code) => write!(f, "{code}"),
            Ending::Signal(number) => write!(f, "signal {number}"),
            Ending::Timeout => f.write_str("timeout"),
        }
    }
}

impl From<ExitStatus> for Ending {
    fn from(status: ExitStatus) -> Self {
        match (status.code(), status.signal()) {
            (Some(code), _) => Ending::Exit(code),
            (None, Some(signal)) => Ending::Signal(signal),
            (None, None) => Ending::Signal(0),
        }
    }
}

/// What a finished program said.
#[derive(Debug, Clone)]
pub struct Output {
    /// How it ended.
    pub ending: Ending,
    /// Standard output; bytes that are no UTF-8 are replaced.
    pub stdout: String,
    /// Standard error, likewise.
    pub stderr: String,
    /// Wall time from start to end.
    pub took: Duration,
}

impl Output {
    /// Whether it returned 0.
    pub fn ok(&self) -> bool {
        self.ending == Ending::Exit(0)
    }

    /// Its output, or an error that shows everything it said.
    pub fn expect_ok(self, what: &str) -> Result<String> {
        if self.ok() {
            return Ok(self.stdout);
        }
        bail!("{what} ended with {}\nstdout: {}\nstderr: {}", self.ending, self.stdout, self.stderr)
    }
}

/// Runs a program to its end or to the deadline, whichever comes first. The program gets a process group of its own, so
/// that what it started goes with it.
///
/// # Errors
/// The program cannot be started.
pub fn run(mut command: Command, stdin: &str, deadline: Duration) -> Result<Output> {
    let name = command.get_program().to_string_lossy().into_owned();
    let started = Instant::now();
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .process_group(0)
        .spawn()
        .with_context(|| format!("start {name}"))?;
    let group = Pid::from_raw(child.id().cast_signed());
    let input = child.stdin.take();
    let text = stdin.to_owned();
    let writer = thread::spawn(move || {
        // A program that does not read its input closes the pipe: not our failure.
        let _ = input.map(|mut pipe| pipe.write_all(text.as_bytes()));
    });
    let out = collect(child.stdout.take());
    let err = collect(child.stderr.take());
    let ending = loop {
        if let Some(status) = child.try_wait()? {
            break Ending::from(status);
        }
        if started.elapsed() > deadline {
            let _ = killpg(group, Signal::SIGKILL);
            child.wait()?;
            break Ending::Timeout;
        }
        thread::sleep(POLL);
    };
    let took = started.elapsed();
    // A grandchild that kept the pipes would block the readers for ever.
    let _ = killpg(group, Signal::SIGKILL);
    let _ = writer.join();
    Ok(Output {
        ending,
        stdout: out.join().unwrap_or_default(),
        stderr: err.join().unwrap_or_default(),
        took,
    })
}

/// Runs a tool of the system (`ip`, `mount`), which is expected to succeed.
///
/// # Errors
/// It is missing, failed, or took more than a minute; the text names it and shows what it said.
pub fn tool(program: &str, args: &[&str]) -> Result<String> {
    let mut command = Command::new(program);
    command.args(args);
    run(command, "", Duration::from_secs(60))?.expect_ok(&format!("{program} {}", args.join(" ")))
}

fn collect<R: Read + Send + 'static>(pipe: Option<R>) -> thread::JoinHandle<String> {
    thread::spawn(move || {
        let mut bytes = Vec::new();
        if let Some(mut pipe) = pipe {
            let _ = pipe.read_to_end(&mut bytes);
        }
        String::from_utf8_lossy(&bytes).into_owned()
    })
}

fn append(path: &Path) -> Result<File> {
    let file = File::options().create(true).append(true).open(path);
    file.with_context(|| format!("open {}", path.display()))
}

/// A program that runs beside the test and is killed when this is dropped.
#[derive(Debug)]
pub struct Background {
    child: Child,
}

impl Background {
    /// Starts it, output discarded.
    ///
    /// # Errors
    /// The program cannot be started.
    pub fn start(command: Command) -> Result<Self> {
        Self::spawn(command, Stdio::null(), Stdio::null(), Stdio::null())
    }

    /// Starts it, output to the end of a file.
    ///
    /// # Errors
    /// The file cannot be opened or the program not started.
    pub fn start_logging(command: Command, log: &Path) -> Result<Self> {
        let log = append(log)?;
        Self::spawn(command, Stdio::null(), log.try_clone()?.into(), log.into())
    }

    /// Starts it with a descriptor of ours as its standard input, standard error to the end of a file.
    ///
    /// # Errors
    /// The file cannot be opened or the program not started.
    pub fn start_with_input(command: Command, input: OwnedFd, log: &Path) -> Result<Self> {
        let log = append(log)?;
        Self::spawn(command, input.into(), Stdio::null(), log.into())
    }

    fn spawn(mut command: Command, stdin: Stdio, stdout: Stdio, stderr: Stdio) -> Result<Self> {
        let name = command.get_program().to_string_lossy().into_owned();
        let child = command
            .stdin(stdin)
            .stdout(stdout)
            .stderr(stderr)
            .process_group(0)
            .spawn()
            .with_context(|| format!("start {name}"))?;
        Ok(Self { child })
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Whether it has ended, and how.
    pub fn ended(&mut self) -> Option<Ending> {
        self.child.try_wait().ok().flatten().map(Ending::from)
    }

    /// Stops it with `SIGSTOP` or lets it go on with `SIGCONT`: a server that is there but silent.
    pub fn signal(&self, signal: Signal) -> Result<()> {
        nix::sys::signal::kill(Pid::from_raw(self.child.id().cast_signed()), signal)?;
        Ok(())
    }
}

impl Drop for Background {
    fn drop(&mut self) {
        let _ = killpg(Pid::from_raw(self.child.id().cast_signed()), Signal::SIGKILL);
        let _ = self.child.wait();
    }
}

/// Waits until `look` finds something.
///
/// # Errors
/// It found nothing within `deadline`; the text names `what`.
pub fn wait_for<T>(what: &str, deadline: Duration, mut look: impl FnMut() -> Option<T>) -> Result<T> {
    let started = Instant::now();
    loop {
        if let Some(found) = look() {
            return Ok(found);
        }
        if started.elapsed() > deadline {
            bail!("{what}: not within {deadline:?}");
        }
        thread::sleep(POLL);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sh(script: &str) -> Command {
        let mut command = Command::new("/bin/sh");
        command.args(["-c", script]);
        command
    }

    #[test]
    fn captures_both_outputs_and_the_exit_code() {
        let output = run(sh("cat; echo lost >&2; exit 7"), "found", Duration::from_secs(5)).unwrap();
        assert_eq!(output.ending, Ending::Exit(7));
        assert_eq!((output.stdout.as_str(), output.stderr.as_str()), ("found", "lost\n"));
        assert!(output.expect_ok("the script").unwrap_err().to_string().contains("lost"));
    }

    #[test]
    fn a_program_past_its_deadline_is_killed_with_its_children() {
        let output = run(sh("sleep 1000 & echo $!; sleep 1000"), "", Duration::from_millis(200)).unwrap();
        assert_eq!(output.ending, Ending::Timeout);
        let grandchild = output.stdout.trim().to_owned();
        wait_for("the grandchild's end", Duration::from_secs(5), || {
            let state = std::fs::read_to_string(format!("/proc/{grandchild}/stat")).unwrap_or_default();
            (state.is_empty() || state.contains(") Z ")).then_some(())
        })
        .unwrap();
    }

    #[test]
    fn a_program_that_ignores_its_input_is_no_failure() {
        let output = run(sh("exec <&-; exit 0"), &"x".repeat(1 << 20), Duration::from_secs(5)).unwrap();
        assert!(output.ok());
    }

    #[test]
    fn a_signal_is_told_apart_from_a_code() {
        let output = run(sh("kill -9 $$"), "", Duration::from_secs(5)).unwrap();
        assert_eq!(output.ending, Ending::Signal(9));
    }

    #[test]
    fn a_dropped_background_program_is_gone() {
        let program = Background::start(sh("sleep 1000")).unwrap();
        let path = format!("/proc/{}", program.pid());
        assert!(std::path::Path::new(&path).exists());
        drop(program);
        assert!(!std::path::Path::new(&path).exists());
    }

    #[test]
    fn waiting_gives_up_with_the_name_of_what_was_missing() {
        let error = wait_for("the moon", Duration::from_millis(10), || None::<()>).unwrap_err();
        assert!(error.to_string().contains("the moon"));
    }

    #[test]
    fn a_missing_tool_is_named() {
        assert!(format!("{:#}", tool("no-such-tool", &[]).unwrap_err()).contains("no-such-tool"));
    }
}
