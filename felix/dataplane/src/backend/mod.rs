//! What judges packets: nftables or iptables, chosen and exchanged while packets flow.
//!
//! * [`Backend`]: a renderer and what puts its ruleset into the kernel; [`nftables`] and [`iptables`] are the two.
//! * [`choice`]: which one, and why.
//! * [`exchange`]: the one in force, the one that comes and what is left of others.

pub mod choice;
pub mod exchange;
mod iptables;
mod nftables;

pub use choice::Choice;
pub use exchange::Backends;

use crate::nft::{Affected, Step};
use crate::stock::Stock;
use felix_render::{Render, Settings};
use futures::future::BoxFuture;
use kernel::{KernelError, Netfilter};
use std::time::Duration;

/// A ruleset that is wanted, and what makes the kernel's like it.
pub trait Backend: Send {
    /// Where the ruleset comes from; `None` when nothing is wanted any more.
    fn renderer(&self) -> Option<&dyn Render>;

    /// The same, to be told what changes.
    fn renderer_mut(&mut self) -> Option<&mut dyn Render>;

    /// Nothing is wanted any more: all that is ours goes.
    fn unwant_all(&mut self);

    /// It is this one from now on, where it can be: rules of the new one are whole in force before those of the old one go.
    fn become_choice(&mut self, choice: Choice) -> bool;

    /// What it concerns that something is refused.
    fn affected(&self) -> Affected;

    /// Does the next thing.
    fn step(&mut self, now: Duration) -> BoxFuture<'_, Step>;

    /// Whether all that is wanted is in the kernel, as far as is known, and nothing else of ours.
    fn is_in_sync(&self) -> bool;

    /// Whether all that is wanted is in the kernel, or is refused.
    fn is_settled(&self) -> bool;

    /// Whether packets are judged: all is as wanted, or at most objects are missing without which packets are dropped.
    fn guards(&self) -> bool;

    /// What is refused, with the words about it.
    fn refused(&self) -> Box<dyn Iterator<Item = (String, &str)> + '_>;

    /// Counts what of ours is in the kernel.
    fn measure(&self, stock: &mut Stock);

    /// When the next step may have something to do; `None` when an event or a change comes first.
    fn next_try(&self) -> Option<Duration>;

    /// Waits until somebody else changes something of ours. Nothing is lost when the returned future is dropped.
    fn changed(&mut self) -> BoxFuture<'_, ()>;
}

/// A backend that knows nothing yet but the settings. Within a tokio runtime.
///
/// # Errors
/// The kernel cannot be followed.
pub fn open(
    choice: Choice,
    netfilter: &dyn Netfilter,
    settings: &Settings,
) -> Result<Box<dyn Backend>, KernelError> {
    Ok(match choice {
        Choice::Nftables => Box::new(nftables::Nftables::open(netfilter, settings.clone())?),
        Choice::Iptables(variant) => {
            Box::new(iptables::Iptables::open(netfilter, settings.clone(), variant)?)
        }
    })
}
