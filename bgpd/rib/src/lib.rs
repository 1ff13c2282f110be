//! What a speaker knows and tells: Adj-RIB-In, decision, policy, reflection, groups of Adj-RIB-Out, changes for the FIB.
//!
//! ```text
//!  UPDATE ──► set (attributes, kept once) ──► import policy ──► path ──► decision ──► queue of destinations
//!                                                                                          │ flush
//!                            FIB changes ◄── kernel policy ◄── best path ◄─────────────────┤
//!                                                                                          ▼
//!        each member's connection ◄── log (encoded once) ◄── what differs ◄── group: export policy, rewriting
//! ```
//!
//! Nothing here waits, reads a clock or knows a socket: the owner calls, and takes what came of it when it likes. The
//! design page says what holds at which moment.
//!
//! * [`Rib`]: all of it. [`peer`], [`next_hop`], [`origin`], [`fib`]: what goes in and comes out. [`policy`]: policy as data.
//! * `table`, `set`, `index`, `chunked`, `mix`: memory. `routes`, `import`: input of one family. `decision`: the steps of RFC 4271 §9.1.
//! * `export`, `group`, `groups`, `writer`, `log`, `member`: output. [`explain`]: looking at it all.

mod chunked;
pub mod decision;
pub mod explain;
mod export;
pub mod fib;
mod group;
mod groups;
mod import;
mod index;
mod leave;
mod log;
mod member;
mod mix;
pub mod next_hop;
pub mod origin;
pub mod peer;
mod peers;
pub mod policy;
mod rib;
mod routes;
mod set;
mod shared;
mod table;
mod writer;

pub use decision::Step;
pub use explain::{Counts, Explanation, Fate, Known, Listed};
pub use export::NotSent;
pub use fib::{FibRoute, FibTarget};
pub use import::Loop;
pub use next_hop::{Hop, NextHop, Resolution, Wanted};
pub use origin::{Local, Source};
pub use peer::{LimitExceeded, MaxPrefixAction, MaxPrefixes, NextHopMode, PeerId, PeerSettings, Session};
pub use rib::Rib;
pub use shared::RibConfig;
