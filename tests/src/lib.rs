//! What every cross-crate test stands on: programs run as a person or a container runtime would run them, against
//! a real etcd, in namespaces of their own.
//!
//! * [`process`] starts programs with a deadline and kills what is left; nothing in a test waits for luck.
//! * [`binaries`] builds the programs under test once and lays them out under every name they answer to.
//! * [`sandbox`] gives a thread a network, mount and host-name namespace of its own with the few directories
//!   a node writes to; [`etcd`] runs Debian's etcd, there or on a free loopback port.
//! * [`router`] runs Debian's BGP daemons with a configuration and asks their control sockets; [`speaker`] runs ours.
//! * [`policy`] is the oracle of network policy with what to ask it; [`random`] makes runs repeatable;
//!   [`wire`] sends real packets from one namespace to another.
//! * [`certificates`] makes authorities and who belongs to them, for tests of TLS.
//! * [`agent`] runs the node agent and replays what was recorded of Calico's.
//! * [`node_agent`] runs the one agent of a node beside the plugins that ask it.
//! * [`cri`] runs Debian's containerd and asks it as a kubelet does.
//! * [`golden`] replays the recorded cases of `tests/golden` step by step and compares.
//! * [`verifier`] asks whether anything is left without an owner; [`probe`] counts lost packets.
//!
//! The harness talks to etcd over its JSON gateway and to the kernel through iproute2: it must not share the code it judges.

// What tools print as JSON is looked up by name, which gives null for what is not there and cannot panic.
#![allow(clippy::indexing_slicing)]

pub mod agent;
pub mod binaries;
pub mod certificates;
pub mod cri;
pub mod etcd;
pub mod failpoints;
pub mod golden;
pub mod node;
pub mod node_agent;
pub mod policy;
pub mod probe;
pub mod process;
pub mod random;
pub mod router;
pub mod sandbox;
pub mod speaker;
pub mod verifier;
pub mod wire;
