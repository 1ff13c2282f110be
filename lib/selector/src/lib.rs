//! Label selectors: parse, canonicalise, evaluate.
