//! Figures by row, and against the goals: those of the issue that asked for the agent, with Calico's own figures on a
//! machine like this beside them.

use anyhow::Result;
use std::fs;

/// A goal of a row's figure: at most this. And what Calico's better mode took.
type Goal = (&'static str, &'static str, f64, &'static str);

const GOALS: &[Goal] = &[
    ("start", "11 policies, 50 remote endpoints s", 0.1, "0.38"),
    ("start", "10,000 policies, 250,000 remote endpoints s", 4.0, "17"),
    ("start", "10,000 policies, 250,000 remote endpoints peak MB", 300.0, "1300"),
    ("calculation", "10,000 policies, 250,000 remote endpoints s", 2.0, ""),
    ("calculation", "role of a remote endpoint median us", 100.0, ""),
    ("label", "changes of the kernel that are no set elements", 0.0, ""),
    ("policy", "11 policies median ms", 4.0, "9.0"),
    ("policy", "11 policies p99 ms", 10.0, "26"),
    ("policy", "10,000 policies median ms", 5.0, "11.7"),
    ("policy", "10,000 policies p99 ms", 15.0, "32"),
    ("churn", "unused label: policy p99 ms", 50.0, "median 4400"),
    ("churn", "unused label: cpu %", 15.0, "100"),
    ("churn", "role: policy p99 ms", 50.0, "median 4400"),
    ("churn", "role: cpu %", 15.0, "100"),
    ("connect", "10 policies ÷ floor", 1.1, "1.41"),
    ("connect", "1,000 policies ÷ floor", 1.25, "2.95"),
    ("connect", "10 policies, 10,000 elsewhere ÷ 10 policies", 1.05, ""),
    ("connect", "1,000 policies, 10,000 elsewhere ÷ 1,000 policies", 1.05, ""),
    ("request", "10 policies ÷ floor", 1.1, "1.47"),
    ("request", "1,000 policies ÷ floor", 1.1, "1.47"),
    ("restart", "policy followed again s", 0.5, "2.2"),
    ("netset", "whole set ÷ floor", 1.5, ""),
    ("netset", "one change median ms", 1.0, ""),
    ("idle", "resident MB", 40.0, "110"),
    ("idle", "cpu %", 0.2, "1.05"),
    ("idle", "processes started", 0.0, "64 a minute"),
    ("backends", "iptables (nft): 11 policies median ms", 15.0, "29"),
    ("backends", "iptables (nft): 10,000 policies median ms", 60.0, "91"),
    // 95 % of the rate
    ("iptables-connect", "iptables (legacy), 1,000 policies elsewhere ÷ iptables (legacy)", 1.053, ""),
    ("iptables-connect", "iptables (nft), 1,000 policies elsewhere ÷ iptables (nft)", 1.053, ""),
    ("iptables-request", "iptables (legacy), 1,000 policies elsewhere ÷ iptables (legacy)", 1.053, ""),
    ("iptables-request", "iptables (nft), 1,000 policies elsewhere ÷ iptables (nft)", 1.053, ""),
];

/// All figures of a run.
#[derive(Debug, Default)]
pub struct Report {
    rows: Vec<(&'static str, String, f64, String)>,
    failures: Vec<String>,
}

/// What one row found: the name of each figure (its unit is its last word) and the figure.
pub type Figures = Vec<(String, f64)>;

impl Report {
    /// Runs one row, prints what it found with the load of the machine, and keeps it.
    pub fn add(&mut self, row: &'static str, work: impl FnOnce(&mut Figures) -> Result<()>) {
        let mut figures = Figures::new();
        let result = work(&mut figures);
        let load = fs::read_to_string("/proc/loadavg").unwrap_or_default();
        let load = load.split(' ').next().unwrap_or_default().to_owned();
        for (figure, value) in figures {
            println!("{row}: {figure} {}", short(value));
            self.rows.push((row, figure, value, load.clone()));
        }
        if let Err(error) = result {
            let text = format!("{row}: {error:#}");
            println!("{text}");
            self.failures.push(text);
        }
    }

    /// Prints all as one Markdown table, and what failed.
    pub fn print(&self) {
        println!("\n| row | figure | ocicat | Calico | goal | load |\n|---|---|---|---|---|---|");
        for (row, figure, value, load) in &self.rows {
            let found = GOALS.iter().find(|(of, name, ..)| (of, name) == (row, &figure.as_str()));
            let calico = found.map_or("", |(.., calico)| calico);
            let goal = found.map(|(_, _, limit, _)| goal(*value, *limit)).unwrap_or_default();
            println!("| {row} | {figure} | {} | {calico} | {goal} | {load} |", short(*value));
        }
        for failure in &self.failures {
            println!("failed: {failure}");
        }
    }
}

fn goal(value: f64, limit: f64) -> String {
    let verdict = if value <= limit { "reached" } else { "**missed**" };
    format!("≤ {limit}: {verdict}")
}

/// The value below which this part of the samples lies; the median for 0.5.
pub fn quantile(samples: &[f64], part: f64) -> f64 {
    let mut sorted = samples.to_vec();
    sorted.sort_by(f64::total_cmp);
    let last = sorted.len().saturating_sub(1);
    sorted.get((last as f64 * part).round() as usize).copied().unwrap_or(f64::NAN)
}

/// Three digits that matter.
fn short(value: f64) -> String {
    match value {
        value if value == value.trunc() => format!("{value:.0}"),
        value if value < 0.1 => format!("{value:.4}"),
        value if value < 10.0 => format!("{value:.3}"),
        value => format!("{value:.1}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_failed_is_told_and_what_was_found_before_is_kept() {
        let mut report = Report::default();
        report.add("idle", |figures| {
            figures.push(("resident MB".to_owned(), 41.0));
            Err(anyhow::anyhow!("gone"))
        });
        assert_eq!(report.rows.len(), 1);
        assert_eq!(report.failures, ["idle: gone"]);
        assert!(goal(41.0, 40.0).ends_with("**missed**"));
        assert!(goal(40.0, 40.0).ends_with("reached"));
    }

    #[test]
    fn quantiles_are_samples() {
        let samples: Vec<f64> = (1..=100).rev().map(f64::from).collect();
        assert_eq!(quantile(&samples, 0.0), 1.0);
        assert_eq!(quantile(&samples, 0.99), 99.0);
        assert_eq!(quantile(&[7.0], 0.99), 7.0);
        assert!(quantile(&[], 0.5).is_nan());
    }
}
