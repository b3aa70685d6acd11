//! The narrow waist of stox: the plain values in which the signalling translator and the packet relay talk.
//!
//! Neither side knows the other. The translator turns Jingle or SDP into a [`Description`] and sends the relay a
//! [`Command`]; the relay answers with a [`Reply`] or a [`CommandError`], and tells its news as an [`Event`]. All of
//! them serialise, so that the same channel can later run between machines. Nothing here does I/O, reads a clock, or
//! knows a wire format.
//!
//! ```
//! use model::{CallId, Command, LegId, LegPolicy, Request, RequestId, ToRelay};
//!
//! let call = CallId::from(7);
//! let create = Command::CreateCall {
//!     call,
//!     legs: vec![LegPolicy::jingle(LegId(0)), LegPolicy::plain_sip(LegId(1))],
//! };
//! let message = ToRelay::Command(Request { id: RequestId(1), command: create });
//! assert!(serde_json::to_string(&message).is_ok());
//! ```
//!
//! - [`id`]: calls, legs, streams, requests
//! - [`description`]: what a leg offers or answers: streams, codecs, directions
//! - [`path`]: how bytes reach a leg: candidates, fingerprints, keys
//! - [`rtp`]: the few numbers of RTP that signalling names
//! - [`command`]: what the relay can be told, and what it answers
//! - [`event`]: what the relay tells
//! - [`secret`]: values that no log may show

pub mod command;
pub mod description;
pub mod event;
pub mod id;
pub mod path;
pub mod rtp;
pub mod secret;

pub use command::{
    AddressFamily, Command, CommandError, DtmfDigit, FromRelay, IceRole, Learning, LegPolicy, Mute, Numbering,
    PathPolicy, Reply, Reporting, Request, RequestId, RestartedPath, Security, ToRelay,
};
pub use description::{
    Bandwidth, Codec, Description, Direction, Feedback, HeaderExtension, MediaKind, MediaStream, Parameter,
};
pub use event::{
    CallStatistics, DtlsState, Event, FingerprintVerdict, IceState, LegStatistics, Mos, News, SourceStatistics,
    StreamStatistics, Way,
};
pub use id::{CallId, LegId, StreamId};
pub use path::{
    Candidate, CandidateKind, Component, Crypto, DtlsParameters, Fingerprint, HashFunction, IceParameters, Lifetime,
    MediaPath, Profile, Setup, SrtpSuite, Surroundings,
};
pub use rtp::{PayloadType, PayloadTypeError, Ssrc};
pub use secret::Secret;
