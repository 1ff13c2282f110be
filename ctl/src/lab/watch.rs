//! No command of the lab waits for ever: it says what it is about to do and how long that may take, and the main
//! thread, which does nothing else, ends it when the time is over. That holds for whatever a step waits for: a process, a
//! socket, the kernel.

use anyhow::{Result, anyhow, bail};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// How long a step may take whose author did not think of more.
pub const STEP: Duration = Duration::from_secs(90);

/// What a command is doing; shared by the thread that does it and the one that looks on.
#[derive(Debug, Clone, Default)]
pub struct Watch(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    doing: Mutex<Doing>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct Doing {
    step: Option<Step>,
    ended: bool,
}

#[derive(Debug)]
struct Step {
    what: String,
    limit: Duration,
    until: Instant,
}

impl Watch {
    /// Says what is done from now on, as a noun, in at most `limit`. What was said before has been done.
    pub fn doing(&self, what: impl Into<String>, limit: Duration) {
        let step = Step { what: what.into(), limit, until: Instant::now() + limit };
        self.lock().step = Some(step);
        self.0.changed.notify_all();
    }

    /// What follows waits for a person, such as one who reads what is printed: for as long as they like.
    pub fn for_a_person(&self) {
        self.lock().step = None;
        self.0.changed.notify_all();
    }

    fn lock(&self) -> MutexGuard<'_, Doing> {
        self.0.doing.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until the work has ended, or a step of it is overdue.
    fn look_on(&self) -> Result<()> {
        let mut doing = self.lock();
        while !doing.ended {
            doing = match &doing.step {
                None => self.0.changed.wait(doing).unwrap_or_else(PoisonError::into_inner),
                Some(step) => {
                    let left = step.until.saturating_duration_since(Instant::now());
                    if left.is_zero() {
                        bail!(
                            "gave up after {} s: {}; `ocicat lab status` shows what is there",
                            step.limit.as_secs_f32(),
                            step.what
                        );
                    }
                    let waited = self.0.changed.wait_timeout(doing, left);
                    waited.unwrap_or_else(PoisonError::into_inner).0
                }
            };
        }
        Ok(())
    }
}

/// Says that the work has ended, however it did.
struct End(Watch);

impl Drop for End {
    fn drop(&mut self) {
        self.0.lock().ended = true;
        self.0.0.changed.notify_all();
    }
}

/// Does `work` on another thread and looks on.
///
/// # Errors
/// Those of `work`; or a step took longer than it may. Then the thread is still at it, and goes with the process.
pub fn watched<T: Send + 'static>(work: impl FnOnce(&Watch) -> Result<T> + Send + 'static) -> Result<T> {
    let watch = Watch::default();
    let own = watch.clone();
    let worker = std::thread::Builder::new().name("lab".to_string()).spawn(move || {
        let end = End(own);
        work(&end.0)
    })?;
    watch.look_on()?;
    worker.join().map_err(|_| anyhow!("the thread that did the work died"))?
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc;

    #[test]
    fn work_that_ends_is_what_it_says() {
        assert_eq!(watched(|_| Ok(7)).unwrap(), 7);
        let work = |watch: &Watch| {
            watch.doing("one thing", STEP);
            watch.doing("another", STEP);
            watch.for_a_person();
            Err::<(), _>(anyhow!("no"))
        };
        assert_eq!(watched(work).unwrap_err().to_string(), "no");
    }

    #[test]
    fn a_step_that_takes_too_long_is_named() {
        let (never, end) = mpsc::channel::<()>();
        let work = move |watch: &Watch| {
            watch.doing("quick", Duration::from_millis(1));
            watch.doing("waiting for Godot", Duration::from_millis(50));
            let _ = end.recv();
            Ok(())
        };
        let said = watched(work).unwrap_err().to_string();
        assert!(said.starts_with("gave up after 0.05 s: waiting for Godot;"), "{said}");
        drop(never);
    }

    #[test]
    fn a_person_may_take_longer_than_the_step_before() {
        let (later, now) = mpsc::channel::<()>();
        let work = move |watch: &Watch| {
            watch.doing("a step", Duration::from_millis(20));
            watch.for_a_person();
            // Ends with the sender, after the step's time.
            let _ = now.recv();
            Ok(())
        };
        std::thread::spawn(move || {
            std::thread::sleep(Duration::from_millis(60));
            drop(later);
        });
        watched(work).unwrap();
    }

    #[test]
    fn work_that_dies_is_an_error() {
        assert!(watched::<()>(|_| std::panic::resume_unwind(Box::new(()))).is_err());
    }
}
