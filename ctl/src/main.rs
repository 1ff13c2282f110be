//! Everything a person types: the verbs of `calicoctl` under the name `ocicat`, the lab, and the entry the thin CNI
//! binary executes.
//!
//! `main` looks at the program's name first (called as `calicoctl` it answers as calicoctl does), then at the
//! words that must be fast (`cni calico`), and only then builds the command tree. A verb writes to an [`io::Io`] and ends
//! with an [`io::Failure`] or without one; nothing below `main` prints or exits by itself.
//! Source of texts and exit codes: `calicoctl.md` of the contract.

mod bgp;
mod bgpd_command;
mod cascade;
mod cli;
mod cni;
mod cni_install;
mod crud;
mod datastore_command;
mod felix_command;
mod input;
mod io;
mod ipam_command;
mod lab;
mod label;
mod merge;
mod namespace;
mod node_command;
mod persona;
mod print;
mod session;
mod status_command;
mod tally;
mod verbs;
mod version;
mod why;

use io::Io;
use persona::Persona;
use std::ffi::OsString;
use std::process::ExitCode;

fn main() -> ExitCode {
    let mut args: Vec<OsString> = std::env::args_os().collect();
    let persona = Persona::of_program(args.first());
    let is_plugin = args.get(2).is_some_and(|word| cni::is_plugin(word));
    if persona == Persona::Ocicat && args.get(1).is_some_and(|word| word == "cni") && is_plugin {
        return cni::main(args.split_off(2));
    }
    let mut io = Io::standard();
    let done = cli::parse(persona, args).and_then(|asked| cli::dispatch(persona, asked, &mut io));
    io::finish(done, &mut io)
}
