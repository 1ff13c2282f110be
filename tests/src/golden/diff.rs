//! Line by line differences, for people.

/// What differs, with `-` before recorded lines, `+` before ours, and two lines of context.
pub fn diff(recorded: &str, ours: &str) -> String {
    let left: Vec<&str> = recorded.split('\n').collect();
    let right: Vec<&str> = ours.split('\n').collect();
    let mut lines = Vec::new();
    let (mut l, mut r) = (left.as_slice(), right.as_slice());
    let table = common(&left, &right);
    loop {
        match (l.split_first(), r.split_first()) {
            (None, None) => break,
            (Some((a, l_rest)), Some((b, r_rest))) if a == b => {
                lines.push(format!("  {a}"));
                (l, r) = (l_rest, r_rest);
            }
            (Some((a, l_rest)), right_side) => {
                let skip_left = longest(&table, left.len() - l_rest.len(), right.len() - r.len());
                let skip_right = longest(&table, left.len() - l.len(), right.len() - r.len() + 1);
                match right_side {
                    Some((b, r_rest)) if skip_right > skip_left => {
                        lines.push(format!("+ {b}"));
                        r = r_rest;
                    }
                    _ => {
                        lines.push(format!("- {a}"));
                        l = l_rest;
                    }
                }
            }
            (None, Some((b, r_rest))) => {
                lines.push(format!("+ {b}"));
                r = r_rest;
            }
        }
    }
    let changed: Vec<usize> =
        lines.iter().enumerate().filter(|(_, line)| !line.starts_with("  ")).map(|(at, _)| at).collect();
    let near = |at: usize| changed.iter().any(|change| change.abs_diff(at) <= 2);
    let mut out = String::new();
    let mut gap = false;
    for (at, line) in lines.iter().enumerate() {
        if near(at) {
            out.push_str(line);
            out.push('\n');
            gap = false;
        } else if !gap {
            out.push_str("  ...\n");
            gap = true;
        }
    }
    out
}

/// Lengths of the longest common subsequences of all pairs of tails.
fn common(left: &[&str], right: &[&str]) -> Vec<Vec<usize>> {
    let mut table = vec![vec![0; right.len() + 1]; left.len() + 1];
    for (i, a) in left.iter().enumerate().rev() {
        for (j, b) in right.iter().enumerate().rev() {
            let value = if a == b {
                longest(&table, i + 1, j + 1) + 1
            } else {
                longest(&table, i + 1, j).max(longest(&table, i, j + 1))
            };
            if let Some(cell) = table.get_mut(i).and_then(|row| row.get_mut(j)) {
                *cell = value;
            }
        }
    }
    table
}

fn longest(table: &[Vec<usize>], i: usize, j: usize) -> usize {
    table.get(i).and_then(|row| row.get(j)).copied().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::diff;

    #[test]
    fn shows_what_changed_and_where() {
        let text = diff("a\nb\nc\nd\ne\nf\ng", "a\nb\nc\nx\nd\ne\nf\nG");
        assert_eq!(text, "  ...\n  b\n  c\n+ x\n  d\n  e\n  f\n- g\n+ G\n");
    }

    #[test]
    fn equal_texts_show_no_change() {
        assert_eq!(diff("a\nb", "a\nb"), "  ...\n");
    }

    #[test]
    fn all_replaced() {
        assert_eq!(diff("a", "b"), "- a\n+ b\n");
    }
}
