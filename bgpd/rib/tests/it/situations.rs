//! One situation each.
