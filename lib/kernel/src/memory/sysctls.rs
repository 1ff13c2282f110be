//! Kernel parameters of one in-memory namespace.

use crate::api::KernelError;
use std::collections::BTreeMap;

/// Parameters of each link and of `all` and `default`, with the values of a fresh namespace.
const PER_LINK: [(&str, &str, &str); 14] = [
    ("ipv4/conf", "accept_local", "0"),
    ("ipv4/conf", "forwarding", "0"),
    ("ipv4/conf", "proxy_arp", "0"),
    ("ipv4/conf", "route_localnet", "0"),
    ("ipv4/conf", "rp_filter", "0"),
    ("ipv4/neigh", "proxy_delay", "80"),
    ("ipv4/neigh", "base_reachable_time_ms", "30000"),
    ("ipv6/conf", "accept_dad", "1"),
    ("ipv6/conf", "accept_ra", "1"),
    ("ipv6/conf", "disable_ipv6", "0"),
    ("ipv6/conf", "forwarding", "0"),
    ("ipv6/conf", "proxy_ndp", "0"),
    ("ipv6/neigh", "proxy_delay", "80"),
    ("ipv6/neigh", "base_reachable_time_ms", "30000"),
];

/// The parameters, by path below /proc/sys.
#[derive(Debug, Default)]
pub(super) struct Sysctls(BTreeMap<String, String>);

impl Sysctls {
    pub(super) fn new() -> Self {
        let mut all = Self::default();
        all.0.insert("net/ipv4/ip_forward".to_string(), "0".to_string());
        for scope in ["all", "default"] {
            all.add_link(scope);
        }
        all
    }

    pub(super) fn add_link(&mut self, name: &str) {
        for (folder, parameter, value) in PER_LINK {
            let inherited = self.0.get(&format!("net/{folder}/default/{parameter}")).cloned();
            let value = inherited.unwrap_or_else(|| value.to_string());
            self.0.insert(format!("net/{folder}/{name}/{parameter}"), value);
        }
    }

    pub(super) fn remove_link(&mut self, name: &str) {
        for (folder, parameter, _) in PER_LINK {
            self.0.remove(&format!("net/{folder}/{name}/{parameter}"));
        }
    }

    /// The parameters of a link go along with its name.
    pub(super) fn rename_link(&mut self, old: &str, new: &str) {
        for (folder, parameter, _) in PER_LINK {
            if let Some(value) = self.0.remove(&format!("net/{folder}/{old}/{parameter}")) {
                self.0.insert(format!("net/{folder}/{new}/{parameter}"), value);
            }
        }
    }

    pub(super) fn read(&self, key: &str) -> Result<String, KernelError> {
        self.0.get(key).cloned().ok_or_else(|| missing(key))
    }

    pub(super) fn write(&mut self, key: &str, value: &str) -> Result<(), KernelError> {
        let slot = self.0.get_mut(key).ok_or_else(|| missing(key))?;
        if value.trim().parse::<i64>().is_err() {
            let reason = format!("cannot be set to {value:?}: Invalid argument (os error 22)");
            return Err(KernelError::Sysctl { key: key.to_string(), reason });
        }
        *slot = value.trim().to_string();
        self.spread(key, value.trim());
        Ok(())
    }

    /// Whether IPv6 is switched off for a link.
    pub(super) fn ipv6_disabled(&self, link: &str) -> bool {
        self.0.get(&format!("net/ipv6/conf/{link}/disable_ipv6")).is_some_and(|value| value != "0")
    }

    /// Writing to `all`, and to `ip_forward`, changes every link, as the real parameters do.
    fn spread(&mut self, key: &str, value: &str) {
        let (folder, parameter) = match key {
            "net/ipv4/ip_forward" => ("ipv4/conf", "forwarding"),
            "net/ipv4/conf/all/forwarding" => ("ipv4/conf", "forwarding"),
            "net/ipv6/conf/all/forwarding" => ("ipv6/conf", "forwarding"),
            "net/ipv6/conf/all/disable_ipv6" => ("ipv6/conf", "disable_ipv6"),
            _ => return,
        };
        let start = format!("net/{folder}/");
        let end = format!("/{parameter}");
        for (path, slot) in &mut self.0 {
            if path.starts_with(&start) && path.ends_with(&end) {
                *slot = value.to_string();
            }
        }
        if folder == "ipv4/conf" {
            self.0.insert("net/ipv4/ip_forward".to_string(), value.to_string());
        }
    }
}

fn missing(key: &str) -> KernelError {
    let reason = "No such file or directory (os error 2)".to_string();
    KernelError::Sysctl { key: key.to_string(), reason }
}
