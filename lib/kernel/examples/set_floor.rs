//! How long the kernel takes for the elements of a hash set when nothing has to be decided: `set_floor COUNT` makes a table
//! with one set of addresses in the caller's namespace, sends prebuilt requests for COUNT elements in one batch, prints the
//! seconds until it is committed, and removes the table. Everything that fills sets is measured against it.

use netfilter::nft::{Batch, Change, DataType, Element, Family, Set, Table, TableRef};
use netfilter::wire::{Replies, Reply};
use netlink_sys::{Socket, SocketAddr, protocols::NETLINK_NETFILTER};
use nix::libc::MSG_DONTWAIT;
use nix::sys::socket::{setsockopt, sockopt::SndBufForce};
use std::error::Error;
use std::time::Instant;

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [count] = arguments.as_slice() else {
        return Err("set_floor COUNT".into());
    };
    let count: u32 = count.parse()?;
    let mut socket = Socket::new(NETLINK_NETFILTER)?;
    socket.bind_auto()?;
    socket.set_cap_ack(true)?;
    let table = TableRef { family: Family::Ipv4, name: "set-floor".to_owned() };
    let set = Set {
        table: table.clone(),
        name: "addresses".to_owned(),
        handle: None,
        key: vec![DataType::IPV4],
        data: None,
        interval: false,
        dynamic: false,
        timeout: false,
        counter: false,
        size: Some(1 << 20),
        comment: None,
    };
    let new = Table { table: table.clone(), flags: 0, comment: None };
    send(&socket, &[Change::AddTable(new), Change::AddSet(set)])?;
    // An odd factor permutes the numbers below 2^32.
    let elements = (0..count).map(|n| Element::key(n.wrapping_mul(0x9e37_79b1).to_be_bytes())).collect();
    let add = Change::AddElements { table: table.clone(), set: "addresses".to_owned(), elements };
    println!("{}", send(&socket, &[add])?);
    send(&socket, &[Change::DeleteTable(table)])?;
    Ok(())
}

/// Commits a batch and returns the seconds that took, its making not among them.
fn send(socket: &Socket, changes: &[Change]) -> Result<f64, Box<dyn Error>> {
    let mut batch = Batch::new(1, None);
    changes.iter().for_each(|change| batch.push(change));
    let bytes = batch.finish().bytes;
    setsockopt(socket, SndBufForce, &(bytes.len() + (64 << 10)))?;
    let begun = Instant::now();
    let sent = socket.send_to(&bytes, &SocketAddr::new(0, 0), 0)?;
    let took = begun.elapsed().as_secs_f64();
    if sent != bytes.len() {
        return Err(format!("{sent} of {} bytes were sent", bytes.len()).into());
    }
    let mut buffer = Vec::with_capacity(64 << 10);
    socket.recv(&mut buffer, MSG_DONTWAIT)?;
    for reply in Replies::new(&buffer) {
        if let Reply::Ack { errno, words, .. } = reply
            && errno != 0
        {
            return Err(format!("refused: errno {errno} {}", words.unwrap_or_default()).into());
        }
    }
    Ok(took)
}
