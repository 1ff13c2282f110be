//! Lines that say what has been done, with the time since the beginning.

use std::io::Write;
use std::time::Instant;

/// Prints progress.
#[derive(Debug)]
pub struct Progress {
    begin: Instant,
    to_stderr: bool,
    steps: Vec<(String, f64)>,
}

impl Progress {
    /// Begins now; with `json`, standard output is kept for the result.
    pub fn new(json: bool) -> Self {
        Self { begin: Instant::now(), to_stderr: json, steps: Vec::new() }
    }

    /// Says what has been done.
    pub fn say(&mut self, text: &str) {
        let seconds = self.seconds();
        self.steps.push((text.to_string(), seconds));
        let line = format!("{seconds:7.3} s  {text}\n");
        // Nobody has to watch.
        let _ = if self.to_stderr {
            std::io::stderr().write_all(line.as_bytes())
        } else {
            let mut out = std::io::stdout();
            out.write_all(line.as_bytes()).and_then(|()| out.flush())
        };
    }

    /// Seconds since the beginning.
    pub fn seconds(&self) -> f64 {
        self.begin.elapsed().as_secs_f64()
    }

    /// What has been said, with its time.
    pub fn steps(&self) -> &[(String, f64)] {
        &self.steps
    }
}
