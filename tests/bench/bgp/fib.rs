//! Routes into the kernel: how long from the first byte of an announcement until the kernel has all of them, beside what
//! the kernel takes when finished netlink messages are handed to it.

use super::generator::Generator;
use super::scenario::{Figures, one_sender};
use super::subject::{self, NETNS, ROUTER, Shape, Subject};
use anyhow::{Context, Result, bail, ensure};
use ocicat_tests::process;
use ocicat_tests::sandbox::in_netns;
use std::net::UdpSocket;
use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

/// How many.
const ROUTES: usize = 100_000;

/// One of so many is looked up.
const SAMPLED: usize = 100;

/// How often the kernel is asked.
const POLL: Duration = Duration::from_millis(1);

/// The example of `lib/kernel` that hands prebuilt messages to the kernel.
const FLOOR: &str = "OCICAT_ROUTE_FLOOR";

/// Seconds that [`ROUTES`] prebuilt requests take.
///
/// # Errors
/// The program is missing or fails.
pub fn floor(figures: &mut Figures) -> Result<()> {
    let program = std::env::var_os(FLOOR)
        .with_context(|| format!("{FLOOR} names no program: run by `./dev bench bgp`"))?;
    subject::wire()?;
    let mut command = Command::new("ip");
    command.args(["netns", "exec", NETNS]).arg(program).arg(ROUTES.to_string()).args(["uplink", "10.0.1.1"]);
    let said = process::run(command, "", Duration::from_secs(60))?.expect_ok("route_floor")?;
    let seconds = said.trim().parse().with_context(|| format!("route_floor said {said}"))?;
    ensure!(in_netns(NETNS, prefixes)?? >= ROUTES, "the kernel has not all routes of the floor");
    figures.push(("kernel s", seconds));
    Ok(())
}

/// One sender announces [`ROUTES`] routes to a subject that writes them to the kernel.
///
/// # Errors
/// The subject does not start, or does not finish within `patience`.
pub fn run(subject: Subject, patience: Duration, figures: &mut Figures) -> Result<()> {
    subject::wire()?;
    let (speakers, announce, table) = one_sender(ROUTES);
    let running =
        subject::start(subject, &Shape { speakers: speakers.clone(), reflector: false, kernel: true })?;
    let mut generator = Generator::new(ROUTER, table, &speakers)?;
    generator.establish([0], Instant::now() + patience)?;
    generator.idle(Duration::from_millis(500))?;
    // Lookups are cheap. Counting walks over all routes, and what is measured would have to share its two cores with that:
    // it is only done when each of these is there.
    let mut samples =
        (0..ROUTES).step_by(SAMPLED).chain([ROUTES - 1]).map(|route| table.address(route)).peekable();
    let done = AtomicBool::new(false);
    let took = thread::scope(|scope| -> Result<Duration> {
        let begun = Instant::now();
        let done = &done;
        let observer = scope.spawn(move || {
            let observed = in_netns(NETNS, || -> Result<Duration> {
                let socket = UdpSocket::bind("0.0.0.0:0")?;
                loop {
                    while samples.next_if(|address| socket.connect((*address, 9)).is_ok()).is_some() {}
                    if samples.peek().is_none() && prefixes()? >= ROUTES {
                        return Ok(begun.elapsed());
                    }
                    if begun.elapsed() > patience {
                        bail!("the kernel has {} of {ROUTES} routes", prefixes()?);
                    }
                    thread::sleep(POLL);
                }
            });
            done.store(true, Ordering::Relaxed);
            observed.flatten()
        });
        generator.send(0, &announce)?;
        while !done.load(Ordering::Relaxed) {
            generator.idle(Duration::from_millis(5))?;
        }
        match observer.join() {
            Ok(took) => took,
            Err(panic) => std::panic::resume_unwind(panic),
        }
    })?;
    figures.extend([("kernel s", took.as_secs_f64()), ("kernel MB", running.peak()?)]);
    Ok(())
}

/// Prefixes in the main table of the calling thread's namespace.
fn prefixes() -> Result<usize> {
    let path = Path::new("/proc/thread-self/net/fib_triestat");
    let text = std::fs::read_to_string(path).with_context(|| format!("read {}", path.display()))?;
    let main = text.split("Main:").nth(1).unwrap_or(&text);
    let line = main.lines().find_map(|line| line.trim().strip_prefix("Prefixes:")).context("no Prefixes")?;
    Ok(line.trim().parse()?)
}
