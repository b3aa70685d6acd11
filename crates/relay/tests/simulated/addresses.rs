//! Which of our addresses a leg uses, and how what it sends is marked.

use std::net::SocketAddr;
use std::time::Duration;

use model::{Command, LegPolicy};
use relay::{Address, Config, Traffic};

use crate::network::Weather;
use crate::peer::{Habits, ip};
use crate::world::{A, B, World, audio_and_video, call, config, pathless, policy};

const SECOND: Duration = Duration::from_secs(1);

fn named(name: &str, bind: &str, advertise: Option<&str>) -> Address {
    Address { name: Some(name.to_owned()), bind: ip(bind), advertise: advertise.map(ip) }
}

fn world(a: Habits, b: Habits, addresses: Vec<Address>) -> World {
    World::with(a, b, 5, Weather::default(), Config { addresses, ..config() })
}

#[test]
fn each_leg_uses_the_addresses_of_its_name() {
    for ice_port in [None, Some(3478)] {
        let addresses = vec![
            named("internal", "10.0.0.1", None),
            named("external", "198.51.100.1", None),
            named("external", "2001:db8::1", None),
        ];
        let config = Config { addresses, ice_port, ..config() };
        let phone = Habits { ip: ip("10.0.0.20"), ..Habits::phone() };
        let mut world = World::with(Habits::jingle(), phone, 5, Weather::default(), config);
        let on = |policy, name: &str| LegPolicy { address: Some(name.to_owned()), ..policy };
        let legs = vec![on(policy(A, &world.a.habits), "external"), on(policy(B, &world.b.habits), "internal")];
        world.create(legs);
        world.call_from(B, A);
        world.run(3 * SECOND);
        let (a, b) = world.heard();
        assert!(a[0] > 100 && b[0] > 100, "{a:?} {b:?} {:?}", world.relay);
        let to = world.a.transports[0].rtp.destination().map(|to| to.ip());
        assert_eq!(
            (to, world.b.transports[0].rtp.to.map(|to| to.ip())),
            (Some(ip("198.51.100.1")), Some(ip("10.0.0.1")))
        );
    }
}

#[test]
fn a_name_that_no_address_has_is_refused() {
    let mut world = world(Habits::jingle(), Habits::phone(), vec![named("internal", "198.51.100.1", None)]);
    let phone = LegPolicy { address: Some("external".to_owned()), ..policy(B, &world.b.habits) };
    let _ = world.command(Command::End { call: call() });
    let create = Command::CreateCall { call: call(), legs: vec![policy(A, &world.a.habits), phone] };
    assert_eq!(world.command(create), Err(model::CommandError::NoUsableAddress));
}

#[test]
fn one_address_may_go_by_two_names_and_be_told_in_two_ways() {
    for ice_port in [None, Some(3478)] {
        let addresses = vec![named("internal", "10.0.0.1", None), named("external", "10.0.0.1", Some("198.51.100.1"))];
        let mut world = World::with(
            Habits::jingle(),
            Habits::phone(),
            5,
            Weather::default(),
            Config { addresses, ice_port, ..config() },
        );
        let on = |policy, name: &str| LegPolicy { address: Some(name.to_owned()), ..policy };
        let legs = vec![on(policy(A, &world.a.habits), "external"), on(policy(B, &world.b.habits), "internal")];
        world.create(legs);
        let offer = world.a.offer();
        world.done(Command::RemoteOffer { call: call(), leg: A, offer: offer.clone() });
        let inside = world.local(Command::LocalOffer { call: call(), leg: B, offer: pathless(&offer) });
        let outside = world.local(Command::LocalAnswer { call: call(), leg: A, answer: pathless(&offer) });
        let told: Vec<_> = outside.streams[0].path.candidates.iter().map(|candidate| candidate.address.ip()).collect();
        assert_eq!(told, [ip("198.51.100.1")]);
        assert_eq!(inside.streams[0].path.rtp.map(|rtp| rtp.ip()), Some(ip("10.0.0.1")));
        assert!(world.sockets.open.values().all(|bound| bound.ip() == ip("10.0.0.1")));
        // A leg that may use all of them is told of the first, once.
        world.create(vec![policy(A, &world.a.habits), policy(B, &world.b.habits)]);
        let offer = world.a.offer();
        world.done(Command::RemoteOffer { call: call(), leg: A, offer: offer.clone() });
        let ours = world.local(Command::LocalAnswer { call: call(), leg: A, answer: pathless(&offer) });
        assert_eq!(ours.streams[0].path.candidates.len(), 1);
    }
}

#[test]
fn ipv4_and_ipv6_talk_to_each_other_both_ways_round() {
    for (client, phone) in [("192.0.2.10", "2001:db8::20"), ("2001:db8::10", "192.0.2.20")] {
        for ice_port in [None, Some(3478)] {
            let addresses = vec![named("four", "198.51.100.1", None), named("six", "2001:db8::1", None)];
            let client = Habits { ip: ip(client), ..Habits::jingle() };
            let phone = Habits { ip: ip(phone), ..Habits::phone() };
            let config = Config { addresses, ice_port, ..config() };
            let mut world = World::with(client, phone, 5, Weather::default(), config);
            world.call_from(B, A);
            world.run(4 * SECOND);
            let (a, b) = world.heard();
            assert!(a[0] > 100 && b[0] > 100, "{a:?} {b:?} {:?}", world.relay);
        }
    }
}

#[test]
fn a_port_is_opened_for_what_it_carries() {
    let kinds = audio_and_video();
    let client = Habits { kinds: kinds.clone(), ..Habits::jingle() };
    let mut world = world(client, Habits { kinds, ..Habits::phone() }, config().addresses);
    world.call();
    let traffic = |world: &World, at: Option<SocketAddr>| world.sockets.traffic[&at.expect("we told it")];
    let to: Vec<_> = world.b.transports.iter().map(|transport| traffic(&world, transport.rtp.to)).collect();
    assert_eq!(to, [Traffic::Audio, Traffic::Video], "each has a port of its own");
    world.run(2 * SECOND);
    assert_eq!(traffic(&world, world.a.transports[0].rtp.destination()), Traffic::Audio, "a bundle of both");
    let config = Config { ice_port: Some(3478), ..config() };
    let world = World::with(Habits::jingle(), Habits::phone(), 5, Weather::default(), config);
    assert!(world.sockets.traffic.values().all(|traffic| *traffic == Traffic::Shared));
}
