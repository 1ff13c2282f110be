//! Values of annotations. `None` is a value that is not understood.

use super::RemoteAsOption;
use crate::plan::Signing;
use crate::reading::rounded_seconds;
use bgp_rib::{MaxPrefixAction, NextHopMode};
use bgp_session::AddPath;
use bgp_wire::{PerFamily, Prefix};
use model::v3::GoDuration;
use std::net::IpAddr;
use std::time::Duration;

/// Longest shutdown text (RFC 9003 §2), in octets.
const MAX_SHUTDOWN_TEXT: usize = 255;
/// Longest name of an interface in Linux, in octets.
const MAX_INTERFACE: usize = 15;

pub(super) fn flag(text: &str) -> Option<bool> {
    text.parse().ok()
}

pub(super) fn number(text: &str) -> Option<u32> {
    text.parse().ok()
}

pub(super) fn count(text: &str) -> Option<u32> {
    number(text).filter(|count| *count > 0)
}

pub(super) fn hops(text: &str) -> Option<u8> {
    text.parse().ok().filter(|hops| *hops > 0)
}

/// Go's form, or bare seconds.
pub(super) fn duration(text: &str) -> Option<Duration> {
    match number(text) {
        Some(seconds) => Some(Duration::from_secs(u64::from(seconds))),
        None => GoDuration(text.to_owned()).get(),
    }
}

pub(super) fn wait(text: &str) -> Option<Duration> {
    duration(text).filter(|wait| *wait >= Duration::from_secs(1))
}

pub(super) fn two_waits(text: &str) -> Option<(Duration, Duration)> {
    let (first, longest) = text.split_once(',')?;
    let (first, longest) = (wait(first.trim())?, wait(longest.trim())?);
    (first <= longest).then_some((first, longest))
}

pub(super) fn seconds(text: &str) -> Option<u16> {
    Some(rounded_seconds(duration(text)?)).filter(|seconds| *seconds > 0)
}

/// RFC 4271 §4.2: zero, or at least three seconds.
pub(super) fn hold_time(text: &str) -> Option<u16> {
    Some(rounded_seconds(duration(text)?)).filter(|seconds| *seconds == 0 || *seconds >= 3)
}

fn list<T>(text: &str, item: impl Fn(&str) -> Option<T>) -> Option<Vec<T>> {
    text.split(',').map(|part| item(part.trim())).collect()
}

pub(super) fn families(text: &str) -> Option<PerFamily<bool>> {
    let mut families = PerFamily::default();
    for name in text.split(',') {
        match name.trim() {
            "ipv4" => families.ipv4 = true,
            "ipv6" => families.ipv6 = true,
            _ => return None,
        }
    }
    Some(families)
}

pub(super) fn add_path(text: &str) -> Option<AddPath> {
    let (receive, send) = match text {
        "both" => (true, true),
        "receive" => (true, false),
        "send" => (false, true),
        "none" => (false, false),
        _ => return None,
    };
    Some(AddPath { receive, send })
}

pub(super) fn max_prefixes_action(text: &str) -> Option<MaxPrefixAction> {
    Some(match text {
        "warn" => MaxPrefixAction::Warn,
        "block" => MaxPrefixAction::Block,
        "restart" => MaxPrefixAction::Restart,
        "disable" => MaxPrefixAction::Disable,
        _ => return None,
    })
}

pub(super) fn next_hop(text: &str) -> Option<NextHopMode> {
    Some(match text {
        "auto" => NextHopMode::Auto,
        "self" => NextHopMode::Own,
        "keep" => NextHopMode::Keep,
        _ => return None,
    })
}

pub(super) fn remote_as(text: &str) -> Option<RemoteAsOption> {
    Some(match text {
        "external" => RemoteAsOption::External,
        "internal" => RemoteAsOption::Internal,
        "any" => RemoteAsOption::Any,
        _ => return None,
    })
}

pub(super) fn address(text: &str) -> Option<IpAddr> {
    text.parse().ok()
}

pub(super) fn addresses(text: &str) -> Option<Vec<IpAddr>> {
    list(text, address)
}

pub(super) fn prefixes(text: &str) -> Option<Vec<Prefix>> {
    list(text, crate::reading::prefix)
}

pub(super) fn interface(text: &str) -> Option<String> {
    let named =
        (1..=MAX_INTERFACE).contains(&text.len()) && !text.contains(|c: char| c == '/' || c.is_whitespace());
    named.then(|| text.to_owned())
}

pub(super) fn tcp_ao(text: &str) -> Option<Signing> {
    let (send, receive) = text.split_once(',')?;
    Some(Signing::Ao { send_id: send.trim().parse().ok()?, receive_id: receive.trim().parse().ok()? })
}

pub(super) fn shutdown(text: &str) -> Option<String> {
    (1..=MAX_SHUTDOWN_TEXT).contains(&text.len()).then(|| text.to_owned())
}
