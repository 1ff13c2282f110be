//! From tokens to settings and trees.

use super::lexer::{Token, tokens};
use bgp_wire::Prefix;
use std::collections::BTreeMap;
use std::net::IpAddr;

#[derive(Debug, Clone)]
pub enum Expression {
    Number(u64),
    Text(String),
    Prefix(Prefix),
    Tuple(Vec<u64>),
    /// `[ 10.0.0.0/8{9,10} ]`
    Prefixes(Prefix, u8, u8),
    /// `[ RTS_BGP ]`
    Words(Vec<String>),
    /// `[= 1 2 * =]`: the path begins so.
    PathPrefix(Vec<u32>),
    Word(String),
    Defined(String),
    Not(Box<Expression>),
    Binary(&'static str, Box<Expression>, Box<Expression>),
}

#[derive(Debug, Clone)]
pub enum Statement {
    If(Expression, Vec<Statement>, Vec<Statement>),
    Set(String, Expression),
    Call(String, Vec<Expression>),
    Accept,
    Reject,
}

#[derive(Debug, Clone, Default)]
pub struct Function {
    pub parameters: Vec<String>,
    pub body: Vec<Statement>,
}

/// A `protocol bgp`.
#[derive(Debug, Clone, Default)]
pub struct Session {
    pub import: Vec<Statement>,
    pub export: Vec<Statement>,
    /// Every other setting: its words, joined.
    pub settings: Vec<String>,
}

/// Everything that was said.
#[derive(Debug, Default)]
pub struct Config {
    pub functions: BTreeMap<String, Function>,
    pub filters: BTreeMap<String, Vec<Statement>>,
    pub sessions: BTreeMap<String, Session>,
    /// Other settings, by the heading of their block; at the top by an empty one.
    pub settings: BTreeMap<String, Vec<String>>,
}

impl Config {
    /// Reads several files as one.
    pub fn read(texts: &[&str]) -> Self {
        let mut config = Config::default();
        for text in texts {
            let mut parser = Parser { tokens: tokens(text), at: 0 };
            while parser.at < parser.tokens.len() {
                parser.top(&mut config);
            }
        }
        config
    }

    /// Settings of one block that begin with these words, without them.
    pub fn settings(&self, block: &str, begin: &str) -> Vec<String> {
        let all = self.settings.get(block).into_iter().flatten();
        all.filter_map(|setting| setting.strip_prefix(begin).map(|rest| rest.trim().to_owned())).collect()
    }
}

struct Parser {
    tokens: Vec<Token>,
    at: usize,
}

impl Parser {
    fn peek(&self) -> Option<&Token> {
        self.tokens.get(self.at)
    }

    fn next(&mut self) -> Token {
        self.at += 1;
        self.tokens[self.at - 1].clone()
    }

    fn is(&self, sign: &str) -> bool {
        matches!(self.peek(), Some(Token::Sign(found)) if *found == sign)
    }

    fn is_word(&self, word: &str) -> bool {
        matches!(self.peek(), Some(Token::Word(found)) if found == word)
    }

    fn take(&mut self, sign: &str) -> bool {
        let found = self.is(sign);
        self.at += usize::from(found);
        found
    }

    fn take_word(&mut self, word: &str) -> bool {
        let found = self.is_word(word);
        self.at += usize::from(found);
        found
    }

    fn must(&mut self, sign: &str) {
        assert!(self.take(sign), "{sign} wanted, {:?} found", self.peek());
    }

    fn word(&mut self) -> String {
        match self.next() {
            Token::Word(word) => word,
            other => panic!("a word wanted, {other:?} found"),
        }
    }

    fn number(&mut self) -> u64 {
        match self.next() {
            Token::Number(number) => number,
            other => panic!("a number wanted, {other:?} found"),
        }
    }

    fn top(&mut self, config: &mut Config) {
        if self.take_word("function") {
            let name = self.word();
            self.must("(");
            let mut parameters = Vec::new();
            while !self.take(")") {
                assert_eq!(self.word(), "bool");
                parameters.push(self.word());
            }
            config.functions.insert(name, Function { parameters, body: self.block() });
        } else if self.take_word("filter") {
            let name = self.word();
            let body = self.block();
            config.filters.insert(name, body);
        } else if self.is_word("template") || self.is_word("protocol") {
            let mut heading = Vec::new();
            while !self.is("{") {
                heading.push(self.word());
            }
            self.must("{");
            match heading.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
                ["protocol", "bgp", name, "from", "bgp_template"] => {
                    let session = self.session();
                    assert!(config.sessions.insert((*name).to_owned(), session).is_none(), "{name} twice");
                }
                _ => {
                    let settings = config.settings.entry(heading.join(" ")).or_default();
                    while !self.take("}") {
                        settings.push(self.setting());
                    }
                }
            }
        } else {
            let setting = self.setting();
            config.settings.entry(String::new()).or_default().push(setting);
        }
    }

    /// Words up to a semicolon, as one text.
    fn setting(&mut self) -> String {
        let mut text = String::new();
        let mut glue = true;
        while !self.take(";") {
            let token = self.next();
            let piece = match &token {
                Token::Word(word) => word.clone(),
                Token::Number(number) => number.to_string(),
                Token::Text(inside) => format!("\"{inside}\""),
                Token::Ip(ip) => ip.to_string(),
                Token::Sign("{") => "{".to_owned(),
                Token::Sign(sign) => (*sign).to_owned(),
            };
            let slash = matches!(token, Token::Sign("/" | "," | "-"));
            if !glue && !matches!(token, Token::Sign("/" | ",")) {
                text.push(' ');
            }
            text.push_str(&piece);
            glue = slash && !matches!(token, Token::Sign(","));
        }
        text
    }

    fn session(&mut self) -> Session {
        let mut session = Session::default();
        while !self.take("}") {
            if self.take_word("import") {
                assert_eq!(self.word(), "filter");
                session.import = self.block();
                self.must(";");
            } else if self.take_word("export") {
                assert_eq!(self.word(), "filter");
                session.export = self.block();
                self.must(";");
            } else {
                session.settings.push(self.setting());
            }
        }
        session
    }

    fn block(&mut self) -> Vec<Statement> {
        self.must("{");
        let mut statements = Vec::new();
        while !self.take("}") {
            statements.push(self.statement());
        }
        statements
    }

    fn branch(&mut self) -> Vec<Statement> {
        if self.is("{") { self.block() } else { vec![self.statement()] }
    }

    fn statement(&mut self) -> Statement {
        if self.take_word("if") {
            let condition = self.expression();
            assert_eq!(self.word(), "then");
            let yes = self.branch();
            let no = if self.take_word("else") { self.branch() } else { Vec::new() };
            return Statement::If(condition, yes, no);
        }
        let statement = match self.word().as_str() {
            "accept" => Statement::Accept,
            "reject" => Statement::Reject,
            name if self.take("=") => Statement::Set(name.to_owned(), self.expression()),
            name => {
                self.must("(");
                let mut arguments = Vec::new();
                while !self.take(")") {
                    arguments.push(self.expression());
                    self.take(",");
                }
                Statement::Call(name.to_owned(), arguments)
            }
        };
        self.must(";");
        statement
    }

    fn expression(&mut self) -> Expression {
        self.level(0)
    }

    /// Operators from the loosest to the tightest.
    fn level(&mut self, level: usize) -> Expression {
        const LEVELS: [&[&str]; 4] = [&["||"], &["&&"], &["=", "!=", "<", ">", "~", "!~"], &["-"]];
        let Some(signs) = LEVELS.get(level) else { return self.unary() };
        let mut left = self.level(level + 1);
        while let Some(sign) = signs.iter().find(|sign| self.is(sign)) {
            self.must(sign);
            let right = self.level(level + 1);
            left = Expression::Binary(sign, Box::new(left), Box::new(right));
        }
        left
    }

    fn unary(&mut self) -> Expression {
        if self.take("!") {
            return Expression::Not(Box::new(self.unary()));
        }
        if self.take("[=") {
            let mut numbers = Vec::new();
            while !self.take("*") {
                numbers.push(u32::try_from(self.number()).unwrap());
            }
            self.must("=]");
            return Expression::PathPrefix(numbers);
        }
        if self.take("[") {
            let set = match self.next() {
                Token::Word(word) => Expression::Words(vec![word]),
                Token::Ip(ip) => {
                    let Expression::Prefix(prefix) = self.prefix(ip) else { panic!("no prefix") };
                    self.must("{");
                    let min = self.number();
                    self.must(",");
                    let max = self.number();
                    self.must("}");
                    Expression::Prefixes(prefix, u8::try_from(min).unwrap(), u8::try_from(max).unwrap())
                }
                other => panic!("no set: {other:?}"),
            };
            self.must("]");
            return set;
        }
        if self.take("(") {
            let first = self.expression();
            if self.take(")") {
                return first;
            }
            let mut numbers = vec![first];
            while self.take(",") {
                numbers.push(self.expression());
            }
            self.must(")");
            let number = |e: &Expression| match e {
                Expression::Number(number) => *number,
                other => panic!("no number: {other:?}"),
            };
            return Expression::Tuple(numbers.iter().map(number).collect());
        }
        match self.next() {
            Token::Number(number) => Expression::Number(number),
            Token::Text(text) => Expression::Text(text),
            Token::Ip(ip) => self.prefix(ip),
            Token::Word(word) if word == "defined" => {
                self.must("(");
                let name = self.word();
                self.must(")");
                Expression::Defined(name)
            }
            Token::Word(word) => Expression::Word(word),
            other => panic!("no expression: {other:?}"),
        }
    }

    fn prefix(&mut self, ip: IpAddr) -> Expression {
        self.must("/");
        let len = u8::try_from(self.number()).unwrap();
        Expression::Prefix(Prefix::new(ip, len).unwrap())
    }
}

/// The same statements with another argument for every function that is told whether the session is internal.
pub fn with_arguments(statements: &[Statement], internal: bool) -> Vec<Statement> {
    let mut statements = statements.to_vec();
    for statement in &mut statements {
        if let Statement::Call(_, arguments) = statement {
            arguments.iter_mut().for_each(|argument| *argument = Expression::Word(internal.to_string()));
        }
    }
    statements
}
