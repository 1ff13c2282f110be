//! What the calculation says, put into the kernel: nftables, routes, neighbours, parameters, connection tracking.
//!
//! * [`Dataplane`]: the whole; [`dataplane`] says in which order an apply works.
//! * [`backend`]: what judges packets, nftables or iptables.
//! * [`nft`], [`iptables`]: their drivers.
//! * [`routes`]: routes and permanent neighbours.
//! * [`links`]: the node's interfaces, as the kernel tells of them.
//! * [`sysctls`]: parameters of interfaces and of the host.
//! * [`endpoints`]: the node's endpoints and their status.
//! * [`stock`]: what of ours is in the kernel, for metrics; the others are counted where things happen.
//! * [`settings`]: what of the agent's configuration is acted on.
//!
//! One task owns it: [`Dataplane::on_changes`] and [`Dataplane::told`] take what is wanted, [`Dataplane::apply`] carries it
//! out, [`Dataplane::next`] waits for what asks for another apply. Nothing is polled; while nothing happens no timer runs.

pub mod backend;
pub mod dataplane;
pub mod endpoints;
pub mod iptables;
pub mod links;
mod meters;
pub mod nft;
pub mod routes;
pub mod settings;
pub mod stock;
pub mod sysctls;
#[cfg(test)]
mod testing;

pub use backend::Choice;
pub use dataplane::Dataplane;
pub use endpoints::Status;
pub use settings::Settings;
