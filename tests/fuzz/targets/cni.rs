//! What must hold for any bytes as a call of a container runtime.

#![allow(clippy::expect_used)] // a broken expectation is a finding

use cni_protocol::request::{read, read_conf};
use cni_protocol::{CniResult, Version, args};
use serde_json::Value;

/// Takes what stands before the first empty line as environment, the rest as configuration. An answer that is an
/// error is JSON with a code.
pub fn run(data: &[u8]) {
    let split = data.windows(2).position(|pair| pair == b"\n\n").unwrap_or(0);
    let (environment, stdin) = data.split_at(split);
    let environment = String::from_utf8_lossy(environment);
    let get = |name: &str| {
        environment.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix('=')).map(str::to_owned)
    };
    for error in
        [read(&get, stdin).err(), read_conf(stdin).err(), read_conf(data).err()].into_iter().flatten()
    {
        let json: Value = serde_json::from_str(&error.to_json()).expect("errors are JSON");
        assert!(json.get("code").and_then(Value::as_u64).is_some_and(|code| code > 0));
    }
    let _ = args::CniArgs::parse(&environment);
    for configured in versions() {
        let Ok(result) = CniResult::from_json(stdin, configured) else { continue };
        for version in versions() {
            let written = result.to_json(version);
            CniResult::from_json(written.as_bytes(), version).expect("what we write we read");
        }
    }
}

fn versions() -> impl Iterator<Item = Version> {
    Version::texts().into_iter().filter_map(Version::parse)
}
