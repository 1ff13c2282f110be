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

use crate::endpoints::Refused;
use crate::nft::Step;
use felix_calc::Changes;
use felix_calc::endpoint::EndpointKey;
use felix_render::Settings;
use futures::future::BoxFuture;
use kernel::{KernelError, Netfilter};
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

/// A ruleset that is wanted, and what makes the kernel's like it. What it is told is what [`felix_render`]'s renderers are.
pub trait Backend: Send {
    /// The settings are these now.
    fn set_settings(&mut self, settings: &Settings);

    /// An interface of the node is there with these addresses, or (`None`) is gone.
    fn set_interface(&mut self, name: &str, addresses: Option<&[IpAddr]>);

    /// What the calculation says.
    fn on_changes(&mut self, changes: &Changes);

    /// Nothing is wanted any more: all that is ours goes.
    fn unwant_all(&mut self);

    /// It is this one from now on, where it can be: rules of the new one are whole in force before those of the old one go.
    fn become_choice(&mut self, choice: Choice) -> bool;

    /// Which host endpoint each interface has, the one for all interfaces apart.
    fn host_interfaces(&self) -> BTreeMap<Arc<str>, EndpointKey>;

    /// Whom it concerns that something is refused.
    fn concerned(&self) -> Refused;

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
