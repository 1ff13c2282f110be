//! Whether Go's `regexp` package would compile a text. Source: its documented syntax (RE2 with Perl's additions).
//!
//! Only the syntax is judged, in one pass and without recursion. Names of Unicode classes are not looked up.

/// Deepest nesting of groups.
const MAX_DEPTH: usize = 1000;
/// Largest number in `{n,m}`.
const MAX_REPEAT: u32 = 1000;

/// Whether a text is a regular expression.
pub fn is_regexp(text: &str) -> bool {
    Scanner { rest: text, names: Vec::new() }.run().is_some()
}

/// What the character before means for a repetition operator.
#[derive(PartialEq)]
enum Before {
    /// Nothing that could be repeated.
    Nothing,
    /// Something to repeat.
    Item,
    /// A repetition, which cannot be repeated.
    Repetition,
}

struct Scanner<'a> {
    rest: &'a str,
    names: Vec<&'a str>,
}

/// `Some` while the text is good.
impl<'a> Scanner<'a> {
    fn run(&mut self) -> Option<()> {
        let mut depth = 0usize;
        let mut before = Before::Nothing;
        while let Some(c) = self.next() {
            before = match c {
                '(' => {
                    let opened = self.open_group()?;
                    depth += usize::from(opened);
                    match (opened, before) {
                        _ if depth > MAX_DEPTH => return None,
                        // flags alone stand between an item and its repetition
                        (false, Before::Item | Before::Repetition) => Before::Item,
                        _ => Before::Nothing,
                    }
                }
                ')' => {
                    depth = depth.checked_sub(1)?;
                    Before::Item
                }
                '|' => Before::Nothing,
                '*' | '+' | '?' => self.repetition(&before)?,
                '{' => match self.counts()? {
                    true => self.repetition(&before)?,
                    false => Before::Item,
                },
                '[' => {
                    self.class()?;
                    Before::Item
                }
                '\\' => {
                    self.escape(false)?;
                    Before::Item
                }
                _ => Before::Item,
            };
        }
        (depth == 0).then_some(())
    }

    fn next(&mut self) -> Option<char> {
        let mut chars = self.rest.chars();
        let c = chars.next()?;
        self.rest = chars.as_str();
        Some(c)
    }

    fn take(&mut self, prefix: &str) -> bool {
        match self.rest.strip_prefix(prefix) {
            Some(rest) => {
                self.rest = rest;
                true
            }
            None => false,
        }
    }

    fn take_while(&mut self, accepted: impl Fn(char) -> bool) -> &'a str {
        let end = self.rest.find(|c| !accepted(c)).unwrap_or(self.rest.len());
        let (taken, rest) = self.rest.split_at(end);
        self.rest = rest;
        taken
    }

    /// After `(`; false when it only sets flags and closes at once.
    fn open_group(&mut self) -> Option<bool> {
        if !self.take("?") {
            return Some(true);
        }
        if self.take("P<") || self.take("<") {
            let name = self.take_while(|c| c.is_ascii_alphanumeric() || c == '_');
            let new = !name.is_empty() && !self.names.contains(&name) && self.take(">");
            self.names.push(name);
            return new.then_some(true);
        }
        let flags = self.take_while(|c| "imsU-".contains(c));
        let (on, off) = flags.split_once('-').unwrap_or((flags, "i"));
        if off.is_empty() || off.contains('-') {
            return None;
        }
        if self.take(":") {
            return Some(true);
        }
        (self.take(")") && !(on.is_empty() && flags.is_empty())).then_some(false)
    }

    fn repetition(&mut self, before: &Before) -> Option<Before> {
        let _ = self.take("?");
        (*before == Before::Item).then_some(Before::Repetition)
    }

    /// After `{`: whether numbers follow; else the brace stands for itself. `None` for numbers out of range.
    fn counts(&mut self) -> Option<bool> {
        let start = self.rest;
        let low = self.count();
        let high = match (low, self.take(",")) {
            (Some(low), false) => Some(Some(low)),
            (Some(_), true) if self.rest.starts_with('}') => Some(None),
            (Some(_), true) => self.count().map(Some),
            (None, _) => None,
        };
        match (low, high, self.take("}")) {
            (Some(low), Some(high), true) => {
                let good = low <= MAX_REPEAT && high.is_none_or(|high| low <= high && high <= MAX_REPEAT);
                good.then_some(true)
            }
            _ => {
                self.rest = start;
                Some(false)
            }
        }
    }

    /// A number without leading zeros; huge ones count as out of range.
    fn count(&mut self) -> Option<u32> {
        let digits = self.take_while(|c| c.is_ascii_digit());
        let good = !digits.is_empty() && (digits.len() == 1 || !digits.starts_with('0'));
        good.then(|| digits.parse().unwrap_or(u32::MAX))
    }

    /// After `[`.
    fn class(&mut self) -> Option<()> {
        let _ = self.take("^");
        let mut first = true;
        loop {
            if !first && self.take("]") {
                return Some(());
            }
            first = false;
            if let Some((name, rest)) = self.rest.strip_prefix("[:").and_then(|r| r.split_once(":]")) {
                self.rest = rest;
                posix_class(name.strip_prefix('^').unwrap_or(name)).then_some(())?;
                continue;
            }
            let low = self.class_item()?;
            let range = self.rest.starts_with('-') && !self.rest.starts_with("-]");
            if let (Some(low), true) = (low, range) {
                let _ = self.take("-");
                (low <= self.class_item()??).then_some(())?;
            }
        }
    }

    /// One character of a class; `None` inside for a whole class such as `\d`.
    fn class_item(&mut self) -> Option<Option<char>> {
        match self.next()? {
            '\\' => self.escape(true),
            c => Some(Some(c)),
        }
    }

    /// After `\`; the character it stands for, if one.
    fn escape(&mut self, in_class: bool) -> Option<Option<char>> {
        match self.next()? {
            'd' | 'D' | 's' | 'S' | 'w' | 'W' => Some(None),
            'A' | 'b' | 'B' | 'z' if !in_class => Some(None),
            'Q' if !in_class => {
                self.rest = self.rest.split_once("\\E").map_or("", |(_, rest)| rest);
                Some(None)
            }
            'p' | 'P' => {
                if self.take("{") {
                    let name = self.take_while(|c| c.is_ascii_alphanumeric() || c == '_' || c == '^');
                    return (!name.is_empty() && self.take("}")).then_some(None);
                }
                self.next().filter(|c| "CLMNPSZ".contains(*c)).map(|_| None)
            }
            'x' => {
                let hex = |c: char| c.is_ascii_hexdigit();
                let digits = if self.take("{") {
                    let digits = self.take_while(hex);
                    self.take("}").then_some(digits)?
                } else {
                    let digits = self.rest.get(..2).filter(|d| d.chars().all(hex))?;
                    self.rest = self.rest.get(2..)?;
                    digits
                };
                u32::from_str_radix(digits, 16).ok().and_then(char::from_u32).map(Some)
            }
            // a single digit would be a back reference, which does not exist
            '1'..='7' if !self.rest.starts_with(|c: char| ('0'..='7').contains(&c)) => None,
            first @ '0'..='7' => {
                let mut code = u32::from(first) - u32::from('0');
                for _ in 0..2 {
                    let Some(digit) = self.rest.chars().next().and_then(|c| c.to_digit(8)) else { break };
                    code = code * 8 + digit;
                    let _ = self.next();
                }
                char::from_u32(code).map(Some)
            }
            'a' => Some(Some('\u{7}')),
            'f' => Some(Some('\u{c}')),
            'n' => Some(Some('\n')),
            'r' => Some(Some('\r')),
            't' => Some(Some('\t')),
            'v' => Some(Some('\u{b}')),
            c => (c.is_ascii() && !c.is_ascii_alphanumeric()).then_some(Some(c)),
        }
    }
}

fn posix_class(name: &str) -> bool {
    const NAMES: [&str; 14] = [
        "alnum", "alpha", "ascii", "blank", "cntrl", "digit", "graph", "lower", "print", "punct", "space",
        "upper", "word", "xdigit",
    ];
    NAMES.contains(&name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn good_ones() {
        for text in [
            "",
            "a",
            "^((en|wl|ww|sl|ib)[Pcopsvx].*|(eth|wlan|wwan).*)",
            "()",
            "a||b",
            "a*?b+?c??",
            "a{2}",
            "a{2,}",
            "a{2,3}?",
            "a{,3}",
            "{",
            "a{x}",
            "a{02}",
            "[]a]",
            "[^]a]",
            "[a-z-]",
            "[a-]",
            "[\\d-z]",
            "[[:alpha:]_]",
            "[[:^digit:]]",
            "[[]",
            "(?i)x",
            "(?i-s:x)",
            "(?:x)",
            "(?P<n>x)",
            "(?<n>x)",
            "(?-i)x",
            "\\d\\W\\pL\\p{Greek}",
            "\\P{^Lu}",
            "\\x41\\x{10FFFF}",
            "\\12\\0",
            "\\Q*+(\\E",
            "\\Q*(",
            "\\.\\-\\_",
            "\\Aa\\z\\b\\B",
            "]",
            "}",
            "^*",
            "(a){1000}",
            "[\\x41-\\x5A]",
            "ü+",
        ] {
            assert!(is_regexp(text), "{text}");
        }
    }

    #[test]
    fn bad_ones() {
        for text in [
            "(",
            ")",
            "a)",
            "(a",
            "[",
            "[]",
            "[a",
            "[b-a]",
            "[a-\\d]",
            "[[:nope:]]",
            "*",
            "+a",
            "|*",
            "(*)",
            "a**",
            "a*?*",
            "a{2}{3}",
            "a{2}*",
            "a{3,2}",
            "a{1001}",
            "a{99999999999}",
            "\\",
            "\\8",
            "\\1",
            "\\Z",
            "\\y",
            "\\x4",
            "\\x{110000}",
            "\\pX",
            "\\p{",
            "(?P<>x)",
            "(?P<n>x)(?P<n>y)",
            "(?P<n x)",
            "(?)",
            "(?z)",
            "(?i-)",
            "(?i--s)",
            "(?P=n)",
            "(?=x)",
            "[\\b]",
        ] {
            assert!(!is_regexp(text), "{text}");
        }
    }

    #[test]
    fn depth_is_bounded() {
        let nested = |depth: usize| format!("{}{}", "(".repeat(depth), ")".repeat(depth));
        assert!(is_regexp(&nested(1000)));
        assert!(!is_regexp(&nested(1001)));
        assert!(!is_regexp(&nested(1_000_000)));
    }

    proptest! {
        #[test]
        fn never_panics(text in "[a-z(){}\\[\\]|*+?\\\\^$.,:<>P0-9-]{0,30}|\\PC{0,20}") {
            let _ = is_regexp(&text);
        }

        #[test]
        fn quoted_text_is_always_good(text in "\\PC{0,20}") {
            let quoted: String = text
                .chars()
                .flat_map(|c| (c.is_ascii() && !c.is_ascii_alphanumeric()).then_some('\\').into_iter().chain([c]))
                .collect();
            prop_assert!(is_regexp(&quoted), "{}", quoted);
        }
    }
}
