//! Stamps the build with the commit it was made from; a source tree without git builds all the same.

use std::process::Command;

fn main() {
    let id = git(&["describe", "--always", "--dirty", "--tags"]).unwrap_or_else(|| "no-git".to_owned());
    println!("cargo::rustc-env=OCICAT_BUILD_ID={id}");
    // A commit moves HEAD's log; watching it keeps the stamp true without rebuilding each time.
    if let Some(log) = git(&["rev-parse", "--git-path", "logs/HEAD"]) {
        println!("cargo::rerun-if-changed={log}");
    }
    println!("cargo::rerun-if-changed=build.rs");
}

fn git(args: &[&str]) -> Option<String> {
    let output = Command::new("git").args(args).output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    let text = text.trim();
    (output.status.success() && !text.is_empty()).then(|| text.to_owned())
}
