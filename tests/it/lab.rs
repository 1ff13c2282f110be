//! The lab as its users have it: brought up, looked at, killed at every step, and taken away without a trace.

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use ocicat_tests::binaries::{Build, programs};
use ocicat_tests::etcd::{Client, Server, Store, free_port};
use ocicat_tests::process::{Background, Ending, Output, run, tool, wait_for};
use serde_json::Value;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// What a failpoint ends with.
const SIGABRT: i32 = 6;

/// Every place at which `up` is killed.
const PLACES: [&str; 21] = [
    "directory made",
    "directory mounted",
    "the namespace between the nodes",
    "start datastore",
    "started datastore",
    "node node-1",
    "namespace of a node",
    "mount namespace of a node",
    "mounts of a node",
    "waiting for the datastore",
    "what the agents must find",
    "start agent-node-1",
    "started agent-node-1",
    "waiting for the agents",
    "pools",
    "attach w1",
    "namespace of w2",
    "attached w3",
    "attach w4",
    "BGP sessions",
    "up",
];

/// What a new user is promised.
const UP: Duration = Duration::from_secs(30);

/// A lab in a directory of its own; taken away with this. On which store it stands is said by the environment, as for other
/// tests (`ocicat_tests::etcd`): on etcd that is one given to it.
pub struct Lab {
    folder: tempfile::TempDir,
    given: Option<Server>,
}

impl Drop for Lab {
    fn drop(&mut self) {
        let _ = run(self.command(&["down"]), "", UP);
    }
}

impl Lab {
    /// Nothing is made yet.
    pub fn new() -> Self {
        let mut lab = Self::on_its_own_store();
        if Store::wanted() == Store::Etcd {
            lab.given = Some(Server::start_anywhere(&lab.folder.path().join("etcd")).unwrap());
        }
        lab
    }

    /// For what concerns a lab's own store.
    fn on_its_own_store() -> Self {
        Self { folder: tempfile::tempdir().unwrap(), given: None }
    }

    fn directory(&self) -> PathBuf {
        self.folder.path().join("lab")
    }

    /// `ocicat lab` with these words.
    pub fn command(&self, words: &[&str]) -> Command {
        self.command_of(Build::Plain, words)
    }

    fn command_of(&self, build: Build, words: &[&str]) -> Command {
        let mut command = Command::new(programs(build).unwrap().join("ocicat"));
        command.arg("lab").args(words).env("OCICAT_LAB_DIR", self.directory());
        if let Some(server) = &self.given
            && words.starts_with(&["up"])
            && !words.contains(&"--etcd")
        {
            command.args(["--etcd", &server.url()]);
        }
        command
    }

    fn run(&self, words: &[&str]) -> Output {
        run(self.command(words), "", Duration::from_secs(90)).unwrap()
    }

    /// What `ocicat lab` says to these words, which it must take well.
    pub fn good(&self, words: &[&str]) -> String {
        self.run(words).expect_ok(&format!("lab {}", words.join(" "))).unwrap()
    }

    fn up(&self, more: &[&str]) -> Value {
        let words = [&["up", "--json"], more].concat();
        serde_json::from_str(&self.good(&words)).unwrap()
    }

    /// A command that aborts at a place: built with failpoints, named as in `ctl/src/lab`.
    fn aborted_at(&self, place: &str, words: &[&str]) {
        let mut command = self.command_of(Build::Failpoints, words);
        command.env("OCICAT_FAILPOINT", format!("lab: {place}"));
        let output = run(command, "", Duration::from_secs(90)).unwrap();
        assert_eq!(output.ending, Ending::Signal(SIGABRT), "at {place:?}: {output:?}");
    }

    /// Numbers of the network namespaces of the node and the workloads.
    fn namespaces(&self) -> BTreeSet<String> {
        let of = |name| self.good(&["exec", name, "--", "readlink", "/proc/self/ns/net"]).trim().to_owned();
        ["node-1", "w1", "w2", "w3", "w4"].map(of).into()
    }

    /// Fails unless nothing of this lab is left anywhere.
    fn assert_gone(&self, namespaces: &BTreeSet<String>) {
        let directory = self.directory();
        assert!(!directory.exists(), "{} is left", directory.display());
        let mounts = std::fs::read_to_string("/proc/self/mountinfo").unwrap();
        let marker = directory.display().to_string();
        assert!(!mounts.contains(&marker), "a mount is left");
        for process in processes() {
            let environment = std::fs::read(process.join("environ")).unwrap_or_default();
            let ours = String::from_utf8_lossy(&environment).contains(&format!("OCICAT_LAB={marker}\0"));
            assert!(!ours, "{} is left: {:?}", process.display(), std::fs::read(process.join("cmdline")));
            for kind in ["net", "mnt"] {
                let link = std::fs::read_link(process.join("ns").join(kind)).unwrap_or_default();
                let link = link.to_string_lossy().into_owned();
                assert!(!namespaces.contains(&link), "{} lives in {link}", process.display());
            }
        }
    }
}

fn processes() -> Vec<PathBuf> {
    let numbered =
        |path: &PathBuf| path.file_name().is_some_and(|name| name.to_string_lossy().parse::<u32>().is_ok());
    std::fs::read_dir("/proc").unwrap().flatten().map(|entry| entry.path()).filter(numbered).collect()
}

#[test]
fn a_new_user_sees_a_node_four_workloads_and_packets() {
    let lab = Lab::new();
    let host_had = Path::new("/etc/cni").exists();
    let text = lab.good(&["up"]);
    assert_eq!(Path::new("/etc/cni").exists(), host_had, "the node's own is not the host's");
    for expected in [
        "node-1: network and mount namespace",
        "Successfully applied 3 'IPPool' resource(s)",
        "w4 attached in",
        "45 packets sent and 45 came back",
        "Successfully applied 2 resource(s)",
        "The same packets afterwards:",
        "ALLOWED: tier default, NetworkPolicy default/lab-w2-from-w1, ingress rule 2",
        "DENIED: tier default, default action",
        "IPv4 ms",
        "IPv6 ms",
        "$ ocicat ipam show --show-blocks",
        "| Block ",
        "$ ocicat get wep -o wide",
        "What to try next:",
    ] {
        assert!(text.contains(expected), "{expected:?} is missing in:\n{text}");
    }
    let first = lab.up(&[]);
    assert_eq!(first["ok"], true);
    assert_eq!(first["packets"].as_array().unwrap().len(), 45);
    let workloads = first["workloads"].as_array().unwrap();
    let mut addresses = BTreeSet::new();
    for workload in workloads {
        let (v4, v6) = (workload["ipv4"].as_str().unwrap(), workload["ipv6"].as_str().unwrap());
        assert!(v4.starts_with("10.0.0.") && v6.starts_with("2001:db8::"), "{v4} {v6}");
        addresses.extend([v4.to_owned(), v6.to_owned()]);
        let id = workload["containerId"].as_str().unwrap();
        assert_eq!(workload["hostInterface"], format!("cali{}", &id[..11]));
    }
    assert_eq!(addresses.len(), 8, "an address is given once");
    assert_eq!(lab.up(&[])["workloads"], first["workloads"], "a second up changes nothing");

    assert_eq!(lab.run(&["status"]).ending, Ending::Exit(0));
    let status: Value = serde_json::from_str(&lab.good(&["status", "--json"])).unwrap();
    assert_eq!(status["phase"], "up");
    assert_eq!(lab.run(&["exec", "w1", "--", "sh", "-c", "exit 7"]).ending, Ending::Exit(7));
    let own = lab.good(&["exec", "w1", "--", "ip", "-br", "addr"]);
    assert!(own.contains(&format!("{}/32", workloads[0]["ipv4"].as_str().unwrap())), "{own}");
    assert_eq!(lab.good(&["exec", "node-1", "--", "cat", "/var/lib/calico/nodename"]), "node-1");
    assert_eq!(lab.good(&["exec", "node-1", "--", "ls", "/var/lib"]), "calico\nocicat\n");
    assert!(lab.good(&["exec", "node-1", "--", "ocicat", "get", "nodes"]).contains("node-1"));
    let neighbours = lab.good(&["exec", "w2", "--", "ip", "neigh"]);
    assert!(neighbours.contains("169.254.1.1 dev eth0 lladdr ee:ee:ee:ee:ee:ee PERMANENT"), "{neighbours}");
    let strange = lab.run(&["exec", "w9", "--", "true"]);
    assert!(strange.stderr.contains("there are node-1, w1, w2, w3, w4"), "{}", strange.stderr);
    let other = lab.run(&["up", "--etcd", "http://127.0.0.1:1"]);
    assert!(other.stderr.contains("`ocicat lab down` first"), "{}", other.stderr);

    let namespaces = lab.namespaces();
    assert_eq!(namespaces.len(), 5);
    lab.good(&["down"]);
    lab.assert_gone(&namespaces);
    assert_eq!(lab.good(&["down"]), "no lab is here\n");
    assert_eq!(lab.run(&["status"]).ending, Ending::Exit(1));
}

#[test]
fn a_lab_killed_at_any_step_leaves_nothing_after_down() {
    let lab = Lab::new();
    for place in PLACES {
        let place = match (place, &lab.given) {
            ("start datastore", Some(_)) => "start etcd-relay-1",
            ("started datastore", Some(_)) => "started etcd-relay-1",
            (place, _) => place,
        };
        lab.aborted_at(place, &["up"]);
        assert!(lab.directory().exists(), "{place:?}");
        let well = lab.run(&["status"]).ending == Ending::Exit(0);
        assert_eq!(well, place == "up", "half a lab is not well: {place:?}");
        lab.good(&["down"]);
        lab.assert_gone(&BTreeSet::new());
    }
}

#[test]
fn a_lab_killed_at_any_moment_leaves_nothing_after_down() {
    let lab = Lab::new();
    for delay in (0..8).map(|n| Duration::from_millis(5 + 35 * n)) {
        let mut child = lab.command(&["up"]).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        std::thread::sleep(delay);
        kill(Pid::from_raw(child.id().cast_signed()), Signal::SIGKILL).unwrap();
        child.wait().unwrap();
        lab.good(&["down"]);
        lab.assert_gone(&BTreeSet::new());
    }
}

#[test]
fn a_down_killed_half_way_is_finished_by_the_next() {
    let lab = Lab::new();
    for place in ["down: datastore left", "down: processes ended"] {
        lab.up(&[]);
        let namespaces = lab.namespaces();
        lab.aborted_at(place, &["down"]);
        assert_eq!(lab.run(&["status"]).ending, Ending::Exit(1));
        lab.good(&["down"]);
        lab.assert_gone(&namespaces);
    }
    lab.up(&[]);
    lab.aborted_at("down: processes ended", &["down"]);
    assert_eq!(lab.up(&[])["ok"], true, "or by the next up");
}

#[test]
fn a_second_up_makes_a_killed_or_damaged_lab_anew() {
    let lab = Lab::new();
    lab.aborted_at("attach w2", &["up"]);
    let text = lab.good(&["up"]);
    assert!(text.contains("taking away what it left"), "{text}");
    assert_eq!(lab.run(&["status"]).ending, Ending::Exit(0));

    kill(first_program(&lab), Signal::SIGKILL).unwrap();
    wait_for("the lab to be unwell", Duration::from_secs(5), || {
        (lab.run(&["status"]).ending == Ending::Exit(1)).then_some(())
    })
    .unwrap();
    assert_eq!(lab.up(&[])["ok"], true);

    lab.good(&["exec", "node-1", "--", "ip", "link", "delete", &host_interface(&lab, 0)]);
    let status = lab.run(&["status"]);
    assert!(
        status.ending == Ending::Exit(1) && status.stdout.contains("link eth0 is missing"),
        "{}",
        status.stdout
    );
    assert_eq!(lab.up(&[])["ok"], true);

    // what it says of a given store is nowhere else
    if lab.given.is_none() {
        std::fs::write(lab.directory().join("state.json"), "{").unwrap();
        assert_eq!(lab.up(&[])["ok"], true, "a damaged state file is no obstacle");
    }
}

fn host_interface(lab: &Lab, number: usize) -> String {
    let text = std::fs::read_to_string(lab.directory().join("state.json")).unwrap();
    let state: Value = serde_json::from_str(&text).unwrap();
    state["workloads"][number]["hostInterface"].as_str().unwrap().to_owned()
}

#[test]
fn down_ends_whatever_lives_in_the_lab_and_nothing_else() {
    let lab = Lab::new();
    lab.up(&[]);
    let namespaces = lab.namespaces();
    let _inside = Background::start(lab.command(&["exec", "w1", "--", "sleep", "1000"])).unwrap();
    let mut foreign = Command::new("nsenter");
    let netns = lab.directory().join("ns/node-1");
    foreign.arg(format!("--net={}", netns.display())).args(["sleep", "1000"]);
    let _foreign = Background::start(foreign).unwrap();
    let mut beside = Background::start({
        let mut command = Command::new("sleep");
        command.arg("1000").env("OCICAT_LAB", "/another/lab");
        command
    })
    .unwrap();
    let node = netns_of(&netns);
    wait_for("the foreign process inside", Duration::from_secs(5), || {
        let inside = |process: &PathBuf| {
            std::fs::read_link(process.join("ns/net")).is_ok_and(|link| link.to_string_lossy() == node)
        };
        processes().iter().any(inside).then_some(())
    })
    .unwrap();
    lab.good(&["down"]);
    lab.assert_gone(&namespaces);
    assert!(beside.ended().is_none(), "another lab's process was killed");
}

fn netns_of(path: &Path) -> String {
    use std::os::unix::fs::MetadataExt;
    format!("net:[{}]", path.metadata().unwrap().ino())
}

#[test]
fn a_given_etcd_is_used_and_left_as_it_was() {
    let data = tempfile::tempdir().unwrap();
    let server = Server::start_anywhere(data.path()).unwrap();
    let url = server.url();
    let lab = Lab::on_its_own_store();
    let result = lab.up(&["--etcd", &url]);
    assert_eq!(result["ok"], true);
    assert!(endpoints(&server.client) == 4);
    lab.good(&["down"]);
    lab.assert_gone(&BTreeSet::new());
    assert_left_as_it_was(&server.client, "down");
    for place in [
        "start etcd-relay-1",
        "what the agents must find",
        "waiting for the agents",
        "pools",
        "attach w1",
        "attached w2",
        "up",
    ] {
        lab.aborted_at(place, &["up", "--etcd", &url]);
        lab.good(&["down"]);
        lab.assert_gone(&BTreeSet::new());
        assert_left_as_it_was(&server.client, place);
    }
    lab.up(&["--etcd", &url]);
    lab.aborted_at("down: datastore left", &["down"]);
    lab.good(&["down"]);
    assert_left_as_it_was(&server.client, "a down that was killed");

    lab.up(&["--etcd", &url]);
    kill(first_program(&lab), Signal::SIGKILL).unwrap();
    lab.good(&["down"]);
    assert_left_as_it_was(&server.client, "a relay that was killed");
}

fn endpoints(client: &Client) -> usize {
    client.snapshot().unwrap().keys().filter(|key| key.contains("/workloadendpoints/")).count()
}

/// Cluster information and tiers are the datastore's own, and stay; so may IPAM's settings.
fn assert_left_as_it_was(client: &Client, after: &str) {
    let left: Vec<String> = client
        .snapshot()
        .unwrap()
        .into_keys()
        .filter(|key| !key.contains("/clusterinformations/") && !key.contains("/tiers/"))
        .collect();
    assert!(left.is_empty(), "after {after}: {left:#?}");
}

#[test]
fn an_etcd_that_cannot_be_used_is_told_in_time() {
    let lab = Lab::new();
    let begin = Instant::now();
    let away = format!("http://{}", free_port().unwrap());
    let output = lab.run(&["up", "--etcd", &away]);
    assert_eq!(output.ending, Ending::Exit(1));
    assert!(
        output.stderr.contains(&format!("etcd at {}", away.trim_start_matches("http://"))),
        "{}",
        output.stderr
    );
    assert!(begin.elapsed() < Duration::from_secs(40));
    lab.good(&["down"]);
    lab.assert_gone(&BTreeSet::new());
    for (bad, says) in [("https://127.0.0.1:2379", "certificate"), ("127.0.0.1:2379", "http://HOST:PORT")] {
        let output = lab.run(&["up", "--etcd", bad]);
        assert!(output.ending == Ending::Exit(1) && output.stderr.contains(says), "{}", output.stderr);
        assert!(!lab.directory().exists());
    }
}

/// Process id of the lab's first program.
fn first_program(lab: &Lab) -> Pid {
    let text = std::fs::read_to_string(lab.directory().join("state.json")).unwrap();
    let state: Value = serde_json::from_str(&text).unwrap();
    Pid::from_raw(state["processes"][0]["pid"].as_i64().unwrap().try_into().unwrap())
}

#[test]
fn a_datastore_that_falls_silent_holds_no_command() {
    let lab = Lab::on_its_own_store();
    lab.up(&[]);
    kill(first_program(&lab), Signal::SIGSTOP).unwrap();
    let status = lab.run(&["status"]);
    assert_eq!(status.ending, Ending::Exit(1));
    assert!(status.stdout.contains("no answer within 2 s"), "{}", status.stdout);
    assert!(status.took < Duration::from_secs(10), "{:?}", status.took);
    let asked = lab.run(&["exec", "node-1", "--", "ocicat", "get", "nodes"]);
    assert!(asked.stderr.contains("no answer within 10.0 s"), "{}", asked.stderr);
    assert_eq!(lab.up(&[])["ok"], true, "up makes it anew");
    kill(first_program(&lab), Signal::SIGSTOP).unwrap();
    lab.good(&["down"]);
    lab.assert_gone(&BTreeSet::new());

    let data = tempfile::tempdir().unwrap();
    let server = Server::start_anywhere(data.path()).unwrap();
    lab.up(&["--etcd", &server.url()]);
    server.process().signal(Signal::SIGSTOP).unwrap();
    let down = lab.run(&["down"]);
    assert_eq!(down.ending, Ending::Exit(0));
    assert!(down.stdout.contains("the datastore is not reached"), "{}", down.stdout);
    assert!(down.took < Duration::from_secs(15), "{:?}", down.took);
    lab.assert_gone(&BTreeSet::new());
    let up = lab.run(&["up", "--etcd", &server.url()]);
    assert_eq!(up.ending, Ending::Exit(1));
    assert!(up.stderr.contains("does not answer (after 20 s: no answer within 2 s)"), "{}", up.stderr);
    lab.good(&["down"]);
    lab.assert_gone(&BTreeSet::new());
}

#[test]
fn a_lab_without_space_left_is_looked_at_and_taken_away() {
    let lab = Lab::on_its_own_store();
    lab.up(&[]);
    let directory = lab.directory();
    // As many files as there are, and no more.
    let there = nix::sys::statvfs::statvfs(&directory).unwrap();
    let options = format!("remount,nr_inodes={}", there.files() - there.files_free());
    tool("mount", &["-o", &options, &directory.display().to_string()]).unwrap();
    assert_eq!(lab.run(&["status"]).ending, Ending::Exit(0));
    let text = lab.good(&["down"]);
    assert!(text.contains("No space left on device") && text.contains("are gone"), "{text}");
    lab.assert_gone(&BTreeSet::new());
}

#[test]
fn two_commands_do_not_change_one_lab_at_a_time() {
    let lab = Lab::new();
    let mut first = lab.command(&["up"]).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    wait_for("the first to begin", UP, || lab.directory().join("state.json").exists().then_some(())).unwrap();
    let second = lab.run(&["down"]);
    let ended = first.wait().unwrap();
    // The first may have ended just before.
    if second.ending == Ending::Exit(1) {
        assert!(second.stderr.contains("another `ocicat lab` command"), "{}", second.stderr);
        assert!(ended.success());
    }
}

#[test]
fn without_the_plugin_beside_it_nothing_is_made() {
    let lab = Lab::new();
    let alone = lab.folder.path().join("ocicat");
    std::fs::copy(programs(Build::Plain).unwrap().join("ocicat"), &alone).unwrap();
    let mut command = Command::new(&alone);
    command.args(["lab", "up"]).env("OCICAT_LAB_DIR", lab.directory());
    let output = run(command, "", UP).unwrap();
    assert_eq!(output.ending, Ending::Exit(1));
    assert!(output.stderr.contains("cargo build -p ocicat-cni-plugin"), "{}", output.stderr);
    assert!(!lab.directory().exists());
}

/// A lab of several nodes: all packets arrive, its status shows its sessions, and it goes without a trace.
fn of_several_nodes(nodes: usize, more: &[&str], shown: &[&str]) {
    let lab = Lab::new();
    let number = nodes.to_string();
    let up = lab.up(&[&["--nodes", &number], more].concat());
    assert_eq!(up["ok"], true);
    // Two workloads a node and the node itself, each to each other, in both families.
    let ends = 3 * nodes;
    assert_eq!(up["packets"].as_array().unwrap().len(), ends * (ends - 1) * 2 + ends);
    assert_eq!(up["policy"]["asPoliciesSay"], true, "{up:#}");
    let crossing = |probe: &&Value| probe["from"] == "w1" && probe["to"] == format!("w{}", 2 * nodes);
    assert_eq!(up["packets"].as_array().unwrap().iter().filter(crossing).count(), 2);
    let status = lab.run(&["status"]);
    assert_eq!(status.ending, Ending::Exit(0), "{}", status.stdout);
    for expected in shown {
        assert!(status.stdout.contains(expected), "{expected:?} is missing in:\n{}", status.stdout);
    }
    let routes = lab.good(&["exec", "node-1", "--", "ip", "route", "show", "proto", "81"]);
    assert_eq!(routes.lines().count(), nodes, "a block of its own and one of each other: {routes}");
    assert!(routes.contains("blackhole 10.0.0."), "{routes}");
    let refused = lab.run(&["up"]);
    assert!(refused.stderr.contains("`ocicat lab down` first"), "{}", refused.stderr);
    let namespaces = lab.namespaces();
    lab.good(&["down"]);
    lab.assert_gone(&namespaces);
}

#[test]
fn three_nodes_on_a_segment_reach_each_other() {
    of_several_nodes(3, &[], &["BGP: 4 of 4 sessions up"]);
}

#[test]
fn four_nodes_around_a_router_with_an_as_each_reach_each_other() {
    of_several_nodes(4, &["--fabric", "routed"], &["BGP: 2 of 2 sessions up", "BGP: 8 of 8 sessions up"]);
}

#[test]
fn four_nodes_around_a_reflector_reach_each_other() {
    of_several_nodes(4, &["--fabric", "reflector"], &["BGP: 8 of 8 sessions up"]);
}

#[test]
fn four_nodes_of_one_as_around_a_router_of_another_reach_each_other() {
    of_several_nodes(4, &["--fabric", "same-as"], &["BGP: 8 of 8 sessions up"]);
}

#[test]
fn a_speaker_that_dies_is_seen() {
    let lab = Lab::new();
    lab.up(&["--nodes", "2"]);
    let text = std::fs::read_to_string(lab.directory().join("state.json")).unwrap();
    let state: Value = serde_json::from_str(&text).unwrap();
    let speaker =
        state["processes"].as_array().unwrap().iter().find(|p| p["name"] == "agent-node-2").unwrap();
    kill(Pid::from_raw(speaker["pid"].as_i64().unwrap().try_into().unwrap()), Signal::SIGKILL).unwrap();
    wait_for("the lab to be unwell", Duration::from_secs(10), || {
        let status = lab.run(&["status"]);
        (status.ending == Ending::Exit(1) && status.stdout.contains("sessions are down")).then_some(())
    })
    .unwrap();
    lab.good(&["down"]);
    lab.assert_gone(&BTreeSet::new());
}

#[test]
fn a_fabric_with_a_router_uses_a_given_etcd_unless_others_have_a_mesh_there() {
    let data = tempfile::tempdir().unwrap();
    let server = Server::start_anywhere(data.path()).unwrap();
    let url = server.url();
    let wanted = ["--nodes", "2", "--fabric", "routed", "--etcd", url.as_str()];
    let lab = Lab::on_its_own_store();
    let result = lab.up(&wanted);
    assert_eq!(result["ok"], true);
    assert!(server.client.snapshot().unwrap().keys().any(|key| key.contains("/bgppeers/node-1-to-router")));
    lab.good(&["down"]);
    lab.assert_gone(&BTreeSet::new());
    assert_left_as_it_was(&server.client, "a fabric with a router");
    // Another cluster's, whose nodes have Calico's default.
    let key = "/calico/resources/v3/projectcalico.org/bgpconfigurations/default";
    let value = r#"{"kind":"BGPConfiguration","apiVersion":"projectcalico.org/v3","metadata":{"name":"default"},"spec":{}}"#;
    server.client.put(key, value).unwrap();
    let up = lab.run(&[&["up"][..], &wanted].concat());
    assert!(up.stderr.contains("BGPConfiguration default"), "{}", up.stderr);
    lab.good(&["down"]);
    let left = server.client.snapshot().unwrap();
    assert!(left.contains_key(key), "what is another's stays");
    assert!(!left.keys().any(|key| key.contains("/bgppeers/")));
}
