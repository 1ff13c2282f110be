//! How one text is written: plain where it reads back as the same text, quoted otherwise.
//!
//! Two questions decide. Would a YAML 1.1 reader take the plain text for something else than text (`true`, `yes`,
//! `12`, `0x1f`, `2024-01-02`, `1:20`)? Then double quotes. Does it hold characters that mean something to YAML
//! where they stand? Then single quotes, or double quotes where an escape is needed.

/// How a text is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Style {
    /// As it is.
    Plain,
    /// In single quotes.
    Single,
    /// In double quotes, with escapes.
    Double,
    /// As a literal block.
    Literal,
}

/// Decides how a text is written.
pub fn style_of(text: &str) -> Style {
    let marks = Marks::of(text);
    if text.contains('\n') {
        if marks.needs_escape || marks.trailing_space { Style::Double } else { Style::Literal }
    } else if marks.needs_escape || reads_as_other_type(text) {
        Style::Double
    } else if marks.indicator || marks.leading_space || marks.trailing_space {
        Style::Single
    } else {
        Style::Plain
    }
}

/// What stands in a text that plain style or a block cannot carry.
#[derive(Default)]
struct Marks {
    indicator: bool,
    needs_escape: bool,
    leading_space: bool,
    trailing_space: bool,
}

impl Marks {
    fn of(text: &str) -> Marks {
        let mut marks = Marks {
            indicator: text.starts_with("---") || text.starts_with("..."),
            leading_space: text.starts_with(' '),
            trailing_space: text.ends_with(' '),
            ..Marks::default()
        };
        let mut before_is_blank = true;
        let mut previous = None;
        let mut chars = text.chars().peekable();
        while let Some(c) = chars.next() {
            let after_is_blank = chars.peek().is_none_or(|next| matches!(next, ' ' | '\t'));
            marks.indicator |= match c {
                '#' | ',' | '[' | ']' | '{' | '}' | '&' | '*' | '!' | '|' | '>' | '\'' | '"' | '%' | '@'
                | '`'
                    if previous.is_none() =>
                {
                    true
                }
                '?' | '-' if previous.is_none() => after_is_blank,
                ':' => after_is_blank,
                '#' => before_is_blank,
                _ => false,
            };
            marks.needs_escape |= c != '\n' && !is_printable(c);
            // Blanks before a break cannot be seen in a block.
            marks.needs_escape |= c == '\n' && previous == Some(' ');
            before_is_blank = matches!(c, ' ' | '\t' | '\n' | '\0');
            previous = Some(c);
        }
        marks
    }
}

/// Characters the writers we follow put out as they are; tabs and everything beyond the basic plane are escaped.
fn is_printable(c: char) -> bool {
    matches!(c, ' '..='~' | '\u{a0}'..='\u{2027}' | '\u{202a}'..='\u{d7ff}' | '\u{e000}'..='\u{fefe}' | '\u{ff00}'..='\u{fffd}')
}

/// The escape of a character in double quotes; `None` where it stands for itself.
pub fn escape(c: char) -> Option<String> {
    let short = match c {
        '"' => "\\\"",
        '\\' => "\\\\",
        '\0' => "\\0",
        '\u{7}' => "\\a",
        '\u{8}' => "\\b",
        '\t' => "\\t",
        '\n' => "\\n",
        '\u{b}' => "\\v",
        '\u{c}' => "\\f",
        '\r' => "\\r",
        '\u{1b}' => "\\e",
        '\u{85}' => "\\N",
        '\u{2028}' => "\\L",
        '\u{2029}' => "\\P",
        c if is_printable(c) => return None,
        c => {
            let code = u32::from(c);
            return Some(match code {
                0..=0xff => format!("\\x{code:02X}"),
                0x100..=0xffff => format!("\\u{code:04X}"),
                _ => format!("\\U{code:08X}"),
            });
        }
    };
    Some(short.to_owned())
}

/// Whether a YAML 1.1 reader takes the unquoted text for a null, boolean, number, time or merge key.
fn reads_as_other_type(text: &str) -> bool {
    is_word(text) || is_number(text) || is_sexagesimal(text) || is_time(text)
}

fn is_word(text: &str) -> bool {
    const WORDS: [&str; 11] = ["y", "yes", "true", "on", "n", "no", "false", "off", "null", ".nan", ".inf"];
    if matches!(text, "" | "~" | "<<") {
        return true;
    }
    let unsigned =
        text.strip_prefix(['+', '-']).filter(|rest| rest.starts_with(".i") || rest.starts_with(".I"));
    let word = unsigned.unwrap_or(text);
    let lower = word.to_ascii_lowercase();
    if !WORDS.contains(&lower.as_str()) {
        return false;
    }
    // lower case, upper case, or a capital in front; `.NaN` is its own
    let mut letters = word.trim_start_matches('.').chars();
    let first = letters.next();
    let rest = letters.as_str();
    word == lower
        || word == word.to_ascii_uppercase()
        || (first.is_some_and(|c| c.is_ascii_uppercase())
            && rest == rest.to_ascii_lowercase()
            && lower != ".nan")
        || word == ".NaN"
}

fn is_number(text: &str) -> bool {
    if !text.starts_with(|c: char| c.is_ascii_digit() || matches!(c, '+' | '-' | '.')) {
        return false;
    }
    let plain = text.replace('_', "");
    is_integer(&plain) || is_float(&plain)
}

fn is_integer(text: &str) -> bool {
    let digits = text.strip_prefix(['+', '-']).unwrap_or(text);
    let signed = digits.len() != text.len();
    let lower = digits.to_ascii_lowercase();
    let (radix, digits) = match lower.as_bytes() {
        [b'0', b'x', ..] => (16, lower.get(2..).unwrap_or_default()),
        [b'0', b'b', ..] => (2, lower.get(2..).unwrap_or_default()),
        [b'0', b'o', ..] => (8, lower.get(2..).unwrap_or_default()),
        [b'0', _, ..] => (8, lower.get(1..).unwrap_or_default()),
        _ => (10, lower.as_str()),
    };
    // `from_str_radix` would take another sign
    if digits.starts_with(['+', '-']) {
        return false;
    }
    match u64::from_str_radix(digits, radix) {
        Ok(value) if signed => value <= i64::MIN.unsigned_abs(),
        Ok(_) => true,
        Err(_) => false,
    }
}

/// A decimal number with an optional fraction and exponent, in range.
fn is_float(text: &str) -> bool {
    let body = text.strip_prefix(['+', '-']).unwrap_or(text);
    let (mantissa, exponent) = match body.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (mantissa, Some(exponent)),
        None => (body, None),
    };
    let digits = |text: &str| text.bytes().all(|b| b.is_ascii_digit());
    let mantissa_fits = match mantissa.split_once('.') {
        None => !mantissa.is_empty() && digits(mantissa),
        Some((whole, fraction)) => {
            digits(whole) && digits(fraction) && !(whole.is_empty() && fraction.is_empty())
        }
    };
    let exponent_fits = exponent.is_none_or(|exponent| {
        let exponent = exponent.strip_prefix(['+', '-']).unwrap_or(exponent);
        !exponent.is_empty() && digits(exponent)
    });
    mantissa_fits && exponent_fits && text.parse::<f64>().is_ok_and(f64::is_finite)
}

/// `190:20:30.15`, a number to base 60.
fn is_sexagesimal(text: &str) -> bool {
    let body = text.strip_prefix(['+', '-']).unwrap_or(text);
    let mut parts = body.split(':');
    let starts = parts.next().is_some_and(|first| {
        first.starts_with(|c: char| c.is_ascii_digit())
            && first.bytes().all(|b| b.is_ascii_digit() || b == b'_')
    });
    let rest: Vec<&str> = parts.collect();
    let Some((last, middle)) = rest.split_last() else { return false };
    let minute = |part: &str| match part.as_bytes() {
        [one] => one.is_ascii_digit(),
        [ten, one] => (b'0'..=b'5').contains(ten) && one.is_ascii_digit(),
        _ => false,
    };
    let last_fits = match last.split_once('.') {
        None => minute(last),
        Some((whole, fraction)) => minute(whole) && fraction.bytes().all(|b| b.is_ascii_digit() || b == b'_'),
    };
    starts && last_fits && middle.iter().all(|part| minute(part))
}

/// A date, or a date and a time: `2024-01-02`, `2024-1-2 3:04:05.6`, `2024-01-02T03:04:05Z`.
fn is_time(text: &str) -> bool {
    let (date, time) = match text.find(['T', 't', ' ']) {
        Some(at) => (text.get(..at).unwrap_or_default(), text.get(at..)),
        None => (text, None),
    };
    let Some((year, rest)) = date.split_once('-') else { return false };
    let Some((month, day)) = rest.split_once('-') else { return false };
    let calendar =
        number(year, 4..=4, 0..=9999).zip(number(month, 1..=2, 1..=12)).zip(number(day, 1..=2, 1..=31));
    let Some(((year, month), day)) = calendar else { return false };
    if day > days_in(year, month) {
        return false;
    }
    let Some(time) = time else { return true };
    let zoned = !time.starts_with(' ');
    let clock = time.get(1..).unwrap_or_default();
    let clock = if zoned {
        let Some(clock) = without_zone(clock) else { return false };
        clock
    } else {
        clock
    };
    is_clock(clock)
}

fn is_clock(text: &str) -> bool {
    let mut parts = text.splitn(3, ':');
    let (Some(hour), Some(minute), Some(second)) = (parts.next(), parts.next(), parts.next()) else {
        return false;
    };
    let (second, fraction) = second.split_once('.').map_or((second, None), |(s, f)| (s, Some(f)));
    number(hour, 1..=2, 0..=23).is_some()
        && number(minute, 1..=2, 0..=59).is_some()
        && number(second, 1..=2, 0..=59).is_some()
        && fraction.is_none_or(|f| !f.is_empty() && f.bytes().all(|b| b.is_ascii_digit()))
}

/// What stands before `Z` or `+07:00`.
fn without_zone(text: &str) -> Option<&str> {
    if let Some(clock) = text.strip_suffix('Z') {
        return Some(clock);
    }
    let at = text.rfind(['+', '-'])?;
    let (hours, minutes) = text.get(at + 1..)?.split_once(':')?;
    number(hours, 2..=2, 0..=23)?;
    number(minutes, 2..=2, 0..=59)?;
    text.get(..at)
}

fn number(
    text: &str,
    lengths: std::ops::RangeInclusive<usize>,
    values: std::ops::RangeInclusive<u32>,
) -> Option<u32> {
    if !lengths.contains(&text.len()) || !text.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    text.parse().ok().filter(|value| values.contains(value))
}

fn days_in(year: u32, month: u32) -> u32 {
    match month {
        4 | 6 | 9 | 11 => 30,
        2 if (year.is_multiple_of(4) && !year.is_multiple_of(100)) || year.is_multiple_of(400) => 29,
        2 => 28,
        _ => 31,
    }
}
