//! What flows, and what its receiver sees: hold, changes of source, key presses, reports.

use std::time::Duration;

use media::rtp::{Header, RtpTime, SeqNo};
use model::{
    Codec, Command, CommandError, Description, Direction, DtmfDigit, Feedback, HeaderExtension, MediaKind, News,
    PayloadType, Reply, Ssrc, StreamId, Way,
};
use relay::Dropped;

use crate::network::Flying;
use crate::peer::{Habits, Odd, by_source, media_stream};
use crate::world::{A, B, World, audio_and_video, call, config, pathless, policy};

const SECOND: Duration = Duration::from_secs(1);

fn connected() -> World {
    let mut world = World::new(Habits::jingle(), Habits::phone());
    world.call();
    world.run(3 * SECOND);
    world
}

fn is_unbroken(seqs: &[u16]) -> bool {
    seqs.windows(2).all(|pair| pair[1] == pair[0].wrapping_add(1))
}

#[test]
fn the_first_packet_each_way_is_told_once_for_each_leg() {
    let world = connected();
    let first = |leg, way| News::FirstPacket { leg, stream: StreamId(0), way };
    for (leg, way) in [(A, Way::Received), (A, Way::Sent), (B, Way::Received), (B, Way::Sent)] {
        let told = world.news.iter().filter(|news| **news == first(leg, way)).count();
        assert_eq!(told, 1, "{leg:?} {way:?} in {:?}", world.news);
    }
}

#[test]
fn a_receiver_sees_one_source_whatever_sources_there_are() {
    let mut world = connected();
    for (ssrc, seq, time) in [(0xAAAA, 4000, 77), (0xBBBB, 60_000, 1 << 31), (0xAAAA, 9000, 5)] {
        let stream = &mut world.a.streams[0];
        (stream.ssrc, stream.seq, stream.time) = (Ssrc(ssrc), seq, time);
        world.run(SECOND);
    }
    let sources = by_source(&world.b.streams[0].heard);
    assert_eq!(sources.len(), 1);
    for seqs in sources.values() {
        assert!(seqs.len() > 200 && is_unbroken(seqs), "{seqs:?}");
    }
    let times: Vec<u32> = world.b.streams[0].heard.iter().map(|(header, _)| header.time.0).collect();
    assert!(times.windows(2).all(|pair| (1..2000).contains(&pair[1].wrapping_sub(pair[0]))), "{times:?}");
}

#[test]
fn hold_keeps_media_back_and_its_end_shows_no_loss() {
    let mut world = connected();
    let heard_before = world.heard();
    let hold = |direction| Command::Hold { call: call(), leg: B, direction };
    world.done(hold(Direction::RecvOnly)); // music on hold: we hear the phone, and tell it nothing
    world.run(SECOND);
    let (a, b) = world.heard();
    assert!(a[0] >= heard_before.0[0] + 49 && b[0] <= heard_before.1[0] + 2, "{a:?} {b:?} {heard_before:?}");
    assert!(world.relay.counters().dropped(Dropped::NotSending) >= 48);
    world.done(hold(Direction::Inactive));
    world.run(SECOND);
    world.done(hold(Direction::SendRecv));
    world.run(SECOND);
    for seqs in by_source(&world.b.streams[0].heard).values().chain(by_source(&world.a.streams[0].heard).values()) {
        assert!(is_unbroken(seqs), "{seqs:?}");
    }
    assert!(world.heard().1[0] >= heard_before.1[0] + 48);
}

#[test]
fn a_leg_on_hold_may_be_silent_for_long_and_one_that_is_not_may_not() {
    let mut world = connected();
    let hold = |direction| Command::Hold { call: call(), leg: B, direction };
    let silent = News::MediaTimeout { leg: B };
    world.done(hold(Direction::Inactive));
    world.b.talks = false;
    world.run(300 * SECOND);
    world.done(hold(Direction::SendRecv));
    world.run(59 * SECOND);
    assert!(!world.news.contains(&silent), "{:?}", world.news);
    world.run(2 * SECOND);
    assert!(world.news.contains(&silent), "{:?}", world.news);
}

#[test]
fn the_direction_of_a_description_is_honoured() {
    let mut world = connected();
    let mut offer = world.b.describe(model::Setup::Actpass);
    offer.streams[0].direction = Direction::SendOnly;
    world.done(Command::RemoteOffer { call: call(), leg: B, offer: offer.clone() });
    world.run(SECOND / 10);
    let mut answer = pathless(&offer);
    answer.streams[0].direction = Direction::RecvOnly;
    world.local(Command::LocalAnswer { call: call(), leg: B, answer });
    world.run(SECOND / 10);
    world.forget();
    world.run(SECOND);
    assert_eq!(world.heard(), (vec![50], vec![0]));
}

#[test]
fn an_old_phone_holds_by_naming_no_address() {
    let mut world = connected();
    let mut offer = world.b.describe(model::Setup::Actpass);
    offer.streams[0].path.rtp = Some("0.0.0.0:5000".parse().expect("a literal address"));
    world.done(Command::RemoteOffer { call: call(), leg: B, offer: offer.clone() });
    world.local(Command::LocalAnswer { call: call(), leg: B, answer: pathless(&offer) });
    world.run(SECOND / 10);
    world.forget();
    world.run(7 * SECOND);
    assert_eq!(world.heard().1, vec![0]);
    assert!(world.odd_b.is_empty(), "and no RTCP either: {:?}", world.odd_b);
}

#[test]
fn a_second_answer_replaces_the_first() {
    let mut world = World::new(Habits::jingle(), Habits::phone());
    world.call();
    world.run(3 * SECOND);
    let elsewhere: std::net::SocketAddr = "192.0.2.20:7000".parse().expect("a literal address");
    let mut answer = world.b.describe(model::Setup::Actpass);
    answer.streams[0].path.rtp = Some(elsewhere);
    world.done(Command::RemoteAnswer { call: call(), leg: B, answer });
    world.run(SECOND / 10);
    world.forget();
    world.b.transports[0].rtp.address = elsewhere;
    world.run(SECOND);
    let (a, b) = world.heard();
    assert!(a[0] > 45 && b[0] > 45, "{a:?} {b:?}");
}

#[test]
fn a_leg_always_hears_rtcp_even_if_the_other_sends_none() {
    let mut world = connected();
    world.forget();
    world.run(20 * SECOND);
    for odd in [&world.odd_a, &world.odd_b] {
        let reports = odd.iter().filter(|odd| matches!(odd, Odd::Rtcp(bytes) if bytes[1] == 200)).count();
        assert!((2..=4).contains(&reports), "{odd:?}");
        let Some(Odd::Rtcp(report)) = odd.first() else { panic!("{odd:?}") };
        assert_eq!(report[0] & 0x1F, 1, "it reports on the one source: {report:x?}");
    }
}

#[test]
fn a_key_press_passes_and_is_told_once() {
    let mut world = connected();
    world.a.talks = false;
    world.run(SECOND / 5);
    world.forget();
    let digit = DtmfDigit::try_from('5').expect("a key");
    let stream = &world.a.streams[0];
    let (ssrc, mut seq, time) = (stream.ssrc, stream.seq, stream.time);
    for update in media::dtmf::Sender::new(digit, Duration::from_millis(100), 8000) {
        world.run(update.after);
        let payload_type = PayloadType::try_from(101).expect("a payload type");
        let mut header = Header::new(payload_type, SeqNo(seq), RtpTime(time), ssrc);
        header.marker = update.marker;
        seq = seq.wrapping_add(1);
        let component = &mut world.a.transports[0].rtp;
        let sent = component.send_rtp(&header, &update.payload, model::Security::Dtls).expect("it is connected");
        let Flying { from, to, bytes } = sent;
        let socket = world.socket(to);
        assert_eq!(world.inject(socket, from, &bytes), Ok(true));
    }
    world.run(SECOND);
    assert_eq!(world.news, [News::Dtmf { leg: A, digit, duration_ms: 100 }]);
    let heard = &world.b.streams[0].heard;
    assert!(heard.len() >= 7 && heard.iter().all(|(header, _)| u8::from(header.payload_type) == 101));
    assert!(heard.iter().all(|(header, _)| header.time == heard[0].0.time));
    assert_eq!(heard.last().map(|(_, payload)| payload.as_slice()), Some(&b"\x05\x8A\x03\x20"[..]));
}

#[test]
fn a_key_press_is_sent_in_the_place_of_sound() {
    let mut world = connected();
    world.forget();
    let digit = |key| DtmfDigit::try_from(key).expect("a key");
    for key in ['1', '1', '#'] {
        world.done(Command::SendDtmf { call: call(), leg: B, digit: digit(key), duration_ms: 100 });
    }
    world.run(SECOND);
    let heard = &world.b.streams[0].heard;
    let mut receiver = media::dtmf::Receiver::new(8000);
    let keys: Vec<char> = heard
        .iter()
        .filter(|(header, _)| u8::from(header.payload_type) == 101)
        .filter_map(|(header, payload)| receiver.handle_packet(header, payload, world.now))
        .map(|press| press.digit.into())
        .collect();
    assert_eq!(keys, ['1', '1', '#']);
    let sources = by_source(heard);
    assert_eq!(sources.len(), 1, "of the same source as the sound");
    assert!(sources.values().all(|seqs| is_unbroken(seqs)), "{sources:?}");
}

#[test]
fn a_key_press_passes_by_the_clock_of_the_other_leg() {
    let mut world = World::new(Habits::jingle(), Habits::phone());
    let mut offer = world.a.offer();
    offer.streams[0].codecs[1].clock_rate = 48_000;
    let slow = PayloadType::try_from(102).expect("a payload type");
    offer.streams[0].codecs.push(Codec::new(slow, "telephone-event", 8000, 1)); // fits better, but is not what is used
    world.done(Command::RemoteOffer { call: call(), leg: A, offer: offer.clone() });
    let ours = Description { streams: vec![media_stream(StreamId(0), MediaKind::Audio)], bundle: Vec::new() };
    let ours = world.local(Command::LocalOffer { call: call(), leg: B, offer: ours });
    let answer = world.b.answer(&ours, world.now);
    world.done(Command::RemoteAnswer { call: call(), leg: B, answer });
    let ours = world.local(Command::LocalAnswer { call: call(), leg: A, answer: pathless(&offer) });
    world.a.take_answer(&ours, world.now);
    world.run(3 * SECOND);
    world.forget();
    let digit = DtmfDigit::try_from('7').expect("a key");
    let (ssrc, seq, time) = (world.a.streams[0].ssrc, world.a.streams[0].seq, world.a.streams[0].time);
    world.a.streams[0].seq += 1;
    let updates = media::dtmf::Sender::new(digit, Duration::from_millis(100), 48_000).last().expect("it ends");
    let header = Header::new(PayloadType::try_from(101).expect("one"), SeqNo(seq), RtpTime(time), ssrc);
    let component = &mut world.a.transports[0].rtp;
    let sent = component.send_rtp(&header, &updates.payload, model::Security::Dtls).expect("it is connected");
    let socket = world.socket(sent.to);
    assert_eq!(world.inject(socket, sent.from, &sent.bytes), Ok(true));
    world.run(SECOND);
    assert!(world.news.contains(&News::Dtmf { leg: A, digit, duration_ms: 100 }), "{:?}", world.news);
    let heard = world.b.streams[0].heard.iter().rfind(|(header, _)| u8::from(header.payload_type) == 101);
    assert_eq!(heard.map(|(_, payload)| payload.as_slice()), Some(&b"\x07\x8A\x03\x20"[..]), "100 ms at 8 kHz");
}

#[test]
fn a_leg_without_telephone_event_has_no_keys() {
    let mut world = World::new(Habits::jingle(), Habits::phone());
    let mut offer = world.a.offer();
    offer.streams[0].codecs.truncate(1);
    world.done(Command::RemoteOffer { call: call(), leg: A, offer: offer.clone() });
    world.local(Command::LocalAnswer { call: call(), leg: A, answer: pathless(&offer) });
    let digit = DtmfDigit::try_from('1').expect("a key");
    let press = Command::SendDtmf { call: call(), leg: A, digit, duration_ms: 100 };
    assert_eq!(world.command(press), Err(CommandError::NoTelephoneEvent));
}

#[test]
fn a_picture_is_asked_for_when_somebody_begins_to_see() {
    let kinds = audio_and_video();
    let mut world = World::new(
        Habits { kinds: kinds.clone(), ..Habits::jingle() },
        Habits { kinds: kinds.clone(), ..Habits::phone() },
    );
    let pli = Feedback { kind: "nack".to_owned(), subtype: "pli".to_owned() };
    let mut offer = world.a.offer();
    offer.streams[1].codecs[0].feedback.push(pli);
    world.done(Command::RemoteOffer { call: call(), leg: A, offer: offer.clone() });
    let ours = world.local(Command::LocalOffer { call: call(), leg: B, offer: pathless(&offer) });
    let answer = world.b.answer(&ours, world.now);
    world.done(Command::RemoteAnswer { call: call(), leg: B, answer: answer.clone() });
    let answer = Description { bundle: offer.bundle, ..pathless(&answer) };
    let ours = world.local(Command::LocalAnswer { call: call(), leg: A, answer });
    world.a.take_answer(&ours, world.now);
    world.run(3 * SECOND);
    let video = world.a.streams[1].ssrc.0.to_be_bytes();
    let asked = |odd: &Odd| matches!(odd, Odd::Rtcp(bytes) if bytes.windows(4).any(|word| word == video) && bytes.windows(2).any(|start| start == [0x81, 206]));
    assert_eq!(world.odd_a.iter().filter(|odd| asked(odd)).count(), 1, "{:?}", world.odd_a);
}

#[test]
fn feedback_reaches_the_source_that_it_is_about() {
    let kinds = vec![MediaKind::Video];
    let mut world =
        World::new(Habits { kinds: kinds.clone(), ..Habits::jingle() }, Habits { kinds, ..Habits::phone() });
    let pli = Feedback { kind: "nack".to_owned(), subtype: "pli".to_owned() };
    let with_feedback = |mut description: Description| {
        description.streams[0].codecs[0].feedback.push(pli.clone());
        description
    };
    let offer = with_feedback(world.a.offer());
    world.done(Command::RemoteOffer { call: call(), leg: A, offer: offer.clone() });
    let ours = world.local(Command::LocalOffer { call: call(), leg: B, offer: pathless(&offer) });
    assert_eq!(ours.streams[0].path.profile, model::Profile::Avpf);
    let answer = with_feedback(world.b.answer(&ours, world.now));
    world.done(Command::RemoteAnswer { call: call(), leg: B, answer: answer.clone() });
    let ours = world.local(Command::LocalAnswer { call: call(), leg: A, answer: pathless(&answer) });
    world.a.take_answer(&ours, world.now);
    world.run(3 * SECOND);
    world.forget();
    world.run(SECOND);

    let seen = world.b.streams[0].heard.last().expect("it sees A").0.ssrc;
    let (ours, theirs) = (world.b.streams[0].ssrc, world.a.streams[0].ssrc);
    let mut bytes = [0; 64];
    let mut writer = media::rtcp::Writer::new(&mut bytes);
    writer.picture_loss(ours, seen).expect("it fits");
    let length = writer.length();
    let rtcp = world.b.transports[0].rtcp.as_mut().expect("the phone does not mux");
    let sent = rtcp.send(&bytes[..length], media::demux::Media::Rtcp, model::Security::Rtp).expect("it is connected");
    let socket = world.socket(sent.to);
    assert_eq!(world.inject(socket, sent.from, &sent.bytes), Ok(true));
    world.run(SECOND / 10);
    let as_a_sees_b = world.a.streams[0].heard.last().expect("it sees B").0.ssrc;
    let [Odd::Rtcp(heard)] = world.odd_a.as_slice() else { panic!("{:?}", world.odd_a) };
    let expected = [0x81, 206, 0, 2].into_iter().chain(as_a_sees_b.0.to_be_bytes()).chain(theirs.0.to_be_bytes());
    assert_eq!(*heard, expected.collect::<Vec<u8>>());
}

#[test]
fn video_can_be_added_to_a_call_and_taken_away() {
    let mut world = connected();
    let both = |description: &Description| {
        let mut both = description.clone();
        both.streams.push(media_stream(StreamId(1), MediaKind::Video));
        both
    };
    let sockets_before = world.sockets.open.len();
    let sound_alone = pathless(&world.b.describe(model::Setup::Actpass));
    let offer = both(&sound_alone);
    let local_offer = |offer: &Description| Command::LocalOffer { call: call(), leg: B, offer: offer.clone() };
    let ours = world.local(local_offer(&offer));
    assert_ne!(ours.streams[0].path.rtp, ours.streams[1].path.rtp);
    assert_eq!(world.sockets.open.len(), sockets_before + 2);
    assert_eq!(world.local(local_offer(&offer)), ours, "what is offered again stays where it is");
    world.local(local_offer(&sound_alone));
    assert_eq!(world.sockets.open.len(), sockets_before, "what is no longer offered is gone");
    world.local(local_offer(&offer));
    assert_eq!(world.sockets.open.len(), sockets_before + 2);
    world.done(Command::Rollback { call: call(), leg: B });
    assert_eq!(world.sockets.open.len(), sockets_before, "what was offered in vain is gone");
    world.local(local_offer(&offer));
    let mut answer = world.b.describe(model::Setup::Actpass);
    let mut video = media_stream(StreamId(1), MediaKind::Video);
    video.path.rtp = Some("192.0.2.20:6000".parse().expect("a literal address"));
    answer.streams.push(video);
    world.done(Command::RemoteAnswer { call: call(), leg: B, answer });
    world.forget();
    world.run(SECOND);
    assert_eq!(world.heard(), (vec![50], vec![50]), "sound went on all the time");
    world.done(Command::RemoveStream { call: call(), stream: StreamId(1) });
    assert_eq!(world.sockets.open.len(), sockets_before);
    let again = Command::RemoveStream { call: call(), stream: StreamId(1) };
    assert_eq!(world.command(again), Err(CommandError::UnknownStream));
}

#[test]
fn offers_and_answers_keep_their_order() {
    let mut world = World::new(Habits::jingle(), Habits::phone());
    let offer = world.a.offer();
    let remote_offer = Command::RemoteOffer { call: call(), leg: A, offer: offer.clone() };
    let local_offer = Command::LocalOffer { call: call(), leg: A, offer: pathless(&offer) };
    let local_answer = Command::LocalAnswer { call: call(), leg: A, answer: pathless(&offer) };
    let remote_answer = Command::RemoteAnswer { call: call(), leg: A, answer: offer.clone() };
    let rollback = Command::Rollback { call: call(), leg: A };
    for out_of_order in [&local_answer, &remote_answer, &rollback] {
        assert_eq!(world.command(out_of_order.clone()), Err(CommandError::OutOfOrder));
    }
    world.done(remote_offer.clone());
    world.done(rollback.clone());
    assert_eq!(world.command(rollback.clone()), Err(CommandError::OutOfOrder));
    world.done(remote_offer.clone());
    world.done(remote_offer.clone());
    for out_of_order in [&local_offer, &remote_answer] {
        assert_eq!(world.command(out_of_order.clone()), Err(CommandError::OutOfOrder));
    }
    let other = Description { streams: vec![media_stream(StreamId(5), MediaKind::Audio)], bundle: Vec::new() };
    let mismatch = Command::LocalAnswer { call: call(), leg: A, answer: other };
    assert_eq!(world.command(mismatch), Err(CommandError::AnswerMismatch));
    world.local(local_answer);
}

#[test]
fn the_figures_of_a_call_add_up() {
    let mut world = connected();
    world.run(SECOND);
    let Ok(Reply::Statistics(figures)) = world.command(Command::Query { call: call() }) else { panic!("no figures") };
    let (a, b) = (&figures.legs[0], &figures.legs[1]);
    assert_eq!((a.security, b.security), (Some(model::Security::Dtls), Some(model::Security::Rtp)));
    assert_eq!((a.suite, b.suite), (Some(model::SrtpSuite::AeadAes128Gcm), None));
    let (sound_a, sound_b) = (&a.streams[0], &b.streams[0]);
    assert_eq!(sound_a.packets_received, sound_b.packets_sent);
    assert_eq!(sound_a.bytes_received, 4 * sound_a.packets_received);
    assert_eq!((sound_a.packets_lost, sound_b.packets_lost), (0, 0));
    assert!(sound_b.packets_received > 190 && sound_b.jitter_ms < 1.0, "{sound_b:?}");
    assert!(b.dropped.iter().any(|(name, times)| name == "other_leg_not_ready" && *times > 0), "{:?}", b.dropped);
    assert!(matches!(world.command(Command::End { call: call() }), Ok(Reply::Statistics(last)) if last == figures));
}

#[test]
fn the_figures_of_a_call_are_told_twice_a_minute() {
    let mut world = connected();
    world.run(61 * SECOND);
    let told = world.news.iter().filter_map(|news| {
        let model::News::Statistics(figures) = news else { return None };
        Some(figures.legs[0].streams[0].packets_received)
    });
    let told: Vec<u64> = told.collect();
    assert!(told.len() == 2 && told[1] > told[0] + 1_000, "{told:?}");
}

#[test]
fn an_unnamed_source_is_learnt_where_the_operator_allows_it() {
    for (learning, learnt) in
        [(model::Learning::Off, false), (model::Learning::SignalledAddress, true), (model::Learning::Any, true)]
    {
        let mut world = World::with(Habits::jingle(), Habits::phone(), 3, Default::default(), config());
        let mut phone = policy(B, &world.b.habits);
        phone.path = model::PathPolicy::Plain { learning };
        let client = policy(A, &world.a.habits);
        world.create(vec![client, phone]);
        world.call();
        let named = world.b.transports[0].rtp.address;
        world.b.transports[0].rtp.address = std::net::SocketAddr::new(named.ip(), named.port() + 100);
        world.run(4 * SECOND);
        let (a, b) = world.heard();
        assert_eq!((a[0] > 100, b[0] > 100), (learnt, learnt), "{learning:?}: {a:?} {b:?}");
    }
}

#[test]
fn packets_of_a_bundle_go_where_their_name_says() {
    let sounds = vec![MediaKind::Audio, MediaKind::Audio];
    let mut world =
        World::new(Habits { kinds: sounds.clone(), ..Habits::jingle() }, Habits { kinds: sounds, ..Habits::phone() });
    world.a.talks = false;
    let mid = HeaderExtension {
        id: 3,
        uri: "urn:ietf:params:rtp-hdrext:sdes:mid".to_owned(),
        direction: Direction::SendRecv,
    };
    let mut offer = world.a.offer();
    offer.streams.iter_mut().for_each(|stream| stream.extensions.push(mid.clone()));
    world.done(Command::RemoteOffer { call: call(), leg: A, offer: offer.clone() });
    let ours = world.local(Command::LocalOffer { call: call(), leg: B, offer: pathless(&offer) });
    let answer = world.b.answer(&ours, world.now);
    world.done(Command::RemoteAnswer { call: call(), leg: B, answer });
    let ours = world.local(Command::LocalAnswer { call: call(), leg: A, answer: pathless(&offer) });
    world.a.take_answer(&ours, world.now);
    world.run(3 * SECOND);

    let mut send = |ssrc: u32, seq: u16, name: Option<u8>| {
        let payload_type = PayloadType::try_from(0).expect("a payload type");
        let header = Header::new(payload_type, SeqNo(seq), RtpTime(0), Ssrc(ssrc));
        let mut bytes = vec![0; 12];
        header.write(&mut bytes).expect("it fits");
        if let Some(name) = name {
            bytes[0] |= 0x10;
            bytes.extend_from_slice(&[0xBE, 0xDE, 0, 1, 0x30, name, 0, 0]);
        }
        bytes.extend_from_slice(b"sound");
        let component = &mut world.a.transports[0].rtp;
        let sent = component.send(&bytes, media::demux::Media::Rtp, model::Security::Dtls).expect("it is connected");
        let socket = world.socket(sent.to);
        world.inject(socket, sent.from, &sent.bytes)
    };
    assert_eq!(send(1, 1, None), Err(Dropped::UnknownStream), "both streams have that payload type");
    assert_eq!(send(1, 2, Some(b'1')), Ok(true));
    assert_eq!(send(1, 3, None), Ok(true), "it is known by now");
    assert_eq!(send(2, 1, Some(b'0')), Ok(true));
    world.run(SECOND);
    assert_eq!(world.heard().1, [1, 2]);
    let named = |(header, _): &(Header, Vec<u8>)| header.has_extension();
    assert!(!world.b.streams.iter().any(|stream| stream.heard.iter().any(named)), "names stay on their leg");
}
