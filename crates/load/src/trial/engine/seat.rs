//! One end of a call in a worker's hands: what it writes, and what it makes of what arrives.

use std::net::SocketAddr;

use media::Packet;
use media::demux::{Media, Protocol};
use media::rtp::{Header, RtpTime, SeqNo};
use media::srtp::SrtpError;
use model::{PayloadType, Ssrc};
use nix::sys::socket::SockaddrStorage;

use super::flow::{Came, Stream};
use super::impair::{Fate, Fates};
use super::net::{self, BUFFER};
use super::stamp::{self, Stamp};
use super::worker::instant;
use crate::trial::end::{End, Protection};
use crate::trial::plan::Plan;
use crate::trial::report::Wrong;
use crate::trial::target::CallNumber;

/// What all packets of a trial have in common.
#[derive(Clone, Copy, Debug)]
pub(super) struct Shape {
    /// The trial's number in every payload.
    pub(super) trial: u32,
    /// Bytes of payload.
    pub(super) payload: usize,
    /// Nanoseconds between two packets of one end.
    pub(super) ptime: u64,
    /// What the sender does to them.
    pub(super) fates: Fates,
    /// Packets of a flow that a receiver tells apart.
    pub(super) window: usize,
}

impl Shape {
    /// Ticks of an audio clock of 8,000 Hz between two packets.
    const fn ticks(&self) -> u64 {
        self.ptime / 125_000
    }
}

/// One end of a call.
#[derive(Debug)]
pub(super) struct Seat {
    pub(super) end: End,
    pub(super) call: CallNumber,
    /// Which end: 0 or 1.
    pub(super) number: u8,
    /// Tells it from other ends that had the same slot.
    pub(super) serial: u64,
    /// The slot of the other end.
    pub(super) peer: usize,
    /// Where it sends to.
    pub(super) to: SockaddrStorage,
    /// It sends no more.
    pub(super) hushed: bool,
    /// What it sends, and what the other end receives of it.
    pub(super) stream: Stream,
    ssrc: Ssrc,
    first: (SeqNo, RtpTime),
}

/// What a datagram turned out to be.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Arrived {
    /// Media of the other end, with the content that it was sent with.
    Media(Stamp),
    /// The keeper has it.
    ForKeeper,
    /// The relay's RTCP, protected as it has to be. What it says is not looked at.
    Report,
    /// Nothing of this trial.
    Stray,
    /// Wrong, and counted.
    Wrong,
}

impl Seat {
    /// Seats an end of a call.
    pub(super) fn new(
        end: End,
        (call, number): (CallNumber, u8),
        serial: u64,
        peer: usize,
        shape: &Shape,
        now: u64,
    ) -> Self {
        let flow = 2 * u64::from(call.0) + u64::from(number);
        let random = stamp::mix(flow ^ (u64::from(shape.trial) << 33));
        let [a, b, c, d, e, f, g, h] = random.to_be_bytes();
        let mut stream = Stream::new(flow, shape.window);
        stream.listen_from(now);
        Self {
            to: net::kernel_address(end.to),
            end,
            call,
            number,
            serial,
            peer,
            hushed: false,
            stream,
            ssrc: Ssrc(u32::from_be_bytes([a, b, c, d])),
            first: (SeqNo(u16::from_be_bytes([e, f])), RtpTime(u32::from_be_bytes([g, h, a, b]))),
        }
    }

    /// Takes the next sequence number, and says what becomes of its packet.
    pub(super) fn next_packet(&mut self, fates: &Fates) -> (u64, Fate) {
        let sequence = self.stream.next;
        self.stream.next += 1;
        self.stream.sending().scheduled += 1;
        (sequence, fates.of(self.stream.number(), sequence))
    }

    /// Writes and protects a packet; says how long it is. `None`, and counted as unsent, if it cannot be protected.
    pub(super) fn write(
        &mut self,
        buffer: &mut [u8],
        sequence: u64,
        scheduled: u64,
        sent: u64,
        shape: &Shape,
    ) -> Option<usize> {
        #[expect(clippy::cast_possible_truncation, reason = "numbers and times on the wire wrap")]
        let header = Header::new(
            PayloadType::try_from(self.end.payload_type & 0x7F).ok()?,
            SeqNo(self.first.0.0.wrapping_add(sequence as u16)),
            self.first.1.plus((sequence * shape.ticks()) as u32),
            self.ssrc,
        );
        let length = usize::from(Plan::RTP_HEADER) + shape.payload;
        header.write(buffer).ok()?;
        let stamp = Stamp { trial: shape.trial, call: self.call.0, end: self.number.into(), sequence, scheduled, sent };
        stamp.write(&mut buffer[usize::from(Plan::RTP_HEADER)..length]);
        let mut packet = Packet::new(buffer, length)?;
        if let Protection::Srtp(keys) = &mut self.end.protection
            && keys.0.seal(&mut packet, Media::Rtp).is_err()
        {
            self.stream.sending().unsent += 1;
            return None;
        }
        let range = packet.range();
        (range.start == 0).then_some(range.end)
    }

    /// Sends what was written, a first time or a second.
    pub(super) fn send(&mut self, bytes: &[u8], copy: bool) {
        let taken = net::send(&self.end.rtp, bytes, &self.to);
        let counts = self.stream.sending();
        match (taken, copy) {
            (true, false) => counts.sent += 1,
            (true, true) => counts.copies += 1,
            (false, false) => counts.unsent += 1,
            (false, true) => {}
        }
    }

    /// Takes a datagram apart.
    pub(super) fn open(
        &mut self,
        buffer: &mut [u8; BUFFER],
        length: usize,
        from: Option<SocketAddr>,
        shape: &Shape,
        wrong: &mut Wrong,
    ) -> Arrived {
        match Protocol::of(&buffer[..length]) {
            Ok(Protocol::Media) => {}
            Ok(Protocol::Stun | Protocol::Dtls) => {
                let (Some(keeper), Some(from)) = (&mut self.end.keeper, from) else { return Arrived::Stray };
                keeper.handle_packet(from, &mut buffer[..length], instant());
                return Arrived::ForKeeper;
            }
            Err(_) => {
                wrong.altered += 1;
                return Arrived::Wrong;
            }
        }
        if Media::of(&buffer[..length]) == Media::Rtcp {
            return self.open_report(buffer, length, wrong);
        }
        match self.open_media(buffer, length, shape, wrong) {
            Some(stamp) => self.judge(stamp, shape, wrong),
            None => Arrived::Wrong,
        }
    }

    fn open_report(&mut self, buffer: &mut [u8; BUFFER], length: usize, wrong: &mut Wrong) -> Arrived {
        let Protection::Srtp(keys) = &mut self.end.protection else { return Arrived::Report };
        let opened =
            Packet::new(buffer, length).is_some_and(|mut packet| keys.1.open(&mut packet, Media::Rtcp).is_ok());
        wrong.not_authentic += u64::from(!opened);
        if opened { Arrived::Report } else { Arrived::Wrong }
    }

    fn open_media(
        &mut self,
        buffer: &mut [u8; BUFFER],
        length: usize,
        shape: &Shape,
        wrong: &mut Wrong,
    ) -> Option<Stamp> {
        if let Protection::Srtp(keys) = &mut self.end.protection {
            if read(&buffer[..length], shape).is_some() {
                wrong.in_clear += 1;
                return None;
            }
            let mut packet = Packet::new(buffer, length)?;
            match keys.1.open(&mut packet, Media::Rtp) {
                Ok(()) => {
                    let stamp = read(&packet, shape);
                    wrong.altered += u64::from(stamp.is_none());
                    return stamp;
                }
                // The second of two copies that we sent is the sender's doing, not the relay's.
                Err(SrtpError::Replayed) => wrong.replayed += u64::from(!shape.fates.copy()),
                Err(_) => wrong.not_authentic += 1,
            }
            return None;
        }
        let stamp = read(&buffer[..length], shape);
        wrong.altered += u64::from(stamp.is_none());
        stamp
    }

    /// Says whether a packet belongs here.
    fn judge(&self, stamp: Stamp, shape: &Shape, wrong: &mut Wrong) -> Arrived {
        if stamp.trial != shape.trial {
            return Arrived::Stray;
        }
        if stamp.call != self.call.0 {
            wrong.call += 1;
            return Arrived::Wrong;
        }
        if stamp.end == u32::from(self.number) {
            wrong.direction += 1;
            return Arrived::Wrong;
        }
        Arrived::Media(stamp)
    }

    /// Takes a packet of this end that the other end received; says whether it came for the first time.
    pub(super) fn receive(&mut self, stamp: &Stamp, arrived: u64, fates: &Fates, wrong: &mut Wrong) -> bool {
        let came = self.stream.receive(stamp.sequence, stamp.scheduled, arrived, fates);
        wrong.replayed += u64::from(came == Came::TooOften);
        came == Came::First
    }

    /// Sends what the keeper has, and follows it.
    pub(super) fn flush_keeper(&mut self) {
        let Some(keeper) = &mut self.end.keeper else { return };
        while let Some((to, bytes)) = keeper.poll_transmit() {
            // What the kernel does not take is lost, as UDP may lose it.
            let _ = self.end.rtp.send_to(&bytes, to);
        }
        if let Some(remote) = keeper.remote().filter(|remote| *remote != self.end.to) {
            self.end.to = remote;
            self.to = net::kernel_address(remote);
        }
    }
}

/// The stamp of an RTP packet in clear, if its payload is as it was written.
fn read(packet: &[u8], shape: &Shape) -> Option<Stamp> {
    let payload = Header::parse(packet).ok()?.payload(packet).ok()?;
    Stamp::read(&packet[payload], shape.payload).ok()
}

#[cfg(test)]
mod tests {
    use std::net::UdpSocket;

    use media::rtcp::Writer;
    use media::srtp::{Inbound, MasterKey, Outbound};
    use model::SrtpSuite;

    use super::*;
    use crate::trial::plan::Impairment;

    #[test]
    fn a_report_of_the_relay_is_no_stray_but_has_to_be_protected_as_media_is() {
        let mut wrong = Wrong::default();
        let mut take = |protection, bytes: &[u8]| {
            let mut buffer = [0; BUFFER];
            buffer[..bytes.len()].copy_from_slice(bytes);
            seat(protection).open(&mut buffer, bytes.len(), None, &shape(), &mut wrong)
        };
        let mut report = [0; 64];
        let mut writer = Writer::new(&mut report);
        writer.receiver_report(Ssrc(1), &[]).expect("there is room");
        let length = writer.length();
        assert_eq!(take(Protection::Plain, &report[..length]), Arrived::Report);
        assert_eq!(take(srtp(), &report[..length]), Arrived::Wrong);

        let mut packet = Packet::new(&mut report, length).expect("it was written");
        Outbound::new(&key()).seal(&mut packet, Media::Rtcp).expect("there is room");
        assert_eq!(take(srtp(), &packet), Arrived::Report);
        assert_eq!(wrong, Wrong { not_authentic: 1, ..Wrong::default() });
    }

    fn srtp() -> Protection {
        Protection::Srtp(Box::new((Outbound::new(&key()), Inbound::new(&key()))))
    }

    fn key() -> MasterKey {
        MasterKey::new(SrtpSuite::AesCm128Sha1_80, &[1; 16], &[2; 14]).expect("they have the right length")
    }

    fn seat(protection: Protection) -> Seat {
        let rtp = UdpSocket::bind("127.0.0.1:0").expect("loopback has ports");
        let to = rtp.local_addr().expect("it is bound");
        let end = End { rtp, to, protection, payload_type: 0, keeper: None };
        Seat::new(end, (CallNumber(1), 0), 1, 1, &shape(), 0)
    }

    fn shape() -> Shape {
        let fates = Fates::new(1, Impairment::default(), 20_000_000);
        Shape { trial: 1, payload: 160, ptime: 20_000_000, fates, window: 64 }
    }
}
