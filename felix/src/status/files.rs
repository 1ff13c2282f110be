//! Files of endpoints that are up: the CNI plugin waits for them, the BGP speaker reads them.

use crate::whole_file;
use failpoint::failpoint;
use felix_calc::endpoint::{Endpoint, EndpointKey};
use serde_json::{Map, Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::path::{Path, PathBuf};

/// Below the configured directory.
const SUBDIRECTORY: &str = "endpoint-status";

/// A file: its name and its content.
pub(super) type File = (String, String);

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Files {
    directory: Option<PathBuf>,
    /// The file of each endpoint that has one.
    named: BTreeMap<EndpointKey, File>,
    /// What lies there may be somebody's of an earlier life.
    unswept: bool,
}

/// The file of an endpoint that is up; none of a host's. `peer` is the BGPPeer that is about it.
pub(super) fn of(endpoint: &Endpoint, peer: Option<&str>) -> Option<File> {
    let Endpoint::Workload(workload) = endpoint else { return None };
    let id = &workload.id;
    let name = [&id.orchestrator, &id.workload, &id.endpoint].map(|part| escape(part)).join(" ");
    let nets = |v4: bool, bits: u8| {
        let of_family = workload.addresses.iter().filter(|address| address.is_ipv4() == v4);
        of_family.map(|address: &IpAddr| json!(format!("{address}/{bits}"))).collect::<Vec<Value>>()
    };
    let mac = workload.mac.map(|octets| octets.map(|octet| format!("{octet:02x}")).join(":"));
    let mut content = Map::new();
    content.insert("ifaceName".to_owned(), json!(&*workload.interface));
    if let Some(mac) = mac {
        content.insert("mac".to_owned(), json!(mac));
    }
    for (field, nets) in [("ipv4Nets", nets(true, 32)), ("ipv6Nets", nets(false, 128))] {
        if !nets.is_empty() {
            content.insert(field.to_owned(), Value::Array(nets));
        }
    }
    if let Some(peer) = peer {
        content.insert("bgpPeerName".to_owned(), json!(peer));
    }
    Some((name, Value::Object(content).to_string()))
}

impl Files {
    /// The directory that holds ours, or none for no files. Those in another one stay: they may be another agent's.
    pub(super) fn set_directory(&mut self, prefix: Option<&Path>) {
        let directory = prefix.map(|prefix| prefix.join(SUBDIRECTORY));
        if directory != self.directory {
            self.directory = directory;
            self.unswept = true;
        }
    }

    /// An endpoint has this file, or none; what has to be written comes into `work`.
    pub(super) fn set(
        &mut self,
        key: &EndpointKey,
        file: Option<File>,
        work: &mut BTreeMap<String, Option<String>>,
    ) {
        let before = match &file {
            Some(file) => self.named.insert(key.clone(), file.clone()),
            None => self.named.remove(key),
        };
        if before == file {
            return;
        }
        if let Some((name, _)) = before {
            work.entry(name).or_insert(None);
        }
        if let Some((name, content)) = file {
            work.insert(name, Some(content));
        }
    }

    /// Writes and removes; the first time also what nobody wants there.
    pub(super) fn write(&mut self, work: BTreeMap<String, Option<String>>) {
        let Some(directory) = self.directory.clone() else { return };
        if std::mem::take(&mut self.unswept) {
            return self.write_all(&directory);
        }
        for (name, content) in work {
            let path = directory.join(&name);
            match content {
                Some(content) => put(&path, &content),
                None => remove(&path),
            }
        }
    }

    fn write_all(&self, directory: &Path) {
        if let Err(error) = std::fs::create_dir_all(directory) {
            tracing::warn!(path = %directory.display(), %error, "endpoint status files cannot be written");
            return;
        }
        let wanted: BTreeSet<&str> = self.named.values().map(|(name, _)| name.as_str()).collect();
        for entry in std::fs::read_dir(directory).into_iter().flatten().flatten() {
            if !wanted.contains(entry.file_name().to_string_lossy().as_ref()) {
                remove(&entry.path());
            }
        }
        for (name, content) in self.named.values() {
            let path = directory.join(name);
            if std::fs::read_to_string(&path).ok().as_deref() != Some(content) {
                put(&path, content);
            }
        }
    }
}

fn put(path: &Path, content: &str) {
    match whole_file::write(path, content) {
        Ok(()) => failpoint("felix-status-file"),
        Err(error) => {
            tracing::warn!(path = %path.display(), %error, "an endpoint status file cannot be written");
        }
    }
}

fn remove(path: &Path) {
    match std::fs::remove_file(path) {
        Ok(()) => failpoint("felix-status-gone"),
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            tracing::warn!(path = %path.display(), %error, "an endpoint status file cannot be removed");
        }
        _ => {}
    }
}

/// As Go's `url.PathEscape`.
fn escape(text: &str) -> String {
    let mut escaped = String::new();
    for byte in text.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' => escaped.push(char::from(byte)),
            _ if b"-_.~$&+=:@".contains(&byte) => escaped.push(char::from(byte)),
            _ => escaped.push_str(&format!("%{byte:02X}")),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;
    use felix_calc::endpoint::{Workload, WorkloadId};

    fn endpoint(workload: &str, addresses: &[&str]) -> (EndpointKey, Endpoint) {
        let id = WorkloadId {
            orchestrator: "cni".to_owned(),
            workload: workload.to_owned(),
            endpoint: "eth0".to_owned(),
        };
        let of = Workload {
            id,
            interface: "caliweb1".into(),
            mac: Some([0x0a, 0, 0, 0, 1, 0x6f]),
            addresses: addresses.iter().map(|address| address.parse().unwrap()).collect(),
            ..Workload::default()
        };
        (EndpointKey::Workload("default".to_owned(), workload.to_owned()), Endpoint::Workload(of))
    }

    #[test]
    fn a_file_is_named_and_filled_as_upstreams() {
        let (_, both) = endpoint("default/web1", &["10.64.0.2", "fd00::2"]);
        assert_eq!(of(&both, None).unwrap(), (
            "cni default%2Fweb1 eth0".to_owned(),
            r#"{"ifaceName":"caliweb1","mac":"0a:00:00:00:01:6f","ipv4Nets":["10.64.0.2/32"],"ipv6Nets":["fd00::2/128"]}"#
                .to_owned()
        ));
        let (_, none) = endpoint("a b", &[]);
        assert_eq!(of(&none, Some("peer-1")).unwrap().0, "cni a%20b eth0");
        let content = of(&none, Some("peer-1")).unwrap().1;
        assert_eq!(content, r#"{"ifaceName":"caliweb1","mac":"0a:00:00:00:01:6f","bgpPeerName":"peer-1"}"#);
    }

    #[test]
    fn strays_go_at_the_start_and_files_come_and_go() {
        let directory = tempfile::tempdir().unwrap();
        let place = directory.path().join(SUBDIRECTORY);
        std::fs::create_dir_all(&place).unwrap();
        std::fs::write(place.join("k8s stray eth0"), "{}").unwrap();
        let list = || {
            let entries = std::fs::read_dir(&place).unwrap();
            let mut names: Vec<String> =
                entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
            names.sort();
            names
        };
        let mut files = Files::default();
        files.set_directory(Some(directory.path()));
        let (key, up) = endpoint("default/web1", &["10.64.0.2"]);
        let mut work = BTreeMap::new();
        files.set(&key, of(&up, None), &mut work);
        files.write(work);
        assert_eq!(list(), ["cni default%2Fweb1 eth0"]);
        let (_, moved) = endpoint("default/web2", &["10.64.0.3"]);
        let mut work = BTreeMap::new();
        files.set(&key, of(&moved, None), &mut work);
        files.write(work);
        assert_eq!(list(), ["cni default%2Fweb2 eth0"]);
        let content = std::fs::read_to_string(place.join("cni default%2Fweb2 eth0")).unwrap();
        assert!(content.contains("10.64.0.3/32"), "{content}");
        let mut work = BTreeMap::new();
        files.set(&key, None, &mut work);
        files.write(work);
        assert!(list().is_empty());
    }
}
