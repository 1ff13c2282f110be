//! `ocicat cni calico|calico-ipam`: what the thin CNI binary executes.

use std::ffi::OsString;
use std::process::ExitCode;

/// Runs the plugin named by the first argument.
pub fn main(args: Vec<OsString>) -> ExitCode {
    eprintln!("ocicat cni: unknown plugin {args:?}; expected calico or calico-ipam");
    ExitCode::FAILURE
}
