//! The two ways in which Calico writes a moment.

use jiff::Timestamp;
use serde::{Deserialize, Deserializer, Serializer};

/// RFC 3339 in UTC with whole seconds, as in `affinity_claim_time` and `releasedAt`.
pub fn rfc3339_seconds(time: Timestamp) -> String {
    time.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

/// Go's own print of a moment in UTC, as in the `timestamp` attribute of an address:
/// `2026-08-22 10:00:02.1 +0000 UTC`, trailing zeros of the fraction left out.
pub fn go_time_text(time: Timestamp) -> String {
    time.strftime("%Y-%m-%d %H:%M:%S%.f +0000 UTC").to_string()
}

pub(super) fn serialize<S: Serializer>(time: &Option<Timestamp>, serializer: S) -> Result<S::Ok, S::Error> {
    match time {
        Some(time) => serializer.serialize_str(&rfc3339_seconds(*time)),
        None => serializer.serialize_none(),
    }
}

pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Timestamp>, D::Error> {
    let text: Option<std::borrow::Cow<'de, str>> = Option::deserialize(deserializer)?;
    text.filter(|t| !t.is_empty())
        .map(|t| t.parse().map_err(|e| serde::de::Error::custom(format_args!("{t}: {e}"))))
        .transpose()
}
