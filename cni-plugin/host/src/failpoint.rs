//! Places at which a test lets the process die.

/// Aborts the process when `OCICAT_FAILPOINT` names this place. Compiled in only with the feature `failpoints`.
#[cfg(feature = "failpoints")]
pub(crate) fn failpoint(name: &str) {
    if std::env::var("OCICAT_FAILPOINT").is_ok_and(|wanted| wanted == name) {
        // where somebody starts it again, its end alone tells a test nothing
        let said = format!("died at failpoint {name}\n");
        let _ = std::io::Write::write_all(&mut std::io::stderr(), said.as_bytes());
        std::process::abort();
    }
}

#[cfg(not(feature = "failpoints"))]
pub(crate) fn failpoint(_name: &str) {}
