//! Which failpoints there are: the step tables of our pages name them.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

/// Every failpoint that the tables of a page (`cni-plugin/DESIGN.md`) name and that begins in one of these ways.
///
/// # Panics
/// There is no such page.
#[allow(clippy::expect_used)]
pub fn named_in(page: &str, prefixes: &[&str]) -> Vec<String> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(page);
    let text = fs::read_to_string(path).expect(page);
    let cells = text.lines().filter(|line| line.starts_with('|')).flat_map(|line| line.split('|'));
    let names = cells.flat_map(|cell| cell.split('`').skip(1).step_by(2));
    let points: BTreeSet<&str> =
        names.filter(|name| prefixes.iter().any(|prefix| name.starts_with(prefix))).collect();
    points.into_iter().map(str::to_owned).collect()
}
