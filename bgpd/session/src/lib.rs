//! The BGP session state machine, without a socket and without a clock.
//!
//! * [`settings`]: what one session is told to do, and what a change of it asks for.

pub mod settings;

pub use settings::{AddPath, Authentication, Change, Distance, GracefulRestart, RemoteAs, Settings, Timers};
