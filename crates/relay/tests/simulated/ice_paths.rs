//! ICE on a leg: trickling, restarts, consent.

use std::time::Duration;

use model::{
    Command, CommandError, IceRole, IceState, LegPolicy, News, PathPolicy, Reply, Security, Setup, SrtpSuite, StreamId,
};
use relay::{Address, Config};

use crate::network::Weather;
use crate::peer::{Habits, ip};
use crate::world::{A, B, World, audio_and_video, call, config, pathless, policy};

const SECOND: Duration = Duration::from_secs(1);

fn connected() -> World {
    let mut world = World::new(Habits::jingle(), Habits::phone());
    world.call();
    world.run(3 * SECOND);
    world.forget();
    world
}

#[test]
fn candidates_may_come_before_our_answer_and_after() {
    for early in [true, false] {
        let mut world = World::new(Habits::jingle(), Habits::phone());
        let mut offer = world.a.offer();
        let candidates = std::mem::take(&mut offer.streams[0].path.candidates);
        offer.streams[0].path.end_of_candidates = false;
        let ufrag = offer.streams[0].path.ice.as_ref().map(|ice| ice.ufrag.clone());
        let add = Command::AddCandidates {
            call: call(),
            leg: A,
            stream: StreamId(0),
            ufrag,
            candidates,
            end_of_candidates: true,
        };
        assert_eq!(world.command(add.clone()), Err(CommandError::UnknownStream), "nothing was offered");
        world.done(Command::RemoteOffer { call: call(), leg: A, offer: offer.clone() });
        if early {
            world.done(add.clone());
        }
        let ours = world.local(Command::LocalAnswer { call: call(), leg: A, answer: pathless(&offer) });
        world.network.cut.push(world.a.habits.ip); // the peer's own checks would tell its address too
        world.a.take_answer(&ours, world.now);
        if !early {
            world.done(add);
        }
        world.run(SECOND / 10);
        world.network.cut.clear();
        world.run(5 * SECOND);
        let connected =
            News::Ice { leg: A, stream: StreamId(0), component: model::Component::Rtp, state: IceState::Connected };
        assert!(world.news.contains(&connected), "early: {early}, {:?}", world.news);
    }
}

#[test]
fn the_peer_restarts_ice_and_media_goes_on() {
    let mut world = connected();
    let theirs = world.a.restart(world.now);
    let reply = world.command(Command::RestartIce {
        call: call(),
        leg: A,
        stream: Some(StreamId(0)),
        remote: Some(theirs.clone()),
    });
    let Ok(Reply::Restarted(paths)) = reply else { panic!("{reply:?}") };
    assert_eq!(paths.len(), 1);
    assert!(paths[0].candidates.iter().all(|candidate| candidate.generation == 1));
    world.a.take_restart(&paths[0].ice, &paths[0].candidates, world.now);
    world.run(3 * SECOND);
    let (a, b) = world.heard();
    assert!(a[0] >= 148 && b[0] >= 148, "no packet is lost: {a:?} {b:?}");
    assert!(!world.news.iter().any(|news| matches!(news, News::Dtls { .. })), "DTLS goes on: {:?}", world.news);
}

#[test]
fn we_restart_ice_and_media_goes_on() {
    let mut world = connected();
    let reply = world.command(Command::RestartIce { call: call(), leg: A, stream: None, remote: None });
    let Ok(Reply::Restarted(paths)) = reply else { panic!("{reply:?}") };
    world.run(SECOND);
    let theirs = world.a.restart(world.now);
    world.a.take_restart(&paths[0].ice, &paths[0].candidates, world.now);
    let reply = world.command(Command::RestartIce { call: call(), leg: A, stream: None, remote: Some(theirs) });
    let Ok(Reply::Restarted(again)) = reply else { panic!("{reply:?}") };
    assert_eq!(again[0].ice, paths[0].ice, "the answer to our restart is no restart of its own");
    world.run(3 * SECOND);
    let (a, b) = world.heard();
    assert!(a[0] >= 198 && b[0] >= 198, "no packet is lost: {a:?} {b:?}");
}

#[test]
fn an_offer_with_new_credentials_restarts_ice() {
    let mut world = connected();
    world.a.restart(world.now);
    let offer = world.a.describe(model::Setup::Actpass);
    world.done(Command::RemoteOffer { call: call(), leg: A, offer: offer.clone() });
    let ours = world.local(Command::LocalAnswer { call: call(), leg: A, answer: pathless(&offer) });
    let path = &ours.streams[0].path;
    world.a.take_restart(path.ice.as_ref().expect("it uses ICE"), &path.candidates, world.now);
    world.run(3 * SECOND);
    let (a, b) = world.heard();
    assert!(a[0] >= 148 && b[0] >= 148, "no packet is lost: {a:?} {b:?}");
    assert!(!world.news.iter().any(|news| matches!(news, News::Dtls { .. })), "DTLS goes on: {:?}", world.news);
}

#[test]
fn a_leg_without_ice_cannot_be_restarted() {
    let mut world = connected();
    let command = Command::RestartIce { call: call(), leg: B, stream: None, remote: None };
    assert_eq!(world.command(command), Err(CommandError::IceRequired));
}

#[test]
fn nothing_is_sent_without_consent() {
    let mut world = connected();
    world.network.cut.push(world.a.habits.ip);
    world.run(31 * SECOND);
    assert!(world.news.contains(&News::ConsentLost { leg: A, stream: StreamId(0) }), "{:?}", world.news);
    let sent = world.relay.counters().packets_forwarded;
    world.run(SECOND);
    assert_eq!(world.relay.counters().packets_forwarded, sent);
}

#[test]
fn bad_weather_delays_a_call_and_does_not_prevent_it() {
    let kinds = audio_and_video();
    let clients = [
        Habits::jingle(),
        Habits { rtcp_mux: false, setup: Setup::Passive, ..Habits::jingle() },
        Habits { kinds, ..Habits::jingle() },
    ];
    for (seed, client) in (1..=9).zip(clients.iter().cycle()) {
        let weather = Weather { loss: 100, duplication: 50, jitter: Duration::from_millis(30) };
        let phone = Habits { kinds: client.kinds.clone(), ..Habits::phone() };
        let mut world = World::with(client.clone(), phone, seed, weather, config());
        world.call();
        world.run(15 * SECOND);
        world.forget();
        world.run(2 * SECOND);
        let (a, b) = world.heard();
        assert!(a.iter().chain(&b).all(|heard| *heard > 60), "seed {seed}: {a:?} {b:?} {:?}", world.relay);
    }
}

#[test]
fn a_trunk_that_is_offered_ice_may_do_without() {
    for (setup, suite) in [(Setup::Active, SrtpSuite::AeadAes128Gcm), (Setup::Passive, SrtpSuite::AesCm128Sha1_80)] {
        let trunk = Habits { security: Security::Dtls, setup, suites: vec![suite], ..Habits::phone() };
        let mut world = World::new(Habits::jingle(), trunk);
        let client = policy(A, &world.a.habits);
        let path = PathPolicy::Ice { role: IceRole::Offerer, required: false };
        let trunk = LegPolicy { path, ..policy(B, &world.b.habits) };
        world.create(vec![client, trunk]);
        let offer = world.a.offer();
        world.done(Command::RemoteOffer { call: call(), leg: A, offer: offer.clone() });
        let ours = world.local(Command::LocalOffer { call: call(), leg: B, offer: pathless(&offer) });
        let path = &ours.streams[0].path;
        assert!(path.ice.is_some() && path.candidates.len() == 2 && path.rtp.is_some() && path.rtcp.is_some());
        let answer = world.b.answer(&ours, world.now);
        world.done(Command::RemoteAnswer { call: call(), leg: B, answer: answer.clone() });
        let ours = world.local(Command::LocalAnswer { call: call(), leg: A, answer: pathless(&answer) });
        world.a.take_answer(&ours, world.now);
        world.run(3 * SECOND);
        let (a, b) = world.heard();
        assert!(a[0] > 100 && b[0] > 100, "{setup:?}: {a:?} {b:?} {:?}", world.relay);
    }
}

#[test]
fn both_families_are_offered_and_a_phone_is_reached_by_its_own() {
    let address =
        |bind: &str, advertise: Option<&str>| Address { name: None, bind: ip(bind), advertise: advertise.map(ip) };
    let addresses = vec![address("10.0.0.1", Some("198.51.100.1")), address("2001:db8::1", None)];
    let config = Config { addresses, ..config() };
    let phone = Habits { ip: ip("2001:db8::20"), ..Habits::phone() };
    let mut world =
        World::with(Habits { ip: ip("2001:db8::10"), ..Habits::jingle() }, phone, 4, Weather::default(), config);
    let offer = world.b.offer();
    world.done(Command::RemoteOffer { call: call(), leg: B, offer: offer.clone() });
    let ours = world.local(Command::LocalOffer { call: call(), leg: A, offer: pathless(&offer) });
    let told: Vec<String> = ours.streams[0].path.candidates.iter().map(|c| c.address.ip().to_string()).collect();
    assert_eq!(told, ["198.51.100.1", "2001:db8::1", "198.51.100.1", "2001:db8::1"]);
    let answer = world.a.answer(&ours, world.now);
    world.done(Command::RemoteAnswer { call: call(), leg: A, answer: answer.clone() });
    let ours = world.local(Command::LocalAnswer { call: call(), leg: B, answer: pathless(&answer) });
    assert_eq!(ours.streams[0].path.rtp.map(|rtp| rtp.ip()), Some(ip("2001:db8::1")));
    let now = world.now;
    world.b.take_answer(&ours, now);
    world.run(4 * SECOND);
    let (a, b) = world.heard();
    assert!(a[0] > 100 && b[0] > 100, "{a:?} {b:?} {:?}", world.relay);
}

#[test]
fn a_phone_that_signals_over_ipv6_is_offered_ipv6() {
    let address = |bind: &str| Address { name: None, bind: ip(bind), advertise: None };
    let config = Config { addresses: vec![address("198.51.100.1"), address("2001:db8::1")], ..config() };
    let phone = Habits { ip: ip("2001:db8::20"), ..Habits::phone() };
    let mut world = World::with(Habits::jingle(), phone, 4, Weather::default(), config);
    let sender = Some(ip("2001:db8::20"));
    let legs = vec![policy(A, &world.a.habits), LegPolicy { sender, ..policy(B, &world.b.habits) }];
    world.create(legs);
    let offer = world.a.offer();
    world.done(Command::RemoteOffer { call: call(), leg: A, offer: offer.clone() });
    let ours = world.local(Command::LocalOffer { call: call(), leg: B, offer: pathless(&offer) });
    assert_eq!(ours.streams[0].path.rtp.map(|rtp| rtp.ip()), Some(ip("2001:db8::1")));
}
