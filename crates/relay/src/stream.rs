//! One stream of a leg: what was agreed on, the sources its peer sends from, and the stream we send to the peer.

use std::time::{Duration, Instant};

use media::dtmf::{self, KeyPress};
use media::emodel::Equipment;
use media::extension::{self, ExtensionMap};
use media::g711;
use media::rewrite::{Durations, Newcomers, Numbers, Origin, Passage, PayloadTypeMap, Rewriter, Settings};
use media::rtcp::{PictureRequests, ReportBlock, SenderInfo};
use media::rtp::{Header, RtpTime, SeqNo};
use media::statistics::{Reception, Tally};
use model::{
    Codec, Direction, MediaKind, MediaStream, PayloadType, SourceStatistics, Ssrc, StreamId, StreamStatistics,
};
use smallvec::SmallVec;

use crate::quality::{Arrival, Quality};
use crate::relay::Random;

/// Sources that a stream keeps apart; the oldest makes room.
const MAX_SOURCES: usize = 4;

/// The extension by which the packets of a bundle name their stream (RFC 8843 §15).
const MID_URI: &str = "urn:ietf:params:rtp-hdrext:sdes:mid";

/// One stream of a leg; what every packet needs stands together at the beginning.
#[derive(Debug)]
#[repr(C)]
pub(crate) struct LegStream {
    /// Which stream of the call.
    pub(crate) id: StreamId,
    kind: MediaKind,
    /// The peer may send, and we may take it.
    pub(crate) receives: bool,
    /// We may send, and the peer will take it.
    pub(crate) sends: bool,
    /// Whether the first packet from the peer was told.
    pub(crate) told_received: bool,
    /// Whether the first packet to the peer was told.
    pub(crate) told_sent: bool,
    /// The peer needs a whole picture to begin with.
    pub(crate) needs_picture: bool,
    /// Which transport of the leg carries it.
    pub(crate) transport: usize,
    /// The payload types that the peer may send, one bit each.
    payload_types: u128,
    /// Those of them that carry key presses.
    telephone_events: u128,
    /// What both sides said of it; nothing before the first answer.
    pub(crate) agreed: Option<Box<Agreed>>,
    sources: SmallVec<[Source; 1]>,
    /// What is sent to the leg's peer.
    pub(crate) rewriter: Rewriter,
    keys: Option<(PayloadType, dtmf::Receiver)>,
    /// When the peer was last asked for a picture on another's behalf.
    pub(crate) asked_at: Option<Instant>,
    /// When the peer was last seen to use our SSRC.
    pub(crate) collided_at: Option<Instant>,
    /// How good it is.
    pub(crate) quality: Quality,
    /// Packets that were sent when the report before the last was, and the last.
    reported: [u64; 2],
    past: StreamStatistics,
}

/// What both sides said of a stream, as it matters here.
#[derive(Debug)]
pub(crate) struct Agreed {
    /// Ours: the payload types that the peer sends.
    pub(crate) local: MediaStream,
    /// The peer's: the payload types that we send.
    pub(crate) remote: MediaStream,
    /// The number of the extension by which packets name their stream.
    mid_extension: Option<u8>,
    /// How the peer may be asked for a picture.
    pub(crate) pictures: PictureRequests,
    /// What the codec that the peer likes best to send does to speech.
    equipment: Option<Equipment>,
}

/// One source of a stream: its SSRC, which packets are told apart by, stands beside the figures that they change.
#[derive(Debug)]
#[repr(C)]
struct Source {
    ssrc: Ssrc,
    reception: Reception,
}

impl LegStream {
    /// Makes a stream that has nothing agreed on.
    pub(crate) fn new(id: StreamId, kind: MediaKind, transport: usize, random: &mut Random) -> Self {
        Self {
            id,
            transport,
            payload_types: 0,
            telephone_events: 0,
            agreed: None,
            rewriter: Rewriter::new(new_origin(random), nothing_passes(kind)),
            receives: false,
            sends: false,
            told_received: false,
            told_sent: false,
            needs_picture: false,
            asked_at: None,
            collided_at: None,
            quality: Quality::default(),
            reported: [0; 2],
            kind,
            sources: SmallVec::new(),
            past: no_statistics(id),
            keys: None,
        }
    }

    /// Takes what both sides said; their candidates are the transport's.
    pub(crate) fn agree(&mut self, mut local: MediaStream, mut remote: MediaStream) {
        local.path.candidates = Vec::new();
        remote.path.candidates = Vec::new();
        let set = |codecs: &mut dyn Iterator<Item = &Codec>| codecs.fold(0, |set, codec| set | bit(codec.payload_type));
        self.payload_types = set(&mut local.codecs.iter());
        self.telephone_events = set(&mut local.codecs.iter().filter(|codec| codec.is_telephone_event()));
        let mid = local.extensions.iter().find(|extension| extension.uri == MID_URI);
        let mid_extension = mid.and_then(|extension| u8::try_from(extension.id).ok());
        let pictures =
            PictureRequests { loss: has_feedback(&remote, "nack", "pli"), intra: has_feedback(&remote, "ccm", "fir") };
        let speech = local.codecs.iter().find(|codec| self.kind == MediaKind::Audio && is_sound(codec));
        let equipment = speech.map(|codec| Equipment::of(&codec.name));
        self.agreed = Some(Box::new(Agreed { local, remote, mid_extension, pictures, equipment }));
    }

    /// What silence is in the codec of a payload type that the peer sends, if each byte of it is the same.
    pub(crate) fn silence(&self, payload_type: PayloadType) -> Option<u8> {
        const G722_SILENCE: u8 = 0xFA;
        let codecs = &self.agreed.as_deref()?.local.codecs;
        let codec = codecs.iter().find(|codec| codec.payload_type == payload_type)?;
        let known = [("PCMU", g711::ULAW_SILENCE), ("PCMA", g711::ALAW_SILENCE), ("G722", G722_SILENCE)];
        known.into_iter().find(|(name, _)| codec.name.eq_ignore_ascii_case(name)).map(|(_, byte)| byte)
    }

    /// Which way media may flow, as we see it: what both sides said, narrowed by a hold.
    pub(crate) fn direction(&self, hold: Direction) -> Direction {
        self.agreed.as_deref().map_or(Direction::Inactive, |agreed| {
            agreed.local.direction.and(agreed.remote.direction.reversed()).and(hold)
        })
    }

    /// Takes what may now pass from the stream of the other leg to this one; `None` if nothing may.
    pub(crate) fn connect(&mut self, from: Option<(&Agreed, Newcomers, Numbers)>) {
        let settings = match (self.agreed.as_deref(), from) {
            (Some(agreed), Some((from, newcomers, numbers))) => {
                Settings { newcomers, numbers, ..settings(self.kind, from, agreed) }
            }
            _ => nothing_passes(self.kind),
        };
        self.rewriter.set(settings);
    }

    /// Lets media flow or stops it.
    pub(crate) fn flow(&mut self, direction: Direction) {
        self.receives = direction.receives();
        self.needs_picture |= self.kind == MediaKind::Video && direction.sends() && !self.sends;
        self.sends = direction.sends();
    }

    /// Says whether it is of pictures.
    pub(crate) fn is_video(&self) -> bool {
        self.kind == MediaKind::Video
    }

    /// Says whether the peer may send a payload type.
    pub(crate) fn knows(&self, payload_type: PayloadType) -> bool {
        self.payload_types & bit(payload_type) != 0
    }

    /// Says whether a packet names this stream in its MID extension (RFC 8843 §15).
    pub(crate) fn is_named_by(&self, header: &Header, packet: &[u8]) -> bool {
        let Some((agreed, id)) = self.agreed.as_deref().and_then(|agreed| Some((agreed, agreed.mid_extension?))) else {
            return false;
        };
        let name = header.extension().and_then(|range| extension::element(packet.get(range)?, id));
        name == Some(agreed.remote.name.as_bytes())
    }

    /// Says whether a payload type carries key presses.
    pub(crate) fn is_telephone_event(&self, payload_type: PayloadType) -> bool {
        self.telephone_events & bit(payload_type) != 0
    }

    /// The telephone-event that fits the clock of the audio we send; any, if none does.
    pub(crate) fn outgoing_telephone_event(&self) -> Option<&Codec> {
        let codecs = &self.agreed.as_deref()?.remote.codecs;
        let clock = self.rewriter.clock_rate();
        let events = || codecs.iter().filter(|codec| codec.is_telephone_event());
        events().find(|codec| codec.clock_rate == clock).or_else(|| events().next())
    }

    /// Counts a packet of the peer that is believed. Says whether it is the first of its source.
    pub(crate) fn count(&mut self, header: &Header, payload: usize, now: Instant) -> bool {
        let is_new = !self.sources.iter().any(|source| source.ssrc == header.ssrc);
        if is_new {
            self.add_source(header);
        }
        if let Some(source) = self.sources.iter_mut().find(|source| source.ssrc == header.ssrc) {
            source.reception.count(header, payload, now);
        }
        is_new
    }

    fn add_source(&mut self, header: &Header) {
        if self.sources.len() == MAX_SOURCES {
            let oldest = self.sources.remove(0);
            add_statistics(&mut self.past, &oldest.reception);
        }
        let clock_rate = self.clock_rate(header.payload_type);
        self.sources.push(Source { ssrc: header.ssrc, reception: Reception::new(header.ssrc, clock_rate) });
    }

    /// Ticks per second of a payload type that the peer sends.
    fn clock_rate(&self, payload_type: PayloadType) -> u32 {
        self.agreed
            .as_ref()
            .and_then(|agreed| agreed.local.codecs.iter().find(|codec| codec.payload_type == payload_type))
            .map_or(default_clock(self.kind), |codec| codec.clock_rate)
    }

    /// Says whether the peer sends from a source.
    pub(crate) fn has_source(&self, ssrc: Ssrc) -> bool {
        self.sources.iter().any(|source| source.ssrc == ssrc)
    }

    /// The source heard last.
    pub(crate) fn newest_source(&self) -> Option<Ssrc> {
        self.sources.last().map(|source| source.ssrc)
    }

    /// What the peer's sources are reported to have come to.
    pub(crate) fn receptions(&mut self) -> impl Iterator<Item = &mut Reception> {
        self.sources.iter_mut().map(|source| &mut source.reception)
    }

    /// How many there are.
    pub(crate) fn sources(&self) -> usize {
        self.sources.len()
    }

    /// The last sender report of a source, and when it came.
    pub(crate) fn sender_report(&self, ssrc: Ssrc) -> Option<(SenderInfo, Instant)> {
        self.sources.iter().find(|source| source.ssrc == ssrc)?.reception.sender_report()
    }

    /// Takes what the peer reports of what we send to it.
    pub(crate) fn handle_block(&mut self, block: &ReportBlock, now: Instant) {
        let clock_rate = self.rewriter.clock_rate();
        self.quality.handle_block(block, clock_rate, now);
    }

    /// Says whether anything was sent to the peer since the report before the last (RFC 3550 §6.4).
    pub(crate) fn is_sender(&self) -> bool {
        self.rewriter.sent().packets > self.reported[0]
    }

    /// Takes note that a report is made.
    pub(crate) fn mark_reported(&mut self) {
        self.reported = [self.reported[1], self.rewriter.sent().packets];
    }

    /// Bytes a second that its media may have, as the peer says or as is usual.
    pub(crate) fn bandwidth(&self) -> f64 {
        let said = self.agreed.iter().flat_map(|agreed| &agreed.remote.bandwidth).find_map(|bandwidth| {
            let bits = match bandwidth.kind.as_str() {
                "AS" => bandwidth.value.saturating_mul(1000),
                "TIAS" => bandwidth.value,
                _ => return None,
            };
            Some(bits as f64)
        });
        let usual = match self.kind {
            MediaKind::Audio => 64_000.0,
            MediaKind::Video => 512_000.0,
        };
        said.unwrap_or(usual) / 8.0
    }

    /// Begins another outgoing stream in place of the one there is.
    pub(crate) fn renew(&mut self, random: &mut Random) {
        let sent = self.rewriter.sent();
        self.past.packets_sent += sent.packets;
        self.past.bytes_sent += sent.octets;
        self.reported = [0; 2];
        self.rewriter.renew(new_origin(random));
    }

    /// What came from the peer since it was last asked.
    pub(crate) fn arrival(&mut self) -> Arrival {
        let samples = self.sources.iter_mut().map(|source| source.reception.sample());
        Arrival {
            tally: samples.fold(Tally::default(), Tally::plus),
            jitter: self.jitter(),
            equipment: self.agreed.as_deref().and_then(|agreed| agreed.equipment),
            round_trip: self.quality.round_trip(),
        }
    }

    fn jitter(&self) -> Duration {
        let ms = self.sources.last().map_or(0.0, |source| source.reception.jitter_ms());
        Duration::try_from_secs_f32(ms / 1000.0).unwrap_or_default()
    }

    /// Remembers a sender report.
    pub(crate) fn handle_sender_report(&mut self, ssrc: Ssrc, info: &SenderInfo, now: Instant) {
        if let Some(source) = self.sources.iter_mut().find(|source| source.ssrc == ssrc) {
            source.reception.handle_sender_report(info, now);
        }
    }

    /// Looks for a key press in a telephone-event packet.
    pub(crate) fn handle_key(&mut self, header: &Header, payload: &[u8], now: Instant) -> Option<KeyPress> {
        if self.keys.as_ref().is_none_or(|(payload_type, _)| *payload_type != header.payload_type) {
            let clock_rate = self.clock_rate(header.payload_type);
            self.keys = Some((header.payload_type, dtmf::Receiver::new(clock_rate)));
        }
        self.keys.as_mut()?.1.handle_packet(header, payload, now)
    }

    /// A key press whose end never came.
    pub(crate) fn handle_timeout(&mut self, now: Instant) -> Option<KeyPress> {
        self.keys.as_mut()?.1.handle_timeout(now)
    }

    /// When [`LegStream::handle_timeout`] is due.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        self.keys.as_ref()?.1.poll_timeout()
    }

    /// The figures so far, given the stream of the other leg that feeds this one.
    pub(crate) fn statistics(&self, other: Option<&Self>) -> StreamStatistics {
        let sent = self.rewriter.sent();
        let (peer_lost, peer_jitter) = match (self.quality.told(), other) {
            (Some(told), _) => (told.lost.into(), told.jitter),
            (None, Some(other)) => (other.received().packets_lost, other.jitter()),
            (None, None) => (0, Duration::ZERO),
        };
        let (received_mos, sent_mos) = self.quality.scores();
        let received = self.received();
        StreamStatistics {
            packets_sent: received.packets_sent + sent.packets,
            bytes_sent: received.bytes_sent + sent.octets,
            peer_lost,
            peer_jitter_ms: peer_jitter.as_secs_f32() * 1000.0,
            round_trip_ms: self.quality.round_trip().map(|trip| trip.as_secs_f32() * 1000.0),
            received_mos,
            sent_mos,
            sources: self.sources.iter().map(|source| source.statistics()).collect(),
            sent_ssrc: (sent.packets > 0).then(|| self.rewriter.ssrc()),
            ..received
        }
    }

    fn received(&self) -> StreamStatistics {
        let mut sum = self.past.clone();
        for source in &self.sources {
            add_statistics(&mut sum, &source.reception);
        }
        sum
    }
}

impl Source {
    fn statistics(&self) -> SourceStatistics {
        let Self { ssrc, reception } = self;
        SourceStatistics {
            ssrc: *ssrc,
            packets: reception.packets(),
            bytes: reception.octets(),
            packets_lost: reception.lost(),
            jitter_ms: reception.jitter_ms(),
            last_timestamp: reception.time().0,
            last_sequence_number: reception.highest().0,
        }
    }
}

impl Agreed {
    /// Says whether the peer understands feedback (RFC 4585).
    pub(crate) fn has_feedback(&self) -> bool {
        self.remote.path.profile.has_feedback()
            || !self.remote.feedback.is_empty()
            || self.remote.codecs.iter().any(|codec| !codec.feedback.is_empty())
    }

    /// Says whether the peer takes RTCP that is not compound (RFC 5506).
    pub(crate) const fn has_reduced_size(&self) -> bool {
        self.remote.rtcp_reduced_size && self.local.rtcp_reduced_size
    }
}

/// Says whether a description has a kind of feedback, for any codec (RFC 4585 §4.2, RFC 5104 §7.1).
fn has_feedback(stream: &MediaStream, kind: &str, subtype: &str) -> bool {
    let all = stream.feedback.iter().chain(stream.codecs.iter().flat_map(|codec| &codec.feedback));
    all.into_iter().any(|feedback| feedback.kind == kind && feedback.subtype == subtype)
}

/// Which packets of one leg's stream pass to the other's: those of formats that both know.
fn settings(kind: MediaKind, from: &Agreed, to: &Agreed) -> Settings {
    let mut payload_types = PayloadTypeMap::default();
    let mut clock_rate = None;
    for incoming in &from.local.codecs {
        if let Some(passage) = passage(incoming, &to.remote.codecs) {
            payload_types.insert_passage(incoming.payload_type, passage);
            clock_rate = clock_rate.or(passage.clock_rate);
        }
    }
    Settings {
        kind,
        clock_rate: clock_rate.unwrap_or(default_clock(kind)),
        payload_types,
        extensions: ExtensionMap::between(&from.local.extensions, &to.remote.extensions),
        ..nothing_passes(kind)
    }
}

/// How a codec of one leg passes to those of the other: as the same format, and key presses also where their durations
/// tick by another clock.
fn passage(incoming: &Codec, others: &[Codec]) -> Option<Passage> {
    let clock_rate = is_sound(incoming).then_some(incoming.clock_rate);
    let same = others.iter().find(|codec| incoming.is_same_format(codec));
    same.map(|same| Passage { outgoing: same.payload_type, clock_rate, durations: None }).or_else(|| {
        let events = others.iter().find(|codec| codec.is_telephone_event() && incoming.is_telephone_event())?;
        let durations = Durations { incoming: incoming.clock_rate, outgoing: events.clock_rate };
        Some(Passage { outgoing: events.payload_type, clock_rate, durations: Some(durations) })
    })
}

fn nothing_passes(kind: MediaKind) -> Settings {
    Settings {
        kind,
        clock_rate: default_clock(kind),
        payload_types: PayloadTypeMap::default(),
        extensions: ExtensionMap::NONE,
        newcomers: Newcomers::Welcome,
        numbers: Numbers::Ours,
    }
}

/// Random numbers to begin with (RFC 3550 §5.1, §8.1). The sequence number keeps away from its rollover, so that a
/// receiver that misses the first packets knows which side of it they are on.
fn new_origin(random: &mut Random) -> Origin {
    let mut bytes = [0; 10];
    random(&mut bytes);
    let [s0, s1, s2, s3, t0, t1, t2, t3, q0, q1] = bytes;
    Origin {
        ssrc: Ssrc(u32::from_be_bytes([s0, s1, s2, s3])),
        seq: SeqNo(u16::from_be_bytes([q0, q1]) >> 1),
        time: RtpTime(u32::from_be_bytes([t0, t1, t2, t3])),
    }
}

fn is_sound(codec: &Codec) -> bool {
    !codec.is_telephone_event() && !codec.is_comfort_noise()
}

const fn default_clock(kind: MediaKind) -> u32 {
    match kind {
        MediaKind::Audio => 8_000,
        MediaKind::Video => 90_000,
    }
}

fn bit(payload_type: PayloadType) -> u128 {
    1 << u8::from(payload_type)
}

const fn no_statistics(stream: StreamId) -> StreamStatistics {
    StreamStatistics {
        stream,
        packets_received: 0,
        bytes_received: 0,
        packets_sent: 0,
        bytes_sent: 0,
        packets_lost: 0,
        jitter_ms: 0.0,
        peer_lost: 0,
        peer_jitter_ms: 0.0,
        round_trip_ms: None,
        received_mos: None,
        sent_mos: None,
        sources: Vec::new(),
        sent_ssrc: None,
    }
}

fn add_statistics(sum: &mut StreamStatistics, source: &Reception) {
    sum.packets_received += source.packets();
    sum.bytes_received += source.octets();
    sum.packets_lost += source.lost();
    sum.jitter_ms = source.jitter_ms();
}
