//! A relay from the outside namespace to an etcd of the host's network: the nodes have no way out of the lab, and
//! a given etcd may listen on the host's loopback only.

use super::place::Place;
use anyhow::{Context, Result};
use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream, ToSocketAddrs};
use std::path::Path;
use std::time::Duration;

/// How long the target may take to accept.
const CONNECT: Duration = Duration::from_secs(5);

/// Accepts at `listen` in the namespace at `netns` and connects to `target` from here, until killed.
///
/// # Errors
/// It cannot listen.
pub fn run(netns: &Path, listen: &str, target: &str) -> Result<()> {
    let listener = Place::open(netns, None)?
        .run(|| TcpListener::bind(listen).with_context(|| format!("listen on {listen}")))?;
    serve(&listener, target)
}

fn serve(listener: &TcpListener, target: &str) -> Result<()> {
    for client in listener.incoming() {
        let client = client.context("accept")?;
        let target = target.to_string();
        std::thread::spawn(move || {
            if let Err(error) = carry(client, &target) {
                eprintln!("relay to {target}: {error:#}");
            }
        });
    }
    Ok(())
}

/// Carries bytes both ways until both sides are done.
fn carry(client: TcpStream, target: &str) -> Result<()> {
    let server = connect(target)?;
    client.set_nodelay(true)?;
    server.set_nodelay(true)?;
    let (back_from, back_to) = (server.try_clone()?, client.try_clone()?);
    let back = std::thread::spawn(move || copy(back_from, back_to));
    copy(client, server);
    let _ = back.join();
    Ok(())
}

fn connect(target: &str) -> Result<TcpStream> {
    let mut last = None;
    for address in target.to_socket_addrs().with_context(|| format!("look up {target}"))? {
        match TcpStream::connect_timeout(&address, CONNECT) {
            Ok(stream) => return Ok(stream),
            Err(error) => last = Some(error),
        }
    }
    let error = last.map_or_else(|| "it has no address".to_string(), |error| error.to_string());
    anyhow::bail!("connect: {error}")
}

/// Copies until the end of input, which is passed on; an error ends both directions.
fn copy(mut from: TcpStream, mut to: TcpStream) {
    let mut buffer = vec![0; 64 << 10];
    loop {
        match from.read(&mut buffer) {
            Ok(0) => {
                let _ = to.shutdown(Shutdown::Write);
                return;
            }
            Ok(count) if buffer.get(..count).is_some_and(|part| to.write_all(part).is_ok()) => {}
            Ok(_) | Err(_) => {
                let _ = to.shutdown(Shutdown::Both);
                let _ = from.shutdown(Shutdown::Both);
                return;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A relay to `target` on a free port.
    fn relay(target: String) -> std::net::SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        std::thread::spawn(move || serve(&listener, &target));
        address
    }

    #[test]
    fn bytes_and_ends_pass_both_ways() {
        let server = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = relay(server.local_addr().unwrap().to_string());
        let echo = std::thread::spawn(move || {
            let (mut stream, _) = server.accept().unwrap();
            let mut got = Vec::new();
            stream.read_to_end(&mut got).unwrap();
            stream.write_all(&got).unwrap();
            got.len()
        });
        let mut client = TcpStream::connect(address).unwrap();
        let sent = vec![7u8; 300_000];
        client.write_all(&sent).unwrap();
        client.shutdown(Shutdown::Write).unwrap();
        let mut back = Vec::new();
        client.read_to_end(&mut back).unwrap();
        assert_eq!(back, sent);
        assert_eq!(echo.join().unwrap(), sent.len());
    }

    #[test]
    fn a_target_that_is_away_closes_the_connection() {
        let gone = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let mut client = TcpStream::connect(relay(gone.to_string())).unwrap();
        let mut back = Vec::new();
        client.read_to_end(&mut back).unwrap();
        assert!(back.is_empty());
    }
}
