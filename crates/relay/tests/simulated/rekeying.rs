//! Keys in the description, offered again: what stays the same goes on, and nothing counts twice.

use std::time::Duration;

use media::rtp::{ExtSeqNo, Header, RtpTime, SeqNo};
use media::srtp::{Inbound, MasterKey, Outbound, Rollover};
use model::{Command, Crypto, Description, LegPolicy, Lifetime, PayloadType, Secret, Security, Setup, SrtpSuite, Ssrc};
use relay::Dropped;

use crate::network::Flying;
use crate::peer::{FRAME, Habits, Odd, components};
use crate::world::{A, B, World, call, pathless, policy, sdes};

const SECOND: Duration = Duration::from_secs(1);

/// So often the sequence numbers have wrapped at least, on either leg.
const ROLLOVERS: u32 = 3;

/// A client and a phone with keys in the description, in a call that has lasted for hours.
fn connected() -> World {
    let suites = vec![SrtpSuite::AesCm128Sha1_80, SrtpSuite::AesCm128Sha1_32];
    let mut world = World::new(Habits::jingle(), Habits { suites, ..sdes(Habits::phone()) });
    let phone = LegPolicy { security: vec![Security::Sdes, Security::Rtp], ..policy(B, &world.b.habits) };
    world.create(vec![policy(A, &world.a.habits), phone]);
    world.call();
    world.run(3 * SECOND);
    for _ in 0..150 {
        for peer in [&mut world.a, &mut world.b] {
            peer.streams[0].seq = peer.streams[0].seq.wrapping_add(2000); // a burst of loss that a rewriter lets pass
        }
        world.run(FRAME);
    }
    all_is_heard(&mut world);
    world
}

/// All that either sends is heard, and the phone can open all of it and none twice.
fn all_is_heard(world: &mut World) {
    world.run(SECOND / 5);
    world.forget();
    world.run(SECOND);
    assert_eq!(world.heard(), (vec![50], vec![50]), "{:?}", world.relay);
    assert!(!world.odd_b.contains(&Odd::NotOpened), "{:?}", world.odd_b);
    let inbound = world.b.transports[0].rtp.inbound.as_ref().expect("it has keys");
    let source = world.b.streams[0].heard[0].0.ssrc;
    let highest = inbound.rollovers().find(|rollover| rollover.ssrc == source).and_then(|rollover| rollover.rtp);
    assert!(highest.expect("it was heard").rollovers() >= ROLLOVERS, "{highest:?}");
}

/// What the phone seals with.
fn key(world: &World) -> Crypto {
    world.b.transports[0].crypto[0].clone()
}

/// The phone offers a key again, or another one. Returns ours.
fn offer(world: &mut World, crypto: &Crypto) -> Crypto {
    let offer = take_offer(world, crypto);
    let ours = world.local(Command::LocalAnswer { call: call(), leg: B, answer: pathless(&offer) });
    let [ours] = ours.streams[0].path.crypto.as_slice() else { panic!("{ours:?}") };
    assert_eq!((ours.tag, ours.suite), (crypto.tag, crypto.suite), "RFC 4568 §5.1.2");
    ours.clone()
}

fn take_offer(world: &mut World, crypto: &Crypto) -> Description {
    world.b.transports[0].crypto = vec![crypto.clone()];
    let offer = world.b.describe(Setup::Actpass);
    world.done(Command::RemoteOffer { call: call(), leg: B, offer: offer.clone() });
    offer
}

/// The phone seals with another key.
fn seal_with(world: &mut World, crypto: &Crypto) {
    let key = MasterKey::from_sdes(crypto).expect("a good key");
    for component in components(&mut world.b.transports) {
        component.outbound.as_mut().expect("it has keys").rekey(&key);
    }
}

/// The phone opens with another key.
fn open_with(world: &mut World, crypto: &Crypto) {
    let key = MasterKey::from_sdes(crypto).expect("a good key");
    for component in components(&mut world.b.transports) {
        component.inbound.as_mut().expect("it has keys").rekey(&key);
    }
}

/// Packets of the phone that the relay has taken: RTP, and RTCP.
fn taken(world: &mut World) -> Vec<Flying> {
    let (stream, component) = (&mut world.b.streams[0], &mut world.b.transports[0].rtp);
    let payload_type = PayloadType::try_from(0).expect("one");
    let header = Header::new(payload_type, SeqNo(stream.seq), RtpTime(stream.time), stream.ssrc);
    (stream.seq, stream.time) = (stream.seq.wrapping_add(1), stream.time.wrapping_add(160));
    let rtp = component.send_rtp(&header, b"once", Security::Sdes).expect("it is connected");
    let packets = vec![rtp, world.b.report().expect("it is connected")];
    for Flying { from, to, bytes } in &packets {
        let socket = world.socket(*to);
        assert_eq!(world.inject(socket, *from, bytes), Ok(true));
    }
    packets
}

fn is_replayed(world: &mut World, packet: &Flying) -> bool {
    let socket = world.socket(packet.to);
    world.inject(socket, packet.from, &packet.bytes) == Err(Dropped::SrtpReplayed)
}

#[test]
fn a_key_that_is_offered_again_on_other_terms_goes_on() {
    let same = |key: &Crypto| key.clone();
    let tag = |key: &Crypto| Crypto { tag: 7, ..key.clone() };
    let lifetime = |key: &Crypto| Crypto { lifetime: Lifetime::try_from(1 << 31).ok(), ..key.clone() };
    let mki = |key: &Crypto| Crypto { mki: Some((1, 4)), ..key.clone() };
    let terms: [fn(&Crypto) -> Crypto; 4] = [same, tag, lifetime, mki];
    for (place, terms) in terms.into_iter().enumerate() {
        let mut world = connected();
        let first = key(&world);
        let ours = offer(&mut world, &first);
        let taken = taken(&mut world);
        let again = terms(&first);
        assert_eq!(offer(&mut world, &again).key_and_salt, ours.key_and_salt);
        assert!(taken.iter().all(|packet| is_replayed(&mut world, packet)), "{place}");
        let before = world.relay.counters().dropped(Dropped::SrtpAuthentication);
        world.run(SECOND / 10); // what is sent as before is still taken
        assert_eq!(world.relay.counters().dropped(Dropped::SrtpAuthentication), before, "{place}");
        seal_with(&mut world, &again);
        all_is_heard(&mut world);
        world.run(7 * SECOND);
        all_is_heard(&mut world);
        for mut packet in taken {
            assert!(is_replayed(&mut world, &packet) || again.mki.is_some(), "{place}");
            if again.mki.is_some() {
                let tag = packet.bytes.len() - 10; // neither tag nor index covers the identifier (RFC 3711 §4.2)
                packet.bytes.splice(tag..tag, [0, 0, 0, 1]);
                assert!(is_replayed(&mut world, &packet), "{place}");
            }
        }
    }
}

#[test]
fn a_key_that_comes_back_opens_nothing_again() {
    let mut world = connected();
    let first = key(&world);
    let ours = offer(&mut world, &first);
    let taken = taken(&mut world);
    let second = Crypto { key_and_salt: Secret::new(vec![0x6B; 30]), ..first.clone() };
    offer(&mut world, &second);
    seal_with(&mut world, &second);
    all_is_heard(&mut world);
    world.run(7 * SECOND);
    assert_eq!(offer(&mut world, &first).key_and_salt, ours.key_and_salt);
    assert!(taken.iter().all(|packet| is_replayed(&mut world, packet)), "after another key");
    seal_with(&mut world, &first);
    all_is_heard(&mut world);

    world.b.habits.security = Security::Rtp;
    world.b.transports[0].crypto.clear();
    let plain = world.b.describe(Setup::Actpass);
    world.done(Command::RemoteOffer { call: call(), leg: B, offer: plain.clone() });
    world.local(Command::LocalAnswer { call: call(), leg: B, answer: pathless(&plain) });
    world.run(SECOND);
    world.b.habits.security = Security::Sdes;
    let fresh = offer(&mut world, &first);
    assert_ne!(fresh.key_and_salt, ours.key_and_salt);
    assert!(taken.iter().all(|packet| is_replayed(&mut world, packet)), "after plain RTP");
    for component in components(&mut world.b.transports) {
        component.inbound = Some(Inbound::new(&MasterKey::from_sdes(&fresh).expect("a good key")));
    }
    world.run(SECOND / 5);
    world.forget();
    world.run(SECOND);
    assert_eq!(world.heard(), (vec![50], vec![50]), "our rollover counter began at zero with our new key");
}

#[test]
fn a_key_that_is_offered_for_a_shorter_tag_opens_nothing_again() {
    let mut world = connected();
    let [mut rtp, _] = <[Flying; 2]>::try_from(taken(&mut world)).expect("two packets");
    let short = Crypto { suite: SrtpSuite::AesCm128Sha1_32, ..key(&world) };
    let ours = offer(&mut world, &short);
    seal_with(&mut world, &short);
    open_with(&mut world, &ours);
    assert!(is_replayed(&mut world, &rtp));
    rtp.bytes.truncate(rtp.bytes.len() - 6); // the shorter tag is the beginning of the longer one
    assert!(is_replayed(&mut world, &rtp));
    all_is_heard(&mut world);
}

/// The highest indices of RTP and RTCP under which the phone heard the client.
fn indices_heard(world: &mut World) -> (ExtSeqNo, u32) {
    let Flying { from, to, bytes } = world.a.report().expect("it is connected");
    let socket = world.socket(to);
    assert_eq!(world.inject(socket, from, &bytes), Ok(true));
    all_is_heard(world);
    let inbounds = components(&mut world.b.transports).filter_map(|component| component.inbound.as_ref());
    let heard: Vec<Rollover> = inbounds.flat_map(Inbound::rollovers).collect();
    let rtp = heard.iter().filter_map(|rollover| rollover.rtp).max();
    let rtcp = heard.iter().filter_map(|rollover| rollover.rtcp).max();
    (rtp.expect("it heard RTP"), rtcp.expect("it heard RTCP"))
}

#[test]
fn indices_go_on_from_suite_to_suite_and_back_to_the_first() {
    let mut world = connected();
    let first = key(&world);
    let (mut rtp, mut rtcp) = indices_heard(&mut world);
    for suite in [SrtpSuite::AesCm128Sha1_32, SrtpSuite::AeadAes128Gcm, SrtpSuite::AesCm128Sha1_80] {
        let key_and_salt = Secret::new(vec![suite.as_str().as_bytes()[0]; suite.key_length() + suite.salt_length()]);
        let theirs = Crypto { suite, key_and_salt, ..first.clone() };
        let ours = offer(&mut world, &theirs);
        seal_with(&mut world, &theirs);
        open_with(&mut world, &ours);
        let (later_rtp, later_rtcp) = indices_heard(&mut world);
        assert!(later_rtp > rtp && later_rtcp > rtcp, "{suite:?}: a key that was used before may come back");
        (rtp, rtcp) = (later_rtp, later_rtcp);
    }
}

#[test]
fn a_phone_may_change_its_key_again_before_it_has_said_a_word() {
    let mut world = connected();
    world.b.talks = false;
    for fill in [0x6B, 0x6C] {
        let other = Crypto { key_and_salt: Secret::new(vec![fill; 30]), ..key(&world) };
        offer(&mut world, &other);
        seal_with(&mut world, &other); // its rollover counter goes on (RFC 3711 §3.3.1)
        world.run(7 * SECOND);
    }
    world.b.talks = true;
    all_is_heard(&mut world);
    assert_eq!(world.relay.counters().dropped(Dropped::SrtpAuthentication), 0);
}

#[test]
fn a_phone_may_take_a_new_ssrc_with_every_hold_of_a_long_call() {
    let mut world = connected();
    for ssrc in 0..40 {
        world.b.streams[0].ssrc = Ssrc(0xB000 + ssrc);
        world.run(SECOND);
    }
    all_is_heard(&mut world);
    assert_eq!(world.relay.counters().dropped(Dropped::SrtpTooManySources), 0);
}

#[test]
fn an_offer_that_is_rolled_back_changes_no_key() {
    let mut world = connected();
    let present = key(&world);
    let ours = offer(&mut world, &present);
    let taken = taken(&mut world);
    let other = Crypto { key_and_salt: Secret::new(vec![0x6B; 30]), ..present.clone() };
    take_offer(&mut world, &other);
    world.done(Command::Rollback { call: call(), leg: B });
    world.b.transports[0].crypto = vec![present.clone()];
    let offered = pathless(&world.b.describe(Setup::Actpass));
    for _ in 0..2 {
        let offered = world.local(Command::LocalOffer { call: call(), leg: B, offer: offered.clone() });
        world.done(Command::Rollback { call: call(), leg: B });
        let again = offered.streams[0].path.crypto.iter().find(|crypto| crypto.suite == ours.suite);
        assert_eq!(again.map(|crypto| &crypto.key_and_salt), Some(&ours.key_and_salt));
    }
    assert!(taken.iter().all(|packet| is_replayed(&mut world, packet)));
    all_is_heard(&mut world);
    let component = &mut world.b.transports[0].rtp;
    let present_keys = component.outbound.replace(Outbound::new(&MasterKey::from_sdes(&other).expect("a good key")));
    let header = Header::new(PayloadType::try_from(0).expect("one"), SeqNo(9), RtpTime(0), Ssrc(0x77));
    let unwanted = component.send_rtp(&header, b"early", Security::Sdes).expect("it is connected");
    component.outbound = present_keys;
    let socket = world.socket(unwanted.to);
    assert_eq!(world.inject(socket, unwanted.from, &unwanted.bytes), Err(Dropped::SrtpAuthentication));
    assert_eq!(offer(&mut world, &present).key_and_salt, ours.key_and_salt);
    all_is_heard(&mut world);
}
