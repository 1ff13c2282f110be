//! The configuration file: `name = value` a line, in sections whose names say nothing.

use std::collections::BTreeMap;

/// A line that says nothing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {text:?} is not \"name = value\"")]
pub struct FileError {
    /// Counted from 1.
    pub line: usize,
    /// What stands there.
    pub text: String,
}

/// The values of a file, by name in small letters; the last of several counts.
pub(crate) fn parse(text: &str) -> Result<BTreeMap<String, String>, FileError> {
    let mut found = BTreeMap::new();
    for (index, whole) in text.trim_start_matches('\u{feff}').lines().enumerate() {
        let line = without_comment(whole.trim());
        if line.is_empty() || (line.starts_with('[') && line.ends_with(']')) {
            continue;
        }
        let Some((name, value)) = line.split_once(['=', ':']) else {
            return Err(FileError { line: index + 1, text: whole.to_owned() });
        };
        found.insert(name.trim().to_ascii_lowercase(), unquoted(value.trim()).to_owned());
    }
    Ok(found)
}

/// Comments begin the line or follow a blank.
fn without_comment(line: &str) -> &str {
    if line.starts_with(['#', ';']) {
        return "";
    }
    let comment = [" #", " ;", "\t#", "\t;"].iter().filter_map(|mark| line.find(mark)).min();
    line.get(..comment.unwrap_or(line.len())).unwrap_or(line).trim_end()
}

fn unquoted(value: &str) -> &str {
    let inside = |quote| value.strip_prefix(quote).and_then(|rest| rest.strip_suffix(quote));
    inside('"').or_else(|| inside('\'')).unwrap_or(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_values_are_read_and_sections_ignored() {
        let text = "# all of it\n[global]\nLogSeverityScreen = DEBUG\n\n[other]\n; said again\nHEALTHPORT=9100 # here\n\
                    FailsafeInboundHostPorts = tcp:22,udp:68\nLogPrefix: \"a # b\"\nhealthport=9101\n";
        let found = parse(text).unwrap();
        let found: Vec<(&str, &str)> = found.iter().map(|(name, value)| (&**name, &**value)).collect();
        let wanted = [
            ("failsafeinboundhostports", "tcp:22,udp:68"),
            ("healthport", "9101"),
            ("logprefix", "\"a"),
            ("logseverityscreen", "DEBUG"),
        ];
        assert_eq!(found, wanted);
        assert!(parse("").unwrap().is_empty());
        assert_eq!(parse("a = \"b c\"\nd='e'").unwrap().into_values().collect::<Vec<_>>(), ["b c", "e"]);
    }

    #[test]
    fn a_line_that_says_nothing_is_named() {
        let error = parse("[global]\nLogPrefix\n").unwrap_err();
        assert_eq!(error.to_string(), "line 2: \"LogPrefix\" is not \"name = value\"");
    }
}
