//! ClusterInformation. Source: `resources.md` §1.19 of the contract.

use crate::kind::Kind;
use crate::schema::field::{flag, text};
use crate::schema::{KindSchema, Object};

static SPEC: Object = Object::new(&[
    text("clusterGUID").go("ClusterGUID"),
    text("clusterType"),
    text("calicoVersion"),
    flag("datastoreReady").pointer(),
    text("variant"),
]);

/// The kind.
pub(crate) static SCHEMA: KindSchema = KindSchema {
    finish: Some(|resource, _| super::only_default(resource, "a Cluster Information")),
    ..KindSchema::new(Kind::ClusterInformation, &SPEC)
};
