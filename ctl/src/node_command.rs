//! `node status`: Calico's table of sessions, from our speaker or from a BIRD, whichever runs on this node; `node run`.
//! Source: `calicoctl.md` §7 and `bgp.md` §13 of the contract.

mod bird;
pub mod run;

use crate::cli::{Global, NodeCommand};
use crate::io::{Failure, Io};
use crate::print::grid::{Align, grid};
use crate::session;
use bgpd::client::Client;
use bgpd::proto::Peer;
use jiff::Timestamp;
use serde_json::{Value, json};
use std::net::IpAddr;
use std::path::Path;

/// Since when, if it is not of today.
const DATE: &str = "%Y-%m-%d";
const TIME: &str = "%H:%M:%S";
/// A time of day is told for so long, as BIRD does.
const A_DAY: i64 = 20 * 3600;

/// One session as the table has it.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Row {
    address: String,
    kind: String,
    state: String,
    since: String,
    info: String,
}

/// What there is to tell of a family.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Sessions {
    Rows(Vec<Row>),
    /// Nothing speaks BGP in this family.
    NotRunning,
    /// Something does, and does not answer.
    Unreadable(String),
}

/// Answers a command.
///
/// # Errors
/// Not root; no agent runs on this node.
pub async fn run(
    command: &NodeCommand,
    global: &Global,
    env: session::Environment<'_>,
    io: &mut Io,
) -> Result<(), Failure> {
    match command {
        NodeCommand::Status { socket, output } => status(socket, output, io).await,
        NodeCommand::Run(args) => run::explain(args, global, env, io).await,
        NodeCommand::Unknown(_) => Ok(()),
    }
}

async fn status(socket: &Path, output: &str, io: &mut Io) -> Result<(), Failure> {
    if !nix::unistd::geteuid().is_root() {
        return Err(Failure::OnStdout("Need super user privileges: Operation not permitted".to_owned()));
    }
    let own = match Client::dial(socket).await {
        Ok(mut client) => Some(client.peers().await.map_err(|error| Failure::Message(error.to_string()))?),
        Err(_) => None,
    };
    if own.is_none() && !agent_runs() {
        return Err(Failure::message("Calico process is not running."));
    }
    let of = |v6: bool| match &own {
        Some(peers) => Sessions::Rows(rows(peers, v6, Timestamp::now())),
        None => bird::sessions(v6),
    };
    let families = [(4, of(false)), (6, of(true))];
    io.answer(output, || as_json(&families), || as_text(&families))
}

/// Whether a process is Calico's agent, as calicoctl recognises it.
fn agent_runs() -> bool {
    let of = |entry: std::fs::DirEntry| std::fs::read(entry.path().join("cmdline")).unwrap_or_default();
    std::fs::read_dir("/proc").into_iter().flatten().flatten().map(of).any(|line| is_agent(&line))
}

fn is_agent(command_line: &[u8]) -> bool {
    let mut words = command_line.split(|byte| *byte == 0).map(String::from_utf8_lossy);
    let (program, first) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
    program == "calico-felix" || program == "calico-node" || first == "-felix"
}

/// The rows of one family of our own speaker. Sessions with workloads are not among them, as with BIRD.
fn rows(peers: &[Peer], v6: bool, now: Timestamp) -> Vec<Row> {
    let of_family =
        |peer: &&Peer| peer.address.parse::<IpAddr>().is_ok_and(|address| address.is_ipv6() == v6);
    let row = |peer: &Peer| {
        let up = peer.state == "Established";
        let info = [peer.state.as_str(), peer.last_end.as_str()].join(" ");
        Row {
            address: peer.address.clone(),
            kind: peer.r#type.clone(),
            state: if up { "up" } else { "start" }.to_owned(),
            since: since(now, peer.since_ms),
            info: if up { peer.state.clone() } else { info.trim().to_owned() },
        }
    };
    peers.iter().filter(of_family).filter(|peer| peer.r#type != "local workload").map(row).collect()
}

/// When something was, so long ago: a time, or a date when it is long ago. In UTC, as servers' clocks run.
fn since(now: Timestamp, ago_ms: u64) -> String {
    let ago = i64::try_from(ago_ms).unwrap_or(i64::MAX);
    let then =
        Timestamp::from_millisecond(now.as_millisecond().saturating_sub(ago)).unwrap_or(Timestamp::MIN);
    then.strftime(if ago / 1000 < A_DAY { TIME } else { DATE }).to_string()
}

fn as_text(families: &[(u8, Sessions)]) -> String {
    let mut text = "Calico process is running.\n".to_owned();
    for (family, sessions) in families {
        match sessions {
            Sessions::NotRunning => {
                let daemon = if *family == 6 { "bird6" } else { "bird" };
                text.push_str(&format!("\nINFO: BIRDv{family} process: '{daemon}' is not running.\n"));
            }
            Sessions::Unreadable(reason) => {
                text.push_str(&format!("\nIPv{family} BGP status\nError querying BIRD: {reason}\n"));
            }
            Sessions::Rows(rows) => {
                text.push_str(&format!("\nIPv{family} BGP status\n"));
                match rows.is_empty() {
                    true => text.push_str(&format!("No IPv{family} peers found.\n")),
                    false => text.push_str(&table(rows)),
                }
            }
        }
    }
    if families.iter().all(|(_, sessions)| *sessions == Sessions::NotRunning) {
        text.push_str("\nThe BGP backend process (BIRD) is not running.\n");
    }
    text.push('\n');
    text
}

fn table(rows: &[Row]) -> String {
    let headings =
        ["PEER ADDRESS", "PEER TYPE", "STATE", "SINCE", "INFO"].map(|heading| (heading, Align::Left));
    let cells = |row: &Row| {
        let Row { address, kind, state, since, info } = row.clone();
        vec![address, kind, state, since, info]
    };
    grid(&headings, &rows.iter().map(cells).collect::<Vec<_>>())
}

fn as_json(families: &[(u8, Sessions)]) -> Value {
    let one = |sessions: &Sessions| match sessions {
        Sessions::NotRunning => json!({"running": false}),
        Sessions::Unreadable(reason) => json!({"running": true, "error": reason}),
        Sessions::Rows(rows) => {
            let row = |row: &Row| {
                json!({
                    "peerAddress": row.address,
                    "peerType": row.kind,
                    "state": row.state,
                    "since": row.since,
                    "info": row.info,
                })
            };
            json!({"running": true, "peers": rows.iter().map(row).collect::<Vec<_>>()})
        }
    };
    families.iter().map(|(family, sessions)| (format!("ipv{family}"), one(sessions))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn peer(address: &str, kind: &str, state: &str, last_end: &str) -> Peer {
        Peer {
            address: address.into(),
            r#type: kind.into(),
            state: state.into(),
            last_end: last_end.into(),
            since_ms: 5000,
            ..Peer::default()
        }
    }

    #[test]
    fn calicos_table() {
        let now: Timestamp = "2026-11-21T10:00:10Z".parse().unwrap();
        let peers = [
            peer("192.0.2.2", "node-to-node mesh", "Established", ""),
            peer("192.0.2.9", "global", "Active", "Connection refused"),
            peer("192.0.2.20", "local workload", "Established", ""),
        ];
        let families =
            [(4, Sessions::Rows(rows(&peers, false, now))), (6, Sessions::Rows(rows(&peers, true, now)))];
        let expected = "\
Calico process is running.

IPv4 BGP status
+--------------+-------------------+-------+----------+---------------------------+
| PEER ADDRESS | PEER TYPE         | STATE | SINCE    | INFO                      |
+--------------+-------------------+-------+----------+---------------------------+
| 192.0.2.2    | node-to-node mesh | up    | 10:00:05 | Established               |
| 192.0.2.9    | global            | start | 10:00:05 | Active Connection refused |
+--------------+-------------------+-------+----------+---------------------------+

IPv6 BGP status
No IPv6 peers found.

";
        assert_eq!(as_text(&families), expected);
        let value = as_json(&families);
        assert_eq!(value["ipv4"]["peers"][0]["peerType"], "node-to-node mesh");
        assert_eq!(value["ipv6"]["peers"], json!([]));
    }

    #[test]
    fn without_any_speaker() {
        let text = as_text(&[(4, Sessions::NotRunning), (6, Sessions::NotRunning)]);
        for expected in [
            "INFO: BIRDv4 process: 'bird' is not running.",
            "INFO: BIRDv6 process: 'bird6' is not running.",
            "The BGP backend process (BIRD) is not running.",
        ] {
            assert!(text.contains(expected), "{text}");
        }
    }

    #[test]
    fn long_ago_is_a_date() {
        let now: Timestamp = "2026-11-21T10:00:10Z".parse().unwrap();
        assert_eq!(since(now, 19 * 3_600_000), "15:00:10");
        assert_eq!(since(now, 48 * 3_600_000), "2026-11-19");
    }

    #[test]
    fn agents_are_recognised_by_their_command_line() {
        for line in [&b"calico-felix\0"[..], b"calico-node\0-felix\0", b"/bin/x\0-felix\0"] {
            assert!(is_agent(line));
        }
        for line in [&b"bash\0-c\0calico-felix\0"[..], b"", b"/usr/bin/calico-felix\0"] {
            assert!(!is_agent(line));
        }
    }
}
