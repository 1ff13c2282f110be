//! Where a verb reads and writes, and how it ends.

use serde_json::Value;
use std::io::{self, Read, Write};
use std::process::ExitCode;

/// Exit code a shell reports for a program ended by SIGPIPE.
const EXIT_CLOSED_PIPE: u8 = 141;

/// The three streams of a program; in tests, buffers.
pub struct Io {
    /// Standard output.
    pub out: Box<dyn Write>,
    /// Standard error.
    pub err: Box<dyn Write>,
    /// Standard input.
    pub input: Box<dyn Read>,
}

impl Io {
    /// The process's own streams.
    pub fn standard() -> Io {
        Io {
            out: Box::new(io::BufWriter::new(io::stdout())),
            err: Box::new(io::stderr()),
            input: Box::new(io::stdin()),
        }
    }

    /// Writes text to standard output.
    ///
    /// # Errors
    /// [`Failure::Closed`] when nobody reads any more.
    pub fn print(&mut self, text: &str) -> Result<(), Failure> {
        self.out.write_all(text.as_bytes()).map_err(Failure::from)
    }

    /// Writes a line to standard output.
    ///
    /// # Errors
    /// As [`Io::print`].
    pub fn line(&mut self, text: &str) -> Result<(), Failure> {
        self.print(text)?;
        self.print("\n")
    }

    /// Prints what was asked for: as text for people (`ps`), or as JSON.
    ///
    /// # Errors
    /// Another format; as [`Io::print`].
    pub fn answer(
        &mut self,
        format: &str,
        json: impl FnOnce() -> Value,
        text: impl FnOnce() -> String,
    ) -> Result<(), Failure> {
        match format {
            "json" => self.line(&format!("{:#}", json())),
            "ps" => self.print(&text()),
            other => {
                Err(Failure::Message(format!("unrecognized output format {other:?}: expected ps or json")))
            }
        }
    }

    /// Hands what was written to the reader now.
    ///
    /// # Errors
    /// As [`Io::print`].
    pub fn flush(&mut self) -> Result<(), Failure> {
        self.out.flush().map_err(Failure::from)
    }
}

/// Why a verb did not do what it was asked; the program ends with code 1 (`calicoctl.md` §1).
#[derive(Debug, PartialEq, Eq)]
pub enum Failure {
    /// A message for standard error.
    Message(String),
    /// A message for standard output, where calicoctl prints some of its failures.
    OnStdout(String),
    /// Nobody reads standard output any more; nothing is left to say.
    Closed,
}

impl Failure {
    /// A message for standard error.
    pub fn message(text: impl Into<String>) -> Failure {
        Failure::Message(text.into())
    }
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::BrokenPipe => Failure::Closed,
            _ => Failure::Message(format!("cannot write the output: {error}")),
        }
    }
}

/// Says how it ended and gives the exit code. A closed standard error changes nothing.
pub fn finish(done: Result<ExitCode, Failure>, io: &mut Io) -> ExitCode {
    let code = match &done {
        Ok(code) => *code,
        Err(Failure::Closed) => return ExitCode::from(EXIT_CLOSED_PIPE),
        Err(_) => ExitCode::FAILURE,
    };
    let mut flushed = Ok(());
    if let Err(Failure::OnStdout(text)) = &done {
        flushed = io.line(text);
    }
    if flushed.and_then(|()| io.flush()).is_err() {
        return ExitCode::from(EXIT_CLOSED_PIPE);
    }
    if let Err(Failure::Message(text)) = &done {
        let _ = writeln!(io.err, "{text}");
    }
    code
}

/// Streams that keep what is written, for tests.
#[cfg(test)]
pub mod captured {
    use super::Io;
    use std::cell::RefCell;
    use std::io::{self, Cursor, Write};
    use std::rc::Rc;

    /// What was written so far.
    #[derive(Clone, Default)]
    pub struct Text(Rc<RefCell<Vec<u8>>>);

    impl Text {
        /// Takes it.
        pub fn take(&self) -> String {
            String::from_utf8(std::mem::take(&mut self.0.borrow_mut())).expect("text")
        }
    }

    impl Write for Text {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.borrow_mut().write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    /// Streams with `input` to read, and what they print and complain.
    pub fn io(input: &str) -> (Io, Text, Text) {
        let (out, err) = (Text::default(), Text::default());
        let input = Box::new(Cursor::new(input.as_bytes().to_vec()));
        (Io { out: Box::new(out.clone()), err: Box::new(err.clone()), input }, out, err)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct ClosedPipe;

    impl Write for ClosedPipe {
        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            Err(io::ErrorKind::BrokenPipe.into())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn code(done: Result<ExitCode, Failure>, io: &mut Io) -> String {
        format!("{:?}", finish(done, io))
    }

    fn of(code: u8) -> String {
        format!("{:?}", ExitCode::from(code))
    }

    #[test]
    fn an_answer_is_text_or_json() {
        let (mut io, out, _) = captured::io("");
        let mut answer = |format: &str| io.answer(format, || true.into(), || "x\n".to_owned());
        answer("ps").unwrap();
        answer("json").unwrap();
        let refused = Failure::message("unrecognized output format \"yaml\": expected ps or json");
        assert_eq!(answer("yaml"), Err(refused));
        assert_eq!(out.take(), "x\ntrue\n");
    }

    #[test]
    fn messages_go_where_they_belong() {
        let (mut io, out, err) = captured::io("");
        io.line("done").expect("printed");
        assert_eq!(code(Err(Failure::message("but")), &mut io), of(1));
        assert_eq!((out.take().as_str(), err.take().as_str()), ("done\n", "but\n"));
        assert_eq!(code(Err(Failure::OnStdout("no".into())), &mut io), of(1));
        assert_eq!((out.take().as_str(), err.take().as_str()), ("no\n", ""));
        assert_eq!(code(Ok(ExitCode::SUCCESS), &mut io), of(0));
    }

    #[test]
    fn a_closed_pipe_ends_without_words() {
        let (mut io, _, err) = captured::io("");
        io.out = Box::new(ClosedPipe);
        assert_eq!(io.line("x"), Err(Failure::Closed));
        assert_eq!(code(Err(Failure::Closed), &mut io), of(EXIT_CLOSED_PIPE));
        assert_eq!(code(Err(Failure::OnStdout("x".into())), &mut io), of(EXIT_CLOSED_PIPE));
        assert_eq!(err.take(), "");
    }
}
