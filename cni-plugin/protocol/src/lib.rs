//! What passes between a container runtime, the plugins `calico` and `calico-ipam`, and a delegated IPAM plugin,
//! as plain data: no file, clock, environment or socket is touched here.
//!
//! ```text
//!  environment ─► environment ─┐                        ┌─► identity   who the workload is: handle, endpoint name
//!  stdin ───────► config ──────┼─► request ─► the host ─┼─► pools      which pools it may use
//!                 args ────────┘                        ├─► delegate   what another IPAM plugin is given
//!  stdout ◄────── json ◄── result / error ◄─────────────┘
//! ```
//!
//! The texts, codes and the order of checks are those of the CNI library that Calico is built with
//! (`cni.md` §1 of the contract): the first thing wrong decides the answer. Every function here takes any
//! bytes without panicking; that is what the property tests and the fuzz targets hold.

pub mod args;
pub mod config;
pub mod delegate;
pub mod environment;
pub mod error;
pub mod gate;
pub mod gc;
pub mod handover;
pub mod identity;
pub mod json;
pub mod pools;
mod reader;
pub mod request;
pub mod result;
pub mod text;
pub mod version;

pub use config::NetConf;
pub use environment::{Command, Environment};
pub use error::{CniError, StoreTrouble};
pub use request::{Program, Request};
pub use result::CniResult;
pub use version::Version;
