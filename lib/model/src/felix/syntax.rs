//! What values look like outside of YAML, and how they are read.

use super::setting::{FailsafePort, Setting};
use crate::net::{Family, family_of};
use crate::schema::regexp::is_regexp;
use crate::schema::scalar::parse_duration;
use crate::schema::text::{ip_or_cidr, is_dns_label_text, is_interface, is_rate, of_length};
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

/// Form of a parameter's value in the environment, in a file and in the datastore's flat form.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Syntax {
    /// `true`, `1`, `yes`, `y`, `t` or their opposites, in any case.
    Bool,
    /// Whole number within these bounds.
    Int {
        /// Least.
        min: i64,
        /// Greatest.
        max: i64,
    },
    /// 32 bits, decimal or hexadecimal with `0x`, at least two of them set.
    Mask,
    /// Time in seconds, fractions allowed.
    Seconds,
    /// Time in milliseconds, fractions allowed.
    Millis,
    /// One of these words, in any case.
    Words(&'static [&'static str]),
    /// Any text.
    Text,
    /// Path of a file or directory. Whether it is there the agent has to see.
    Path,
    /// Regular expression of Go.
    Regex,
    /// Names, or regular expressions between slashes, separated by commas.
    NamesOrRegexes,
    /// Address of this family.
    Address(Family),
    /// CIDRs or addresses, separated by commas.
    Cidrs,
    /// `name=value`, separated by commas.
    Pairs,
    /// `name=duration`, separated by commas; durations as Go writes them.
    Timeouts,
    /// `[protocol:[cidr:]]port`, separated by commas.
    FailsafePorts,
    /// Port, or first and last with a colon between.
    PortRange,
    /// The same, separated by commas.
    PortRanges,
    /// First and last with a hyphen between.
    TableRange,
    /// The same, separated by commas.
    TableRanges,
    /// `count/unit`, or nothing.
    Rate,
    /// Class of traffic: 0 to 63, or its name.
    Dscp,
    /// Name or address to listen at.
    HostAddress,
    /// Name of a host.
    Hostname,
    /// `host:port`.
    HostPort,
    /// URLs, separated by commas.
    Urls,
    /// Name of a link.
    Interface,
    /// Names of links, perhaps with `+` for any end, separated by commas.
    InterfacePatterns,
    /// Beginnings of names of links, separated by commas.
    Prefixes,
    /// DNS label of at most 32 characters.
    Region,
}

/// Names of DSCP values (RFC 2474, RFC 2597, RFC 3246).
const DSCP: [(&str, i64); 22] = [
    ("DF", 0),
    ("CS0", 0),
    ("CS1", 8),
    ("CS2", 16),
    ("CS3", 24),
    ("CS4", 32),
    ("CS5", 40),
    ("CS6", 48),
    ("CS7", 56),
    ("AF11", 10),
    ("AF12", 12),
    ("AF13", 14),
    ("AF21", 18),
    ("AF22", 20),
    ("AF23", 22),
    ("AF31", 26),
    ("AF32", 28),
    ("AF33", 30),
    ("AF41", 34),
    ("AF42", 36),
    ("AF43", 38),
    ("EF", 46),
];

impl Syntax {
    /// Any whole number.
    pub(crate) const INT: Syntax = Syntax::Int { min: i64::MIN, max: i64::MAX };

    /// What it is for `none`.
    pub(super) fn zero(&self) -> Setting {
        match self {
            Syntax::Bool => Setting::Bool(false),
            Syntax::Int { .. } | Syntax::Mask => Setting::Int(0),
            Syntax::Seconds | Syntax::Millis => Setting::Duration(Duration::ZERO),
            Syntax::Regex | Syntax::Address(_) | Syntax::PortRange | Syntax::TableRange | Syntax::Dscp => {
                Setting::Unset
            }
            _ => self.empty().unwrap_or(Setting::Unset),
        }
    }

    /// What nothing at all means, where it means something: a list without entries, a text without characters.
    pub(super) fn empty(&self) -> Option<Setting> {
        Some(match self {
            Syntax::NamesOrRegexes | Syntax::Urls | Syntax::InterfacePatterns | Syntax::Prefixes => {
                Setting::Texts(Vec::new())
            }
            Syntax::Cidrs => Setting::Cidrs(Vec::new()),
            Syntax::Pairs => Setting::Pairs(BTreeMap::new()),
            Syntax::Timeouts => Setting::Timeouts(BTreeMap::new()),
            Syntax::FailsafePorts => Setting::FailsafePorts(Vec::new()),
            Syntax::PortRanges => Setting::PortRanges(Vec::new()),
            Syntax::TableRanges => Setting::TableRanges(Vec::new()),
            Syntax::Text
            | Syntax::Path
            | Syntax::Rate
            | Syntax::HostAddress
            | Syntax::Hostname
            | Syntax::HostPort
            | Syntax::Interface
            | Syntax::Region
            | Syntax::Words(_) => Setting::Text(String::new()),
            _ => return None,
        })
    }

    /// Reads a value that is not empty; the error says what it should look like.
    pub(super) fn read(&self, text: &str) -> Result<Setting, String> {
        let found = match self {
            Syntax::Bool => boolean(text).map(Setting::Bool),
            Syntax::Int { min, max } => {
                text.parse().ok().filter(|number| (min..=max).contains(&number)).map(Setting::Int)
            }
            Syntax::Mask => mask(text).map(Setting::Int),
            Syntax::Seconds => duration(text, 1.0).map(Setting::Duration),
            Syntax::Millis => duration(text, 1000.0).map(Setting::Duration),
            Syntax::Words(words) => {
                let word = words.iter().find(|word| word.eq_ignore_ascii_case(text));
                word.map(|word| Setting::Text((*word).to_owned()))
            }
            Syntax::Text | Syntax::Path => Some(Setting::Text(text.to_owned())),
            Syntax::Regex => is_regexp(text).then(|| Setting::Text(text.to_owned())),
            Syntax::NamesOrRegexes => texts(text, is_name_or_regex),
            Syntax::Address(family) => {
                let address = text.parse::<IpAddr>().ok().filter(|address| family_of(*address) == *family);
                address.map(Setting::Address)
            }
            Syntax::Cidrs => each(text, |item| Some(ip_or_cidr(item)?.1)).map(Setting::Cidrs),
            Syntax::Pairs => pairs(text, |value| Some(value.to_owned())).map(Setting::Pairs),
            Syntax::Timeouts => pairs(text, go_duration).map(Setting::Timeouts),
            Syntax::FailsafePorts => each(text, FailsafePort::parse).map(Setting::FailsafePorts),
            Syntax::PortRange => range(text, ':').map(|(first, last)| Setting::PortRange(first, last)),
            Syntax::PortRanges => each(text, |item| range(item, ':')).map(Setting::PortRanges),
            Syntax::TableRange => {
                table_range(text).map(|(first, last)| Setting::TableRanges(vec![(first, last)]))
            }
            Syntax::TableRanges => each(text, table_range).map(Setting::TableRanges),
            Syntax::Rate => is_rate(text).then(|| Setting::Text(text.to_owned())),
            Syntax::Dscp => dscp(text).map(Setting::Int),
            Syntax::HostAddress => of(text, 1..=64, b":._+-"),
            Syntax::Hostname => of(text, 1..=253, b"_.-"),
            Syntax::HostPort => is_host_port(text).then(|| Setting::Text(text.to_owned())),
            Syntax::Urls => texts(text, |url| url.starts_with("http://") || url.starts_with("https://")),
            Syntax::Interface => of(text, 1..=15, b":._+-"),
            Syntax::InterfacePatterns => {
                texts(text, |item| is_interface(item.strip_suffix('+').unwrap_or(item)))
            }
            Syntax::Prefixes => texts(text, |item| {
                of_length(item, 1..=15, |b| b.is_ascii_alphanumeric() || b"_-".contains(&b))
            }),
            Syntax::Region => {
                (text.len() <= 32 && is_dns_label_text(text)).then(|| Setting::Text(text.to_owned()))
            }
        };
        found.ok_or_else(|| self.describe())
    }

    /// What a value has to look like.
    pub fn describe(&self) -> String {
        match self {
            Syntax::Bool => "true or false".to_owned(),
            Syntax::Int { min: i64::MIN, max: i64::MAX } => "a whole number".to_owned(),
            Syntax::Int { min, max: i64::MAX } => format!("a whole number from {min} on"),
            Syntax::Int { min, max } => format!("a whole number from {min} to {max}"),
            Syntax::Words(words) => format!("one of {}", words.join(", ")),
            other => other.form().to_owned(),
        }
    }

    fn form(&self) -> &'static str {
        match self {
            Syntax::Mask => "a mask of 32 bits with at least two set, such as 0xffff0000",
            Syntax::Seconds => "a number of seconds",
            Syntax::Millis => "a number of milliseconds",
            Syntax::Path => "a path",
            Syntax::Regex => "a regular expression",
            Syntax::NamesOrRegexes => "names or /regular expressions/, separated by commas",
            Syntax::Address(Family::V4) => "an IPv4 address",
            Syntax::Address(Family::V6) => "an IPv6 address",
            Syntax::Cidrs => "CIDRs, separated by commas",
            Syntax::Pairs => "name=value, separated by commas",
            Syntax::Timeouts => "name=duration, separated by commas",
            Syntax::FailsafePorts => "protocol:cidr:port, protocol:port or port, separated by commas",
            Syntax::PortRange => "a port or first:last",
            Syntax::PortRanges => "ports or first:last, separated by commas",
            Syntax::TableRange => "first-last",
            Syntax::TableRanges => "first-last, separated by commas",
            Syntax::Rate => {
                "count/second, count/minute, count/hour or count/day, with a count from 1 to 9999"
            }
            Syntax::Dscp => "a number from 0 to 63 or the name of a DSCP value",
            Syntax::HostAddress => "a name or address of at most 64 characters",
            Syntax::Hostname => "the name of a host",
            Syntax::HostPort => "host:port",
            Syntax::Urls => "http or https URLs, separated by commas",
            Syntax::Interface => "the name of a link",
            Syntax::InterfacePatterns => "names of links, perhaps ending with +, separated by commas",
            Syntax::Prefixes => "beginnings of names of links, separated by commas",
            Syntax::Region => "a DNS label of at most 32 characters",
            _ => "a text",
        }
    }
}

/// The words for true and false, in any case.
fn boolean(text: &str) -> Option<bool> {
    match text.to_ascii_lowercase().as_str() {
        "true" | "1" | "yes" | "y" | "t" => Some(true),
        "false" | "0" | "no" | "n" | "f" => Some(false),
        _ => None,
    }
}

fn mask(text: &str) -> Option<i64> {
    let bits = match text.strip_prefix("0x").or_else(|| text.strip_prefix("0X")) {
        Some(digits) => u32::from_str_radix(digits, 16).ok()?,
        None => text.parse().ok()?,
    };
    (bits.count_ones() >= 2).then_some(i64::from(bits))
}

fn duration(text: &str, per_second: f64) -> Option<Duration> {
    Duration::try_from_secs_f64(text.parse::<f64>().ok()? / per_second).ok()
}

fn go_duration(text: &str) -> Option<Duration> {
    Some(Duration::from_nanos(u64::try_from(parse_duration(text)?).ok()?))
}

/// The items of a list; none if one of them is none.
fn each<T>(text: &str, read: impl Fn(&str) -> Option<T>) -> Option<Vec<T>> {
    text.split(',').map(|item| read(item.trim())).collect()
}

fn texts(text: &str, accepts: impl Fn(&str) -> bool) -> Option<Setting> {
    each(text, |item| accepts(item).then(|| item.to_owned())).map(Setting::Texts)
}

fn pairs<T>(text: &str, read: impl Fn(&str) -> Option<T>) -> Option<BTreeMap<String, T>> {
    // A comma at the end is no further entry.
    let items = text.split(',').map(str::trim).filter(|item| !item.is_empty());
    items
        .map(|item| {
            let (name, value) = item.split_once('=')?;
            (!name.is_empty()).then_some((name.to_owned(), read(value)?))
        })
        .collect()
}

fn range(text: &str, between: char) -> Option<(u16, u16)> {
    let (first, last) = text.split_once(between).unwrap_or((text, text));
    let range: (u16, u16) = (first.parse().ok()?, last.parse().ok()?);
    (range.0 <= range.1).then_some(range)
}

fn table_range(text: &str) -> Option<(u32, u32)> {
    let (first, last) = text.split_once('-')?;
    let range: (u32, u32) = (first.trim().parse().ok()?, last.trim().parse().ok()?);
    (range.0 > 0 && range.0 <= range.1).then_some(range)
}

fn dscp(text: &str) -> Option<i64> {
    let number = text.parse().ok().filter(|number| (0..=63).contains(number));
    number
        .or_else(|| DSCP.iter().find(|(name, _)| name.eq_ignore_ascii_case(text)).map(|(_, number)| *number))
}

fn of(text: &str, length: std::ops::RangeInclusive<usize>, besides: &[u8]) -> Option<Setting> {
    of_length(text, length, |b| b.is_ascii_alphanumeric() || besides.contains(&b))
        .then(|| Setting::Text(text.to_owned()))
}

fn is_host_port(text: &str) -> bool {
    text.split_once(':').is_some_and(|(host, port)| {
        !host.is_empty() && !host.contains('/') && of_length(port, 1..=5, |b| b.is_ascii_digit())
    })
}

fn is_name_or_regex(item: &str) -> bool {
    match item.strip_prefix('/').and_then(|rest| rest.strip_suffix('/')) {
        Some(regex) => is_regexp(regex),
        None => of_length(item, 1..=15, |b| b.is_ascii_alphanumeric() || b":._+-".contains(&b)),
    }
}
