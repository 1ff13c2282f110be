//! `ocicat bgpd` as its users have it: several of them on one segment, fed from a directory of Calico's resources.

use nix::sys::signal::Signal;
use ocicat_tests::binaries::{Build, programs};
use ocicat_tests::probe::{Echo, Probe};
use ocicat_tests::process::{Background, Output, run, tool, wait_for};
use ocicat_tests::sandbox;
use serde_json::Value;
use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

/// How long sessions and routes may take: Calico's wait of two seconds before a connection, five before another.
const CONVERGENCE: Duration = Duration::from_secs(60);
/// Longest time of one question.
const ANSWER: Duration = Duration::from_secs(20);

/// Nodes on one bridge, each with a speaker: node 0 to `nodes` − 1, at 192.0.2.10 + number, with a block each. Lives
/// within a sandbox.
struct Segment {
    folder: tempfile::TempDir,
    speakers: Vec<Option<Background>>,
}

fn name(number: usize) -> String {
    format!("n{number}")
}

fn address(number: usize) -> String {
    format!("192.0.2.{}", 10 + number)
}

fn block(number: usize) -> String {
    format!("10.66.{number}.0/26")
}

/// An address in the node's block that answers.
fn inside(number: usize) -> String {
    format!("10.66.{number}.1")
}

fn ip(line: &str) {
    let words: Vec<&str> = line.split(' ').collect();
    tool("ip", &words).unwrap();
}

fn ip_in(number: usize, line: &str) -> String {
    let name = name(number);
    let words: Vec<&str> = ["-n", &name].into_iter().chain(line.split(' ')).collect();
    tool("ip", &words).unwrap()
}

impl Segment {
    fn new(nodes: usize) -> Self {
        let folder = tempfile::tempdir_in("/run").unwrap();
        ip("link add br0 type bridge");
        ip("link set br0 up");
        for number in 0..nodes {
            let name = name(number);
            sandbox::add_netns(&name).unwrap();
            ip(&format!("link add to-{name} type veth peer name eth0 netns {name}"));
            ip(&format!("link set to-{name} master br0 up"));
            ip_in(number, "link set eth0 up");
            ip_in(number, &format!("addr add {}/24 dev eth0", address(number)));
            ip_in(number, &format!("addr add {}/32 dev lo", inside(number)));
        }
        let segment = Self { folder, speakers: (0..nodes).map(|_| None).collect() };
        fs::create_dir(segment.resources()).unwrap();
        segment.write("00-pool.yaml", POOL);
        for number in 0..nodes {
            segment.write(&format!("10-{}.yaml", name(number)), &node(number));
        }
        segment
    }

    fn resources(&self) -> PathBuf {
        self.folder.path().join("resources")
    }

    fn write(&self, file: &str, text: &str) {
        fs::write(self.resources().join(file), text).unwrap();
    }

    fn socket(&self, number: usize) -> PathBuf {
        self.folder.path().join(format!("{}.sock", name(number)))
    }

    fn log(&self, number: usize) -> PathBuf {
        self.folder.path().join(format!("{}.log", name(number)))
    }

    fn ocicat(&self, number: usize) -> Command {
        let mut command = Command::new("ip");
        command.args(["netns", "exec", &name(number)]);
        command.arg(programs(Build::Plain).unwrap_or(Path::new("/opt/cni/bin")).join("ocicat"));
        command
    }

    fn start(&mut self, number: usize, more: &[&str]) {
        let mut command = self.ocicat(number);
        command.args(["bgpd", "--node", &name(number), "--resources"]).arg(self.resources());
        command.arg("--socket").arg(self.socket(number)).args(more);
        self.speakers[number] = Some(Background::start_logging(command, &self.log(number)).unwrap());
    }

    fn start_all(&mut self) {
        for number in 0..self.speakers.len() {
            self.start(number, &[]);
        }
    }

    /// As a crash ends it.
    fn kill(&mut self, number: usize) {
        let mut speaker = self.speakers[number].take().unwrap();
        speaker.signal(Signal::SIGKILL).unwrap();
        wait_for("the speaker's end", ANSWER, || speaker.ended()).unwrap();
    }

    fn ask(&self, number: usize, words: &[&str]) -> Output {
        let mut command = self.ocicat(number);
        command.args(words).arg("--socket").arg(self.socket(number));
        run(command, "", ANSWER).unwrap()
    }

    fn told(&self, number: usize, words: &[&str]) -> String {
        self.ask(number, words).expect_ok(&format!("{words:?} at {}", name(number))).unwrap()
    }

    fn json(&self, number: usize, words: &[&str]) -> Option<Value> {
        let output = self.ask(number, &[words, &["-o", "json"]].concat());
        output.ok().then(|| serde_json::from_str(&output.stdout).unwrap())
    }

    /// Sessions that are up.
    fn established(&self, number: usize) -> usize {
        let peers = self.json(number, &["bgp", "peers"]);
        let up = |peer: &&Value| peer["state"] == "Established";
        peers.iter().flat_map(|peers| peers.as_array().unwrap()).filter(up).count()
    }

    /// Routes of ours in the node's kernel, without what iproute2 adds to them.
    fn kernel(&self, number: usize) -> Vec<String> {
        let text = ip_in(number, "route show proto 81");
        text.lines().map(|line| line.trim().to_owned()).collect()
    }

    fn wait(&self, what: &str, mut holds: impl FnMut(&Self) -> bool) {
        let waited = wait_for(what, CONVERGENCE, || holds(self).then_some(()));
        if let Err(error) = waited {
            let logs: String = (0..self.speakers.len())
                .map(|number| {
                    format!(
                        "== {}\n{}",
                        name(number),
                        fs::read_to_string(self.log(number)).unwrap_or_default()
                    )
                })
                .collect();
            panic!("{error:#}\n{logs}");
        }
    }

    fn wait_for_mesh(&self) {
        let all = self.speakers.len();
        self.wait("every node has the blocks of all others", |segment| {
            (0..all).all(|number| {
                let kernel = segment.kernel(number);
                let has = |other| {
                    let expected = format!("{} via {} dev eth0", block(other), address(other));
                    kernel.iter().any(|route| route.starts_with(&expected))
                };
                segment.established(number) == all - 1 && (0..all).filter(|other| *other != number).all(has)
            })
        });
    }
}

const POOL: &str = "apiVersion: projectcalico.org/v3
kind: IPPool
metadata: {name: pool}
spec: {cidr: 10.66.0.0/16, blockSize: 26}
";

fn node(number: usize) -> String {
    format!(
        "apiVersion: projectcalico.org/v3
kind: Node
metadata: {{name: {name}}}
spec: {{bgp: {{ipv4Address: {address}/24}}}}
---
apiVersion: projectcalico.org/v3
kind: BlockAffinity
metadata: {{name: {name}-block}}
spec: {{state: confirmed, node: {name}, cidr: {block}, deleted: false}}
",
        name = name(number),
        address = address(number),
        block = block(number)
    )
}

fn on_a_segment(nodes: usize, test: impl FnOnce(&mut Segment) + Send) {
    let programs = programs(Build::Plain).unwrap();
    sandbox::within("speaker", programs, || {
        test(&mut Segment::new(nodes));
        Ok(())
    })
    .unwrap();
}

/// The command of a program in a node's namespace.
fn within(number: usize, words: &[&str]) -> Command {
    let mut command = Command::new("ip");
    command.args(["netns", "exec", &name(number)]).args(words);
    command
}

#[test]
fn a_killed_speaker_comes_back_without_a_packet_lost_or_a_route_changed() {
    on_a_segment(4, |segment| {
        segment.start_all();
        segment.wait_for_mesh();
        let monitors: Vec<PathBuf> =
            (0..4).map(|n| segment.folder.path().join(format!("monitor-{n}"))).collect();
        let watching: Vec<Background> = monitors
            .iter()
            .enumerate()
            .map(|(n, log)| Background::start_logging(within(n, &["ip", "monitor", "route"]), log).unwrap())
            .collect();
        // Into the block of the one that is killed, out of it, and past it.
        let pairs = [(1, 0), (0, 2), (2, 3)];
        let before: Vec<Vec<String>> = (0..4).map(|number| segment.kernel(number)).collect();
        let echoes: Vec<Echo> = pairs
            .iter()
            .map(|(_, to)| {
                let target: SocketAddr = format!("{}:7000", inside(*to)).parse().unwrap();
                sandbox::in_netns(&name(*to), || Echo::start(target)).unwrap().unwrap()
            })
            .collect();
        let probes: Vec<Probe> = pairs
            .iter()
            .zip(&echoes)
            .map(|((from, _), echo)| {
                sandbox::in_netns(&name(*from), || Probe::start(echo.address())).unwrap().unwrap()
            })
            .collect();
        std::thread::sleep(Duration::from_millis(200));
        segment.kill(0);
        std::thread::sleep(Duration::from_millis(300));
        segment.start(0, &[]);
        segment.wait("the restart is over", |segment| {
            segment.established(0) == 3
                && segment.json(0, &["bgp", "status"]).is_some_and(|status| status["restarting"] == false)
        });
        std::thread::sleep(Duration::from_millis(500));
        let after: Vec<Vec<String>> = (0..4).map(|number| segment.kernel(number)).collect();
        assert_eq!(after, before);
        let losses: Vec<_> = probes.into_iter().map(|probe| probe.finish().unwrap()).collect();
        // Those who watched did so to the end: the first change they tell of is ours.
        for (number, log) in monitors.iter().enumerate() {
            ip_in(number, "route add 203.0.113.0/24 dev lo");
            let told = wait_for("the monitor's word", ANSWER, || {
                fs::read_to_string(log).ok().filter(|told| told.contains("203.0.113.0/24"))
            });
            assert_eq!(told.unwrap().lines().count(), 1, "route changes at n{number}");
        }
        drop(watching);
        for (losses, (from, to)) in losses.into_iter().zip(pairs) {
            assert!(losses.sent > 1000, "{losses:?}");
            assert_eq!(losses.lost(), 0, "from n{from} to n{to}: {losses:?}");
        }
    });
}

#[test]
fn what_nobody_confirms_after_a_restart_goes() {
    on_a_segment(2, |segment| {
        segment.start_all();
        segment.wait_for_mesh();
        segment.kill(0);
        // A block goes while the speaker is away, and a route under our number that nobody ever announced.
        segment.write("10-n1.yaml", &node(1).replace("10.66.1.0/26", "10.66.7.0/26"));
        ip_in(0, "route add 10.66.9.0/26 via 192.0.2.11 dev eth0 proto 81 metric 1024");
        segment.start(0, &[]);
        segment.wait("the old block is gone and the new one there", |segment| {
            let kernel = segment.kernel(0);
            let has = |to: &str| kernel.iter().any(|route| route.starts_with(to));
            has("10.66.7.0/26 via")
                && !has("10.66.1.0/26")
                && !has("10.66.9.0/26")
                && has("blackhole 10.66.0.0/26")
        });
    });
}

#[test]
fn resources_are_followed_and_a_bad_file_keeps_what_was_good() {
    on_a_segment(2, |segment| {
        segment.start_all();
        segment.wait_for_mesh();

        segment.write(
            "20-bad.yaml",
            "apiVersion: projectcalico.org/v3\nkind: BGPPeer\nmetadata: {name: x}\nspec: {peerIPP: 1}\n",
        );
        segment.wait("the bad file is reported", |segment| {
            let status = segment.told(0, &["bgp", "status"]);
            status.contains("20-bad.yaml") && status.contains("peerIPP")
        });
        segment.write("10-n1.yaml", "{ this is no YAML");
        segment.wait("the file that went bad is reported", |segment| {
            segment.told(0, &["bgp", "status"]).contains("10-n1.yaml")
        });
        assert_eq!(segment.established(0), 1, "its last good state stays in force");

        fs::remove_file(segment.resources().join("20-bad.yaml")).unwrap();
        segment.write("10-n1.yaml", &node(1));
        // A filter of a peer that is not there touches nobody; a filter of the session is told by its name.
        segment.write(
            "30-filter.yaml",
            "apiVersion: projectcalico.org/v3
kind: BGPFilter
metadata: {name: keep-out}
spec: {importV4: [{cidr: 10.66.1.0/24, matchOperator: In, action: Reject}]}
---
apiVersion: projectcalico.org/v3
kind: BGPPeer
metadata: {name: to-n1}
spec: {node: n0, peerIP: 192.0.2.11, asNumber: 64512, filters: [keep-out]}
",
        );
        segment.wait("the block is filtered", |segment| {
            !segment.kernel(0).iter().any(|route| route.starts_with(&block(1)))
        });
        let explained = segment.told(0, &["bgp", "explain", "10.66.1.5"]);
        assert!(
            explained.contains("10.66.1.0/26")
                && explained.contains("filtered on import, by rule \"BGPFilter keep-out"),
            "{explained}"
        );
        fs::remove_file(segment.resources().join("30-filter.yaml")).unwrap();
        segment.wait_for_mesh();
        let explained = segment.told(0, &["bgp", "explain", "10.66.1.0/26"]);
        assert!(
            explained.contains("best") && explained.contains("kernel: via 192.0.2.11 dev eth0 metric 1024"),
            "{explained}"
        );
        let none = segment.ask(0, &["bgp", "explain", "10.99.0.0/16"]);
        assert!(!none.ok() && none.stderr.contains("no route to 10.99.0.0/16"), "{none:?}");
    });
}

#[test]
fn without_a_fib_nothing_is_put_into_the_kernel_and_everything_is_told() {
    on_a_segment(2, |segment| {
        segment.start(0, &["--no-fib"]);
        segment.start(1, &[]);
        segment.wait("the routes are known", |segment| {
            let routes = segment.json(0, &["bgp", "routes"]);
            routes.is_some_and(|routes| {
                routes.as_array().unwrap().iter().any(|route| route["prefix"] == block(1))
            })
        });
        assert_eq!(segment.kernel(0), Vec::<String>::new());
        segment.wait("its block is told to the other", |segment| {
            segment.kernel(1).iter().any(|route| route.starts_with(&block(0)))
        });
        assert!(segment.told(0, &["bgp", "explain", &block(1)]).contains("--no-fib"));
    });
}

#[test]
fn node_status_is_calicos_table() {
    on_a_segment(2, |segment| {
        segment.start_all();
        segment.wait_for_mesh();
        let text = segment.told(0, &["node", "status"]);
        let row = text.lines().find(|line| line.contains("192.0.2.11")).expect("a row");
        assert!(row.contains("| node-to-node mesh | up    | ") && row.contains("| Established |"), "{text}");
        assert!(text.starts_with("Calico process is running.\n\nIPv4 BGP status\n"), "{text}");
        assert!(text.contains("No IPv6 peers found."), "{text}");
        let metrics = segment.told(0, &["bgp", "metrics"]);
        assert!(metrics.contains("\nbgpd_sessions_established 1\n"), "{metrics}");
        let value = segment.json(0, &["node", "status"]).unwrap();
        assert_eq!(value["ipv4"]["peers"][0]["state"], "up");
        // A route the kernel learns from another program is told, borrowed address or not.
        ip_in(1, "route add 10.66.200.5/32 dev lo proto boot");
        segment.wait("the alien route arrives", |segment| {
            segment.kernel(0).iter().any(|route| route.starts_with("10.66.200.5 via 192.0.2.11"))
        });
        ip_in(1, "route del 10.66.200.5/32 dev lo");
        segment.wait("and goes", |segment| {
            !segment.kernel(0).iter().any(|route| route.starts_with("10.66.200.5"))
        });
    });
}

#[test]
fn what_cannot_work_is_told_at_once() {
    on_a_segment(1, |segment| {
        let mut command = segment.ocicat(0);
        command.args(["bgpd", "--node", "n0", "--resources", "/no/such/directory"]);
        let output = run(command, "", ANSWER).unwrap();
        assert!(!output.ok() && output.stderr.contains("/no/such/directory"), "{output:?}");
        segment.start(0, &[]);
        segment.wait("it answers", |segment| segment.ask(0, &["bgp", "status"]).ok());
        let mut second = segment.ocicat(0);
        second.args(["bgpd", "--node", "n0", "--resources"]).arg(segment.resources());
        second.arg("--socket").arg(segment.socket(0));
        let output = run(second, "", ANSWER).unwrap();
        assert!(!output.ok() && output.stderr.contains("another process is listening"), "{output:?}");
        let away = segment.ask(0, &["bgp", "explain", "nonsense"]);
        assert!(!away.ok() && away.stderr.contains("is no prefix"), "{away:?}");
    });
}
