//! Health of the parts of a process: each registers with a promise how often it reports.
//!
//! Invariants: a part that never reported is neither live nor ready; a part silent for longer than it promised
//! is not live; a part not live is not ready.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// The parts of one process.
#[derive(Debug, Clone, Default)]
pub struct Health(Arc<Mutex<BTreeMap<String, State>>>);

#[derive(Debug)]
struct State {
    promise: Option<Duration>,
    reported: Option<(Instant, Report)>,
}

/// What a part says of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// Works, or may recover by itself.
    pub live: bool,
    /// Does its job now.
    pub ready: bool,
    /// Why not; empty when both.
    pub reason: String,
}

impl Report {
    /// Live and ready.
    pub fn ok() -> Self {
        Self { live: true, ready: true, reason: String::new() }
    }

    /// Live, but does not do its job yet.
    pub fn not_ready(reason: impl Into<String>) -> Self {
        Self { live: true, ready: false, reason: reason.into() }
    }

    /// Needs a restart.
    pub fn dead(reason: impl Into<String>) -> Self {
        Self { live: false, ready: false, reason: reason.into() }
    }
}

/// A part's state at one moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PartHealth {
    /// Name given at registration.
    pub name: String,
    /// Its report, or what its silence means.
    pub report: Report,
    /// Time since its last report; `None` if it never did.
    pub age: Option<Duration>,
}

/// The writing side of one part; unregisters when dropped.
#[derive(Debug)]
pub struct Reporter {
    health: Health,
    name: String,
}

impl Health {
    /// Registers a part. With `promise` it must report at least that often; without, its last report stands.
    pub fn register(&self, name: &str, promise: Option<Duration>) -> Reporter {
        self.lock().insert(name.to_owned(), State { promise, reported: None });
        Reporter { health: self.clone(), name: name.to_owned() }
    }

    /// Every part's state at `now`, by name.
    pub fn parts(&self, now: Instant) -> Vec<PartHealth> {
        self.lock().iter().map(|(name, state)| state.at(name, now)).collect()
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, State>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn at(&self, name: &str, now: Instant) -> PartHealth {
        let age = self.reported.as_ref().map(|(at, _)| now.saturating_duration_since(*at));
        let report = match (&self.reported, age, self.promise) {
            (None, ..) | (_, None, _) => Report::dead("has not reported yet"),
            (Some(_), Some(age), Some(promise)) if age > promise => Report::dead(format!(
                "silent for {:.1} s, promised a report every {:.1} s",
                age.as_secs_f64(),
                promise.as_secs_f64()
            )),
            (Some((_, report)), ..) => report.clone(),
        };
        PartHealth { name: name.to_owned(), report, age }
    }
}

impl Reporter {
    /// Reports at `now`.
    pub fn report(&self, report: Report, now: Instant) {
        if let Some(state) = self.health.lock().get_mut(&self.name) {
            state.reported = Some((now, report));
        }
    }
}

impl Drop for Reporter {
    fn drop(&mut self) {
        self.health.lock().remove(&self.name);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn silence_is_death_and_reports_stand_otherwise() {
        let health = Health::default();
        let start = Instant::now();
        let at = |s| start + Duration::from_secs(s);
        let felix = health.register("felix", Some(Duration::from_secs(10)));
        let bgpd = health.register("bgpd", None);
        assert!(health.parts(start).iter().all(|p| !p.report.live && !p.report.ready && p.age.is_none()));

        felix.report(Report::ok(), start);
        bgpd.report(Report::not_ready("no session"), start);
        let parts = health.parts(at(10));
        assert_eq!(parts[0].name, "bgpd");
        assert_eq!(parts[0].report, Report::not_ready("no session"));
        assert_eq!(parts[1].report, Report::ok());

        let parts = health.parts(at(11));
        assert!(!parts[1].report.live, "silent too long");
        assert!(parts[1].report.reason.contains("11.0 s"), "{}", parts[1].report.reason);
        assert!(parts[0].report.live, "promised nothing");

        felix.report(Report::dead("stuck"), at(12));
        assert_eq!(health.parts(at(12))[1].report, Report::dead("stuck"));
        drop(felix);
        assert_eq!(health.parts(at(12)).len(), 1);
    }
}
