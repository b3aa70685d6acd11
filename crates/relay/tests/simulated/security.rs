//! Nobody is believed, and nothing is sent, without the protection that was promised.

use std::net::SocketAddr;
use std::time::Duration;

use media::demux::Media;
use media::rtp::{Header, RtpTime, SeqNo};
use media::srtp::{Inbound, MasterKey};
use model::{
    Command, CommandError, Crypto, Description, DtlsState, FingerprintVerdict, IceRole, LegPolicy, News, PathPolicy,
    PayloadType, Profile, Reply, Secret, Security, Setup, Ssrc,
};
use relay::Dropped;

use crate::network::Flying;
use crate::peer::{Habits, Odd, codecs};
use crate::world::{A, B, World, call, pathless, policy, sdes};

const SECOND: Duration = Duration::from_secs(1);

fn connected() -> World {
    let mut world = World::new(Habits::jingle(), Habits::phone());
    world.call();
    world.run(3 * SECOND);
    world.forget();
    world
}

fn rtp(ssrc: u32, seq: u16) -> Vec<u8> {
    let payload_type = PayloadType::try_from(0).expect("a payload type");
    let mut bytes = vec![0; 12];
    Header::new(payload_type, SeqNo(seq), RtpTime(0), Ssrc(ssrc)).write(&mut bytes).expect("it fits");
    bytes.extend_from_slice(&[0x55; 160]);
    bytes
}

#[test]
fn a_peer_with_another_certificate_than_promised_is_neither_heard_nor_spoken_to() {
    for (caller, callee) in [(A, B), (B, A)] {
        let mut world = World::new(Habits { lies: true, ..Habits::jingle() }, Habits::phone());
        world.call_from(caller, callee);
        world.run(5 * SECOND);
        let (a, b) = world.heard();
        assert_eq!((a, b), (vec![0], vec![0]));
        let told = world.news.iter().any(|news| {
            let state = |fingerprint| DtlsState::Connected { suite: model::SrtpSuite::AeadAes128Gcm, fingerprint };
            matches!(news, News::Dtls { state: told, .. } if *told == state(FingerprintVerdict::Mismatched))
        });
        assert!(told, "{:?}", world.news);
        assert!(!world.news.iter().any(|news| matches!(news, News::FirstPacket { leg: A, .. })));
    }
}

#[test]
fn actpass_is_no_answer() {
    let mut world = World::new(Habits::jingle(), Habits::phone());
    let offer = world.b.offer();
    world.done(Command::RemoteOffer { call: call(), leg: B, offer: offer.clone() });
    let ours = world.local(Command::LocalOffer { call: call(), leg: A, offer: pathless(&offer) });
    assert_eq!(ours.streams[0].path.dtls.as_ref().map(|dtls| dtls.setup), Some(Setup::Actpass));
    let mut answer = world.a.answer(&ours, world.now);
    answer.streams[0].path.dtls.as_mut().expect("it has DTLS").setup = Setup::Actpass;
    let command = |answer: &Description| Command::RemoteAnswer { call: call(), leg: A, answer: answer.clone() };
    assert_eq!(world.command(command(&answer)), Err(CommandError::BadSetup));
    answer.streams[0].path.dtls.as_mut().expect("it has DTLS").setup = Setup::Active;
    assert_eq!(world.command(command(&answer)), Ok(Reply::Done), "the call stayed as it was");
}

#[test]
fn an_answer_of_ours_is_active_to_actpass_and_passive_to_active() {
    for (offered, answered) in [(Setup::Actpass, Setup::Active), (Setup::Active, Setup::Passive)] {
        let mut world = World::new(Habits::jingle(), Habits::phone());
        let mut offer = world.a.offer();
        offer.streams[0].path.dtls.as_mut().expect("it has DTLS").setup = offered;
        world.done(Command::RemoteOffer { call: call(), leg: A, offer: offer.clone() });
        let answer = world.local(Command::LocalAnswer { call: call(), leg: A, answer: pathless(&offer) });
        assert_eq!(answer.streams[0].path.dtls.as_ref().map(|dtls| dtls.setup), Some(answered));
    }
}

#[test]
fn less_than_the_policy_asks_for_is_refused() {
    let mut world = World::new(Habits::jingle(), Habits::phone());
    let mut plain = world.a.offer();
    plain.streams[0].path.dtls = None;
    plain.streams[0].path.profile = Profile::Avp;
    let offer = Command::RemoteOffer { call: call(), leg: A, offer: plain };
    assert_eq!(world.command(offer), Err(CommandError::SecurityRequired));
    let mut iceless = world.a.offer();
    iceless.streams[0].path.ice = None;
    let offer = Command::RemoteOffer { call: call(), leg: A, offer: iceless };
    assert_eq!(world.command(offer), Err(CommandError::IceRequired));
}

#[test]
fn an_answer_without_the_protection_we_offered_is_refused() {
    for habits in [Habits::jingle(), sdes(Habits::phone())] {
        let mut world = World::new(habits, Habits::phone());
        let offer = world.b.offer();
        let ours = world.local(Command::LocalOffer { call: call(), leg: A, offer: pathless(&offer) });
        let mut answer = world.a.answer(&ours, world.now);
        answer.streams[0].path.dtls = None;
        answer.streams[0].path.crypto.clear();
        answer.streams[0].path.profile = Profile::Avp;
        let command = Command::RemoteAnswer { call: call(), leg: A, answer };
        assert_eq!(world.command(command), Err(CommandError::SecurityRequired));
    }
}

#[test]
fn a_leg_that_promised_dtls_takes_no_plain_rtp() {
    let mut world = World::new(Habits::jingle(), Habits::phone());
    world.call();
    world.a.talks = false;
    let ours = world.a.transports[0].rtp.address;
    let socket = *world.sockets.open.keys().max().expect("the answer to A opened the last one");
    for seq in 0..1000 {
        assert!(world.inject(socket, ours, &rtp(1, seq)).is_err(), "before, during or after the handshake");
        world.run(SECOND / 200);
    }
    assert!(world.b.streams[0].heard.is_empty());
    assert!(world.relay.counters().dropped(Dropped::NoKeys) > 0);
    assert!(world.relay.counters().dropped(Dropped::SrtpAuthentication) > 0);
    assert!(!world.odd_a.contains(&Odd::Unprotected), "nor does it send any");
}

#[test]
fn a_packet_that_comes_again_is_not_sent_again() {
    let mut world = connected();
    let component = &mut world.a.transports[0].rtp;
    let header = Header::new(PayloadType::try_from(0).expect("one"), SeqNo(9), RtpTime(0), Ssrc(0x77));
    let Flying { from, to, bytes } = component.send_rtp(&header, b"once", Security::Dtls).expect("it is connected");
    let socket = world.socket(to);
    assert_eq!(world.inject(socket, from, &bytes), Ok(true));
    assert_eq!(world.inject(socket, from, &bytes), Err(Dropped::SrtpReplayed));
}

#[test]
fn an_authentic_packet_from_elsewhere_is_not_taken() {
    let mut world = connected();
    let component = &mut world.a.transports[0].rtp;
    let header = Header::new(PayloadType::try_from(0).expect("one"), SeqNo(9), RtpTime(0), Ssrc(0x77));
    let Flying { to, bytes, .. } = component.send_rtp(&header, b"once", Security::Dtls).expect("it is connected");
    let elsewhere: SocketAddr = "203.0.113.66:5000".parse().expect("a literal address");
    let socket = world.socket(to);
    assert_eq!(world.inject(socket, elsewhere, &bytes), Err(Dropped::UnknownSource));
}

#[test]
fn a_plain_leg_listens_only_to_the_address_its_peer_named() {
    let mut world = connected();
    let named = world.b.transports[0].rtp.address;
    let to = world.b.transports[0].rtp.to.expect("we told it");
    let socket = world.socket(to);
    let other_port = SocketAddr::new(named.ip(), named.port() + 10);
    let other_host = SocketAddr::new(crate::peer::ip("203.0.113.66"), named.port());
    assert_eq!(world.inject(socket, other_port, &rtp(1, 1)), Err(Dropped::UnknownSource));
    assert_eq!(world.inject(socket, other_host, &rtp(1, 1)), Err(Dropped::UnknownSource));
    assert_eq!(world.inject(socket, named, b"\x80"), Err(Dropped::RtpMalformed));
}

#[test]
fn forged_packets_do_not_keep_a_call_alive() {
    let mut world = connected();
    world.a.talks = false;
    let from = world.a.transports[0].rtp.address;
    let to = world.a.transports[0].rtp.destination().expect("it is connected");
    let socket = world.socket(to);
    for seq in 0..65 {
        world.run(SECOND);
        assert_eq!(world.inject(socket, from, &rtp(1, seq)), Err(Dropped::SrtpAuthentication));
    }
    let told = world.news.iter().filter(|news| **news == News::MediaTimeout { leg: A }).count();
    assert_eq!(told, 1, "{:?}", world.news);
    assert!(!world.news.contains(&News::MediaTimeout { leg: B }));
}

#[test]
fn a_hello_that_comes_before_the_answer_is_kept_for_it() {
    let mut world = World::new(Habits::jingle(), Habits::phone());
    let offer = world.b.offer();
    world.done(Command::RemoteOffer { call: call(), leg: B, offer: offer.clone() });
    let ours = world.local(Command::LocalOffer { call: call(), leg: A, offer: pathless(&offer) });
    let answer = world.a.answer(&ours, world.now);
    world.run(SECOND); // ICE checks and the ClientHello are there long before the answer
    assert!(world.news.is_empty(), "{:?}", world.news);
    world.done(Command::RemoteAnswer { call: call(), leg: A, answer: answer.clone() });
    let ours = world.local(Command::LocalAnswer { call: call(), leg: B, answer: pathless(&answer) });
    let now = world.now;
    world.b.take_answer(&ours, now);
    world.run(2 * SECOND);
    let (a, b) = world.heard();
    assert!(a[0] > 50 && b[0] > 50, "{a:?} {b:?} {:?}", world.news);
}

#[test]
fn a_hello_of_a_phone_without_ice_overtakes_its_answer() {
    let phone = Habits { security: Security::Dtls, rtcp_mux: true, ..Habits::phone() };
    let mut world = World::new(Habits::jingle(), phone);
    let ice = PathPolicy::Ice { role: IceRole::Offerer, required: false };
    let legs = vec![policy(A, &world.a.habits), LegPolicy { path: ice, ..policy(B, &world.b.habits) }];
    world.create(legs);
    let offer = world.a.offer();
    world.done(Command::RemoteOffer { call: call(), leg: A, offer: offer.clone() });
    let ours = world.local(Command::LocalOffer { call: call(), leg: B, offer: pathless(&offer) });
    assert!(ours.streams[0].path.ice.is_some(), "both ways are offered");
    let answer = world.b.answer(&ours, world.now);
    world.run(SECOND / 10);
    world.done(Command::RemoteAnswer { call: call(), leg: B, answer });
    world.run(SECOND / 4); // sooner than it would come again
    let connected = |news: &&News| matches!(news, News::Dtls { leg: B, state: DtlsState::Connected { .. }, .. });
    assert!(world.news.iter().any(|news| connected(&news)), "{:?}", world.news);
}

#[test]
fn addresses_that_nobody_may_send_to_are_refused() {
    for address in ["127.0.0.1:4000", "10.0.0.1:4000", "224.0.0.1:4000", "192.0.2.20:0", "our own"] {
        let mut world = World::new(Habits::jingle(), Habits::phone());
        let offer = world.a.offer();
        world.done(Command::RemoteOffer { call: call(), leg: A, offer: offer.clone() });
        let ours = world.local(Command::LocalOffer { call: call(), leg: B, offer: pathless(&offer) });
        let mut answer = world.b.answer(&ours, world.now);
        let own = ours.streams[0].path.rtp.expect("a leg without ICE has an address");
        answer.streams[0].path.rtp = Some(address.parse().unwrap_or(own));
        let command = Command::RemoteAnswer { call: call(), leg: B, answer };
        assert_eq!(world.command(command), Err(CommandError::NoUsableAddress), "{address}");
    }
}

#[test]
fn nothing_of_one_leg_shows_on_the_other() {
    let mut world = connected();
    let (ours, theirs) = (world.a.streams[0].ssrc, world.b.streams[0].ssrc);
    for _ in 0..3 {
        let reports = [world.a.report(), world.b.report()];
        for Flying { from, to, bytes } in reports.into_iter().flatten() {
            let socket = world.socket(to);
            let _ = world.inject(socket, from, &bytes);
        }
        world.run(SECOND);
    }
    for odd in world.odd_a.iter().chain(&world.odd_b) {
        let Odd::Rtcp(bytes) = odd else { panic!("{odd:?}") };
        assert_eq!(Media::of(bytes), Media::Rtcp);
        for secret in [&ours.0.to_be_bytes()[..], &theirs.0.to_be_bytes()[..], b"private"] {
            assert!(!bytes.windows(secret.len()).any(|window| window == secret), "{bytes:x?}");
        }
    }
    let rtcp_heard = |odd: &[Odd]| odd.iter().any(|odd| matches!(odd, Odd::Rtcp(_)));
    assert!(rtcp_heard(&world.odd_a) && rtcp_heard(&world.odd_b));
    let heard = world.a.streams[0].heard.iter().chain(&world.b.streams[0].heard);
    assert!(heard.into_iter().all(|(header, _)| header.ssrc != ours && header.ssrc != theirs));
    assert_eq!(codecs(model::MediaKind::Audio).len(), 2);
}

#[test]
fn a_phone_may_change_its_key_in_a_call() {
    let mut world = World::new(Habits::jingle(), sdes(Habits::phone()));
    world.call();
    world.run(3 * SECOND);
    let ours = world.b.transports[0].crypto[0].clone();
    let new = Crypto { key_and_salt: Secret::new(vec![0x6B; ours.key_and_salt.reveal().len()]), ..ours };
    world.b.transports[0].crypto = vec![new.clone()];
    let offer = world.b.describe(Setup::Actpass);
    world.done(Command::RemoteOffer { call: call(), leg: B, offer: offer.clone() });
    world.local(Command::LocalAnswer { call: call(), leg: B, answer: pathless(&offer) });
    world.run(SECOND / 10); // what was sent under the old key is still taken
    let outbound = world.b.transports[0].rtp.outbound.as_mut().expect("it has keys");
    outbound.rekey(&MasterKey::from_sdes(&new).expect("a good key"));
    world.run(7 * SECOND);
    assert_eq!(world.relay.counters().dropped(Dropped::SrtpAuthentication), 0);
    world.forget();
    world.run(SECOND);
    assert_eq!(world.heard(), (vec![50], vec![50]));
}

#[test]
fn rtcp_is_in_clear_only_where_the_peer_asks_for_it_and_may() {
    let offered = |unencrypted_srtcp: [bool; 2], allowed| {
        let mut world = World::new(Habits::jingle(), sdes(Habits::phone()));
        let phone = LegPolicy { unencrypted_srtcp: allowed, ..policy(B, &world.b.habits) };
        world.create(vec![policy(A, &world.a.habits), phone]);
        let mut offer = world.b.offer();
        for (key, unencrypted_srtcp) in offer.streams[0].path.crypto.iter_mut().zip(unencrypted_srtcp) {
            key.unencrypted_srtcp = unencrypted_srtcp;
        }
        world.b.transports[0].crypto.clone_from(&offer.streams[0].path.crypto);
        (world, offer)
    };
    let take = |offer: &Description| Command::RemoteOffer { call: call(), leg: B, offer: offer.clone() };
    let (mut world, offer) = offered([true, true], false);
    assert_eq!(world.command(take(&offer)), Err(CommandError::NoUsableKey));

    for (allowed, answered) in [(false, (2, false)), (true, (1, true))] {
        let (mut world, offer) = offered([true, false], allowed);
        world.done(take(&offer));
        let ours = world.local(Command::LocalOffer { call: call(), leg: A, offer: pathless(&offer) });
        let answer = world.a.answer(&ours, world.now);
        world.done(Command::RemoteAnswer { call: call(), leg: A, answer: answer.clone() });
        let ours = world.local(Command::LocalAnswer { call: call(), leg: B, answer: pathless(&answer) });
        let [key] = ours.streams[0].path.crypto.as_slice() else { panic!("one key is chosen") };
        assert_eq!((key.tag, key.unencrypted_srtcp), answered);
        let now = world.now;
        world.b.take_answer(&ours, now);
        world.run(3 * SECOND);
        world.forget();

        let Flying { from, to, bytes } = world.b.report().expect("it is connected");
        let is_clear = |bytes: &[u8]| bytes.windows(7).any(|window| window == b"private");
        assert_eq!(is_clear(&bytes), allowed);
        let socket = world.socket(to);
        assert_eq!(world.inject(socket, from, &bytes), Ok(true));
        let rtcp = world.b.transports[0].rtcp.as_mut().expect("it does not mux");
        let strict = Crypto { unencrypted_srtcp: false, ..key.clone() };
        rtcp.inbound = Some(Inbound::new(&MasterKey::from_sdes(&strict).expect("a good key")));
        let Flying { from, to, bytes } = world.a.report().expect("it is connected");
        let socket = world.socket(to);
        assert_eq!(world.inject(socket, from, &bytes), Ok(true));
        world.run(SECOND / 10);
        assert!(matches!(world.odd_a.as_slice(), [Odd::Rtcp(_)]), "{:?}", world.odd_a);
        assert_eq!(world.odd_b == [Odd::NotOpened], allowed, "a phone that wants it encrypted opens ours or not");
    }
}

#[test]
fn two_payloads_of_one_number_never_leave_under_one_key() {
    let mut world = connected();
    world.b.talks = false;
    world.run(SECOND);
    let named = world.b.transports[0].rtp.address;
    let socket = world.socket(world.b.transports[0].rtp.to.expect("we told it"));
    let ssrc = world.b.streams[0].ssrc.0;
    let seq = world.b.streams[0].seq;
    assert_eq!(world.inject(socket, named, &rtp(ssrc, seq)), Ok(true));
    let mut other = rtp(ssrc, seq);
    other[100] ^= 0xFF;
    assert_eq!(world.inject(socket, named, &other), Err(Dropped::SrtpIndexReused));
}

#[test]
fn a_leg_that_has_dtls_cannot_be_talked_out_of_it() {
    let mut world = World::new(Habits::jingle(), Habits::phone());
    let both = vec![Security::Dtls, Security::Rtp];
    let client = LegPolicy { security: both, ..policy(A, &world.a.habits) };
    let phone = policy(B, &world.b.habits);
    world.create(vec![client, phone]);
    world.call();
    world.run(3 * SECOND);
    let mut plain = world.a.describe(Setup::Actpass);
    plain.streams[0].path.dtls = None;
    plain.streams[0].path.profile = Profile::Avp;
    let offer = Command::RemoteOffer { call: call(), leg: A, offer: plain.clone() };
    let answer = Command::LocalAnswer { call: call(), leg: A, answer: pathless(&plain) };
    let refused = world.command(offer).and_then(|_| world.command(answer));
    assert_eq!(refused, Err(CommandError::SecurityRequired));
    let _ = world.command(Command::Rollback { call: call(), leg: A });
    world.forget();
    world.run(SECOND);
    assert_eq!(world.heard(), (vec![50], vec![50]), "the call goes on as it was");
}

#[test]
fn a_peer_with_a_new_certificate_gets_a_new_association() {
    let mut world = connected();
    world.a.renew();
    let offer = world.a.describe(Setup::Actpass);
    world.done(Command::RemoteOffer { call: call(), leg: A, offer: offer.clone() });
    let ours = world.local(Command::LocalAnswer { call: call(), leg: A, answer: pathless(&offer) });
    let setup = ours.streams[0].path.dtls.as_ref().map(|dtls| dtls.setup);
    assert_eq!(setup, Some(Setup::Active), "and the roles stay");
    world.run(3 * SECOND);
    world.forget();
    world.run(SECOND);
    assert_eq!(world.heard(), (vec![50], vec![50]), "{:?}", world.relay);
}
