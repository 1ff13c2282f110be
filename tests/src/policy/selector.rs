//! Selectors, read and evaluated in the plainest way (contract `resources.md` §2).

use anyhow::{Result, bail};
use std::collections::BTreeMap;

/// Labels of an endpoint or network set.
pub type Labels = BTreeMap<String, String>;

/// A selector that has been read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Selector {
    /// Everything.
    All,
    /// Everything; what it means for namespaces is [`Selector::about`]'s to say.
    Global,
    /// Not that.
    Not(Box<Selector>),
    /// All of them.
    And(Vec<Selector>),
    /// Any of them.
    Or(Vec<Selector>),
    /// The label is there.
    Has(String),
    /// The label is there and compares so with the value.
    Compare(String, Comparison, String),
    /// The label is there and one of the values.
    In(String, Vec<String>),
}

/// How a label compares with a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Comparison {
    /// `==`
    Equal,
    /// `contains`
    Contains,
    /// `starts with`
    Starts,
    /// `ends with`
    Ends,
}

impl Selector {
    /// Reads a selector; an empty one is everything.
    ///
    /// # Errors
    /// It is none; the text says where reading ended.
    pub fn read(text: &str) -> Result<Self> {
        let mut reader = Reader { text };
        reader.space();
        if reader.text.is_empty() {
            return Ok(Selector::All);
        }
        let selector = reader.or()?;
        reader.space();
        if !reader.text.is_empty() {
            bail!("left over in {text:?}: {:?}", reader.text);
        }
        Ok(selector)
    }

    /// Whether these labels are selected.
    pub fn selects(&self, labels: &Labels) -> bool {
        match self {
            Selector::All | Selector::Global => true,
            Selector::Not(inner) => !inner.selects(labels),
            Selector::And(all) => all.iter().all(|one| one.selects(labels)),
            Selector::Or(any) => any.iter().any(|one| one.selects(labels)),
            Selector::Has(label) => labels.contains_key(label),
            Selector::Compare(label, how, value) => labels.get(label).is_some_and(|found| match how {
                Comparison::Equal => found == value,
                Comparison::Contains => found.contains(value.as_str()),
                Comparison::Starts => found.starts_with(value.as_str()),
                Comparison::Ends => found.ends_with(value.as_str()),
            }),
            Selector::In(label, values) => labels.get(label).is_some_and(|found| values.contains(found)),
        }
    }

    /// The selector about the labels of what an endpoint belongs to: keys get a prefix, `all()` means that it belongs to
    /// one at all, `global()` that it does not. `member` is the label that tells.
    pub fn about(&self, prefix: &str, member: &str) -> Self {
        let again = |all: &[Selector]| all.iter().map(|one| one.about(prefix, member)).collect();
        let label = |label: &str| format!("{prefix}{label}");
        match self {
            Selector::All => Selector::Has(member.to_owned()),
            Selector::Global => Selector::Not(Box::new(Selector::Has(member.to_owned()))),
            Selector::Not(inner) => Selector::Not(Box::new(inner.about(prefix, member))),
            Selector::And(all) => Selector::And(again(all)),
            Selector::Or(any) => Selector::Or(again(any)),
            Selector::Has(key) => Selector::Has(label(key)),
            Selector::Compare(key, how, value) => Selector::Compare(label(key), *how, value.clone()),
            Selector::In(key, values) => Selector::In(label(key), values.clone()),
        }
    }
}

struct Reader<'a> {
    text: &'a str,
}

fn of_label(letter: char) -> bool {
    letter.is_ascii_alphanumeric() || "_./-".contains(letter)
}

impl<'a> Reader<'a> {
    fn space(&mut self) {
        self.text = self.text.trim_start_matches([' ', '\t']);
    }

    /// Takes this if it comes next.
    fn take(&mut self, token: &str) -> bool {
        self.space();
        match self.text.strip_prefix(token) {
            Some(rest) => {
                self.text = rest;
                true
            }
            None => false,
        }
    }

    /// Takes these words if they come next, spaces or none between them, and no letter of a label follows.
    fn words(&mut self, words: &[&str]) -> bool {
        let before = self.text;
        let taken = words.iter().all(|word| self.take(word)) && !self.text.starts_with(of_label);
        if !taken {
            self.text = before;
        }
        taken
    }

    fn or(&mut self) -> Result<Selector> {
        let mut any = vec![self.and()?];
        while self.take("||") {
            any.push(self.and()?);
        }
        Ok(if any.len() == 1 { any.remove(0) } else { Selector::Or(any) })
    }

    fn and(&mut self) -> Result<Selector> {
        let mut all = vec![self.operation()?];
        while self.take("&&") {
            all.push(self.operation()?);
        }
        Ok(if all.len() == 1 { all.remove(0) } else { Selector::And(all) })
    }

    fn operation(&mut self) -> Result<Selector> {
        if self.take("!") {
            return Ok(Selector::Not(Box::new(self.operation()?)));
        }
        if self.take("has(") {
            let label = self.label()?;
            return self.closed(Selector::Has(label));
        }
        if self.take("all(") {
            return self.closed(Selector::All);
        }
        if self.take("global(") {
            return self.closed(Selector::Global);
        }
        if self.take("(") {
            let inner = self.or()?;
            return self.closed(inner);
        }
        let label = self.label()?;
        self.comparison(label)
    }

    fn closed(&mut self, selector: Selector) -> Result<Selector> {
        if !self.take(")") {
            bail!("expected ) before {:?}", self.text);
        }
        Ok(selector)
    }

    fn label(&mut self) -> Result<String> {
        self.space();
        let end = self.text.find(|letter| !of_label(letter)).unwrap_or(self.text.len());
        let (label, rest) = self.text.split_at(end);
        if label.is_empty() || label.len() > 512 {
            bail!("expected a label before {:?}", self.text);
        }
        self.text = rest;
        Ok(label.to_owned())
    }

    fn comparison(&mut self, label: String) -> Result<Selector> {
        let not = |selector| Selector::Not(Box::new(selector));
        if self.take("==") {
            return Ok(Selector::Compare(label, Comparison::Equal, self.string()?));
        }
        if self.take("!=") {
            return Ok(not(Selector::Compare(label, Comparison::Equal, self.string()?)));
        }
        if self.words(&["contains"]) {
            return Ok(Selector::Compare(label, Comparison::Contains, self.string()?));
        }
        if self.words(&["starts", "with"]) {
            return Ok(Selector::Compare(label, Comparison::Starts, self.string()?));
        }
        if self.words(&["ends", "with"]) {
            return Ok(Selector::Compare(label, Comparison::Ends, self.string()?));
        }
        if self.words(&["not", "in"]) {
            return Ok(not(Selector::In(label, self.set()?)));
        }
        if self.words(&["in"]) {
            return Ok(Selector::In(label, self.set()?));
        }
        bail!("expected a comparison after {label:?}, before {:?}", self.text);
    }

    fn set(&mut self) -> Result<Vec<String>> {
        if !self.take("{") {
            bail!("expected a set before {:?}", self.text);
        }
        let mut values = Vec::new();
        while !self.take("}") {
            values.push(self.string()?);
            if !self.take(",") && !self.text.trim_start_matches([' ', '\t']).starts_with('}') {
                bail!("expected }} before {:?}", self.text);
            }
        }
        Ok(values)
    }

    fn string(&mut self) -> Result<String> {
        self.space();
        let quote = self.text.chars().next().filter(|letter| "'\"".contains(*letter));
        let inside = quote.and_then(|quote| self.text[1..].split_once(quote));
        let Some((value, rest)) = inside else { bail!("expected a string before {:?}", self.text) };
        self.text = rest;
        Ok(value.to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(pairs: &[(&str, &str)]) -> Labels {
        pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
    }

    fn selects(text: &str, pairs: &[(&str, &str)]) -> bool {
        Selector::read(text).unwrap().selects(&labels(pairs))
    }

    /// The rows of the contract's table that have a verdict.
    #[test]
    fn verdicts_are_the_contracts() {
        let none: &[(&str, &str)] = &[];
        for (text, pairs, verdict) in [
            ("", none, true),
            ("all()", none, true),
            ("all( )", &[("a", "1")], true),
            ("!all()", none, false),
            ("global()", none, true),
            ("a == 'b'", &[("a", "b")], true),
            ("a == \"b\"", &[("a", "c")], false),
            ("a == 'b'", none, false),
            ("a != 'b'", none, true),
            ("a != 'b'", &[("a", "b")], false),
            ("has(a)", &[("a", "")], true),
            ("has( a )", none, false),
            ("!has(a)", none, true),
            ("!!has(a)", &[("a", "x")], true),
            ("a in {'x','y'}", &[("a", "y")], true),
            ("a in {'x','y'}", none, false),
            ("a in {}", &[("a", "x")], false),
            ("a in {'x',}", &[("a", "x")], true),
            ("a not in {'x'}", none, true),
            ("a not in {'x'}", &[("a", "x")], false),
            ("a notin {\"x\"}", &[("a", "z")], true),
            ("a contains 'bc'", &[("a", "abcd")], true),
            ("a contains ''", &[("a", "z")], true),
            ("a contains ''", none, false),
            ("a starts with 'ab'", &[("a", "abc")], true),
            ("a startswith \"b\"", &[("a", "abc")], false),
            ("a ends with 'c'", &[("a", "abc")], true),
            ("a ends with 'c'", none, false),
            ("a=='1'&&b=='2'", &[("a", "1"), ("b", "2")], true),
            ("a=='1' && b=='2' || c=='3'", &[("c", "3")], true),
            ("a=='1' && (b=='2' || c=='3')", &[("c", "3")], false),
            ("!(a=='1' || b=='2')", none, true),
            ("! a == '1'", &[("a", "2")], true),
            ("k8s.io/x-y_z == 'v'", &[("k8s.io/x-y_z", "v")], true),
            ("a == \"it's\"", &[("a", "it's")], true),
            ("in in {'x'}", &[("in", "x")], true),
            ("has == 'x'", &[("has", "x")], true),
        ] {
            assert_eq!(selects(text, pairs), verdict, "{text} on {pairs:?}");
        }
    }

    #[test]
    fn what_is_no_selector_is_refused() {
        for text in [
            "a = 'b'",
            "a == b",
            "a",
            "(a == 'b'",
            "a == 'b",
            "a == 'b' c == 'd'",
            "has(a",
            "has()",
            "a & b",
            "a in {'x' 'y'}",
            "a == 'b' &&",
            "a not {'x'}",
        ] {
            assert!(Selector::read(text).is_err(), "{text}");
        }
    }

    #[test]
    fn what_is_said_about_namespaces_asks_their_labels() {
        let about = |text: &str, pairs: &[(&str, &str)]| {
            Selector::read(text)
                .unwrap()
                .about("pcns.", "projectcalico.org/namespace")
                .selects(&labels(pairs))
        };
        let inside = [("projectcalico.org/namespace", "one"), ("pcns.env", "live")];
        assert!(about("env == 'live'", &inside));
        assert!(!about("env == 'live'", &[("env", "live")]));
        assert!(about("all()", &inside) && !about("all()", &[]));
        assert!(about("global()", &[]) && !about("global()", &inside));
    }
}
