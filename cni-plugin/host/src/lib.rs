//! What the plugins `calico` and `calico-ipam` do: address, kernel, endpoint.
//!
//! ```text
//! run ─► request (checked in `cni-protocol`) ─► log
//!  ├─ ADD ─► node, gates ─► session (1 read) ─► address (ipam: 2 reads, 1 write) ─► attach ─► endpoint (1 write) ─► result
//!  │                                              │ undo                             │ undo      │ undo
//!  ├─ DEL ─► node ─► session (1 read) ─► detach ‖ endpoint ─► address
//!  └─ CHECK, STATUS, GC, VERSION, -v, -t
//! ```
//!
//! Called by `ocicat cni`, one process a call, or by the agent's [`server`], which thin plugins ask over a socket: that one keeps
//! an [`Agent`] from call to call, with which DEL, CHECK and GC know what ADD did.
//!
//! Every step that changes something pushes its undo; a failing ADD takes back what it did, newest first. A process
//! that dies in between leaves what the next DEL, or the next ADD, finds and removes: `DESIGN.md` of the CNI plugin
//! has the table of steps with their failpoints. The kernel and the store are traits, so that all of this runs in
//! memory, with failures at any step.

mod acknowledge;
mod add;
mod address;
mod agent;
mod attach;
mod available;
mod azure;
mod bounded;
mod del;
mod delegate;
mod detach;
mod endpoint;
mod failpoint;
mod gates;
mod host;
mod ipam_program;
mod lock;
mod log;
mod log_rotation;
mod meanwhile;
mod node;
mod probe;
mod run;
pub mod server;
mod session;
mod status;
mod sysctls;
mod undo;
mod upgrade;

pub use agent::{Agent, RecordError};
pub use delegate::{Executor, SystemExecutor};
pub use host::{Dataplane, Host, Stores, SystemStores};
pub use run::{Output, run};

#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;
