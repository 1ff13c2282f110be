//! Facts about the whole cluster. Source: `resources.md` §1.19 of the contract.

use serde::{Deserialize, Serialize};

/// ClusterInformation `default`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ClusterInformationSpec {
    /// Random identity of the cluster, 32 hex characters.
    #[serde(rename = "clusterGUID", skip_serializing_if = "String::is_empty")]
    pub cluster_guid: String,
    /// Comma-separated types, such as `k8s,bgp,kdd`.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub cluster_type: String,
    /// Version of the newest node.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub calico_version: String,
    /// False locks the datastore; absent means not yet initialised.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub datastore_ready: Option<bool>,
    /// Product variant.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub variant: String,
}

impl ClusterInformationSpec {
    /// Whether the datastore is locked: set to not ready by someone (`datamodel.md` §9).
    pub fn is_locked(&self) -> bool {
        self.datastore_ready == Some(false)
    }
}
