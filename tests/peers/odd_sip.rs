//! SIP peers that are odd or demanding but within their rights, played by SIPp; each scenario in `sipp/` says what it does.
//!
//! SIPp echoes the sound it receives: who hears his own tone knows that it went there and back.

use crate::browser::{Browser, Setup};
use crate::calls::ALICE;
use crate::gateway::{Gateway, Trunk};
use crate::prosody::Prosody;
use crate::sipp::Sipp;

struct Sides {
    alice: Browser,
    gateway: Gateway,
    _prosody: Prosody,
}

fn sides() -> Sides {
    let prosody = Prosody::start();
    let gateway = Gateway::start(&prosody, Trunk::default());
    let alice = Browser::log_in(&prosody, "alice", Setup::Proposed);
    Sides { alice, gateway, _prosody: prosody }
}

#[test]
#[ignore = "needs Prosody, Chromium and SIPp"]
fn provisional_responses_may_come_out_of_order_and_after_the_answer() {
    let Sides { alice, gateway, .. } = &sides();
    let phone = Sipp::answers(gateway, "provisional_out_of_order", &[]);
    alice.dial("100", ALICE);
    alice.hears(ALICE);
    assert_eq!(alice.reports().count(r#""event":"ringing""#), 1, "the caller is told of ringing once");
    alice.hang_up("success");
    phone.succeeds();
}

#[test]
#[ignore = "needs Prosody, Chromium and SIPp"]
fn each_repetition_of_the_answer_is_acknowledged() {
    let Sides { alice, gateway, .. } = &sides();
    let phone = Sipp::answers(gateway, "answer_repeated", &["-nr"]);
    alice.dial("100", ALICE);
    alice.hears(ALICE);
    alice.hang_up("success");
    phone.succeeds();
}

#[test]
#[ignore = "needs Prosody, Chromium and SIPp"]
fn an_invite_without_an_offer_gets_one() {
    let Sides { alice, gateway, .. } = &sides();
    let phone = Sipp::calls(gateway, "delayed_offer", "alice");
    alice.event("incoming");
    alice.accept(ALICE);
    alice.hears(ALICE);
    alice.hang_up("success");
    phone.succeeds();
}

#[test]
#[ignore = "needs Prosody, Chromium and SIPp"]
fn a_reinvite_without_change_is_answered_and_the_call_goes_on() {
    let Sides { alice, gateway, .. } = &sides();
    let phone = Sipp::calls(gateway, "reinvite_unchanged", "alice");
    alice.event("incoming");
    alice.accept(ALICE);
    alice.hears(ALICE);
    // The scenario has repeated its offer a second after the answer; listen once more, well after it.
    alice.hears(ALICE);
    alice.hang_up("success");
    phone.succeeds();
}

#[test]
#[ignore = "needs Prosody, Chromium and SIPp"]
fn a_challenge_to_a_call_is_met_with_the_trunk_s_credentials() {
    let Sides { alice, gateway, .. } = &sides();
    let phone = Sipp::answers(gateway, "challenge", &[]);
    alice.dial("100", ALICE);
    alice.hears(ALICE);
    alice.hang_up("success");
    phone.succeeds();
}

#[test]
#[ignore = "needs Prosody and SIPp"]
fn the_gateway_registers_with_a_trunk_that_wants_it() {
    let prosody = Prosody::start();
    let gateway = Gateway::start(&prosody, Trunk { register: true, ..Trunk::default() });
    Sipp::answers(&gateway, "registrar", &[]).succeeds();
}

#[test]
#[ignore = "needs Prosody, Chromium and SIPp"]
fn a_bye_that_crosses_ours_is_answered() {
    let Sides { alice, gateway, .. } = &sides();
    let phone = Sipp::answers(gateway, "bye_crossing", &[]);
    alice.dial("100", ALICE);
    alice.hears(ALICE);
    alice.hang_up("success");
    phone.succeeds();
}
