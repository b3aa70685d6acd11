//! The peers among themselves, without the gateway: what fails here says nothing about stox.

use crate::baresip::{Baresip, Phone};
use crate::browser::{Browser, Setup};
use crate::ports;
use crate::prosody::Prosody;

#[test]
#[ignore = "needs Prosody and Chromium"]
fn two_browsers_call_each_other_directly() {
    browsers_call_each_other(Setup::Direct);
}

#[test]
#[ignore = "needs Prosody and Chromium"]
fn two_browsers_call_each_other_after_a_proposal() {
    browsers_call_each_other(Setup::Proposed);
}

fn browsers_call_each_other(setup: Setup) {
    let prosody = Prosody::start();
    let alice = Browser::log_in(&prosody, "alice", setup);
    let bob = Browser::log_in(&prosody, "bob", setup);
    alice.call(if setup == Setup::Direct { bob.jid() } else { "bob@localhost" }, 440);
    bob.event("incoming");
    alice.event("ringing");
    bob.accept(880);
    alice.hears(880);
    bob.hears(440);
    alice.hang_up("success");
    bob.call_ended("success");
}

#[test]
#[ignore = "needs baresip"]
fn two_phones_call_each_other() {
    let (one_port, other_port) = (ports::free(2), ports::free(2));
    let mut one = Baresip::start(one_port, Phone { frequency: 440, ..Phone::default() });
    let mut other = Baresip::start(other_port, Phone::default());
    one.dial(&format!("sip:100@127.0.0.1:{other_port}"));
    other.event("CALL_INCOMING");
    other.answer();
    one.event("CALL_ESTABLISHED");
    one.hears(880);
    other.hears(440);
    one.hang_up();
    other.event("CALL_CLOSED");
}
