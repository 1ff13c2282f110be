//! `ocicat cni calico|calico-ipam`: what the thin CNI binary executes.

use cni_host::{Host, Output, run};
use cni_protocol::{CniError, Program, error::code};
use std::ffi::{OsStr, OsString};
use std::io::{self, Read, Write};
use std::process::ExitCode;

/// More than any configuration; who sends more gets an error instead of our memory.
const MOST_INPUT: u64 = 16 * 1024 * 1024;

/// Whether this word names a plugin.
pub fn is_plugin(word: &OsStr) -> bool {
    word.to_str().and_then(Program::parse).is_some()
}

/// Runs the plugin named by the first argument, with the others as its own. It speaks to a container runtime: errors
/// go to standard output as CNI errors.
pub fn main(args: Vec<OsString>) -> ExitCode {
    let mut args = args.into_iter().map(|arg| arg.to_string_lossy().into_owned());
    let name = args.next().unwrap_or_default();
    let Some(program) = Program::parse(&name) else {
        eprintln!(
            "ocicat cni: unknown word {name:?}; use: ocicat cni install|uninstall, or calico|calico-ipam"
        );
        return ExitCode::FAILURE;
    };
    let args: Vec<String> = args.collect();
    let output = match call(program, &args) {
        Ok(output) => output,
        Err(error) => Output { stdout: error.to_json(), exit: 1, ..Output::default() },
    };
    eprint!("{}", output.stderr);
    let mut stdout = io::stdout().lock();
    match stdout.write_all(output.stdout.as_bytes()).and_then(|()| stdout.flush()) {
        Ok(()) => ExitCode::from(output.exit),
        // The runtime does not know what it got.
        Err(_) => ExitCode::FAILURE,
    }
}

fn call(program: Program, args: &[String]) -> Result<Output, CniError> {
    let host = Host::system();
    let stdin = if reads_input(&host, args) { input()? } else { Vec::new() };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| CniError::internal(format!("cannot start the asynchronous runtime: {error}")))?;
    let output = runtime.block_on(run(program, args, &host, &stdin));
    // A thread that waits for a lock or a name server must not hold up the answer.
    runtime.shutdown_background();
    Ok(output)
}

/// A person at a terminal who asks for the version is not kept waiting for the end of input.
fn reads_input(host: &Host, args: &[String]) -> bool {
    match args {
        [] => host.variable("CNI_COMMAND").is_some_and(|command| !command.is_empty() && command != "VERSION"),
        [flag] => flag == "-t" || flag == "--t",
        _ => false,
    }
}

fn input() -> Result<Vec<u8>, CniError> {
    let failed = |reason: String| CniError::new(code::IO, format!("error reading from stdin: {reason}"));
    let mut bytes = Vec::new();
    io::stdin().take(MOST_INPUT + 1).read_to_end(&mut bytes).map_err(|error| failed(error.to_string()))?;
    match u64::try_from(bytes.len()) {
        Ok(length) if length <= MOST_INPUT => Ok(bytes),
        _ => Err(failed(format!("more than {MOST_INPUT} bytes"))),
    }
}
