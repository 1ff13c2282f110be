//! Debian's containerd with runc in a sandbox, asked over CRI as a kubelet asks it.
//!
//! The questions are three, so they are written here: gRPC as `curl` speaks it, protocol buffers by hand (field numbers of CRI's
//! `runtime.v1`). The image that a sandbox is made of is built from one C program; no registry and no network is needed.

use crate::process::{Background, run, tool, wait_for};
use anyhow::{Context, Result, ensure};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

const SOCKET: &str = "/run/containerd/containerd.sock";
const LOG: &str = "/run/containerd.log";
/// The image of the sandboxes' first process.
const IMAGE: &str = "ocicat.test/pause:1";
/// Where the network's configuration lies; a sandbox has no `/etc` of its own.
const NETWORKS: &str = "/run/cni-networks";
/// How long anything may take.
const PATIENCE: Duration = Duration::from_secs(60);

const PROGRAMS: [(&str, &str); 4] =
    [("containerd", "containerd"), ("ctr", "containerd"), ("runc", "runc"), ("curl", "curl")];

const CONFIG: &str = r#"
version = 2
root = "/var/lib/containerd"
state = "/run/containerd"
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "ocicat.test/pause:1"
  disable_apparmor = true
  restrict_oom_score_adj = true
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "/opt/cni/bin"
    conf_dir = "/run/cni-networks"
  [plugins."io.containerd.grpc.v1.cri".containerd]
    snapshotter = "native"
"#;

/// containerd in the background; what it started ends with it.
#[derive(Debug)]
pub struct Containerd {
    process: Background,
}

impl Containerd {
    /// Starts it with one network, and makes the image it needs.
    ///
    /// # Errors
    /// A package is missing, or it does not come; the text shows its log.
    pub fn start(network: &str) -> Result<Self> {
        for (program, package) in PROGRAMS {
            let there = ["/usr/bin", "/usr/sbin"].iter().any(|place| Path::new(place).join(program).exists());
            ensure!(there, "{program} is missing: install package {package}");
        }
        control_groups()?;
        fs::create_dir_all(NETWORKS)?;
        fs::write(Path::new(NETWORKS).join("10-test.conflist"), network)?;
        fs::write("/run/containerd.toml", CONFIG)?;
        let mut command = Command::new("containerd");
        command.args(["--config", "/run/containerd.toml"]);
        let process = Background::start_logging(command, Path::new(LOG))?;
        let containerd = Self { process };
        wait_for("containerd", PATIENCE, || Path::new(SOCKET).exists().then_some(())).with_context(log)?;
        let image = image()?;
        tool("ctr", &["-n", "k8s.io", "images", "import", "--snapshotter", "native", &image])?;
        Ok(containerd)
    }

    /// Runs a pod's sandbox and returns its id.
    ///
    /// # Errors
    /// containerd, or the network's plugin, refuses.
    pub fn run_sandbox(&self, namespace: &str, name: &str) -> Result<String> {
        let uid = format!("uid-{name}");
        let metadata = [field(1, name.as_bytes()), field(2, uid.as_bytes()), field(3, namespace.as_bytes())];
        let config = [
            field(1, &metadata.concat()),
            field(2, name.as_bytes()),
            field(3, b"/run/pod-logs"),
            // Linux, with nothing said of it
            field(8, b""),
        ];
        let answer = self.ask("RunPodSandbox", &field(1, &config.concat()))?;
        let id = answer.get(2..).context("an answer without an id")?;
        Ok(String::from_utf8(id.to_vec())?)
    }

    /// Stops a sandbox, which detaches it, and removes it.
    ///
    /// # Errors
    /// containerd, or the network's plugin, refuses.
    pub fn remove_sandbox(&self, id: &str) -> Result<()> {
        self.ask("StopPodSandbox", &field(1, id.as_bytes()))?;
        self.ask("RemovePodSandbox", &field(1, id.as_bytes())).map(drop)
    }

    /// The process id of a sandbox.
    ///
    /// # Errors
    /// There is none.
    pub fn process_of(&self, id: &str) -> Result<i32> {
        let tasks = tool("ctr", &["-n", "k8s.io", "tasks", "ls"])?;
        let line = tasks.lines().find(|line| line.starts_with(id)).context("no such task")?;
        Ok(line.split_whitespace().nth(1).context("its process")?.parse()?)
    }

    /// One call of CRI's runtime service.
    fn ask(&self, method: &str, message: &[u8]) -> Result<Vec<u8>> {
        let (request, answer) = ("/run/cri-request", "/run/cri-answer");
        let length = u32::try_from(message.len())?.to_be_bytes();
        fs::write(request, [&[0], &length[..], message].concat())?;
        let _ = fs::remove_file(answer);
        let mut command = Command::new("curl");
        command.args(["-sS", "--http2-prior-knowledge", "--unix-socket", SOCKET]);
        command.args(["-H", "content-type: application/grpc", "-H", "te: trailers"]);
        command.args(["--data-binary", &format!("@{request}"), "-o", answer, "-D", "-"]);
        command.arg(format!("http://localhost/runtime.v1.RuntimeService/{method}"));
        let headers = run(command, "", PATIENCE)?.expect_ok(method)?;
        ensure!(headers.contains("grpc-status: 0"), "{method}: {headers}\n{} {:?}", log(), self.process);
        let bytes = fs::read(answer).unwrap_or_default();
        Ok(bytes.get(5..).unwrap_or_default().to_vec())
    }
}

impl Drop for Containerd {
    /// Sandboxes that a failed test left: containerd's shims outlive it on purpose.
    fn drop(&mut self) {
        let place = |process: &Path| fs::read_link(process.join("ns/mnt")).ok();
        let own = place(Path::new("/proc/thread-self"));
        let Ok(processes) = fs::read_dir("/proc") else { return };
        for process in processes.flatten().map(|entry| entry.path()) {
            let name = fs::read_to_string(process.join("comm")).unwrap_or_default();
            if own.is_none() || place(&process) != own || !name.starts_with("containerd-shim") {
                continue;
            }
            let id = process.file_name().and_then(|name| name.to_str()).unwrap_or_default().to_owned();
            let task = process.join("task").join(&id).join("children");
            let children = fs::read_to_string(task).unwrap_or_default();
            for id in children.split_whitespace().chain([id.as_str()]).filter_map(|id| id.parse().ok()) {
                let _ = kill(Pid::from_raw(id), Signal::SIGKILL);
            }
        }
    }
}

/// What containerd has said.
fn log() -> String {
    fs::read_to_string(LOG).unwrap_or_default()
}

/// A field of a message: a text, bytes or a message within.
fn field(number: u8, bytes: &[u8]) -> Vec<u8> {
    let mut out = vec![(number << 3) | 2];
    let mut length = bytes.len();
    while length >= 128 {
        out.push(u8::try_from(length % 128).unwrap_or_default() | 128);
        length /= 128;
    }
    out.push(u8::try_from(length).unwrap_or_default());
    out.extend(bytes);
    out
}

/// Control groups as the host has them: a sandbox's `/sys` is without.
fn control_groups() -> Result<()> {
    let place = Path::new("/sys/fs/cgroup");
    let own = fs::read_to_string("/proc/self/cgroup")?;
    let first: Vec<&str> =
        own.lines().filter_map(|line| line.split(':').nth(1)).filter(|c| !c.is_empty()).collect();
    if first.is_empty() {
        return tool("mount", &["-t", "cgroup2", "cgroup", "/sys/fs/cgroup"]).map(drop);
    }
    tool("mount", &["-t", "tmpfs", "tmpfs", "/sys/fs/cgroup"])?;
    for controllers in first {
        let named = controllers.strip_prefix("name=");
        let folder = place.join(named.unwrap_or(controllers)).display().to_string();
        let options = named.map_or_else(|| controllers.to_owned(), |_| format!("none,{controllers}"));
        fs::create_dir_all(&folder)?;
        tool("mount", &["-t", "cgroup", "-o", &options, "cgroup", &folder])?;
    }
    Ok(())
}

/// An image of one program that waits for its end, as `docker save` would write it.
fn image() -> Result<String> {
    let place = Path::new("/run/image");
    fs::create_dir_all(place)?;
    let path = |name: &str| place.join(name).display().to_string();
    fs::write(place.join("pause.c"), "int pause(void);\nint main(void) { for (;;) pause(); }\n")?;
    tool("gcc", &["-static", "-o", &path("pause"), &path("pause.c")])?;
    tool("tar", &["-C", "/run/image", "-cf", &path("layer.tar"), "pause"])?;
    let sum = tool("sha256sum", &[&path("layer.tar")])?;
    let sum = sum.split_whitespace().next().context("a sum")?;
    let architecture = if cfg!(target_arch = "aarch64") { "arm64" } else { "amd64" };
    let config = serde_json::json!({"architecture": architecture, "os": "linux", "config": {"Entrypoint": ["/pause"]},
        "rootfs": {"type": "layers", "diff_ids": [format!("sha256:{sum}")]}});
    fs::write(place.join("config.json"), config.to_string())?;
    let manifest =
        serde_json::json!([{"Config": "config.json", "RepoTags": [IMAGE], "Layers": ["layer.tar"]}]);
    fs::write(place.join("manifest.json"), manifest.to_string())?;
    let whole = path("image.tar");
    tool("tar", &["-C", "/run/image", "-cf", &whole, "manifest.json", "config.json", "layer.tar"])?;
    Ok(whole)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_written_as_protocol_buffers_have_them() {
        assert_eq!(field(1, b"ab"), [0x0a, 2, b'a', b'b']);
        assert_eq!(field(8, b""), [0x42, 0]);
        assert_eq!(field(1, &[7; 300])[..3], [0x0a, 0xac, 0x02]);
    }
}
