//! A result as the bytes for standard output.

use super::{CniResult, Dns, Interface, IpConfig, RouteEntry};
use crate::json;
use crate::version::Version;
use model::net::Family;
use serde_json::{Map, Value, json};

impl CniResult {
    /// The bytes for standard output: four spaces of indentation, no newline at the end.
    pub fn to_json(&self, version: Version) -> String {
        json::pretty(&Value::Object(self.document(version)))
    }

    fn document(&self, version: Version) -> Map<String, Value> {
        let mut document = Map::new();
        document.insert("cniVersion".into(), version.text().into());
        if version <= Version::V020 {
            for (key, family) in [("ip4", Family::V4), ("ip6", Family::V6)] {
                if let Some(ip) = self.ips.iter().find(|ip| ip.address.family() == family) {
                    document.insert(key.into(), self.address_of_old(ip, family));
                }
            }
            document.insert("dns".into(), dns(&self.dns));
            return document;
        }
        insert_list(&mut document, "interfaces", self.interfaces.iter().map(|i| interface(i, version)));
        insert_list(&mut document, "ips", self.ips.iter().map(|ip| address(ip, version)));
        insert_list(&mut document, "routes", self.routes.iter().map(route));
        if version < Version::V100 || !self.dns.is_empty() {
            document.insert("dns".into(), dns(&self.dns));
        }
        document
    }

    fn address_of_old(&self, ip: &IpConfig, family: Family) -> Value {
        let mut entry = Map::new();
        entry.insert("ip".into(), ip.address.to_string().into());
        insert_some(&mut entry, "gateway", ip.gateway);
        let routes = self.routes.iter().filter(|route| route.dst.family() == family);
        insert_list(&mut entry, "routes", routes.map(route));
        Value::Object(entry)
    }
}

fn insert_list(object: &mut Map<String, Value>, key: &str, items: impl Iterator<Item = Value>) {
    let items: Vec<Value> = items.collect();
    if !items.is_empty() {
        object.insert(key.into(), Value::Array(items));
    }
}

fn insert_some<T: ToString>(object: &mut Map<String, Value>, key: &str, value: Option<T>) {
    if let Some(value) = value {
        object.insert(key.into(), value.to_string().into());
    }
}

fn insert_text(object: &mut Map<String, Value>, key: &str, text: &str) {
    if !text.is_empty() {
        object.insert(key.into(), text.into());
    }
}

fn interface(interface: &Interface, version: Version) -> Value {
    let mut entry = Map::new();
    if version >= Version::V100 {
        insert_text(&mut entry, "mac", &interface.mac);
        if interface.mtu != 0 {
            entry.insert("mtu".into(), interface.mtu.into());
        }
        entry.insert("name".into(), interface.name.as_str().into());
    } else {
        entry.insert("name".into(), interface.name.as_str().into());
        insert_text(&mut entry, "mac", &interface.mac);
    }
    insert_text(&mut entry, "sandbox", &interface.sandbox);
    Value::Object(entry)
}

fn address(ip: &IpConfig, version: Version) -> Value {
    let mut entry = Map::new();
    let index = ip.interface.map(Value::from);
    if version >= Version::V100 {
        entry.insert("address".into(), ip.address.to_string().into());
        insert_some(&mut entry, "gateway", ip.gateway);
        if let Some(index) = index {
            entry.insert("interface".into(), index);
        }
    } else {
        entry.insert("version".into(), ip.address.family().number().to_string().into());
        if let Some(index) = index {
            entry.insert("interface".into(), index);
        }
        entry.insert("address".into(), ip.address.to_string().into());
        insert_some(&mut entry, "gateway", ip.gateway);
    }
    Value::Object(entry)
}

fn route(route: &RouteEntry) -> Value {
    let mut entry = Map::new();
    entry.insert("dst".into(), route.dst.to_string().into());
    insert_some(&mut entry, "gw", route.gw);
    Value::Object(entry)
}

fn dns(dns: &Dns) -> Value {
    let mut entry = Map::new();
    for (key, list) in [("nameservers", &dns.nameservers), ("search", &dns.search), ("options", &dns.options)]
    {
        if !list.is_empty() {
            entry.insert(key.into(), json!(list));
        }
        if key == "nameservers" {
            insert_text(&mut entry, "domain", &dns.domain);
        }
    }
    Value::Object(entry)
}
