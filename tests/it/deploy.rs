//! What is shipped: units, tarball, installation of the plugin.

use anyhow::{Context, Result, ensure};
use nix::sys::signal::Signal;
use ocicat_tests::binaries::{Build, programs};
use ocicat_tests::node::{Container, NAME, Node, PLUGINS, addresses};
use ocicat_tests::process::{Background, Output, run, tool, wait_for};
use ocicat_tests::sandbox;
use std::fs;
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

const PATIENCE: Duration = Duration::from_secs(60);
const ANALYZE: &str = "/usr/bin/systemd-analyze";

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap()
}

fn unit(name: &str) -> String {
    fs::read_to_string(root().join("deploy/systemd").join(name)).unwrap()
}

/// The value of a key that stands once.
fn value(unit: &str, key: &str) -> String {
    let values: Vec<&str> =
        unit.lines().filter_map(|line| line.strip_prefix(key)?.strip_prefix('=')).collect();
    assert_eq!(values.len(), 1, "{key}: {values:?}");
    values[0].to_owned()
}

#[test]
fn the_units_are_what_systemd_understands() -> Result<()> {
    assert!(Path::new(ANALYZE).exists(), "{ANALYZE} is missing: install package systemd");
    let directory = tempfile::tempdir()?;
    let mut units = Vec::new();
    for name in ["ocicat-node.service", "ocicat-cni.socket"] {
        let path = directory.path().join(name);
        // the program is not installed on the machine that tests
        fs::write(&path, unit(name).replace("ExecStart=/usr/bin/ocicat", "ExecStart=/bin/true"))?;
        units.push(path.display().to_string());
    }
    let verify = |units: &[String]| {
        let mut command = Command::new(ANALYZE);
        command.arg("verify").args(units);
        run(command, "", PATIENCE)
    };
    let said = verify(&units)?;
    // what it does not understand it only mentions
    ensure!(said.ok() && said.stderr.is_empty() && said.stdout.is_empty(), "{} {}", said.stdout, said.stderr);
    fs::write(&units[0], unit("ocicat-node.service").replace("WatchdogSec=", "WatchdogSecs="))?;
    ensure!(verify(&units)?.stderr.contains("WatchdogSecs"), "a wrong key is not noticed");
    Ok(())
}

/// As the units have it: socket, name, and no more capabilities than those. The agent registers, routes, speaks, attaches.
#[test]
fn the_agent_works_with_the_capabilities_of_its_unit() {
    sandbox::within(NAME, programs(Build::Plain).unwrap(), || {
        let (service, socket) = (unit("ocicat-node.service"), unit("ocicat-cni.socket"));
        for line in
            ["link add eth0 type veth peer name far", "addr add 192.0.2.11/24 dev eth0", "link set eth0 up"]
        {
            tool("ip", &line.split(' ').collect::<Vec<_>>())?;
        }
        let node = Node::start()?;
        let path = PathBuf::from(value(&socket, "ListenStream"));
        fs::create_dir_all(path.parent().context("a directory")?)?;
        let held = UnixListener::bind(&path)?;
        let capabilities: Vec<String> = value(&service, "CapabilityBoundingSet")
            .split(' ')
            .map(|name| format!("+{}", name.trim_start_matches("CAP_").to_lowercase()))
            .collect();
        let words = value(&service, "ExecStart").replace("/usr/bin", PLUGINS);
        let script = format!(
            "exec 3<&0 </dev/null; export LISTEN_PID=$$ LISTEN_FDS=1 LISTEN_FDNAMES={}; \
             exec setpriv --no-new-privs --bounding-set=-all,{} {words}",
            value(&socket, "FileDescriptorName"),
            capabilities.join(",")
        );
        let mut command = Command::new("/bin/sh");
        command.args(["-c", &script]).env_clear().env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin");
        command.envs([("ETCD_ENDPOINTS", node.server().url().as_str()), ("NODENAME", NAME)]);
        let log = Path::new("/run/agent.log");
        let mut agent = Background::start_with_input(command, held.into(), log)?;
        let said = || fs::read_to_string(log).unwrap_or_default();
        wait_for("the agent", PATIENCE, || {
            let text = node.ocicat(&["status"], "").ok()?.stdout;
            text.lines().next()?.ends_with(", ready").then_some(())
        })
        .with_context(said)?;
        let bounding = fs::read_to_string(format!("/proc/{}/status", agent.pid()))?;
        let bounding = bounding.lines().find(|line| line.starts_with("CapBnd")).context("capabilities")?;
        ensure!(bounding.matches('f').count() < 8, "it has all of them: {bounding}");
        let container = Container::start("pod1")?;
        node.add(&container).with_context(said)?;
        ensure!(tool("nft", &["list", "ruleset"])?.contains("table ip ocicat"));
        let listens = tool("ss", &["-ltn"])?;
        ensure!(listens.contains(":179"), "the speaker does not listen: {listens}\n{}", said());
        node.del(&container).with_context(said)?;
        let log = said();
        for word in ["ermission", "EPERM", "not permitted"] {
            ensure!(!log.contains(word), "{log}");
        }
        agent.signal(Signal::SIGTERM)?;
        wait_for("its end", PATIENCE, || agent.ended())?;
        Ok(())
    })
    .unwrap();
}

fn tarball(programs: &Path, output: &Path) -> Result<Output> {
    let mut command = Command::new(root().join("deploy/tarball"));
    command.arg("--programs").arg(programs).arg("--output").arg(output);
    run(command, "", PATIENCE)
}

#[test]
fn the_tarball_has_three_static_programs_and_what_goes_with_them() -> Result<()> {
    let directory = tempfile::tempdir()?;
    let path = |name: &str| directory.path().join(name);
    fs::create_dir(path("bin"))?;
    fs::write(path("main.c"), "int main(void) { return 0; }\n")?;
    let compile = |name: &str, flags: &[&str]| {
        let (source, program) =
            (path("main.c").display().to_string(), path("bin").join(name).display().to_string());
        tool("cc", &[flags, &["-o", &program, &source]].concat())
    };
    compile("ocicat", &["-static"])?;
    let said = tarball(&path("bin"), &path("out"))?;
    ensure!(!said.ok() && said.stderr.contains("calico is missing"), "{}", said.stderr);
    compile("calico", &[])?;
    let said = tarball(&path("bin"), &path("out"))?;
    ensure!(!said.ok() && said.stderr.contains("calico is not statically linked"), "{}", said.stderr);
    compile("calico", &["-static"])?;
    let file = tarball(&path("bin"), &path("out"))?.expect_ok("deploy/tarball")?;
    let first = fs::read(file.trim())?;
    let listed = tool("tar", &["--list", "--verbose", "--gzip", "--file", file.trim()])?;
    for name in [
        "bin/ocicat",
        "bin/calico",
        "bin/calico-ipam",
        "systemd/ocicat-node.service",
        "systemd/ocicat-cni.socket",
        "systemd/calico.env.example",
        "INSTALL.md",
        "LICENSE",
    ] {
        ensure!(listed.contains(&format!("/{name}")), "{name}: {listed}");
    }
    ensure!(listed.lines().all(|line| line.contains(" 0/0 ")), "{listed}");
    tarball(&path("bin"), &path("out"))?.expect_ok("deploy/tarball")?;
    ensure!(fs::read(file.trim())? == first, "the same programs give another tarball");
    Ok(())
}

/// Installed as INSTALL.md says, a runtime finds what it needs; and nothing of it afterwards.
#[test]
fn an_installed_plugin_attaches_and_goes_without_a_trace() {
    sandbox::within(NAME, programs(Build::Plain).unwrap(), || {
        let node = Node::start()?;
        let places = ["--bin-dir", "/run/cni/bin", "--conf-dir", "/run/cni/net.d"];
        let plugin = format!("{PLUGINS}/calico");
        let install = |more: &[&str]| {
            node.ocicat(&[&["cni", "install", "--plugin", &plugin][..], &places, more].concat(), "")
        };
        let said = install(&[])?.expect_ok("install")?;
        ensure!(said.lines().count() == 3, "{said}");
        ensure!(install(&[])?.expect_ok("install again")? == "nothing to do\n");
        let list: serde_json::Value =
            serde_json::from_slice(&fs::read("/run/cni/net.d/10-calico.conflist")?)?;
        // what a runtime makes of a list for its first plugin
        let mut configuration = list["plugins"][0].clone();
        configuration["name"] = list["name"].clone();
        configuration["cniVersion"] = list["cniVersion"].clone();
        let container = Container::start("pod1")?;
        let call = |verb: &str| {
            let mut call = node.call(verb, &container).configuration(&configuration);
            call.program = "/run/cni/bin/calico".into();
            call.env("PATH", PLUGINS).env("CNI_PATH", "/run/cni/bin").run()
        };
        ensure!(addresses(&call("ADD")?.expect_ok("ADD")?)?.len() == 1);
        call("DEL")?.expect_ok("DEL")?;

        fs::write("/run/cni/bin/calico", "somebody else's")?;
        let refused = install(&[])?;
        ensure!(!refused.ok() && refused.stderr.contains("/run/cni/bin/calico"), "{}", refused.stderr);
        let refused = node.ocicat(&["cni", "uninstall"], "")?;
        ensure!(
            !refused.ok() && Path::new("/run/cni/net.d/10-calico.conflist").exists(),
            "{}",
            refused.stdout
        );
        install(&["--force"])?.expect_ok("install by force")?;
        let said = node.ocicat(&["cni", "uninstall"], "")?.expect_ok("uninstall")?;
        ensure!(said.starts_with("removed /run/cni/net.d/10-calico.conflist\n"), "{said}");
        for directory in ["/run/cni/bin", "/run/cni/net.d"] {
            ensure!(fs::read_dir(directory)?.next().is_none(), "{directory} has something left");
        }
        ensure!(!Path::new("/var/lib/ocicat/cni-install.json").exists());
        Ok(())
    })
    .unwrap();
}
