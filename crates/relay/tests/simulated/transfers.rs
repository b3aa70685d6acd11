//! Somebody else takes the place of a leg's peer.

use std::time::Duration;

use model::{Command, CommandError, Description, Security};

use crate::peer::{Habits, Peer, by_source, ip};
use crate::world::{A, B, World, call, pathless, sdes};

const SECOND: Duration = Duration::from_secs(1);

/// Phones of each kind of protection.
fn phones() -> [Habits; 3] {
    let dtls = Habits { security: Security::Dtls, rtcp_mux: true, ..Habits::phone() };
    [Habits::phone(), sdes(Habits::phone()), dtls]
}

/// A client that talks with a phone, and what we offered to the phone.
fn talking(phone: &Habits) -> (World, Description) {
    let mut world = World::new(Habits::jingle(), phone.clone());
    let [ours, _] = world.call_with(A, B, Vec::new());
    world.run(3 * SECOND);
    assert_heard(&mut world);
    (world, ours)
}

fn another(phone: &Habits) -> Peer {
    Peer::new(Habits { ip: ip("192.0.2.77"), ..phone.clone() })
}

fn assert_heard(world: &mut World) {
    world.forget();
    world.run(SECOND);
    assert_eq!(world.heard(), (vec![50], vec![50]), "{:?}", world.relay);
}

/// Our sockets for what a description names.
fn are_open(world: &World, ours: &Description) -> bool {
    let address = ours.streams[0].path.rtp.or(ours.streams[0].path.candidates.first().map(|first| first.address));
    world.sockets.open.values().any(|open| Some(*open) == address)
}

#[test]
fn one_that_we_call_takes_the_place_of_a_peer() {
    for phone in phones() {
        let (mut world, before) = talking(&phone);
        world.done(Command::Renew { call: call(), leg: B });
        let ours = world.local(Command::LocalOffer { call: call(), leg: B, offer: pathless(&before) });
        let (old, new) = (&before.streams[0].path, &ours.streams[0].path);
        assert!(old.rtp != new.rtp && are_open(&world, &ours), "{new:?}");
        assert!(old.crypto.is_empty() || old.crypto != new.crypto, "its own keys: {new:?}");
        assert_heard(&mut world); // with the one who is there
        let mut other = another(&phone);
        let answer = other.answer(&ours, world.now);
        world.b = other;
        world.done(Command::RemoteAnswer { call: call(), leg: B, answer });
        world.run(3 * SECOND);
        assert_heard(&mut world);
        assert!(are_open(&world, &ours) && !are_open(&world, &before), "{:?}", world.sockets.open);
        assert_eq!(by_source(&world.a.streams[0].heard).len(), 1, "to the client it is the same source");
    }
}

#[test]
fn one_that_calls_us_takes_the_place_of_a_peer() {
    for phone in phones() {
        let (mut world, before) = talking(&phone);
        let mut other = another(&phone);
        let offer = other.offer();
        world.done(Command::Renew { call: call(), leg: B });
        world.done(Command::RemoteOffer { call: call(), leg: B, offer: offer.clone() });
        assert_heard(&mut world);
        let ours = world.local(Command::LocalAnswer { call: call(), leg: B, answer: pathless(&offer) });
        other.take_answer(&ours, world.now);
        world.b = other;
        world.run(3 * SECOND);
        assert_heard(&mut world);
        assert!(are_open(&world, &ours) && !are_open(&world, &before), "{:?}", world.sockets.open);
    }
}

#[test]
fn one_that_does_not_come_leaves_the_peer_where_it_is() {
    for phone in phones() {
        let (mut world, before) = talking(&phone);
        let sockets = world.sockets.open.len();
        world.done(Command::Renew { call: call(), leg: B });
        let again = Command::Renew { call: call(), leg: B };
        assert_eq!(world.command(again), Err(CommandError::OutOfOrder), "one at a time");
        world.local(Command::LocalOffer { call: call(), leg: B, offer: pathless(&before) });
        assert!(world.sockets.open.len() > sockets);
        world.done(Command::Rollback { call: call(), leg: B });
        world.run(SECOND);
        assert_eq!(world.sockets.open.len(), sockets, "nothing is left of it");
        assert_heard(&mut world);
        let ours = world.local(Command::LocalOffer { call: call(), leg: B, offer: pathless(&before) });
        assert_eq!(ours.streams[0].path.rtp, before.streams[0].path.rtp, "the next offer is to the peer");
        // A call that ends meanwhile leaves nothing either.
        world.done(Command::Rollback { call: call(), leg: B });
        world.done(Command::Renew { call: call(), leg: B });
        world.local(Command::LocalOffer { call: call(), leg: B, offer: pathless(&before) });
        assert!(world.command(Command::End { call: call() }).is_ok());
        world.run(10 * SECOND);
        assert_eq!(world.sockets.open.len(), 0, "{:?}", world.sockets.open);
    }
}
