//! What the variable says.

use std::path::Path;
use std::time::Duration;

/// What happens to whoever comes by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Happens {
    Death,
    Wait(Duration),
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
        let (text, happens) = match text.rsplit_once('=').map(|(before, after)| (before, after.parse())) {
            Some((before, Ok(time))) => (before, Happens::Wait(Duration::from_millis(time))),
            _ => (text, Happens::Death),
        };
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
        for (text, name) in [("", "a-b"), ("a-b", "a"), ("a-b=7", "a-b-c"), (&death, "a-b"), (&wait, "a-b")] {
            assert_eq!(Armed::parse(text).at(name), None, "{text} at {name}");
        }
        std::fs::write(&file, "").unwrap();
        assert_eq!(Armed::parse(&death).at("a-b"), Some(Happens::Death));
        assert_eq!(Armed::parse(&wait).at("a-b"), Some(Happens::Wait(Duration::from_millis(20))));
        assert_eq!(Armed::parse("lab: a place").at("lab: a place"), Some(Happens::Death));
    }
}
