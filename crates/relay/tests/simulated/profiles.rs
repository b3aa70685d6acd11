//! Any pairing of what protects the two legs, RTCP muxed or separate on either.

use std::time::Duration;

use model::{Command, Secret, Security, SrtpSuite};

use crate::peer::{Habits, Odd, by_source, ip};
use crate::world::{A, B, World, call, pathless};

const SECOND: Duration = Duration::from_secs(1);

/// Phones of all kinds: plain, with keys in the description and with DTLS, with RTCP muxed and separate.
fn kinds() -> Vec<Habits> {
    let mut kinds = Vec::new();
    for rtcp_mux in [true, false] {
        for security in [Security::Rtp, Security::Sdes, Security::Dtls] {
            kinds.push(Habits { security, rtcp_mux, ..Habits::phone() });
        }
    }
    kinds
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

#[test]
fn any_leg_is_paired_with_any_other() {
    for a in kinds() {
        for b in kinds() {
            let mut world = World::new(Habits { ip: ip("192.0.2.30"), ..a.clone() }, b);
            world.call_from(A, B);
            world.run(3 * SECOND);
            all_is_heard(&mut world);
        }
    }
}

#[test]
fn any_suite_is_paired_with_any_other_and_the_same_has_a_key_of_its_own_on_each_leg() {
    for near in SrtpSuite::ALL {
        for far in SrtpSuite::ALL {
            let phone = |suite| Habits { security: Security::Sdes, suites: vec![suite], ..Habits::phone() };
            let mut world = World::new(Habits { ip: ip("192.0.2.30"), ..phone(near) }, phone(far));
            world.call_from(A, B);
            world.run(SECOND);
            all_is_heard(&mut world);
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
        let offer = world.b.describe(model::Setup::Actpass);
        world.done(Command::RemoteOffer { call: call(), leg: B, offer: offer.clone() });
        let ours = world.local(Command::LocalAnswer { call: call(), leg: B, answer: pathless(&offer) });
        let now = world.now;
        world.b.take_answer(&ours, now);
        world.run(SECOND / 5);
        all_is_heard(&mut world);
    }
}
