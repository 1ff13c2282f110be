//! IP sets: messages of ip_set, protocol 7, to and from bytes (`linux/netfilter/ipset/ip_set.h`).
//!
//! * [`kinds`]: which sets there are, and what their members look like.
//! * [`change`]: what can be asked for, one message each.
//! * [`read`]: lists and answers.
//!
//! Unlike nf_tables there is no transaction: each message is carried out when it comes. What has to change at one instant
//! is filled into another set, and the two are swapped.

pub mod change;
pub mod kinds;
pub mod read;
mod wire;

pub use change::{Change, list, members, protocol, revision};
pub use kinds::{Family, Member, SetHeader, SetKind};
pub use read::{Answer, read, refused_line, words};

#[cfg(test)]
mod tests;
