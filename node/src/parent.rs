//! The process that stays where no service manager looks after the agent: a lab, a container.
//!
//! It has no runtime and no thread, so it forks: it makes the sockets, keeps them, and each agent is a child that has them
//! from birth. A child that dies is followed by another; what asks meanwhile waits in the queues. Where another build lies
//! at the program's path by then, the child executes it and hands the sockets over ([`Sockets`]); otherwise nothing is
//! executed. An agent that ends with a reason of its own (exit code 1) ends the parent too; the signals SIGTERM and SIGINT
//! are passed on; a parent that dies takes its agent with it, which would answer nobody's questions about how it ended.

use crate::backoff::Backoff;
use crate::lock::{self, LockError};
use crate::sockets::{Sockets, SocketsError};
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};
use nix::sys::prctl::set_pdeathsig;
use nix::sys::signal::{SigSet, Signal, kill};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::{ForkResult, Pid, fork, getpid, getppid};
use std::os::unix::fs::MetadataExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

/// Held by a parent as long as it, or an agent of it, lives.
const LOCK: &str = "parent.lock";
/// Exit code of an agent that must not be started again: it has said why.
const FINAL: i32 = 1;
/// Exit code of a child that could not execute the build it found, as a shell has it.
const NOT_EXECUTED: i32 = 126;
/// How long an agent that was told to end may take; then it is killed.
const END: Duration = Duration::from_secs(20);

/// What the process is from now on.
#[derive(Debug)]
pub enum Role {
    /// The agent, with its sockets.
    Agent(Sockets),
    /// Nothing more: the last agent has ended, and this is the exit code.
    Ended(u8),
}

/// Why there can be no parent.
#[derive(Debug, thiserror::Error)]
pub enum ParentError {
    /// Another agent runs.
    #[error(transparent)]
    Lock(#[from] LockError),
    /// The sockets cannot be held.
    #[error(transparent)]
    Sockets(#[from] SocketsError),
    /// The process has threads already: a copy of it would not.
    #[error("the agent's parent has {0} threads and cannot fork")]
    Threads(usize),
    /// The system refuses.
    #[error("the agent's parent: {0}")]
    System(#[from] nix::Error),
    /// The same, in words of the standard library.
    #[error("the agent's parent: {0}")]
    Io(#[from] std::io::Error),
}

/// Takes the sockets over that were handed to this process; where there are none and nobody else looks after it, becomes a
/// parent. Returns in each agent, and in the parent when the last one has ended. To be called before any thread is started.
///
/// # Errors
/// Another agent runs; the sockets cannot be made or taken over; the system refuses.
pub fn sockets(
    run: &Path,
    embedded: bool,
    variable: &dyn Fn(&str) -> Option<String>,
) -> Result<Role, ParentError> {
    match Sockets::handed_over(variable)? {
        Some(sockets) => Ok(Role::Agent(sockets)),
        // a service manager that hands no sockets over still starts the agent again
        None if variable(crate::notify::SOCKET).is_some() => Ok(Role::Agent(Sockets::default())),
        None => hold(run, embedded),
    }
}

fn hold(run: &Path, embedded: bool) -> Result<Role, ParentError> {
    let lock = lock::take(run, LOCK)?;
    // an agent of somebody else's has its sockets, which must not be replaced
    lock::is_free(run, lock::AGENT)?;
    let sockets = Sockets::bind(run, embedded)?;
    let threads = std::fs::read_dir("/proc/self/task")?.count();
    if threads != 1 {
        return Err(ParentError::Threads(threads));
    }
    let (mut build, mut backoff) = (Build::of_this_process(), Backoff::default());
    let signals = Signals::take()?;
    let parent = getpid();
    loop {
        let begin = Instant::now();
        let child = match start()? {
            ForkResult::Child => {
                // letting go would unlock it for the parent too
                std::mem::forget(lock);
                signals.give_back()?;
                set_pdeathsig(Signal::SIGKILL)?;
                if getppid() != parent {
                    return Ok(Role::Ended(1));
                }
                return match build.successor() {
                    Some(mut program) => {
                        let error = sockets.execute(&mut program);
                        eprintln!("ocicat node: {}: {error}; going on as before", build.path.display());
                        std::process::exit(NOT_EXECUTED)
                    }
                    None => Ok(Role::Agent(sockets)),
                };
            }
            ForkResult::Parent { child } => child,
        };
        let (ending, told) = signals.watch(child)?;
        let code = match ending {
            Ending::Code(code) => u8::try_from(code).unwrap_or(1),
            // as shells have it
            Ending::Signal(signal) => 128 + u8::try_from(signal as i32).unwrap_or_default(),
        };
        if told || ending == Ending::Code(FINAL) {
            return Ok(Role::Ended(code));
        }
        if ending == Ending::Code(NOT_EXECUTED) {
            build.refuse();
        }
        let wait = backoff.after(begin.elapsed());
        tracing::error!(process = child.as_raw(), %ending, again_in_ms = wait.as_millis(), "the agent has died");
        if signals.told_within(wait)? {
            return Ok(Role::Ended(0));
        }
    }
}

#[expect(unsafe_code, reason = "the parent must not execute anything to have another agent")]
fn start() -> nix::Result<ForkResult> {
    // SAFETY: the process has one thread (`hold` looked), so that no lock can be held by one that the child has not got.
    unsafe { fork() }
}

/// How an agent ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Ending {
    Code(i32),
    Signal(Signal),
}

impl std::fmt::Display for Ending {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Ending::Code(code) => write!(f, "exit code {code}"),
            Ending::Signal(signal) => write!(f, "{signal}"),
        }
    }
}

/// What the parent waits for, in the order of its coming: the end of a child, and signals of whoever ends it.
struct Signals {
    before: SigSet,
    queue: SignalFd,
    ready: Epoll,
}

impl Signals {
    fn take() -> Result<Self, ParentError> {
        let before = SigSet::thread_get_mask()?;
        let mask: SigSet = [Signal::SIGTERM, Signal::SIGINT, Signal::SIGCHLD].into_iter().collect();
        mask.thread_block()?;
        let queue = SignalFd::with_flags(&mask, SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK)?;
        let ready = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?;
        ready.add(&queue, EpollEvent::new(EpollFlags::EPOLLIN, 0))?;
        Ok(Self { before, queue, ready })
    }

    /// In a child: signals are its own again.
    fn give_back(self) -> nix::Result<()> {
        self.before.thread_set_mask()
    }

    /// The next one; `None` at the deadline.
    fn next(&self, until: Option<Instant>) -> Result<Option<Signal>, ParentError> {
        loop {
            if let Some(got) = self.queue.read_signal()? {
                let number = i32::try_from(got.ssi_signo).map_err(std::io::Error::other)?;
                return Ok(Some(Signal::try_from(number)?));
            }
            let left = until.map(|until| until.saturating_duration_since(Instant::now()));
            let timeout = match left {
                Some(left) if left.is_zero() => return Ok(None),
                // rounded up: not to be asked again and again in the last millisecond
                Some(left) => {
                    EpollTimeout::try_from(left + Duration::from_millis(1)).unwrap_or(EpollTimeout::MAX)
                }
                None => EpollTimeout::NONE,
            };
            match self.ready.wait(&mut [EpollEvent::empty()], timeout) {
                Ok(_) | Err(nix::Error::EINTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// Waits for the end of an agent, and passes on what it is told; how it ended, and whether it was told to.
    fn watch(&self, child: Pid) -> Result<(Ending, bool), ParentError> {
        let (mut told, mut kill_at) = (false, None);
        loop {
            if let Some(ending) = reap(child)? {
                return Ok((ending, told));
            }
            match self.next(kill_at)? {
                Some(Signal::SIGCHLD) => {}
                Some(signal) => {
                    told = true;
                    kill_at = kill_at.or(Some(Instant::now() + END));
                    pass(child, signal)?;
                }
                None => {
                    tracing::error!(process = child.as_raw(), "the agent does not end, and is killed");
                    kill_at = None;
                    pass(child, Signal::SIGKILL)?;
                }
            }
        }
    }

    /// Waits, unless told to end.
    fn told_within(&self, time: Duration) -> Result<bool, ParentError> {
        let until = Instant::now() + time;
        loop {
            match self.next(Some(until))? {
                None => return Ok(false),
                Some(Signal::SIGCHLD) => {}
                Some(_) => return Ok(true),
            }
        }
    }
}

fn pass(child: Pid, signal: Signal) -> nix::Result<()> {
    match kill(child, signal) {
        // it has just ended, which the next look finds
        Err(nix::Error::ESRCH) => Ok(()),
        result => result,
    }
}

/// How this child ended, if it has; others are orphans that the first process of a container is given.
fn reap(child: Pid) -> nix::Result<Option<Ending>> {
    loop {
        match waitpid(None, Some(WaitPidFlag::WNOHANG))? {
            WaitStatus::Exited(pid, code) if pid == child => return Ok(Some(Ending::Code(code))),
            WaitStatus::Signaled(pid, signal, _) if pid == child => return Ok(Some(Ending::Signal(signal))),
            WaitStatus::StillAlive => return Ok(None),
            _ => {}
        }
    }
}

/// The program of this process, and whether another one has taken its place.
struct Build {
    path: PathBuf,
    /// Device and inode of what runs.
    running: Option<(u64, u64)>,
}

impl Build {
    fn of_this_process() -> Self {
        let path = std::env::current_exe().unwrap_or_default();
        Self { running: identity(&path), path }
    }

    /// What has to be executed to be what lies there now; nothing where that is what runs.
    fn successor(&self) -> Option<Command> {
        let there = identity(&self.path)?;
        (Some(there) != self.running).then(|| {
            let mut words = std::env::args_os();
            let mut program = Command::new(&self.path);
            program.arg0(words.next().unwrap_or_default()).args(words);
            program
        })
    }

    /// What lies there now cannot be executed: not again.
    fn refuse(&mut self) {
        self.running = identity(&self.path);
    }
}

fn identity(path: &Path) -> Option<(u64, u64)> {
    std::fs::metadata(path).ok().map(|metadata| (metadata.dev(), metadata.ino()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn another_build_is_executed_and_one_that_cannot_be_is_not_tried_again() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("program");
        std::fs::write(&path, "one").unwrap();
        let mut build = Build { running: identity(&path), path: path.clone() };
        assert!(build.successor().is_none());
        let fresh = directory.path().join("fresh");
        std::fs::write(&fresh, "two").unwrap();
        std::fs::rename(&fresh, &path).unwrap();
        let program = build.successor().unwrap();
        assert_eq!(program.get_program(), path.as_os_str());
        assert_eq!(program.get_args().count(), std::env::args_os().skip(1).count());
        build.refuse();
        assert!(build.successor().is_none());
        std::fs::remove_file(&path).unwrap();
        assert!(build.successor().is_none(), "an upgrade under way has nothing there for a moment");
    }

    #[test]
    fn endings_in_words() {
        assert_eq!(Ending::Code(101).to_string(), "exit code 101");
        assert_eq!(Ending::Signal(Signal::SIGKILL).to_string(), "SIGKILL");
    }
}
