//! `ocicat why`: what happens to a packet between two places, and which rule of which resource says so.
//!
//! The stored state goes through the same calculation and the same rule form as on a node (`felix_calc`,
//! `felix_render::form`), and the rule form's own evaluator gives the verdict: what is told here is what the kernel does
//! once a node has caught up. No node is asked, so it works from anywhere.
//!
//! [`stored`] reads, [`ends`] finds out who is meant, [`judge`] judges, [`show`] prints.

mod ends;
mod judge;
mod show;
mod stored;
#[cfg(test)]
mod tests;

use crate::cli::{ConfigArgs, Global};
use crate::io::{Failure, Io};
use crate::session::{self, Environment};
use clap::Args;
use felix_render::evaluate::Packet;
use felix_render::form::{ICMP, ICMPV6};
use model::net::Family;
use model::v3::Protocol;
use stored::Stored;

/// Source port of a packet when none is given: the first of Linux's ephemeral ones.
const EPHEMERAL: u16 = 32768;

/// Protocols with ports: TCP, UDP, DCCP, SCTP, UDP-Lite.
const WITH_PORTS: [u8; 5] = [6, 17, 33, 132, 136];

/// `why`.
#[derive(Debug, Args)]
pub struct WhyArgs {
    /// Who sends: a workload (its endpoint's name, pod, container ID or interface), a HostEndpoint, or an address
    #[arg(value_name = "FROM")]
    pub from: String,
    /// Who receives, in the same ways
    #[arg(value_name = "TO")]
    pub to: String,
    /// Destination port
    #[arg(long, value_name = "PORT", value_parser = clap::value_parser!(u16).range(1..))]
    pub port: Option<u16>,
    /// Source port
    #[arg(long, value_name = "PORT", default_value_t = EPHEMERAL, value_parser = clap::value_parser!(u16).range(1..))]
    pub source_port: u16,
    /// Protocol, by name or number; TCP where a port is given, else an echo request
    #[arg(long, value_name = "PROTOCOL")]
    pub protocol: Option<String>,
    /// Type of an ICMP message; 8 (128 for IPv6), an echo request, unless given
    #[arg(long, value_name = "NUMBER")]
    pub icmp_type: Option<u8>,
    /// Code of an ICMP message
    #[arg(long, value_name = "NUMBER", default_value_t = 0)]
    pub icmp_code: u8,
    /// IPv6 where both ends have both families
    #[arg(short = '6', long)]
    pub ipv6: bool,
    /// text or json
    #[arg(short, long, default_value = "text", value_name = "FORMAT")]
    pub output: String,
    /// Where from.
    #[command(flatten)]
    pub config: ConfigArgs,
}

/// Answers the question.
///
/// # Errors
/// Ends that are nobody or several, a packet that cannot be, or a datastore that does not answer.
pub async fn run(args: &WhyArgs, global: &Global, env: Environment<'_>, io: &mut Io) -> Result<(), Failure> {
    if !["text", "json"].contains(&args.output.as_str()) {
        let text = format!("unrecognized output format {:?}: expected text or json", args.output);
        return Err(Failure::Message(text));
    }
    let client = session::connect(&args.config, global, env).map_err(session::OpenError::into_failure)?;
    let stored = Stored::read(&**client.store())
        .await
        .map_err(|error| Failure::Message(session::explain(&datastore::ClientError::Store(error))))?;
    let answer = answer(args, &stored).map_err(Failure::Message)?;
    match args.output.as_str() {
        "json" => io.line(&format!("{:#}", show::json(&answer))),
        _ => io.print(&show::text(&answer)),
    }
}

/// The answer from a stored state.
fn answer(args: &WhyArgs, stored: &Stored) -> Result<judge::Answer, String> {
    let from = ends::find(stored, &args.from)?;
    let to = ends::find(stored, &args.to)?;
    let (source, destination) = ends::addresses(&from, &to, args.ipv6)?;
    let packet = packet(args, source, destination)?;
    Ok(judge::judge(stored, from, to, packet))
}

fn packet(args: &WhyArgs, source: std::net::IpAddr, destination: std::net::IpAddr) -> Result<Packet, String> {
    let (icmp, echo) = match model::net::family_of(source) {
        Family::V4 => (ICMP, 8),
        Family::V6 => (ICMPV6, 128),
    };
    let protocol = match &args.protocol {
        None if args.port.is_some() => 6,
        None => icmp,
        Some(text) => number(text)?,
    };
    let has_ports = WITH_PORTS.contains(&protocol);
    if has_ports && args.port.is_none() {
        return Err(format!("--port is missing: packets of protocol {} go to a port", name(protocol)));
    }
    if !has_ports && args.port.is_some() {
        return Err(format!("--port: packets of protocol {} have no ports", name(protocol)));
    }
    if protocol != icmp && args.icmp_type.is_some() {
        return Err(format!("--icmp-type: packets of protocol {} have no ICMP type", name(protocol)));
    }
    Ok(Packet {
        source,
        destination,
        protocol,
        ports: args.port.map(|port| (args.source_port, port)),
        icmp: (protocol == icmp).then(|| (args.icmp_type.unwrap_or(echo), args.icmp_code)),
    })
}

fn number(text: &str) -> Result<u8, String> {
    let protocol = match text.parse::<u8>() {
        Ok(number) => Some(number).filter(|number| *number > 0),
        Err(_) => {
            let names = ["TCP", "UDP", "ICMP", "ICMPv6", "SCTP", "UDPLite"];
            let known = names.iter().find(|name| name.eq_ignore_ascii_case(text));
            known.and_then(|name| Protocol::Name((*name).to_owned()).number())
        }
    };
    protocol.ok_or_else(|| {
        format!(
            "--protocol {text:?}: expected TCP, UDP, ICMP, ICMPv6, SCTP, UDPLite or a number from 1 to 255"
        )
    })
}

/// What people call a protocol.
fn name(protocol: u8) -> String {
    match protocol {
        1 => "ICMP".to_owned(),
        6 => "TCP".to_owned(),
        17 => "UDP".to_owned(),
        58 => "ICMPv6".to_owned(),
        132 => "SCTP".to_owned(),
        136 => "UDPLite".to_owned(),
        number => number.to_string(),
    }
}
