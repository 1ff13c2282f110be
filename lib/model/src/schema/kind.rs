//! What the engine knows about a kind: its tables and the rules that no table can say.

use super::field::{Context, Field, Object, Rule, Type};
use crate::admission::Operation;
use crate::error::{FieldError, ValidationError};
use crate::kind::Kind;
use crate::kinds;
use crate::resource::Resource;

/// Changes a resource before validation, or refuses it.
pub type Prepare = fn(&mut Resource, Operation<'_>) -> Result<(), ValidationError>;

/// Looks at a resource after validation.
pub type Finish = fn(&Resource, Operation<'_>) -> Result<(), ValidationError>;

/// A kind's tables and rules. Every hook may be left out.
#[derive(Debug)]
pub struct KindSchema {
    /// The kind.
    pub kind: Kind,
    /// Its spec; `None` stores whatever is given.
    pub spec: Option<&'static Object>,
    /// Its status, if it has one.
    pub status: Option<Field>,
    /// Whether it has a CRD, whose schema and CEL rules then hold; profiles have none.
    pub crd: bool,
    /// Struct validator of the whole resource, run after those of metadata and spec.
    pub rule: Option<Rule>,
    /// CEL rules of the whole resource, run before those of the spec.
    pub cel: Option<Rule>,
    /// What Calico's client does on a write before it validates: checks against the old object, forced labels, forms
    /// that are rewritten, defaults the table cannot say. An error ends the write at once.
    pub prepare: Option<Prepare>,
    /// What Calico's client checks on a write after validation.
    pub finish: Option<Finish>,
}

impl KindSchema {
    /// A kind with this spec and nothing else.
    pub const fn new(kind: Kind, spec: &'static Object) -> Self {
        Self {
            kind,
            spec: Some(spec),
            status: None,
            crd: true,
            rule: None,
            cel: None,
            prepare: None,
            finish: None,
        }
    }

    /// A kind with this spec, for which only Calico's own validators hold.
    pub const fn without_crd(kind: Kind, spec: &'static Object) -> Self {
        Self { crd: false, ..Self::new(kind, spec) }
    }

    /// A kind that is stored as given.
    pub const fn untyped(kind: Kind) -> Self {
        let status = Some(Field::new("status", Type::Any));
        Self { kind, spec: None, status, crd: false, rule: None, cel: None, prepare: None, finish: None }
    }

    /// The row of the spec, which is always written.
    pub(super) fn spec_field(&self) -> Field {
        match self.spec {
            Some(spec) => Field::new("spec", Type::Object(spec)).always(),
            None => Field::new("spec", Type::Any),
        }
    }

    /// Everything wrong with a resource in stored form: validator tags and struct rules, then schema, then CEL rules.
    pub fn check(&self, resource: &Resource) -> Vec<FieldError> {
        let context = Context { resource };
        super::check::check(self, &context)
    }
}

/// The schema of a kind.
pub fn of(kind: Kind) -> &'static KindSchema {
    match kind {
        Kind::BGPConfiguration => &kinds::bgp_configuration::SCHEMA,
        Kind::BGPFilter => &kinds::bgp_filter::SCHEMA,
        Kind::BGPPeer => &kinds::bgp_peer::SCHEMA,
        Kind::BlockAffinity => &kinds::block_affinity::SCHEMA,
        Kind::CalicoNodeStatus => &kinds::node_status::SCHEMA,
        Kind::ClusterInformation => &kinds::cluster_information::SCHEMA,
        Kind::FelixConfiguration => &kinds::felix_configuration::SCHEMA,
        Kind::GlobalNetworkPolicy => &kinds::global_network_policy::SCHEMA,
        Kind::GlobalNetworkSet => &kinds::network_set::GLOBAL,
        Kind::HostEndpoint => &kinds::host_endpoint::SCHEMA,
        Kind::IPAMConfiguration => &kinds::ipam_configuration::SCHEMA,
        Kind::IPPool => &kinds::ip_pool::SCHEMA,
        Kind::IPReservation => &kinds::ip_reservation::SCHEMA,
        Kind::KubeControllersConfiguration => &kinds::kube_controllers::SCHEMA,
        Kind::NetworkPolicy => &kinds::network_policy::SCHEMA,
        Kind::NetworkSet => &kinds::network_set::NAMESPACED,
        Kind::Node => &kinds::node::SCHEMA,
        Kind::Profile => &kinds::profile::SCHEMA,
        Kind::StagedGlobalNetworkPolicy => &kinds::staged_policy::GLOBAL,
        Kind::StagedKubernetesNetworkPolicy => &kinds::staged_kubernetes_policy::SCHEMA,
        Kind::StagedNetworkPolicy => &kinds::staged_policy::NAMESPACED,
        Kind::Tier => &kinds::tier::SCHEMA,
        Kind::WorkloadEndpoint => &kinds::workload_endpoint::SCHEMA,
        Kind::IPAMConfig => &IPAM_CONFIG,
        Kind::LiveMigration => &LIVE_MIGRATION,
    }
}

static IPAM_CONFIG: KindSchema = KindSchema::untyped(Kind::IPAMConfig);
static LIVE_MIGRATION: KindSchema = KindSchema::untyped(Kind::LiveMigration);
