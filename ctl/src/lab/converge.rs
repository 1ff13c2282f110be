//! Waiting until the nodes know of each other: every session of every speaker is up.

use super::directory::Directory;
use super::plan::Plan;
use super::programs::Program;
use anyhow::{Context, Result, bail};
use bgpd::client::Client;
use std::path::Path;
use std::time::{Duration, Instant};

/// How long the sessions of a lab may take: Calico's nodes wait two seconds before they connect, and five before they
/// connect again.
pub const SESSIONS: Duration = Duration::from_secs(40);
/// How long one question may take.
const ANSWER: Duration = Duration::from_secs(5);
/// How often the speakers are asked.
const AGAIN: Duration = Duration::from_millis(50);

/// Sessions of one speaker.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Sessions {
    /// Those that are up.
    pub up: usize,
    /// Those that are not, with their state.
    pub down: Vec<String>,
}

impl std::fmt::Display for Sessions {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let all = self.up + self.down.len();
        write!(f, "{} of {all} {} up", self.up, if all == 1 { "session" } else { "sessions" })
    }
}

/// Asks a speaker for its sessions.
///
/// # Errors
/// It does not answer in time.
pub fn sessions(socket: &Path) -> Result<Sessions> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let asked = runtime.block_on(async {
        tokio::time::timeout(ANSWER, async { Client::dial(socket).await?.peers().await }).await
    });
    let peers =
        asked.with_context(|| format!("{}: no answer within {} s", socket.display(), ANSWER.as_secs()))??;
    let mut sessions = Sessions::default();
    for peer in peers {
        match peer.state.as_str() {
            "Established" => sessions.up += 1,
            state => {
                sessions.down.push(format!("{} {state} {}", peer.name, peer.last_end).trim().to_string())
            }
        }
    }
    Ok(sessions)
}

/// Waits until every session of the lab's nodes and router with each other is up; says how many there are.
///
/// # Errors
/// They are not in time, with those that are missing.
pub fn wait(directory: &Directory, plan: &Plan, speakers: &[Program]) -> Result<usize> {
    let begin = Instant::now();
    loop {
        let mut up = 0;
        let mut missing = Vec::new();
        for program in speakers {
            let Some(socket) = program.ready.speaker() else { continue };
            let found = sessions(socket)?;
            up += found.up;
            if found.up < plan.sessions_of(&program.place) {
                missing.push(format!("{}: {found}; {}", program.name, found.down.join(", ")));
            }
        }
        if missing.is_empty() {
            return Ok(up / 2);
        }
        if begin.elapsed() > SESSIONS {
            let logs = directory.path().join("log");
            bail!(
                "after {} s not all BGP sessions are up; logs are in {}:\n{}",
                SESSIONS.as_secs(),
                logs.display(),
                missing.join("\n")
            );
        }
        std::thread::sleep(AGAIN);
    }
}
