//! What changes in the kernel while a test runs, as `ip monitor` and `nft monitor` tell it.

use anyhow::Result;
use ocicat_tests::process::{Background, tool, wait_for};
use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

/// A program that says what changes in the kernel while it runs.
pub struct Monitor {
    _process: Background,
    pub log: &'static str,
    /// Changes something that it sees and nobody else cares about.
    change: fn(&str) -> Result<()>,
    /// What the last line about such a change begins with.
    closing: &'static str,
}

impl Monitor {
    /// `nft monitor`.
    pub fn of_rules() -> Result<Self> {
        let change = |word: &str| {
            tool("nft", &["add", "table", "ip", word])?;
            tool("nft", &["delete", "table", "ip", word]).map(drop)
        };
        Self::start("nft", &["monitor"], "/run/nft-monitor", change, "# new generation")
    }

    /// `ip monitor`.
    pub fn of_links() -> Result<Self> {
        let change = |word: &str| {
            let route = ["unreachable", &address_of(word), "table", "99"];
            tool("ip", &[&["route", "add"], &route[..]].concat())?;
            tool("ip", &[&["route", "del"], &route[..]].concat()).map(drop)
        };
        let about = ["monitor", "link", "address", "route", "rule"];
        Self::start("ip", &about, "/run/ip-monitor", change, "Deleted")
    }

    fn start(
        program: &str,
        arguments: &[&str],
        log: &'static str,
        change: fn(&str) -> Result<()>,
        closing: &'static str,
    ) -> Result<Self> {
        // line by line: what waits in a buffer is not seen
        let mut command = Command::new("stdbuf");
        command.arg("-oL").arg(program).args(arguments);
        let process = Background::start_logging(command, Path::new(log))?;
        Ok(Self { _process: process, log, change, closing })
    }

    /// Changes something, until it is seen; all lines before those about it, and all behind them.
    pub fn mark(&self, word: &str) -> Result<(Vec<String>, Vec<String>)> {
        let about = |line: &String| line.contains(word) || line.contains(&address_of(word));
        let (mut failed, mut changed) = (None, None::<Instant>);
        let split = wait_for("the monitor to see a change", Duration::from_secs(20), || {
            let text = fs::read_to_string(self.log).unwrap_or_default();
            let lines: Vec<String> = text.lines().map(str::to_owned).collect();
            let Some(first) = lines.iter().position(about) else {
                // one that begins to listen late is given another chance
                if changed.is_none_or(|at| at.elapsed() > Duration::from_secs(1)) {
                    failed = (self.change)(word).err();
                    changed = Some(Instant::now());
                }
                return None;
            };
            let last = lines.iter().rposition(about).unwrap_or(first);
            let closes = |line: &String| line.starts_with(self.closing);
            let closing = last + lines[last..].iter().position(closes)?;
            Some((lines[..first].to_vec(), lines[closing + 1..].to_vec()))
        });
        match (split, failed) {
            (Ok(split), _) => Ok(split),
            (Err(_), Some(error)) => Err(error),
            (Err(error), None) => Err(error),
        }
    }

    /// What it said since the mark of one word and before that of another.
    pub fn said_between(&self, first: &str, second: &str) -> Result<Vec<String>> {
        self.mark(second)?;
        let (_, behind) = self.mark(first)?;
        let about = |line: &String| line.contains(second) || line.contains(&address_of(second));
        Ok(behind.into_iter().take_while(|line| !about(line)).collect())
    }
}

/// An address that stands for a word.
fn address_of(word: &str) -> String {
    format!("192.0.2.{}", 200 + word.len())
}
