//! Listening sockets that outlive the agent: a service manager, or [`crate::parent`], holds them while it is away, and what
//! asks meanwhile waits in their queues.
//!
//! They are handed over as systemd does it (sd_listen_fds(3)): `LISTEN_PID` says for whom, `LISTEN_FDS` how many descriptors
//! from 3 on, `LISTEN_FDNAMES` which is which.

use nix::fcntl::{FcntlArg, FdFlag, fcntl};
use nix::sys::socket::{
    AddressFamily, SockType, SockaddrLike, SockaddrStorage, getsockname, getsockopt, sockopt,
};
use nix::unistd::dup2_raw;
use std::net::TcpListener;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, IntoRawFd, OwnedFd, RawFd};
use std::os::unix::net::UnixListener;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};

/// Number of the first descriptor handed over.
const FIRST: RawFd = 3;
/// More than anybody hands over.
const MOST: usize = 64;
/// Names, as `FileDescriptorName=` of a socket unit has them.
const CNI: &str = "cni";
const DATASTORE: &str = "datastore";

/// What is held for the agent; it makes itself what is not.
#[derive(Debug, Default)]
pub struct Sockets {
    /// Where CNI plugins ask.
    pub cni: Option<UnixListener>,
    /// Where the embedded datastore is asked.
    pub datastore: Option<TcpListener>,
}

/// Why sockets cannot be held, or taken over.
#[derive(Debug, thiserror::Error)]
pub enum SocketsError {
    /// The variables say nothing that can be followed.
    #[error(
        "{variable}={value:?}: {reason}; whoever hands sockets over has to set it as sd_listen_fds(3) says"
    )]
    Variable {
        /// Which.
        variable: &'static str,
        /// What it says.
        value: String,
        /// What is wrong.
        reason: String,
    },
    /// A descriptor that cannot be used.
    #[error("the socket handed over as {name:?} (descriptor {descriptor}): {reason}")]
    Descriptor {
        /// Its name.
        name: String,
        /// Its number.
        descriptor: RawFd,
        /// What is wrong.
        reason: String,
    },
    /// It cannot be made.
    #[error("{0}")]
    Bind(String),
}

impl Sockets {
    /// What was handed over to this process: `None` where nothing was. Only the first call finds it.
    ///
    /// # Errors
    /// The variables contradict themselves; a descriptor is no socket of its name.
    pub fn handed_over(variable: &dyn Fn(&str) -> Option<String>) -> Result<Option<Self>, SocketsError> {
        let Some(names) = names(variable, std::process::id())? else { return Ok(None) };
        let mut sockets = Self::default();
        for (descriptor, name) in (FIRST..).zip(take_once(names.len())?).zip(names) {
            let (number, descriptor) = descriptor;
            sockets.put(&name, descriptor).map_err(|reason| SocketsError::Descriptor {
                name,
                descriptor: number,
                reason,
            })?;
        }
        Ok(Some(sockets))
    }

    /// Makes those that an agent needs: in `run`, and for the embedded datastore if it has one.
    ///
    /// # Errors
    /// Somebody listens there; one cannot be made.
    pub fn bind(run: &Path, embedded: bool) -> Result<Self, SocketsError> {
        let words = |error: &dyn std::fmt::Display| SocketsError::Bind(error.to_string());
        let cni =
            observe::socket::listen(&run.join(crate::parts::CNI_SOCKET)).map_err(|error| words(&error))?;
        let datastore =
            embedded.then(crate::parts::bind_datastore).transpose().map_err(|error| words(&error))?;
        Ok(Self { cni: Some(cni), datastore })
    }

    fn put(&mut self, name: &str, descriptor: OwnedFd) -> Result<(), String> {
        let words = |error: nix::Error| error.to_string();
        let listens = getsockopt(&descriptor, sockopt::AcceptConn).map_err(words)?;
        let stream = getsockopt(&descriptor, sockopt::SockType).map_err(words)? == SockType::Stream;
        let address: SockaddrStorage = getsockname(descriptor.as_raw_fd()).map_err(words)?;
        fcntl(&descriptor, FcntlArg::F_SETFD(FdFlag::FD_CLOEXEC)).map_err(words)?;
        let family = address.family();
        let is_unix = family == Some(AddressFamily::Unix);
        let is_inet = matches!(family, Some(AddressFamily::Inet | AddressFamily::Inet6));
        match name {
            _ if !listens || !stream => Err("it is no stream socket that listens".to_owned()),
            CNI if is_unix && self.cni.is_none() => {
                self.cni = Some(descriptor.into());
                Ok(())
            }
            DATASTORE if is_inet && self.datastore.is_none() => {
                self.datastore = Some(descriptor.into());
                Ok(())
            }
            CNI => Err("expected one unix socket".to_owned()),
            DATASTORE => Err("expected one TCP socket".to_owned()),
            _ => Err(format!(
                "expected {CNI} or {DATASTORE}: set FileDescriptorName= in its socket unit, or remove the unit"
            )),
        }
    }

    /// Becomes this program, with these sockets handed over to it. Returns only when it cannot be executed; descriptors of
    /// this process are lost then, and it has to end.
    pub(crate) fn execute(self, command: &mut Command) -> std::io::Error {
        let cni = self.cni.map(|socket| (CNI, OwnedFd::from(socket)));
        let datastore = self.datastore.map(|socket| (DATASTORE, OwnedFd::from(socket)));
        let (names, sockets): (Vec<&str>, Vec<OwnedFd>) = cni.into_iter().chain(datastore).unzip();
        if let Err(error) = lay_out(&sockets) {
            return error;
        }
        command
            .env("LISTEN_FDS", names.len().to_string())
            .env("LISTEN_FDNAMES", names.join(":"))
            .env("LISTEN_PID", std::process::id().to_string())
            .exec()
    }
}

/// Names of the descriptors that are for the process of this number.
fn names(
    variable: &dyn Fn(&str) -> Option<String>,
    process: u32,
) -> Result<Option<Vec<String>>, SocketsError> {
    let wrong = |variable, value: &str, reason: &str| SocketsError::Variable {
        variable,
        value: value.to_owned(),
        reason: reason.to_owned(),
    };
    let (Some(count), Some(whose)) = (variable("LISTEN_FDS"), variable("LISTEN_PID")) else {
        return Ok(None);
    };
    let number: u32 =
        whose.parse().map_err(|_| wrong("LISTEN_PID", &whose, "expected a process's number"))?;
    if number != process {
        // a parent's, inherited: not for us
        return Ok(None);
    }
    let expected = format!("expected a number up to {MOST}");
    let number: usize = count.parse().map_err(|_| wrong("LISTEN_FDS", &count, &expected))?;
    if number > MOST {
        return Err(wrong("LISTEN_FDS", &count, &expected));
    }
    let text = variable("LISTEN_FDNAMES").unwrap_or_default();
    let names: Vec<String> = text.split(':').filter(|name| !name.is_empty()).map(str::to_owned).collect();
    if names.len() != number {
        let reason = format!("expected {number} names, as LISTEN_FDS={number}");
        return Err(wrong("LISTEN_FDNAMES", &text, &reason));
    }
    Ok(Some(names))
}

/// The descriptors handed over, owned from now on.
fn take_once(count: usize) -> Result<Vec<OwnedFd>, SocketsError> {
    static TAKEN: AtomicBool = AtomicBool::new(false);
    if TAKEN.swap(true, Ordering::SeqCst) {
        return Ok(Vec::new());
    }
    (FIRST..).take(count).map(adopt).collect()
}

#[expect(unsafe_code, reason = "descriptors named by the environment are numbers; nothing else can own them")]
fn adopt(descriptor: RawFd) -> Result<OwnedFd, SocketsError> {
    if !Path::new(&format!("/proc/self/fd/{descriptor}")).exists() {
        return Err(SocketsError::Descriptor {
            name: String::new(),
            descriptor,
            reason: "it is not open; LISTEN_FDS says more than there are".to_owned(),
        });
    }
    // SAFETY: it is open, was open before this process began, and is adopted once (TAKEN).
    Ok(unsafe { OwnedFd::from_raw_fd(descriptor) })
}

/// Puts the sockets where the next program looks for them.
#[expect(unsafe_code, reason = "their numbers are the protocol; what had them before is not used again")]
fn lay_out(sockets: &[OwnedFd]) -> std::io::Result<()> {
    let end = FIRST + RawFd::try_from(sockets.len()).map_err(std::io::Error::other)?;
    // out of the way first: one may stand where another has to be
    let aside: Vec<RawFd> = sockets
        .iter()
        .map(|socket| fcntl(socket, FcntlArg::F_DUPFD_CLOEXEC(end)))
        .collect::<Result<_, _>>()?;
    for (from, to) in aside.into_iter().zip(FIRST..) {
        // SAFETY: `from` was made above and stays open; whatever `to` was, this process ends, as this program or at all,
        // without using it.
        let moved = unsafe { dup2_raw(BorrowedFd::borrow_raw(from), to) }?;
        // the next program's
        let _ = moved.into_raw_fd();
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(list: &[(&str, &str)], process: u32) -> Result<Option<Vec<String>>, String> {
        let variable =
            |name: &str| list.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned());
        names(&variable, process).map_err(|error| error.to_string())
    }

    #[test]
    fn variables_of_the_protocol() {
        let all = [("LISTEN_FDS", "2"), ("LISTEN_PID", "7"), ("LISTEN_FDNAMES", "cni:datastore")];
        assert_eq!(of(&all, 7), Ok(Some(vec!["cni".to_owned(), "datastore".to_owned()])));
        assert_eq!(of(&all, 8), Ok(None), "for another process");
        assert_eq!(of(&[], 7), Ok(None));
        assert_eq!(of(&[("LISTEN_FDS", "1")], 7), Ok(None));
        for (count, whose, names, says) in [
            ("two", "7", "a:b", "LISTEN_FDS=\"two\""),
            ("65", "7", "a", "LISTEN_FDS=\"65\": expected a number up to 64"),
            ("1", "me", "a", "LISTEN_PID=\"me\""),
            ("2", "7", "cni", "LISTEN_FDNAMES=\"cni\": expected 2 names"),
            ("1", "7", "", "LISTEN_FDNAMES=\"\": expected 1 names"),
        ] {
            let list = [("LISTEN_FDS", count), ("LISTEN_PID", whose), ("LISTEN_FDNAMES", names)];
            let said = of(&list, 7).unwrap_err();
            assert!(said.contains(says), "{said}");
        }
    }

    #[test]
    fn each_socket_has_to_be_what_its_name_says() {
        let directory = tempfile::tempdir().unwrap();
        let unix = || -> OwnedFd {
            let path = directory.path().join(format!("{}", std::fs::read_dir(&directory).unwrap().count()));
            UnixListener::bind(path).unwrap().into()
        };
        let tcp = || -> OwnedFd { TcpListener::bind("127.0.0.1:0").unwrap().into() };
        let mut sockets = Sockets::default();
        sockets.put(CNI, unix()).unwrap();
        sockets.put(DATASTORE, tcp()).unwrap();
        assert!(sockets.cni.is_some() && sockets.datastore.is_some());
        let connected: OwnedFd = std::os::unix::net::UnixStream::pair().unwrap().0.into();
        let file: OwnedFd = std::fs::File::open("/dev/null").unwrap().into();
        for (name, descriptor, says) in [
            (CNI, unix(), "expected one unix socket"),
            (DATASTORE, tcp(), "expected one TCP socket"),
            ("ocicat-cni.socket", unix(), "FileDescriptorName="),
            (CNI, connected, "no stream socket that listens"),
            (CNI, file, "ENOTSOCK"),
        ] {
            let said = sockets.put(name, descriptor).unwrap_err();
            assert!(said.contains(says), "{name}: {said}");
        }
        let said = Sockets::default().put(CNI, tcp()).unwrap_err();
        assert!(said.contains("expected one unix socket"), "{said}");
    }
}
