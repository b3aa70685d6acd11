//! RTCP that the relay writes itself, what it learns from that of the peers, and the figures it keeps.

use std::time::Duration;

use media::demux::Media;
use media::rtcp::{ReportBlock, RtcpPacket, SenderInfo, Walk, Writer};
use media::rtp::RtpTime;
use model::{CallStatistics, Command, Description, Feedback, LegId, MediaKind, News, Reply, Reporting, Ssrc, StreamId};

use crate::network::{Flying, Weather};
use crate::peer::{Habits, Odd, Peer};
use crate::world::{A, B, World, call, config, pathless};

const SECOND: Duration = Duration::from_secs(1);

/// The beginning, as time since 1970 and as NTP time.
const NOON: (Duration, u64) = (Duration::from_secs(3_900_000_000 - 2_208_988_800), 3_900_000_000 << 32);

fn reporting(reporting: Reporting) -> World {
    let mut world = World::new(Habits { reporting, ..Habits::jingle() }, Habits { reporting, ..Habits::phone() });
    world.relay.set_clock(world.now, NOON.0);
    world.call();
    world.run(3 * SECOND);
    world
}

fn figures(world: &mut World) -> CallStatistics {
    match world.command(Command::Query { call: call() }) {
        Ok(Reply::Statistics(figures)) => figures,
        other => panic!("no figures: {other:?}"),
    }
}

/// What a peer got of RTCP, packet by packet: type and sender, and the information of an SR.
fn heard(odd: &[Odd]) -> Vec<(u8, Ssrc, Option<SenderInfo>, Vec<ReportBlock>)> {
    let compounds = odd.iter().filter_map(|odd| match odd {
        Odd::Rtcp(bytes) => Some(bytes),
        Odd::NotOpened | Odd::Unprotected => None,
    });
    let taken_apart = |packet: RtcpPacket<'_>| {
        let sender = packet.sender().expect("nobody sends less");
        (packet.packet_type, sender, packet.sender_info(), packet.report_blocks().collect())
    };
    compounds
        .flat_map(|bytes| Walk::new(bytes).map(|packet| taken_apart(packet.expect("sound"))).collect::<Vec<_>>())
        .collect()
}

/// Sends an RTCP packet of a peer's to the relay.
fn send(world: &mut World, leg: LegId, write: impl FnOnce(&mut Writer<'_>, &Peer)) {
    let mut bytes = [0; 256];
    let mut writer = Writer::new(&mut bytes);
    write(&mut writer, world.peer(leg));
    let length = writer.length();
    let peer = world.peer(leg);
    let security = peer.habits.security;
    let transport = &mut peer.transports[0];
    let component = transport.rtcp.as_mut().unwrap_or(&mut transport.rtp);
    let flying = component.send(&bytes[..length], Media::Rtcp, security);
    let Flying { from, to, bytes } = flying.expect("it is connected");
    let socket = world.socket(to);
    let _ = world.inject(socket, from, &bytes);
}

fn block(ssrc: Ssrc) -> ReportBlock {
    ReportBlock { ssrc, fraction_lost: 0, lost: 0, highest: 0, jitter: 0, last_sr: 0, delay_since_last_sr: 0 }
}

/// The SSRC under which a peer hears the other.
fn heard_as(peer: &Peer) -> Ssrc {
    peer.streams[0].heard.last().expect("it hears the other").0.ssrc
}

#[test]
fn scores_are_kept_though_no_peer_reports() {
    let mut world = reporting(Reporting::Translated);
    world.run(10 * SECOND);
    for leg in figures(&mut world).legs {
        let stream = &leg.streams[0];
        assert_eq!((stream.peer_lost, stream.round_trip_ms), (0, None));
        for score in [stream.received_mos, stream.sent_mos] {
            let score = score.expect("it was measured");
            assert!(score.min > 4.3 && score.current >= score.min && score.average >= score.min, "{score:?}");
        }
    }
    let [bad, poor, fair, good] = world.relay.counters().scores;
    assert!(bad + poor + fair == 0 && good >= 8, "twice each way of each leg");
}

#[test]
fn loss_on_the_way_costs_the_score_of_its_direction() {
    let weather = Weather { loss: 100, ..Weather::default() };
    let mut world = World::with(
        Habits::phone(),
        Habits { ip: crate::peer::ip("192.0.2.21"), ..Habits::phone() },
        5,
        weather,
        config(),
    );
    world.call();
    world.run(12 * SECOND);
    let figures = figures(&mut world);
    for (here, there) in [(0, 1), (1, 0)] {
        let (here, there) = (&figures.legs[here].streams[0], &figures.legs[there].streams[0]);
        assert!(here.packets_lost > 20 && there.peer_lost == here.packets_lost, "{here:?} {there:?}");
        let (came, went) = (here.received_mos.expect("measured"), there.sent_mos.expect("measured"));
        assert!(came.average < 4.1 && went.average < 4.1 && came.min <= came.average, "{came:?} {went:?}");
    }
}

#[test]
fn a_call_that_ends_at_once_has_scores_too() {
    let mut world = reporting(Reporting::Translated);
    let Ok(Reply::Statistics(last)) = world.command(Command::End { call: call() }) else { panic!("no figures") };
    assert!(last.legs.iter().all(|leg| leg.streams[0].received_mos.is_some()));
}

#[test]
fn a_peer_that_answers_a_report_tells_its_own_round_trip_whoever_wrote_the_report() {
    for mode in [Reporting::Translated, Reporting::Terminated] {
        let mut world = reporting(mode);
        let seen = heard_as(&world.a);
        world.forget();
        // The phone's clock is that of no other machine; translated, its report goes to the client as it is.
        let info = SenderInfo { ntp: 0x1122_3344_5566_7788, time: RtpTime(7), packets: 1, octets: 1 };
        send(&mut world, B, |writer, phone| {
            writer.sender_report(phone.streams[0].ssrc, &info, &[]).expect("room");
        });
        let last = loop {
            world.run(SECOND / 100);
            if let Some(info) = heard(&world.odd_a).into_iter().find_map(|(_, _, info, _)| info) {
                break info;
            }
        };
        assert_eq!(last.ntp == info.ntp, mode == Reporting::Translated);
        world.run(SECOND / 2);
        send(&mut world, A, |writer, client| {
            let block = ReportBlock { last_sr: last.middle(), delay_since_last_sr: 0x8000, ..block(seen) };
            writer.receiver_report(client.streams[0].ssrc, &[block]).expect("room");
        });
        let figures = figures(&mut world);
        let trip = figures.legs[0].streams[0].round_trip_ms.expect("it answered");
        assert!((9.9..21.0).contains(&trip), "10 ms on the network: {trip}");
        assert_eq!(figures.legs[1].streams[0].round_trip_ms, None, "the phone answered nothing");
    }
}

#[test]
fn a_relay_that_terminates_reports_by_itself_and_lets_no_report_pass() {
    let mut world = reporting(Reporting::Terminated);
    let seen = [heard_as(&world.a), heard_as(&world.b)];
    world.forget();
    let began = world.now;
    for _ in 0..6 {
        for (leg, seen) in [A, B].into_iter().zip(seen) {
            send(&mut world, leg, |writer, peer| {
                let info = SenderInfo { ntp: 5 << 32, time: RtpTime(peer.streams[0].time), packets: 9, octets: 99 };
                writer
                    .sender_report(peer.streams[0].ssrc, &info, &[ReportBlock { jitter: 80, ..block(seen) }])
                    .expect("room");
                writer.cname(&[peer.streams[0].ssrc], "user@host.private").expect("room");
            });
        }
        world.run(5 * SECOND);
    }
    for (odd, peer) in [(&world.odd_a, &world.a), (&world.odd_b, &world.b)] {
        let ours = heard_as(peer);
        let packets = heard(odd);
        assert!((8..=32).contains(&packets.len()), "every 2 to 6.2 s an SR and a CNAME: {}", packets.len());
        for (packet_type, sender, info, blocks) in &packets {
            assert_eq!(*sender, ours);
            if *packet_type == 200 {
                let (info, block) = (info.expect("an SR"), blocks.first().expect("with a block"));
                let clock = Duration::from_secs((info.ntp - NOON.1) >> 32);
                assert!(clock <= world.now - began + 4 * SECOND && info.packets > 9, "{info:?}");
                assert_eq!((block.ssrc, block.lost), (peer.streams[0].ssrc, 0));
            } else {
                assert_eq!(*packet_type, 202);
            }
        }
    }
    let figures = figures(&mut world);
    assert!(figures.legs.iter().all(|leg| (leg.streams[0].peer_jitter_ms - 10.0).abs() < 0.1), "{figures:?}");
}

#[test]
fn timestamps_and_wall_clock_of_our_reports_go_together() {
    let mut world = reporting(Reporting::Terminated);
    world.forget();
    let time = world.a.streams[0].time;
    send(&mut world, A, |writer, client| {
        let info = SenderInfo { ntp: 77 << 32, time: RtpTime(time), packets: 9, octets: 99 };
        writer.sender_report(client.streams[0].ssrc, &info, &[]).expect("room");
    });
    world.run(20 * SECOND);
    let reports: Vec<SenderInfo> = heard(&world.odd_b).into_iter().filter_map(|(_, _, info, _)| info).collect();
    assert!(reports.len() > 2);
    for pair in reports.windows(2) {
        let ticks = f64::from(pair[1].time.since(pair[0].time));
        let seconds = (pair[1].ntp - pair[0].ntp) as f64 / 4_294_967_296.0;
        assert!((ticks / 8000.0 - seconds).abs() < 0.001, "{ticks} in {seconds} s");
        assert!(pair[1].packets > pair[0].packets);
    }
    let last = reports.last().expect("some");
    let shown = Duration::from_secs((last.ntp - NOON.1) >> 32);
    assert!((2 * SECOND..25 * SECOND).contains(&shown), "it is our clock: {shown:?}");
}

#[test]
fn both_peers_hear_a_goodbye_and_dtls_its_end_before_the_sockets_close() {
    for mode in [Reporting::Translated, Reporting::Terminated] {
        let mut world = reporting(mode);
        world.forget();
        let ours = [heard_as_late(&mut world, A), heard_as_late(&mut world, B)];
        world.forget();
        world.a.talks = false;
        world.b.talks = false;
        let association = world.a.transports[0].rtp.association.expect("it has one");
        assert!(matches!(world.command(Command::End { call: call() }), Ok(Reply::Statistics(_))));
        assert!(world.sockets.open.is_empty(), "nothing stays open");
        assert_eq!(world.relay.counters().ports_in_use, 0);
        world.run(SECOND);
        for (odd, ours) in [(&world.odd_a, ours[0]), (&world.odd_b, ours[1])] {
            let goodbyes: Vec<Ssrc> =
                heard(odd).into_iter().filter(|packet| packet.0 == 203).map(|packet| packet.1).collect();
            assert_eq!(goodbyes, [ours]);
        }
        assert!(world.a.closed.contains(&association), "the client was told that DTLS is over");
    }
}

/// The same, after some packets.
fn heard_as_late(world: &mut World, leg: LegId) -> Ssrc {
    world.run(SECOND / 10);
    heard_as(world.peer(leg))
}

#[test]
fn a_stream_that_ends_says_goodbye_and_the_other_goes_on() {
    let kinds = vec![MediaKind::Audio, MediaKind::Video];
    let mut world =
        World::new(Habits { kinds: kinds.clone(), ..Habits::jingle() }, Habits { kinds, ..Habits::phone() });
    world.call();
    world.run(3 * SECOND);
    let video = world.a.streams[1].heard.last().expect("it sees the other").0.ssrc;
    world.forget();
    world.done(Command::RemoveStream { call: call(), stream: StreamId(1) });
    world.run(SECOND);
    let goodbyes: Vec<Ssrc> = heard(&world.odd_a).into_iter().filter(|packet| packet.0 == 203).map(|p| p.1).collect();
    assert_eq!(goodbyes, [video]);
    assert!(world.heard().0[0] > 40);
}

#[test]
fn an_ssrc_that_the_peer_uses_too_is_given_up_once() {
    let mut world = reporting(Reporting::Translated);
    let ours = heard_as(&world.b);
    world.forget();
    world.b.streams[0].ssrc = ours;
    world.run(SECOND);
    let renewed = heard_as(&world.b);
    assert_ne!(renewed, ours);
    let goodbyes: Vec<Ssrc> = heard(&world.odd_b).into_iter().filter(|packet| packet.0 == 203).map(|p| p.1).collect();
    assert_eq!(goodbyes, [ours]);
    world.b.streams[0].ssrc = renewed;
    world.run(SECOND);
    assert_eq!(heard_as(&world.b), renewed, "it only sends us back what we send");
    let figures = figures(&mut world);
    assert!(figures.legs[1].streams[0].packets_sent > 190, "what was sent under the old one counts: {figures:?}");
}

#[test]
fn a_picture_is_asked_for_in_the_form_that_the_other_peer_knows() {
    let pli = Feedback { kind: "nack".to_owned(), subtype: "pli".to_owned() };
    let fir = Feedback { kind: "ccm".to_owned(), subtype: "fir".to_owned() };
    for (known, form) in [(vec![fir.clone()], Some(4)), (vec![pli.clone(), fir], Some(1)), (vec![], None)] {
        let mut world = seeing(std::slice::from_ref(&pli), &known);
        let seen = heard_as(&world.a);
        for _ in 0..3 {
            send(&mut world, A, |writer, client| {
                writer.picture_loss(client.streams[0].ssrc, seen).expect("room");
            });
        }
        world.run(SECOND / 10);
        let asked = world.odd_b.iter().filter(|odd| matches!(odd, Odd::Rtcp(bytes) if asks(bytes) == form)).count();
        let told = News::PictureRequested { leg: B, stream: StreamId(0) };
        let told = world.news.iter().filter(|news| **news == told).count();
        match form {
            Some(1) => assert_eq!((asked, told), (3, 0), "as it was asked"),
            Some(_) => assert_eq!((asked, told), (1, 0), "three within a second are one"),
            None => assert_eq!(told, 1),
        }
    }
}

#[test]
fn signalling_may_ask_for_a_picture() {
    let pli = Feedback { kind: "nack".to_owned(), subtype: "pli".to_owned() };
    let mut world = seeing(&[pli], &[]);
    let ask = |leg, stream| Command::RequestPicture { call: call(), leg, stream };
    world.done(ask(A, None));
    world.done(ask(B, Some(StreamId(0))));
    world.run(SECOND / 10);
    assert!(world.odd_a.iter().any(|odd| matches!(odd, Odd::Rtcp(bytes) if asks(bytes) == Some(1))));
    assert!(world.news.contains(&News::PictureRequested { leg: B, stream: StreamId(0) }));
    assert_eq!(world.command(ask(A, Some(StreamId(9)))), Err(model::CommandError::UnknownStream));
    assert_eq!(world.command(ask(LegId(9), None)), Err(model::CommandError::UnknownLeg));
}

/// The format of the request for a picture in a compound packet.
fn asks(compound: &[u8]) -> Option<u8> {
    Walk::new(compound).map_while(Result::ok).find(|packet| packet.packet_type == 206).map(|packet| packet.count)
}

/// A video call whose ends know some feedback.
fn seeing(client: &[Feedback], phone: &[Feedback]) -> World {
    let kinds = vec![MediaKind::Video];
    let mut world =
        World::new(Habits { kinds: kinds.clone(), ..Habits::jingle() }, Habits { kinds, ..Habits::phone() });
    let with = |mut description: Description, feedback: &[Feedback]| {
        description.streams[0].codecs[0].feedback = feedback.to_vec();
        description
    };
    let offer = with(world.a.offer(), client);
    world.done(Command::RemoteOffer { call: call(), leg: A, offer: offer.clone() });
    let ours = world.local(Command::LocalOffer { call: call(), leg: B, offer: pathless(&offer) });
    let answer = with(world.b.answer(&ours, world.now), phone);
    world.done(Command::RemoteAnswer { call: call(), leg: B, answer: answer.clone() });
    let ours = world.local(Command::LocalAnswer { call: call(), leg: A, answer: pathless(&answer) });
    world.a.take_answer(&ours, world.now);
    world.run(5 * SECOND);
    let seen = std::mem::take(&mut world.a.streams[0].heard);
    world.forget();
    world.a.streams[0].heard = seen;
    world
}
