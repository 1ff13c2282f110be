//! Scalars that Calico accepts in several spellings and stores in one. Source: `resources.md` §0.1 and `datamodel.md`
//! §3 (encoding notes) of the contract.

use super::text::is_service_name;
use crate::error::FieldError;
use crate::number::go_float;
use serde_json::{Number, Value};
use std::fmt::Write;

/// Stored form of a port given as text: a number, a range `a:b`, or a name.
pub fn port_from_text(text: &str) -> Result<Value, String> {
    let digits = |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit());
    if digits(text) {
        return text.parse::<u16>().map(Value::from).map_err(|_| format!("invalid port format ({text})"));
    }
    if let Some((min, max)) = text.split_once(':').filter(|(min, max)| digits(min) && digits(max)) {
        let min: u16 = min.parse().map_err(|_| format!("invalid minimum port number in range ({text})"))?;
        let max: u16 = max.parse().map_err(|_| format!("invalid maximum port number in range ({text})"))?;
        return match min.cmp(&max) {
            std::cmp::Ordering::Greater => Err(format!(
                "minimum port number ({min}) is greater than maximum port number ({max}) in port range"
            )),
            std::cmp::Ordering::Equal => Ok(min.into()),
            std::cmp::Ordering::Less => Ok(format!("{min}:{max}").into()),
        };
    }
    let named = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'.' | b'-');
    if (1..=128).contains(&text.len()) && text.bytes().all(named) {
        Ok(text.into())
    } else {
        Err(format!("invalid name for named port ({text})"))
    }
}

/// What is wrong with a port in stored form.
pub fn port_error(port: &Value) -> Option<FieldError> {
    let lowest = match port {
        Value::String(text) => match text.split_once(':') {
            // a name never holds a colon
            Some((lowest, _)) => lowest.parse().ok(),
            None if is_service_name(text) => return None,
            None => return Some(FieldError::tag("PortName", text.as_str(), "portName")),
        },
        port => port.as_u64(),
    };
    (lowest == Some(0))
        .then(|| FieldError::new("Port", "0", "port range invalid, port number must be between 1 and 65535"))
}

/// What is wrong with a protocol in stored form.
pub fn protocol_error(protocol: &Value) -> Option<FieldError> {
    const NAMES: [&str; 6] = ["TCP", "UDP", "ICMP", "ICMPv6", "SCTP", "UDPLite"];
    match protocol {
        Value::Number(number) if number.as_u64() == Some(0) => {
            Some(FieldError::new("Protocol", "0", "protocol number invalid"))
        }
        Value::String(name) if !NAMES.contains(&name.as_str()) => {
            Some(FieldError::new("Protocol", name.as_str(), "protocol name invalid"))
        }
        _ => None,
    }
}

/// AS number given as text: decimal, or dotted `high.low`.
pub fn as_number_from_text(text: &str) -> Result<u32, String> {
    let error = || format!("invalid AS Number format ({text})");
    let digits = |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit());
    match text.split_once('.') {
        Some((high, low)) if digits(high) && digits(low) => {
            let high: u16 = high.parse().map_err(|_| error())?;
            let low: u16 = low.parse().map_err(|_| error())?;
            Ok(u32::from(high) << 16 | u32::from(low))
        }
        None if digits(text) => text.parse().map_err(|_| error()),
        _ => Err(error()),
    }
}

/// Nanoseconds of a Go duration such as `1h15m30.5s`.
pub fn parse_duration(text: &str) -> Option<i64> {
    let (negative, mut rest) = match text.as_bytes().first()? {
        b'-' => (true, text.get(1..)?),
        b'+' => (false, text.get(1..)?),
        _ => (false, text),
    };
    if rest == "0" {
        return Some(0);
    }
    if rest.is_empty() {
        return None;
    }
    let mut total: i128 = 0;
    while !rest.is_empty() {
        let number_end = rest.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(rest.len());
        let (number, tail) = rest.split_at(number_end);
        let unit_end = tail.find(|c: char| c.is_ascii_digit() || c == '.').unwrap_or(tail.len());
        let (unit, tail) = tail.split_at(unit_end);
        let scale: i128 = match unit {
            "ns" => 1,
            "us" | "µs" | "μs" => 1_000,
            "ms" => 1_000_000,
            "s" => 1_000_000_000,
            "m" => 60_000_000_000,
            "h" => 3_600_000_000_000,
            _ => return None,
        };
        let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
        if (whole.is_empty() && fraction.is_empty()) || fraction.contains('.') || number.len() > 60 {
            return None;
        }
        let whole: i128 = if whole.is_empty() { 0 } else { whole.parse().ok()? };
        total = total.checked_add(whole.checked_mul(scale)?)?;
        let mut digit_scale = scale;
        for digit in fraction.bytes() {
            digit_scale /= 10;
            total += i128::from(digit - b'0') * digit_scale;
        }
        rest = tail;
    }
    i64::try_from(if negative { -total } else { total }).ok()
}

/// A duration as Go prints it: `1m30s`, `24h0m0s`, `1.5s`, `100ms`, `0s`.
pub fn format_duration(nanoseconds: i64) -> String {
    let mut text = String::new();
    if nanoseconds < 0 {
        text.push('-');
    }
    let total = nanoseconds.unsigned_abs();
    let with_fraction = |text: &mut String, value: u64, unit: u64| {
        let _ = write!(text, "{}", value / unit);
        let fraction = value % unit;
        if fraction != 0 {
            let width = unit.ilog10() as usize;
            let digits = format!("{fraction:0width$}");
            let _ = write!(text, ".{}", digits.trim_end_matches('0'));
        }
    };
    match total {
        0 => return "0s".to_owned(),
        1..1_000 => {
            let _ = write!(text, "{total}ns");
        }
        1_000..1_000_000 => {
            with_fraction(&mut text, total, 1_000);
            text.push_str("µs");
        }
        1_000_000..1_000_000_000 => {
            with_fraction(&mut text, total, 1_000_000);
            text.push_str("ms");
        }
        _ => {
            let minutes = total / 60_000_000_000;
            if minutes >= 60 {
                let _ = write!(text, "{}h", minutes / 60);
            }
            if minutes > 0 {
                let _ = write!(text, "{}m", minutes % 60);
            }
            with_fraction(&mut text, total % 60_000_000_000, 1_000_000_000);
            text.push('s');
        }
    }
    text
}

/// A number in the form it is stored: whole floats as whole numbers, as Go writes them.
pub fn canonical_number(number: &Number) -> Number {
    if number.is_i64() || number.is_u64() {
        return number.clone();
    }
    match number.as_f64() {
        // both ends are exact powers of two, so that the conversions below are exact
        Some(float) if float.fract() == 0.0 && (0.0..18_446_744_073_709_551_616.0).contains(&float) => {
            Number::from(float as u64)
        }
        Some(float) if float.fract() == 0.0 && (-9_223_372_036_854_775_808.0..0.0).contains(&float) => {
            Number::from(float as i64)
        }
        _ => number.clone(),
    }
}

/// A number as Go's `%v` prints it, which is also what YAML numbers become where text is wanted: `8`, `1.5`, `1e+06`.
pub fn number_text(number: &Number) -> String {
    let Some(float) = number.as_f64().filter(|_| number.is_f64()) else { return number.to_string() };
    go_float(float)
}

#[cfg(test)]
mod tests;
