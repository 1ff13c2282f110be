//! What people hear of the loop: logs, and answers.

use super::Shell;
use super::meters::NOT_CARRIED;
use crate::params;
use crate::proto::{Counts, Snapshot, StatusResponse};
use crate::service::Question;
use crate::status;
use felix_calc::Changes;
use felix_calc::report::{Report, title};
use felix_dataplane::Status;
use metrics::gauge;
use model::{Key, Kind};
use std::time::{Duration, UNIX_EPOCH};

/// What was said, so that it is said once.
#[derive(Debug, Default)]
pub(super) struct Tell {
    waiting: Option<&'static str>,
    enforced: Option<i64>,
}

impl Tell {
    /// Whether it waits for something else than was said.
    pub(super) fn is_news(&self, waiting: Option<&'static str>) -> bool {
        self.waiting != waiting
    }

    /// A line a state change.
    pub(super) fn waits(&mut self, waiting: Option<&'static str>) {
        if self.waiting != waiting {
            match waiting {
                Some(reason) => tracing::info!("waiting: {reason}"),
                None => {
                    tracing::info!(revision = self.enforced, "this node enforces what the datastore holds")
                }
            }
            self.waiting = waiting;
        }
    }

    pub(super) fn changes(&self, changes: &Changes) {
        for (key, reports) in &changes.reports {
            let object = title(key);
            for report in reports {
                tracing::warn!("{object}: {report}");
            }
            if reports.is_empty() {
                tracing::info!("{object}: nothing is wrong with it any more");
            }
        }
        for (key, reports) in &changes.reports {
            if let Key::Resource { kind: Kind::IPPool, name, .. } = key {
                let carried = !reports.iter().any(|report| matches!(report, Report::NotCarried { .. }));
                gauge!(NOT_CARRIED, "pool" => name.clone()).set(if carried { 0.0 } else { 1.0 });
            }
        }
    }

    pub(super) fn enforces(&mut self, revision: Option<i64>) {
        self.enforced = revision;
    }
}

impl Shell {
    pub(super) fn answer(&self, question: Question) {
        // Who asked may have gone.
        match question {
            Question::Status(answer) => drop(answer.send(self.status())),
            Question::Params(answer) => drop(answer.send(params::describe(self.current.configuration()))),
        }
    }

    fn status(&self) -> StatusResponse {
        let count = |count: usize| u64::try_from(count).unwrap_or(u64::MAX);
        let of = |status| count(self.dataplane.endpoints().count(status));
        let counts = self.feed.counts();
        let milliseconds = |time: Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
        let (store, not_up) = (self.follow.link(), self.dataplane.endpoints().not_up());
        let snapshot = self.follow.snapshot();
        StatusResponse {
            node: self.node.clone(),
            uptime_ms: milliseconds(self.start.elapsed()),
            source: self.source.clone(),
            in_sync: self.in_sync,
            waiting: self.waiting().unwrap_or_default().to_owned(),
            known_revision: self.follow.syncer().newest(),
            enforced_revision: self.dataplane.enforced().unwrap_or_default(),
            counts: Some(Counts {
                nodes: count(counts.nodes),
                endpoints_and_sets: count(counts.items),
                local_endpoints: count(counts.local_endpoints),
                policies: count(counts.policies),
                active_policies: count(counts.active_policies),
                tiers: count(counts.tiers),
                profiles: count(counts.profiles),
                sets: count(counts.sets),
            }),
            endpoints_up: of(Status::Up),
            endpoints_down: of(Status::Down),
            endpoints_error: of(Status::Error),
            objects: self.feed.reports().map(|(key, report)| format!("{}: {report}", title(key))).collect(),
            configuration: self.current.configuration().problems.iter().map(ToString::to_string).collect(),
            refused: self.dataplane.refused().map(|(object, error)| format!("{object}: {error}")).collect(),
            endpoints_not_up: not_up
                .map(|(key, is)| format!("{}: {}", status::title(key), status::word(is)))
                .collect(),
            store_since_ms: milliseconds(
                store.as_ref().map_or(self.start.elapsed(), |link| link.since.elapsed()),
            ),
            backend: self.dataplane.backend().0.to_string(),
            backend_reason: self.dataplane.backend().1.to_owned(),
            store_trouble: store.and_then(|link| link.trouble).unwrap_or_default(),
            snapshot: snapshot.in_use.map(|taken| Snapshot {
                revision: taken.revision,
                written_ms: taken
                    .written
                    .duration_since(UNIX_EPOCH)
                    .map_or(0, |since| i64::try_from(since.as_millis()).unwrap_or(i64::MAX)),
            }),
            snapshot_trouble: snapshot.trouble.unwrap_or_default(),
        }
    }
}
