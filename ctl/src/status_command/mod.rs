//! `ocicat status`: one page a node, of what its parts tell over their sockets. Each of `ocicat felix status`, `ocicat bgp
//! status` and `ocicat bgp peers` has its part of it alone.

mod page;

#[cfg(test)]
mod tests;

use crate::io::{Failure, Io};
use bgpd::proto::{Peer, StatusResponse as Speaker};
use clap::Args;
use felix::proto::StatusResponse as Felix;
use observe::client::ClientError;
use observe::proto::HealthResponse;
use std::path::{Path, PathBuf};

/// `status`.
#[derive(Debug, Args)]
pub struct StatusArgs {
    /// Socket of the agent's policy part
    #[arg(long, default_value = felix::client::DEFAULT_SOCKET, value_name = "PATH")]
    pub socket: PathBuf,
    /// Socket of the speaker
    #[arg(long, default_value = bgpd::client::DEFAULT_SOCKET, value_name = "PATH")]
    pub bgp_socket: PathBuf,
    /// As JSON
    #[arg(long)]
    pub json: bool,
    /// ps (page) or json
    #[arg(short, long, default_value = "ps", value_name = "FORMAT")]
    pub output: String,
}

/// What a node's parts told; a part that does not answer says why.
struct Told {
    health: HealthResponse,
    felix: Result<Felix, String>,
    bgp: Result<(Speaker, Vec<Peer>), String>,
}

/// Asks, and shows the page.
///
/// # Errors
/// No part of an agent answers.
pub async fn run(args: &StatusArgs, io: &mut Io) -> Result<(), Failure> {
    let as_json = match args.output.as_str() {
        "json" => true,
        "ps" => args.json,
        other => {
            return Err(Failure::Message(format!(
                "unrecognized output format {other:?}: expected ps or json"
            )));
        }
    };
    let told = ask(&args.socket, &args.bgp_socket).await?;
    if as_json { io.line(&format!("{:#}", page::json(&told))) } else { io.print(&page::text(&told)) }
}

async fn ask(felix: &Path, bgp: &Path) -> Result<Told, Failure> {
    let (policy, speaker) = (ask_felix(felix).await, ask_speaker(bgp).await);
    // both tell of the whole process, where they are of one
    let health = match (&policy, &speaker) {
        (Ok((health, _)), _) => health.clone(),
        (Err(_), Ok((health, ..))) => health.clone(),
        (Err(error), Err(_)) => return Err(Failure::Message(error.to_string())),
    };
    let words = |error: ClientError| error.to_string();
    Ok(Told {
        health,
        felix: policy.map(|(_, status)| status).map_err(words),
        bgp: speaker.map(|(_, status, peers)| (status, peers)).map_err(words),
    })
}

async fn ask_felix(socket: &Path) -> Result<(HealthResponse, Felix), ClientError> {
    let mut client = felix::client::Client::dial(socket).await?;
    Ok((client.health().await?, client.status().await?))
}

async fn ask_speaker(socket: &Path) -> Result<(HealthResponse, Speaker, Vec<Peer>), ClientError> {
    let mut client = bgpd::client::Client::dial(socket).await?;
    Ok((client.health().await?, client.status().await?, client.peers().await?))
}
