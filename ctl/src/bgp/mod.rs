//! `ocicat bgp …`: the speaker's settings and state for people, over its local socket.

mod options;
pub mod show;
#[cfg(test)]
mod tests;

pub use show::age;

use crate::io::{Failure, Io};
use bgpd::client::{Client, ClientError, DEFAULT_SOCKET};
use bgpd::proto::Route;
use clap::{Args, Subcommand};
use serde_json::json;
use std::ffi::OsString;
use std::net::IpAddr;
use std::path::PathBuf;

/// Commands of `ocicat bgp`.
#[derive(Debug, Subcommand)]
pub enum BgpCommand {
    /// Show the speaker as a whole, and what is wrong with its resources
    Status {
        /// Whom to ask.
        #[command(flatten)]
        args: BgpArgs,
    },
    /// Show all sessions
    Peers {
        /// Whom to ask.
        #[command(flatten)]
        args: BgpArgs,
    },
    /// Show the best route of each destination
    Routes {
        /// Only destinations inside of this prefix
        #[arg(value_name = "PREFIX")]
        within: Option<String>,
        /// Whom to ask.
        #[command(flatten)]
        args: BgpArgs,
    },
    /// Tell why a route won, was filtered, or is not sent, naming resource and rule
    Explain {
        /// A prefix, or an address in one
        #[arg(value_name = "PREFIX")]
        prefix: String,
        /// Whom to ask.
        #[command(flatten)]
        args: BgpArgs,
    },
    /// Show the speaker's metrics in the Prometheus text format
    Metrics {
        /// Whom to ask.
        #[command(flatten)]
        args: BgpArgs,
    },
    /// List the annotations that say what Calico's BGP resources cannot
    Options,
    /// An unknown word.
    #[command(external_subcommand)]
    Unknown(Vec<OsString>),
}

/// Which speaker, and how to print.
#[derive(Debug, Args)]
pub struct BgpArgs {
    /// Socket of the speaker
    #[arg(long, default_value = DEFAULT_SOCKET, value_name = "PATH")]
    pub socket: PathBuf,
    /// ps (table) or json
    #[arg(short, long, default_value = "ps", value_name = "FORMAT")]
    pub output: String,
}

/// Answers a command.
///
/// # Errors
/// The speaker does not answer, or what was asked means nothing to it.
pub async fn run(command: &BgpCommand, io: &mut Io) -> Result<(), Failure> {
    match command {
        BgpCommand::Options => io.print(&options::text()),
        BgpCommand::Status { args } => {
            let status = dial(args).await?.status().await.map_err(failed)?;
            io.answer(&args.output, || show::status_json(&status), || show::status_text(&status))
        }
        BgpCommand::Metrics { args } => io.print(&dial(args).await?.metrics().await.map_err(failed)?),
        BgpCommand::Peers { args } => {
            let peers = dial(args).await?.peers().await.map_err(failed)?;
            io.answer(
                &args.output,
                || peers.iter().map(show::peer_json).collect(),
                || show::peers_text(&peers),
            )
        }
        BgpCommand::Routes { within, args } => routes(within.as_deref().unwrap_or_default(), args, io).await,
        BgpCommand::Explain { prefix, args } => {
            let answer = dial(args).await?.explain(prefix).await.map_err(failed)?;
            let text = || format!("{}\n{}\n", answer.prefix, answer.lines.join("\n"));
            io.answer(&args.output, || json!({"prefix": answer.prefix, "lines": answer.lines}), text)
        }
        BgpCommand::Unknown(_) => Ok(()),
    }
}

async fn dial(args: &BgpArgs) -> Result<Client, Failure> {
    Client::dial(&args.socket).await.map_err(failed)
}

fn failed(error: ClientError) -> Failure {
    Failure::Message(error.to_string())
}

/// Routes by the page, so that no answer holds the speaker up; sorted when all are here.
async fn routes(within: &str, args: &BgpArgs, io: &mut Io) -> Result<(), Failure> {
    let mut client = dial(args).await?;
    let mut from = String::new();
    let mut all = Vec::new();
    loop {
        let (page, next) = client.routes(within, &from).await.map_err(failed)?;
        all.extend(page);
        let Some(next) = next else { break };
        from = next;
    }
    let place = |route: &Route| {
        let (address, length) = route.prefix.split_once('/').unwrap_or((&route.prefix, ""));
        (address.parse::<IpAddr>().ok(), length.parse::<u8>().ok())
    };
    all.sort_by_cached_key(place);
    io.answer(&args.output, || all.iter().map(show::route_json).collect(), || show::routes_text(&all))
}
