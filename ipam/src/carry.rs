//! Carrying a plan's transactions to the store.

use crate::IpamError;
use datastore::Datastore;
use ipam_plan::{Ask, Plan, PlanError, Purpose, Step};
use jiff::Timestamp;
use std::time::Duration;

/// Longest wait after a lost race. Races on one block resolve one winner a round, so that waiting much longer than a
/// round trip only adds latency.
const LONGEST_WAIT: Duration = Duration::from_millis(50);

/// Runs `plan` to its end.
pub(crate) async fn carry<T>(
    store: &dyn Datastore,
    plan: Plan<Result<T, PlanError>>,
) -> Result<T, IpamError> {
    let mut step = plan.begin(Timestamp::now());
    loop {
        match step {
            Step::Done(outcome) => return Ok(outcome?),
            Step::Ask(ask, waiting) => {
                let answer = ask_store(store, ask).await?;
                step = waiting.answer(answer, Timestamp::now());
            }
        }
    }
}

/// Carries one transaction out, after a pause where races were lost before it.
pub(crate) async fn ask_store(store: &dyn Datastore, ask: Ask) -> Result<mvcc::TxnResponse, IpamError> {
    if ask.conflicts > 0 {
        tokio::time::sleep(wait(ask.conflicts, Timestamp::now())).await;
    }
    let Purpose::Write(step) = ask.purpose else { return Ok(store.txn(ask.txn).await?) };
    failpoint("before", step);
    let answer = store.txn(ask.txn).await?;
    tracing::debug!(
        step,
        succeeded = answer.succeeded,
        revision = answer.revision,
        conflicts = ask.conflicts,
        "ipam write"
    );
    failpoint("after", step);
    Ok(answer)
}

/// A growing wait, spread by the clock's low digits so that those who lost together do not come back together.
fn wait(conflicts: u32, now: Timestamp) -> Duration {
    let ceiling = Duration::from_millis(1).saturating_mul(1 << conflicts.min(6)).min(LONGEST_WAIT);
    let spread = now.subsec_nanosecond().unsigned_abs() % 1_000;
    ceiling.saturating_mul(spread) / 1_000
}

/// The place before or after a write: `ipam-<step>-before`, `ipam-<step>-after`.
fn failpoint(side: &str, step: &str) {
    if failpoint::ENABLED {
        failpoint::failpoint(&format!("ipam-{step}-{side}"));
    }
}
