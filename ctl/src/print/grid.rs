//! Tables with borders, as the `ipam` commands show them. Source: `calicoctl.md` §6 of the contract.

/// On which side cells stand; headings always stand left.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Align {
    /// Left.
    Left,
    /// Right.
    Right,
}

/// A table of headings and rows between `+---+` borders.
pub fn grid(headings: &[(&str, Align)], rows: &[Vec<String>]) -> String {
    let mut widths: Vec<usize> = headings.iter().map(|(heading, _)| heading.chars().count()).collect();
    for row in rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.chars().count());
        }
    }
    let border: String =
        widths.iter().map(|width| format!("+{}", "-".repeat(width + 2))).chain(["+\n".to_owned()]).collect();
    let mut text = border.clone();
    let line = |text: &mut String, cells: &mut dyn Iterator<Item = (&str, Align)>| {
        for ((cell, align), width) in cells.zip(&widths) {
            let blanks = " ".repeat(width.saturating_sub(cell.chars().count()));
            match align {
                Align::Left => text.extend(["| ", cell, &blanks, " "]),
                Align::Right => text.extend(["| ", &blanks, cell, " "]),
            }
        }
        text.push_str("|\n");
    };
    line(&mut text, &mut headings.iter().map(|(heading, _)| (*heading, Align::Left)));
    text.push_str(&border);
    for row in rows {
        line(&mut text, &mut row.iter().map(String::as_str).zip(headings.iter().map(|(_, align)| *align)));
    }
    text.push_str(&border);
    text
}

#[cfg(test)]
mod tests {
    use super::{Align, grid};

    #[test]
    fn as_recorded() {
        let headings = [("CIDR", Align::Left), ("IPS TOTAL", Align::Right), ("IPS FREE", Align::Right)];
        let row = |cells: [&str; 3]| cells.map(str::to_owned).to_vec();
        let text = grid(
            &headings,
            &[row(["fd00:80::/64", "9.2234e+18", "63 (98%)"]), row(["10.80.0.0/29", "8", "2 (25%)"])],
        );
        let expected = "\
+--------------+------------+----------+
| CIDR         | IPS TOTAL  | IPS FREE |
+--------------+------------+----------+
| fd00:80::/64 | 9.2234e+18 | 63 (98%) |
| 10.80.0.0/29 |          8 |  2 (25%) |
+--------------+------------+----------+
";
        assert_eq!(text, expected);
    }

    #[test]
    fn without_rows() {
        let text = grid(&[("IP", Align::Left)], &[]);
        assert_eq!(text, "+----+\n| IP |\n+----+\n+----+\n");
    }
}
