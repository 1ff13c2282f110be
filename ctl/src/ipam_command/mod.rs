//! `ipam show`, `configure` and `release`. Source: `calicoctl.md` §6 of the contract.

mod configure;
mod release;
mod show;
#[cfg(test)]
mod tests;

use crate::cli::IpamCommand;
use crate::io::{Failure, Io};
use crate::session::{Session, explain};
use datastore::ClientError;
use ipam::{Ipam, IpamError};
use std::net::IpAddr;
use std::sync::Arc;

/// Answers one of the commands.
///
/// # Errors
/// What it could not do.
pub async fn run(session: &Session, command: &IpamCommand, io: &mut Io) -> Result<(), Failure> {
    let ipam = Ipam::new(Arc::clone(session.client.store()));
    match command {
        IpamCommand::Show { ip: Some(ip), .. } => show::address(&ipam, ip, io).await,
        IpamCommand::Show { show_blocks: true, .. } => show::usage(&ipam, true, io).await,
        IpamCommand::Show { show_borrowed: true, .. } => show::borrowed(&ipam, io).await,
        IpamCommand::Show { show_configuration: true, .. } => show::configuration(&ipam, io).await,
        IpamCommand::Show { .. } => show::usage(&ipam, false, io).await,
        IpamCommand::Configure {
            strictaffinity,
            max_blocks_per_host,
            kubevirt_ip_persistence,
            ip_cooldown_seconds,
            ..
        } => {
            let asked = configure::Asked {
                strict_affinity: strictaffinity.as_deref(),
                max_blocks_per_host: max_blocks_per_host.as_deref(),
                vm_address_persistence: kubevirt_ip_persistence.as_deref(),
                ip_cooldown_seconds: ip_cooldown_seconds.as_deref(),
            };
            configure::run(&ipam, &asked, io).await
        }
        IpamCommand::Release { ip: Some(ip), .. } => release::address(&ipam, ip, io).await,
        IpamCommand::Release { ip: None, .. } | IpamCommand::Unknown(_) => Ok(()),
    }
}

/// Reads an address.
///
/// # Errors
/// What is none; calicoctl says so on standard output.
fn address(text: &str) -> Result<IpAddr, Failure> {
    text.parse().map_err(|_| {
        Failure::OnStdout(format!("Error executing command: invalid IP address specified: {text}"))
    })
}

fn failed(error: IpamError) -> Failure {
    Failure::Message(match error {
        IpamError::Store(error) => explain(&ClientError::Store(error)),
        refusal => refusal.to_string(),
    })
}
