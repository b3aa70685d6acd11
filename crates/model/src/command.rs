//! What the relay can be told, and what it answers.
//!
//! A leg is negotiated like an RFC 3264 endpoint. Towards a leg whose peer offers: [`Command::RemoteOffer`], then
//! [`Command::LocalAnswer`]. Towards a leg to which we offer: [`Command::LocalOffer`], then [`Command::RemoteAnswer`].
//! The same four commands change a running call. The translator chooses streams, codecs and directions; the relay
//! fills in and understands the paths. Media flows between two streams of equal [`StreamId`] on the two legs of a
//! call as soon as both legs have an answer.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::{
    CallId, CallStatistics, Candidate, Description, Direction, Event, HashFunction, IceParameters, LegId, SrtpSuite,
    StreamId,
};

/// Everything that travels to a relay.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub enum ToRelay {
    /// Do this, and say how it went.
    Command(Request),
}

/// Everything that comes from a relay.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub enum FromRelay {
    /// The one answer to a request.
    Reply {
        /// Which request.
        id: RequestId,
        /// How it went.
        outcome: Result<Reply, CommandError>,
    },
    /// News that nobody asked for.
    Event(Event),
}

/// Ties a reply to its command; chosen by whoever sends the command.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize)]
pub struct RequestId(pub u64);

/// A command with the number its reply will carry.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct Request {
    /// The number.
    pub id: RequestId,
    /// The command.
    pub command: Command,
}

/// What the relay can be told.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub enum Command {
    /// Makes a call with the legs it will have. Nothing is allocated for a leg before its first description.
    CreateCall {
        /// A number not in use.
        call: CallId,
        /// What is expected of each leg.
        legs: Vec<LegPolicy>,
    },
    /// Takes the peer's offer on a leg, or another one instead of the last. Answered by [`Reply::Done`]; an offer the
    /// policy forbids is an error.
    RemoteOffer {
        /// The call.
        call: CallId,
        /// The leg whose peer offers.
        leg: LegId,
        /// What it offers.
        offer: Description,
    },
    /// Answers the peer's offer on a leg. Answered by [`Reply::Local`]: the given answer with every path filled in.
    LocalAnswer {
        /// The call.
        call: CallId,
        /// The leg whose peer offered.
        leg: LegId,
        /// Streams, codecs and directions of the answer; paths are ignored.
        answer: Description,
    },
    /// Offers on a leg. Answered by [`Reply::Local`]: the given offer with every path filled in. Another offer before the
    /// answer takes the place of the first, and the streams in both keep their ports.
    LocalOffer {
        /// The call.
        call: CallId,
        /// The leg to which we offer.
        leg: LegId,
        /// Streams, codecs and directions of the offer; paths are ignored.
        offer: Description,
    },
    /// Takes the peer's answer to our offer. Answered by [`Reply::Done`]. A second answer to the same offer replaces
    /// the first (a provisional SDP that the final response changed).
    RemoteAnswer {
        /// The call.
        call: CallId,
        /// The leg whose peer answers.
        leg: LegId,
        /// What it answers.
        answer: Description,
    },
    /// Has the next exchange on a leg be with somebody else (a transfer), offers and answers as ever: on transports of its
    /// own, with keys of their own. The peer stays until it is agreed on, and if it is given up. Answered by
    /// [`Reply::Done`].
    Renew {
        /// The call.
        call: CallId,
        /// The leg.
        leg: LegId,
    },
    /// Gives up the offer that is outstanding on a leg, ours or the peer's; the leg stays as it was before.
    Rollback {
        /// The call.
        call: CallId,
        /// The leg.
        leg: LegId,
    },
    /// Adds trickled candidates of the peer (RFC 8838). Answered by [`Reply::Done`].
    AddCandidates {
        /// The call.
        call: CallId,
        /// The leg whose peer trickles.
        leg: LegId,
        /// The stream they are for; those of a bundle may name any of its streams.
        stream: StreamId,
        /// The fragment they belong to; of another generation they are dropped.
        ufrag: Option<String>,
        /// The candidates.
        candidates: Vec<Candidate>,
        /// No more will follow.
        end_of_candidates: bool,
    },
    /// Restarts ICE on a leg (RFC 8445 §9). With `remote` set the peer has begun, and the reply answers it; without, we
    /// begin. Answered by [`Reply::Restarted`]. DTLS and SRTP go on.
    RestartIce {
        /// The call.
        call: CallId,
        /// The leg.
        leg: LegId,
        /// The stream whose transport restarts, and with it all of its bundle; every transport of the leg without.
        stream: Option<StreamId>,
        /// The peer's new credentials, if it began or has answered.
        remote: Option<IceParameters>,
    },
    /// Stops or lets go what flows on a leg, without a new description. Answered by [`Reply::Done`].
    Hold {
        /// The call.
        call: CallId,
        /// The leg.
        leg: LegId,
        /// Which way media may flow, as the relay sees it: it sends towards the leg, it receives from it.
        direction: Direction,
    },
    /// Keeps parts of what a leg's peer sends from the other leg, until told otherwise. Answered by [`Reply::Done`].
    Mute {
        /// The call.
        call: CallId,
        /// The leg whose peer is not to be heard.
        leg: LegId,
        /// Which parts; none of them lets it be heard again.
        mute: Mute,
    },
    /// Ends one stream on both legs and frees its ports. Answered by [`Reply::Done`].
    RemoveStream {
        /// The call.
        call: CallId,
        /// The stream.
        stream: StreamId,
    },
    /// Sends a key press as RFC 4733 events towards a leg's peer. Answered by [`Reply::Done`].
    SendDtmf {
        /// The call.
        call: CallId,
        /// The leg that is to hear it.
        leg: LegId,
        /// The key.
        digit: DtmfDigit,
        /// How long it is pressed, in milliseconds.
        duration_ms: u32,
    },
    /// Asks a leg's peer for a whole picture, by RTCP as negotiated with it (RFC 4585 §6.3.1, RFC 5104 §4.3.1); where
    /// nothing was, [`News::PictureRequested`](crate::News::PictureRequested) follows. Answered by [`Reply::Done`].
    RequestPicture {
        /// The call.
        call: CallId,
        /// The leg whose peer is to send it.
        leg: LegId,
        /// Of which stream; of all its video without.
        stream: Option<StreamId>,
    },
    /// Asks for the figures of a call. Answered by [`Reply::Statistics`].
    Query {
        /// The call.
        call: CallId,
    },
    /// Ends a call and frees everything it held. Answered by [`Reply::Statistics`], its last figures.
    End {
        /// The call.
        call: CallId,
    },
}

impl Command {
    /// The call it is about.
    pub const fn call(&self) -> CallId {
        match self {
            Self::CreateCall { call, .. }
            | Self::RemoteOffer { call, .. }
            | Self::LocalAnswer { call, .. }
            | Self::LocalOffer { call, .. }
            | Self::RemoteAnswer { call, .. }
            | Self::Renew { call, .. }
            | Self::Rollback { call, .. }
            | Self::AddCandidates { call, .. }
            | Self::RestartIce { call, .. }
            | Self::Hold { call, .. }
            | Self::Mute { call, .. }
            | Self::RemoveStream { call, .. }
            | Self::SendDtmf { call, .. }
            | Self::RequestPicture { call, .. }
            | Self::Query { call }
            | Self::End { call } => *call,
        }
    }
}

/// What of a leg's media does not reach the other leg, although packets flow.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub struct Mute {
    /// Its sound: G.711 and G.722 become silence (RFC 3551 §4.5), packets of other codecs are left out. Pictures are too.
    pub sound: bool,
    /// Its key presses (RFC 4733) are left out. They are told all the same.
    pub key_presses: bool,
}

/// What is expected of a leg, fixed when the call is made.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct LegPolicy {
    /// The leg.
    pub leg: LegId,
    /// How its peer is reached.
    pub path: PathPolicy,
    /// The address that the peer's signalling comes from, if it is known. The peer has named it by using it, so where
    /// there is no ICE its media may come from there too, from the signalled port (baresip announces the address of its
    /// default route, and sends from the one that is nearest). A description may know another.
    pub sender: Option<IpAddr>,
    /// What protects its media, best first. We offer the first; we accept any of them from the peer, and nothing else.
    pub security: Vec<Security>,
    /// We offer all of `security` that can stand together in one description, and the answer chooses.
    #[serde(default)]
    pub offers_all: bool,
    /// In DTLS we are the server where the peer leaves that to us; otherwise the client (RFC 5763 §5).
    #[serde(default)]
    pub dtls_server: bool,
    /// The hash function of our fingerprint; otherwise that of the peer's, or SHA-256.
    #[serde(default)]
    pub fingerprint: Option<HashFunction>,
    /// The suites for DTLS and SDES, best first.
    pub suites: Vec<SrtpSuite>,
    /// The tags of the suites in an offer (RFC 4568 §9.1), each another; otherwise they are numbered from 1 on.
    #[serde(default)]
    pub suite_tags: Vec<u32>,
    /// We offer `rtcp-mux`, and take it where it is offered.
    pub rtcp_mux: bool,
    /// What we offer has no port of its own for RTCP, whatever the answer says of that (RFC 8858).
    #[serde(default)]
    pub rtcp_mux_only: bool,
    /// How the address of a peer that declines ICE is learnt.
    #[serde(default)]
    pub without_ice: Learning,
    /// Only addresses of this name are used, where the relay has named ones.
    pub address: Option<String>,
    /// The family of the address that the peer is told first; otherwise that of `sender`, or any.
    #[serde(default)]
    pub family: Option<AddressFamily>,
    /// The octet in the Type of Service or Traffic Class field of what its peer is sent (RFC 2474), where it is not that
    /// of the relay. What leaves by a port that legs share bears the relay's.
    #[serde(default)]
    pub traffic_class: Option<u8>,
    /// By whose numbers its peer knows what it is sent.
    #[serde(default)]
    pub numbering: Numbering,
    /// Who reports to its peer by RTCP. If the relay does so on one leg of a call, it does on both.
    #[serde(default)]
    pub reporting: Reporting,
    /// An SDES key is taken also where the peer asks for RTCP in clear with it (RFC 4568 §6.3.2). We never ask for it.
    #[serde(default)]
    pub unencrypted_srtcp: bool,
}

/// A version of IP.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub enum AddressFamily {
    /// IPv4.
    Ipv4,
    /// IPv6.
    Ipv6,
}

impl AddressFamily {
    /// The family of an address.
    pub const fn of(address: IpAddr) -> Self {
        if address.is_ipv4() { Self::Ipv4 } else { Self::Ipv6 }
    }
}

/// By whose numbers a leg's peer knows what it is sent: SSRCs, sequence numbers, timestamps.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub enum Numbering {
    /// Ours, which go on whatever happens to the other leg (RFC 3550 §7.1).
    #[default]
    Relay,
    /// Those of the other leg's peer, whose descriptions speak of them (RFC 5576): each of its sources passes as it is
    /// numbered, as long as nothing is left out of it and nothing put in.
    Source,
}

/// Who reports to a leg's peer by RTCP.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub enum Reporting {
    /// The other leg's peer, in our words (RFC 3550 §7.2); we only where it is silent.
    #[default]
    Translated,
    /// We, to both sides: what the peers report ends here (RFC 8079 §3.3). Feedback that an encoder has to heed passes.
    Terminated,
}

impl LegPolicy {
    /// The usual Jingle leg: full ICE and DTLS-SRTP, RTP and RTCP on one port.
    pub fn jingle(leg: LegId) -> Self {
        Self {
            path: PathPolicy::Ice { role: IceRole::Offerer, required: true },
            security: vec![Security::Dtls],
            rtcp_mux: true,
            ..Self::plain_sip(leg)
        }
    }

    /// The usual SIP leg: plain RTP to the address the peer named, RTCP on a port of its own.
    pub fn plain_sip(leg: LegId) -> Self {
        Self {
            leg,
            path: PathPolicy::Plain { learning: Learning::Off },
            sender: None,
            security: vec![Security::Rtp],
            offers_all: false,
            dtls_server: false,
            fingerprint: None,
            suites: SrtpSuite::USUAL.to_vec(),
            suite_tags: Vec::new(),
            rtcp_mux: false,
            rtcp_mux_only: false,
            without_ice: Learning::Off,
            address: None,
            family: None,
            traffic_class: None,
            numbering: Numbering::Relay,
            reporting: Reporting::Translated,
            unencrypted_srtcp: false,
        }
    }
}

/// How a leg's peer is reached.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub enum PathPolicy {
    /// By ICE. Not required: a peer that answers without candidates is reached at its signalled address.
    Ice {
        /// Who controls.
        role: IceRole,
        /// A peer without ICE is refused.
        required: bool,
    },
    /// At the address the peer named.
    Plain {
        /// Whether another source than the named one may be learnt.
        learning: Learning,
    },
}

/// Who controls an ICE session.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub enum IceRole {
    /// The offerer of the leg's first offer controls (RFC 8445 §6.1.1); a lite peer is always controlled.
    Offerer,
    /// We control.
    Controlling,
    /// We are controlled.
    Controlled,
}

/// Whether a source other than the signalled one is believed on a leg without ICE (RFC 4961, RFC 7362).
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub enum Learning {
    /// Only the signalled port of the signalled address, or of the address that the signalling comes from.
    #[default]
    Off,
    /// Any port of those addresses, once per description.
    SignalledAddress,
    /// Any source, once per description, by three packets in a row of one SSRC and a negotiated payload type, within
    /// five seconds of the answer.
    Any,
    /// The source of the first packet of a negotiated payload type, once per description.
    First,
    /// Within three seconds of the first packet the source that is most like the signalled one: by address and port, by
    /// address, by port, not at all. Until then the most like so far is believed, and no other.
    Best,
    /// The source of the first packet that comes more than three seconds after the first one; until then all are believed.
    Settled,
}

/// What protects the media of a leg.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Hash, PartialEq, Serialize)]
pub enum Security {
    /// Nothing: plain RTP.
    Rtp,
    /// SRTP with keys in the description (RFC 4568).
    Sdes,
    /// SRTP with keys from DTLS (RFC 5763).
    Dtls,
}

/// A key of a telephone (RFC 4733 §3.2): `0`-`9`, `*`, `#`, `A`-`D`.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Hash, PartialEq, Serialize)]
#[serde(try_from = "char", into = "char")]
pub struct DtmfDigit(u8);

impl DtmfDigit {
    const KEYS: &'static [u8; 16] = b"0123456789*#ABCD";

    /// The key of an event code, 0 to 15.
    pub const fn from_event(event: u8) -> Option<Self> {
        if event < 16 { Some(Self(event)) } else { None }
    }

    /// The event code.
    pub const fn event(self) -> u8 {
        self.0
    }
}

impl TryFrom<char> for DtmfDigit {
    type Error = &'static str;

    fn try_from(key: char) -> Result<Self, Self::Error> {
        Self::KEYS
            .iter()
            .position(|known| char::from(*known) == key.to_ascii_uppercase())
            .and_then(|event| u8::try_from(event).ok())
            .map(Self)
            .ok_or("not a key of a telephone")
    }
}

impl From<DtmfDigit> for char {
    fn from(digit: DtmfDigit) -> Self {
        char::from(DtmfDigit::KEYS[usize::from(digit.0)])
    }
}

/// What the relay answers when a command went well.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub enum Reply {
    /// Nothing to add.
    Done,
    /// Our offer or answer, ready to be written to the peer.
    Local(Description),
    /// Our new credentials and candidates after an ICE restart, one row per stream that has a transport of its own.
    Restarted(Vec<RestartedPath>),
    /// The figures asked for.
    Statistics(CallStatistics),
}

/// A stream's new credentials after an ICE restart.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct RestartedPath {
    /// The stream; of a bundle the first.
    pub stream: StreamId,
    /// Our credentials.
    pub ice: IceParameters,
    /// Our candidates, with their new generation.
    pub candidates: Vec<Candidate>,
}

/// Why a command could not be carried out. The call stays as it was before the command.
#[derive(Clone, Debug, Deserialize, Eq, Error, PartialEq, Serialize)]
#[non_exhaustive]
pub enum CommandError {
    /// There is no such call: our own mistake, or it has ended meanwhile.
    #[error("no such call")]
    UnknownCall,
    /// A call of that number exists.
    #[error("call exists already")]
    CallExists,
    /// A call has two legs of different numbers: our own mistake.
    #[error("a call has two legs")]
    BadLegs,
    /// The call has no such leg.
    #[error("no such leg")]
    UnknownLeg,
    /// The leg has no such stream.
    #[error("no such stream")]
    UnknownStream,
    /// An answer without an offer, or an offer while the other side's waits for its answer.
    #[error("offer and answer out of order")]
    OutOfOrder,
    /// An answer whose streams are not those of the offer.
    #[error("answer does not fit the offer")]
    AnswerMismatch,
    /// The peer offers or answers less than the leg's policy asks for: plain RTP where SRTP is required.
    #[error("media would not be protected as the policy asks")]
    SecurityRequired,
    /// The peer's keys or fingerprints cannot be used.
    #[error("no usable key or fingerprint")]
    NoUsableKey,
    /// A setup role that cannot be: `actpass` in an answer, or both sides the same (RFC 8842 §5.3).
    #[error("setup role not possible here")]
    BadSetup,
    /// The leg needs ICE and the peer has none.
    #[error("peer has no ICE")]
    IceRequired,
    /// The peer named no address of a family we have, or one we must not send to.
    #[error("no usable address")]
    NoUsableAddress,
    /// All ports are in use, or rest from their last call.
    #[error("no free port")]
    NoFreePort,
    /// The relay's process, or the machine, has as many files open as it may.
    #[error("too many open files")]
    NoFreeDescriptor,
    /// The machine has no memory for another socket.
    #[error("no memory for a socket")]
    NoMemory,
    /// The machine refuses a socket for a reason of its own.
    #[error("no socket")]
    NoSocket,
    /// The leg, or the relay, has as many streams as it is allowed.
    #[error("too many streams")]
    TooManyStreams,
    /// The relay has as many calls as it is allowed.
    #[error("too many calls")]
    TooManyCalls,
    /// The codec has no telephone events on that leg.
    #[error("leg has no telephone-event")]
    NoTelephoneEvent,
    /// More commands are waiting than the relay will hold; the command was not looked at.
    #[error("relay is overloaded")]
    Overloaded,
    /// The relay is going down.
    #[error("relay is stopping")]
    Stopping,
}
