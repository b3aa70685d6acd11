//! How calls end: hang-up, refusal, withdrawal, busy, no answer, nobody there. Both sides must learn of it, and why.

use crate::baresip::{Baresip, Phone};
use crate::browser::{Browser, Setup};
use crate::calls::{ALICE, Peers};
use crate::gateway::{Gateway, Trunk};
use crate::prosody::Prosody;
use crate::sipp::Sipp;

#[test]
#[ignore = "needs Prosody, Chromium and baresip"]
fn the_browser_hangs_up_a_call_it_made() {
    let peers = Peers::alice_is_in_a_call(Setup::Direct);
    peers.alice.hang_up("success");
    peers.phone.event("CALL_CLOSED");
}

#[test]
#[ignore = "needs Prosody, Chromium and baresip"]
fn the_phone_hangs_up_a_call_that_the_browser_made() {
    let mut peers = Peers::alice_is_in_a_call(Setup::Direct);
    peers.phone.hang_up();
    peers.alice.call_ended("success");
}

#[test]
#[ignore = "needs Prosody, Chromium and baresip"]
fn the_browser_hangs_up_a_call_that_the_phone_made() {
    let peers = Peers::phone_is_in_a_call(Setup::Direct);
    peers.alice.hang_up("success");
    peers.phone.event("CALL_CLOSED");
}

#[test]
#[ignore = "needs Prosody, Chromium and baresip"]
fn the_phone_hangs_up_a_call_it_made() {
    let mut peers = Peers::phone_is_in_a_call(Setup::Proposed);
    peers.phone.hang_up();
    peers.alice.call_ended("success");
    // What was proposed is also finished (XEP-0353 §3.6).
    peers.alice.event("finish");
}

#[test]
#[ignore = "needs Prosody, Chromium and baresip"]
fn the_phone_refuses_a_ringing_call() {
    let mut peers = Peers::start(Setup::Direct);
    peers.alice_calls();
    peers.phone.hang_up();
    peers.alice.call_ended("busy");
}

#[test]
#[ignore = "needs Prosody, Chromium and baresip"]
fn the_phone_refuses_a_proposed_call() {
    let mut peers = Peers::start(Setup::Proposed);
    peers.alice_calls();
    peers.phone.hang_up();
    assert_eq!(peers.alice.event("reject")["reason"], "busy");
}

#[test]
#[ignore = "needs Prosody, Chromium and baresip"]
fn the_browser_refuses_a_ringing_call() {
    let mut peers = Peers::start(Setup::Direct);
    peers.phone_calls();
    peers.alice.decline();
    peers.phone.call_ended("486 Busy Here");
}

#[test]
#[ignore = "needs Prosody, Chromium and baresip"]
fn the_browser_refuses_a_proposed_call() {
    let mut peers = Peers::start(Setup::Proposed);
    peers.phone_calls();
    peers.alice.decline();
    peers.phone.call_ended("486 Busy Here");
}

#[test]
#[ignore = "needs Prosody, Chromium and baresip"]
fn the_browser_gives_up_a_ringing_call() {
    let peers = Peers::start(Setup::Direct);
    peers.alice_calls();
    peers.alice.hang_up("cancel");
    peers.phone.event("CALL_CLOSED");
}

#[test]
#[ignore = "needs Prosody, Chromium and baresip"]
fn the_browser_gives_up_a_proposed_call() {
    let peers = Peers::start(Setup::Proposed);
    peers.alice_calls();
    peers.alice.hang_up("cancel");
    peers.phone.event("CALL_CLOSED");
}

#[test]
#[ignore = "needs Prosody, Chromium and baresip"]
fn the_phone_gives_up_a_ringing_call() {
    let mut peers = Peers::start(Setup::Direct);
    peers.phone_calls();
    peers.phone.hang_up();
    peers.alice.call_ended("cancel");
}

#[test]
#[ignore = "needs Prosody, Chromium and baresip"]
fn the_phone_gives_up_a_proposed_call() {
    let mut peers = Peers::start(Setup::Proposed);
    peers.phone_calls();
    peers.phone.hang_up();
    assert_eq!(peers.alice.event("retract")["reason"], "cancel");
}

#[test]
#[ignore = "needs Prosody, Chromium and baresip"]
fn a_second_caller_finds_the_phone_busy() {
    let peers = Peers::alice_is_in_a_call(Setup::Direct);
    let bob = Browser::log_in(&peers.prosody, "bob", Setup::Direct);
    bob.dial("100", 660);
    bob.call_ended("busy");
    peers.both_hear_each_other();
}

#[test]
#[ignore = "needs Prosody, Chromium and baresip"]
fn a_phone_that_does_not_answer_ends_the_call_in_time() {
    let trunk = Trunk { ring_timeout: Some("3s"), ..Trunk::default() };
    let peers = Peers::with(Setup::Direct, trunk, Phone::default());
    peers.alice_calls();
    peers.alice.call_ended("timeout");
    peers.phone.event("CALL_CLOSED");
}

#[test]
#[ignore = "needs Prosody, Chromium and baresip"]
fn a_browser_that_does_not_answer_ends_the_call_in_time() {
    let trunk = Trunk { ring_timeout: Some("3s"), ..Trunk::default() };
    let mut peers = Peers::with(Setup::Proposed, trunk, Phone::default());
    peers.phone_calls();
    peers.phone.call_ended("480 Temporarily Unavailable");
    peers.alice.event("retract");
}

#[test]
#[ignore = "needs Prosody and baresip"]
fn a_call_to_a_user_who_is_offline_is_refused() {
    let prosody = Prosody::start();
    let gateway = Gateway::start(&prosody, Trunk { ring_timeout: Some("5s"), ..Trunk::default() });
    let mut phone = Baresip::start(gateway.phones_port(), Phone::default());
    phone.dial(&gateway.sip_uri("alice"));
    phone.call_ended("480 Temporarily Unavailable");
}

#[test]
#[ignore = "needs Prosody and baresip"]
fn a_call_to_a_user_who_does_not_exist_is_refused() {
    let prosody = Prosody::start();
    let gateway = Gateway::start(&prosody, Trunk::default());
    let mut phone = Baresip::start(gateway.phones_port(), Phone::default());
    phone.dial(&gateway.sip_uri("nobody"));
    phone.event("CALL_CLOSED");
}

#[test]
#[ignore = "needs Prosody and Chromium"]
fn a_call_to_a_phone_that_is_not_there_fails_in_time() {
    for transport in ["udp", "tcp"] {
        let prosody = Prosody::start();
        let _gateway = Gateway::start(&prosody, Trunk { transport, ..Trunk::default() });
        let alice = Browser::log_in(&prosody, "alice", Setup::Direct);
        alice.dial("100", ALICE);
        alice.call_ended("connectivity-error");
    }
}

#[test]
#[ignore = "needs Prosody, Chromium and baresip"]
fn a_phone_without_a_common_codec_ends_the_call_with_the_proper_reason_on_both_sides() {
    let phone = Phone { codec: "G726-32/8000/1", ..Phone::default() };
    let mut peers = Peers::with(Setup::Direct, Trunk::default(), phone);
    peers.alice.dial("100", ALICE);
    peers.alice.call_ended("incompatible-parameters");

    peers.phone.forget_past();
    peers.phone_calls();
    peers.alice.accept(ALICE);
    peers.phone.call_ended("488 Not Acceptable Here");
}

#[test]
#[ignore = "needs Prosody, Chromium and SIPp"]
fn each_refusal_of_a_phone_tells_the_browser_why() {
    let reasons = [
        ("486 Busy Here", "busy"),
        ("600 Busy Everywhere", "busy"),
        ("603 Decline", "decline"),
        ("404 Not Found", "gone"),
        ("480 Temporarily Unavailable", "gone"),
        ("408 Request Timeout", "timeout"),
        ("488 Not Acceptable Here", "incompatible-parameters"),
        ("503 Service Unavailable", "connectivity-error"),
        ("500 Server Internal Error", "general-error"),
    ];
    let prosody = Prosody::start();
    let gateway = Gateway::start(&prosody, Trunk::default());
    let alice = Browser::log_in(&prosody, "alice", Setup::Direct);
    for (status, reason) in reasons {
        alice.forget_past();
        let phone = Sipp::refuses(&gateway, status);
        alice.dial("100", ALICE);
        alice.call_ended(reason);
        phone.succeeds();
    }
}
