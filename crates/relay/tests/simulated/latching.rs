//! Which sources are believed on a leg without ICE.

use std::net::SocketAddr;
use std::time::Duration;

use media::demux::Media;
use media::rtp::{Header, RtpTime, SeqNo};
use model::{Command, Learning, LegPolicy, PathPolicy, PayloadType, Security, Setup, Ssrc};
use relay::{Dropped, SocketId};

use crate::peer::{Habits, ip};
use crate::world::{A, B, World, call, pathless, policy, sdes};

const SECOND: Duration = Duration::from_secs(1);

/// A call to a phone that sends nothing by itself.
fn with(learning: Learning, phone: Habits) -> World {
    let mut world = World::new(Habits::jingle(), phone);
    let phone = LegPolicy { path: PathPolicy::Plain { learning }, ..policy(B, &world.b.habits) };
    world.create(vec![policy(A, &world.a.habits), phone]);
    world.b.talks = false;
    world.call();
    world.run(2 * SECOND);
    world.forget();
    world
}

fn rtp(seq: u16) -> Vec<u8> {
    let payload_type = PayloadType::try_from(0).expect("a payload type");
    let mut bytes = vec![0; 12];
    Header::new(payload_type, SeqNo(seq), RtpTime(0), Ssrc(7)).write(&mut bytes).expect("it fits");
    bytes.extend_from_slice(&[0x55; 160]);
    bytes
}

/// The phone's named address, and the sockets for its RTP and RTCP.
fn named(world: &World) -> (SocketAddr, SocketId, SocketId) {
    let transport = &world.b.transports[0];
    let rtcp = transport.rtcp.as_ref().expect("it does not mux");
    let socket = |to: Option<SocketAddr>| world.socket(to.expect("we told it"));
    (transport.rtp.address, socket(transport.rtp.to), socket(rtcp.to))
}

fn elsewhere(named: SocketAddr, more: u16) -> SocketAddr {
    SocketAddr::new(named.ip(), named.port() + more)
}

/// Where the relay sends the client's packets to.
fn sends_to(world: &mut World, to: SocketAddr) -> bool {
    world.run(SECOND / 10);
    world.b.transports[0].rtp.address = to;
    world.forget();
    world.run(SECOND / 5);
    !world.b.streams[0].heard.is_empty()
}

#[test]
fn exactly_the_named_source_is_believed_where_nothing_may_be_learnt() {
    let mut world = with(Learning::Off, Habits::phone());
    let (phone, rtp_socket, _) = named(&world);
    for seq in 0..10 {
        assert_eq!(world.inject(rtp_socket, elsewhere(phone, 10), &rtp(seq)), Err(Dropped::UnknownSource));
    }
    assert_eq!(world.relay.counters().dropped(Dropped::UnknownSource), 10, "each is counted");
    assert_eq!(world.inject(rtp_socket, phone, &rtp(10)), Ok(true));
}

#[test]
fn a_source_is_learnt_once_and_again_only_after_an_offer() {
    let mut world = with(Learning::SignalledAddress, Habits::phone());
    let (phone, rtp_socket, _) = named(&world);
    let stranger = SocketAddr::new(ip("203.0.113.66"), phone.port());
    assert_eq!(world.inject(rtp_socket, stranger, &rtp(1)), Err(Dropped::UnknownSource));
    let (first, second) = (elsewhere(phone, 10), elsewhere(phone, 20));
    assert_eq!(world.inject(rtp_socket, first, &rtp(2)), Ok(true));
    assert_eq!(world.inject(rtp_socket, second, &rtp(3)), Err(Dropped::SourceNotLearnt));
    assert_eq!(world.inject(rtp_socket, phone, &rtp(4)), Err(Dropped::SourceNotLearnt), "it comes too late");
    assert_eq!(world.relay.counters().dropped(Dropped::SourceNotLearnt), 2);
    world.run(60 * SECOND);
    assert_eq!(world.inject(rtp_socket, second, &rtp(5)), Err(Dropped::SourceNotLearnt), "time changes nothing");
    assert!(sends_to(&mut world, first));

    world.b.transports[0].rtp.address = phone;
    let offer = world.b.offer();
    world.done(Command::RemoteOffer { call: call(), leg: B, offer: offer.clone() });
    assert_eq!(world.inject(rtp_socket, second, &rtp(6)), Err(Dropped::SourceNotLearnt), "an offer is no agreement");
    world.local(Command::LocalAnswer { call: call(), leg: B, answer: pathless(&offer) });
    assert!(sends_to(&mut world, first), "until something else is learnt");
    assert_eq!(world.inject(rtp_socket, second, &rtp(7)), Ok(true));
    assert_eq!(world.inject(rtp_socket, first, &rtp(8)), Err(Dropped::SourceNotLearnt));
    assert!(sends_to(&mut world, second));
}

#[test]
fn an_answer_that_is_repeated_is_no_new_offer() {
    let mut world = with(Learning::SignalledAddress, Habits::phone());
    let (phone, rtp_socket, _) = named(&world);
    let answer = world.b.describe(Setup::Active);
    assert_eq!(world.inject(rtp_socket, elsewhere(phone, 10), &rtp(1)), Ok(true));
    world.done(Command::RemoteAnswer { call: call(), leg: B, answer });
    assert_eq!(world.inject(rtp_socket, elsewhere(phone, 20), &rtp(2)), Err(Dropped::SourceNotLearnt));
    assert_eq!(world.inject(rtp_socket, elsewhere(phone, 10), &rtp(3)), Ok(true));
}

#[test]
fn any_source_may_be_learnt_only_soon_after_the_answer() {
    let mut world = with(Learning::Any, Habits::phone());
    let (_, rtp_socket, _) = named(&world);
    let anywhere: SocketAddr = "203.0.113.66:7000".parse().expect("a literal address");
    for seq in 0..2 {
        assert_eq!(world.inject(rtp_socket, anywhere, &rtp(seq)), Err(Dropped::SourceOnTrial));
    }
    assert_eq!(world.inject(rtp_socket, anywhere, &rtp(2)), Ok(true));
    let mut world = with(Learning::Any, Habits::phone());
    let (_, rtp_socket, _) = named(&world);
    world.run(4 * SECOND);
    assert_eq!(world.inject(rtp_socket, anywhere, &rtp(0)), Err(Dropped::SourceTooLate));
}

#[test]
fn a_source_more_like_the_named_one_takes_the_place_of_the_first_for_some_time() {
    let mut world = with(Learning::Best, Habits::phone());
    let (phone, rtp_socket, _) = named(&world);
    let anywhere: SocketAddr = "203.0.113.66:7000".parse().expect("a literal address");
    world.run(10 * SECOND);
    assert_eq!(world.inject(rtp_socket, anywhere, &rtp(0)), Ok(true), "however late it speaks first");
    assert_eq!(world.inject(rtp_socket, elsewhere(phone, 10), &rtp(1)), Ok(true));
    assert_eq!(world.inject(rtp_socket, anywhere, &rtp(2)), Err(Dropped::SourceNotLearnt));
    world.run(4 * SECOND);
    assert_eq!(world.inject(rtp_socket, phone, &rtp(3)), Err(Dropped::SourceNotLearnt), "it came too late");
    assert_eq!(world.inject(rtp_socket, elsewhere(phone, 10), &rtp(4)), Ok(true));
}

#[test]
fn who_shakes_hands_as_the_peer_is_learnt_where_any_source_may_be() {
    for (learning, is_learnt) in [(Learning::Best, true), (Learning::First, true), (Learning::Off, false)] {
        let phone = Habits { security: Security::Dtls, rtcp_mux: true, ..Habits::phone() };
        let mut world = World::new(Habits::jingle(), phone);
        let phone = LegPolicy { path: PathPolicy::Plain { learning }, ..policy(B, &world.b.habits) };
        world.create(vec![policy(A, &world.a.habits), phone]);
        let offer = world.a.offer();
        world.done(Command::RemoteOffer { call: call(), leg: A, offer: offer.clone() });
        let ours = world.local(Command::LocalOffer { call: call(), leg: B, offer: pathless(&offer) });
        let answer = world.b.answer(&ours, world.now);
        let named = world.b.transports[0].rtp.address;
        // Behind a NAT it sends from another address than it says.
        world.b.transports[0].rtp.address = SocketAddr::new(ip("203.0.113.66"), named.port() + 10);
        world.b.talks = false; // nothing but its handshake tells where it is
        world.done(Command::RemoteAnswer { call: call(), leg: B, answer: answer.clone() });
        let ours = world.local(Command::LocalAnswer { call: call(), leg: A, answer: pathless(&answer) });
        world.a.take_answer(&ours, world.now);
        world.run(3 * SECOND);
        let (_, b) = world.heard();
        assert_eq!(b[0] > 50, is_learnt, "{learning:?}: {b:?} {:?}", world.news);
        if is_learnt {
            let socket = world.socket(world.b.transports[0].rtp.to.expect("we told it"));
            assert!(world.inject(socket, named, &rtp(1)).is_err(), "{learning:?}: nobody else is believed");
        }
    }
}

#[test]
fn a_phone_behind_a_nat_that_names_an_address_out_of_reach_is_reached_where_it_sends_from() {
    let mut world = World::new(Habits::jingle(), Habits::phone());
    let mut phone = policy(B, &world.b.habits);
    phone.path = PathPolicy::Plain { learning: Learning::Best };
    world.create(vec![policy(A, &world.a.habits), phone]);
    let offer = world.a.offer();
    world.done(Command::RemoteOffer { call: call(), leg: A, offer: offer.clone() });
    let ours = world.local(Command::LocalOffer { call: call(), leg: B, offer: pathless(&offer) });
    let mut answer = world.b.answer(&ours, world.now);
    answer.streams[0].path.rtp = Some("10.0.0.1:4000".parse().expect("a literal address"));
    world.done(Command::RemoteAnswer { call: call(), leg: B, answer });
    let socket = world.socket(ours.streams[0].path.rtp.expect("a leg without ICE has an address"));
    let [public, other] =
        ["203.0.113.66:7000", "203.0.113.67:7000"].map(|text| text.parse().expect("a literal address"));
    assert_eq!(world.inject(socket, public, &rtp(0)), Err(Dropped::OtherLegNotReady), "but it is believed");
    assert_eq!(world.inject(socket, other, &rtp(1)), Err(Dropped::SourceNotLearnt));
}

#[test]
fn rtcp_on_a_port_of_its_own_is_learnt_by_itself() {
    let mut world = with(Learning::SignalledAddress, Habits::phone());
    let (phone, rtp_socket, rtcp_socket) = named(&world);
    assert_eq!(world.inject(rtp_socket, elsewhere(phone, 10), &rtp(1)), Ok(true));
    world.b.transports[0].rtcp.as_mut().expect("it does not mux").address = elsewhere(phone, 31);
    let report = world.b.report().expect("it knows where to");
    assert_eq!(world.inject(rtcp_socket, report.from, &report.bytes), Ok(true));
    let other = elsewhere(phone, 33);
    assert_eq!(world.inject(rtcp_socket, other, &report.bytes), Err(Dropped::SourceNotLearnt));
    world.run(6 * SECOND);
    let heard_there = world.odd_b.iter().any(|odd| matches!(odd, crate::peer::Odd::Rtcp(_)));
    assert!(heard_there, "and RTCP is sent there");
}

#[test]
fn nothing_is_learnt_from_a_goodbye_stun_or_dtls() {
    let mut world = with(Learning::SignalledAddress, Habits::phone());
    let (phone, rtp_socket, rtcp_socket) = named(&world);
    let other = elsewhere(phone, 11);
    let bye = [0x81, 203, 0, 1, 0, 0, 0, 7];
    let mut compound = vec![0x80, 201, 0, 1, 0, 0, 0, 7];
    compound.extend(bye);
    for goodbye in [bye.as_slice(), &compound] {
        assert_eq!(world.inject(rtcp_socket, other, goodbye), Err(Dropped::SourceGoodbye));
    }
    let mut stun = vec![0, 1, 0, 0, 0x21, 0x12, 0xA4, 0x42];
    stun.resize(20, 9);
    for socket in [rtp_socket, rtcp_socket] {
        assert_eq!(world.inject(socket, other, &stun), Err(Dropped::StunUnexpected));
        assert_eq!(world.inject(socket, other, &[22, 254, 253, 0]), Err(Dropped::DtlsUnexpected));
    }
    assert_eq!(world.inject(rtp_socket, phone, &rtp(1)), Ok(true), "the named source may still be the one");
    let report = world.b.report().expect("it knows where to");
    assert_eq!(world.inject(rtcp_socket, report.from, &report.bytes), Ok(true));
}

#[test]
fn only_an_authentic_packet_of_a_negotiated_payload_type_is_learnt_from() {
    let mut world = with(Learning::SignalledAddress, sdes(Habits::phone()));
    let (phone, rtp_socket, _) = named(&world);
    let (forger, moved) = (elsewhere(phone, 10), elsewhere(phone, 20));
    for seq in 0..5 {
        assert_eq!(world.inject(rtp_socket, forger, &rtp(seq)), Err(Dropped::SrtpAuthentication));
    }
    let say = |world: &mut World, payload_type: u8, seq| {
        let payload_type = PayloadType::try_from(payload_type).expect("a payload type");
        let header = Header::new(payload_type, SeqNo(seq), RtpTime(0), Ssrc(7));
        let mut bytes = vec![0; 12];
        header.write(&mut bytes).expect("it fits");
        let component = &mut world.b.transports[0].rtp;
        let sent = component.send(&bytes, Media::Rtp, Security::Sdes).expect("it has keys").bytes;
        world.inject(rtp_socket, moved, &sent)
    };
    assert_eq!(say(&mut world, 34, 1), Err(Dropped::PayloadType));
    assert_eq!(say(&mut world, 0, 2), Ok(true));
    assert!(sends_to(&mut world, moved));
}
