//! Texts that say the same in other words.
//!
//! Some recorded texts are the Go language's own: errors of its JSON and YAML readers, the tags of its validator, prints of
//! its structs. Ours must refuse the same input and name the same field, in words of its own.

/// Beginnings of what Go itself says; the text from here to the end of the line is its own.
const GO_TEXTS: [&str; 9] = [
    "json: cannot unmarshal",
    "yaml: ",
    "error converting YAML to JSON",
    "strconv.",
    "invalid character",
    "unexpected end of JSON input",
    "netip.Parse",
    "invalid CIDR address",
    "Reason: failed to validate Field",
];

/// Marks where the recording left out a help text.
const HELP: &str = "<help text left out>";

/// Both texts, made equal where ours says the same as the recorded one; unchanged where they say different things.
pub fn reconcile(recorded: &str, ours: &str) -> (String, String) {
    if let Some(before) = recorded.find(HELP).and_then(|at| recorded.get(..at)) {
        let same = ours.starts_with(before) && ours.len() > before.len();
        return (recorded.to_owned(), if same { recorded.to_owned() } else { ours.to_owned() });
    }
    let left: Vec<&str> = recorded.split('\n').collect();
    let right: Vec<&str> = ours.split('\n').collect();
    if left.len() != right.len() {
        return (recorded.to_owned(), ours.to_owned());
    }
    let lines: Vec<&str> = left
        .iter()
        .zip(&right)
        .map(|(theirs, ours)| if same_meaning(theirs, ours) { *theirs } else { *ours })
        .collect();
    (recorded.to_owned(), lines.join("\n"))
}

/// Whether a line of ours means what the recorded one does.
fn same_meaning(recorded: &str, ours: &str) -> bool {
    if recorded == ours {
        return true;
    }
    let go = GO_TEXTS.iter().filter_map(|text| recorded.find(text)).min();
    if let Some((before, own)) = go.and_then(|at| recorded.split_at_checked(at)) {
        let before = before.trim_end_matches(['"', '\'']);
        return ours.strip_prefix(before).is_some_and(|words| !words.is_empty() && names(own, words));
    }
    let printed = recorded.contains("'{") || recorded.contains("&");
    (printed && without_structs(recorded) == without_structs(ours))
        || without_value(recorded).is_some_and(|text| without_value(ours) == Some(text))
}

/// The line with `{}` for every print of a structure, Go's (`&Name{…}`) or ours (`{…}`).
fn without_structs(line: &str) -> String {
    let mut out = String::new();
    let mut depth = 0;
    for c in line.chars() {
        match c {
            '{' => {
                if depth == 0 {
                    let name = out.trim_end_matches(char::is_alphanumeric).strip_suffix('&').map(str::len);
                    out.truncate(name.unwrap_or(out.len()));
                    out.push_str("{}");
                }
                depth += 1;
            }
            '}' if depth > 0 => depth -= 1,
            _ if depth > 0 => {}
            _ => out.push(c),
        }
    }
    out
}

/// Whether our words name the field that Go's name. Go says `Go struct field Spec.spec.a.b of type T`: the field is `b`.
fn names(go: &str, ours: &str) -> bool {
    let path = go.split_once("Go struct field ").and_then(|(_, rest)| rest.split_whitespace().next());
    let field = path.and_then(|path| path.rsplit('.').next());
    field.is_none_or(|field| ours.contains(field))
}

/// `field X = '<Go's print of a value>' (reason)` without the print, where it is one of a struct, a pointer or a list.
fn without_value(line: &str) -> Option<(String, String)> {
    let (field, rest) = line.split_once(" = '")?;
    let (value, reason) = rest.split_once("' (")?;
    let printed = value.starts_with(['{', '[', '&']) || value.starts_with("0x") || value.is_empty();
    printed.then(|| (field.to_owned(), reason.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::reconcile;

    fn same(recorded: &str, ours: &str) -> bool {
        let (left, right) = reconcile(recorded, ours);
        left == right
    }

    #[test]
    fn words_of_go_may_be_ours_if_the_field_is_named() {
        let go = "failed to execute command: error unmarshaling JSON: while decoding JSON: json: cannot unmarshal number \
                  into Go struct field BGPPeerSpec.spec.asNumber of type string\n";
        let prefix = "failed to execute command: error unmarshaling JSON: while decoding JSON: ";
        assert!(same(go, &format!("{prefix}spec.asNumber: a number is no text\n")));
        assert!(!same(go, &format!("{prefix}spec.peer: a number is no text\n")));
        assert!(!same(go, "spec.asNumber: a number is no text\n"));
        assert!(!same(go, ""));
    }

    #[test]
    fn other_texts_must_be_equal() {
        assert!(same("a\nb\n", "a\nb\n"));
        assert!(!same("error with field A (b)", "error with field A (c)"));
        assert!(!same("a\nb\n", "a\nb\nc\n"));
    }

    #[test]
    fn prints_of_structs_may_differ_but_not_their_field_or_reason() {
        assert!(same("[error with field S = '&{a b}' (no)]", "[error with field S = '{\"a\":\"b\"}' (no)]"));
        assert!(!same("[error with field S = '&{a b}' (no)]", "[error with field T = '{}' (no)]"));
        let go =
            "[field S = '{ {map[] []} [] []}' (error with rule &Rule{Ports:[]Port{Port{Nr:7,},},} (no))]";
        assert!(same(go, "[field S = '{\"a\":{}}' (error with rule {\"ports\":[{\"nr\":7}]} (no))]"));
        assert!(!same(go, "[field S = '{\"a\":{}}' (error with rule {\"ports\":[{\"nr\":7}]} (yes))]"));
        assert!(!same("[error with field S = 'a' (no)]", "[error with field S = 'b' (no)]"));
    }

    #[test]
    fn a_help_text_is_any_text_in_its_place() {
        assert!(same("Unknown.\n<help text left out>\n", "Unknown.\nUsage: …\n"));
        assert!(!same("Unknown.\n<help text left out>\n", "Usage: …\n"));
        assert!(!same("<help text left out>\n", ""));
    }
}
