//! `iptables-restore` and `iptables-save`: the only processes the agent starts, because the tables of iptables can be
//! changed and seen in no other way.
//!
//! A program runs inside the namespace, started by a thread made for it, with a deadline and a bound to what it may say. Its
//! input is a file in memory: what was begun is carried out whole or not at all even when the agent dies meanwhile.

use crate::netns::Netns;
use futures::future::{BoxFuture, FutureExt};
use netfilter::ipset::Family;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::memfd::{MFdFlags, memfd_create};
use std::fmt;
use std::fs::File;
use std::io::{Read, Seek, Write};
use std::os::fd::AsFd;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Seconds a program waits for the lock that all of them share.
const LOCK: u32 = 10;
/// A program that takes longer is ended. Tables of ten thousands of rules take a second or two.
const DEADLINE: Duration = Duration::from_secs(60);
/// Bytes that a list may have: some million rules.
const LONGEST_LIST: usize = 512 << 20;
/// Bytes kept of what a program says about a failure.
const WORDS: usize = 4 << 10;
/// How often is looked whether a program that has closed its output has ended.
const END: Duration = Duration::from_millis(1);

/// Which kernel interface the programs use.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Variant {
    /// ip_tables, by socket options.
    Legacy,
    /// nf_tables, in tables of iptables' names.
    Nft,
}

impl Variant {
    /// As in the programs' names.
    pub fn name(self) -> &'static str {
        match self {
            Self::Legacy => "legacy",
            Self::Nft => "nft",
        }
    }
}

impl fmt::Display for Variant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Why a program did not do its work.
#[derive(Debug, Clone, thiserror::Error)]
pub enum XTablesError {
    /// It is not installed.
    #[error("{program} is not installed: install the package iptables")]
    Missing {
        /// Its name.
        program: String,
    },
    /// It cannot be started.
    #[error("{program} cannot be started: {reason}")]
    Start {
        /// Its name.
        program: String,
        /// The system's words.
        reason: String,
    },
    /// It ended with an error; nothing was changed.
    #[error("{program}: {words}")]
    Failed {
        /// Its name.
        program: String,
        /// Its own words, or how it ended where it said nothing.
        words: String,
        /// The line of the input that it names, from 1.
        line: Option<usize>,
    },
    /// It was ended, or died: what it has done is not certain.
    #[error("{program}: {reason}")]
    Uncertain {
        /// Its name.
        program: String,
        /// Why.
        reason: String,
    },
}

/// What a program that changed something tells of itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Restored {
    /// Port of its netlink socket, by which events of nf_tables tell whose changes they are.
    pub port: u32,
}

/// The programs as a driver needs them: [`Programs`], or something between a driver and them.
pub trait XTables: Send + Sync {
    /// What is in one table, or in all that are there, as `iptables-save` writes it.
    ///
    /// # Errors
    /// [`XTablesError`]
    fn save(
        &self,
        family: Family,
        variant: Variant,
        table: Option<&'static str>,
    ) -> BoxFuture<'static, Result<String, XTablesError>>;

    /// Carries out what `iptables-restore --noflush` reads; a table's part, from `*table` to `COMMIT`, at one instant.
    ///
    /// # Errors
    /// [`XTablesError`]; after [`XTablesError::Uncertain`] what is there is not certain, otherwise it is as it was.
    fn restore(
        &self,
        family: Family,
        variant: Variant,
        input: String,
    ) -> BoxFuture<'static, Result<Restored, XTablesError>>;
}

/// The programs of the package iptables, in one namespace.
#[derive(Debug, Clone)]
pub struct Programs {
    netns: Netns,
    deadline: Duration,
    /// Where they are looked for besides `PATH`.
    folder: Option<Arc<str>>,
}

impl Programs {
    /// Those that work in this namespace.
    pub fn of(netns: &Netns) -> Self {
        Self { netns: netns.clone(), deadline: DEADLINE, folder: None }
    }

    /// Takes them from this folder instead of where `PATH` says.
    #[cfg(test)]
    pub(crate) fn in_folder(mut self, folder: &str, deadline: Duration) -> Self {
        (self.folder, self.deadline) = (Some(folder.into()), deadline);
        self
    }

    fn command(&self, family: Family, variant: Variant, verb: &str) -> (String, Command) {
        let program = match family {
            Family::V4 => format!("iptables-{variant}-{verb}"),
            Family::V6 => format!("ip6tables-{variant}-{verb}"),
        };
        let path = match &self.folder {
            Some(folder) => format!("{folder}/{program}"),
            None => program.clone(),
        };
        let mut command = Command::new(path);
        // its own words in the language that is understood here
        command.env("LC_ALL", "C");
        (program, command)
    }

    fn run(
        &self,
        program: String,
        mut command: Command,
        input: Option<String>,
    ) -> BoxFuture<'static, Result<Output, XTablesError>> {
        let (netns, deadline) = (self.netns.clone(), self.deadline);
        async move {
            let named = program.clone();
            let run = move || run(&named, &mut command, input, deadline);
            netns.run_async(run).await.map_err(|error| start(&program, error))?
        }
        .boxed()
    }
}

impl XTables for Programs {
    fn save(
        &self,
        family: Family,
        variant: Variant,
        table: Option<&'static str>,
    ) -> BoxFuture<'static, Result<String, XTablesError>> {
        let (program, mut command) = self.command(family, variant, "save");
        if let Some(table) = table {
            command.args(["-t", table]);
        }
        let run = self.run(program, command, None);
        async move { run.await.map(|output| output.text) }.boxed()
    }

    fn restore(
        &self,
        family: Family,
        variant: Variant,
        input: String,
    ) -> BoxFuture<'static, Result<Restored, XTablesError>> {
        let (program, mut command) = self.command(family, variant, "restore");
        command.arg("--noflush");
        // the other variant has no lock
        if variant == Variant::Legacy {
            command.arg(format!("--wait={LOCK}"));
        }
        let run = self.run(program, command, Some(input));
        async move { run.await.map(|output| Restored { port: output.pid }) }.boxed()
    }
}

struct Output {
    text: String,
    pid: u32,
}

fn run(
    program: &str,
    command: &mut Command,
    input: Option<String>,
    deadline: Duration,
) -> Result<Output, XTablesError> {
    let end = Instant::now() + deadline;
    let stdin = match input {
        Some(input) => Stdio::from(in_memory(&input).map_err(|error| start(program, error))?),
        None => Stdio::null(),
    };
    let child = command.stdin(stdin).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
    let mut child = child.map_err(|error| match error.kind() {
        std::io::ErrorKind::NotFound => XTablesError::Missing { program: program.to_owned() },
        _ => start(program, error),
    })?;
    let pid = child.id();
    let ended = wait(&mut child, end);
    if ended.is_err() {
        // it may have ended by itself meanwhile
        let _ = child.kill();
        let _ = child.wait();
    }
    let uncertain = |reason: String| XTablesError::Uncertain { program: program.to_owned(), reason };
    let (text, said, status) = ended.map_err(uncertain)?;
    let said = String::from_utf8_lossy(&said);
    match status.code() {
        Some(0) => {
            let text = String::from_utf8(text);
            Ok(Output { text: text.map_err(|_| uncertain("its output is no text".to_owned()))?, pid })
        }
        Some(_) => Err(XTablesError::Failed {
            program: program.to_owned(),
            words: own_words(&said).unwrap_or_else(|| status.to_string()),
            line: line(&said),
        }),
        None => Err(uncertain(format!("it was killed: {status}"))),
    }
}

fn in_memory(input: &str) -> std::io::Result<File> {
    let mut file = File::from(memfd_create(c"iptables-restore", MFdFlags::MFD_CLOEXEC)?);
    file.write_all(input.as_bytes())?;
    file.rewind()?;
    Ok(file)
}

/// Reads what it says until its end.
fn wait(child: &mut Child, end: Instant) -> Result<(Vec<u8>, Vec<u8>, std::process::ExitStatus), String> {
    let (mut stdout, mut stderr) = (child.stdout.take(), child.stderr.take());
    let (mut text, mut said) = (Vec::new(), Vec::new());
    let mut buffer = vec![0; 64 << 10];
    while stdout.is_some() || stderr.is_some() {
        let left = end.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err("it did not end in time, and was killed".to_owned());
        }
        let mut asked = Vec::new();
        asked.extend(stdout.as_ref().map(|pipe| PollFd::new(pipe.as_fd(), PollFlags::POLLIN)));
        asked.extend(stderr.as_ref().map(|pipe| PollFd::new(pipe.as_fd(), PollFlags::POLLIN)));
        let timeout = PollTimeout::try_from(left).unwrap_or(PollTimeout::MAX);
        match poll(&mut asked, timeout) {
            Ok(_) => {}
            Err(nix::errno::Errno::EINTR) => continue,
            Err(errno) => return Err(errno.desc().to_owned()),
        }
        let ready: Vec<bool> = asked.iter().map(|fd| fd.any().unwrap_or(true)).collect();
        let mut ready = ready.into_iter();
        if stdout.is_some() && ready.next() == Some(true) && take(&mut stdout, &mut buffer, &mut text, None)?
        {
            stdout = None;
        }
        if stderr.is_some()
            && ready.next() == Some(true)
            && take(&mut stderr, &mut buffer, &mut said, Some(WORDS))?
        {
            stderr = None;
        }
    }
    loop {
        match child.try_wait() {
            Ok(Some(status)) => return Ok((text, said, status)),
            Ok(None) if Instant::now() < end => std::thread::sleep(END),
            Ok(None) => return Err("it did not end in time, and was killed".to_owned()),
            Err(error) => return Err(error.to_string()),
        }
    }
}

/// Takes what waits; whether it was the end. What is more than `keep` is thrown away; without it there is a bound.
fn take(
    pipe: &mut Option<impl Read>,
    buffer: &mut [u8],
    into: &mut Vec<u8>,
    keep: Option<usize>,
) -> Result<bool, String> {
    let Some(pipe) = pipe else { return Ok(true) };
    let count = match pipe.read(buffer) {
        Ok(count) => count,
        Err(error) if error.kind() == std::io::ErrorKind::Interrupted => return Ok(false),
        Err(error) => return Err(error.to_string()),
    };
    let got = buffer.get(..count).unwrap_or_default();
    let room = keep.unwrap_or(LONGEST_LIST).saturating_sub(into.len());
    if keep.is_none() && count > room {
        return Err(format!("it wrote more than {LONGEST_LIST} bytes, and was killed"));
    }
    into.extend_from_slice(got.get(..room).unwrap_or(got));
    Ok(count == 0)
}

fn start(program: &str, reason: impl fmt::Display) -> XTablesError {
    XTablesError::Start { program: program.to_owned(), reason: reason.to_string() }
}

/// What it said, without blank lines and the advice to ask for help.
fn own_words(said: &str) -> Option<String> {
    let lines = said.lines().map(str::trim);
    let lines: Vec<&str> = lines
        .filter(|line| !line.is_empty() && !line.starts_with("Try `") && !line.starts_with('#'))
        .collect();
    (!lines.is_empty()).then(|| lines.join("; "))
}

/// The line it names: `line 5 failed`, `line 5: RULE_APPEND failed`, `Error occurred at line: 5`.
fn line(said: &str) -> Option<usize> {
    let mut rest = said;
    while let Some(at) = rest.find("line") {
        rest = rest.get(at + 4..)?;
        let number = rest.trim_start_matches([':', ' ']);
        let digits: String = number.chars().take_while(char::is_ascii_digit).collect();
        if let Ok(line) = digits.parse() {
            return Some(line);
        }
    }
    None
}

#[cfg(test)]
mod tests;
