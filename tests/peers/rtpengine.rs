//! Another relay, rtpengine, under the load generator: calls are set up through it by ng and carry media.

use load::trial::target::channel::RelayProcess;
use load::trial::target::{self, CallNumber};
use load::trial::{Plan, RawPlan, Target};

use crate::carry::carry_every_kind;
use crate::ports;
use crate::process::Process;

/// Ports for media; a call takes two.
const MEDIA_PORTS: u16 = 400;

/// A running rtpengine that forwards in user space.
struct Rtpengine {
    _process: Process,
    port: u16,
}

impl Rtpengine {
    fn start() -> Self {
        let (port, media) = (ports::free(1), ports::free(MEDIA_PORTS));
        let process = Process::start("rtpengine", "rtpengine", |command| {
            command.args(["--config-file=none", "--foreground", "--log-stderr", "--log-level=6"]);
            command.args(["--table=-1", "--num-threads=2", "--interface=127.0.0.1"]);
            command.arg(format!("--listen-ng=127.0.0.1:{port}"));
            command.arg(format!("--port-min={media}")).arg(format!("--port-max={}", media + MEDIA_PORTS - 1));
        });
        ports::wait_taken(port);
        Self { _process: process, port }
    }

    /// The generator's way to it.
    fn target(&self, media: &str, ice: bool) -> Box<dyn Target> {
        let target = format!("ng:127.0.0.1:{}", self.port);
        let raw = RawPlan { target, media: media.into(), ice, ..RawPlan::default() };
        let plan = Plan::try_from(raw).expect("the plan is possible");
        let process = RelayProcess::new("no relay of ours is started".into());
        target::open(&plan, &process).expect("it answers a ping")
    }
}

fn numbers(range: std::ops::Range<u32>) -> Vec<CallNumber> {
    range.map(CallNumber).collect()
}

#[test]
#[ignore = "needs rtpengine"]
fn calls_of_every_kind_carry_media_both_ways_through_rtpengine() {
    let relay = Rtpengine::start();
    carry_every_kind(|media, ice| relay.target(media, ice));
}

#[test]
#[ignore = "needs rtpengine"]
fn what_rtpengine_refuses_is_told_in_its_words() {
    let relay = Rtpengine::start();
    let mut target = relay.target("rtp", false);
    let calls = numbers(0..300);
    let outcome = target.set_up(&calls);
    let (ready, refused): (Vec<_>, Vec<_>) = outcome.into_iter().partition(Result::is_ok);
    assert!(!ready.is_empty(), "the first calls have ports");
    let refusal = refused.into_iter().find_map(Result::err).expect("there are fewer ports than 300 calls take");
    assert!(refusal.to_string().contains("Ran out of ports"), "{refusal}");
    assert_eq!(target.tear_down(&calls), Ok(()));
    let again = target.set_up(&numbers(300..310));
    assert!(again.iter().all(Result::is_ok), "the ports are free again: {again:?}");
}
