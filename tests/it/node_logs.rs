//! What the agent says: its health over HTTP with reasons, its log as JSON, and no secret anywhere.

use anyhow::{Context, Result};
use nix::sys::signal::Signal;
use ocicat_tests::binaries::{Build, programs};
use ocicat_tests::etcd::{Server, Store};
use ocicat_tests::node::{Call, Container, NAME, Node, PLUGINS};
use ocicat_tests::process::{Background, run, tool, wait_for};
use ocicat_tests::sandbox;
use serde_json::{Value, json};
use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::Command;
use std::time::Duration;

const PATIENCE: Duration = Duration::from_secs(40);
const LOG: &str = "/run/agent.log";
/// Words that nobody may find.
const SECRETS: [&str; 3] = ["etcd-pass-4711", "bgp-pass-4711", "cni-token-4711"];

fn said() -> String {
    fs::read_to_string(LOG).unwrap_or_default()
}

fn wait<T>(what: &str, look: impl FnMut() -> Option<T>) -> T {
    wait_for(what, PATIENCE, look).unwrap_or_else(|error| panic!("{error}\n{}", said()))
}

fn within(work: impl FnOnce() -> Result<()> + Send) {
    sandbox::within(NAME, programs(Build::Plain).unwrap(), || {
        for line in
            ["link add eth0 type veth peer name far", "addr add 192.0.2.11/24 dev eth0", "link set eth0 up"]
        {
            tool("ip", &line.split(' ').collect::<Vec<_>>())?;
        }
        work()
    })
    .unwrap();
}

fn agent(arguments: &[&str], environment: &[(&str, &str)]) -> Result<Background> {
    let mut command = Command::new(Path::new(PLUGINS).join("ocicat"));
    command.args(["node", "run", "--name", NAME]).args(arguments);
    command.env_clear().env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin").envs(environment.iter().copied());
    Background::start_logging(command, Path::new(LOG))
}

/// A page: its code, and its lines.
fn get(page: &str) -> Option<(u16, String)> {
    let address = SocketAddr::from(([127, 0, 0, 1], 9099));
    let mut stream = TcpStream::connect_timeout(&address, Duration::from_secs(1)).ok()?;
    stream.set_read_timeout(Some(Duration::from_secs(5))).ok()?;
    write!(stream, "GET {page} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).ok()?;
    let (head, body) = answer.split_once("\r\n\r\n")?;
    Some((head.split(' ').nth(1)?.parse().ok()?, body.to_owned()))
}

#[test]
fn health_of_every_part_with_its_reason_and_a_log_of_objects() {
    within(|| {
        fs::write("/run/node.env", "OCICAT_LOG_FORMAT=json\nETCD_ENDPOINTS=http://127.0.0.1:2379\n")?;
        let environment = [("FELIX_HEALTHENABLED", "true"), ("FELIX_HEALTHHOST", "127.0.0.1")];
        let mut agent = agent(&["--file", "/run/node.env"], &environment)?;
        // without a datastore it lives, and says what it waits for
        let (code, lines) = wait("not ready", || {
            get("/readiness").filter(|(_, lines)| {
                // policy twice, and the speaker
                lines.matches("the datastore has not been read yet").count() == 3
            })
        });
        assert_eq!(code, 503, "{lines}");
        let line = |lines: &str, part: &str| {
            let found = lines.lines().find(|line| line.split('\t').next() == Some(part));
            found.unwrap_or_else(|| panic!("no {part}: {lines}")).to_owned()
        };
        assert!(
            line(&lines, "CalculationGraph").contains("not ready\tthe datastore has not been read yet"),
            "{lines}"
        );
        assert_eq!(line(&lines, "node"), "node\tlive\tnot ready\tthe node is not registered yet");
        assert_eq!(line(&lines, "part cni"), "part cni\tlive\tready\t");
        wait("it lives", || get("/liveness").filter(|(code, _)| *code == 200));

        let page = |arguments: &[&str]| -> Result<String> {
            let mut command = Command::new(Path::new(PLUGINS).join("ocicat"));
            command.args(arguments);
            run(command, "", PATIENCE)?.expect_ok("ocicat status")
        };
        let text = page(&["status"])?;
        let store = text.lines().find(|line| line.starts_with("store:")).context("the store")?;
        assert!(store.contains("away for") && store.contains("nothing of it is known yet"), "{text}");

        let node = Node::start()?;
        wait("ready", || get("/readiness").filter(|(code, _)| *code == 200));
        let value: Value = wait("the page", || {
            let value: Value = serde_json::from_str(&page(&["status", "--json"]).ok()?).ok()?;
            (value["store"]["reachable"] == true && value["ready"] == true).then_some(value)
        });
        assert_eq!((&value["node"], &value["dataplane"]["backend"]), (&json!(NAME), &json!("nftables")));
        assert!(value["store"]["revision"].as_i64().is_some_and(|revision| revision > 0), "{value}");
        assert!(value["parts"].as_array().is_some_and(|parts| parts.len() >= 6), "{value}");
        let text = page(&["status"])?;
        for word in
            ["etcd, answers for", "BGP, AS 64512", "part bgpd", "enforces:", "no sessions are configured"]
        {
            assert!(text.contains(word), "{word}: {text}");
        }
        // the store goes away: told, with what stays in force
        drop(node);
        wait("the store is away", || {
            page(&["status"])
                .ok()
                .filter(|text| text.contains("etcd, away for") && text.contains("stays in force"))
        });
        agent.signal(Signal::SIGTERM)?;
        wait("its end", || agent.ended());
        let log = said();
        assert!(log.lines().count() > 5, "{log}");
        for line in log.lines() {
            let object: Value = serde_json::from_str(line).with_context(|| line.to_owned())?;
            assert!(object["level"].is_string() && object["timestamp"].is_string(), "{line}");
        }
        Ok(())
    });
}

#[test]
fn a_shape_that_does_not_exist_is_refused() {
    within(|| {
        let mut agent = agent(&[], &[("OCICAT_LOG_FORMAT", "xml")])?;
        wait("its end", || agent.ended());
        assert!(
            said().contains("OCICAT_LOG_FORMAT: unknown shape of a log: xml; use text or json"),
            "{}",
            said()
        );
        Ok(())
    });
}

/// Right ones and wrong ones, in what is understood and in what is not: nothing of them is in the log, however much is said.
#[test]
fn no_secret_is_ever_logged() {
    within(|| {
        fs::create_dir_all("/run/etcd")?;
        fs::write("/run/users", "ocicat:etcd-pass-4711\n")?;
        let server = Server::start_as(
            Store::Embedded,
            Path::new("/run/etcd"),
            SocketAddr::from(([127, 0, 0, 1], 2379)),
            "http",
            &["--users=/run/users".to_owned()],
        )?;
        let url = server.url();
        let secrets = "/run/secrets";
        fs::create_dir_all(format!("{secrets}/peers"))?;
        fs::write(format!("{secrets}/peers/far"), "bgp-pass-4711")?;
        let connection =
            [("ETCD_ENDPOINTS", url.as_str()), ("ETCD_USERNAME", "ocicat"), ("ETCD_PASSWORD", SECRETS[0])];
        let ocicat = |arguments: &[&str], input: &str| {
            let mut command = Command::new(Path::new(PLUGINS).join("ocicat"));
            command.args(arguments).envs(connection);
            run(command, input, PATIENCE)?.expect_ok("ocicat")
        };
        let arguments = ["--log-level", "debug", "--secrets", secrets];
        // first one that is not let in
        let wrong = [connection[0], connection[1], ("ETCD_PASSWORD", "etcd-pass-4711-wrong")];
        let refused = agent(&arguments, &wrong)?;
        wait("it is refused", || said().contains("the node is not registered yet").then_some(()));
        refused.signal(Signal::SIGTERM)?;
        drop(refused);

        let agent = agent(&arguments, &connection)?;
        wait("the agent", || {
            let status: Value = serde_json::from_str(&ocicat(&["status", "--json"], "").ok()?).ok()?;
            (status["ready"] == true).then_some(())
        });
        for (name, key) in [("far", "far"), ("none", "missing")] {
            ocicat(
                &["apply", "-f", "-"],
                &format!(
                    "{{apiVersion: projectcalico.org/v3, kind: BGPPeer, metadata: {{name: {name}}}, spec: {{peerIP: \
                     192.0.2.99, asNumber: 64512, password: {{secretKeyRef: {{name: peers, key: {key}}}}}}}}}"
                ),
            )?;
        }
        wait("the speaker has it", || {
            ocicat(&["bgp", "peers"], "").ok()?.contains("192.0.2.99").then_some(())
        });

        let container = Container::start("pod1")?;
        let configuration = |policy: Value| {
            json!({
                "cniVersion": "1.0.0", "name": "net-a", "type": "calico", "etcd_endpoints": url, "log_level": "debug",
                "ipam": {"type": "calico-ipam"}, "policy": policy,
            })
            .to_string()
        };
        let token = SECRETS[2];
        let inputs = [
            configuration(json!({"type": "k8s", "k8s_auth_token": token})),
            configuration(json!({"k8s_auth_token": token})),
            configuration(json!({"k8s_auth_token": [token]})),
            configuration(json!({"k8s_auth_token": {"a": token}})),
            configuration(json!(token)),
            format!("{{\"name\": \"net-a\", \"policy\": {{\"k8s_auth_token\": \"{token}\""),
            format!("{{\"name\": \"net-a\", \"etcd_password\": \"{}\" \"x\"}}", SECRETS[0]),
        ];
        for input in &inputs {
            for verb in ["ADD", "DEL"] {
                // whatever comes of it, it is the agent that was asked
                Call { stdin: input.clone(), ..Call::new(verb, &container, &Value::Null) }.run()?;
            }
        }
        agent.signal(Signal::SIGTERM)?;
        drop(agent);
        let log = said();
        for word in ["verb=\"ADD\"", "DEBUG", "192.0.2.99"] {
            assert!(log.contains(word), "{word} is missing, so nothing was tried: {log}");
        }
        let mut files = vec![LOG.to_owned()];
        files.extend(
            fs::read_dir("/var/log/calico/cni")
                .into_iter()
                .flatten()
                .flatten()
                .map(|file| file.path().display().to_string()),
        );
        for file in files {
            for line in fs::read_to_string(&file)?.lines() {
                assert!(!SECRETS.iter().any(|secret| line.contains(secret)), "{file}: {line}");
            }
        }
        Ok(())
    });
}
