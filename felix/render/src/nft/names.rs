//! Names of chains and sets, and comments: what `nft list` shows and `nft -f` reads back.
//!
//! A `/` parts the pieces of a name and stands in none of them, so two different things never get one name.

use std::borrow::Cow;
use std::sync::Arc;

/// Longest name of a chain or set, its terminating zero apart.
const NAME_MAX: usize = 255;
/// Longest comment that `nft` reads; the kernel would keep more.
pub const COMMENT_MAX: usize = 128;
/// Characters of a hash at the end of what was cut or altered.
const DIGEST: usize = 10;

/// A hash of a text, in characters that are legal in a name.
pub fn digest(text: &str) -> String {
    let id = selector::unique_id("name", text);
    id.rsplit(':').next().unwrap_or_default().chars().take(DIGEST).collect()
}

/// A text as one piece of a name: as it is where `nft` can read it, else readable and with a hash.
pub fn piece(text: &str) -> String {
    let legal = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_');
    if !text.is_empty() && text.chars().all(legal) {
        return text.to_owned();
    }
    let readable: String = text.chars().map(|c| if legal(c) { c } else { '_' }).collect();
    format!("{readable}-{}", digest(text))
}

/// A whole name, cut with a hash where it is too long.
pub fn name(text: String) -> Arc<str> {
    if text.len() <= NAME_MAX { text.into() } else { cut(&text, NAME_MAX).into() }
}

/// Name of a set of the calculation: its identifier.
pub fn of_set(id: &str) -> String {
    id.replace(':', "-")
}

/// A comment, cut with a hash where it is too long; `nft` cannot read quotes inside of quotes.
pub fn comment(text: &str) -> String {
    let legible = |c: char| match c {
        '"' => '\'',
        '\\' => ' ',
        c if c.is_control() => ' ',
        c => c,
    };
    let clean: Cow<'_, str> = match text.chars().all(|c| legible(c) == c) {
        true => text.into(),
        false => text.chars().map(legible).collect(),
    };
    if clean.len() <= COMMENT_MAX { clean.into_owned() } else { cut(&clean, COMMENT_MAX) }
}

fn cut(text: &str, most: usize) -> String {
    let room = most - DIGEST - 1;
    let end = (0..=room).rev().find(|end| text.is_char_boundary(*end)).unwrap_or(0);
    format!("{}-{}", text.get(..end).unwrap_or_default(), digest(text))
}

/// Room of a hash set, and the end of its name where that is not the least: a set's name implies its size, so one that
/// outgrows it is another set. Steps of four keep both waste and changes of size rare.
pub fn room(members: usize) -> (u32, &'static str) {
    const STEPS: [(u32, &str); 10] = [
        (1 << 6, ""),
        (1 << 8, "-x256"),
        (1 << 10, "-x1k"),
        (1 << 12, "-x4k"),
        (1 << 14, "-x16k"),
        (1 << 16, "-x64k"),
        (1 << 18, "-x256k"),
        (1 << 20, "-x1m"),
        (1 << 22, "-x4m"),
        (1 << 24, "-x16m"),
    ];
    let fits = |(size, _): &&(u32, &str)| usize::try_from(*size).is_ok_and(|size| members <= size);
    STEPS.iter().find(fits).copied().unwrap_or((u32::MAX, "-max"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_are_legal_and_differ_where_their_texts_do() {
        assert_eq!(piece("eth0.100"), "eth0.100");
        let odd = [piece("a b"), piece("a/b"), piece("a_b"), piece("a:b"), piece("")];
        let legal = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
        assert!(odd.iter().all(|name| name.chars().all(legal)), "{odd:?}");
        let different: std::collections::BTreeSet<&String> = odd.iter().collect();
        assert_eq!(different.len(), odd.len());
    }

    #[test]
    fn what_is_too_long_is_cut_and_still_differs() {
        let long = |end: &str| format!("{}{end}", "ü".repeat(200));
        assert_eq!(name("short".into()).as_ref(), "short");
        assert!(name(long("a")).len() <= NAME_MAX);
        assert_ne!(name(long("a")), name(long("b")));
        let (a, b) = (comment(&long("a")), comment(&long("b")));
        assert!(a.len() <= COMMENT_MAX && a != b, "{a}");
        assert_eq!(comment("app == \"web\""), "app == 'web'");
    }

    #[test]
    fn room_is_enough_and_not_much_more() {
        assert_eq!(room(0), (64, ""));
        assert_eq!(room(64), (64, ""));
        assert_eq!(room(65), (256, "-x256"));
        assert_eq!(room(5_000), (16_384, "-x16k"));
    }
}
