//! Columns padded with blanks, as `get` shows them: each as wide as its widest cell and three more, blanks at the
//! end of lines kept. Source: `calicoctl.md` §5 of the contract.

/// Blanks after the widest cell of a column.
const PADDING: usize = 3;
/// No column is narrower, its padding included.
const MIN_WIDTH: usize = 5;

/// The rows as text; the first is the headings.
pub fn table(rows: &[Vec<String>]) -> String {
    let columns = rows.iter().map(Vec::len).max().unwrap_or_default();
    let mut widths = vec![MIN_WIDTH; columns];
    for row in rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.chars().count() + PADDING);
        }
    }
    let mut text = String::new();
    for row in rows {
        for (width, cell) in widths.iter().zip(row) {
            text.push_str(cell);
            text.extend(std::iter::repeat_n(' ', width.saturating_sub(cell.chars().count())));
        }
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::table;

    fn rows(rows: &[&[&str]]) -> Vec<Vec<String>> {
        rows.iter().map(|row| row.iter().map(|cell| (*cell).to_owned()).collect()).collect()
    }

    #[test]
    fn as_recorded() {
        let text = table(&rows(&[
            &["NAME", "ASN", "IPV4", "IPV6"],
            &["n1", "64512", "192.0.2.11/24", ""],
            &["n3", "", "", ""],
        ]));
        let expected = "\
NAME   ASN     IPV4            IPV6   
n1     64512   192.0.2.11/24          
n3                                    
";
        assert_eq!(text, expected);
    }

    #[test]
    fn narrow_columns_and_wide_characters() {
        assert_eq!(table(&rows(&[&["A", "B"], &["é", "x"]])), "A    B    \né    x    \n");
        assert_eq!(table(&rows(&[&["ABC"]])), "ABC   \n");
        assert_eq!(table(&[]), "");
    }
}
