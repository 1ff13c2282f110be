//! Keys of the datastore as values, and their text. Source: `datamodel.md` §3–§5 of the contract.

use crate::kind::Kind;
use crate::net::{Cidr, Family};

/// Everything Calico stores lies below this.
pub const ROOT: &str = "/calico/";
const RESOURCES: &str = "/calico/resources/v3/projectcalico.org/";
const IPAM: &str = "/calico/ipam/v2/";

/// Who owns a block: a node, or a virtual owner such as `load-balancer`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Owner {
    /// `host:<node>`
    Host(String),
    /// `virtual:<name>`
    Virtual(String),
}

impl Owner {
    /// Text of `AllocationBlock.affinity`.
    pub fn affinity_text(&self) -> String {
        let (kind, name) = self.parts();
        format!("{kind}:{name}")
    }

    /// Reads `AllocationBlock.affinity`.
    pub fn parse_affinity(text: &str) -> Option<Owner> {
        match text.split_once(':')? {
            ("host", name) if !name.is_empty() => Some(Owner::Host(name.to_owned())),
            ("virtual", name) if !name.is_empty() => Some(Owner::Virtual(name.to_owned())),
            _ => None,
        }
    }

    fn parts(&self) -> (&'static str, &str) {
        match self {
            Owner::Host(name) => ("host", name),
            Owner::Virtual(name) => ("virtual", name),
        }
    }

    /// The owner's bare name.
    pub fn name(&self) -> &str {
        self.parts().1
    }
}

/// A key of the datastore.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Key {
    /// A resource.
    Resource {
        /// Its kind.
        kind: Kind,
        /// Its namespace; empty for cluster-scoped kinds.
        namespace: String,
        /// Its name.
        name: String,
    },
    /// An allocation block.
    Block(Cidr),
    /// An owner's affinity to a block.
    Affinity(Owner, Cidr),
    /// An IPAM handle.
    Handle(String),
    /// The IPAM engine's settings.
    IpamConfig,
    /// Legacy marker of a host.
    IpamHost(String),
}

impl Key {
    /// Key of a resource; `namespace` is ignored for cluster-scoped kinds.
    pub fn resource(kind: Kind, namespace: &str, name: &str) -> Key {
        let namespace = if kind.namespaced() { namespace.to_owned() } else { String::new() };
        Key::Resource { kind, namespace, name: name.to_owned() }
    }

    /// The key's text.
    pub fn path(&self) -> String {
        match self {
            Key::Resource { kind, namespace, name } if kind.namespaced() => {
                format!("{RESOURCES}{}/{namespace}/{name}", kind.plural())
            }
            Key::Resource { kind, name, .. } => format!("{RESOURCES}{}/{name}", kind.plural()),
            Key::Block(cidr) => format!("{}{}", block_prefix(cidr.family()), cidr.dashed()),
            Key::Affinity(owner, cidr) => {
                format!("{}{}", affinity_prefix(owner, cidr.family()), cidr.dashed())
            }
            Key::Handle(id) => format!("{IPAM}handle/{id}"),
            Key::IpamConfig => format!("{IPAM}config"),
            Key::IpamHost(host) => format!("{IPAM}host/{host}"),
        }
    }

    /// Reads a key's text; `None` for keys of other programs and of kinds we do not know.
    pub fn parse(path: &str) -> Option<Key> {
        if let Some(rest) = path.strip_prefix(RESOURCES) {
            let (plural, rest) = rest.split_once('/')?;
            let kind = Kind::from_plural(plural)?;
            let (namespace, name) = if kind.namespaced() { rest.split_once('/')? } else { ("", rest) };
            if name.is_empty() || name.contains('/') || (kind.namespaced() && namespace.is_empty()) {
                return None;
            }
            return Some(Key::Resource { kind, namespace: unescape(namespace), name: unescape(name) });
        }
        let rest = path.strip_prefix(IPAM)?;
        if rest == "config" {
            return Some(Key::IpamConfig);
        }
        let (head, rest) = rest.split_once('/')?;
        match head {
            "assignment" => {
                let (family, cidr) = rest.split_once("/block/")?;
                cidr_of_family(family, cidr).map(Key::Block)
            }
            "handle" if !rest.is_empty() => Some(Key::Handle(rest.to_owned())),
            "host" | "virtual" => {
                let Some((host, rest)) = rest.split_once('/') else {
                    return (head == "host" && !rest.is_empty()).then(|| Key::IpamHost(rest.to_owned()));
                };
                let (family, cidr) = rest.split_once("/block/")?;
                let cidr = cidr_of_family(family, cidr)?;
                let owner = match head {
                    "host" => Owner::Host(host.to_owned()),
                    _ => Owner::Virtual(host.to_owned()),
                };
                Some(Key::Affinity(owner, cidr))
            }
            _ => None,
        }
    }
}

/// Prefix of all resources of a kind, in one namespace when given.
pub fn resource_prefix(kind: Kind, namespace: Option<&str>) -> String {
    match namespace {
        Some(namespace) if kind.namespaced() => format!("{RESOURCES}{}/{namespace}/", kind.plural()),
        _ => format!("{RESOURCES}{}/", kind.plural()),
    }
}

/// Prefix of all blocks of a family.
pub fn block_prefix(family: Family) -> String {
    format!("{IPAM}assignment/ipv{}/block/", family.number())
}

/// Prefix of an owner's affinities of a family.
pub fn affinity_prefix(owner: &Owner, family: Family) -> String {
    let (kind, name) = owner.parts();
    format!("{IPAM}{kind}/{name}/ipv{}/block/", family.number())
}

/// Prefix of all `host` affinities.
pub fn host_affinities_prefix() -> String {
    format!("{IPAM}host/")
}

/// Prefix of all handles.
pub fn handle_prefix() -> String {
    format!("{IPAM}handle/")
}

fn cidr_of_family(family: &str, dashed: &str) -> Option<Cidr> {
    let cidr = Cidr::from_dashed(dashed).ok()?;
    let expected = match family {
        "ipv4" => Family::V4,
        "ipv6" => Family::V6,
        _ => return None,
    };
    (cidr.family() == expected && cidr.dashed() == dashed).then_some(cidr)
}

fn unescape(segment: &str) -> String {
    if !segment.contains('%') {
        return segment.to_owned();
    }
    segment.replace("%2f", "/").replace("%25", "%")
}

#[cfg(test)]
mod tests;
