//! What the load generator drives: a relay in a process of its own, through which calls are set up, carry media and are
//! torn down.

use std::fs;
use std::net::UdpSocket;
use std::num::NonZeroU16;
use std::path::Path;
use std::process::Stdio;

use load::trial::plan::OwnRelay;
use load::trial::target::channel::RelayProcess;
use load::trial::target::{self, CallNumber, ReadyCall, TargetError};
use load::trial::{Plan, RawPlan, Target};

use crate::binary::command;
use crate::carry::{carry, carry_every_kind};

fn plan(target: &str, media: &str, ice: bool) -> Plan {
    checked(RawPlan { target: target.into(), media: media.into(), ice, ..RawPlan::default() })
}

fn checked(raw: RawPlan) -> Plan {
    Plan::try_from(raw).expect("the plan is possible")
}

fn open(media: &str, ice: bool) -> Box<dyn Target> {
    let process = RelayProcess::new(env!("CARGO_BIN_EXE_stox").into());
    target::open(&plan("channel", media, ice), &process).expect("the relay starts")
}

fn numbers(range: std::ops::Range<u32>) -> Vec<CallNumber> {
    range.map(CallNumber).collect()
}

#[test]
fn calls_of_every_kind_carry_media_both_ways() {
    carry_every_kind(open);
}

/// A processor that we, and so the relay, may run on.
fn allowed_processor() -> u16 {
    let status = fs::read_to_string("/proc/self/status").expect("every process has one");
    let list = status.lines().find_map(|line| line.strip_prefix("Cpus_allowed_list:")).expect("Linux tells");
    let first = list.trim().split([',', '-']).next().expect("there is always a first part");
    first.parse().expect("processors have numbers")
}

#[test]
fn calls_may_share_one_port_of_a_relay_on_one_processor() {
    let free = UdpSocket::bind("127.0.0.1:0").and_then(|socket| socket.local_addr()).expect("loopback has ports");
    let relay = OwnRelay {
        ice_port: NonZeroU16::new(free.port()),
        processor: Some(allowed_processor()),
        ..OwnRelay::default()
    };
    let plan = checked(RawPlan { media: "dtls".into(), ice: true, relay, ..RawPlan::default() });
    let process = RelayProcess::new(env!("CARGO_BIN_EXE_stox").into());
    let mut relay = target::open(&plan, &process).expect("the relay starts");
    for call in relay.set_up(&numbers(1..4)) {
        let ReadyCall { ends: [mut first, mut second], .. } = call.expect("there is room");
        assert_eq!(first.to, free);
        carry(&mut first, &mut second, b"there");
        carry(&mut second, &mut first, b"and back");
    }
}

#[test]
fn calls_come_and_go_by_the_hundred() {
    let mut relay = open("rtp", false);
    for round in 0..3 {
        let calls = numbers(round * 300..(round + 1) * 300);
        let ready: Vec<_> = relay.set_up(&calls).into_iter().map(|call| call.expect("there is room")).collect();
        assert_eq!(ready.len(), calls.len());
        assert_eq!(relay.tear_down(&calls), Ok(()));
    }
    assert_eq!(relay.tear_down(&numbers(0..1)), Ok(()), "a call that is gone need not be ended");
    assert_eq!(relay.dropped(), []);
}

#[test]
fn the_relay_process_ends_with_its_target_and_with_its_input() {
    let relay = open("rtp", false);
    let process = format!("/proc/{}", relay.pid().expect("it was started here"));
    assert!(Path::new(&process).exists());
    drop(relay);
    assert!(!Path::new(&process).exists());

    let words = ["load", "relay-process", "--address", "127.0.0.1", "--workers", "1", "--ports", "20000-29999"];
    let mut child = command(&words, None).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("it was built");
    drop(child.stdin.take());
    assert!(child.wait_with_output().expect("it can be waited for").status.success());
}

#[test]
fn a_relay_that_is_not_there_is_reported_at_once() {
    let nobody = RelayProcess::new("/nonexistent/stox".into());
    let error = target::open(&plan("channel", "rtp", false), &nobody).err().expect("there is no such program");
    assert!(matches!(error, TargetError::Gone(_)) && error.to_string().contains("/nonexistent/stox"), "{error}");

    let silent = RelayProcess::new("/bin/false".into());
    let error = target::open(&plan("channel", "rtp", false), &silent).err().expect("it is no relay");
    assert!(error.to_string().contains("its process ended: exit status: 1"), "{error}");

    // A port that was free a moment ago.
    let port = UdpSocket::bind("127.0.0.1:0").and_then(|socket| socket.local_addr()).expect("a port").port();
    let error = target::open(&plan(&format!("ng:127.0.0.1:{port}"), "rtp", false), &nobody).err();
    assert!(matches!(error, Some(TargetError::Gone(_))), "{error:?}");
}

#[test]
fn who_speaks_no_ng_is_told_from_a_relay() {
    let echo = UdpSocket::bind("127.0.0.1:0").expect("loopback has ports");
    let address = echo.local_addr().expect("it is bound");
    let answering = std::thread::spawn(move || {
        let mut buffer = [0; 1500];
        let (length, from) = echo.recv_from(&mut buffer).expect("a ping comes");
        echo.send_to(&buffer[..length], from).expect("loopback takes it")
    });
    let process = RelayProcess::new("no relay of ours is started".into());
    let error = target::open(&plan(&format!("ng:{address}"), "rtp", false), &process).err().expect("it is no relay");
    assert!(error.to_string().contains("does not speak ng"), "{error}");
    answering.join().expect("it answered");
}
