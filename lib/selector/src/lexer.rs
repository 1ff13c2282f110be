//! Text into tokens.
//!
//! The only context is the token before: a word right after a label is an operator, any other word is a label, which
//! is how a label may be called `in` or `not`.

use crate::error::ParseError;
use std::fmt;

/// Longest label, in characters (which are all one byte).
const MAX_LABEL: usize = 512;

/// How a label's value is compared with one string.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Comparison {
    /// `==`
    Equals,
    /// `!=`
    NotEquals,
    /// `contains`
    Contains,
    /// `starts with`
    StartsWith,
    /// `ends with`
    EndsWith,
}

impl Comparison {
    pub(crate) fn text(self) -> &'static str {
        match self {
            Comparison::Equals => "==",
            Comparison::NotEquals => "!=",
            Comparison::Contains => "contains",
            Comparison::StartsWith => "starts with",
            Comparison::EndsWith => "ends with",
        }
    }
}

/// One token; texts are borrowed from the input.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Token<'a> {
    Label(&'a str),
    Text(&'a str),
    Compare(Comparison),
    In,
    NotIn,
    Not,
    And,
    Or,
    Has(&'a str),
    All,
    Global,
    LeftParen,
    RightParen,
    LeftBrace,
    RightBrace,
    Comma,
}

impl fmt::Display for Token<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Token::Label(label) => return f.write_str(label),
            Token::Text(text) => return write!(f, "{text:?}"),
            Token::Has(label) => return write!(f, "has({label})"),
            Token::Compare(comparison) => comparison.text(),
            Token::In => "in",
            Token::NotIn => "not in",
            Token::Not => "!",
            Token::And => "&&",
            Token::Or => "||",
            Token::All => "all()",
            Token::Global => "global()",
            Token::LeftParen => "(",
            Token::RightParen => ")",
            Token::LeftBrace => "{",
            Token::RightBrace => "}",
            Token::Comma => ",",
        })
    }
}

/// All tokens of a text.
pub(crate) fn tokens(text: &str) -> Result<Vec<Token<'_>>, ParseError> {
    let mut tokens = Vec::new();
    let mut rest = skip_blanks(text);
    while !rest.is_empty() {
        let (token, after) = match tokens.last() {
            Some(Token::Label(label)) if symbol(rest).is_none() => operator(label, rest)?,
            _ => token(rest)?,
        };
        tokens.push(token);
        rest = skip_blanks(after);
    }
    Ok(tokens)
}

fn skip_blanks(text: &str) -> &str {
    text.trim_start_matches([' ', '\t'])
}

/// Tokens that look the same after a label: all that do not start with an identifier's character.
fn symbol(rest: &str) -> Option<Result<(Token<'_>, &str), ParseError>> {
    let doubled = |second: char, token, error| {
        let after = rest.get(1..).and_then(|r| r.strip_prefix(second));
        after.map(|after| (token, after)).ok_or(error)
    };
    let mut chars = rest.chars();
    let first = chars.next()?;
    let after = chars.as_str();
    let single = |token| Ok((token, after));
    Some(match first {
        '(' => single(Token::LeftParen),
        ')' => single(Token::RightParen),
        '{' => single(Token::LeftBrace),
        '}' => single(Token::RightBrace),
        ',' => single(Token::Comma),
        '"' | '\'' => match after.split_once(first) {
            Some((text, after)) => Ok((Token::Text(text), after)),
            None => Err(ParseError::UnterminatedString),
        },
        '!' if after.starts_with('=') => {
            doubled('=', Token::Compare(Comparison::NotEquals), ParseError::ExpectedEquals)
        }
        '!' => single(Token::Not),
        '=' => doubled('=', Token::Compare(Comparison::Equals), ParseError::ExpectedEquals),
        '&' => doubled('&', Token::And, ParseError::ExpectedAnd),
        '|' => doubled('|', Token::Or, ParseError::ExpectedOr),
        _ => return None,
    })
}

fn token(rest: &str) -> Result<(Token<'_>, &str), ParseError> {
    if let Some(symbol) = symbol(rest) {
        return symbol;
    }
    if let Some(inside) = rest.strip_prefix("has(") {
        let (label, after) = identifier(skip_blanks(inside))?;
        return Ok((Token::Has(label), close("has", after)?));
    }
    if let Some(inside) = rest.strip_prefix("all(") {
        return Ok((Token::All, close("all", inside)?));
    }
    if let Some(inside) = rest.strip_prefix("global(") {
        return Ok((Token::Global, close("global", inside)?));
    }
    let (label, after) = identifier(rest)?;
    Ok((Token::Label(label), after))
}

fn close<'a>(call: &'static str, rest: &'a str) -> Result<&'a str, ParseError> {
    skip_blanks(rest).strip_prefix(')').ok_or(ParseError::UnclosedCall { call })
}

/// The operator that must follow a label when the next character is no symbol.
fn operator<'a>(label: &str, rest: &'a str) -> Result<(Token<'a>, &'a str), ParseError> {
    let words: [(&[&str], Token<'a>); 5] = [
        (&["contains"], Token::Compare(Comparison::Contains)),
        (&["starts", "with"], Token::Compare(Comparison::StartsWith)),
        (&["ends", "with"], Token::Compare(Comparison::EndsWith)),
        (&["not", "in"], Token::NotIn),
        (&["in"], Token::In),
    ];
    words
        .into_iter()
        .find_map(|(words, token)| Some((token, strip_words(rest, words)?)))
        .ok_or_else(|| ParseError::ExpectedOperator { label: label.to_owned() })
}

/// What follows `words`, which may stand apart or together and must not run on into a longer word. As Calico does,
/// two words are followed by no word at all, blanks or not.
fn strip_words<'a>(rest: &'a str, words: &[&str]) -> Option<&'a str> {
    let after = words.iter().try_fold(rest, |rest, word| skip_blanks(rest).strip_prefix(word))?;
    let after = if words.len() > 1 { skip_blanks(after) } else { after };
    (!after.starts_with(is_identifier)).then_some(after)
}

fn is_identifier(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '/' | '-')
}

fn identifier(rest: &str) -> Result<(&str, &str), ParseError> {
    let end = rest.find(|c| !is_identifier(c)).unwrap_or(rest.len());
    let (label, after) = rest.split_at(end);
    match label.len() {
        0 => Err(ParseError::ExpectedIdentifier),
        1..=MAX_LABEL => Ok((label, after)),
        _ => Err(ParseError::LabelTooLong { label: label.to_owned() }),
    }
}

#[cfg(test)]
mod tests;
