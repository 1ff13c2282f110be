//! Why a text is no selector. Source: the error texts of `resources.md` §2 of the contract.

/// Why a text is no selector.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ParseError {
    /// A quote is opened and never closed.
    #[error("unterminated string")]
    UnterminatedString,
    /// A lone `=`.
    #[error("expected ==")]
    ExpectedEquals,
    /// A lone `&`.
    #[error("expected &&")]
    ExpectedAnd,
    /// A lone `|`.
    #[error("expected ||")]
    ExpectedOr,
    /// A label is followed by something that compares nothing.
    #[error("expected operator after label \"{label}\"")]
    ExpectedOperator {
        /// The label.
        label: String,
    },
    /// `has(`, `all(` or `global(` without its closing parenthesis.
    #[error("no closing ')' after {call}(")]
    UnclosedCall {
        /// The word before the parenthesis.
        call: &'static str,
    },
    /// A character no token starts with, or `has(` without a label.
    #[error("expected identifier")]
    ExpectedIdentifier,
    /// A comparison without a quoted value.
    #[error("expected string")]
    ExpectedString,
    /// `in` or `not in` without `{`.
    #[error("expected set literal")]
    ExpectedSet,
    /// A set that does not end.
    #[error("expected }}")]
    ExpectedRightBrace,
    /// A parenthesis that does not close.
    #[error("expected )")]
    ExpectedRightParen,
    /// A whole selector, and then more.
    #[error("unexpected content at end of selector {content}")]
    TrailingContent {
        /// The token after the end.
        content: String,
    },
    /// A token where a test should begin.
    #[error("unexpected token: {token}")]
    UnexpectedToken {
        /// The token.
        token: String,
    },
    /// A label of more than 512 characters.
    #[error("label too long: {label}")]
    LabelTooLong {
        /// The label.
        label: String,
    },
}
