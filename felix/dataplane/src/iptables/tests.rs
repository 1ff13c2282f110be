//! The driver against tables in memory and against the real kernel.

mod fake;
mod faults;
mod model;
mod parts;
mod real;

use super::IptablesDriver;
use crate::nft::Step;
use crate::testing::Accepting;
pub(crate) use fake::World;
use kernel::Variant;
use model::{Wanted, updates};
use std::sync::Arc;
use std::time::Duration;

fn open(world: &World, variant: Variant) -> IptablesDriver {
    let nft = Box::new(Accepting::default());
    IptablesDriver::open(Arc::new(world.clone()), Box::new(world.clone()), nft, variant).unwrap()
}

/// Steps until nothing is left to do, in a time of its own that jumps to the next try.
async fn settle(driver: &mut IptablesDriver, now: &mut Duration) {
    for _ in 0..10_000 {
        if driver.step(*now).await == Step::More {
            continue;
        }
        match driver.next_try() {
            Some(next) if !driver.is_in_sync() => *now = next.max(*now + Duration::from_millis(1)),
            _ => return,
        }
    }
    panic!("never settles: {driver:?}");
}

async fn apply(driver: &mut IptablesDriver, before: &Wanted, after: &Wanted, now: &mut Duration) {
    driver.update(updates(before, after));
    settle(driver, now).await;
    assert!(driver.is_in_sync(), "{driver:?} {:?}", driver.refused().collect::<Vec<_>>());
}
