//! IPReservation. Source: `resources.md` §1.12 of the contract.

use crate::kind::Kind;
use crate::schema::field::{TEXT, list};
use crate::schema::text::{is_cidr, is_written_cidr};
use crate::schema::{Check, Field, KindSchema, Object, Tag};

const RESERVED: &Field = &TEXT.check(Check::Format("cidr", is_written_cidr));

/// All addresses or CIDRs; the CRD then insists on CIDRs.
const CIDRS: Tag = Tag::new("cidrs", |value| {
    value.as_array().into_iter().flatten().all(|item| item.as_str().is_some_and(is_cidr))
});

static SPEC: Object = Object::new(&[list("reservedCIDRs", RESERVED).go("ReservedCIDRs").tag(CIDRS)]);

/// The kind.
pub(crate) static SCHEMA: KindSchema = KindSchema::new(Kind::IPReservation, &SPEC);
