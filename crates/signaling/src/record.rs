//! What is put on record of a call, once it is over and the relay has told its figures.

use std::time::Instant;

use model::{CallId, Description, LegId, LegStatistics, MediaKind, StreamId, StreamStatistics};
use xmpp::jingle::ReasonCondition;

use crate::call::{JINGLE, SIP};

/// Things that one side said and the other did not hear, of a call; further ones are only counted.
const MAX_LEFT_OUT: usize = 32;
/// The longest of them, in characters: a peer may have written what it likes.
const MAX_LEFT_OUT_LENGTH: usize = 200;

/// A call that is over.
#[derive(Clone, Debug, PartialEq)]
pub struct Record {
    /// The call.
    pub call: CallId,
    /// Who called.
    pub caller: Party,
    /// When the call began.
    pub started: Instant,
    /// When it was first heard to ring.
    pub rang: Option<Instant>,
    /// When both sides had answered.
    pub answered: Option<Instant>,
    /// When it ended.
    pub ended: Instant,
    /// Who ended it.
    pub ended_by: Party,
    /// Why, in the word of the XMPP side.
    pub reason: ReasonCondition,
    /// In words.
    pub text: Option<String>,
    /// The final response of the SIP side, or to it, where the call was not answered.
    pub sip_status: Option<u16>,
    /// The cause for the SIP side (ITU-T Q.850).
    pub cause: u16,
    /// The user on the XMPP side: its device where one was reached, else the bare JID.
    pub xmpp_user: String,
    /// Who the other one is to it.
    pub gateway_user: String,
    /// The id of the Jingle session.
    pub session: String,
    /// The trunk of the SIP side.
    pub trunk: Option<String>,
    /// The From URI.
    pub from: String,
    /// The Request-URI.
    pub to: String,
    /// The SIP Call-ID, of calls from SIP.
    pub sip_call_id: Option<String>,
    /// The leg of the XMPP side.
    pub xmpp: LegRecord,
    /// The leg of the SIP side.
    pub sip: LegRecord,
    /// What one side said and the other did not hear.
    pub left_out: LeftOut,
}

/// One that may call, or end a call.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Party {
    /// The XMPP side.
    Xmpp,
    /// The SIP side.
    Sip,
    /// The gateway.
    Gateway,
}

/// A leg of a call that is over.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct LegRecord {
    /// Its path was ICE.
    pub ice: bool,
    /// The relay's figures, if it told them.
    pub figures: Option<LegStatistics>,
    /// Its streams.
    pub streams: Vec<StreamRecord>,
}

/// A stream of a leg.
#[derive(Clone, Debug, PartialEq)]
pub struct StreamRecord {
    /// The stream.
    pub id: StreamId,
    /// What it carries.
    pub kind: MediaKind,
    /// The formats that both had at last, as `opus/48000/2`.
    pub codecs: Vec<String>,
}

/// What one side said and the other did not hear.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct LeftOut {
    /// The first of it, each once, with the side that said it.
    pub first: Vec<String>,
    /// How many more there were.
    pub more: usize,
}

impl LegRecord {
    /// A leg as it was described last, by the peer and by us.
    pub(crate) fn of(remote: &Description, local: &Description) -> Self {
        let common = |stream: &model::MediaStream| {
            let ours = local.streams.iter().find(|own| own.id == stream.id && !own.rejected)?;
            let is_ours = |codec: &&model::Codec| ours.codecs.iter().any(|own| own.is_same_format(codec));
            let codecs = stream.codecs.iter().filter(is_ours).map(written).collect();
            Some(StreamRecord { id: stream.id, kind: stream.kind, codecs })
        };
        let streams = remote.streams.iter().filter(|stream| !stream.rejected).filter_map(common).collect();
        let ice = remote.streams.iter().any(|stream| stream.path.ice.is_some());
        Self { ice, figures: None, streams }
    }

    /// The figures of one of its streams.
    pub fn stream_figures(&self, id: StreamId) -> Option<&StreamStatistics> {
        self.figures.as_ref()?.streams.iter().find(|stream| stream.stream == id)
    }
}

fn written(codec: &model::Codec) -> String {
    match codec.channels {
        0 | 1 => format!("{}/{}", codec.name, codec.clock_rate),
        channels => format!("{}/{}/{channels}", codec.name, codec.clock_rate),
    }
}

impl Record {
    /// Takes the relay's figures.
    pub(crate) fn take(&mut self, figures: Vec<LegStatistics>) {
        for leg in figures {
            let record = match leg.leg {
                JINGLE => &mut self.xmpp,
                SIP => &mut self.sip,
                LegId(_) => continue, // a call of ours has no other
            };
            record.figures = Some(leg);
        }
    }
}

impl LeftOut {
    /// Notes what a side said in vain.
    pub(crate) fn note(&mut self, side: &str, losses: &[String]) {
        for loss in losses {
            let loss: String = format!("{side}: {loss}").chars().take(MAX_LEFT_OUT_LENGTH).collect();
            if self.first.contains(&loss) {
                continue;
            }
            if self.first.len() < MAX_LEFT_OUT { self.first.push(loss) } else { self.more += 1 }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_left_out_is_bounded() {
        let mut left_out = LeftOut::default();
        left_out.note("SIP", &["a".into(), "b".into(), "a".into()]);
        assert_eq!(left_out, LeftOut { first: vec!["SIP: a".into(), "SIP: b".into()], more: 0 });
        let many: Vec<_> = (0..MAX_LEFT_OUT).map(|number| number.to_string()).collect();
        left_out.note("XMPP", &many);
        assert_eq!((left_out.first.len(), left_out.more), (MAX_LEFT_OUT, 2));
        let mut left_out = LeftOut::default();
        left_out.note("SIP", &["ü".repeat(1_000)]);
        assert_eq!(left_out.first[0].chars().count(), MAX_LEFT_OUT_LENGTH);
    }
}
