//! Whoever hangs up, at whatever moment, both sides hear it once, in the words of where they are.

use std::time::{Duration, Instant};

use model::{Component, DtlsState, FingerprintVerdict, IceState, News, SrtpSuite, StreamId};
use signaling::Config;
use signaling::record::Party;
use sip::message::{FromAgent, Reason};
use xmpp::jingle::ReasonCondition;

use crate::world::*;

/// A moment in the life of a call: how to get there.
struct Moment {
    name: &'static str,
    reach: fn(&mut World),
    /// What the XMPP side hears of another's hang-up.
    xmpp: &'static [&'static str],
    /// What the SIP side hears.
    sip: &'static [&'static str],
}

/// What only the XMPP side and only the SIP side of some actions is.
fn split(actions: &[String]) -> (Vec<&str>, Vec<&str>) {
    // Answers to what came in are no part of what is told.
    let first_word = |line: &str| line.split(' ').take(2).collect::<Vec<_>>().join(" ");
    let of = |arrow: &str| {
        actions
            .iter()
            .filter(|action| action.starts_with(arrow) && *action != "-> result")
            .map(|action| &action[..first_word(action).len()])
            .collect()
    };
    (of("->"), of("=>"))
}

fn proposed(world: &mut World) {
    world.sid = "session-1".into();
    world.message("propose", AUDIO);
}

fn direct(world: &mut World) {
    world.sid = "session-1".into();
    world.jingle("session-initiate", &browser());
}

const MOMENTS: [Moment; 13] = [
    Moment {
        name: "proposed, the relay is still thinking",
        reach: |world| {
            world.mode = RelayMode::Late;
            proposed(world);
        },
        xmpp: &["-> reject"],
        sip: &[],
    },
    Moment { name: "proposed, calling", reach: proposed, xmpp: &["-> reject"], sip: &["=> CANCEL"] },
    Moment {
        name: "proposed, ringing",
        reach: |world| {
            proposed(world);
            world.sip(provisional(180));
        },
        xmpp: &["-> reject"],
        sip: &["=> CANCEL"],
    },
    Moment {
        name: "the phone answered, the client is to come",
        reach: |world| {
            proposed(world);
            world.sip(answered(phone()));
        },
        xmpp: &["-> reject"],
        sip: &["=> BYE"],
    },
    Moment {
        name: "the client came, the relay is thinking",
        reach: |world| {
            proposed(world);
            world.sip(answered(phone()));
            world.mode = RelayMode::Late;
            world.jingle("session-initiate", &browser());
        },
        xmpp: &["-> session-terminate", "-> finish"],
        sip: &["=> BYE"],
    },
    Moment {
        name: "a proposed call is answered",
        reach: World::call_from_xmpp,
        xmpp: &["-> session-terminate", "-> finish"],
        sip: &["=> BYE"],
    },
    Moment { name: "direct, ringing", reach: direct, xmpp: &["-> session-terminate"], sip: &["=> CANCEL"] },
    Moment {
        name: "a direct call is answered",
        reach: |world| {
            direct(world);
            world.sip(answered(phone()));
            world.answer_all();
        },
        xmpp: &["-> session-terminate"],
        sip: &["=> BYE"],
    },
    Moment {
        name: "from SIP, the relay is still thinking",
        reach: |world| {
            world.mode = RelayMode::Late;
            world.sip(invite(Some(phone())));
        },
        xmpp: &[],
        sip: &["=> 4xx"],
    },
    Moment {
        name: "from SIP, proposed",
        reach: |world| {
            world.sip(invite(Some(phone())));
        },
        xmpp: &["-> retract"],
        sip: &["=> 4xx"],
    },
    Moment {
        name: "from SIP, taken, the relay is thinking",
        reach: |world| {
            world.sip(invite(Some(phone())));
            world.mode = RelayMode::Late;
            world.message("proceed", "");
        },
        xmpp: &["-> retract"],
        sip: &["=> 4xx"],
    },
    Moment {
        name: "from SIP, the session is offered",
        reach: |world| {
            world.sip(invite(Some(phone())));
            world.message("proceed", "");
        },
        xmpp: &["-> retract", "-> session-terminate"],
        sip: &["=> 4xx"],
    },
    Moment {
        name: "from SIP, answered",
        reach: World::call_from_sip,
        xmpp: &["-> session-terminate", "-> finish"],
        sip: &["=> BYE"],
    },
];

fn at(moment: &Moment) -> World {
    let mut world = World::new();
    (moment.reach)(&mut world);
    assert!(!world.translator.is_idle(), "{}", moment.name);
    world
}

fn is_from_sip(moment: &Moment) -> bool {
    moment.name.starts_with("from SIP")
}

/// Nothing follows, and nothing is left.
fn is_over(mut world: World, moment: &Moment) {
    assert!(world.translator.is_idle(), "{}", moment.name);
    assert_eq!(world.relay_answers(), [""; 0], "{}", moment.name);
    assert_eq!(world.pass(Duration::from_secs(300)), [""; 0], "{}", moment.name);
    assert_eq!(world.translator.poll_timeout(), None, "{}", moment.name);
    let counters = world.translator.counters();
    for counters in [&counters.from_xmpp, &counters.from_sip] {
        assert_eq!((counters.active, counters.half_open), (0, 0), "{}", moment.name);
    }
}

fn expected_sip<'a>(moment: &'a Moment, actions: &'a [&str]) -> Vec<&'a str> {
    let status = |line: &'a str| if line[3..].parse::<u16>().is_ok() { "=> 4xx" } else { line };
    let actions: Vec<&str> = actions.iter().map(|line| status(line)).collect();
    assert_eq!(actions, moment.sip, "{}", moment.name);
    actions
}

#[test]
fn the_gateway_stops() {
    for moment in &MOMENTS {
        let mut world = at(moment);
        world.translator.stop(world.now);
        let actions = world.finish();
        let (xmpp, sip) = split(&actions);
        assert_eq!(xmpp, moment.xmpp, "{}", moment.name);
        expected_sip(moment, &sip);
        assert_eq!(actions.iter().filter(|action| *action == "relay end").count(), 1, "{}", moment.name);
        is_over(world, moment);
    }
}

#[test]
fn the_sip_side_hangs_up() {
    for moment in &MOMENTS {
        let mut world = at(moment);
        let dialog = if is_from_sip(moment) { THEIRS } else { OURS };
        let event = match moment.sip {
            [] => continue, // it does not know of the call yet
            ["=> CANCEL"] => failed(486),
            ["=> 4xx"] => FromAgent::Cancelled { dialog, reason: Vec::new() },
            _ => FromAgent::Ended { dialog, reason: Vec::new() },
        };
        let actions = world.sip(event.clone());
        let (xmpp, sip) = split(&actions);
        assert_eq!(xmpp, moment.xmpp, "{}", moment.name);
        assert_eq!(sip, [""; 0], "{}", moment.name);
        assert_eq!(world.sip(event), [""; 0], "{}", moment.name);
        is_over(world, moment);
    }
}

#[test]
fn the_xmpp_side_hangs_up() {
    for moment in &MOMENTS {
        let mut world = at(moment);
        let actions = match moment.xmpp {
            [] => continue, // it does not know of the call yet
            ["-> reject"] => world.message("retract", ""),
            ["-> retract"] => world.message("reject", ""),
            _ => world.jingle("session-terminate", "<reason><success/></reason>"),
        };
        let (xmpp, sip) = split(&actions);
        let finishes: Vec<_> = moment.xmpp.iter().filter(|line| **line == "-> finish").collect();
        assert_eq!(xmpp.iter().collect::<Vec<_>>(), finishes, "{}", moment.name);
        expected_sip(moment, &sip);
        is_over(world, moment);
    }
}

#[test]
fn both_hang_up_at_once() {
    for moment in &MOMENTS {
        if moment.xmpp.len() != 2 || moment.sip != ["=> BYE"] {
            continue;
        }
        let dialog = if is_from_sip(moment) { THEIRS } else { OURS };
        let mut world = at(moment);
        world.jingle("session-terminate", "");
        assert_eq!(world.sip(FromAgent::Ended { dialog, reason: Vec::new() }), [""; 0], "{}", moment.name);
        is_over(world, moment);
        let mut world = at(moment);
        world.sip(FromAgent::Ended { dialog, reason: Vec::new() });
        assert_eq!(world.jingle("session-terminate", ""), ["-> result"], "{}", moment.name);
        is_over(world, moment);
    }
}

#[test]
fn the_relay_loses_the_call() {
    for moment in &MOMENTS {
        let mut world = at(moment);
        let (xmpp, sip) = {
            let actions = world.news(News::Lost);
            let (xmpp, sip) = split(&actions);
            (
                xmpp.iter().map(ToString::to_string).collect::<Vec<_>>(),
                sip.iter().map(ToString::to_string).collect::<Vec<_>>(),
            )
        };
        assert_eq!(xmpp, moment.xmpp, "{}", moment.name);
        let sip: Vec<&str> = sip.iter().map(|line| if line == "=> 500" { "=> 4xx" } else { line }).collect();
        assert_eq!(sip, moment.sip, "{}", moment.name);
        is_over(world, moment);
    }
}

#[test]
fn what_goes_wrong_with_media_ends_the_call_with_its_reason() {
    let (leg, stream, component) = (JINGLE, StreamId(0), Component::Rtp);
    let connected = |fingerprint| DtlsState::Connected { suite: SrtpSuite::AeadAes128Gcm, fingerprint };
    for (news, reason, cause) in [
        (News::Ice { leg, stream, component, state: IceState::Failed }, "connectivity-error", 127),
        (News::Dtls { leg, stream, component, state: DtlsState::Failed }, "security-error", 111),
        (
            News::Dtls { leg, stream, component, state: connected(FingerprintVerdict::Mismatched) },
            "security-error",
            111,
        ),
        (
            News::Dtls { leg, stream, component, state: connected(FingerprintVerdict::NoCertificate) },
            "security-error",
            111,
        ),
        (News::MediaTimeout { leg: SIP }, "timeout", 19),
        (News::Lost, "general-error", 41),
    ] {
        let mut world = World::new();
        world.call_from_xmpp();
        assert_eq!(
            world.news(news.clone()),
            [
                format!("-> session-terminate {reason}"),
                format!("-> finish {reason}"),
                format!("=> BYE {cause}"),
                "relay end".into()
            ]
        );
    }
    for news in [
        News::Ice { leg, stream, component, state: IceState::Disconnected },
        News::Dtls { leg, stream, component, state: connected(FingerprintVerdict::Matched) },
        News::Dtls { leg, stream, component, state: DtlsState::Closed },
        News::FirstPacket { leg, stream, way: model::Way::Received },
    ] {
        let mut world = World::new();
        world.call_from_xmpp();
        assert_eq!(world.news(news), [""; 0]);
    }
}

#[test]
fn the_reason_of_a_bye_is_told() {
    for (cause, reason) in [(16, "success"), (17, "busy"), (21, "decline"), (19, "timeout"), (41, "connectivity-error")]
    {
        let mut world = World::new();
        world.call_from_sip();
        let reasons = vec![sip::message::Reason { protocol: "Q.850".into(), cause, text: None }];
        let actions = world.sip(FromAgent::Ended { dialog: THEIRS, reason: reasons });
        assert_eq!(actions[0], format!("-> session-terminate {reason}"));
    }
}

#[test]
fn a_finish_or_a_retract_ends_a_session_too() {
    for verb in ["finish", "retract"] {
        let mut world = World::new();
        world.call_from_xmpp();
        let actions = world.message(verb, "");
        assert!(actions.iter().any(|action| action.starts_with("=> BYE")), "{verb}: {actions:?}");
        assert!(world.translator.is_idle());
    }
}

#[test]
fn messages_about_a_call_may_give_nothing_away() {
    let mut world = World::with(Config { privacy_reasons: true, ..config() });
    world.sid = "session-1".into();
    world.message("propose", AUDIO);
    let end = world.sip(failed(603));
    assert!(end.contains(&"-> reject busy".to_owned()), "{end:?}");
    let element = world.last.as_ref().expect("the reject");
    assert!(!String::from(element).contains("603"), "{}", String::from(element));
    world.sip(invite(Some(phone())));
    let end = world.sip(FromAgent::Cancelled {
        dialog: THEIRS,
        reason: vec![Reason { protocol: "SIP".into(), cause: 200, text: None }],
    });
    assert!(end.contains(&"-> retract cancel".to_owned()), "{end:?}");
}

#[test]
fn a_call_is_on_record_once_with_its_times_and_its_end() {
    let mut world = World::new();
    world.sid = "session-1".into();
    world.message("propose", AUDIO);
    world.pass(Duration::from_secs(1));
    world.sip(provisional(180));
    world.pass(Duration::from_secs(2));
    world.sip(answered(phone()));
    world.jingle("session-initiate", &browser());
    world.answer_all();
    let told = world.now;
    world.pass(Duration::from_secs(4));
    world.sip(FromAgent::Ended { dialog: OURS, reason: Vec::new() });
    let [record] = world.records.as_slice() else { panic!("one record: {:?}", world.records) };
    let seconds = |from: Option<Instant>, to: Instant| from.map(|from| to.duration_since(from).as_secs());
    assert_eq!((seconds(Some(record.started), told), seconds(record.rang, told)), (Some(3), Some(2)));
    assert_eq!((seconds(record.answered, record.ended), record.ended), (Some(4), world.now));
    assert_eq!((record.caller, record.ended_by), (Party::Xmpp, Party::Sip));
    assert_eq!((record.reason, record.sip_status, record.cause), (ReasonCondition::Success, None, 16));
    assert_eq!((record.xmpp_user.as_str(), record.gateway_user.as_str()), (ALICE, PHONE));
    let sip = ["sip:alice%40localhost@sip.localhost", "sip:100@127.0.0.1:5081"].map(str::to_owned);
    assert_eq!([record.from.clone(), record.to.clone()], sip);
    assert_eq!((record.xmpp.ice, record.sip.ice), (true, false));
    let codecs = [&record.xmpp, &record.sip].map(|leg| leg.streams[0].codecs.clone());
    assert!(codecs.iter().all(|codecs| codecs.contains(&"PCMA/8000".to_owned())), "{codecs:?}");

    // One that is refused, one that is given up, one whose relay says nothing.
    let mut world = World::new();
    world.sip(invite(Some(phone())));
    world.message("reject", "<reason xmlns='urn:xmpp:jingle:1'><busy/></reason>");
    world.sip(invite(Some(phone())));
    world.sip(FromAgent::Cancelled { dialog: THEIRS, reason: Vec::new() });
    world.mode = RelayMode::Late;
    world.sip(invite(Some(phone())));
    world.sip(FromAgent::Cancelled { dialog: THEIRS, reason: Vec::new() });
    assert_eq!(world.records.len(), 2);
    assert!(world.translator.owes_records(), "its figures are waited for");
    world.pass(Duration::from_secs(10));
    assert!(!world.translator.owes_records());
    let ends: Vec<_> = world.records.iter().map(|record| (record.ended_by, record.sip_status)).collect();
    assert_eq!(ends, [(Party::Xmpp, Some(486)), (Party::Sip, None), (Party::Sip, None)]);
    assert!(world.records.iter().all(|record| record.sip_call_id.as_deref() == Some("call@phone")));
}

#[test]
fn a_side_that_is_lost_may_come_back() {
    let (leg, stream, component) = (JINGLE, StreamId(0), Component::Rtp);
    let ice = |state| News::Ice { leg, stream, component, state };
    let mut world = World::new();
    world.call_from_xmpp();
    assert_eq!(world.news(News::ConsentLost { leg, stream }), [""; 0]);
    let restart = browser().replace("clientufrag", "clientufrag2");
    let told = world.jingle("transport-info", &restart);
    assert_eq!(told[..3], ["-> result", "relay restart jingle", "relay candidates jingle"], "{told:?}");
    assert_eq!(world.news(ice(IceState::Failed)), [""; 0], "the pairs before");
    assert_eq!(world.news(ice(IceState::Connected)), [""; 0]);
    assert_eq!(world.pass(Duration::from_secs(60)), [""; 0], "and stays");
    // Or not.
    assert_eq!(world.news(News::ConsentLost { leg, stream }), [""; 0]);
    assert_eq!(world.pass(Duration::from_millis(29_999)), [""; 0]);
    assert_eq!(
        world.pass(Duration::from_millis(1)),
        ["-> session-terminate connectivity-error", "-> finish connectivity-error", "=> BYE 127", "relay end"]
    );
}
