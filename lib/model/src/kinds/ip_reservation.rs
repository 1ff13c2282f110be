//! IPReservation. Source: `resources.md` §1.12 of the contract.

use crate::kind::Kind;
use crate::schema::field::{TEXT, list};
use crate::schema::text::is_written_cidr;
use crate::schema::{Check, Field, KindSchema, Object, tags};

const RESERVED: &Field = &TEXT.check(Check::Format("cidr", is_written_cidr));

static SPEC: Object = Object::new(&[list("reservedCIDRs", RESERVED).go("ReservedCIDRs").tag(tags::CIDRS)]);

/// The kind.
pub(crate) static SCHEMA: KindSchema = KindSchema::new(Kind::IPReservation, &SPEC);
