//! What follows from a NOTIFICATION, sent or received: when the next attempt is made.

use crate::event::State;
use bgp_wire::{Cease, FsmError, Notification, OpenError};

/// When the next attempt is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// As after any broken connection.
    Retry,
    /// After the error wait.
    Wait,
    /// Soon, and without optional parameters (RFC 5492 §3).
    WithoutCapabilities,
}

/// After one we sent: errors are waited out, decisions of ours are not.
pub(crate) fn on_sent(notification: &Notification) -> Verdict {
    let ours = [Cease::AdministrativeReset, Cease::OtherConfigurationChange, Cease::Collision];
    if ours.into_iter().any(|reason| notification.is_cease(reason)) { Verdict::Retry } else { Verdict::Wait }
}

/// After one we received. A Cease is the other side's decision about its own state, and it knows best when it will have
/// us again, unless we were too much for it.
pub(crate) fn on_received(notification: &Notification) -> Verdict {
    let inside = notification.inside_hard_reset();
    let said = inside.as_ref().unwrap_or(notification);
    if said.is_cease(Cease::MaxPrefixes) || said.is_cease(Cease::OutOfResources) {
        Verdict::Wait
    } else if said.code == Notification::cease(Cease::Unspecific).code {
        Verdict::Retry
    } else if *said == Notification::open(OpenError::UnsupportedParameter, said.data.clone()) {
        Verdict::WithoutCapabilities
    } else {
        Verdict::Wait
    }
}

/// What is said of a message that does not belong into this state (RFC 6608).
pub(crate) fn unexpected_message(state: State) -> Notification {
    Notification::fsm(match state {
        State::OpenSent => FsmError::InOpenSent,
        State::OpenConfirm => FsmError::InOpenConfirm,
        State::Established => FsmError::InEstablished,
        State::Idle | State::Active | State::Connect => FsmError::Unspecific,
    })
}
