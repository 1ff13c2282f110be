//! Tokens into a tree.
//!
//! What a recursive parser would keep on the call stack is a vector of [`Level`]s, one an open parenthesis.

use crate::error::ParseError;
use crate::lexer::{Token, tokens};
use crate::tree::{Node, NodeId, Term, Tree};

/// What has been read since a parenthesis opened: the finished `&&` groups and the one being read.
#[derive(Default)]
struct Level {
    /// Whether an odd number of `!` stands before the parenthesis.
    negated: bool,
    alternatives: Vec<NodeId>,
    group: Vec<NodeId>,
}

impl Level {
    fn end_group(&mut self, tree: &mut Tree) {
        let group = std::mem::take(&mut self.group);
        self.alternatives.push(join(tree, group, Node::And));
    }

    fn finish(mut self, tree: &mut Tree) -> NodeId {
        self.end_group(tree);
        let whole = join(tree, self.alternatives, Node::Or);
        negate(tree, self.negated, whole)
    }
}

/// One child stands for itself, several become a node.
fn join(tree: &mut Tree, children: Vec<NodeId>, node: fn(Vec<NodeId>) -> Node) -> NodeId {
    match children.as_slice() {
        [only] => *only,
        _ => tree.add(node(children)),
    }
}

fn negate(tree: &mut Tree, negated: bool, id: NodeId) -> NodeId {
    if negated { tree.add(Node::Not(id)) } else { id }
}

/// Parses a whole selector; an empty one matches everything.
pub(crate) fn parse(text: &str) -> Result<Tree, ParseError> {
    let tokens = tokens(text)?;
    let mut tree = Tree::new();
    if tokens.is_empty() {
        tree.add(Node::Term(Term::All));
        return Ok(tree);
    }
    let mut tokens = tokens.into_iter().peekable();
    let mut outer: Vec<Level> = Vec::new();
    let mut level = Level::default();
    loop {
        // here a test is due
        let mut negated = false;
        while tokens.next_if(|t| *t == Token::Not).is_some() {
            negated = !negated;
        }
        if tokens.next_if(|t| *t == Token::LeftParen).is_some() {
            outer.push(std::mem::replace(&mut level, Level { negated, ..Level::default() }));
            continue;
        }
        let term = term(&mut tokens)?;
        let id = tree.add(Node::Term(term));
        level.group.push(negate(&mut tree, negated, id));
        // here a test has ended: close what closes, until something asks for the next one
        loop {
            match tokens.next() {
                Some(Token::And) => break,
                Some(Token::Or) => {
                    level.end_group(&mut tree);
                    break;
                }
                Some(Token::RightParen) if !outer.is_empty() => {
                    let inner = std::mem::replace(&mut level, outer.pop().unwrap_or_default());
                    level.group.push(inner.finish(&mut tree));
                }
                None if outer.is_empty() => {
                    level.finish(&mut tree);
                    return Ok(tree);
                }
                Some(token) if outer.is_empty() => {
                    return Err(ParseError::TrailingContent { content: token.to_string() });
                }
                _ => return Err(ParseError::ExpectedRightParen),
            }
        }
    }
}

fn term<'a>(tokens: &mut std::iter::Peekable<impl Iterator<Item = Token<'a>>>) -> Result<Term, ParseError> {
    let label = match tokens.next() {
        Some(Token::Has(label)) => return Ok(Term::Has { label: label.into() }),
        Some(Token::All) => return Ok(Term::All),
        Some(Token::Global) => return Ok(Term::Global),
        Some(Token::Label(label)) => label,
        Some(token) => return Err(ParseError::UnexpectedToken { token: token.to_string() }),
        None => return Err(ParseError::UnexpectedToken { token: "end of selector".to_owned() }),
    };
    match tokens.next() {
        Some(Token::Compare(comparison)) => match tokens.next() {
            Some(Token::Text(value)) => {
                Ok(Term::Compare { label: label.into(), comparison, value: value.into() })
            }
            _ => Err(ParseError::ExpectedString),
        },
        Some(Token::In) => Ok(Term::In { label: label.into(), values: set(tokens)? }),
        Some(Token::NotIn) => Ok(Term::NotIn { label: label.into(), values: set(tokens)? }),
        _ => Err(ParseError::ExpectedOperator { label: label.to_owned() }),
    }
}

/// `{…}`: sorted, each value once.
fn set<'a>(
    tokens: &mut std::iter::Peekable<impl Iterator<Item = Token<'a>>>,
) -> Result<Box<[Box<str>]>, ParseError> {
    if tokens.next() != Some(Token::LeftBrace) {
        return Err(ParseError::ExpectedSet);
    }
    let mut values: Vec<Box<str>> = Vec::new();
    loop {
        match tokens.next() {
            Some(Token::RightBrace) => break,
            Some(Token::Text(value)) => values.push(value.into()),
            _ => return Err(ParseError::ExpectedRightBrace),
        }
        if tokens.next_if(|t| *t == Token::Comma).is_none() && tokens.peek() != Some(&Token::RightBrace) {
            return Err(ParseError::ExpectedRightBrace);
        }
    }
    values.sort_unstable();
    values.dedup();
    Ok(values.into())
}
