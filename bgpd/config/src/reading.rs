//! Reading one resource: its facts, and what is odd about it.

use crate::plan::SecretRef;
use crate::warning::Warning;
use bgp_rib::policy::Community;
use bgp_wire::{Family, Prefix};
use model::Resource;
use model::net::Cidr;
use model::v3::{BgpPassword, GoDuration};
use serde::de::DeserializeOwned;
use std::net::IpAddr;
use std::time::Duration;

/// A resource that counts as absent; why is among its warnings.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Absent;

/// Collects what is odd about one resource while it is read.
#[derive(Debug)]
pub(crate) struct Reading {
    resource: String,
    warnings: Vec<Warning>,
}

impl Reading {
    /// Of this resource.
    pub(crate) fn of(resource: &Resource) -> Self {
        Self::named(format!("{} {}", resource.kind().name(), resource.name()))
    }

    /// Of something that people call so.
    pub(crate) fn named(resource: String) -> Self {
        Reading { resource, warnings: Vec::new() }
    }

    /// What people call the resource.
    pub(crate) fn name(&self) -> &str {
        &self.resource
    }

    /// Everything that was said.
    pub(crate) fn into_warnings(self) -> Vec<Warning> {
        self.warnings
    }

    /// Something was not followed; the rest of the resource is.
    pub(crate) fn warn(&mut self, field: &str, value: impl ToString, reason: impl Into<String>) {
        self.warnings.push(Warning::new(&self.resource, field, value.to_string(), reason));
    }

    /// Something is so wrong that the whole resource counts as absent.
    pub(crate) fn refuse<T>(
        &mut self,
        field: &str,
        value: impl ToString,
        reason: impl AsRef<str>,
    ) -> Result<T, Absent> {
        self.warn(field, value, format!("{}; the resource counts as absent", reason.as_ref()));
        Err(Absent)
    }

    /// The spec as a typed view.
    pub(crate) fn spec<T: DeserializeOwned>(&mut self, resource: &Resource) -> Result<T, Absent> {
        match resource.typed_spec() {
            Ok(spec) => Ok(spec),
            Err(error) => self.refuse("spec", "", format!("cannot be read: {}", error.reason)),
        }
    }

    /// Whole seconds of a duration, rounded; none where there is none, and with a warning where it cannot be read.
    pub(crate) fn seconds(&mut self, field: &str, duration: Option<&GoDuration>) -> Option<u16> {
        let text = duration.filter(|text| !text.0.is_empty())?;
        match text.get() {
            Some(duration) => Some(rounded_seconds(duration)),
            None => {
                self.warn(field, &text.0, "is no duration and is left out: write one such as 30s");
                None
            }
        }
    }

    /// Where a password is.
    pub(crate) fn secret(&mut self, field: &str, password: Option<&BgpPassword>) -> Option<SecretRef> {
        let reference = password?.secret_key_ref.as_ref()?;
        if reference.name.is_empty() || reference.key.is_empty() {
            self.warn(
                field,
                "",
                "names no secret: give secretKeyRef.name and secretKeyRef.key; no password is used",
            );
            return None;
        }
        Some(SecretRef { name: reference.name.clone(), key: reference.key.clone() })
    }
}

/// Whole seconds, rounded; at most 65535.
pub(crate) fn rounded_seconds(duration: Duration) -> u16 {
    let seconds = duration.saturating_add(Duration::from_millis(500)).as_secs();
    u16::try_from(seconds).unwrap_or(u16::MAX)
}

/// A prefix without host bits, or a bare address, which counts as itself.
pub(crate) fn prefix(text: &str) -> Option<Prefix> {
    of_cidr(text.parse().ok().or_else(|| text.parse().ok().map(Cidr::host))?)
}

/// The prefix of a CIDR; there always is one.
pub(crate) fn of_cidr(cidr: Cidr) -> Option<Prefix> {
    Prefix::new(cidr.addr(), cidr.prefix())
}

/// The family of an address.
pub(crate) fn family(addr: IpAddr) -> Family {
    match addr {
        IpAddr::V4(_) => Family::Ipv4Unicast,
        IpAddr::V6(_) => Family::Ipv6Unicast,
    }
}

/// A community: `aa:nn` (RFC 1997) or `aa:nn:mm` (RFC 8092).
pub(crate) fn community(text: &str) -> Option<Community> {
    let parts: Vec<&str> = text.split(':').collect();
    if parts.iter().any(|part| !part.bytes().all(|b| b.is_ascii_digit())) {
        return None;
    }
    match parts.as_slice() {
        [high, low] => {
            let (high, low): (u16, u16) = (high.parse().ok()?, low.parse().ok()?);
            Some(Community::Standard(u32::from(high) << 16 | u32::from(low)))
        }
        [a, b, c] => Some(Community::Large([a.parse().ok()?, b.parse().ok()?, c.parse().ok()?])),
        _ => None,
    }
}
