//! Presence of a gateway's users, without which many clients show no call button.

use jid::Jid;

use crate::disco::Caps;
use crate::stanza::{Payload, PresenceKind, Stanza};

/// Available, with what it can do.
pub fn available(from: Jid, to: Jid, caps: &Caps) -> Stanza {
    Stanza {
        from,
        to,
        id: String::new(),
        payload: Payload::Presence { kind: PresenceKind::Available, children: vec![caps.to_element()] },
    }
}

/// Presence without children.
pub fn bare(from: Jid, to: Jid, kind: PresenceKind) -> Stanza {
    Stanza { from, to, id: String::new(), payload: Payload::Presence { kind, children: Vec::new() } }
}
