//! Packets sent through a node, judged by the oracle.

use super::matching::Coverage;
use super::oracle::Oracle;
use super::packets::{self, Packet, Passage, Place};
use super::stage::Stage;
use anyhow::Result;

/// What kinds of packets there are; each must arrive somewhere in a run.
pub const PROTOCOLS: [&str; 10] = [
    "ICMP",
    "TCP over IPv4",
    "UDP over IPv4",
    "SCTP over IPv4",
    "GRE over IPv4",
    "ICMPv6",
    "TCP over IPv6",
    "UDP over IPv6",
    "SCTP over IPv6",
    "GRE over IPv6",
];

/// From where to where; on each of these ways a packet must arrive in a run.
pub const ENDS: [&str; 9] = [
    "workload to workload",
    "workload to itself",
    "workload to host",
    "workload to outside",
    "host to workload",
    "host to outside",
    "outside to workload",
    "outside to host",
    "outside to outside",
];

fn protocol(packet: &Packet) -> &'static str {
    let place = [[1, 58], [6, 6], [17, 17], [132, 132], [47, 47]]
        .iter()
        .position(|numbers| numbers.contains(&packet.protocol))
        .unwrap_or_default();
    PROTOCOLS[if packet.version() == 4 { place } else { place + 5 }]
}

fn ends(passage: &Passage) -> &'static str {
    let place = match (&passage.from, &passage.to) {
        (from, to) if from == to => 1,
        (Place::Workload(..), Place::Workload(..)) => 0,
        (Place::Workload(..), Place::Host) => 2,
        (Place::Workload(..), Place::Beyond(_)) => 3,
        (Place::Host, Place::Workload(..)) => 4,
        (Place::Host, _) => 5,
        (Place::Beyond(_), Place::Workload(..)) => 6,
        (Place::Beyond(_), Place::Host) => 7,
        (Place::Beyond(_), Place::Beyond(_)) => 8,
    };
    ENDS[place]
}

/// Sends the packets that are flows of their own. Says which ones end otherwise than the oracle says, or look otherwise where
/// they arrive, and how many were sent; what they were about is counted.
///
/// # Errors
/// One cannot be sent.
pub fn judge(
    oracle: &Oracle,
    stage: &mut Stage,
    passages: impl IntoIterator<Item = Passage>,
    coverage: &mut Coverage,
) -> Result<(Vec<String>, usize)> {
    let mut all = Vec::new();
    for passage in passages {
        let mut of_this = Coverage::default();
        let outcome = oracle.passage(&passage, &mut of_this);
        let behind = Packet { source: outcome.seen.source, ..outcome.packet };
        if stage.is_new(&[passage.packet, behind]) {
            of_this.event(if outcome.arrives { "arrives" } else { "dropped" });
            if outcome.arrives {
                of_this.event(protocol(&passage.packet));
                of_this.event(ends(&passage));
            }
            coverage.add(&of_this);
            all.push((passage, outcome, of_this.trail.join(", ")));
        }
    }
    let passages: Vec<Passage> = all.iter().map(|(passage, ..)| passage.clone()).collect();
    let wanted: Vec<bool> = all.iter().map(|(_, outcome, _)| outcome.arrives).collect();
    let arrived = stage.send(&passages, &wanted)?;
    let mut wrong = Vec::new();
    for ((passage, outcome, trail), heard) in all.iter().zip(&arrived) {
        let as_said = match heard {
            Some(heard) => outcome.arrives && outcome.seen.is(heard.source, heard.port),
            None => !outcome.arrives,
        };
        if !as_said {
            let verdict =
                if outcome.arrives { format!("arrives as {:?}", outcome.seen) } else { "dropped".to_owned() };
            let packet = packets::describe(passage);
            wrong.push(format!(
                "{packet}\n  oracle: {verdict} by {} ({trail})\n  kernel: {heard:?}",
                outcome.why
            ));
        }
    }
    Ok((wrong, all.len()))
}
