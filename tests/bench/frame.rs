//! Samples taken in turns, and what is said of them.

use anyhow::Result;
use std::time::Duration;

/// One thing that is measured: each call gives one sample a part (`ADD`, `DEL`).
pub struct Subject<'a> {
    /// Name in the table.
    pub name: &'static str,
    /// Takes one sample a part, in the order of the parts.
    pub sample: Box<dyn FnMut() -> Result<Vec<Duration>> + 'a>,
}

/// Samples of one subject's part.
#[derive(Debug, Clone, Default)]
pub struct Samples(Vec<Duration>);

impl Samples {
    /// The smallest: what the work takes when nothing disturbs it.
    pub fn minimum(&self) -> Duration {
        self.0.iter().min().copied().unwrap_or_default()
    }

    /// The middle one.
    pub fn median(&self) -> Duration {
        let mut sorted = self.0.clone();
        sorted.sort_unstable();
        sorted.get(sorted.len() / 2).copied().unwrap_or_default()
    }
}

/// Runs all subjects in turns, `rounds` times, after one round that does not count. Returns, for each subject, its samples by part.
///
/// # Errors
/// A subject fails.
pub fn in_turns(rounds: usize, subjects: &mut [Subject<'_>]) -> Result<Vec<Vec<Samples>>> {
    let mut all: Vec<Vec<Samples>> = subjects.iter().map(|_| Vec::new()).collect();
    for round in 0..=rounds {
        for (subject, samples) in subjects.iter_mut().zip(&mut all) {
            for (part, sample) in (subject.sample)()?.into_iter().enumerate() {
                if round == 0 {
                    samples.push(Samples::default());
                } else if let Some(samples) = samples.get_mut(part) {
                    samples.0.push(sample);
                }
            }
        }
    }
    Ok(all)
}

/// Prints minima and medians in milliseconds, each also as a multiple of the last subject's.
pub fn print(title: &str, parts: &[&str], subjects: &[Subject<'_>], samples: &[Vec<Samples>]) {
    println!("\n{title}");
    println!("{:<28} {:>5} {:>9} {:>7} {:>9} {:>7}", "", "", "min ms", "ratio", "median ms", "ratio");
    for (part, name) in parts.iter().enumerate() {
        let base = samples.last().and_then(|last| last.get(part)).cloned().unwrap_or_default();
        for (subject, samples) in subjects.iter().zip(samples) {
            let Some(samples) = samples.get(part) else { continue };
            let (minimum, median) = (millis(samples.minimum()), millis(samples.median()));
            println!(
                "{:<28} {name:>5} {minimum:>9.2} {:>7.2} {median:>9.2} {:>7.2}",
                subject.name,
                minimum / millis(base.minimum()),
                median / millis(base.median()),
            );
        }
    }
}

fn millis(time: Duration) -> f64 {
    time.as_secs_f64() * 1000.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn subjects_take_turns_and_the_first_round_does_not_count() {
        let order = std::cell::RefCell::new(Vec::new());
        let subject = |name, millis: u64| Subject {
            name,
            sample: Box::new({
                let order = &order;
                let mut count = 0;
                move || {
                    order.borrow_mut().push(name);
                    count += 1;
                    Ok(vec![Duration::from_millis(millis * count)])
                }
            }),
        };
        let samples = in_turns(3, &mut [subject("a", 1), subject("b", 10)]).unwrap();
        assert_eq!(order.borrow().join(""), "abababab");
        assert_eq!(samples[0][0].minimum(), Duration::from_millis(2));
        assert_eq!(samples[1][0].median(), Duration::from_millis(30));
    }
}
