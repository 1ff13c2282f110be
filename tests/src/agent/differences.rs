//! The one list of places where what our agent leaves differs from the recordings on purpose.
//!
//! Each says what the recorded line becomes, so that anything else in it is still compared. A scenario fails on every
//! difference that is not here, and the run on every entry here that no scenario shows.

use serde_json::Value;

/// A difference on purpose.
#[derive(Debug)]
pub struct Difference {
    /// Makes the recorded line, an object of this section (`ip -j -4 route show table all`), what it is with ours; whether
    /// it did.
    pub rewrite: fn(&str, &mut Value) -> bool,
    /// Why.
    pub reason: &'static str,
}

/// All of them.
pub const DIFFERENCES: &[Difference] = &[Difference {
    rewrite: protocol_of_workload_routes,
    reason: "routes to workloads have felix's own protocol, 80, so that nobody takes them for those of a plugin, whose is boot",
}];

/// `ip -j` leaves the protocol out where it is boot.
fn protocol_of_workload_routes(section: &str, route: &mut Value) -> bool {
    let meant = section.contains("route show") && route["protocol"].is_null() && route["metric"] == 1024;
    if meant {
        route["protocol"] = Value::from("80");
    }
    meant
}
