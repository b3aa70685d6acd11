//! Media from one end of a call to the other, through the relay under test.

use std::time::{Duration, Instant};

use load::trial::target::{CallNumber, ReadyCall};
use load::trial::{End, Protection, Target};
use media::demux::{Media, Protocol};
use media::packet::Packet;
use media::rtp;
use media::rtp::{Header, RtpTime, SeqNo};
use model::{PayloadType, Ssrc};

/// How long a packet is waited for before the next one is sent.
const WAIT: Duration = Duration::from_millis(200);
/// Packets that are sent at most.
const ATTEMPTS: u16 = 50;

/// How media of a call's first end is protected.
const MEDIA: [&str; 4] = ["rtp", "sdes-cm80", "sdes-gcm", "dtls"];

/// Sets calls of every kind up at a relay, the first end without ICE and with it, lets each carry media both ways, and
/// tears them down. `open` reaches the relay for calls of one kind.
pub(crate) fn carry_every_kind(open: impl Fn(&str, bool) -> Box<dyn Target>) {
    for (media, ice) in MEDIA.into_iter().flat_map(|media| [(media, false), (media, true)]) {
        let mut relay = open(media, ice);
        let calls = [1, 2, 3].map(CallNumber);
        for call in relay.set_up(&calls) {
            let ReadyCall { ends: [mut first, mut second], .. } =
                call.unwrap_or_else(|error| panic!("{media}, ICE {ice}: {error}"));
            assert_eq!(matches!(first.protection, Protection::Plain), media == "rtp");
            assert!(matches!(second.protection, Protection::Plain));
            carry(&mut first, &mut second, b"there");
            carry(&mut second, &mut first, b"and back");
        }
        assert_eq!(relay.tear_down(&calls), Ok(()), "{media}, ICE {ice}");
    }
}

/// Sends packets from one end until one arrives at the other, where it must be what was sent.
pub(crate) fn carry(from: &mut End, to: &mut End, payload: &[u8]) {
    to.rtp.set_nonblocking(false).expect("a socket can wait");
    to.rtp.set_read_timeout(Some(WAIT)).expect("a socket can wait for a while");
    for number in 0..ATTEMPTS {
        send(from, number, payload);
        if let Some(arrived) = receive(to) {
            assert_eq!(arrived, payload);
            return;
        }
    }
    panic!("none of {ATTEMPTS} packets from {:?} arrived at {:?}", from.rtp, to.rtp);
}

fn send(end: &mut End, number: u16, payload: &[u8]) {
    let payload_type = PayloadType::try_from(end.payload_type).expect("it was negotiated");
    let ssrc = Ssrc(u32::from(end.rtp.local_addr().expect("it is bound").port()));
    let mut buffer = [0; 1500];
    let header = Header::new(payload_type, SeqNo(number), RtpTime(u32::from(number) * 160), ssrc);
    header.write(&mut buffer).expect("there is room");
    let mut packet = Packet::new(&mut buffer, rtp::FIXED_HEADER).expect("there is room");
    packet.append(payload).expect("there is room");
    if let Protection::Srtp(directions) = &mut end.protection {
        directions.0.seal(&mut packet, Media::Rtp).expect("no index is used twice");
    }
    end.rtp.send_to(&packet, end.to).expect("loopback takes a packet");
}

/// The payload of the next media packet; `None` if none comes in time.
fn receive(end: &mut End) -> Option<Vec<u8>> {
    let mut buffer = [0; 1500];
    loop {
        let (length, from) = end.rtp.recv_from(&mut buffer).ok()?;
        if Protocol::of(&buffer[..length]) == Ok(Protocol::Media) {
            assert_eq!(from, end.to, "media comes from where it is sent to");
            let mut packet = Packet::new(&mut buffer, length).expect("it was received");
            if let Protection::Srtp(directions) = &mut end.protection {
                directions.1.open(&mut packet, Media::Rtp).expect("the relay has the right keys");
            }
            let header = Header::parse(&packet).expect("it is RTP");
            return Some(packet[header.payload(&packet).expect("it is RTP")].to_vec());
        }
        let keeper = end.keeper.as_mut().expect("only an end with ICE or DTLS gets anything but media");
        keeper.handle_packet(from, &mut buffer[..length], now());
        while let Some((to, bytes)) = keeper.poll_transmit() {
            end.rtp.send_to(&bytes, to).expect("loopback takes a packet");
        }
    }
}

#[expect(clippy::disallowed_methods, reason = "real relays live in real time")]
fn now() -> Instant {
    Instant::now()
}
