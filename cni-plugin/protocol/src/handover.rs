//! What passes between the thin plugin and the node's agent over its socket.
//!
//! A frame is a header of ten bytes, then JSON: `OCNI`, the speaker's version (two bytes), the length of the JSON (four bytes),
//! numbers in network order. The container's namespace goes along with the first byte of a call, as a descriptor.
//!
//! ```text
//!  plugin                     agent
//!  Call + namespace ────────►
//!            ◄──────── Execute           for a delegated IPAM plugin, any number of times
//!  Executed ────────►
//!            ◄──────── Answer            what to print, and the exit code
//! ```
//!
//! Versions: either side understands frames of [`OLDEST`] to [`NEWEST`]; fields it does not know are passed over, ones that are
//! missing have a default. A field changes its meaning never; a new one that must not be passed over is a new version.

use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// The version this program speaks.
pub const VERSION: u16 = 1;
/// The oldest version it understands: two before its own.
pub const OLDEST: u16 = VERSION.saturating_sub(2);
/// The newest one: one after its own.
pub const NEWEST: u16 = VERSION + 1;
/// Bytes before the JSON.
pub const HEADER: usize = 10;
/// No frame is longer; a configuration is a thousandth of it.
pub const LONGEST: u32 = 24 << 20;
/// What a frame begins with.
const MAGIC: [u8; 4] = *b"OCNI";

/// Where the agent listens.
pub const SOCKET: &str = "/run/ocicat/cni.sock";
/// There once an agent ran on this host: from then on nobody is attached past it.
pub const MARKER: &str = "/var/lib/ocicat/agent";

/// A frame's contents.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Message {
    /// What the runtime wants.
    Call(Call),
    /// A program to be executed by the plugin.
    Execute(Execute),
    /// What came of it.
    Executed(Executed),
    /// What to print.
    Answer(Answer),
}

/// One call of the plugin.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Call {
    /// `calico` or `calico-ipam`.
    pub program: String,
    /// The plugin's environment.
    pub variables: BTreeMap<String, String>,
    /// Its standard input.
    pub config: String,
}

/// A program to execute: a delegated IPAM plugin.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Execute {
    /// Its file.
    pub file: String,
    /// What is added to the plugin's own environment.
    pub variables: BTreeMap<String, String>,
    /// For its standard input.
    pub stdin: String,
}

/// How a program ended.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Executed {
    /// It returned 0.
    pub good: bool,
    /// Its standard output.
    pub stdout: String,
    /// How it ended, in words; why it could not be executed.
    pub ending: String,
}

/// What the plugin prints and ends with.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Answer {
    /// For standard output.
    pub stdout: String,
    /// For standard error.
    pub stderr: String,
    /// Exit code.
    pub exit: u8,
}

/// A frame that cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    /// Somebody else speaks there.
    #[error("the other side does not speak the protocol between plugin and agent")]
    NotOurs,
    /// Too old or too new.
    #[error(
        "the other side speaks version {0} of the protocol between plugin and agent, this one {OLDEST} to {NEWEST}: install \
         plugin and agent of releases closer to each other"
    )]
    Version(u16),
    /// Longer than anything sensible.
    #[error("a message of {0} bytes is too long")]
    TooLong(u64),
    /// JSON that says nothing.
    #[error("a message cannot be read: {0}")]
    Contents(String),
}

/// A message as bytes.
///
/// # Errors
/// It is too long.
pub fn encode(message: &Message) -> Result<Vec<u8>, FrameError> {
    let body = serde_json::to_vec(message).map_err(|error| FrameError::Contents(error.to_string()))?;
    let length = u32::try_from(body.len()).ok().filter(|length| *length <= LONGEST);
    let length = length.ok_or(FrameError::TooLong(u64::try_from(body.len()).unwrap_or(u64::MAX)))?;
    let mut frame = Vec::with_capacity(HEADER + body.len());
    frame.extend(MAGIC);
    frame.extend(VERSION.to_be_bytes());
    frame.extend(length.to_be_bytes());
    frame.extend(body);
    Ok(frame)
}

/// How many bytes follow a header.
///
/// # Errors
/// It is none of ours, of a version that is not understood, or announces too much.
pub fn length(header: [u8; HEADER]) -> Result<usize, FrameError> {
    let [a, b, c, d, v, w, rest @ ..] = header;
    if [a, b, c, d] != MAGIC {
        return Err(FrameError::NotOurs);
    }
    let version = u16::from_be_bytes([v, w]);
    if !(OLDEST..=NEWEST).contains(&version) {
        return Err(FrameError::Version(version));
    }
    match u32::from_be_bytes(rest) {
        length if length > LONGEST => Err(FrameError::TooLong(length.into())),
        length => usize::try_from(length).map_err(|_| FrameError::TooLong(length.into())),
    }
}

/// The message in the bytes after a header.
///
/// # Errors
/// They say nothing.
pub fn decode(body: &[u8]) -> Result<Message, FrameError> {
    serde_json::from_slice(body).map_err(|error| FrameError::Contents(error.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn header(frame: &[u8]) -> [u8; HEADER] {
        frame[..HEADER].try_into().unwrap()
    }

    #[test]
    fn fields_of_other_versions_do_no_harm() {
        let newer = br#"{"call":{"program":"calico","ofTheFuture":{"x":1}}}"#;
        let call = Call { program: "calico".into(), ..Call::default() };
        assert_eq!(decode(newer), Ok(Message::Call(call)));
        assert_eq!(decode(br#"{"answer":{}}"#), Ok(Message::Answer(Answer::default())));
        assert!(matches!(decode(br#"{"shout":{}}"#), Err(FrameError::Contents(_))));
    }

    #[test]
    fn what_is_no_frame_of_ours_is_refused() {
        let mut frame = encode(&Message::Answer(Answer::default())).unwrap();
        frame[5] = u8::try_from(NEWEST).unwrap();
        assert_eq!(length(header(&frame)), Ok(frame.len() - HEADER), "the next release's");
        frame[5] += 1;
        assert_eq!(length(header(&frame)), Err(FrameError::Version(NEWEST + 1)));
        frame[6] = 0xff;
        frame[5] = 1;
        assert!(matches!(length(header(&frame)), Err(FrameError::TooLong(_))));
        assert_eq!(length(*b"GET / HTTP"), Err(FrameError::NotOurs));
    }

    fn messages() -> impl Strategy<Value = Message> {
        let map = || proptest::collection::btree_map("[A-Z_]{1,8}", ".{0,12}", 0..4);
        prop_oneof![
            (".{0,8}", map(), ".{0,40}").prop_map(|(program, variables, config)| Message::Call(Call {
                program,
                variables,
                config
            })),
            (".{0,8}", map(), ".{0,40}").prop_map(|(file, variables, stdin)| Message::Execute(Execute {
                file,
                variables,
                stdin
            })),
            (any::<bool>(), ".{0,40}", ".{0,9}")
                .prop_map(|(good, stdout, ending)| Message::Executed(Executed { good, stdout, ending })),
            (".{0,40}", ".{0,9}", any::<u8>()).prop_map(|(stdout, stderr, exit)| Message::Answer(Answer {
                stdout,
                stderr,
                exit
            })),
        ]
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(message in messages()) {
            let frame = encode(&message).unwrap();
            prop_assert_eq!(length(header(&frame)), Ok(frame.len() - HEADER));
            prop_assert_eq!(decode(&frame[HEADER..]), Ok(message));
        }

        #[test]
        fn any_bytes_are_taken(head in any::<[u8; HEADER]>(), body in proptest::collection::vec(any::<u8>(), 0..64)) {
            let _ = length(head);
            let _ = decode(&body);
        }
    }
}
