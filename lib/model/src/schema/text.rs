//! Character-class matchers: the patterns of Calico's validators without a regular-expression engine.
//! Source: `resources.md` §0.1 of the contract.

use crate::net::{Cidr, Family, family_of, parse_parts};
use std::net::IpAddr;

/// `[a-z0-9]([-a-z0-9]*[a-z0-9])?`, any length.
pub fn is_dns_label_text(text: &str) -> bool {
    let inner = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
    bounded_by(text, inner, |b| b != b'-')
}

/// Dot-separated labels; how long they may be is judged elsewhere, in other words.
pub fn is_subdomain(text: &str) -> bool {
    text.split('.').all(is_dns_label_text)
}

/// `[A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?`, at any length.
pub fn is_name_part(text: &str) -> bool {
    let inner = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.');
    bounded_by(text, inner, |b| b.is_ascii_alphanumeric())
}

/// `[a-zA-Z0-9]([-a-zA-Z0-9]*[a-zA-Z0-9])?`
pub fn is_container_id(text: &str) -> bool {
    bounded_by(text, |b| b.is_ascii_alphanumeric() || b == b'-', |b| b.is_ascii_alphanumeric())
}

fn bounded_by(text: &str, inner: impl Fn(u8) -> bool, end: impl Fn(u8) -> bool) -> bool {
    let bytes = text.as_bytes();
    match (bytes.first(), bytes.last()) {
        (Some(first), Some(last)) => bytes.iter().all(|b| inner(*b)) && end(*first) && end(*last),
        _ => false,
    }
}

/// All characters accepted, and so many of them.
pub fn of_length(
    text: &str,
    lengths: std::ops::RangeInclusive<usize>,
    accepted: impl Fn(u8) -> bool,
) -> bool {
    lengths.contains(&text.len()) && text.bytes().all(accepted)
}

/// `^[a-zA-Z0-9_.-]{1,15}$`
pub fn is_interface(text: &str) -> bool {
    of_length(text, 1..=15, |b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'.' | b'-'))
}

/// `^[a-zA-Z0-9_.*-]{1,15}$`
pub fn is_interface_pattern(text: &str) -> bool {
    of_length(text, 1..=15, |b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'.' | b'-' | b'*'))
}

/// `count/unit`: 1 to 9999 each second, minute, hour or day.
pub fn is_rate(text: &str) -> bool {
    text.split_once('/').is_some_and(|(count, unit)| {
        of_length(count, 1..=4, |b| b.is_ascii_digit())
            && !count.starts_with('0')
            && matches!(unit, "second" | "minute" | "hour" | "day")
    })
}

/// A selector that parses (`resources.md` §2).
pub fn is_selector(text: &str) -> bool {
    selector::Selector::parse(text).is_ok()
}

/// An IANA service name: at most 15 of a-z, 0-9 and `-`, with a letter, no `-` at the ends or doubled.
pub fn is_service_name(text: &str) -> bool {
    text.len() <= 15
        && is_dns_label_text(text)
        && text.bytes().any(|b| b.is_ascii_lowercase())
        && !text.contains("--")
}

/// An address of either family.
pub fn is_ip(text: &str) -> bool {
    text.parse::<IpAddr>().is_ok()
}

/// An address of this family.
pub fn is_ip_of(text: &str, family: Family) -> bool {
    text.parse().is_ok_and(|addr| family_of(addr) == family)
}

/// The address and network of an address or CIDR; a bare address is a network of itself.
pub fn ip_or_cidr(text: &str) -> Option<(IpAddr, Cidr)> {
    parse_parts(text).ok().or_else(|| text.parse().ok().map(|addr| (addr, Cidr::host(addr))))
}

/// Address or CIDR, host bits allowed.
pub fn is_cidr(text: &str) -> bool {
    ip_or_cidr(text).is_some()
}

/// Address or CIDR of this family, host bits allowed.
pub fn is_cidr_of(text: &str, family: Family) -> bool {
    ip_or_cidr(text).is_some_and(|(_, net)| net.family() == family)
}

/// Address or CIDR without host bits.
pub fn is_net(text: &str) -> bool {
    ip_or_cidr(text).is_some_and(|(addr, net)| addr == net.addr())
}

/// Address or CIDR of this family without host bits.
pub fn is_net_of(text: &str, family: Family) -> bool {
    ip_or_cidr(text).is_some_and(|(addr, net)| addr == net.addr() && net.family() == family)
}

/// A CIDR with its length written out, host bits allowed: the CRD format `cidr`.
pub fn is_written_cidr(text: &str) -> bool {
    parse_parts(text).is_ok()
}

/// `v4`, `v6`, `v4:port` or `[v6]:port`; the address when it is one.
pub fn ip_of_peer(text: &str) -> Option<IpAddr> {
    if let Ok(addr) = text.parse() {
        return Some(addr);
    }
    let (addr, port) = match text.strip_prefix('[') {
        Some(rest) => rest.split_once("]:")?,
        None => text.split_once(':')?,
    };
    let port_is_good =
        of_length(port, 1..=5, |b| b.is_ascii_digit()) && port.parse::<u16>().is_ok_and(|port| port > 0);
    addr.parse().ok().filter(|addr: &IpAddr| port_is_good && addr.is_ipv6() == text.starts_with('['))
}

/// A MAC address as Go reads it: 6, 8 or 20 bytes in `aa:bb`, `aa-bb` or `aabb.ccdd` form.
pub fn is_mac(text: &str) -> bool {
    let hex = |part: &str, digits: usize| of_length(part, digits..=digits, |b| b.is_ascii_hexdigit());
    let in_form = |separator: char, digits: usize, groups: [usize; 3]| {
        groups.contains(&text.split(separator).count()) && text.split(separator).all(|part| hex(part, digits))
    };
    in_form(':', 2, [6, 8, 20]) || in_form('-', 2, [6, 8, 20]) || in_form('.', 4, [3, 4, 10])
}

/// 32 bytes in base64.
pub fn is_wireguard_key(text: &str) -> bool {
    text.strip_suffix('=').is_some_and(|body| {
        of_length(body, 43..=43, |b| b.is_ascii_alphanumeric() || matches!(b, b'+' | b'/'))
    })
}

/// Comma-separated `name=value`, with blanks before the name and empty items in between.
pub fn is_key_value_list(text: &str) -> bool {
    text.trim().is_empty()
        || text.split(',').filter(|item| !item.is_empty()).all(|item| {
            let name = item.trim_start_matches([' ', '\t', '\n', '\u{c}', '\r']);
            name.split_once('=').is_some_and(|(name, value)| {
                of_length(name, 1..=usize::MAX, |b| b.is_ascii_alphanumeric() || b == b'_')
                    && !value.contains('\n')
            })
        })
}

/// `^(?i)(Trace|Debug|…)?$` for these words.
pub fn is_any_case_or_empty(text: &str, words: &[&str]) -> bool {
    text.is_empty() || words.iter().any(|word| word.eq_ignore_ascii_case(text))
}

#[cfg(test)]
mod tests;
