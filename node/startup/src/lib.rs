//! What a node says of itself when its agent starts (`bgp.md` §14 and `datamodel.md` §9 of the contract).
//!
//! ```text
//!  environment, file ─► Variables ─► Settings ─┐
//!  links, addresses  ─► Host ─► Method::detect ├─► Decided ─► the Node to store, and why each value is what it is
//!  the Node as stored ─────────────────────────┘
//! ```
//!
//! * [`variables`]: Calico's variables, from the environment and one file; who said what.
//! * [`settings`]: the same, understood; every wrong value at once.
//! * [`detect`]: an address of this host, by every method of `IP_AUTODETECTION_METHOD`.
//! * [`decide`]: which address and AS number the node gets, and the reason.
//! * [`documents`]: the resources a start writes: this Node, the cluster's defaults, default pools.
//!
//! Pure: what the host has and what is stored are arguments.

pub mod decide;
pub mod detect;
pub mod documents;
pub mod settings;
pub mod variables;

pub use decide::{Decided, Fact, decide};
pub use detect::{Host, HostAddress, Method, Nic};
pub use settings::{Choice, Settings};
pub use variables::{Origin, Variables};
