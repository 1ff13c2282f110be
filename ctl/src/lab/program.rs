//! Starting the programs of the table and waiting until they answer.

use super::converge;
use super::directory::Directory;
use super::place::Place;
use super::plan::Etcd;
use super::process;
use super::programs::{Program, Ready, Where};
use super::state::Identity;
use anyhow::{Context, Result, bail};
use felix::client::Client;
use felix::proto::StatusResponse;
use std::fs::File;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

/// How long a program may take until it answers.
pub const READY: Duration = Duration::from_secs(20);
/// How long one question may take.
const ANSWER: Duration = Duration::from_secs(2);
/// Bytes of an answer that are read.
const LONGEST_ANSWER: usize = 64 << 10;
/// Lines of a log shown with an error.
const LAST_LINES: usize = 12;

/// Starts a program where the table says.
///
/// # Errors
/// It cannot be started.
pub fn start(directory: &Directory, etcd: &Etcd, program: &Program) -> Result<Identity> {
    let mut command = Command::new(&program.path);
    command.args(&program.args).current_dir("/");
    // Opened here: the host's files are not seen from a node.
    let path = directory.log(&program.name);
    let log = File::create(&path).with_context(|| format!("create {}", path.display()))?;
    match &program.place {
        Where::Host => process::start(command, &[], directory.path(), log),
        Where::Outside => directory.outside()?.run(|| process::start(command, &[], directory.path(), log)),
        Where::Node(node) => {
            let mut environment = super::node_environment(etcd).to_vec();
            environment.extend(program.environment.iter().cloned());
            directory.place(node)?.run(|| process::start(command, &environment, directory.path(), log))
        }
    }
}

/// Waits at most `patience` until the program answers.
///
/// # Errors
/// The program ended, or is not ready in time; with the end of its log.
pub fn wait_ready(
    directory: &Directory,
    program: &Program,
    identity: Identity,
    patience: Duration,
) -> Result<()> {
    let begin = Instant::now();
    loop {
        let last = match health(directory, &program.ready) {
            Ok(()) => return Ok(()),
            Err(error) => format!("{error:#}"),
        };
        let ended = !process::alive(identity);
        if ended || begin.elapsed() > patience {
            let why = if ended {
                "it ended".to_string()
            } else {
                format!("after {} s: {last}", patience.as_secs())
            };
            bail!("{} does not answer ({why}); it said:\n{}", describe(program), tail(directory, program));
        }
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Asks a program for its health.
///
/// # Errors
/// It says that it has none, or nothing in time.
pub fn health(directory: &Directory, ready: &Ready) -> Result<()> {
    match ready {
        Ready::Etcd(address) => health_of_etcd(&directory.outside()?, address),
        Ready::Agent { felix, speaker } => agent(felix).and_then(|_| converge::sessions(speaker)).map(drop),
        Ready::Speaker(socket) => converge::sessions(socket).map(drop),
    }
}

/// Asks an agent what it enforces; that it waits for something is no health.
///
/// # Errors
/// It does not answer in time, or does not enforce yet what the datastore holds.
pub fn agent(socket: &Path) -> Result<StatusResponse> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let asked = runtime.block_on(async {
        tokio::time::timeout(ANSWER, async { Client::dial(socket).await?.status().await }).await
    });
    let status =
        asked.with_context(|| format!("{}: no answer within {} s", socket.display(), ANSWER.as_secs()))??;
    anyhow::ensure!(status.waiting.is_empty(), "it waits for {}", status.waiting);
    anyhow::ensure!(status.enforced_revision > 0, "it enforces nothing yet");
    Ok(status)
}

fn health_of_etcd(outside: &Place, address: &str) -> Result<()> {
    let address: SocketAddr = address.parse()?;
    let answer = outside.run(|| Ok(ask(address)?))?;
    if answer.is_empty() {
        bail!("the connection was closed at once");
    }
    if !answer.contains(r#""health":"true""#) {
        bail!("not healthy: {}", answer.lines().last().unwrap_or_default());
    }
    Ok(())
}

fn ask(address: SocketAddr) -> std::io::Result<String> {
    let until = Instant::now() + ANSWER;
    let late = || std::io::Error::other(format!("no answer within {} s", ANSWER.as_secs()));
    let mut stream = TcpStream::connect_timeout(&address, ANSWER)?;
    stream.write_all(format!("GET /health HTTP/1.0\r\nHost: {address}\r\n\r\n").as_bytes())?;
    let mut answer = Vec::new();
    let mut part = [0; 1024];
    while answer.len() < LONGEST_ANSWER {
        // Not a time for each part: an answer that trickles is none.
        let left = until.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(late());
        }
        stream.set_read_timeout(Some(left))?;
        match stream.read(&mut part) {
            Ok(0) => break,
            Ok(count) => answer.extend(part.iter().take(count)),
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => return Err(late()),
            Err(error) => return Err(error),
        }
    }
    Ok(String::from_utf8_lossy(&answer).into_owned())
}

fn describe(program: &Program) -> String {
    match program.args.iter().position(|word| word == "--to").and_then(|place| program.args.get(place + 1)) {
        Some(target) => format!("etcd at {target}"),
        None => program.name.clone(),
    }
}

fn tail(directory: &Directory, program: &Program) -> String {
    let text = std::fs::read_to_string(directory.log(&program.name)).unwrap_or_default();
    let lines: Vec<&str> = text.lines().collect();
    lines.get(lines.len().saturating_sub(LAST_LINES)..).unwrap_or_default().join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpListener;

    /// What is made of a server that does `serve` with its one client.
    fn asked(serve: impl FnOnce(TcpStream) + Send + 'static) -> (std::io::Result<String>, Duration) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let server = std::thread::spawn(move || serve(listener.accept().unwrap().0));
        let begin = Instant::now();
        let answer = ask(address);
        let took = begin.elapsed();
        server.join().unwrap();
        (answer, took)
    }

    #[test]
    fn an_answer_is_taken_whole() {
        let (answer, _) = asked(|mut client| {
            // A request that was not read resets the connection.
            assert!(client.read(&mut [0; 1024]).unwrap() > 0);
            client.write_all(b"HTTP/1.0 200 OK\r\n\r\n").unwrap();
            client.write_all(br#"{"health":"true"}"#).unwrap();
        });
        assert!(answer.unwrap().ends_with(r#"{"health":"true"}"#));
    }

    #[test]
    fn silence_and_trickles_end_in_time() {
        let silent = |mut client: TcpStream| drop(client.read_to_end(&mut Vec::new()));
        let trickle = |mut client: TcpStream| {
            while client.write_all(b"x").is_ok() {
                std::thread::sleep(Duration::from_millis(100));
            }
        };
        for (answer, took) in [asked(silent), asked(trickle)] {
            assert_eq!(answer.unwrap_err().to_string(), "no answer within 2 s");
            assert!(took < ANSWER * 2, "{took:?}");
        }
    }

    #[test]
    fn an_answer_without_end_is_cut() {
        let (answer, _) = asked(|mut client| while client.write_all(&[b'x'; 4096]).is_ok() {});
        assert!(answer.unwrap().len() < LONGEST_ANSWER + 1024);
    }
}
