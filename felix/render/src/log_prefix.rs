//! `logPrefix` with its tokens replaced (`resources.md` §3.1 of the contract).

use crate::form::Origin;

/// The prefix of lines that a rule writes.
pub fn of(text: &str, origin: &Origin) -> String {
    let (tier, kind, namespace, name) = match origin {
        Origin::Policy { tier, policy, .. } => {
            (&**tier, policy.kind.short_name(), policy.namespace.as_str(), policy.name.as_str())
        }
        Origin::Profile { name, .. } => ("", "pro", "", &**name),
        Origin::EndOfTier(tier) => (&**tier, "", "", ""),
        Origin::NoProfile => ("", "", "", ""),
    };
    let whole = if namespace.is_empty() { name.to_owned() } else { format!("{namespace}/{name}") };
    let mut out = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('%') {
        out.push_str(before);
        let (value, left) = match after.chars().next() {
            Some('t') => (tier, after.get(1..)),
            Some('k') => (kind, after.get(1..)),
            Some('n') => (name, after.get(1..)),
            Some('p') => (whole.as_str(), after.get(1..)),
            _ => ("%", Some(after)),
        };
        out.push_str(value);
        rest = left.unwrap_or_default();
    }
    out.push_str(rest);
    out
}
