//! A tone as PCMU out, and an ear for what comes in.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use media::rtcp::{RtcpError, SenderInfo, Walk, Writer};
use media::rtp::{Header, RtpTime, SeqNo};
use media::statistics::Reception;
use media::tone::{self, Tone};
use media::{g711, rtp};
use model::{PayloadType, Ssrc};

/// Samples per second of PCMU, which are also the ticks of its timestamps (RFC 3551 §4.5.14).
const RATE: u32 = 8000;
/// Milliseconds of a packet.
const PTIME: Duration = Duration::from_millis(20);
/// Samples of a packet.
const SAMPLES: u32 = 160;
/// How often reports are sent.
const REPORT_EVERY: Duration = Duration::from_secs(2);
/// Samples that are listened to: a fifth of a second.
const WINDOW: usize = 1600;
/// How long a tone is remembered after its last packet.
const MEMORY: Duration = Duration::from_millis(500);

/// Loud, but not so loud that it clips.
const AMPLITUDE: i16 = 12_000;

/// One end of a stream of sound.
#[derive(Debug)]
pub(super) struct Voice {
    tone: Tone,
    ssrc: Ssrc,
    seq: SeqNo,
    time: RtpTime,
    sent: u64,
    began: Instant,
    /// What the peer takes PCMU under, once it is known, and when the next packet and report are due.
    talking: Option<Talking>,
    /// Reports go on, but nothing is played.
    muted: bool,
    /// What we take PCMU under.
    receives: Option<PayloadType>,
    /// What is known of the source that is heard.
    reception: Option<(Ssrc, Reception)>,
    heard: VecDeque<i16>,
    heard_at: Instant,
}

#[derive(Clone, Copy, Debug)]
struct Talking {
    payload_type: PayloadType,
    next_packet: Instant,
    next_report: Instant,
}

impl Voice {
    /// Makes a silent voice that will play a tone of `frequency` hertz.
    pub(super) fn new(frequency: f32, random: [u8; 8], now: Instant) -> Self {
        let [a, b, c, d, e, f, ..] = random;
        Self {
            tone: Tone::new(frequency, RATE, AMPLITUDE),
            ssrc: Ssrc(u32::from_be_bytes([a, b, c, d])),
            seq: SeqNo(u16::from_be_bytes([e & 0x7F, f])), // below 2^15, so that no receiver guesses the rollover wrong
            time: RtpTime(u32::from_be_bytes([c, d, a, b])),
            sent: 0,
            began: now,
            talking: None,
            muted: false,
            receives: None,
            reception: None,
            heard: VecDeque::with_capacity(WINDOW),
            heard_at: now,
        }
    }

    /// Takes PCMU under this payload type.
    pub(super) const fn listen(&mut self, payload_type: PayloadType) {
        self.receives = Some(payload_type);
    }

    /// Begins to play, or goes on under another payload type.
    pub(super) fn talk(&mut self, payload_type: PayloadType, now: Instant) {
        let fresh = Talking { payload_type, next_packet: now, next_report: now + REPORT_EVERY };
        self.talking = Some(Talking { payload_type, ..self.talking.unwrap_or(fresh) });
    }

    /// Plays or, on hold, does not.
    pub(super) const fn mute(&mut self, muted: bool) {
        self.muted = muted;
    }

    /// When [`Self::packet`] or [`Self::report`] is due.
    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        self.talking.map(|talking| talking.next_packet.min(talking.next_report))
    }

    /// Writes the next packet of the tone, if it is due. Returns its length.
    pub(super) fn packet(&mut self, buffer: &mut [u8], now: Instant) -> Option<usize> {
        let talking = self.talking.as_mut().filter(|talking| talking.next_packet <= now)?;
        talking.next_packet += PTIME;
        if talking.next_packet <= now {
            talking.next_packet = now + PTIME; // it was held up: go on from here
        }
        if self.muted {
            self.time = RtpTime(self.time.0.wrapping_add(SAMPLES));
            return None;
        }
        let header = Header::new(talking.payload_type, self.seq, self.time, self.ssrc);
        header.write(buffer).ok()?;
        let payload = rtp::FIXED_HEADER..rtp::FIXED_HEADER + SAMPLES as usize;
        for (byte, sample) in buffer.get_mut(payload.clone())?.iter_mut().zip(&mut self.tone) {
            *byte = g711::encode_ulaw(sample);
        }
        self.seq = SeqNo(self.seq.0.wrapping_add(1));
        self.time = RtpTime(self.time.0.wrapping_add(SAMPLES));
        self.sent += 1;
        Some(payload.end)
    }

    /// Writes a report on what was sent and received, if it is due. Returns its length.
    pub(super) fn report(&mut self, buffer: &mut [u8], now: Instant) -> Option<usize> {
        let talking = self.talking.as_mut().filter(|talking| talking.next_report <= now)?;
        talking.next_report = now + REPORT_EVERY;
        let blocks: Vec<_> =
            self.reception.as_mut().and_then(|(_, reception)| reception.report(now)).into_iter().collect();
        let [_, _, _, _, a, b, c, d] = self.sent.to_be_bytes();
        let packets = u32::from_be_bytes([a, b, c, d]);
        let info = SenderInfo {
            ntp: elapsed_ntp(now.saturating_duration_since(self.began)),
            time: self.time,
            packets,
            octets: packets.wrapping_mul(SAMPLES),
        };
        let mut writer = Writer::new(buffer);
        let written = writer.sender_report(self.ssrc, &info, &blocks).and_then(|()| writer.cname(&[self.ssrc], "stox"));
        written.ok().map(|()| writer.length())
    }

    /// Listens to a packet that is believed.
    pub(super) fn hear(&mut self, packet: &[u8], now: Instant) {
        let Ok(header) = Header::parse(packet) else { return };
        let Ok(payload) = header.payload(packet) else { return };
        let source = self.reception.take_if(|(ssrc, _)| *ssrc == header.ssrc);
        let (_, mut reception) = source.unwrap_or_else(|| (header.ssrc, Reception::new(header.ssrc, RATE)));
        reception.count(&header, payload.len(), now);
        self.reception = Some((header.ssrc, reception));
        if Some(header.payload_type) != self.receives {
            return; // comfort noise or a key press
        }
        self.heard_at = now;
        self.heard.extend(packet[payload].iter().map(|byte| g711::decode_ulaw(*byte)));
        self.heard.drain(..self.heard.len().saturating_sub(WINDOW));
    }

    /// Takes a report of the peer's.
    pub(super) fn handle_report(&mut self, compound: &[u8], now: Instant) -> Result<(), RtcpError> {
        for packet in Walk::new(compound) {
            if let (Some(info), Some((_, reception))) = (packet?.sender_info(), &mut self.reception) {
                reception.handle_sender_report(&info, now);
            }
        }
        Ok(())
    }

    /// The tone that is heard.
    pub(super) fn heard(&self, now: Instant) -> Option<f32> {
        if self.heard.len() < WINDOW || now.saturating_duration_since(self.heard_at) > MEMORY {
            return None;
        }
        let samples: Vec<i16> = self.heard.iter().copied().collect();
        tone::frequency(&samples, RATE)
    }

    /// RTP packets sent.
    pub(super) const fn sent(&self) -> u64 {
        self.sent
    }

    /// What was received, once something was.
    pub(super) fn reception(&self) -> Option<&Reception> {
        self.reception.as_ref().map(|(_, reception)| reception)
    }
}

/// Time since the beginning in NTP form; RFC 3550 §6.4.1 allows that where nobody compares clocks.
fn elapsed_ntp(elapsed: Duration) -> u64 {
    (elapsed.as_secs() << 32) | ((u64::from(elapsed.subsec_nanos()) << 32) / 1_000_000_000)
}
