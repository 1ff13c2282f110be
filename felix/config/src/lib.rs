//! Parameters of the node agent: where each value comes from, and what the agent acts on.
//!
//! ```text
//!  environment ─┐
//!  felix.cfg ───┴ Local ──┐
//!                         ├─ resolve ─ Configuration: each parameter's value and origin ─ Settings
//!  FelixConfigurations ─┐ │                         └ problems, for log and status
//!  labels of the node ──┴ Stored
//! ```
//!
//! The table of parameters, with names, types and defaults, is the model's ([`model::felix`]). Here is which source wins
//! ([`resolve()`]) and what the agent understands ([`settings`]): a parameter is acted on if [`Settings::of`] reads it,
//! and there is no other list.
//! Source: `resources.md` §3.1, `felix.md` §1 of the contract.

mod ini;
mod local;
mod problem;
mod reader;
mod resolve;
pub mod settings;
mod stored;

pub use ini::FileError;
pub use local::{Connection, Local, PREFIX};
pub use problem::Problem;
pub use resolve::{Configuration, Origin, Value, resolve};
pub use settings::{Settings, is_acted_on};
pub use stored::Stored;
