//! What changes under a leg with ICE while media flows: credentials, addresses, consent, certificates.

use std::net::SocketAddr;
use std::time::Duration;

use model::{Command, Component, IceState, LegId, News, Reply, RestartedPath, StreamId};
use relay::{Config, Dropped};

use crate::network::Weather;
use crate::peer::Habits;
use crate::world::{A, B, World, call, config, pathless};

const SECOND: Duration = Duration::from_secs(1);

/// Each way to be reached, and each role: whoever calls controls.
fn worlds(client: &Habits) -> impl Iterator<Item = World> {
    let ways = [(A, B, None), (B, A, None), (A, B, Some(3478)), (B, A, Some(3478))];
    let client = client.clone();
    ways.into_iter().map(move |(caller, callee, ice_port)| connected(client.clone(), caller, callee, ice_port))
}

fn connected(client: Habits, caller: LegId, callee: LegId, ice_port: Option<u16>) -> World {
    let config = Config { ice_port, ..config() };
    let mut world = World::with(client, Habits::phone(), 6, Weather::default(), config);
    world.call_from(caller, callee);
    world.run(5 * SECOND);
    world.forget();
    world
}

fn restart(world: &mut World) -> RestartedPath {
    let theirs = world.a.restart(world.now);
    let command = Command::RestartIce { call: call(), leg: A, stream: None, remote: Some(theirs) };
    match world.command(command) {
        Ok(Reply::Restarted(mut paths)) => paths.remove(0),
        other => panic!("not restarted: {other:?}"),
    }
}

fn states(world: &World) -> Vec<IceState> {
    let state = |news: &News| {
        let News::Ice { leg: A, component: Component::Rtp, state, .. } = news else { return None };
        Some(*state)
    };
    world.news.iter().filter_map(state).collect()
}

#[test]
fn a_restart_loses_nothing_however_long_its_answer_takes() {
    for client in [Habits::jingle(), Habits { rtcp_mux: false, ..Habits::jingle() }] {
        for mut world in worlds(&client) {
            world.network.weather.jitter = Duration::from_millis(15);
            let ours = restart(&mut world);
            world.run(8 * SECOND); // until the client learns of it, the old pair and its checks go on
            assert!(!states(&world).contains(&IceState::Disconnected));
            world.a.take_restart(&ours.ice, &ours.candidates, world.now);
            world.run(12 * SECOND);
            let (a, b) = world.heard();
            assert!(a[0] >= 998 && b[0] >= 998, "{a:?} {b:?} {:?}", world.relay);
            assert_eq!(world.relay.counters().dropped(Dropped::StunUsername), 0, "old credentials are answered");
            assert_eq!(world.relay.counters().dropped(Dropped::UnknownSource), 0);
            assert!(!world.news.iter().any(|news| matches!(news, News::Dtls { .. })), "DTLS goes on");
        }
    }
}

#[test]
fn a_restart_in_bad_weather_leaves_no_leg_behind() {
    for mut world in worlds(&Habits::jingle()) {
        world.network.weather = Weather { loss: 100, duplication: 50, jitter: Duration::from_millis(30) };
        let ours = restart(&mut world);
        world.run(SECOND);
        world.a.take_restart(&ours.ice, &ours.candidates, world.now);
        world.run(19 * SECOND);
        let (a, b) = world.heard();
        assert!(a[0] > 700 && b[0] > 700, "{a:?} {b:?} {:?}", world.relay);
    }
}

#[test]
fn checks_for_the_old_credentials_are_answered_for_five_seconds_more() {
    let mut world = connected(Habits::jingle(), A, B, None);
    let socket = world.socket(world.a.transports[0].rtp.destination().expect("it is connected"));
    let from = world.a.transports[0].rtp.address;
    world.network.cut.push(from.ip());
    world.run(6 * SECOND);
    world.network.cut.clear();
    let mut withheld = world.network.withheld.iter().filter(|held| held.from == from && held.bytes[0] == 0);
    let old = withheld.next().expect("it checks for consent").bytes.clone();
    let ours = restart(&mut world);
    assert_eq!(world.inject(socket, from, &old), Ok(false), "before the answer");
    world.a.take_restart(&ours.ice, &ours.candidates, world.now);
    world.run(3 * SECOND);
    assert_eq!(world.inject(socket, from, &old), Ok(false), "and a little after the new pair is selected");
    world.run(4 * SECOND);
    assert_eq!(world.inject(socket, from, &old), Err(Dropped::StunUsername));
}

#[test]
fn a_gap_shorter_than_consent_is_forgiven() {
    for mut world in worlds(&Habits::jingle()) {
        world.network.cut.push(world.a.habits.ip);
        world.run(20 * SECOND);
        world.network.cut.clear();
        world.run(6 * SECOND);
        assert_eq!(states(&world), [IceState::Disconnected, IceState::Connected]);
        world.forget();
        world.run(SECOND);
        assert_eq!(world.heard(), (vec![50], vec![50]));
    }
}

#[test]
fn without_consent_nothing_is_sent_after_thirty_seconds_and_a_restart_brings_it_back() {
    for mut world in worlds(&Habits::jingle()) {
        world.network.cut.push(world.a.habits.ip);
        world.run(30 * SECOND);
        let lost = world.news.iter().filter(|news| matches!(news, News::ConsentLost { leg: A, .. })).count();
        assert_eq!(lost, 1, "{:?}", world.news);
        let to_a = world.relay.counters().dropped(Dropped::NoDestination);
        let forwarded = world.relay.counters().packets_forwarded;
        world.network.cut.clear(); // what comes back with the old credentials is not enough (RFC 7675 §5.1)
        world.run(5 * SECOND);
        assert_eq!(world.relay.counters().packets_forwarded, forwarded);
        assert!(world.relay.counters().dropped(Dropped::NoDestination) >= to_a + 249);
        let ours = restart(&mut world);
        world.a.take_restart(&ours.ice, &ours.candidates, world.now);
        world.run(2 * SECOND);
        world.forget();
        world.run(SECOND);
        assert_eq!(world.heard(), (vec![50], vec![50]), "{:?}", world.relay);
    }
}

#[test]
fn a_client_whose_translator_gives_it_another_address_is_followed() {
    let outside = |port: u16| SocketAddr::new(crate::peer::ip("203.0.113.5"), port);
    for mut world in worlds(&Habits::jingle()) {
        let inside = world.a.transports[0].rtp.address;
        let socket = world.socket(world.a.transports[0].rtp.destination().expect("it is connected"));
        world.network.translated = vec![(inside, outside(6000))];
        let unknown = world.relay.counters().dropped(Dropped::UnknownSource);
        world.run(SECOND / 10);
        assert!(world.relay.counters().dropped(Dropped::UnknownSource) > unknown, "media alone proves nothing");
        world.forget();
        world.run(5 * SECOND);
        assert!(world.heard().1[0] > 0, "heard with its next check");
        world.run(SECOND + SECOND / 10);
        assert!(world.heard().0[0] > 0, "spoken to a second later, in which the old address has missed four");
        world.forget();
        world.run(SECOND);
        assert_eq!(world.heard(), (vec![50], vec![50]), "{:?}", world.relay);
        world.network.translated = vec![(inside, outside(7000))];
        world.run(6 * SECOND + SECOND / 5);
        world.forget();
        world.run(SECOND);
        assert_eq!(world.heard(), (vec![50], vec![50]), "and once more: {:?}", world.relay);
        let stranger = outside(8000);
        assert_eq!(world.inject(socket, stranger, &[0x80, 0, 0, 1]), Err(Dropped::UnknownSource));
    }
}

#[test]
fn a_restart_with_another_certificate_makes_another_association() {
    for mut world in worlds(&Habits::jingle()) {
        world.a.restart(world.now);
        world.a.renew();
        let offer = world.a.describe(model::Setup::Actpass);
        world.done(Command::RemoteOffer { call: call(), leg: A, offer: offer.clone() });
        let ours = world.local(Command::LocalAnswer { call: call(), leg: A, answer: pathless(&offer) });
        let path = &ours.streams[0].path;
        world.a.take_restart(path.ice.as_ref().expect("it uses ICE"), &path.candidates, world.now);
        world.run(4 * SECOND);
        world.forget();
        world.run(SECOND);
        assert_eq!(world.heard(), (vec![50], vec![50]), "{:?}", world.relay);
    }
}

#[test]
fn candidates_that_trickle_in_late_are_tried() {
    let mut world = World::new(Habits::jingle(), Habits::phone());
    let mut offer = world.a.offer();
    let candidates = std::mem::take(&mut offer.streams[0].path.candidates);
    offer.streams[0].path.end_of_candidates = false;
    world.done(Command::RemoteOffer { call: call(), leg: A, offer: offer.clone() });
    let ours = world.local(Command::LocalAnswer { call: call(), leg: A, answer: pathless(&offer) });
    world.run(20 * SECOND); // the client has not had our answer yet, so only we can check
    assert!(world.news.is_empty(), "{:?}", world.news);
    let (leg, stream) = (A, StreamId(0));
    world.done(Command::AddCandidates { call: call(), leg, stream, ufrag: None, candidates, end_of_candidates: true });
    world.a.take_answer(&ours, world.now);
    world.run(2 * SECOND);
    assert!(states(&world).contains(&IceState::Connected), "{:?}", world.news);
}
