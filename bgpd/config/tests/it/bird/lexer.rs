//! From text to tokens.

use std::net::IpAddr;

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Token {
    /// A word, dots included, or a quoted symbol.
    Word(String),
    Number(u64),
    Text(String),
    Ip(IpAddr),
    Sign(&'static str),
}

const SIGNS: [&str; 22] = [
    "[=", "=]", "!~", "!=", "&&", "||", "(", ")", "{", "}", "[", "]", ";", ",", "=", "~", "<", ">", "!", "-",
    "*", "/",
];

pub fn tokens(text: &str) -> Vec<Token> {
    let mut tokens = Vec::new();
    let mut rest = text;
    loop {
        rest = rest.trim_start();
        let Some(first) = rest.chars().next() else { return tokens };
        if first == '"' || first == '\'' {
            let end = rest[1..].find(first).expect("a quote has an end") + 1;
            let inside = rest[1..end].to_owned();
            tokens.push(if first == '"' { Token::Text(inside) } else { Token::Word(inside) });
            rest = &rest[end + 1..];
        } else if first.is_alphanumeric() || first == '_' || first == ':' {
            let end = rest.find(|c: char| !(c.is_alphanumeric() || "_:.".contains(c))).unwrap_or(rest.len());
            let word = &rest[..end];
            tokens.push(match (word.parse::<IpAddr>(), word.parse::<u64>()) {
                (Ok(ip), _) => Token::Ip(ip),
                (_, Ok(number)) => Token::Number(number),
                _ => Token::Word(word.to_owned()),
            });
            rest = &rest[end..];
        } else {
            let sign = SIGNS.iter().find(|sign| rest.starts_with(**sign));
            let sign = sign.unwrap_or_else(|| panic!("no sign of BIRD: {}", &rest[..rest.len().min(40)]));
            tokens.push(Token::Sign(sign));
            rest = &rest[sign.len()..];
        }
    }
}
