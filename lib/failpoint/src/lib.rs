//! Places at which a test lets the process die, panic or wait.
//!
//! A step table in a crate's `DESIGN.md` names each place, and a test reads the names from there. With the feature
//! `failpoints` the variable `OCICAT_FAILPOINT` says what happens where; without it [`failpoint`] is nothing.
//!
//! | `OCICAT_FAILPOINT` | what happens |
//! |---|---|
//! | `NAME` | the process aborts at the place of this name |
//! | `NAME=2000` | whoever comes by waits there so many milliseconds, each time |
//! | `NAME=panic` | whoever comes by panics there, each time |
//! | `NAME@FILE`, `NAME@FILE=2000`, `NAME@FILE=panic` | only while the file exists |

#[cfg(feature = "failpoints")]
mod armed;

/// Whether places are compiled in: for those whose name takes work.
pub const ENABLED: bool = cfg!(feature = "failpoints");

/// Does what `OCICAT_FAILPOINT` says about this place.
#[cfg(feature = "failpoints")]
pub fn failpoint(name: &str) {
    use armed::{Armed, Happens};
    let wanted = std::env::var("OCICAT_FAILPOINT").unwrap_or_default();
    match Armed::parse(&wanted).at(name) {
        None => {}
        Some(Happens::Wait(time)) => std::thread::sleep(time),
        Some(Happens::Panic) => std::panic::panic_any(format!("failpoint {name}")),
        Some(Happens::Death) => {
            // where somebody starts it again, its end alone tells a test nothing
            let said = format!("died at failpoint {name}\n");
            let _ = std::io::Write::write_all(&mut std::io::stderr(), said.as_bytes());
            std::process::abort();
        }
    }
}

/// Nothing: compiled in only with the feature `failpoints`.
#[cfg(not(feature = "failpoints"))]
pub fn failpoint(_name: &str) {}
