//! Key presses (RFC 4733), and what stands for them where a side has no such events.
//!
//! ```text
//! client                        gateway                        phone
//!   | RTP, telephone-event          | RTP, telephone-event       |    the relay's business alone
//!   |<=============================>|<==========================>|
//!   | session-info dtmf (XEP-0181)  | INFO application/dtmf-relay |    where one side has none
//!   |<----------------------------->|<-------------------------->|
//! ```

use model::{Codec, Command, Description, DtmfDigit, LegId};
use sip::message::ToAgent;
use xmpp::jingle::Info;

use super::{Call, JINGLE, SIP, sip_leg};
use crate::outbox::{Context, Purpose};

/// A key and how long it is pressed, as phones send it since before there was a standard.
pub(super) const RELAY_TYPE: &str = "application/dtmf-relay";
/// A key alone.
pub(super) const KEY_TYPE: &str = "application/dtmf";

/// How long a key sounds where nothing is said of it, in milliseconds.
pub(super) const DURATION: u32 = 160;
/// The shortest and the longest.
const DURATIONS: [u32; 2] = [40, 5_000];

impl Call {
    /// Has the relay send a key press to a leg's peer.
    pub(super) fn press(&self, cx: &mut Context<'_>, leg: LegId, digit: DtmfDigit, duration_ms: u32) {
        let [shortest, longest] = DURATIONS;
        let duration_ms = duration_ms.clamp(shortest, longest);
        let command = Command::SendDtmf { call: self.id, leg, digit, duration_ms };
        cx.out.relay(command, Purpose::Key(leg, digit, duration_ms), cx.now);
    }

    /// Takes a key press of the XMPP side. One that is told twice, as it goes down and up, is one.
    pub(super) fn take_key(
        &mut self,
        cx: &mut Context<'_>,
        digit: DtmfDigit,
        down: Option<bool>,
        duration_ms: Option<u32>,
    ) {
        let was_down = self.jingle.key_down.take() == Some(digit);
        if down == Some(true) {
            self.jingle.key_down = Some(digit);
        }
        if !(was_down && down == Some(false)) {
            self.press(cx, SIP, digit, duration_ms.unwrap_or(DURATION));
        }
    }

    /// Passes on a key that was pressed in the media of one leg, where the other has no such media.
    pub(super) fn pass_key(&self, cx: &mut Context<'_>, of: LegId, digit: DtmfDigit, duration_ms: u32) {
        let (to, agreed) = match of {
            JINGLE => (SIP, self.sip.remote.as_ref()),
            _ => (JINGLE, Some(&self.jingle.agreed)),
        };
        if !agreed.is_some_and(has_telephone_event) {
            self.tell_key(cx, to, digit, duration_ms);
        }
    }

    /// Tells a leg's peer of a key press by its signalling.
    pub(super) fn tell_key(&self, cx: &mut Context<'_>, leg: LegId, digit: DtmfDigit, duration_ms: u32) {
        if leg == JINGLE {
            let info = Info::Dtmf { digit, down: Some(false), duration_ms: Some(duration_ms) };
            self.jingle.inform(cx, info);
        } else if self.sip.phase == sip_leg::Phase::Answered {
            let body = format!("Signal={}\r\nDuration={duration_ms}\r\n", char::from(digit));
            cx.out.sip(ToAgent::Info { dialog: self.sip.dialog, content_type: RELAY_TYPE.to_owned(), body });
        }
    }
}

fn has_telephone_event(description: &Description) -> bool {
    let streams = description.streams.iter().filter(|stream| !stream.rejected);
    streams.flat_map(|stream| &stream.codecs).any(Codec::is_telephone_event)
}

/// Reads `Signal=5` and `Duration=160`, one to a line.
pub(super) fn parse_relay(text: &str) -> Option<(DtmfDigit, u32)> {
    let value = |name: &str| {
        let mut lines = text.split(['\r', '\n']).filter_map(|line| line.split_once('='));
        lines.find(|(key, _)| key.trim().eq_ignore_ascii_case(name)).map(|(_, value)| value.trim())
    };
    let duration = value("Duration").and_then(|duration| duration.parse().ok()).unwrap_or(DURATION);
    Some((parse_key(value("Signal")?)?, duration))
}

/// Reads a key that stands alone.
pub(super) fn parse_key(text: &str) -> Option<DtmfDigit> {
    let mut characters = text.trim().chars();
    let (key, None) = (characters.next()?, characters.next()) else { return None };
    DtmfDigit::try_from(key).ok()
}
