//! User data: bytes the kernel keeps with an object for user space, in the form that `nft list` shows (libnftnl's
//! type, length, value; one byte each for type and length).

/// Longest comment, without its terminating zero: the kernel keeps 256 bytes of user data, of which two are the header.
pub const COMMENT_MAX: usize = 253;

/// Type of a comment in tables, chains, rules and elements.
const COMMENT: u8 = 0;
/// Types in sets.
const SET_KEY_BYTE_ORDER: u8 = 0;
const SET_DATA_BYTE_ORDER: u8 = 1;
const SET_COMMENT: u8 = 7;
/// `nft`'s numbers of byte orders.
const HOST_ENDIAN: u32 = 1;
const BIG_ENDIAN: u32 = 2;

fn push(out: &mut Vec<u8>, kind: u8, value: &[u8]) {
    if let Ok(length) = u8::try_from(value.len()) {
        out.push(kind);
        out.push(length);
        out.extend_from_slice(value);
    }
}

fn entries(mut bytes: &[u8]) -> impl Iterator<Item = (u8, &[u8])> {
    std::iter::from_fn(move || {
        let (kind, length) = (*bytes.first()?, usize::from(*bytes.get(1)?));
        let value = bytes.get(2..2 + length)?;
        bytes = bytes.get(2 + length..).unwrap_or_default();
        Some((kind, value))
    })
}

fn zero_terminated(text: &str) -> Vec<u8> {
    // the longest prefix that ends between two characters
    let end = (0..=text.len().min(COMMENT_MAX)).rev().find(|end| text.is_char_boundary(*end)).unwrap_or(0);
    let mut bytes = text.as_bytes().get(..end).unwrap_or_default().to_vec();
    bytes.push(0);
    bytes
}

/// User data with a comment; empty without one. What is over [`COMMENT_MAX`] is cut.
pub(crate) fn comment(text: Option<&str>) -> Vec<u8> {
    let mut out = Vec::new();
    if let Some(text) = text {
        push(&mut out, COMMENT, &zero_terminated(text));
    }
    out
}

/// The comment in user data.
pub(crate) fn read_comment(bytes: &[u8]) -> Option<String> {
    find_text(bytes, COMMENT)
}

/// User data of a set: byte orders, without which `nft list` cannot print the keys, and a comment.
pub(crate) fn set(key_in_host_order: bool, data_in_host_order: Option<bool>, text: Option<&str>) -> Vec<u8> {
    let order = |host: bool| if host { HOST_ENDIAN } else { BIG_ENDIAN }.to_ne_bytes();
    let mut out = Vec::new();
    push(&mut out, SET_KEY_BYTE_ORDER, &order(key_in_host_order));
    if let Some(host) = data_in_host_order {
        push(&mut out, SET_DATA_BYTE_ORDER, &order(host));
    }
    if let Some(text) = text {
        push(&mut out, SET_COMMENT, &zero_terminated(text));
    }
    out
}

/// The comment in a set's user data.
pub(crate) fn read_set_comment(bytes: &[u8]) -> Option<String> {
    find_text(bytes, SET_COMMENT)
}

fn find_text(bytes: &[u8], kind: u8) -> Option<String> {
    let (_, value) = entries(bytes).find(|(found, _)| *found == kind)?;
    crate::wire::text(value).map(str::to_owned)
}
