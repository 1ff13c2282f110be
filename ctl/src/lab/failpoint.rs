//! Places where a test kills the lab: `OCICAT_FAILPOINT` is `lab: ` and one of them.

/// See the module.
pub fn failpoint(place: &str) {
    if failpoint::ENABLED {
        failpoint::failpoint(&format!("lab: {place}"));
    }
}
