//! Places where a test kills the lab.

/// Aborts the process when `OCICAT_FAILPOINT` is `lab: ` and this place. Compiled in only with the feature
/// `failpoints`.
#[cfg(feature = "failpoints")]
pub fn failpoint(place: &str) {
    if std::env::var("OCICAT_FAILPOINT").is_ok_and(|wanted| wanted.strip_prefix("lab: ") == Some(place)) {
        std::process::abort();
    }
}

/// Nothing: compiled in only with the feature `failpoints`.
#[cfg(not(feature = "failpoints"))]
pub fn failpoint(_place: &str) {}
