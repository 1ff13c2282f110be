//! Rules of policies and profiles. Source: `resources.md` §1.1 of the contract.

use super::Protocol;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

/// What happens to traffic that a rule matches.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Action {
    /// It may pass.
    Allow,
    /// It is dropped.
    Deny,
    /// It is logged, and the next rule is asked.
    Log,
    /// The next tier is asked, after the last one the profiles.
    Pass,
    /// An action this version does not know; it must never let traffic through.
    #[default]
    #[serde(other)]
    Unknown,
}

/// One rule: everything that is present must match.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Rule {
    /// What happens to matching traffic.
    pub action: Action,
    /// 4 or 6; both when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ip_version: Option<u8>,
    /// Protocol it must be.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub protocol: Option<Protocol>,
    /// ICMP type and code it must have.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub icmp: Option<IcmpFields>,
    /// Protocol it must not be.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub not_protocol: Option<Protocol>,
    /// ICMP type and code it must not have.
    #[serde(rename = "notICMP", skip_serializing_if = "Option::is_none")]
    pub not_icmp: Option<IcmpFields>,
    /// Where it comes from.
    #[serde(skip_serializing_if = "EntityRule::is_empty")]
    pub source: EntityRule,
    /// Where it goes.
    #[serde(skip_serializing_if = "EntityRule::is_empty")]
    pub destination: EntityRule,
    /// HTTP requests it must be one of.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub http: Option<HttpMatch>,
    /// What the rule's author wrote about it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub metadata: Option<RuleMetadata>,
}

/// ICMP type and code; a code needs a type.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(default)]
pub struct IcmpFields {
    /// 0–254; any when absent.
    #[serde(rename = "type", skip_serializing_if = "Option::is_none")]
    pub icmp_type: Option<u8>,
    /// 0–255; any when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub code: Option<u8>,
}

/// One end of the traffic: everything that is present must match.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct EntityRule {
    /// Networks it must be in one of.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub nets: Vec<String>,
    /// Labels of the endpoint or network set it must belong to.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub selector: String,
    /// Labels of its namespace; `global()` for what has none.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub namespace_selector: String,
    /// Service whose endpoints it must be one of.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub services: Option<ServiceMatch>,
    /// Ports it must use one of.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub ports: Vec<Port>,
    /// Networks it must be in none of.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub not_nets: Vec<String>,
    /// Labels of endpoints and network sets it must not belong to.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub not_selector: String,
    /// Ports it must use none of.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub not_ports: Vec<Port>,
    /// Service accounts it must run as one of.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub service_accounts: Option<ServiceAccountMatch>,
}

impl EntityRule {
    /// Whether it matches everything.
    pub fn is_empty(&self) -> bool {
        *self == EntityRule::default()
    }
}

/// A Kubernetes service.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(default)]
pub struct ServiceMatch {
    /// Its name.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub name: String,
    /// Its namespace; the policy's when empty.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub namespace: String,
}

/// Service accounts by name and by label; both must match.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(default)]
pub struct ServiceAccountMatch {
    /// One of these names; any when empty.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub names: Vec<String>,
    /// Labels of the account.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub selector: String,
}

/// HTTP requests: one of the methods and one of the paths, where there are any.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(default)]
pub struct HttpMatch {
    /// Methods.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub methods: Vec<String>,
    /// Paths.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub paths: Vec<HttpPath>,
}

/// A path, or what it starts with; one of the two is not empty.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(default)]
pub struct HttpPath {
    /// The path is this.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub exact: String,
    /// The path starts with this.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub prefix: String,
}

/// What the rule's author wrote about it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct RuleMetadata {
    /// Free text, carried into comments of the data plane.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
}

/// Ports of a rule.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Port {
    /// Numbers from the first to the last; one number when they are equal.
    Range(u16, u16),
    /// The port an endpoint calls so.
    Named(String),
}

/// A text that is no port.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct PortError(String);

impl FromStr for Port {
    type Err = PortError;

    fn from_str(text: &str) -> Result<Port, PortError> {
        use serde_json::Value;
        match crate::schema::scalar::port_from_text(text).map_err(PortError)? {
            Value::String(text) => match text.split_once(':') {
                Some((first, last)) => match (first.parse(), last.parse()) {
                    (Ok(first), Ok(last)) => Ok(Port::Range(first, last)),
                    _ => Err(PortError(format!("invalid port format ({text})"))),
                },
                None => Ok(Port::Named(text)),
            },
            number => {
                let number = number.as_u64().and_then(|n| u16::try_from(n).ok());
                number
                    .map(|n| Port::Range(n, n))
                    .ok_or_else(|| PortError(format!("invalid port format ({text})")))
            }
        }
    }
}

impl fmt::Display for Port {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Port::Range(first, last) if first == last => write!(f, "{first}"),
            Port::Range(first, last) => write!(f, "{first}:{last}"),
            Port::Named(name) => f.write_str(name),
        }
    }
}

impl Serialize for Port {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Port::Range(first, last) if first == last => serializer.serialize_u16(*first),
            port => serializer.collect_str(port),
        }
    }
}

impl<'de> Deserialize<'de> for Port {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Port, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum Form {
            Number(u16),
            Text(String),
        }
        match Form::deserialize(deserializer)? {
            Form::Number(number) => Ok(Port::Range(number, number)),
            Form::Text(text) => text.parse().map_err(de::Error::custom),
        }
    }
}
