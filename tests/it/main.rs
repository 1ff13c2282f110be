//! The workspace's one integration test binary; modules by theme. All but `law` run real programs as root.

// Helpers of tests fail as tests do.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod agent;
mod agent_absent;
mod agent_calls;
mod attached;
mod bad_input;
mod bgp;
mod bgp_network;
mod containerd;
mod deploy;
mod exec_trace;
mod felix_process;
mod golden;
mod hitless;
mod ipam_engine;
mod kill_matrix;
mod lab;
mod law;
mod layout;
mod leaks;
mod monitor;
mod node_bounds;
mod node_logs;
mod node_process;
mod node_sockets;
mod node_storm;
mod parallel_add;
mod parts;
mod policy;
mod power_cut;
mod requests;
mod speaker;
mod store;
mod storm;
