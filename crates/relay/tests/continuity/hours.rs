//! Hours of a call to which everything happens.

use std::time::Duration;

use model::SrtpSuite;
use relay::Dropped;

use crate::endpoint::Kind;
use crate::source::FRAME;
use crate::world::{Happening, World};

fn plain() -> Kind {
    Kind { suites: Vec::new(), ice: false }
}

fn sdes(suites: &[SrtpSuite]) -> Kind {
    Kind { suites: suites.to_vec(), ice: false }
}

const COUNTER_MODE: [SrtpSuite; 2] = [SrtpSuite::AesCm128Sha1_80, SrtpSuite::AesCm128Sha1_32];
const GCM: [SrtpSuite; 2] = [SrtpSuite::AeadAes128Gcm, SrtpSuite::AesCm128Sha1_80];

/// Lets everything happen in any order, and checks that nothing was dropped that the rules do not name.
fn anything_happens(mut world: World, happenings: u32, mut rest: impl FnMut(&mut World)) -> World {
    for _ in 0..happenings {
        let choice = usize::try_from(world.dice.below(Happening::ALL.len() as u64)).expect("few");
        world.happen(Happening::ALL[choice]);
        rest(&mut world);
    }
    world.run(Duration::from_secs(5));
    for (end, pressed) in world.ends.iter().zip(world.pressed) {
        assert_eq!(end.watcher.keys, pressed, "each key is pressed");
    }
    for reason in NEVER {
        assert_eq!(world.dropped(reason), 0, "{reason:?} in {:?}", world.relay);
    }
    world
}

/// What nothing of all that is a reason for.
const NEVER: [Dropped; 12] = [
    Dropped::UnknownSource,
    Dropped::NoAnswer,
    Dropped::NoKeys,
    Dropped::RtpMalformed,
    Dropped::SrtpMalformed,
    Dropped::SrtpAuthentication,
    Dropped::SrtpTooManySources,
    Dropped::SrtpKeyUsedUp,
    Dropped::NoRoom,
    Dropped::PayloadType,
    Dropped::OtherLegNotReady,
    Dropped::NoDestination,
];

/// A few seconds of media, sometimes a minute.
fn talk(world: &mut World) {
    let frames = if world.dice.below(10) == 0 { 3000 } else { 50 + world.dice.below(300) };
    world.run(FRAME * u32::try_from(frames).expect("few"));
}

/// An hour in a few packets: the network loses long stretches, so that sequence numbers and timestamps wrap often.
fn talk_with_gaps(world: &mut World) {
    world.ends.iter_mut().for_each(|end| end.source.is_cut_off = true);
    let gap = 1500 + u32::try_from(world.dice.below(1000)).expect("few");
    world.run(FRAME * gap);
    world.ends.iter_mut().for_each(|end| end.source.is_cut_off = false);
    world.run(FRAME * 20);
}

#[test]
fn between_two_plain_legs() {
    for seed in 1..=2 {
        anything_happens(World::new(plain(), plain(), seed), 250, talk);
    }
}

#[test]
fn from_srtp_to_plain_and_back() {
    for (seed, suites) in [(11, &COUNTER_MODE), (12, &GCM)] {
        anything_happens(World::new(sdes(suites), plain(), seed), 60, talk);
        let world = anything_happens(World::new(sdes(suites), plain(), seed + 100), 150, talk_with_gaps);
        assert!(world.ends.iter().all(|end| end.watcher.wraps() >= 2));
    }
}

#[test]
fn between_two_srtp_legs_of_which_one_uses_ice() {
    for (seed, suites) in [(21, &COUNTER_MODE), (22, &GCM)] {
        let a = Kind { ice: true, ..sdes(suites) };
        anything_happens(World::new(a.clone(), sdes(suites), seed), 40, talk);
        anything_happens(World::new(a, sdes(suites), seed + 100), 150, talk_with_gaps);
    }
}
