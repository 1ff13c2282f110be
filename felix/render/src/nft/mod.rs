//! The rule form as nf_tables: a desired ruleset that follows the state, change by change.
//!
//! * [`ruleset`]: what a ruleset is made of, and how its changes are told.
//! * [`settings`]: what of the agent's configuration decides about it.
//! * [`renderer`]: changes in, updates out.

pub mod renderer;
pub mod ruleset;
pub mod settings;

pub use renderer::Renderer;
pub use ruleset::{Chain, Rule, SetShape, Update, table};
pub use settings::Settings;
