//! BlockAffinity as a resource: a read-mostly view beside the IPAM engine's own keys.
//! Source: `resources.md` §1.14 and `datamodel.md` §2, §14 of the contract.

use crate::error::FieldError;
use crate::kind::Kind;
use crate::schema::field::{Field, Type, text};
use crate::schema::text::is_written_cidr;
use crate::schema::{Check, Context, KindSchema, Object, Path};
use serde_json::{Map, Value};

static SPEC: Object = Object::new(&[
    text("state").check(Check::Enum(&["confirmed", "pending", "pendingDeletion"])),
    text("node"),
    text("type"),
    text("cidr").go("CIDR").always().check(Check::Format("cidr", is_written_cidr)),
    // text in etcd, a boolean for users: stored as given, read as either
    Field::new("deleted", Type::Any),
])
.rule(rule);

/// The kind.
pub(crate) static SCHEMA: KindSchema = KindSchema::new(Kind::BlockAffinity, &SPEC);

fn rule(_: &Context<'_>, spec: &Map<String, Value>, _: &Path<'_>, out: &mut Vec<FieldError>) {
    if matches!(spec.get("deleted"), Some(Value::Bool(true))) || spec.get("deleted") == Some(&"true".into()) {
        out.push(FieldError::new("Spec.Deleted", "true", "must not be true on a write"));
    }
}

#[cfg(test)]
mod tests;
