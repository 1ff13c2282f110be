//! BGP communities as text: standard `aa:nn` (RFC 1997) and large `aa:nn:mm` (RFC 8092).

/// What a text is as a community.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Community {
    /// A community.
    Good,
    /// Of the form of one, with a part that has too many bits; the bits a part may have.
    TooLarge(u8),
    /// Nothing of the kind.
    Other,
}

/// Classifies a text.
pub(super) fn classify(text: &str) -> Community {
    let parts: Vec<&str> = text.split(':').collect();
    if parts.iter().any(|part| part.is_empty() || !part.bytes().all(|b| b.is_ascii_digit())) {
        return Community::Other;
    }
    let (bits, fits) = match parts.len() {
        2 => (16, parts.iter().all(|part| part.parse::<u16>().is_ok())),
        3 => (32, parts.iter().all(|part| part.parse::<u32>().is_ok())),
        _ => return Community::Other,
    };
    if fits { Community::Good } else { Community::TooLarge(bits) }
}

/// Whether a text has the form of a community, whatever its numbers.
pub(super) fn has_form(text: &str) -> bool {
    classify(text) != Community::Other
}

/// The CRD's pattern for [`has_form`].
pub(super) const PATTERN: &str = r"^(\d+):(\d+)$|^(\d+):(\d+):(\d+)$";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_or_three_numbers() {
        for good in ["0:0", "65535:65535", "1:2:3", "4294967295:0:4294967295"] {
            assert_eq!(classify(good), Community::Good, "{good}");
        }
        assert_eq!(classify("70000:1"), Community::TooLarge(16));
        assert_eq!(classify("1:2:4294967296"), Community::TooLarge(32));
        for bad in ["", "nobody", "1", "1:", ":1", "1:2:3:4", "1:x", "-1:2"] {
            assert_eq!(classify(bad), Community::Other, "{bad}");
            assert!(!has_form(bad));
        }
    }
}
