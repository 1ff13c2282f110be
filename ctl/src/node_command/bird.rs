//! Asking a BIRD over its control socket. Source: `bgp.md` §13 of the contract.

use super::{Row, Sessions};
use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(2);
/// Where its socket may be, Calico's place first.
const DIRECTORIES: [&str; 2] = ["/var/run/calico", "/var/run/bird"];
/// Columns of `show protocols`.
const HEADINGS: &str = "name proto table state since info";
/// Names of sessions and what calicoctl calls them; others are no peers of Calico's.
const KINDS: [(&str, &str); 3] =
    [("Global", "global"), ("Node", "node specific"), ("Mesh", "node-to-node mesh")];

/// The sessions of the daemon of one family, if it runs.
pub(super) fn sessions(v6: bool) -> Sessions {
    let name = if v6 { "bird6.ctl" } else { "bird.ctl" };
    let paths: Vec<PathBuf> = DIRECTORIES.iter().map(|directory| Path::new(directory).join(name)).collect();
    let Some(path) = paths.iter().find(|path| path.exists()) else { return Sessions::NotRunning };
    ask(path, v6)
}

fn ask(path: &Path, v6: bool) -> Sessions {
    let family = if v6 { 6 } else { 4 };
    let stream = UnixStream::connect(path).and_then(|stream| {
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        Ok(stream)
    });
    let mut stream = match stream {
        Ok(stream) => stream,
        Err(error) => {
            return Sessions::Unreadable(format!("unable to connect to BIRDv{family} socket: {error}"));
        }
    };
    if let Err(error) = stream.write_all(b"show protocols\n") {
        return Sessions::Unreadable(format!("unable to write to BIRDv{family} socket: {error}"));
    }
    match parse(BufReader::new(stream)) {
        Ok(rows) => Sessions::Rows(rows),
        Err(reason) => Sessions::Unreadable(reason),
    }
}

/// Reads an answer to its end.
fn parse(answer: impl BufRead) -> Result<Vec<Row>, String> {
    let mut rows = Vec::new();
    for line in answer.lines() {
        let line = line.map_err(|error| format!("unable to read from BIRD: {error}"))?;
        let (code, text) = line.split_at_checked(5).unwrap_or((line.as_str(), ""));
        match code.trim_end_matches(['-', ' ']) {
            "0000" => return Ok(rows),
            "0001" => {}
            "2002" => {
                let headings: Vec<&str> = text.split_whitespace().collect();
                if headings.join(" ") != HEADINGS {
                    return Err("unknown BIRD table output format".to_owned());
                }
            }
            "1002" => rows.extend(row(text)),
            // A row that goes on where the one before did.
            _ if line.starts_with(' ') => rows.extend(row(&line)),
            _ => return Err(format!("unexpected output line from BIRD: {line}")),
        }
    }
    Err("BIRD closed the connection before its answer was whole".to_owned())
}

/// A row that is one of Calico's sessions.
fn row(text: &str) -> Option<Row> {
    let mut words = text.split_whitespace();
    let (name, proto, _table) = (words.next()?, words.next()?, words.next()?);
    let (prefix, address) = name.split_once('_')?;
    let (_, kind) = KINDS.iter().find(|(known, _)| *known == prefix).filter(|_| proto == "BGP")?;
    let (state, since) = (words.next()?, words.next()?);
    Some(Row {
        address: address_of(address),
        kind: (*kind).to_owned(),
        state: state.to_owned(),
        since: since.to_owned(),
        info: words.collect::<Vec<_>>().join(" "),
    })
}

/// `192_0_2_1` and `fd00__1` as addresses; what follows an IPv4 address goes through as calicoctl shows it.
fn address_of(name: &str) -> String {
    let v4 = name.split('_').take(4).filter(|part| part.parse::<u8>().is_ok()).count() == 4;
    name.replace('_', if v4 { "." } else { ":" })
}

#[cfg(test)]
mod tests {
    use super::*;

    const ANSWER: &str = "0001 BIRD v0.3.3+birdv1.6.8 ready.
2002-name     proto    table    state  since       info
1002-static1  Static   master   up     10:00:00
 kernel1  Kernel   master   up     10:00:00
 Mesh_192_0_2_2 BGP   master   up     10:00:05    Established
 Node_192_0_2_9_port_1179 BGP   master   start  10:00:01    Active        Socket: Connection refused
 Local_Workload_10_0_0_1 BGP   master   up     10:00:05    Established
 Global_fd00__1 BGP   master   start  2026-11-19  Idle
0000 
";

    #[test]
    fn calicos_sessions_are_found_among_the_protocols() {
        let rows = parse(ANSWER.as_bytes()).unwrap();
        let shown: Vec<String> = rows
            .iter()
            .map(|row| {
                [&row.address, &row.kind, &row.state, &row.since, &row.info].map(String::as_str).join("|")
            })
            .collect();
        assert_eq!(
            shown,
            [
                "192.0.2.2|node-to-node mesh|up|10:00:05|Established",
                "192.0.2.9.port.1179|node specific|start|10:00:01|Active Socket: Connection refused",
                "fd00::1|global|start|2026-11-19|Idle",
            ]
        );
    }

    #[test]
    fn what_is_no_such_answer_is_told() {
        let error = |text: &str| parse(text.as_bytes()).unwrap_err();
        assert_eq!(error("2002-name proto state\n"), "unknown BIRD table output format");
        assert_eq!(error("8001 no\n"), "unexpected output line from BIRD: 8001 no");
        assert!(error("0001 ready.\n").contains("before its answer was whole"));
        assert!(error("").contains("before its answer was whole"));
    }

    #[test]
    fn a_socket_nobody_listens_at_is_told_with_its_family() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("bird6.ctl");
        drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
        let Sessions::Unreadable(reason) = ask(&path, true) else { panic!("answered") };
        assert!(reason.starts_with("unable to connect to BIRDv6 socket: "), "{reason}");
    }

    #[test]
    fn a_bird_is_asked_over_its_socket() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("bird.ctl");
        let listener = std::os::unix::net::UnixListener::bind(&path).unwrap();
        let server = std::thread::spawn(move || {
            let (stream, _) = listener.accept().unwrap();
            let mut asked = String::new();
            BufReader::new(&stream).read_line(&mut asked).unwrap();
            (&stream).write_all(ANSWER.as_bytes()).unwrap();
            asked
        });
        let Sessions::Rows(rows) = ask(&path, false) else { panic!("no rows") };
        assert_eq!((rows.len(), server.join().unwrap().as_str()), (3, "show protocols\n"));
    }
}
