//! Profile. It has no CRD, so that only Calico's own validators look at it. Source: `resources.md` §1.10 of the contract.

use super::rule::RULES;
use crate::kind::Kind;
use crate::schema::field::{list, text_map};
use crate::schema::{KindSchema, Object, tags};

static SPEC: Object = Object::new(&[
    list("ingress", RULES),
    list("egress", RULES),
    text_map("labelsToApply").tag(tags::LABELS),
]);

/// The kind.
pub(crate) static SCHEMA: KindSchema = KindSchema::without_crd(Kind::Profile, &SPEC);

#[cfg(test)]
mod tests;
