//! Which build this is, and which release of Calico it speaks.

/// Own version with the commit it was built from, as `ocicat --version` prints it.
pub const BUILD: &str = concat!(env!("CARGO_PKG_VERSION"), " (", env!("OCICAT_BUILD_ID"), ")");
