//! Versions of the CNI specification and what each allows.

use crate::error::{CniError, code};
use crate::text;

/// A version this plugin speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Version {
    /// 0.1.0
    V010,
    /// 0.2.0
    V020,
    /// 0.3.0
    V030,
    /// 0.3.1
    V031,
    /// 0.4.0
    V040,
    /// 1.0.0
    V100,
    /// 1.1.0
    V110,
}

/// The texts of the versions, oldest first.
const TEXTS: [(Version, &str); 7] = [
    (Version::V010, "0.1.0"),
    (Version::V020, "0.2.0"),
    (Version::V030, "0.3.0"),
    (Version::V031, "0.3.1"),
    (Version::V040, "0.4.0"),
    (Version::V100, "1.0.0"),
    (Version::V110, "1.1.0"),
];

/// The answer to `CNI_COMMAND=VERSION`, with its newline: Calico's (`cni.md` §1 of the contract), and 1.1.0.
pub const VERSION_REPLY: &str = concat!(
    r#"{"cniVersion":"1.1.0","supportedVersions":["0.1.0","0.2.0","0.3.0","0.3.1","0.4.0","1.0.0","1.1.0"]}"#,
    "\n"
);

impl Version {
    /// What a configuration without a version means.
    pub const UNSAID: Version = Version::V020;

    /// The version of this text.
    pub fn parse(text: &str) -> Option<Version> {
        TEXTS.iter().find(|(_, t)| *t == text).map(|(version, _)| *version)
    }

    /// Its text.
    pub fn text(self) -> &'static str {
        TEXTS.iter().find(|(version, _)| *version == self).map_or("", |(_, text)| text)
    }

    /// All texts, oldest first.
    pub fn texts() -> Vec<&'static str> {
        TEXTS.iter().map(|(_, text)| *text).collect()
    }

    /// The version a configuration asks for; empty means none was given.
    ///
    /// # Errors
    /// Code 1 when the plugin does not speak it.
    pub fn negotiate(asked: &str) -> Result<Version, CniError> {
        if asked.is_empty() {
            return Ok(Version::UNSAID);
        }
        Version::parse(asked).ok_or_else(|| {
            CniError::new(code::INCOMPATIBLE_VERSION, "incompatible CNI versions").with_details(format!(
                "config is {}, plugin supports {}",
                text::quote(asked),
                text::quote_list(&Version::texts())
            ))
        })
    }
}

/// Whether version `asked` is at least `least`, part by part.
///
/// # Errors
/// Code 6 when `asked` is not three numbers.
pub fn at_least(asked: &str, least: [u32; 3]) -> Result<bool, CniError> {
    let bad = || {
        CniError::new(
            code::DECODING,
            format!("cniVersion {} is not three numbers such as 1.0.0", text::quote(asked)),
        )
    };
    let mut numbers = Vec::with_capacity(3);
    for part in asked.split('.') {
        numbers.push(part.parse::<u32>().map_err(|_| bad())?);
    }
    let numbers: [u32; 3] = numbers.try_into().map_err(|_| bad())?;
    Ok(numbers >= least)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_version_is_read_and_printed() {
        for text in ["0.1.0", "0.2.0", "0.3.0", "0.3.1", "0.4.0", "1.0.0", "1.1.0"] {
            assert_eq!(Version::parse(text).unwrap().text(), text);
            assert_eq!(Version::negotiate(text).unwrap().text(), text);
            assert!(VERSION_REPLY.contains(&format!("\"{text}\"")));
        }
        assert_eq!(Version::negotiate("").unwrap(), Version::V020);
    }

    #[test]
    fn others_are_refused_by_name() {
        let error = Version::negotiate("9.9.9").unwrap_err();
        assert_eq!(error.code, 1);
        assert_eq!(
            error.details,
            r#"config is "9.9.9", plugin supports ["0.1.0" "0.2.0" "0.3.0" "0.3.1" "0.4.0" "1.0.0" "1.1.0"]"#
        );
        assert!(Version::negotiate("1.2.0").is_err());
    }

    #[test]
    fn comparison_is_by_number() {
        assert!(at_least("0.4.0", [0, 4, 0]).unwrap());
        assert!(at_least("0.10.0", [0, 4, 0]).unwrap());
        assert!(at_least("1.0.0", [0, 4, 0]).unwrap());
        assert!(!at_least("0.3.1", [0, 4, 0]).unwrap());
        for bad in ["", "1", "1.0", "1.0.0.0", "a.b.c", "-1.0.0"] {
            assert_eq!(at_least(bad, [0, 4, 0]).unwrap_err().code, 6, "{bad}");
        }
    }
}
