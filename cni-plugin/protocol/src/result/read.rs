//! A delegated plugin's result.

use super::{CniResult, Dns, Interface, IpConfig, Prefixed, RouteEntry};
use crate::reader::{FieldError, Section};
use crate::text;
use crate::version::Version;
use serde_json::Value;
use std::net::IpAddr;

/// Why a result cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ResultError {
    /// No JSON object.
    #[error("result is not JSON: {0}")]
    Json(String),
    /// A version we do not know.
    #[error("unsupported CNI result version {}", text::quote(.0))]
    Version(String),
    /// A field of the wrong form.
    #[error("result: {0}")]
    Field(#[from] FieldError),
}

impl CniResult {
    /// Reads a result of any version; one that names none has the version of the configuration.
    ///
    /// # Errors
    /// Says which field is wrong.
    pub fn from_json(bytes: &[u8], configured: Version) -> Result<CniResult, ResultError> {
        let document: Value = serde_json::from_slice(bytes).map_err(|e| ResultError::Json(e.to_string()))?;
        let Value::Object(object) = &document else {
            return Err(ResultError::Json("expected an object".into()));
        };
        let root = Section::root(object);
        let version = match root.text("cniVersion")? {
            text if text.is_empty() => configured,
            text => Version::parse(&text).ok_or(ResultError::Version(text))?,
        };
        let mut result = CniResult { dns: dns(&root.section("dns")?)?, ..CniResult::default() };
        if version <= Version::V020 {
            for key in ["ip4", "ip6"] {
                if root.has(key) {
                    let entry = root.section(key)?;
                    result.ips.push(IpConfig {
                        interface: None,
                        address: prefixed(&entry, "ip")?,
                        gateway: optional_ip(&entry, "gateway")?,
                    });
                    result.routes.extend(routes(&entry)?);
                }
            }
            return Ok(result);
        }
        for entry in root.sections("interfaces")? {
            result.interfaces.push(Interface {
                name: entry.text("name")?,
                mac: entry.text("mac")?,
                mtu: entry.number("mtu")?.and_then(|mtu| u32::try_from(mtu).ok()).unwrap_or(0),
                sandbox: entry.text("sandbox")?,
            });
        }
        for entry in root.sections("ips")? {
            result.ips.push(IpConfig {
                interface: entry.number("interface")?,
                address: prefixed(&entry, "address")?,
                gateway: optional_ip(&entry, "gateway")?,
            });
        }
        result.routes = routes(&root)?;
        Ok(result)
    }
}

fn routes(section: &Section<'_>) -> Result<Vec<RouteEntry>, FieldError> {
    section
        .sections("routes")?
        .iter()
        .map(|entry| Ok(RouteEntry { dst: prefixed(entry, "dst")?, gw: optional_ip(entry, "gw")? }))
        .collect()
}

fn prefixed(section: &Section<'_>, key: &str) -> Result<Prefixed, FieldError> {
    Prefixed::parse(&section.text(key)?)
        .ok_or_else(|| section.refuse(key, "an address with its prefix length such as 10.0.0.1/32"))
}

fn optional_ip(section: &Section<'_>, key: &str) -> Result<Option<IpAddr>, FieldError> {
    match section.text(key)? {
        text if text.is_empty() => Ok(None),
        text => match text.parse::<IpAddr>() {
            Ok(ip) => Ok(Some(ip.to_canonical())),
            Err(_) => Err(section.refuse(key, "an address such as 10.0.0.1")),
        },
    }
}

fn dns(section: &Section<'_>) -> Result<Dns, FieldError> {
    Ok(Dns {
        nameservers: section.texts("nameservers")?,
        domain: section.text("domain")?,
        search: section.texts("search")?,
        options: section.texts("options")?,
    })
}
