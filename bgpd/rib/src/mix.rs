//! One mixing step for hash tables: quick, and with a secret seed not to be foreseen.

/// Spreads every bit over all others, but for 0, which stays 0.
#[inline]
pub(crate) fn mix(value: u64) -> u64 {
    let product = u128::from(value) * 0x9e37_79b9_7f4a_7c15;
    (product >> 64) as u64 ^ product as u64
}
