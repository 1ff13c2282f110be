//! A rule before it has its hash: its words, as Calico writes them for appending.
//!
//! Words matter: hashes are made of them (`felix.md` §4.1 of the contract), and `iptables-save` prints others.

use std::borrow::Cow;
use std::fmt::{self, Display, Write as _};
use std::sync::Arc;

/// Longest comment (`XT_MAX_COMMENT_LEN`, its terminating zero apart, is 255; upstream cuts at this).
const COMMENT_MAX: usize = 256;

/// What a rule does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// Nothing: the rule is there for its comment.
    Nothing,
    /// Calls a chain.
    Jump(Arc<str>),
    /// Goes to a chain for good.
    Goto(Arc<str>),
    /// Back to the chain that called this one.
    Return,
    /// Anything else, from `--jump` on.
    Do(Cow<'static, str>),
}

impl Action {
    /// The packet passes this hook of this table.
    pub const ACCEPT: Action = Action::Do(Cow::Borrowed("--jump ACCEPT"));
    /// It is gone.
    pub const DROP: Action = Action::Do(Cow::Borrowed("--jump DROP"));
    /// Its connection is not followed.
    pub const NOTRACK: Action = Action::Do(Cow::Borrowed("--jump NOTRACK"));

    /// Calls a chain.
    pub fn jump(chain: &str) -> Self {
        Action::Jump(chain.into())
    }

    /// Sets bits of the mark.
    pub fn mark(bits: u32) -> Self {
        Self::masked(bits, bits)
    }

    /// Gives the bits of a mask these values.
    pub fn masked(bits: u32, mask: u32) -> Self {
        Action::Do(format!("--jump MARK --set-mark {bits:#x}/{mask:#x}").into())
    }

    /// Clears bits of the mark.
    pub fn clear(bits: u32) -> Self {
        Action::Do(format!("--jump MARK --set-mark 0/{bits:#x}").into())
    }

    /// The chain it leads to.
    pub fn target(&self) -> Option<&Arc<str>> {
        match self {
            Action::Jump(chain) | Action::Goto(chain) => Some(chain),
            _ => None,
        }
    }
}

/// Conditions of a rule; all must hold.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Matches(String);

impl Matches {
    /// None: every packet.
    pub fn any() -> Self {
        Matches::default()
    }

    /// This one as well.
    pub fn and(mut self, words: impl Display) -> Self {
        let before = self.0.len();
        if before > 0 {
            self.0.push(' ');
        }
        let empty = self.0.len();
        self = self.joined(words);
        if self.0.len() == empty {
            self.0.truncate(before);
        }
        self
    }

    /// This right after the last words.
    pub fn joined(mut self, words: impl Display) -> Self {
        // writing to a text never fails
        let _ = write!(self.0, "{words}");
        self
    }

    /// The bit of the mark is set.
    pub fn marked(self, bit: u32) -> Self {
        self.and(format_args!("-m mark --mark {bit:#x}/{bit:#x}"))
    }

    /// None of the bits is set.
    pub fn unmarked(self, bits: u32) -> Self {
        self.and(format_args!("-m mark --mark 0/{bits:#x}"))
    }

    /// Some of the bits are set.
    pub fn not_unmarked(self, bits: u32) -> Self {
        self.and(format_args!("-m mark ! --mark 0/{bits:#x}"))
    }

    /// The packet is of a connection in one of these states.
    pub fn connection(self, states: &str) -> Self {
        self.and(format_args!("-m conntrack --ctstate {states}"))
    }

    /// The destination's port is this one, of a protocol that has ports.
    pub fn destination_port(self, port: u16) -> Self {
        self.and(format_args!("-m multiport --destination-ports {port}"))
    }

    /// The source's port is this one, of a protocol that has ports.
    pub fn source_port(self, port: u16) -> Self {
        self.and(format_args!("-m multiport --source-ports {port}"))
    }
}

impl Display for Matches {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A rule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line {
    comments: Vec<String>,
    matches: Matches,
    /// What it does.
    pub action: Action,
}

impl Line {
    /// A rule without a comment.
    pub fn new(matches: Matches, action: Action) -> Self {
        Line { comments: Vec::new(), matches, action }
    }

    /// One for every packet.
    pub fn always(action: Action) -> Self {
        Self::new(Matches::any(), action)
    }

    /// The same with one comment more.
    pub fn about(mut self, comment: &str) -> Self {
        self.comments.push(legible(comment));
        self
    }

    /// All words, from the comments on.
    pub fn text(&self) -> String {
        let mut text = Matches::any();
        for comment in &self.comments {
            text = text.and(format_args!("-m comment --comment \"{comment}\""));
        }
        text.and(&self.matches).and(self.action.text()).0
    }
}

impl Action {
    fn text(&self) -> Cow<'_, str> {
        match self {
            Action::Nothing => "".into(),
            Action::Jump(chain) => format!("--jump {chain}").into(),
            Action::Goto(chain) => format!("--goto {chain}").into(),
            Action::Return => "--jump RETURN".into(),
            Action::Do(words) => Cow::Borrowed(words),
        }
    }
}

fn legible(comment: &str) -> String {
    let legal = |c: char| c.is_ascii_alphanumeric() || "_ @%+=:,./-".contains(c);
    comment.chars().map(|c| if legal(c) { c } else { '_' }).take(COMMENT_MAX).collect()
}

/// A text between quotes of `iptables-restore`, which ends at a quote and at a line's end.
pub fn quoted(text: &str) -> String {
    let legal = |c: char| !matches!(c, '"' | '\\') && !c.is_control();
    let clean: String = text.chars().map(|c| if legal(c) { c } else { '_' }).collect();
    format!("\"{clean}\"")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_come_in_calicos_order() {
        let matches = Matches::any().and("-p tcp").marked(0x8);
        let line =
            Line::new(matches, Action::Goto("cali-x".into())).about("odd: \"chars\" & more").about("two");
        assert_eq!(
            line.text(),
            "-m comment --comment \"odd: _chars_ _ more\" -m comment --comment \"two\" -p tcp -m mark --mark \
             0x8/0x8 --goto cali-x"
        );
        assert_eq!(Line::always(Action::masked(0, 0x18)).text(), "--jump MARK --set-mark 0x0/0x18");
        assert_eq!(Line::always(Action::Nothing).about("x").text(), "-m comment --comment \"x\"");
        assert_eq!(Line::always(Action::Return).about(&"ü".repeat(300)).text().len(), 256 + 37);
        assert_eq!(quoted("a\"b\\c\nd ü"), "\"a_b_c_d ü\"");
    }
}
