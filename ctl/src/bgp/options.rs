//! The table of annotations, printed from the one that reads them.

use crate::print::grid::{Align, grid};
use bgp_config::{ANNOTATION_PREFIX, OPTIONS};

/// All annotations, one row each.
pub(super) fn text() -> String {
    let rows: Vec<Vec<String>> = OPTIONS
        .iter()
        .map(|option| {
            let name = format!("{ANNOTATION_PREFIX}{}", option.name);
            let cells = [&name, option.scope.kinds(), option.values, option.default, option.doc];
            cells.map(str::to_owned).to_vec()
        })
        .collect();
    let headings = ["ANNOTATION", "ON", "VALUE", "DEFAULT", "MEANING"].map(|heading| (heading, Align::Left));
    format!(
        "On a BGPPeer an annotation is about its sessions, on BGPConfiguration node.NAME about all of that node,\n\
         on BGPConfiguration default about all there are; the nearest counts.\n{}",
        grid(&headings, &rows)
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_option_has_its_row() {
        let text = text();
        for option in OPTIONS {
            let name = format!("| {ANNOTATION_PREFIX}{} ", option.name);
            let row = text.lines().find(|line| line.starts_with(&name)).expect(option.name);
            assert!(row.contains(option.values) && row.contains(option.doc), "{row}");
        }
        assert_eq!(text.lines().count(), OPTIONS.len() + 2 + 4);
    }
}
