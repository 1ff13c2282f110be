//! Values with a form of their own, and the patterns by which Calico's messages call them.

use crate::schema::text::{is_interface, is_rate, of_length};
use crate::schema::{Check, Tag};

/// One of some words in any case, or nothing.
macro_rules! any_case {
    ($first:literal $(, $word:literal)*) => {
        Check::Pattern(concat!("^(?i)(", $first $(, "|", $word)*, ")?$"), |text| {
            $crate::schema::text::is_any_case_or_empty(text, &[$first $(, $word)*])
        })
    };
}
pub(super) use any_case;

/// A duration in Go's form. The pattern of the CRD means to admit fractions and by a doubled backslash does not; nor
/// does it know microseconds or signs.
pub(super) const WHOLE_DURATION: Check =
    Check::Pattern(r"^([0-9]+(\\.[0-9]+)?(ms|s|m|h))*$", |text| is_duration(text, false));

/// The same where the pattern is right.
pub(super) const DURATION: Check =
    Check::Pattern(r"^([0-9]+(\.[0-9]+)?(ms|s|m|h))*$", |text| is_duration(text, true));

/// How long the eBPF data plane keeps a connection.
pub(super) const CONNTRACK_TIMEOUT: Check =
    Check::Pattern(r"^(([0-9]*(\.[0-9]*)?(ms|s|h|m|us)+)+|Auto)$", |text| text == "Auto" || is_timeout(text));

/// Characters of the log prefix.
pub(super) const LOG_PREFIX: Check = Check::Pattern("^([a-zA-Z0-9%: /_-])*$", |text| {
    text.bytes().all(|b| b.is_ascii_alphanumeric() || b"%: /_-".contains(&b))
});

/// `n/unit`
pub(super) const LOG_RATE: Check = Check::Pattern(r"^[1-9]\d{0,3}/(?:second|minute|hour|day)$", is_rate);

/// `feature=true,feature=false`
pub(super) const FEATURE_DETECTION: Check =
    Check::Pattern("^([a-zA-Z0-9-_]+=(true|false|),)*([a-zA-Z0-9-_]+=(true|false|))?$", |text| {
        is_assignments(text, |value| matches!(value, "true" | "false" | ""))
    });

/// `feature=value,feature=value`
pub(super) const FEATURE_GATES: Check =
    Check::Pattern("^([a-zA-Z0-9-_]+=([^=]+),)*([a-zA-Z0-9-_]+=([^=]+))?$", is_feature_gates);

/// Address or host name to listen on.
pub(super) const PROMETHEUS_HOST: Tag = Tag::new("prometheusHost", |value| {
    value
        .as_str()
        .is_some_and(|text| of_length(text, 1..=64, |b| b.is_ascii_alphanumeric() || b":._+-".contains(&b)))
});

/// Interface name or iptables pattern.
pub(super) const IFACE_FILTER: Tag =
    Tag::new("ifaceFilter", |value| value.as_str().is_some_and(is_iface_filter));

/// A list of these.
pub(super) const IFACE_FILTERS: Tag = Tag::new("ifaceFilterSlice", |value| {
    value.as_array().into_iter().flatten().all(|item| item.as_str().is_some_and(is_iface_filter))
});

/// Capture filters by interface.
pub(super) const LOG_FILTERS: Tag = Tag::new("bpfLogFilters", |value| {
    value.as_object().into_iter().flatten().all(|(interface, _)| is_interface(interface))
});

fn is_iface_filter(text: &str) -> bool {
    of_length(text, 1..=15, |b| b.is_ascii_alphanumeric() || b":._+-".contains(&b))
}

/// Numbers with units, one after the other.
fn is_duration(mut text: &str, fractions: bool) -> bool {
    while !text.is_empty() {
        let Some(rest) = digits(text) else { return false };
        let rest = match rest.strip_prefix('.') {
            Some(fraction) if fractions => match digits(fraction) {
                Some(rest) => rest,
                None => return false,
            },
            Some(_) => return false,
            None => rest,
        };
        let Some(rest) = ["ms", "s", "m", "h"].iter().find_map(|unit| rest.strip_prefix(unit)) else {
            return false;
        };
        text = rest;
    }
    true
}

/// What follows at least one digit.
fn digits(text: &str) -> Option<&str> {
    let rest = text.trim_start_matches(|c: char| c.is_ascii_digit());
    (rest.len() < text.len()).then_some(rest)
}

/// Numbers, whole or not and possibly without digits, each with units; no unit stands without an end.
fn is_timeout(text: &str) -> bool {
    let mut rest = text;
    while !rest.is_empty() {
        rest = rest.trim_start_matches(|c: char| c.is_ascii_digit());
        rest = rest.strip_prefix('.').unwrap_or(rest).trim_start_matches(|c: char| c.is_ascii_digit());
        let Some(after) = ["ms", "us", "s", "h", "m"].iter().find_map(|unit| rest.strip_prefix(unit)) else {
            return false;
        };
        rest = after;
    }
    !text.is_empty()
}

fn is_key(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
}

/// `key=value` pairs with commas between them, perhaps one at the end.
fn is_assignments(text: &str, value_is_good: impl Fn(&str) -> bool) -> bool {
    let pairs = text.strip_suffix(',').unwrap_or(text);
    text.is_empty()
        || pairs
            .split(',')
            .all(|pair| pair.split_once('=').is_some_and(|(key, value)| is_key(key) && value_is_good(value)))
}

/// As before, but a value may hold commas, as long as what follows the last of them can be the next key.
fn is_feature_gates(text: &str) -> bool {
    if text.is_empty() {
        return true;
    }
    let parts: Vec<&str> = text.split('=').collect();
    let Some(((first, last), between)) = parts
        .split_first()
        .and_then(|(first, rest)| Some((rest.split_last()?, first)))
        .map(|((last, middle), first)| ((*first, *last), middle))
    else {
        return false;
    };
    is_key(first)
        && !last.is_empty()
        && between
            .iter()
            .all(|part| part.rsplit_once(',').is_some_and(|(value, key)| !value.is_empty() && is_key(key)))
}
