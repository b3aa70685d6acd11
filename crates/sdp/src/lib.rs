//! SDP (RFC 8866) to and from the neutral description.
//!
//! [`Session`] is what a translator holds for a leg: it keeps the order of the m-lines, which no later description may
//! change (RFC 3264 §8), and the version of the `o=` line.
//!
//! ```
//! use sdp::Session;
//!
//! let mut leg = Session::new(4711);
//! let offer = "v=0\r\no=- 1 1 IN IP4 192.0.2.1\r\ns=-\r\nc=IN IP4 192.0.2.1\r\nt=0 0\r\nm=audio 4000 RTP/AVP 8\r\n";
//! let mut description = leg.read_offer(offer)?.description;
//! assert_eq!(description.streams[0].codecs[0].name, "PCMA");
//!
//! description.streams[0].path.rtp = Some("198.51.100.1:30000".parse()?);
//! let answer = leg.write_answer(&description);
//! assert!(answer.contains("m=audio 30000 RTP/AVP 8\r\n"));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! - [`rewrite`]: a party's SDP, on its way to another, keeps all that is not ours to change
//! - [`facts`]: what an SDP says that a description cannot hold
//! - [`fragment`]: candidates that trickle
//!
//! The other modules read and write one kind of line each; the text itself is taken apart and put together by
//! `sdp-types`.

mod candidate;
mod codec;
mod crypto;
mod document;
pub mod facts;
pub mod fragment;
mod read;
pub mod rewrite;
mod write;

use std::net::{IpAddr, Ipv4Addr};

use model::{Description, MediaKind, MediaStream, StreamId};
use thiserror::Error;

use self::read::Line;
pub use self::write::{RtcpAttribute, Trickle, Wording};

/// What one SDP said, as far as the neutral description can hold it.
#[derive(Clone, Debug, PartialEq)]
pub struct Described {
    /// The streams we can carry. Those of an unsupported kind are left out and refused by the answer.
    pub description: Description,
    /// What was left out or ignored, in words for the log.
    pub losses: Vec<String>,
}

/// Why an SDP could not be used.
#[derive(Clone, Debug, Eq, Error, PartialEq)]
#[non_exhaustive]
pub enum SdpError {
    /// It is longer, or has more of something, than any honest peer needs.
    #[error("too many {0}")]
    TooLarge(&'static str),
    /// It breaks the grammar of RFC 8866.
    #[error("not SDP: {0}")]
    Syntax(String),
    /// Its m-lines are not those agreed on before (RFC 3264 §6, §8).
    #[error("m-line {index} is {found}, was {expected}")]
    MediaMismatch {
        /// Which m-line, counted from 0.
        index: usize,
        /// What had to stand there.
        expected: String,
        /// What stands there, or nothing.
        found: String,
    },
}

/// Which side of an exchange a description belongs to (RFC 3264).
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Role {
    /// It offers.
    Offer,
    /// It answers.
    Answer,
}

/// An m-line that both sides know by its index.
#[derive(Clone, Debug, Eq, PartialEq)]
struct Slot {
    /// The stream in it; `None`: a kind we do not carry.
    stream: Option<StreamId>,
    /// The first word of the m-line.
    media: String,
    /// The transport of the m-line.
    proto: String,
    /// The formats of the m-line, needed to refuse it.
    formats: String,
    /// `a=mid`, if the one who offered it gave one.
    mid: Option<String>,
}

/// One side's SDP over the life of a dialog: which m-line is which stream, and what was last written.
#[derive(Clone, Debug)]
pub struct Session {
    id: u64,
    version: u64,
    /// The address of the `o=` line, fixed by the first description written.
    address: Option<IpAddr>,
    /// The `t=` line of the last offer read; an answer repeats it (RFC 3264 §6).
    times: Vec<sdp_types::Time>,
    slots: Vec<Slot>,
    last_written: Option<String>,
}

impl Session {
    /// Starts with nothing said by either side. The number should be random; 62 bits of it go into the `o=` line.
    pub fn new(id: u64) -> Self {
        Self { id: id >> 2, version: 1, address: None, times: Vec::new(), slots: Vec::new(), last_written: None }
    }

    /// Takes the peer's offer. New m-lines of audio and video become streams with the lowest numbers above all that this
    /// session has seen; m-lines known from before keep their stream.
    ///
    /// # Errors
    ///
    /// It is not SDP, it is a bomb, or it lacks m-lines that were there before.
    pub fn read_offer(&mut self, text: &str) -> Result<Described, SdpError> {
        let read = read::read(text, Role::Offer)?;
        if let Some((index, missing)) = self.slots.iter().enumerate().nth(read.lines.len()) {
            let expected = missing.media.clone();
            return Err(SdpError::MediaMismatch { index, expected, found: "missing".to_owned() });
        }
        let mut slots = Vec::with_capacity(read.lines.len());
        let mut next = self.next_stream();
        for (index, line) in read.lines.iter().enumerate() {
            let before = self.slots.get(index).filter(|slot| slot.media.eq_ignore_ascii_case(&line.media));
            let stream = line.stream.as_ref().map(|_| {
                before.and_then(|slot| slot.stream).unwrap_or_else(|| {
                    let stream = StreamId(next);
                    next = next.saturating_add(1);
                    stream
                })
            });
            slots.push(Slot {
                stream,
                media: line.media.clone(),
                proto: line.proto.clone(),
                formats: line.formats.clone(),
                mid: line.mid.clone(),
            });
        }
        self.slots = slots;
        self.times = read.times;
        Ok(self.number(read.lines, &read.bundle, read.losses))
    }

    /// Takes the peer's answer to the offer written last. Its streams are numbered as in that offer; streams for which
    /// the answer lacks an m-line, which some phones leave out, are rejected ones.
    ///
    /// # Errors
    ///
    /// It is not SDP, it is a bomb, or an m-line is of another kind than the one it answers.
    pub fn read_answer(&mut self, text: &str) -> Result<Described, SdpError> {
        let read = read::read(text, Role::Answer)?;
        let (mut lines, mut losses) = (read.lines, read.losses);
        if lines.len() > self.slots.len() {
            losses.push(format!("{} m-lines beyond those of the offer", lines.len() - self.slots.len()));
            lines.truncate(self.slots.len());
        }
        for (index, (line, slot)) in lines.iter().zip(&self.slots).enumerate() {
            if !line.media.eq_ignore_ascii_case(&slot.media) {
                let (expected, found) = (slot.media.clone(), line.media.clone());
                return Err(SdpError::MediaMismatch { index, expected, found });
            }
        }
        for slot in self.slots.iter().skip(lines.len()) {
            losses.push(format!("the answer lacks an m-line of {}", slot.media));
            lines.push(Line::missing(&slot.media));
        }
        Ok(self.number(lines, &read.bundle, losses))
    }

    /// Which stream each m-line is; `None`: a kind that we do not carry.
    pub fn streams(&self) -> Vec<Option<StreamId>> {
        self.slots.iter().map(|slot| slot.stream).collect()
    }

    /// Writes an offer. Streams that the session knows keep their m-line, new ones get one at the end, and m-lines
    /// whose stream is not in the description any more get port 0.
    pub fn write_offer(&mut self, description: &Description) -> String {
        for stream in &description.streams {
            if !self.slots.iter().any(|slot| slot.stream == Some(stream.id)) {
                self.slots.push(Slot {
                    stream: Some(stream.id),
                    media: media_word(stream.kind).to_owned(),
                    proto: stream.path.profile.as_str().to_owned(),
                    formats: String::new(),
                    mid: None,
                });
            }
        }
        self.times.clear();
        self.name_lines(description);
        self.write(description, Role::Offer)
    }

    /// Writes the answer to the offer read last: the same m-lines in the same order. Those without a stream in the
    /// description are refused with port 0.
    pub fn write_answer(&mut self, description: &Description) -> String {
        self.write(description, Role::Answer)
    }

    /// Gives the m-lines of an offer their `a=mid`. Outside a bundle and without ICE nobody needs one, and the name
    /// of the other leg need not be a token, or unique, or from a harmless peer.
    fn name_lines(&mut self, description: &Description) {
        for (index, slot) in self.slots.iter_mut().enumerate() {
            let stream = description.streams.iter().find(|stream| slot.stream == Some(stream.id));
            let needed = stream.is_some_and(|s| s.path.ice.is_some() || description.bundle.contains(&s.id));
            if slot.mid.is_none() && needed {
                slot.mid = Some(index.to_string());
            }
        }
    }

    fn write(&mut self, description: &Description, role: Role) -> String {
        let address = *self.address.get_or_insert_with(|| {
            let first = description.streams.iter().find_map(|stream| stream.path.rtp);
            first.map_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED), |rtp| rtp.ip())
        });
        let origin = |version| sdp_types::Origin::with_ip_addr(self.id, version, address);
        let mut sdp =
            write::write(origin(self.version), &self.times, &mut self.slots, description, role, Wording::default());
        let mut text = to_text(&sdp);
        if self.last_written.as_ref().is_some_and(|last| *last != text) {
            self.version += 1;
            sdp.origin = origin(self.version);
            text = to_text(&sdp);
        }
        self.last_written = Some(text.clone());
        text
    }

    /// Puts the numbers of the slots on lines that were just read.
    fn number(&self, lines: Vec<Line>, bundle: &[String], losses: Vec<String>) -> Described {
        let streams: Vec<MediaStream> = lines
            .into_iter()
            .zip(&self.slots)
            .filter_map(|(line, slot)| Some(MediaStream { id: slot.stream?, ..line.stream? }))
            .collect();
        let bundle = bundle
            .iter()
            .filter_map(|mid| streams.iter().find(|stream| stream.name == *mid && !stream.rejected))
            .map(|stream| stream.id)
            .collect();
        Described { description: Description { streams, bundle }, losses }
    }

    fn next_stream(&self) -> u16 {
        let highest = self.slots.iter().filter_map(|slot| slot.stream).max();
        highest.map_or(0, |stream| stream.0.saturating_add(1))
    }
}

/// The first word of an m-line.
const fn media_word(kind: MediaKind) -> &'static str {
    match kind {
        MediaKind::Audio => "audio",
        MediaKind::Video => "video",
    }
}

fn to_text(sdp: &sdp_types::Session) -> String {
    let mut text = Vec::new();
    sdp.write(&mut text).expect("writing to memory cannot fail");
    String::from_utf8(text).expect("an SDP made of strings is UTF-8")
}
