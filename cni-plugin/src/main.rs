//! The program a container runtime executes, under the names `calico` and `calico-ipam`.
//!
//! It is small on purpose: no runtime, nothing to go wrong while pods start. Where the node's agent runs, or ever ran, it asks
//! that (`agent`); else, or where the configuration says so, it becomes `ocicat cni <name>`, found beside itself or in `PATH`,
//! with the same input, environment and arguments. Only the question for versions is answered here, because its answer never
//! changes.

mod agent;

use cni_protocol::{CniError, Program, text, version};
use std::env;
use std::ffi::{OsStr, OsString};
use std::io::{self, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

/// The program that does the work.
const WORKER: &str = "ocicat";

fn main() -> ExitCode {
    let mut args = env::args_os();
    let name = called_as(args.next().as_deref());
    let args: Vec<OsString> = args.collect();
    if args.is_empty() && env::var_os("CNI_COMMAND").is_some_and(|verb| verb == "VERSION") {
        return print(version::VERSION_REPLY, ExitCode::SUCCESS);
    }
    let input = match agent::ask(name, &args) {
        agent::Asked::Answered(answer) => {
            eprint!("{}", answer.stderr);
            return print(&answer.stdout, ExitCode::from(answer.exit));
        }
        agent::Asked::Refused(error) => return print(&error.to_json(), ExitCode::FAILURE),
        agent::Asked::Nobody(input) => input,
    };
    let own = env::current_exe().ok();
    let path = env::var_os("PATH").unwrap_or_default();
    let error = match find(own.as_deref(), &path) {
        Some(worker) => {
            let mut command = Command::new(&worker);
            command.arg("cni").arg(name).args(args);
            if let Some(input) = input {
                command.stdin(input);
            }
            // Returns only when it fails.
            let error = command.exec();
            CniError::internal(format!(
                "cannot execute {}: {error}; reinstall it, or remove it so that another one is found in PATH",
                worker.display()
            ))
        }
        None => not_found(own.as_deref(), &path),
    };
    print(&error.to_json(), ExitCode::FAILURE)
}

/// The plugin's name by that of the program; any other name than `calico-ipam` is `calico`.
fn called_as(program: Option<&OsStr>) -> &'static str {
    let base = program.and_then(|program| Path::new(program).file_name()).and_then(OsStr::to_str);
    base.and_then(Program::parse).unwrap_or(Program::Calico).name()
}

/// The worker beside this program, else the first one in `path`.
fn find(own: Option<&Path>, path: &OsStr) -> Option<PathBuf> {
    let beside = own.and_then(Path::parent).map(Path::to_path_buf);
    beside.into_iter().chain(env::split_paths(path)).map(|directory| directory.join(WORKER)).find(|file| {
        file.metadata().is_ok_and(|metadata| metadata.is_file() && metadata.permissions().mode() & 0o111 != 0)
    })
}

fn not_found(own: Option<&Path>, path: &OsStr) -> CniError {
    let beside = own.map_or_else(|| "this plugin".to_owned(), |own| own.display().to_string());
    CniError::internal(format!(
        "cannot find the program {} beside {beside} or in PATH [{}]; install it in one of these directories",
        text::quote(WORKER),
        path.to_string_lossy()
    ))
}

fn print(text: &str, code: ExitCode) -> ExitCode {
    let mut out = io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Ok(()) => code,
        Err(_) => ExitCode::FAILURE,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    /// A directory that goes away with the test; the thin binary has no other use for a crate of them.
    struct Scratch(PathBuf);

    impl Scratch {
        fn new(name: &str) -> Self {
            let path = env::temp_dir().join(format!("ocicat-cni-{name}-{}", std::process::id()));
            fs::create_dir_all(&path).unwrap();
            Self(path)
        }

        fn file(&self, name: &str, mode: u32) -> PathBuf {
            let path = self.0.join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(&path, "x").unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
            path
        }
    }

    impl Drop for Scratch {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    #[test]
    fn the_name_decides() {
        for (program, name) in [
            (Some("/opt/cni/bin/calico"), "calico"),
            (Some("calico-ipam"), "calico-ipam"),
            (Some("/x/renamed"), "calico"),
            (Some("/"), "calico"),
            (None, "calico"),
        ] {
            assert_eq!(called_as(program.map(OsStr::new)), name);
        }
    }

    #[test]
    fn beside_itself_before_path() {
        let scratch = Scratch::new("find");
        let own = scratch.file("bin/calico", 0o755);
        let path = OsString::from(format!("{0}/a:{0}/b", scratch.0.display()));
        assert_eq!(find(Some(&own), &path), None);
        let in_path = scratch.file("b/ocicat", 0o755);
        assert_eq!(find(Some(&own), &path), Some(in_path.clone()));
        assert_eq!(find(None, &path), Some(in_path.clone()));
        let beside = scratch.file("bin/ocicat", 0o644);
        assert_eq!(find(Some(&own), &path), Some(in_path), "a file that is no program is passed over");
        fs::set_permissions(&beside, fs::Permissions::from_mode(0o755)).unwrap();
        assert_eq!(find(Some(&own), &path), Some(beside));
    }

    #[test]
    fn a_missing_worker_is_a_cni_error_that_says_where_it_was_looked_for() {
        let error = not_found(Some(Path::new("/opt/cni/bin/calico")), OsStr::new("/usr/bin:/bin"));
        assert_eq!(error.code, 999);
        assert!(
            error.msg.contains("\"ocicat\" beside /opt/cni/bin/calico or in PATH [/usr/bin:/bin]"),
            "{error}"
        );
    }
}
