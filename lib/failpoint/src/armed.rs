//! What the variable says.

use std::path::Path;
use std::time::Duration;

/// What happens to whoever comes by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Happens {
    Death,
    Wait(Duration),
    Panic,
}

/// One place, when, and what happens there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Armed<'a> {
    place: &'a str,
    file: Option<&'a str>,
    happens: Happens,
}

impl<'a> Armed<'a> {
    pub(crate) fn parse(text: &'a str) -> Self {
        let worded = |word: &str| match word {
            "panic" => Some(Happens::Panic),
            time => time.parse().ok().map(|time| Happens::Wait(Duration::from_millis(time))),
        };
        let split = text.rsplit_once('=').and_then(|(before, after)| Some((before, worded(after)?)));
        let (text, happens) = split.unwrap_or((text, Happens::Death));
        match text.split_once('@') {
            Some((place, file)) => Self { place, file: Some(file), happens },
            None => Self { place: text, file: None, happens },
        }
    }

    pub(crate) fn at(&self, name: &str) -> Option<Happens> {
        let here = self.place == name && self.file.is_none_or(|file| Path::new(file).exists());
        here.then_some(self.happens)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_place_alone_and_only_while_the_file_is_there() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("armed");
        let of = |more: &str| format!("a-b@{}{more}", file.display());
        let (death, wait) = (of(""), of("=20"));
        assert_eq!(Armed::parse("a-b").at("a-b"), Some(Happens::Death));
        assert_eq!(Armed::parse("a-b=7").at("a-b"), Some(Happens::Wait(Duration::from_millis(7))));
        assert_eq!(Armed::parse("a-b=panic").at("a-b"), Some(Happens::Panic));
        for (text, name) in [("", "a-b"), ("a-b", "a"), ("a-b=7", "a-b-c"), (&death, "a-b"), (&wait, "a-b")] {
            assert_eq!(Armed::parse(text).at(name), None, "{text} at {name}");
        }
        std::fs::write(&file, "").unwrap();
        assert_eq!(Armed::parse(&death).at("a-b"), Some(Happens::Death));
        assert_eq!(Armed::parse(&wait).at("a-b"), Some(Happens::Wait(Duration::from_millis(20))));
        assert_eq!(Armed::parse("lab: a place").at("lab: a place"), Some(Happens::Death));
    }
}
