//! What the kernel knows of this process, under the names that Prometheus' own clients give it.

use std::fmt::Write;
use std::fs;

/// One thing that is known.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Fact {
    /// Name of the metric.
    pub name: &'static str,
    /// `counter` or `gauge`.
    pub kind: &'static str,
    /// What it is.
    pub help: &'static str,
    /// In the unit that the name ends with.
    pub value: f64,
}

/// Everything the kernel tells (proc(5)); what it does not tell is left out.
pub fn facts() -> Vec<Fact> {
    let read = |file: &str| fs::read_to_string(format!("/proc/self/{file}")).unwrap_or_default();
    let stat = read("stat");
    // a program's name may hold anything, blanks and brackets too
    let fields: Vec<&str> =
        stat.rsplit_once(')').map(|(_, rest)| rest.split_whitespace().collect()).unwrap_or_default();
    let field = |at: usize| fields.get(at)?.parse::<f64>().ok();
    // clock ticks are hundredths of a second, pages 4 KiB, wherever Linux tells them to programs
    let cpu = field(11).zip(field(12)).map(|(user, system)| (user + system) / 100.0);
    let boot = fs::read_to_string("/proc/stat").unwrap_or_default();
    let boot = boot.lines().find_map(|line| line.strip_prefix("btime ")?.trim().parse::<f64>().ok());
    let start = boot.zip(field(19)).map(|(boot, ticks)| boot + ticks / 100.0);
    let open = fs::read_dir("/proc/self/fd").ok();
    let open = open.and_then(|entries| u32::try_from(entries.count()).ok()).map(f64::from);
    let limits = read("limits");
    let limit = |of: &str| {
        let soft = limits.lines().find_map(|line| line.strip_prefix(of)?.split_whitespace().next())?;
        // as Go's client says that there is none
        if soft == "unlimited" { Some(-1.0) } else { soft.parse::<f64>().ok() }
    };
    [
        ("process_cpu_seconds_total", "counter", "Processor time.", cpu),
        ("process_start_time_seconds", "gauge", "Start, in seconds since the epoch.", start),
        ("process_virtual_memory_bytes", "gauge", "Address space.", field(20)),
        (
            "process_virtual_memory_max_bytes",
            "gauge",
            "Most address space, -1 where there is no limit.",
            limit("Max address space"),
        ),
        ("process_resident_memory_bytes", "gauge", "Memory.", field(21).map(|pages| pages * 4096.0)),
        ("process_open_fds", "gauge", "Open files.", open),
        ("process_max_fds", "gauge", "Most open files.", limit("Max open files")),
    ]
    .into_iter()
    .filter_map(|(name, kind, help, value)| Some(Fact { name, kind, help, value: value? }))
    .collect()
}

/// The same in the Prometheus text format.
pub fn render(text: &mut String) {
    for Fact { name, kind, help, value } in facts() {
        // a String takes everything
        let _ = write!(text, "# HELP {name} {help}\n# TYPE {name} {kind}\n{name} {value}\n\n");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_process_is_told_as_it_is() {
        let held: Vec<_> = (0..50).map(|_| fs::File::open("/proc/self/stat").unwrap()).collect();
        let facts = facts();
        let value = |name: &str| facts.iter().find(|fact| fact.name == name).unwrap().value;
        assert!(value("process_open_fds") > 50.0 && value("process_open_fds") <= value("process_max_fds"));
        assert!(value("process_resident_memory_bytes") > 1e6);
        assert!(value("process_virtual_memory_bytes") > value("process_resident_memory_bytes"));
        let now = std::time::UNIX_EPOCH.elapsed().unwrap().as_secs_f64();
        assert!((now - 3600.0..now + 2.0).contains(&value("process_start_time_seconds")), "{facts:?}");
        assert!((0.0..3600.0).contains(&value("process_cpu_seconds_total")), "{facts:?}");
        drop(held);
        let mut text = String::new();
        render(&mut text);
        assert!(
            text.contains("\n# TYPE process_cpu_seconds_total counter\nprocess_cpu_seconds_total "),
            "{text}"
        );
    }
}
