//! Figures by row, and against goals, with Calico's own figures on a machine like this beside them.

use crate::wanted::Wanted;
use anyhow::Result;
use std::fs;

/// A goal of a row's figure: at most this. And what Calico's better mode took.
pub type Goal = (&'static str, &'static str, f64, &'static str);

/// All figures of a run.
#[derive(Debug)]
pub struct Report {
    goals: &'static [Goal],
    rows: Vec<(&'static str, String, f64, String)>,
    failures: Vec<String>,
}

/// What one row found: the name of each figure (its unit is its last word) and the figure.
pub type Figures = Vec<(String, f64)>;

/// A row's name and what it does.
pub type Row = (&'static str, fn(&mut Figures) -> Result<()>);

impl Report {
    /// Runs the rows that are wanted and prints one table. A row that fails is told in it.
    pub fn of(rows: &[Row], wanted: &Wanted, goals: &'static [Goal]) {
        let mut report = Self::new(goals);
        for (name, run) in rows {
            if wanted.has(name) {
                println!("\n{name}");
                report.add(name, run);
            }
        }
        report.print();
    }

    fn new(goals: &'static [Goal]) -> Self {
        Self { goals, rows: Vec::new(), failures: Vec::new() }
    }

    /// Runs one row, prints what it found with the load of the machine, and keeps it.
    fn add(&mut self, row: &'static str, work: impl FnOnce(&mut Figures) -> Result<()>) {
        let mut figures = Figures::new();
        let result = work(&mut figures);
        let load = load();
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
    fn print(&self) {
        println!("\n| row | figure | ocicat | Calico | goal | load |\n|---|---|---|---|---|---|");
        for (row, figure, value, load) in &self.rows {
            let found = self.goals.iter().find(|(of, name, ..)| (of, name) == (row, &figure.as_str()));
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

/// The load of the machine in the last minute.
pub fn load() -> String {
    let load = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    load.split(' ').next().unwrap_or_default().to_owned()
}

/// Three digits that matter.
pub fn short(value: f64) -> String {
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
        let mut report = Report::new(&[]);
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
