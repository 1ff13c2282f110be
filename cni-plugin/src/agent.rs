//! Asking the node's agent over its socket (`cni_protocol::handover`).
//!
//! An agent that was ever here is asked, and waited for while it starts again: nobody is attached past it, where its policy
//! would not be in force. Only a configuration that says `agent_fallback` does without.

use cni_protocol::error::code;
use cni_protocol::handover::{
    Answer, Call, Execute, Executed, HEADER, MARKER, Message, SOCKET, decode, encode, length,
};
use cni_protocol::{CniError, Command};
use nix::sys::memfd::{MFdFlags, memfd_create};
use nix::sys::socket::{ControlMessage, MsgFlags, sendmsg};
use serde_json::Value;
use std::env;
use std::ffi::OsString;
use std::fs::File;
use std::io::{self, IoSlice, Read, Seek, Write};
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{self, Stdio};
use std::time::{Duration, Instant};

/// More than any configuration.
const MOST_INPUT: u64 = 16 << 20;
/// How long an agent may take unless the configuration says otherwise (`agent_timeout_seconds`).
const TIMEOUT: Duration = Duration::from_secs(90);
/// The same for STATUS, at most.
const STATUS_TIMEOUT: Duration = Duration::from_secs(5);
/// How soon an agent that does not listen is tried again.
const AGAIN: Duration = Duration::from_millis(20);

/// What came of asking.
pub enum Asked {
    /// The agent's answer.
    Answered(Answer),
    /// There should be one.
    Refused(CniError),
    /// No agent is to be asked; the input, where it was read already.
    Nobody(Option<Stdio>),
}

/// Asks the agent to carry out the call of this process.
pub fn ask(program: &str, args: &[OsString]) -> Asked {
    let verb = env::var_os("CNI_COMMAND").unwrap_or_default();
    let place = Place::of_system();
    if !args.is_empty() || verb.is_empty() || !place.agent_was_here() {
        return Asked::Nobody(None);
    }
    let mut input = Vec::new();
    if let Err(error) = io::stdin().take(MOST_INPUT).read_to_end(&mut input) {
        return Asked::Refused(CniError::new(code::IO, format!("error reading from stdin: {error}")));
    }
    let config = String::from_utf8_lossy(&input).into_owned();
    let status = verb == Command::Status.text();
    let mut wishes = Wishes::of(&config);
    if status {
        // who asks for it wants to know how it is now
        wishes = Wishes { fallback: false, timeout: wishes.timeout.min(STATUS_TIMEOUT) };
    }
    let call = Call { program: program.to_owned(), variables: variables(), config };
    match place.ask(call, &wishes) {
        Ok(answer) => Asked::Answered(answer),
        // before anything was asked, somebody else may do it
        Err(Failure::Absent(_)) if wishes.fallback => match again(&input) {
            Ok(input) => Asked::Nobody(Some(input)),
            Err(error) => Asked::Refused(CniError::internal(format!("cannot keep standard input: {error}"))),
        },
        Err(Failure::Absent(reason) | Failure::Silent(reason)) => {
            Asked::Refused(if status { unavailable(&reason) } else { try_again(&reason) })
        }
        Err(Failure::Wrong(reason)) => Asked::Refused(CniError::internal(reason)),
    }
}

/// Where the agent is.
struct Place<'a> {
    socket: &'a Path,
    marker: &'a Path,
}

/// What the configuration says about the agent.
#[derive(Debug, PartialEq, Eq)]
struct Wishes {
    fallback: bool,
    timeout: Duration,
}

/// Why there is no answer.
#[derive(Debug)]
enum Failure {
    /// Nobody listened.
    Absent(String),
    /// It was asked and did not answer.
    Silent(String),
    /// It said something else.
    Wrong(String),
}

impl Wishes {
    /// What cannot be read is the agent's to complain about.
    fn of(config: &str) -> Self {
        let config: Value = serde_json::from_str(config).unwrap_or_default();
        let seconds =
            config.get("agent_timeout_seconds").and_then(Value::as_u64).filter(|seconds| *seconds > 0);
        Self {
            fallback: config.get("agent_fallback").and_then(Value::as_bool).unwrap_or_default(),
            timeout: seconds.map_or(TIMEOUT, Duration::from_secs),
        }
    }
}

impl Place<'static> {
    fn of_system() -> Self {
        Self { socket: Path::new(SOCKET), marker: Path::new(MARKER) }
    }
}

impl Place<'_> {
    fn agent_was_here(&self) -> bool {
        self.socket.exists() || self.marker.exists()
    }

    fn ask(&self, call: Call, wishes: &Wishes) -> Result<Answer, Failure> {
        let until = Instant::now() + wishes.timeout;
        let mut stream = self.connect(wishes, until)?;
        let netns = call.variables.get("CNI_NETNS").and_then(|path| File::open(path).ok());
        say_first(&mut stream, &Message::Call(call), netns.as_ref())?;
        loop {
            match hear(&mut stream, until)? {
                Message::Answer(answer) => return Ok(answer),
                Message::Execute(program) => {
                    let frame = encode(&Message::Executed(execute(&program))).map_err(wrong)?;
                    stream.write_all(&frame).map_err(silent)?;
                }
                Message::Call(_) | Message::Executed(_) => {
                    return Err(wrong("the agent says what only a plugin may say"));
                }
            }
        }
    }

    /// Connects; an agent that starts is waited for.
    fn connect(&self, wishes: &Wishes, until: Instant) -> Result<UnixStream, Failure> {
        loop {
            match UnixStream::connect(self.socket) {
                Ok(stream) => return Ok(stream),
                Err(error) if wishes.fallback || Instant::now() + AGAIN > until => {
                    return Err(Failure::Absent(format!("{}: {error}", self.socket.display())));
                }
                Err(_) => std::thread::sleep(AGAIN),
            }
        }
    }
}

fn wrong(reason: impl std::fmt::Display) -> Failure {
    Failure::Wrong(format!("the node's agent: {reason}"))
}

fn silent(reason: impl std::fmt::Display) -> Failure {
    Failure::Silent(reason.to_string())
}

/// The first frame, with the namespace.
fn say_first(stream: &mut UnixStream, message: &Message, netns: Option<&File>) -> Result<(), Failure> {
    let frame = encode(message).map_err(wrong)?;
    let descriptors: Vec<_> = netns.iter().map(|file| file.as_raw_fd()).collect();
    let rights = [ControlMessage::ScmRights(&descriptors)];
    let control = if descriptors.is_empty() { &[][..] } else { &rights[..] };
    let sent =
        sendmsg::<()>(stream.as_raw_fd(), &[IoSlice::new(&frame)], control, MsgFlags::MSG_NOSIGNAL, None)
            .map_err(silent)?;
    stream.write_all(frame.get(sent..).unwrap_or_default()).map_err(silent)
}

fn hear(stream: &mut UnixStream, until: Instant) -> Result<Message, Failure> {
    let mut header = [0; HEADER];
    fill(stream, &mut header, until)?;
    let mut body = vec![0; length(header).map_err(wrong)?];
    fill(stream, &mut body, until)?;
    decode(&body).map_err(wrong)
}

fn fill(stream: &mut UnixStream, mut buffer: &mut [u8], until: Instant) -> Result<(), Failure> {
    while !buffer.is_empty() {
        let left = until.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(silent("it did not answer in time"));
        }
        stream.set_read_timeout(Some(left)).map_err(silent)?;
        match stream.read(buffer) {
            Ok(0) => return Err(silent("it ended before it answered")),
            Ok(read) => buffer = buffer.get_mut(read..).unwrap_or_default(),
            Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted) => {}
            Err(error) => return Err(silent(error)),
        }
    }
    Ok(())
}

/// A delegated IPAM plugin, executed here: it is the runtime's child as ever.
fn execute(program: &Execute) -> Executed {
    let failed = |error: io::Error| Executed { ending: error.to_string(), ..Executed::default() };
    let mut command = process::Command::new(&program.file);
    command.envs(&program.variables).stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut child = match command.spawn() {
        Ok(child) => child,
        Err(error) => return failed(error),
    };
    if let Some(mut stdin) = child.stdin.take() {
        // A plugin that does not read its input has an error to tell.
        let _ = stdin.write_all(program.stdin.as_bytes());
    }
    match child.wait_with_output() {
        Ok(output) => Executed {
            good: output.status.success(),
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            ending: output.status.to_string(),
        },
        Err(error) => failed(error),
    }
}

/// The process's variables; one that is no text is none of ours.
fn variables() -> std::collections::BTreeMap<String, String> {
    env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
        .collect()
}

/// The input as a file that can be read once more.
fn again(input: &[u8]) -> io::Result<Stdio> {
    let mut file = File::from(memfd_create(c"stdin", MFdFlags::empty())?);
    file.write_all(input)?;
    file.rewind()?;
    Ok(Stdio::from(file))
}

fn try_again(reason: &str) -> CniError {
    CniError::try_again(no_answer(reason))
}

/// Without the agent nobody follows what changes, and neighbours forget this node's routes after a while.
fn unavailable(reason: &str) -> CniError {
    CniError::new(code::LIMITED, "plugin not available, existing containers may have limited connectivity")
        .with_details(no_answer(reason))
}

fn no_answer(reason: &str) -> String {
    format!(
        "the node's agent does not answer ({reason}); see `ocicat status` and the agent's log on this node"
    )
}

#[cfg(test)]
mod tests;
