//! Figures by scenario, figure and subject; their medians beside each other, as ratios, and against the goals.

use super::scenario::Figures;
use super::subject::Subject;
use crate::report::{load, quantile, short};
use anyhow::Result;
use std::collections::BTreeMap;

/// What is asked of ours: scenario, figure, whose figure it is a part of, and which part at most.
const GOALS: &[(&str, &str, Subject, f64)] = &[
    ("A", "announce s", Subject::Bird, 0.35),
    ("A", "announce MB", Subject::Bird, 1.0),
    ("A", "withdraw s", Subject::Bird, 0.35),
    ("A", "again s", Subject::Bird, 0.35),
    ("A", "end MB", Subject::Bird, 1.0),
    ("B", "announce s", Subject::Frr, 0.3),
    ("B", "announce MB", Subject::Bird, 1.2),
    ("C", "announce s", Subject::Frr, 0.5),
    ("C", "announce MB", Subject::Bird, 2.0),
    ("C", "drop s", Subject::Bird, 1.0),
    ("D", "announce s", Subject::Frr, 0.5),
    ("D", "announce MB", Subject::Bird, 2.0),
    ("fib", "kernel s", Subject::Null, 1.0 / 0.7),
];

/// Goals in seconds that stand by themselves. That of `return` is what RustyBGP, which Debian has not, took.
const LIMITS: &[(&str, &str, f64)] = &[("C", "return s", 0.012), ("C", "change s", 0.010)];

/// Scenario and figure.
type Key = (&'static str, &'static str);

/// The figure of each run.
type BySubject = BTreeMap<Subject, Vec<f64>>;

/// All figures of a run.
#[derive(Debug, Default)]
pub struct Report {
    /// By scenario, then figure; both in the order they came.
    rows: Vec<(Key, BySubject)>,
    failures: Vec<String>,
}

impl Report {
    /// Runs one subject once, prints what it found with the load of the machine, and keeps it.
    pub fn add(
        &mut self,
        scenario: &'static str,
        subject: Subject,
        run: usize,
        work: impl FnOnce(&mut Figures) -> Result<()>,
    ) {
        let mut figures = Figures::new();
        let result = work(&mut figures);
        let text: Vec<String> =
            figures.iter().map(|(figure, value)| format!("{figure} {}", short(*value))).collect();
        println!("{scenario} {run} {:<7} load {}: {}", subject.name(), load(), text.join(", "));
        for (figure, value) in figures {
            self.row((scenario, figure)).entry(subject).or_default().push(value);
        }
        if let Err(error) = result {
            let text = format!("{scenario} {run} {}: {error:#}", subject.name());
            println!("{text}");
            self.failures.push(text);
        }
    }

    fn row(&mut self, key: Key) -> &mut BySubject {
        let at = self.rows.iter().position(|(other, _)| *other == key).unwrap_or_else(|| {
            // Beside the figures of its scenario.
            let at = self.rows.iter().rposition(|((scenario, _), _)| *scenario == key.0);
            let at = at.map_or(self.rows.len(), |last| last + 1);
            self.rows.insert(at, (key, BTreeMap::new()));
            at
        });
        &mut self.rows[at].1
    }

    /// Prints medians, those of ours also as parts of the others', and which goals are reached, as one Markdown table.
    pub fn print(&self, subjects: &[Subject]) {
        let head: Vec<&str> = subjects.iter().map(|subject| subject.name()).collect();
        println!("\n| scenario | figure | {} | ocicat ÷ others | goal |", head.join(" | "));
        println!("|---|---|{}---|---|", "---|".repeat(subjects.len()));
        for ((scenario, figure), by_subject) in &self.rows {
            let of = |subject: Subject| by_subject.get(&subject).map(|values| quantile(values, 0.5));
            let cells: Vec<String> =
                subjects.iter().map(|&subject| of(subject).map_or("–".to_owned(), short)).collect();
            let ours = of(Subject::Ocicat);
            let ratios: Vec<String> = subjects
                .iter()
                .filter(|&&subject| subject != Subject::Ocicat)
                .filter_map(|&subject| Some(format!("{} {:.2}", subject.name(), ours? / of(subject)?)))
                .collect();
            let goal = goal(scenario, figure, ours, of).unwrap_or_default();
            println!("| {scenario} | {figure} | {} | {} | {goal} |", cells.join(" | "), ratios.join(", "));
        }
        for failure in &self.failures {
            println!("failed: {failure}");
        }
    }
}

fn goal(
    scenario: &str,
    figure: &str,
    ours: Option<f64>,
    of: impl Fn(Subject) -> Option<f64>,
) -> Option<String> {
    let (text, limit) = match GOALS.iter().find(|(s, f, ..)| (*s, *f) == (scenario, figure)) {
        Some((.., whose, part)) => {
            (format!("≤ {part:.2} × {}", whose.name()), of(*whose).map(|whose| whose * part))
        }
        None => {
            let (.., limit) = LIMITS.iter().find(|(s, f, _)| (*s, *f) == (scenario, figure))?;
            (format!("≤ {limit}"), Some(*limit))
        }
    };
    let verdict = match (ours, limit) {
        (Some(ours), Some(limit)) if ours <= limit => ": reached",
        (Some(_), Some(_)) => ": **missed**",
        _ => "",
    };
    Some(text + verdict)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn medians_are_compared_with_the_goal() {
        let mut report = Report::default();
        for (run, (ours, bird)) in [(0.5, 2.0), (9.0, 2.0), (0.6, 2.0)].into_iter().enumerate() {
            for (subject, value) in [(Subject::Ocicat, ours), (Subject::Bird, bird)] {
                report.add("A", subject, run, |figures| {
                    figures.push(("announce s", value));
                    Ok(())
                });
            }
        }
        report.add("C", Subject::Ocicat, 1, |_| Err(anyhow::anyhow!("gone")));
        let row = report.row(("A", "announce s")).clone();
        let of = |subject: Subject| row.get(&subject).map(|values| quantile(values, 0.5));
        assert_eq!(of(Subject::Ocicat), Some(0.6));
        assert!(goal("A", "announce s", of(Subject::Ocicat), of).unwrap().ends_with("reached"));
        assert!(goal("A", "announce s", Some(0.71), of).unwrap().ends_with("**missed**"));
        assert_eq!(goal("A", "sessions MB", Some(1.0), of), None);
        assert_eq!(report.failures.len(), 1);
    }
}
