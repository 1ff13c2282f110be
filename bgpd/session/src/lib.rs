//! The BGP session state machine, without a socket and without a clock.
//!
//! A [`Peer`] is one configured session. The shell tells it what happened ([`Event`]: a connection was made, a message
//! came, time has passed) and does what it answers ([`Action`]: connect, send, close, the session is up or down). It
//! frames and decodes bytes itself and gives the session only what kind of message came; UPDATEs go straight to the
//! RIB while the session is Established.
//!
//! * [`settings`]: what one session is told to do, and what a change of it asks for.
//! * [`event`]: what goes in, what comes out, and the states between.
//! * [`negotiate`]: what both OPENs together say.
//! * [`peer`]: the state machine of RFC 4271 §8, with two connections where they collide, and the helper's side of
//!   graceful restart.
//! * [`deferral`]: the restarting speaker's side of it.

pub mod deferral;
pub mod event;
pub mod negotiate;
pub mod peer;
pub mod settings;

mod connection;
mod error_wait;
mod jitter;
mod verdict;

pub use deferral::{Deferral, Deferred};
pub use event::{Action, ConnId, Down, Endpoints, Event, Reason, Received, Reset, State, Stop, Time};
pub use negotiate::{Negotiated, PeerRestart};
pub use peer::Peer;
pub use settings::{AddPath, Authentication, Change, Distance, GracefulRestart, RemoteAs, Settings, Timers};

#[cfg(test)]
mod tests;
