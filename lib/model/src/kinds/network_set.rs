//! NetworkSet and GlobalNetworkSet. Source: `resources.md` §1.6 of the contract.

use crate::error::FieldError;
use crate::kind::Kind;
use crate::schema::field::{TEXT, list};
use crate::schema::{Context, Field, KindSchema, Object, Path, tags};
use serde_json::{Map, Value};

const NET: &Field = &TEXT.tag(tags::CIDR);

static SPEC: Object = Object::new(&[list("nets", NET)]);

/// NetworkSet.
pub(crate) static NAMESPACED: KindSchema =
    KindSchema { rule: Some(rule), ..KindSchema::new(Kind::NetworkSet, &SPEC) };

/// GlobalNetworkSet.
pub(crate) static GLOBAL: KindSchema =
    KindSchema { rule: Some(rule), ..KindSchema::new(Kind::GlobalNetworkSet, &SPEC) };

/// Label that selectors are given to tell namespaces apart; a set must not claim one.
const NAMESPACE_LABEL: &str = "projectcalico.org/namespace";

fn rule(context: &Context<'_>, _: &Map<String, Value>, _: &Path<'_>, out: &mut Vec<FieldError>) {
    if context.resource.label(NAMESPACE_LABEL).is_some() {
        let reason = format!("{NAMESPACE_LABEL} is not a valid label name");
        out.push(FieldError::new("Metadata.Labels (label)", NAMESPACE_LABEL, reason));
    }
}

#[cfg(test)]
mod tests;
