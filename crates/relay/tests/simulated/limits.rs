//! Bounds: ports, calls, memory, and any order of commands and packets.

use std::net::SocketAddr;
use std::time::Duration;

use model::{
    CallId, Candidate, CandidateKind, Command, CommandError, Component, Description, Direction, DtmfDigit,
    IceParameters, LegId, LegPolicy, MediaKind, Reply, Secret, StreamId,
};
use proptest::prelude::*;
use relay::{CertificatePolicy, Config, Datagram, Dropped, OpenError, PortShare, Relay, SocketId, Sockets};

use crate::peer::{Habits, Peer, media_stream};
use crate::world::{A, B, Fakes, World, call, config, pathless, seeded, start};

fn relay(ports: std::ops::RangeInclusive<u16>, max_calls: usize) -> Relay {
    let ports = PortShare { range: ports, number: 0, of: 1 };
    Relay::new(Config { ports, max_calls, ..config() }, seeded(1))
}

fn legs() -> Vec<LegPolicy> {
    vec![LegPolicy::jingle(A), LegPolicy::plain_sip(B)]
}

fn sound() -> Description {
    Description { streams: vec![media_stream(StreamId(0), MediaKind::Audio)], bundle: Vec::new() }
}

#[test]
fn a_call_has_two_legs_and_a_number_of_its_own() {
    let (mut relay, mut sockets, now) = (relay(30_000..=30_099, 1), Fakes::default(), start());
    let mut create = |number: u64, legs: Vec<LegPolicy>| {
        relay.handle_command(Command::CreateCall { call: CallId::from(number), legs }, now, &mut sockets)
    };
    assert_eq!(create(1, vec![LegPolicy::jingle(A)]), Err(CommandError::BadLegs));
    assert_eq!(create(1, vec![LegPolicy::jingle(A), LegPolicy::plain_sip(A)]), Err(CommandError::BadLegs));
    assert_eq!(create(1, legs()), Ok(Reply::Done));
    assert_eq!(create(1, legs()), Err(CommandError::CallExists));
    assert_eq!(create(2, legs()), Err(CommandError::TooManyCalls));
    let named = LegPolicy { address: Some("inside".to_owned()), ..LegPolicy::plain_sip(B) };
    let mut relay = self::relay(30_000..=30_099, 1);
    let create = Command::CreateCall { call: CallId::from(3), legs: vec![LegPolicy::jingle(A), named] };
    assert_eq!(relay.handle_command(create, now, &mut sockets), Err(CommandError::NoUsableAddress));
}

#[test]
fn a_certificate_is_that_of_the_process_or_of_one_call() {
    let fingerprints = |certificates| {
        let mut relay = Relay::new(Config { certificates, ..config() }, seeded(1));
        let (mut sockets, now) = (Fakes::default(), start());
        [1, 2].map(|number| {
            let call = CallId::from(number);
            let created = relay.handle_command(Command::CreateCall { call, legs: legs() }, now, &mut sockets);
            assert_eq!(created, Ok(Reply::Done));
            let offer = Command::LocalOffer { call, leg: A, offer: sound() };
            match relay.handle_command(offer, now, &mut sockets) {
                Ok(Reply::Local(offer)) => offer.streams[0].path.dtls.clone().expect("a DTLS leg").fingerprints,
                other => panic!("not a description: {other:?}"),
            }
        })
    };
    let [first, second] = fingerprints(config().certificates);
    assert_eq!(first, second, "of the process");
    let [first, second] = fingerprints(CertificatePolicy::PerCall);
    assert_ne!(first, second, "of each call");
}

#[test]
fn when_the_ports_are_used_up_a_call_is_refused_and_nothing_is_kept() {
    let (mut relay, mut sockets, now) = (relay(30_000..=30_005, 100), Fakes::default(), start());
    sockets.taken.push(30_003);
    for number in 0..3 {
        let call = CallId::from(number);
        let created = relay.handle_command(Command::CreateCall { call, legs: legs() }, now, &mut sockets);
        assert_eq!(created, Ok(Reply::Done));
        let offer = Command::LocalOffer { call, leg: B, offer: sound() };
        let offered = relay.handle_command(offer, now, &mut sockets);
        assert_eq!(offered.is_ok(), number < 2, "of three pairs one is taken by somebody else");
        if let Err(error) = offered {
            assert_eq!(error, CommandError::NoFreePort);
        }
    }
    assert_eq!((sockets.open.len(), relay.counters().ports_in_use), (4, 4));
    let end = Command::End { call: CallId::from(0) };
    assert!(relay.handle_command(end, now, &mut sockets).is_ok());
    close(&mut relay, &mut sockets);
    let offer = Command::LocalOffer { call: CallId::from(2), leg: B, offer: sound() };
    let mut again = |now| relay.handle_command(offer.clone(), now, &mut sockets).map(drop);
    assert_eq!(again(now + Duration::from_millis(99)), Err(CommandError::NoFreePort), "the old peer may still send");
    assert_eq!(again(now + Duration::from_millis(101)), Ok(()), "there is room again");
}

#[test]
fn what_the_machine_has_no_more_of_is_said_and_the_call_stays_as_it_was() {
    let refusals: [(fn() -> OpenError, CommandError); 4] = [
        (|| OpenError::NoDescriptor, CommandError::NoFreeDescriptor),
        (|| OpenError::NoMemory, CommandError::NoMemory),
        (|| OpenError::AddressGone, CommandError::NoUsableAddress),
        (|| OpenError::Other(std::io::Error::other("odd")), CommandError::NoSocket),
    ];
    for (refusal, error) in refusals {
        let mut world = World::new(Habits::jingle(), Habits::phone());
        let offer = world.a.offer();
        world.done(Command::RemoteOffer { call: call(), leg: A, offer: offer.clone() });
        world.sockets.refusal = Some(refusal);
        let offered = Command::LocalOffer { call: call(), leg: B, offer: pathless(&offer) };
        assert_eq!(world.command(offered), Err(error.clone()));
        let answered = Command::LocalAnswer { call: call(), leg: A, answer: pathless(&offer) };
        assert_eq!(world.command(answered), Err(error));
        assert!(world.sockets.open.is_empty() && world.relay.counters().ports_in_use == 0);
        world.sockets.refusal = None;
        let ours = world.local(Command::LocalOffer { call: call(), leg: B, offer: pathless(&offer) });
        let answer = world.b.answer(&ours, world.now);
        world.done(Command::RemoteAnswer { call: call(), leg: B, answer: answer.clone() });
        let ours = world.local(Command::LocalAnswer { call: call(), leg: A, answer: pathless(&answer) });
        world.a.take_answer(&ours, world.now);
        world.run(Duration::from_secs(3));
        assert!(world.heard().0[0] > 50, "the call goes on as if nothing had been");
    }
}

#[test]
fn a_leg_has_no_more_streams_than_it_may() {
    let (mut relay, mut sockets, now) = (relay(30_000..=30_099, 1), Fakes::default(), start());
    let call = CallId::from(1);
    let created = relay.handle_command(Command::CreateCall { call, legs: legs() }, now, &mut sockets);
    assert_eq!(created, Ok(Reply::Done));
    let streams = (0..17).map(|number| media_stream(StreamId(number), MediaKind::Audio)).collect();
    let offer = Command::LocalOffer { call, leg: B, offer: Description { streams, bundle: Vec::new() } };
    assert_eq!(relay.handle_command(offer, now, &mut sockets), Err(CommandError::TooManyStreams));
    close(&mut relay, &mut sockets);
    assert!(sockets.open.is_empty(), "nothing is kept");
}

#[test]
fn a_thousand_calls_leave_nothing_behind() {
    let (mut relay, mut sockets, now) = (relay(30_000..=34_999, 1000), Fakes::default(), start());
    let mut client = Peer::new(Habits::jingle());
    let offer = client.offer();
    let mut command = |relay: &mut Relay, command| {
        let reply = relay.handle_command(command, now, &mut sockets);
        while relay.poll_transmit().is_some() || relay.poll_event().is_some() || relay.poll_dtls().is_some() {}
        close(relay, &mut sockets);
        reply.unwrap_or_else(|error| panic!("{error}"))
    };
    for number in 0..1000 {
        let call = CallId::from(number);
        command(&mut relay, Command::CreateCall { call, legs: legs() });
        command(&mut relay, Command::RemoteOffer { call, leg: A, offer: offer.clone() });
        command(&mut relay, Command::LocalOffer { call, leg: B, offer: pathless(&offer) });
        command(&mut relay, Command::LocalAnswer { call, leg: A, answer: pathless(&offer) });
    }
    assert_eq!(relay.counters().calls, 1000);
    assert_eq!(relay.counters().ports_in_use, 3000);
    assert!(relay.poll_timeout().is_some());
    for number in 0..1000 {
        command(&mut relay, Command::End { call: CallId::from(number) });
    }
    assert_eq!((relay.counters().calls, relay.counters().ports_in_use), (0, 0));
    assert_eq!(relay.poll_timeout(), None, "no timer is left");
    assert!(sockets.open.is_empty());
}

#[test]
fn all_legs_together_have_no_more_streams_than_they_may() {
    let config = Config { max_streams: 3, ..config() };
    let (mut relay, mut sockets, now) = (Relay::new(config, seeded(1)), Fakes::default(), start());
    let mut command = |command| relay.handle_command(command, now, &mut sockets).map(drop);
    let offer = Peer::new(Habits::jingle()).offer();
    for (number, answered) in [(1, Ok(())), (2, Err(CommandError::TooManyStreams))] {
        let call = CallId::from(number);
        assert_eq!(command(Command::CreateCall { call, legs: legs() }), Ok(()));
        assert_eq!(command(Command::RemoteOffer { call, leg: A, offer: offer.clone() }), Ok(()));
        assert_eq!(command(Command::LocalOffer { call, leg: B, offer: pathless(&offer) }), Ok(()));
        assert_eq!(command(Command::LocalAnswer { call, leg: A, answer: pathless(&offer) }), answered);
    }
    assert_eq!(command(Command::End { call: CallId::from(1) }), Ok(()));
    let answer = Command::LocalAnswer { call: CallId::from(2), leg: A, answer: pathless(&offer) };
    assert_eq!(command(answer), Ok(()), "there is room again");
    assert_eq!(relay.counters().streams, 2);
}

#[test]
fn candidates_beyond_those_that_ice_keeps_are_counted_and_harm_nothing() {
    let mut world = World::new(Habits::jingle(), Habits::phone());
    let mut offer = world.a.offer();
    let good = offer.streams[0].path.candidates.clone();
    let many = (0..10_000_u16).map(|port| Candidate {
        address: SocketAddr::new(crate::peer::ip("192.0.2.99"), 1000 + port),
        priority: 1,
        ..good[0].clone()
    });
    offer.streams[0].path.candidates.extend(many);
    world.done(Command::RemoteOffer { call: call(), leg: A, offer: offer.clone() });
    let ours = world.local(Command::LocalOffer { call: call(), leg: B, offer: pathless(&offer) });
    let answer = world.b.answer(&ours, world.now);
    world.done(Command::RemoteAnswer { call: call(), leg: B, answer: answer.clone() });
    let ours = world.local(Command::LocalAnswer { call: call(), leg: A, answer: pathless(&answer) });
    world.a.take_answer(&ours, world.now);
    let refused = world.relay.counters().dropped(Dropped::CandidateTooMany);
    assert_eq!(refused, 10_000 - 63, "64 are kept");
    world.run(Duration::from_secs(3));
    assert!(world.heard().0[0] > 50);
}

#[test]
fn strangers_that_are_wrong_too_often_are_not_looked_into_and_disturb_nobody() {
    let mut world = World::new(Habits::jingle(), Habits::phone());
    world.call();
    world.run(Duration::from_secs(3));
    world.forget();
    let (client, to) = (world.a.transports[0].rtp.address, world.a.transports[0].rtp.destination());
    let socket = world.socket(to.expect("it is connected"));
    let stranger = SocketAddr::new(client.ip(), 999); // behind the same address as the client
    let mut forged = vec![0, 1, 0, 0, 0x21, 0x12, 0xA4, 0x42];
    forged.resize(20, 9);
    for _ in 0..101 {
        assert_eq!(world.inject(socket, stranger, &forged), Err(Dropped::StunIntegrity));
    }
    assert_eq!(world.inject(socket, stranger, &forged), Err(Dropped::TooManyWrong));
    assert_eq!(world.inject(socket, client, &forged), Err(Dropped::StunIntegrity), "a validated source is looked into");
    for _ in 0..2000 {
        assert_eq!(world.inject(socket, stranger, &forged), Err(Dropped::TooManyWrong));
    }
    for _ in 0..40 {
        world.run(Duration::from_secs(1));
        (0..150).for_each(|_| assert!(world.inject(socket, stranger, &forged).is_err()));
    }
    let (a, b) = world.heard();
    assert!(a[0] >= 1999 && b[0] >= 1999, "consent goes on: {a:?} {b:?}");
}

#[test]
fn a_peer_gives_the_dtls_engine_no_more_to_do_than_a_handshake_takes() {
    let mut world = World::new(Habits::jingle(), Habits::phone());
    world.call();
    world.run(Duration::from_secs(5));
    let (client, to) = (world.a.transports[0].rtp.address, world.a.transports[0].rtp.destination());
    let socket = world.socket(to.expect("it is connected"));
    let taken = (0..1000).filter(|_| world.inject(socket, client, &[22, 254, 253, 0, 0]).is_ok()).count();
    assert_eq!(taken, 101);
    assert_eq!(world.relay.counters().dropped(Dropped::DtlsTooMany), 899);
}

/// Closes what the relay needs no more.
fn close(relay: &mut Relay, sockets: &mut Fakes) {
    while let Some(id) = relay.poll_close() {
        sockets.close(id);
    }
}

/// One thing that may happen to a relay.
#[derive(Clone, Debug)]
enum Act {
    Command(Command),
    Packet { socket: u32, from: u8, bytes: Vec<u8> },
    Time(u64),
}

fn description() -> impl Strategy<Value = Description> {
    let habits = prop_oneof![Just(Habits::jingle()), Just(Habits::phone())];
    (habits, prop::collection::vec((0_u16..4, any::<bool>()), 0..4), any::<bool>(), any::<bool>()).prop_map(
        |(habits, streams, bundled, bare)| {
            let kinds = vec![MediaKind::Audio; streams.len().max(1)];
            let mut description = Peer::new(Habits { kinds, ..habits }).offer();
            description.streams.truncate(streams.len());
            for (stream, (id, rejected)) in description.streams.iter_mut().zip(&streams) {
                (stream.id, stream.rejected) = (StreamId(*id), *rejected);
            }
            description.bundle = if bundled { streams.iter().map(|(id, _)| StreamId(*id)).collect() } else { vec![] };
            if bare { pathless(&description) } else { description }
        },
    )
}

fn command() -> impl Strategy<Value = Command> {
    let ids = (0_u64..2, 0_u16..3, 0_u16..4)
        .prop_map(|(call, leg, stream)| (CallId::from(call), LegId(leg), StreamId(stream)));
    let ice = IceParameters { ufrag: "abcd".to_owned(), pwd: Secret::new("x".repeat(22)), lite: false };
    let candidate = Candidate {
        foundation: "1".to_owned(),
        component: Component::Rtcp,
        priority: 1,
        address: SocketAddr::new(crate::peer::ip("192.0.2.99"), 9),
        kind: CandidateKind::Host,
        related: None,
        generation: 0,
    };
    (ids, 0..14_u8, description(), any::<bool>()).prop_map(move |((call, leg, stream), kind, description, yes)| {
        match kind {
            0 => Command::CreateCall { call, legs: legs() },
            1 => Command::End { call },
            2 | 3 => Command::RemoteOffer { call, leg, offer: description },
            4 | 5 => Command::LocalAnswer { call, leg, answer: description },
            6 => Command::LocalOffer { call, leg, offer: description },
            7 => Command::RemoteAnswer { call, leg, answer: description },
            8 => Command::Rollback { call, leg },
            13 => Command::Renew { call, leg },
            9 => Command::RestartIce {
                call,
                leg,
                stream: Some(stream).filter(|_| yes),
                remote: yes.then(|| ice.clone()),
            },
            10 => Command::RemoveStream { call, stream },
            11 if yes => Command::Hold { call, leg, direction: Direction::SendOnly },
            11 => {
                Command::SendDtmf { call, leg, digit: DtmfDigit::from_event(3).expect("a key"), duration_ms: 100_000 }
            }
            _ => Command::AddCandidates {
                call,
                leg,
                stream,
                ufrag: yes.then(|| "abcd".to_owned()),
                candidates: vec![candidate.clone(); 5],
                end_of_candidates: yes,
            },
        }
    })
}

fn act() -> impl Strategy<Value = Act> {
    let packet = (0..12_u32, any::<u8>(), prop_oneof![Just(0x80_u8), Just(22), Just(0)], any::<Vec<u8>>());
    prop_oneof![
        6 => command().prop_map(Act::Command),
        2 => packet.prop_map(|(socket, from, first, mut bytes)| {
            bytes.insert(0, first);
            Act::Packet { socket, from, bytes }
        }),
        1 => (0_u64..60_000).prop_map(Act::Time),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn any_order_of_commands_packets_and_time_does_no_harm(
        acts in prop::collection::vec(act(), 1..40),
        ice_port in prop_oneof![Just(None), Just(Some(3478))],
    ) {
        let ports = PortShare { range: 30_000..=30_019, number: 0, of: 1 };
        let mut relay = Relay::new(Config { ports, max_calls: 2, ice_port, ..config() }, seeded(1));
        let mut sockets = Fakes::default();
        relay.open_ice_port(&mut sockets).expect("nobody else has the port");
        let mut now = start();
        for act in acts {
            match act {
                Act::Command(command) => {
                    let _ = relay.handle_command(command, now, &mut sockets);
                }
                Act::Packet { socket, from, bytes } => {
                    let from = SocketAddr::new(crate::peer::ip("192.0.2.20"), 5000 + u16::from(from % 4));
                    let length = bytes.len();
                    let mut buffer = bytes;
                    buffer.resize(length + Datagram::TAIL_ROOM, 0);
                    let arrived_on = SocketId(socket);
                    let _ = relay.handle_packet(Datagram { arrived_on, from, buffer: &mut buffer, length }, now);
                }
                Act::Time(ms) => {
                    let end = now + Duration::from_millis(ms);
                    let mut steps = 0;
                    while let Some(at) = relay.poll_timeout().filter(|at| *at <= end) {
                        now = now.max(at);
                        relay.handle_timeout(now);
                        while relay.poll_transmit().is_some() {}
                        steps += 1;
                        prop_assert!(steps < 200_000, "time stands still");
                    }
                    now = end;
                }
            }
            while relay.poll_transmit().is_some() || relay.poll_event().is_some() || relay.poll_dtls().is_some() {}
            close(&mut relay, &mut sockets);
            prop_assert_eq!(relay.counters().ports_in_use, sockets.open.len());
        }
        for call in 0..2 {
            let _ = relay.handle_command(Command::End { call: CallId::from(call) }, now, &mut sockets);
        }
        while let Some(at) = relay.poll_timeout() {
            relay.handle_timeout(at); // no engine says what it has to say of associations
        }
        close(&mut relay, &mut sockets);
        prop_assert_eq!(sockets.open.len(), usize::from(ice_port.is_some()), "the shared port stays");
        prop_assert_eq!(relay.counters().streams, 0);
    }
}
