//! Lists and watch events in, a consistent stream of changes out.
//!
//! A [`Syncer`] follows some *roots* (ranges of keys). Whoever does the I/O asks it [what to do next](Syncer::next) for
//! each root, list or watch from a revision, and feeds it what comes: lists page by page, messages of watches, and the
//! writes this process made itself. Out come [`Change`]s for consumers.
//!
//! What consumers may rely on:
//!
//! * For each key revisions only rise. What is older than what is known of the key is dropped: doubled events after a
//!   reconnect, a list that was on its way while an event passed it, a watch event that comes after our own later write.
//! * A new list (after a compaction, or a connection lost for too long) comes out as its difference to what is known,
//!   deletions included; a list that changed nothing is no change. It comes page by page, however large it is;
//!   [`Output::more`] says while it is under way.
//! * [`Output::became_in_sync`] is said once, when every root has been listed.
//! * [`Syncer::revision`] says up to which revision they know everything.
//! * In the end the consumers' state is that of the store, in whatever order and how often things arrived.
//!
//! The syncer keeps keys and revisions, no values.

mod root;
mod syncer;

pub use syncer::{Change, Next, NextTogether, Output, Page, RootId, StaleList, Status, Syncer};
