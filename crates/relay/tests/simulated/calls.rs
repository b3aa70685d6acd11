//! Calls between endpoints of all habits.

use std::time::Duration;

use model::Setup;

use crate::peer::{Habits, by_source};
use crate::world::{A, B, World, audio_and_video, sdes};

const SECOND: Duration = Duration::from_secs(1);

/// Lets two endpoints call each other, both ways round, and sees that each hears all that the other says.
fn both_hear_each_other(a: &Habits, b: &Habits) {
    for (caller, callee) in [(A, B), (B, A)] {
        let mut world = World::new(a.clone(), b.clone());
        world.call_from(caller, callee);
        world.run(3 * SECOND);
        world.forget();
        world.run(SECOND);
        let (heard_by_a, heard_by_b) = world.heard();
        let all = vec![50; a.kinds.len()];
        assert_eq!((heard_by_a, heard_by_b), (all.clone(), all), "{caller:?} calls, {:?}", world.relay);
        assert!(!world.odd_a.contains(&crate::peer::Odd::NotOpened), "{caller:?}");
        for stream in world.a.streams.iter().chain(&world.b.streams) {
            let sources = by_source(&stream.heard);
            assert_eq!(sources.len(), 1, "one SSRC");
            for seqs in sources.values() {
                assert!(seqs.windows(2).all(|pair| pair[1] == pair[0].wrapping_add(1)), "{seqs:?}");
            }
        }
    }
}

#[test]
fn a_jingle_client_and_a_phone() {
    both_hear_each_other(&Habits::jingle(), &Habits::phone());
}

#[test]
fn a_jingle_client_that_answers_passive() {
    both_hear_each_other(&Habits { setup: Setup::Passive, ..Habits::jingle() }, &Habits::phone());
}

#[test]
fn a_jingle_client_with_two_components() {
    both_hear_each_other(&Habits { rtcp_mux: false, ..Habits::jingle() }, &Habits::phone());
}

#[test]
fn a_jingle_client_and_a_phone_with_keys_in_its_sdp() {
    both_hear_each_other(&Habits::jingle(), &sdes(Habits::phone()));
}

#[test]
fn a_plain_phone_and_one_with_keys_in_its_sdp() {
    let phone = Habits { ip: Habits::jingle().ip, ..Habits::phone() };
    both_hear_each_other(&phone, &sdes(Habits::phone()));
}

#[test]
fn audio_and_video_in_a_bundle() {
    let kinds = audio_and_video();
    both_hear_each_other(&Habits { kinds: kinds.clone(), ..Habits::jingle() }, &Habits { kinds, ..Habits::phone() });
}

#[test]
fn audio_and_video_without_a_bundle() {
    let kinds = audio_and_video();
    let client = Habits { kinds: kinds.clone(), bundle: false, rtcp_mux: false, ..Habits::jingle() };
    both_hear_each_other(&client, &Habits { kinds, ..sdes(Habits::phone()) });
}

#[test]
fn a_jingle_client_without_protection_where_policy_allows_it() {
    both_hear_each_other(
        &Habits { security: model::Security::Rtp, rtcp_mux: false, bundle: false, ..Habits::jingle() },
        &Habits::phone(),
    );
}

#[test]
fn a_phone_with_dtls() {
    both_hear_each_other(
        &Habits { ip: crate::peer::ip("192.0.2.30"), ..Habits::phone() },
        &Habits { security: model::Security::Dtls, rtcp_mux: true, ..Habits::phone() },
    );
}
