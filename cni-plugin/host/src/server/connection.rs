//! Frames over one connection, the first of them with a descriptor.

use cni_protocol::handover::{Call, HEADER, Message, decode, encode, length};
use nix::cmsg_space;
use nix::sys::socket::sockopt::PeerCredentials;
use nix::sys::socket::{ControlMessageOwned, MsgFlags, getsockopt, recvmsg};
use std::io::{Error, ErrorKind, IoSliceMut};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::sync::Arc;
use tokio::io::{AsyncReadExt, AsyncWriteExt, Interest};
use tokio::net::UnixStream;
use tokio::sync::Mutex;

/// One caller. Clones are the same caller.
#[derive(Debug, Clone)]
pub(super) struct Connection(Arc<Mutex<UnixStream>>);

impl Connection {
    pub(super) fn new(stream: UnixStream) -> Self {
        Self(Arc::new(Mutex::new(stream)))
    }

    /// What the caller wants, and the namespace it handed over.
    ///
    /// # Errors
    /// In words: it is not root, or says something else.
    pub(super) async fn call(&self) -> Result<(Call, Option<OwnedFd>), String> {
        let mut stream = self.0.lock().await;
        let peer = getsockopt(&*stream, PeerCredentials).map_err(|errno| errno.to_string())?;
        if peer.uid() != 0 {
            return Err(format!("process {} of user {} asks; only root may", peer.pid(), peer.uid()));
        }
        let mut header = [0; HEADER];
        let (mut read, netns) = receive(&stream, &mut header).await.map_err(|error| error.to_string())?;
        while read < HEADER {
            let rest = header.get_mut(read..).unwrap_or_default();
            match stream.read(rest).await {
                Ok(0) => return Err("the connection ended".to_owned()),
                Ok(more) => read += more,
                Err(error) => return Err(error.to_string()),
            }
        }
        match body(&mut stream, header).await? {
            Message::Call(call) => Ok((call, netns)),
            _ => Err("a call was expected".to_owned()),
        }
    }

    /// Sends a message and returns the one that comes back.
    ///
    /// # Errors
    /// In words: the caller has gone, or cannot be understood.
    pub(super) async fn ask(&self, message: &Message) -> Result<Message, String> {
        self.send(message).await?;
        let mut stream = self.0.lock().await;
        let mut header = [0; HEADER];
        stream.read_exact(&mut header).await.map_err(|error| error.to_string())?;
        body(&mut stream, header).await
    }

    /// Sends a message.
    ///
    /// # Errors
    /// In words: the caller has gone.
    pub(super) async fn send(&self, message: &Message) -> Result<(), String> {
        let frame = encode(message).map_err(|error| error.to_string())?;
        self.0.lock().await.write_all(&frame).await.map_err(|error| error.to_string())
    }
}

async fn body(stream: &mut UnixStream, header: [u8; HEADER]) -> Result<Message, String> {
    let mut body = vec![0; length(header).map_err(|error| error.to_string())?];
    stream.read_exact(&mut body).await.map_err(|error| error.to_string())?;
    decode(&body).map_err(|error| error.to_string())
}

/// The first bytes, and the descriptor that came with them.
async fn receive(stream: &UnixStream, buffer: &mut [u8]) -> Result<(usize, Option<OwnedFd>), Error> {
    stream
        .async_io(Interest::READABLE, || {
            let mut space = cmsg_space!(RawFd);
            let mut slices = [IoSliceMut::new(buffer)];
            let flags = MsgFlags::MSG_CMSG_CLOEXEC | MsgFlags::MSG_DONTWAIT;
            let got = recvmsg::<()>(stream.as_raw_fd(), &mut slices, Some(&mut space), flags)?;
            let mut handed = None;
            for message in got.cmsgs()? {
                if let ControlMessageOwned::ScmRights(descriptors) = message {
                    for descriptor in descriptors {
                        handed = Some(owned(descriptor));
                    }
                }
            }
            match got.bytes {
                0 => Err(Error::from(ErrorKind::UnexpectedEof)),
                bytes => Ok((bytes, handed)),
            }
        })
        .await
}

#[expect(
    unsafe_code,
    reason = "the kernel has just made this descriptor for us, and nobody else knows its number"
)]
fn owned(descriptor: RawFd) -> OwnedFd {
    // SAFETY: received by SCM_RIGHTS in this call: open, and owned by nothing else.
    unsafe { OwnedFd::from_raw_fd(descriptor) }
}
