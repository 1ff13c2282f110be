//! The state file: what was made, written before it is made, so that whatever is left of a killed lab is known.

use super::plan::{Etcd, Plan, WORKLOAD_LINK};
use super::programs::Started;
use super::shape::Shape;
use anyhow::{Context, Result};
use model::names::{ORCHESTRATOR_CNI, WepName};
use serde::{Deserialize, Serialize};
use std::io::Write;
use std::path::Path;

/// Format of the file; another one is not read.
const FORMAT: u32 = 1;
const FILE: &str = "state.json";

/// A process, told apart from a later one with the same number by its start time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Identity {
    /// Process id.
    pub pid: i32,
    /// Start, in clock ticks since boot (field 22 of /proc/PID/stat).
    pub start: u64,
}

/// How far the lab is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Phase {
    /// `up` is at work, or was killed.
    Making,
    /// Complete.
    Up,
    /// `down` is at work, or was killed.
    Removing,
}

/// An attached workload, or one about to be.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Attached {
    /// Name in the lab.
    pub name: String,
    /// Its node.
    pub node: String,
    /// The runtime's id for it.
    pub container_id: String,
    /// Host end of its veth pair.
    pub host_interface: String,
    /// Address; `None` until the plugin answered.
    pub ipv4: Option<String>,
    /// Address; `None` until the plugin answered.
    pub ipv6: Option<String>,
}

impl Attached {
    /// Name of its WorkloadEndpoint.
    ///
    /// # Errors
    /// It has a part that no name can have.
    pub fn endpoint(&self) -> Result<String> {
        let name = WepName {
            node: self.node.clone(),
            orchestrator: ORCHESTRATOR_CNI.to_string(),
            workload: self.container_id.clone(),
            endpoint: WORKLOAD_LINK.to_string(),
        };
        Ok(name.compose()?)
    }
}

/// A resource that the lab made in a datastore that is not its own.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Created {
    /// Kind, as `ocicat delete` takes it.
    pub kind: String,
    /// Name.
    pub name: String,
}

/// The state file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct State {
    format: u32,
    /// How far the lab is.
    pub phase: Phase,
    /// What is being done, for people who look at what is left.
    pub step: String,
    /// The datastore.
    pub etcd: Etcd,
    /// Nodes and fabric.
    #[serde(flatten)]
    pub shape: Shape,
    /// Workloads.
    pub workloads: Vec<Attached>,
    /// Programs.
    pub processes: Vec<Started>,
    /// Resources made in a given datastore.
    pub created: Vec<Created>,
}

impl State {
    /// Of a lab that has nothing yet.
    pub fn new(etcd: Etcd, shape: Shape) -> Self {
        Self {
            format: FORMAT,
            phase: Phase::Making,
            step: "begin".to_string(),
            etcd,
            shape,
            workloads: Vec::new(),
            processes: Vec::new(),
            created: Vec::new(),
        }
    }

    /// What the lab consists of.
    pub fn plan(&self) -> Plan {
        Plan::new(self.etcd.clone(), self.shape)
    }

    /// Reads the file in `directory`; `None` when there is none.
    ///
    /// # Errors
    /// It cannot be read or understood.
    pub fn load(directory: &Path) -> Result<Option<Self>> {
        let path = directory.join(FILE);
        let text = match std::fs::read_to_string(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error).with_context(|| format!("read {}", path.display())),
        };
        let state: State =
            serde_json::from_str(&text).with_context(|| format!("{} is damaged", path.display()))?;
        anyhow::ensure!(
            state.format == FORMAT,
            "{} has format {}, this program knows {FORMAT}",
            path.display(),
            state.format
        );
        Ok(Some(state))
    }

    /// Writes the file: whole or not at all.
    ///
    /// # Errors
    /// The directory cannot be written.
    pub fn save(&self, directory: &Path) -> Result<()> {
        let path = directory.join(FILE);
        let next = directory.join(".state.json.next");
        let mut text = serde_json::to_vec_pretty(self)?;
        text.push(b'\n');
        let write = || -> std::io::Result<()> {
            let mut file = std::fs::File::create(&next)?;
            file.write_all(&text)?;
            std::fs::rename(&next, &path)
        };
        write().with_context(|| format!("write {}", path.display()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lab::shape::Fabric;

    fn full() -> State {
        let mut state = State::new(
            Etcd::Given(vec!["127.0.0.1:2379".into()]),
            Shape { nodes: 3, fabric: Fabric::Routed, ..Shape::default() },
        );
        state.step = "attach w1".into();
        state.workloads.push(Attached {
            name: "w1".into(),
            node: "node-1".into(),
            container_id: "0123".into(),
            host_interface: "cali0123".into(),
            ipv4: Some("10.0.0.0".into()),
            ipv6: None,
        });
        let identity = Identity { pid: 7, start: 99 };
        state.processes.push(Started { name: "etcd".into(), identity });
        state.created.push(Created { kind: "ippool".into(), name: "lab-small".into() });
        state
    }

    #[test]
    fn what_is_written_is_read() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(State::load(folder.path()).unwrap(), None);
        let state = full();
        state.save(folder.path()).unwrap();
        assert_eq!(State::load(folder.path()).unwrap(), Some(state.clone()));
        let later = State { phase: Phase::Up, ..state };
        later.save(folder.path()).unwrap();
        assert_eq!(State::load(folder.path()).unwrap(), Some(later));
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1, "nothing is left beside it");
    }

    #[test]
    fn a_write_that_was_cut_off_leaves_the_old_file() {
        let folder = tempfile::tempdir().unwrap();
        full().save(folder.path()).unwrap();
        std::fs::write(folder.path().join(".state.json.next"), "{\"form").unwrap();
        assert_eq!(State::load(folder.path()).unwrap(), Some(full()));
        full().save(folder.path()).unwrap();
        assert_eq!(State::load(folder.path()).unwrap(), Some(full()));
    }

    #[test]
    fn a_damaged_or_foreign_file_is_an_error_that_names_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(FILE);
        for (text, says) in [("{", "damaged"), ("{}", "damaged"), ("[]", "damaged")] {
            std::fs::write(&path, text).unwrap();
            let error = format!("{:#}", State::load(folder.path()).unwrap_err());
            assert!(error.contains(says) && error.contains("state.json"), "{error}");
        }
        let mut value = serde_json::to_value(full()).unwrap();
        value["format"] = 2.into();
        std::fs::write(&path, value.to_string()).unwrap();
        assert!(format!("{:#}", State::load(folder.path()).unwrap_err()).contains("format 2"));
    }
}
