//! Offers that are taken back.

use super::*;

/// What a phone says from its `m=` lines on.
fn phone(address: &str, media: &str) -> String {
    let start = format!("v=0\no=- 1 1 IN IP4 {address}\ns=-\nc=IN IP4 {address}\nt=0 0\n");
    format!("{start}{media}").replace('\n', "\r\n")
}

fn said(command: &'static str, to_tag: Option<&'static str>, media: &str) -> Dictionary<'static> {
    let address = if command == "offer" { "192.0.2.10" } else { "192.0.2.20" };
    let request = Dictionary::new().with("command", command).with("call-id", "c").with("from-tag", "a");
    let request = to_tag.into_iter().fold(request, |request, tag| request.with("to-tag", tag));
    request.with("sdp", phone(address, media))
}

fn rollback(more: &[(&'static str, &'static str)]) -> Dictionary<'static> {
    let request = named("rollback").with("from-tag", "a");
    let request = if more.iter().any(|(key, _)| *key == "to-tag") { request } else { request.with("to-tag", "b") };
    more.iter().fold(request, |request, (key, value)| request.with(key, *value))
}

/// Whether it was rolled back, and the generation.
fn outcome(reply: &Dictionary<'_>) -> [Option<i64>; 2] {
    ["rolled-back", "generation"].map(|key| reply.get(key).and_then(Value::integer))
}

fn generation(reply: &Dictionary<'_>) -> Option<i64> {
    assert_eq!(error(reply), None);
    outcome(reply)[1]
}

const PCMU: &str = "m=audio 4000 RTP/AVP 0\n";
const HOLD: &str = "m=audio 4010 RTP/AVP 8\na=sendonly\nm=video 4012 RTP/AVP 96\na=rtpmap:96 VP8/90000\n";

/// A call whose first offer was answered.
fn answered(flags: &'static str) -> World {
    let mut world = World::new();
    world.ask(&said("offer", None, PCMU).with("flags", flags));
    world.ask(&said("answer", Some("b"), PCMU));
    world
}

/// What is told of its parties.
fn tags(world: &mut World) -> String {
    format!("{:?}", world.ask(&named("query")).get("tags"))
}

#[test]
fn generations_count_answers_where_that_is_wished_for() {
    let mut world = World::new();
    let offer = said("offer", None, PCMU).with("flags", "track-state").with("supports", "rollback");
    let told = world.ask(&offer);
    assert_eq!((generation(&told), told.get("supported")), (Some(1), Some(&Value::from(vec!["rollback"]))));
    assert_eq!(generation(&world.ask(&offer)), Some(1));
    assert_eq!(generation(&world.ask(&said("answer", Some("b"), PCMU))), Some(1));
    for media in [HOLD, PCMU] {
        assert_eq!(generation(&world.ask(&said("offer", Some("b"), media))), Some(2));
    }
    assert_eq!(generation(&world.ask(&said("answer", Some("b"), PCMU))), Some(2));
    assert_eq!(outcome(&world.ask(&rollback(&[]))), [Some(0), Some(2)], "it was answered");
    let mut world = answered("trust-address");
    assert_eq!(generation(&world.ask(&said("offer", Some("b"), HOLD))), None);
    assert_eq!(outcome(&world.ask(&rollback(&[]))), [Some(0), Some(0)]);
}

#[test]
fn an_offer_that_came_to_nothing_is_taken_back_and_media_flows_as_before() {
    for offers in [&[HOLD][..], &[HOLD, PCMU, HOLD]] {
        let mut world = answered("track-state");
        let before = tags(&mut world);
        let open = world.open.0.len();
        for media in offers {
            assert_eq!(error(&world.ask(&said("offer", Some("b"), media))), None);
        }
        assert_ne!(tags(&mut world), before);
        assert_eq!(outcome(&world.ask(&rollback(&[("generation", "99")]))), [Some(0), Some(1)]);
        assert_eq!(outcome(&world.ask(&rollback(&[("generation", "2")]))), [Some(1), Some(1)]);
        assert_eq!((tags(&mut world), world.open.0.len()), (before, open));
        assert_eq!(outcome(&world.ask(&rollback(&[]))), [Some(0), Some(1)], "once");
        assert!(world.send_to(0, "192.0.2.10:4000", 0, 1).is_some(), "what was agreed on flows");
        // Either party may go on from there.
        let other = said("offer", None, PCMU).with("from-tag", "b").with("to-tag", "a");
        assert_eq!(generation(&world.ask(&other)), Some(2));
        let answer = said("answer", None, PCMU).with("from-tag", "b").with("to-tag", "a");
        assert_eq!(generation(&world.ask(&answer)), Some(2));
    }
}

#[test]
fn an_offer_made_again_after_it_was_taken_back_gets_the_same_credentials_and_key() {
    let media = "m=audio 4000 RTP/SAVP 0\na=ice-ufrag:abcd\na=ice-pwd:0123456789012345678901\n\
        a=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwd\n";
    let restarted = media.replace("abcd", "efgh").replace("AAECAw", "BBECAw");
    let secrets = |reply: &Dictionary<'_>| -> Vec<String> {
        let sdp = reply.text("sdp").unwrap_or_else(|| panic!("{reply:?}"));
        let is_secret = |line: &&str| ["a=ice-ufrag", "a=ice-pwd", "a=crypto:1 "].iter().any(|s| line.starts_with(s));
        sdp.lines().filter(is_secret).map(str::to_owned).collect()
    };
    let mut world = World::new();
    let first = secrets(&world.ask(&said("offer", None, media).with("flags", "track-state").with("via-branch", "x")));
    assert_eq!(first.len(), 3);
    assert_eq!(error(&world.ask(&said("answer", Some("b"), media))), None);
    world.ask(&said("offer", Some("b"), &restarted));
    let wrong = world.ask(&rollback(&[("via-branch", "y")]));
    assert_eq!(error(&wrong).as_deref(), Some("Unknown dialogue"));
    assert_eq!(outcome(&world.ask(&rollback(&[("via-branch", "x")]))), [Some(1), Some(1)]);
    assert_eq!(secrets(&world.ask(&said("offer", Some("b"), media))), first);
}

#[test]
fn branches_are_taken_back_each_by_itself() {
    let mut world = World::new();
    for (branch, tag) in [("1", "b"), ("2", "d")] {
        let offer = said("offer", None, PCMU).with("via-branch", branch).with("flags", "track-state");
        assert_eq!(generation(&world.ask(&offer)), Some(1));
        assert_eq!(generation(&world.ask(&said("answer", Some(tag), PCMU).with("via-branch", branch))), Some(1));
    }
    for tag in ["b", "d"] {
        assert_eq!(generation(&world.ask(&said("offer", Some(tag), HOLD))), Some(2));
    }
    let crossed = world.ask(&rollback(&[("to-tag", "d"), ("via-branch", "1")]));
    assert_eq!(error(&crossed).as_deref(), Some("Unknown dialogue"));
    for (tag, branch) in [("b", "1"), ("d", "2")] {
        let asked = rollback(&[("to-tag", tag), ("via-branch", branch), ("generation", "2")]);
        assert_eq!(outcome(&world.ask(&asked)), [Some(1), Some(1)]);
        assert_eq!(outcome(&world.ask(&asked)), [Some(0), Some(1)]);
    }
}

#[test]
fn what_cannot_be_taken_back_stays() {
    let mut world = World::new();
    assert_eq!(error(&world.ask(&rollback(&[]))).as_deref(), Some("Unknown call-id"));
    world.ask(&said("offer", None, PCMU).with("flags", "track-state"));
    assert_eq!(error(&world.ask(&rollback(&[]))).as_deref(), Some("Unknown dialogue"));
    world.ask(&said("answer", Some("b"), PCMU));
    assert_eq!(error(&world.ask(&rollback(&[("to-tag", "nobody")]))).as_deref(), Some("Unknown dialogue"));
    // Towards another kind of path the relay had to begin anew.
    world.ask(&said("offer", Some("b"), PCMU).with("ICE", "force"));
    assert_eq!(outcome(&world.ask(&rollback(&[]))), [Some(0), Some(1)]);
    assert_eq!(generation(&world.ask(&said("answer", Some("b"), PCMU))), Some(2));
}
