//! A namespace with its own rules, for tests that ask the kernel.

use kernel::Netns;
use std::io::Write;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

/// A namespace that goes with the test.
pub struct Namespace {
    pub netns: Netns,
    path: std::path::PathBuf,
}

/// Which package of Debian has a program.
const PACKAGES: [(&str, &str); 3] = [("nft", "nftables"), ("ipset", "ipset"), ("iptables", "iptables")];

impl Namespace {
    pub fn new() -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("render-{}-{number}", std::process::id()));
        let netns = Netns::create_at(&path).expect("these tests make network namespaces: run them as root");
        Self { netns, path }
    }

    /// What a program answers inside.
    pub fn run(&self, program: &str, arguments: &[&str], input: &str) -> String {
        let run = || {
            let mut child = Command::new(program)
                .args(arguments)
                .stdin(Stdio::piped())
                .stdout(Stdio::piped())
                .stderr(Stdio::piped())
                .spawn()
                .unwrap_or_else(|error| {
                    let package = PACKAGES.iter().find(|(begin, _)| program.starts_with(begin));
                    let package = package.map_or(program, |(_, package)| package);
                    panic!("{program} cannot be run: install the package {package} ({error})")
                });
            let mut stdin = child.stdin.take().unwrap();
            // what is written may wait for what is read
            std::thread::scope(|scope| {
                scope.spawn(move || {
                    // a program that ends early says why
                    let _ = stdin.write_all(input.as_bytes());
                });
                child.wait_with_output().unwrap()
            })
        };
        let output = self.netns.run(run).unwrap();
        let error = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{program} {arguments:?}: {error}\n{input}");
        String::from_utf8(output.stdout).unwrap()
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        let _ = Netns::delete_at(&self.path);
    }
}
