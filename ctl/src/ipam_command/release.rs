//! `ipam release`. Source: `calicoctl.md` §6.2 of the contract.

use super::{address as parse_address, failed};
use crate::io::{Failure, Io};
use ipam::{Ipam, Release};

/// `--ip`: gives one address back, whoever has it.
///
/// # Errors
/// An address that is none, or not assigned.
pub async fn address(ipam: &Ipam, text: &str, io: &mut Io) -> Result<(), Failure> {
    let address = parse_address(text)?;
    let outcome = ipam.release_ips(vec![Release::unconditional(address)]).await.map_err(failed)?;
    if let Some((block, error)) = outcome.failed.first() {
        return Err(Failure::Message(format!(
            "cannot release IP address {address} of block {block}: {error}"
        )));
    }
    if outcome.unallocated.contains(&address) {
        return Err(Failure::Message(format!("IP address {address} is not assigned")));
    }
    io.line(&format!("Successfully released IP address {address}"))
}
