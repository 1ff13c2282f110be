//! The schema engine: one static table per kind says what its fields are, and everything else follows from it.
//!
//! * [`field`] – the words tables are written in,
//! * [`kind`] – a kind's tables with the rules no table can say,
//! * [`decode`] – reading user input strictly, and the stored form,
//! * [`check`](mod@check) – validator tags, schema checks and CEL rules, in Calico's order and words,
//! * [`defaults`] – what absence becomes on write,
//! * [`text`], [`tags`], [`regexp`], [`scalar`], [`metadata`], [`path`] – the small parts of these.
//!
//! Tables are `static`: nothing is compiled at start, and checking one endpoint costs microseconds.

pub mod check;
pub mod decode;
pub mod defaults;
pub mod field;
mod given;
mod hint;
pub mod kind;
pub mod metadata;
pub mod path;
pub mod regexp;
pub mod scalar;
pub mod tags;
pub mod text;

pub use check::go_text;
pub use decode::{DecodeError, Problem, ProblemKind, decode_patched, decode_strict, normalise};
pub use field::{Check, Context, Default, Field, Object, Rule, Tag, Type};
pub use kind::KindSchema;
pub use path::Path;
