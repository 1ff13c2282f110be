//! The datastore works while the kernel does.
//!
//! A call to the kernel keeps this thread until it is carried out, so that a request which was only handed to another task would
//! be sent after it: the two would go one after the other.

use tokio::task::yield_now;

/// Lets the tasks go on that send what this one has asked of the datastore a moment ago.
pub(crate) async fn let_it_be_sent() {
    // woken from within, as by a gate it has opened itself, a task comes back from the first one before they have all had their turn
    for _ in 0..2 {
        yield_now().await;
    }
}
