//! What a packet costs: TCP between two workloads of a host, both ends in one thread on one processor, so that nothing
//! else is in the figure. Hosts take turns of [`SLICE`].

use super::host::Host;
use super::realtime;
use super::state::{SERVER, address};
use anyhow::{Context, Result, anyhow, ensure};
use nix::sched::{CloneFlags, setns};
use nix::sys::socket::{setsockopt, sockopt::Linger};
use ocicat_tests::sandbox::in_netns;
use std::fs::File;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

/// How long one host is measured at a time: short, so that a disturbance spoils few slices.
const SLICE: Duration = Duration::from_millis(15);

/// What is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Work {
    /// Connect, one byte, reset.
    Connections,
    /// One byte there and one back on an established connection.
    Requests,
}

/// A host and the port that the client may connect to.
#[derive(Debug)]
pub struct Target<'a> {
    /// The host.
    pub host: &'a Host,
    /// The port.
    pub port: u16,
}

struct Ends {
    client: File,
    listener: TcpListener,
    address: SocketAddr,
    established: (TcpStream, TcpStream),
}

/// Microseconds an operation takes: for each target one figure a round.
///
/// # Errors
/// A connection fails: the host's policy does not let it through.
pub fn measure(targets: &[Target<'_>], work: Work, rounds: usize) -> Result<Vec<Vec<f64>>> {
    thread::scope(|scope| {
        // A thread of its own: it changes namespaces as it goes.
        let measuring = scope.spawn(|| -> Result<Vec<Vec<f64>>> {
            let ends: Vec<Ends> = targets.iter().map(ends).collect::<Result<_>>()?;
            realtime::pin()?;
            realtime::raise()?;
            let mut all: Vec<Vec<f64>> = targets.iter().map(|_| Vec::new()).collect();
            for round in 0..=rounds {
                for (ends, figures) in ends.iter().zip(&mut all) {
                    setns(&ends.client, CloneFlags::CLONE_NEWNET).context("the client's namespace")?;
                    let figure = slice(ends, work)?;
                    if round > 0 {
                        figures.push(figure);
                    }
                    // Real-time threads leave others a part of each second; better here than in a slice.
                    thread::sleep(Duration::from_millis(1));
                }
            }
            Ok(all)
        });
        measuring.join().map_err(|_| anyhow!("the measuring thread panicked"))?
    })
}

fn ends(target: &Target<'_>) -> Result<Ends> {
    let address = SocketAddr::from((address(SERVER), target.port));
    let listener = in_netns(&target.host.server(), || TcpListener::bind(address))?.context("listen")?;
    let client = File::open(Path::new("/run/netns").join(target.host.client()))?;
    let near = in_netns(&target.host.client(), || TcpStream::connect_timeout(&address, PATIENCE))?
        .with_context(|| format!("connect to {address} on host {}", target.host.name()))?;
    let (far, _) = listener.accept()?;
    for stream in [&near, &far] {
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(PATIENCE))?;
    }
    Ok(Ends { client, listener, address, established: (near, far) })
}

/// No operation may take longer.
const PATIENCE: Duration = Duration::from_secs(3);

fn slice(ends: &Ends, work: Work) -> Result<f64> {
    let mut count = 0_u32;
    let begun = Instant::now();
    while begun.elapsed() < SLICE {
        match work {
            Work::Connections => connection(ends)?,
            Work::Requests => request(&ends.established)?,
        }
        count += 1;
    }
    ensure!(count > 0, "not one operation in {SLICE:?}");
    Ok(begun.elapsed().as_secs_f64() * 1e6 / f64::from(count))
}

fn connection(ends: &Ends) -> Result<()> {
    let mut client = TcpStream::connect(ends.address)?;
    let (mut server, _) = ends.listener.accept()?;
    client.write_all(b"x")?;
    server.read_exact(&mut [0])?;
    // Closed with this it sends a reset, and the port is free at once.
    let reset = nix::libc::linger { l_onoff: 1, l_linger: 0 };
    setsockopt(&client, Linger, &reset)?;
    Ok(())
}

fn request((client, server): &(TcpStream, TcpStream)) -> Result<()> {
    let (mut client, mut server, mut byte) = (client, server, [0]);
    client.write_all(b"x")?;
    server.read_exact(&mut byte)?;
    server.write_all(&byte)?;
    client.read_exact(&mut byte)?;
    Ok(())
}
