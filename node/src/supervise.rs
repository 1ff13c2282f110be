//! Parts beside each other: a thread and a runtime each. One that panics or ends is reported and started again, later
//! each time; the others, and the kernel, do not notice. A panic in a task beside its main one is a panic of the part: the
//! runtime would hold it back, and whoever relies on the task would wait for ever.

mod panics;

use crate::backoff::Backoff;
use futures::future::LocalBoxFuture;
use observe::health::{Health, Report, Reporter};
use observe::shutdown::Shutdown;
use std::panic::AssertUnwindSafe;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// How long all parts may take to end.
const END: Duration = Duration::from_secs(10);

/// A part of the agent.
pub struct Part {
    /// Its name, as health and log have it.
    pub name: &'static str,
    /// Runs it until the token fires; called again for each start, on a current-thread runtime of its own. The error is
    /// for people.
    pub run: Box<dyn Fn(Shutdown) -> LocalBoxFuture<'static, Result<(), String>> + Send>,
}

/// Starts parts and waits for their end.
pub struct Supervisor {
    health: Health,
    shutdown: Shutdown,
    threads: Vec<(&'static str, JoinHandle<()>)>,
}

impl Supervisor {
    /// No part runs yet. All of them end when `shutdown` fires.
    pub fn new(health: Health, shutdown: Shutdown) -> Self {
        Self { health, shutdown, threads: Vec::new() }
    }

    /// Where parts report.
    pub fn health(&self) -> &Health {
        &self.health
    }

    /// What ends them.
    pub fn shutdown(&self) -> &Shutdown {
        &self.shutdown
    }

    /// Starts a part.
    ///
    /// # Errors
    /// The system has no thread for it; in words.
    pub fn start(&mut self, part: Part) -> Result<(), String> {
        let name = part.name;
        let keeper = Keeper {
            reporter: self.health.register(&format!("part {name}"), None),
            shutdown: self.shutdown.clone(),
            part,
        };
        keeper.reporter.report(Report::ok(), Instant::now());
        let thread = std::thread::Builder::new().name(name.to_owned()).spawn(move || keeper.keep());
        self.threads.push((name, thread.map_err(|error| format!("no thread for {name}: {error}"))?));
        Ok(())
    }

    /// Waits for all parts after the token fired, a bounded time.
    pub async fn join(self) {
        let until = Instant::now() + END;
        for (name, thread) in self.threads {
            while !thread.is_finished() {
                if Instant::now() > until {
                    tracing::warn!(part = name, "does not end; the process ends without it");
                    break;
                }
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        }
    }
}

struct Keeper {
    part: Part,
    reporter: Reporter,
    shutdown: Shutdown,
}

impl Keeper {
    fn keep(self) {
        let mut backoff = Backoff::default();
        while self.shutdown.reason().is_none() {
            let begin = Instant::now();
            let end = self.once();
            if self.shutdown.reason().is_some() {
                if let Err(reason) = end {
                    tracing::warn!(part = self.part.name, reason, "ended with an error");
                }
                return;
            }
            let wait = backoff.after(begin.elapsed());
            let reason = end.err().unwrap_or_else(|| "it ended by itself".to_owned());
            tracing::error!(
                part = self.part.name,
                reason,
                again_in_ms = wait.as_millis(),
                "is started again"
            );
            self.reporter
                .report(Report::not_ready(format!("down, is started again: {reason}")), Instant::now());
            self.pause(wait);
            self.reporter.report(Report::ok(), Instant::now());
        }
    }

    /// One run of the part; a panic is one of its ends.
    fn once(&self) -> Result<(), String> {
        let run = AssertUnwindSafe(|| {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .map_err(|error| format!("no runtime: {error}"))?;
            // a token of its own: a part that ends fires it for what it started, not for the others
            let own = Shutdown::default();
            let watch = panics::watch(&own);
            let (whole, child) = (self.shutdown.clone(), own.clone());
            runtime.spawn(async move {
                whole.wait().await;
                child.trigger(whole.reason().unwrap_or_default());
            });
            let ran = runtime.block_on((self.part.run)(own));
            // what it left running must not keep the thread
            runtime.shutdown_timeout(Duration::from_secs(1));
            match watch.panicked() {
                Some(words) => Err(panicked(&words)),
                None => ran,
            }
        });
        std::panic::catch_unwind(run).unwrap_or_else(|panic| Err(panicked(panics::words(panic.as_ref()))))
    }

    fn pause(&self, time: Duration) {
        let until = Instant::now() + time;
        while Instant::now() < until && self.shutdown.reason().is_none() {
            std::thread::sleep(
                Duration::from_millis(20).min(until.saturating_duration_since(Instant::now())),
            );
        }
    }
}

fn panicked(words: &str) -> String {
    format!("it panicked: {words}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    fn eventually(what: &str, condition: impl Fn() -> bool) {
        let until = Instant::now() + Duration::from_secs(20);
        while !condition() {
            assert!(Instant::now() < until, "not in time: {what}");
            std::thread::sleep(Duration::from_millis(2));
        }
    }

    fn report(health: &Health, part: &str) -> Report {
        let parts = health.parts(Instant::now());
        parts.into_iter().find(|known| known.name == part).unwrap().report
    }

    /// A part that runs on after it was started `after` times, and does `before` until then.
    fn part(
        name: &'static str,
        starts: &Arc<AtomicUsize>,
        after: usize,
        before: fn() -> Result<(), String>,
    ) -> Part {
        let starts = starts.clone();
        let run = move |shutdown: Shutdown| -> LocalBoxFuture<'static, Result<(), String>> {
            let number = starts.fetch_add(1, Ordering::SeqCst) + 1;
            Box::pin(async move {
                if number < after {
                    // what ended part fires reaches nobody else
                    shutdown.trigger("the part has ended");
                    return before();
                }
                shutdown.wait().await;
                Ok(())
            })
        };
        Part { name, run: Box::new(run) }
    }

    #[test]
    fn a_part_that_dies_is_started_again_and_the_others_do_not_notice() {
        let (health, shutdown) = (Health::default(), Shutdown::default());
        let mut supervisor = Supervisor::new(health.clone(), shutdown.clone());
        let counts: [Arc<AtomicUsize>; 4] = Default::default();
        let [steady, panics, ends, fails] = &counts;
        supervisor.start(part("steady", steady, 0, || Ok(()))).unwrap();
        supervisor.start(part("panics", panics, 3, || panic!("on purpose"))).unwrap();
        supervisor.start(part("ends", ends, 2, || Ok(()))).unwrap();
        supervisor.start(part("fails", fails, usize::MAX, || Err("no socket".into()))).unwrap();
        eventually("both run again", || {
            panics.load(Ordering::SeqCst) == 3 && ends.load(Ordering::SeqCst) == 2
        });
        eventually("they are well", || {
            report(&health, "part panics").ready && report(&health, "part ends").ready
        });
        eventually("the third is told", || {
            let report = report(&health, "part fails");
            report.live && !report.ready && report.reason.contains("no socket")
        });
        assert_eq!(steady.load(Ordering::SeqCst), 1);
        assert_eq!(shutdown.reason(), None);
        shutdown.trigger("end");
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(supervisor.join());
        let before = fails.load(Ordering::SeqCst);
        std::thread::sleep(Duration::from_millis(300));
        assert_eq!(fails.load(Ordering::SeqCst), before, "nothing is started any more");
    }

    #[test]
    fn a_panic_of_a_task_is_one_of_its_part() {
        let (health, shutdown) = (Health::default(), Shutdown::default());
        let mut supervisor = Supervisor::new(health.clone(), shutdown.clone());
        let starts: [Arc<AtomicUsize>; 2] = Default::default();
        let [steady, falls] = &starts;
        supervisor.start(part("steady", steady, 0, || Ok(()))).unwrap();
        let counted = falls.clone();
        let run = move |shutdown: Shutdown| -> LocalBoxFuture<'static, Result<(), String>> {
            let number = counted.fetch_add(1, Ordering::SeqCst);
            Box::pin(async move {
                if number == 0 {
                    tokio::spawn(async { panic!("a task on purpose") });
                }
                shutdown.wait().await;
                Ok(())
            })
        };
        supervisor.start(Part { name: "falls", run: Box::new(run) }).unwrap();
        eventually("it is told", || report(&health, "part falls").reason.contains("a task on purpose"));
        eventually("it runs again", || {
            falls.load(Ordering::SeqCst) == 2 && report(&health, "part falls").ready
        });
        assert_eq!(steady.load(Ordering::SeqCst), 1);
        assert_eq!(shutdown.reason(), None);
        shutdown.trigger("end");
    }
}
