//! Programs that are run to their end: the plugin and our own verbs.

use super::directory::Directory;
use super::place::Place;
use super::plan::{NODE_PROGRAMS, Plan};
use super::process::{MARKER, scrub};
use anyhow::{Context, Result, bail};
use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use std::io::{Read, Write};
use std::mem::take;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

/// No program of ours may take longer.
const DEADLINE: Duration = Duration::from_secs(60);

/// What a program said.
#[derive(Debug, Clone)]
pub struct Said {
    /// How it ended.
    pub status: ExitStatus,
    /// Standard output.
    pub out: String,
    /// Standard error.
    pub err: String,
}

impl Said {
    /// Its output, or an error with all it said.
    ///
    /// # Errors
    /// It did not end with 0.
    pub fn good(self, what: &str) -> Result<String> {
        if self.status.success() {
            return Ok(self.out);
        }
        let words: Vec<&str> =
            [self.out.trim(), self.err.trim()].into_iter().filter(|text| !text.is_empty()).collect();
        bail!("{what} failed ({}): {}", self.status, words.join("\n"))
    }
}

/// Runs a program within `place` with `input` as its standard input. It carries the lab's marker and none of our
/// settings but `environment`.
///
/// # Errors
/// It cannot be started, or does not end in time.
pub fn run(
    place: &Place,
    directory: &Path,
    words: &[&str],
    environment: &[(&str, String)],
    input: &str,
) -> Result<Said> {
    let (program, args) = words.split_first().context("no program")?;
    let mut command = Command::new(program);
    scrub(&mut command);
    command.args(args).env(MARKER, directory).current_dir("/");
    for (name, value) in environment {
        command.env(name, value);
    }
    let child = place.run(|| {
        command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .process_group(0)
            .spawn()
            .with_context(|| format!("start {program}"))
    })?;
    finish(child, input.to_string(), DEADLINE).with_context(|| words.join(" "))
}

/// Runs `ocicat` on the first node; what it printed.
///
/// # Errors
/// Those of [`run`], or it did not end with 0.
pub fn ocicat(directory: &Directory, plan: &Plan, words: &[&str], input: &str) -> Result<String> {
    let first = plan.nodes.first().context("a lab has a node")?;
    let program = format!("{NODE_PROGRAMS}/ocicat");
    let line: Vec<&str> = std::iter::once(program.as_str()).chain(words.iter().copied()).collect();
    let environment = super::node_environment(&plan.etcd);
    run(&directory.place(&first.name)?, directory.path(), &line, &environment, input)?
        .good(&format!("ocicat {}", words.join(" ")))
}

/// One of the three things that an execution consists of for who waits for it.
enum Part {
    Status(std::io::Result<ExitStatus>),
    Out(String),
    Err(String),
}

/// Waits until the program has ended and everybody has closed its outputs. No thread of ours is waited for: one that
/// cannot end, because the program cannot, goes with the process.
fn finish(mut child: Child, input: String, deadline: Duration) -> Result<Said> {
    let until = Instant::now() + deadline;
    let group = Pid::from_raw(child.id().cast_signed());
    let (stdin, stdout, stderr) = (child.stdin.take(), child.stdout.take(), child.stderr.take());
    let (part, parts) = mpsc::channel();
    let (to_out, to_err) = (part.clone(), part.clone());
    std::thread::spawn(move || {
        // A program that does not read its input is none the worse for it.
        let _ = stdin.map(|mut pipe| pipe.write_all(input.as_bytes()));
    });
    std::thread::spawn(move || to_out.send(Part::Out(collect(stdout))));
    std::thread::spawn(move || to_err.send(Part::Err(collect(stderr))));
    std::thread::spawn(move || part.send(Part::Status(child.wait())));
    let (mut status, mut out, mut err) = (None, None, None);
    loop {
        if let (Some(status), Some(out), Some(err)) = (&status, &mut out, &mut err) {
            return Ok(Said { status: *status, out: take(out), err: take(err) });
        }
        match parts.recv_timeout(until.saturating_duration_since(Instant::now())) {
            Ok(Part::Status(ended)) => status = Some(ended?),
            Ok(Part::Out(text)) => out = Some(text),
            Ok(Part::Err(text)) => err = Some(text),
            Err(_) => {
                let _ = killpg(group, Signal::SIGKILL);
                let what = if status.is_some() { "its output was not closed" } else { "it did not end" };
                bail!("{what} within {} s {}", deadline.as_secs_f32(), err.unwrap_or_default().trim());
            }
        }
    }
}

fn collect(pipe: Option<impl Read>) -> String {
    let mut bytes = Vec::new();
    if let Some(mut pipe) = pipe {
        let _ = pipe.read_to_end(&mut bytes);
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    const SOON: Duration = Duration::from_millis(200);
    const LONG: Duration = Duration::from_secs(20);

    fn shell(line: &str, input: &str, deadline: Duration) -> Result<Said> {
        let mut command = Command::new("/bin/sh");
        command.args(["-c", line]).process_group(0);
        let pipes = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        finish(pipes.spawn()?, input.to_string(), deadline)
    }

    #[test]
    fn what_it_said_on_both_outputs_is_kept() {
        let said = shell("cat; echo no >&2; exit 3", "yes", LONG).unwrap();
        assert_eq!((said.status.code(), said.out.as_str(), said.err.as_str()), (Some(3), "yes", "no\n"));
        let error = said.good("it").unwrap_err().to_string();
        assert!(error.starts_with("it failed (exit status: 3): yes\nno"), "{error}");
    }

    #[test]
    fn much_input_that_nobody_reads_is_no_obstacle() {
        let said = shell("exit 0", &"x".repeat(1 << 20), LONG).unwrap();
        assert!(said.status.success());
    }

    #[test]
    fn one_that_does_not_end_is_killed() {
        let begin = Instant::now();
        let error = shell("sleep 1000", "", SOON).unwrap_err().to_string();
        assert!(error.starts_with("it did not end within 0.2 s"), "{error}");
        assert!(begin.elapsed() < LONG);
    }

    #[test]
    fn one_that_leaves_its_outputs_to_another_does_not_hold_us() {
        let error = shell("setsid sleep 3 & exit 0", "", SOON).unwrap_err().to_string();
        assert!(error.starts_with("its output was not closed within 0.2 s"), "{error}");
    }
}
