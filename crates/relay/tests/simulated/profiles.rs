//! Any pairing of the profiles and suites of the two legs, RTCP muxed or separate on either.

use std::time::Duration;

use model::{Command, Feedback, LegId, Profile, Reply, Secret, Security, Setup, SrtpSuite};

use crate::peer::{Habits, Odd, by_source, ip};
use crate::world::{A, B, World, call, pathless};

const SECOND: Duration = Duration::from_secs(1);

/// Phones of all kinds: of every profile, with RTCP muxed and separate.
fn kinds() -> Vec<Habits> {
    let kind = |profile: Profile, rtcp_mux| {
        let security = match profile {
            Profile::Avp | Profile::Avpf => Security::Rtp,
            Profile::Savp | Profile::Savpf => Security::Sdes,
            Profile::TlsSavp | Profile::TlsSavpf => Security::Dtls,
        };
        Habits { security, feedback: profile.has_feedback(), rtcp_mux, ..Habits::phone() }
    };
    Profile::ALL.into_iter().flat_map(|profile| [true, false].map(|rtcp_mux| kind(profile, rtcp_mux))).collect()
}

/// Phones that know one suite each, with keys in the description and with DTLS.
fn kinds_by_suite() -> Vec<Habits> {
    let kind = |security, suite| Habits { security, suites: vec![suite], ..Habits::phone() };
    let by_sdes = SrtpSuite::ALL.map(|suite| kind(Security::Sdes, suite));
    let by_dtls = dtls::SUITES.map(|suite| kind(Security::Dtls, suite));
    by_sdes.into_iter().chain(by_dtls).collect()
}

/// What we offer to a peer: with feedback where it is to have some, and always with DTLS, as browsers want it
/// (RFC 8827 §6.5).
fn offered_to(callee: &Habits) -> Profile {
    match callee.security {
        Security::Dtls => Profile::TlsSavpf,
        Security::Rtp | Security::Sdes => callee.profile(),
    }
}

fn all_is_heard(world: &mut World) {
    world.forget();
    world.run(SECOND);
    assert_eq!(world.heard(), (vec![50], vec![50]), "{:?}", world.relay);
    for odd in [&world.odd_a, &world.odd_b] {
        assert!(!odd.contains(&Odd::NotOpened) && !odd.contains(&Odd::Unprotected), "{odd:?}");
    }
    for stream in world.a.streams.iter().chain(&world.b.streams) {
        assert_eq!(by_source(&stream.heard).len(), 1, "one SSRC");
    }
}

/// Asks one leg to send again what it sent, and says whether the question came to it.
fn is_asked_again(world: &mut World, asked: LegId, asking: LegId) -> bool {
    let nack = world.peer(asking).nack().expect("it heard something");
    let socket = world.socket(nack.to);
    world.forget();
    let _ = world.inject(socket, nack.from, &nack.bytes);
    world.run(SECOND / 10);
    let own = world.peer(asked).streams[0].ssrc.0.to_be_bytes();
    let odd = if asked == A { &world.odd_a } else { &world.odd_b };
    let is_about_own = |bytes: &Vec<u8>| bytes[..2] == [0x81, 205] && bytes[8..12] == own;
    odd.iter().any(|odd| matches!(odd, Odd::Rtcp(bytes) if is_about_own(bytes)))
}

/// What we write into an offer, should we make another one.
fn profile_of_a_later_offer(world: &mut World, leg: LegId) -> Profile {
    let offer = pathless(&world.peer(leg).describe(Setup::Actpass));
    let ours = world.local(Command::LocalOffer { call: call(), leg, offer });
    world.done(Command::Rollback { call: call(), leg });
    ours.streams[0].path.profile
}

#[test]
fn any_profile_is_paired_with_any_other_and_feedback_goes_where_it_is_known() {
    for a in kinds() {
        for b in kinds() {
            let pairing = format!("{} to {}", a.profile(), b.profile());
            let (caller, callee) = (a.profile(), b.profile());
            let (answered, offered) = (caller, offered_to(&b));
            let feedback = callee.has_feedback().then(|| Feedback { kind: "nack".to_owned(), subtype: String::new() });
            let mut world = World::new(Habits { ip: ip("192.0.2.30"), ..a.clone() }, b);
            let ours = world.call_with(A, B, feedback.into_iter().collect());
            assert_eq!(ours.map(|ours| ours.streams[0].path.profile), [offered, answered], "{pairing}");
            world.run(2 * SECOND);
            all_is_heard(&mut world);
            let heeded = [is_asked_again(&mut world, A, B), is_asked_again(&mut world, B, A)];
            assert_eq!(heeded, [caller, callee].map(Profile::has_feedback), "{pairing}");
            let later = [A, B].map(|leg| profile_of_a_later_offer(&mut world, leg));
            assert_eq!(later, [answered, offered], "{pairing}");
            all_is_heard(&mut world);
        }
    }
}

#[test]
fn any_suite_is_paired_with_any_other_and_the_same_has_a_key_of_its_own_on_each_leg() {
    for a in kinds_by_suite() {
        for b in kinds_by_suite() {
            let expected = [&a, &b].map(|habits| (Some(habits.security), Some(habits.suites[0])));
            let mut world = World::new(Habits { ip: ip("192.0.2.30"), ..a.clone() }, b);
            world.call_from(A, B);
            world.run(2 * SECOND);
            all_is_heard(&mut world);
            let Ok(Reply::Statistics(figures)) = world.command(Command::Query { call: call() }) else {
                panic!("no figures")
            };
            let used: Vec<_> = figures.legs.iter().map(|leg| (leg.security, leg.suite)).collect();
            assert_eq!(used, expected);
        }
    }
}

#[test]
fn a_peer_may_change_its_key_in_an_offer() {
    for suite in SrtpSuite::ALL {
        let phone = Habits { security: Security::Sdes, suites: vec![suite], ..Habits::phone() };
        let mut world = World::new(Habits { ip: ip("192.0.2.30"), ..phone.clone() }, phone);
        world.call_from(A, B);
        world.run(SECOND);
        for key in &mut world.b.transports[0].crypto {
            key.key_and_salt = Secret::new(vec![0xA5; suite.key_length() + suite.salt_length()]);
        }
        let offer = world.b.describe(Setup::Actpass);
        world.done(Command::RemoteOffer { call: call(), leg: B, offer: offer.clone() });
        let ours = world.local(Command::LocalAnswer { call: call(), leg: B, answer: pathless(&offer) });
        let now = world.now;
        world.b.take_answer(&ours, now);
        world.run(SECOND / 5);
        all_is_heard(&mut world);
    }
}
