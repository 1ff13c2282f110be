//! Programs that are run to their end: the plugin and our own verbs.

use super::place::Place;
use super::process::{MARKER, scrub};
use anyhow::{Context, Result, bail};
use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use std::io::{Read, Write};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, ExitStatus, Stdio};
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
    let mut child = place.run(|| {
        command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .process_group(0)
            .spawn()
            .with_context(|| format!("start {program}"))
    })?;
    let group = Pid::from_raw(child.id().cast_signed());
    let (stdin, stdout, stderr) = (child.stdin.take(), child.stdout.take(), child.stderr.take());
    std::thread::scope(|scope| {
        scope.spawn(move || {
            // A program that does not read its input is none the worse for it.
            let _ = stdin.map(|mut pipe| pipe.write_all(input.as_bytes()));
        });
        let out = scope.spawn(move || collect(stdout));
        let err = scope.spawn(move || collect(stderr));
        let begin = Instant::now();
        let status = loop {
            if let Some(status) = child.try_wait()? {
                break Some(status);
            }
            if begin.elapsed() > DEADLINE {
                let _ = killpg(group, Signal::SIGKILL);
                child.wait()?;
                break None;
            }
            std::thread::sleep(Duration::from_millis(1));
        };
        let out = out.join().unwrap_or_default();
        let err = err.join().unwrap_or_default();
        match status {
            Some(status) => Ok(Said { status, out, err }),
            None => bail!("{} did not end within {} s: {}", words.join(" "), DEADLINE.as_secs(), err.trim()),
        }
    })
}

fn collect(pipe: Option<impl Read>) -> String {
    let mut bytes = Vec::new();
    if let Some(mut pipe) = pipe {
        let _ = pipe.read_to_end(&mut bytes);
    }
    String::from_utf8_lossy(&bytes).into_owned()
}
