//! Who reaches whom: echo requests between all ends of the lab, in both families, as a table.

use super::echo::echo;
use super::place::Place;
use anyhow::Result;
use serde::Serialize;
use std::net::IpAddr;
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::Duration;

/// How many senders there were.
static RUNS: AtomicU16 = AtomicU16::new(0);

/// A workload or a node.
#[derive(Debug, Clone)]
pub struct End {
    /// Its name in the lab.
    pub name: String,
    /// Where its packets are sent from.
    pub place: Place,
    /// Its addresses, at most one a family.
    pub addresses: Vec<IpAddr>,
    /// It sends as well; else it only answers.
    pub sends: bool,
}

/// One pair and family.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Probe {
    /// Sender.
    pub from: String,
    /// Receiver.
    pub to: String,
    /// 4 or 6.
    pub family: u8,
    /// Address the request went to.
    pub address: IpAddr,
    /// Microseconds to the reply; `None` when none came.
    pub round_trip_micros: Option<u64>,
}

/// Sends from every end that sends to every other at once, and waits so long for a missing answer.
///
/// # Errors
/// An end has gone.
pub fn run(ends: &[End], deadline: Duration) -> Result<Vec<Probe>> {
    std::thread::scope(|scope| {
        let senders: Vec<_> = ends
            .iter()
            .filter(|from| from.sends)
            .map(|from| scope.spawn(move || send(from, ends, deadline)))
            .collect();
        let mut all = Vec::new();
        for sender in senders {
            all.extend(sender.join().map_err(|_| anyhow::anyhow!("a sender died"))??);
        }
        Ok(all)
    })
}

fn send(from: &End, ends: &[End], deadline: Duration) -> Result<Vec<Probe>> {
    let targets: Vec<(&End, IpAddr)> = ends
        .iter()
        .filter(|to| to.name != from.name)
        .flat_map(|to| to.addresses.iter().map(move |address| (to, *address)))
        .collect();
    let addresses: Vec<IpAddr> = targets.iter().map(|(_, address)| *address).collect();
    // Another run of the lab's probes in the same namespaces must not take our replies for its own; and to connection
    // tracking an earlier run's number would be an established connection, which no policy judges again.
    let run = RUNS.fetch_add(1, Ordering::Relaxed);
    let identifier = (std::process::id() as u16).wrapping_mul(64).wrapping_add(run);
    let times = echo(&from.place, identifier, &addresses, deadline)?;
    let probe = |((to, address), time): ((&End, IpAddr), Option<Duration>)| Probe {
        from: from.name.clone(),
        to: to.name.clone(),
        family: if address.is_ipv4() { 4 } else { 6 },
        address,
        round_trip_micros: time.map(|time| u64::try_from(time.as_micros()).unwrap_or(u64::MAX)),
    };
    Ok(targets.into_iter().zip(times).map(probe).collect())
}

/// Whether every packet came back.
pub fn complete(probes: &[Probe]) -> bool {
    !probes.is_empty() && probes.iter().all(|probe| probe.round_trip_micros.is_some())
}

/// The table of one family: a row a sender, a column a receiver, round trips in milliseconds; `denied` says which
/// packets policy denies.
pub fn table(probes: &[Probe], family: u8, denied: &dyn Fn(&str, &str) -> bool) -> String {
    let mut names: Vec<&str> = Vec::new();
    for probe in probes {
        for name in [probe.from.as_str(), probe.to.as_str()] {
            if !names.contains(&name) {
                names.push(name);
            }
        }
    }
    let cell = |from: &str, to: &str| -> String {
        if from == to {
            return "·".to_string();
        }
        let found = probes
            .iter()
            .find(|probe| (probe.from.as_str(), probe.to.as_str(), probe.family) == (from, to, family));
        match found.map(|probe| probe.round_trip_micros) {
            Some(Some(micros)) => format!("{}.{:03}", micros / 1000, micros % 1000),
            Some(None) if denied(from, to) => "denied".to_string(),
            Some(None) => "LOST".to_string(),
            None => "-".to_string(),
        }
    };
    let width = names.iter().map(|name| name.len()).max().unwrap_or(0).max(7);
    let mut text = format!("{:width$}", format!("IPv{family} ms"), width = width + 3);
    for to in &names {
        text.push_str(&format!(" {to:>width$}"));
    }
    let sends = |name: &&&str| probes.iter().any(|probe| probe.from == **name);
    for from in names.iter().filter(sends) {
        text.push_str(&format!("\n{:width$}", format!("{from} →"), width = width + 3));
        for to in &names {
            text.push_str(&format!(" {:>width$}", cell(from, to)));
        }
    }
    text.push('\n');
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn probe(from: &str, to: &str, family: u8, time: Option<u64>) -> Probe {
        let address = if family == 4 { "10.0.0.1" } else { "::1" }.parse().unwrap();
        Probe { from: from.into(), to: to.into(), family, address, round_trip_micros: time }
    }

    #[test]
    fn the_table_shows_times_losses_and_gaps() {
        let probes = [
            probe("w1", "node-1", 4, Some(1234)),
            probe("w1", "node-1", 6, Some(56)),
            probe("node-1", "w1", 4, None),
        ];
        assert_eq!(
            table(&probes, 4, &|_, _| false),
            "IPv4 ms         w1  node-1\n\
             w1 →             ·   1.234\n\
             node-1 →      LOST       ·\n"
        );
        assert!(
            table(&probes, 6, &|_, _| false).contains("0.056")
                && table(&probes, 6, &|_, _| false).contains(" -")
        );
    }

    #[test]
    fn complete_means_every_packet_and_at_least_one() {
        assert!(complete(&[probe("a", "b", 4, Some(1))]));
        assert!(!complete(&[probe("a", "b", 4, Some(1)), probe("b", "a", 4, None)]));
        assert!(!complete(&[]));
    }
}
