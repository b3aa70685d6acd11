//! A network that loses, delays, reorders and duplicates: the relay adds nothing to that, and counts it as it is.

use std::time::Duration;

use model::SrtpSuite;
use relay::Dropped;

use crate::endpoint::Kind;
use crate::network::Weather;
use crate::source::FRAME;
use crate::world::World;

const MINUTE: Duration = Duration::from_secs(60);

fn kind(suites: &[SrtpSuite]) -> Kind {
    Kind { suites: suites.to_vec(), ice: false }
}

/// A few minutes of bad weather, with bursts of loss.
fn endure(world: &mut World, weather: Weather) {
    world.run(MINUTE / 60); // the first packets are not lost, so that it is known what the last ones should count
    world.network.weather = weather;
    world.ends.iter_mut().for_each(|end| end.watcher.jitter = weather.jitter);
    for _ in 0..8 {
        world.run(MINUTE / 6);
        let [a, b] = world.ends.each_ref().map(|end| end.address.ip());
        world.network.cut = vec![a, b];
        let frames = u32::try_from(world.dice.below(20)).expect("few");
        world.run(FRAME * frames);
        world.network.cut.clear();
    }
    world.ends.iter_mut().for_each(|end| end.source.is_silent = true);
    world.run(MINUTE / 60);
}

#[test]
fn the_relay_adds_no_loss_and_its_figures_are_those_of_the_network() {
    let suites = [&[][..], &[SrtpSuite::AesCm128Sha1_80], &[SrtpSuite::AeadAes128Gcm]];
    let weathers = [(10, 5, 10), (30, 10, 30), (50, 20, 50)];
    for (seed, (near, far)) in (1..).zip([(0, 0), (0, 1), (2, 0), (1, 2)]) {
        for (loss, duplication, ms) in weathers {
            let mut world = World::new(kind(suites[near]), kind(suites[far]), seed);
            let jitter = Duration::from_millis(ms);
            endure(&mut world, Weather { loss, duplication, jitter });
            for (from, to) in [(0, 1), (1, 0)] {
                let figures = world.figures(from);
                let arrived = &world.arrived[from];
                let watcher = &world.ends[to].watcher;
                assert_eq!(watcher.sent(), arrived.packets.len(), "what arrives once is sent once");
                assert_eq!(watcher.missing(), arrived.missing(), "and only what did not arrive is missing");
                assert_eq!(figures.packets_received, arrived.counted);
                assert_eq!(figures.packets_lost, arrived.expected() - arrived.counted.cast_signed());
                let mean = 1000.0 * jitter.as_secs_f32() / 3.0; // of the difference of two delays
                assert!((mean / 2.0..mean * 2.0).contains(&figures.jitter_ms), "{} ms of {ms}", figures.jitter_ms);
            }
            for reason in [Dropped::Late, Dropped::Probation, Dropped::SrtpAuthentication] {
                assert_eq!(world.dropped(reason), 0, "{reason:?}");
            }
        }
    }
}
