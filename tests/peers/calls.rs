//! Calls that come up: audio both ways, with each codec, each protection of the media and each transport of SIP.

use crate::baresip::{Baresip, Phone};
use crate::browser::{Browser, Setup};
use crate::gateway::{Gateway, Trunk};
use crate::prosody::Prosody;

/// The tone that alice speaks with; the phone's is [`Phone::frequency`].
pub(crate) const ALICE: u32 = 440;

/// Everybody a call needs.
pub(crate) struct Peers {
    pub(crate) alice: Browser,
    pub(crate) phone: Baresip,
    pub(crate) gateway: Gateway,
    pub(crate) prosody: Prosody,
}

impl Peers {
    pub(crate) fn start(setup: Setup) -> Self {
        Self::with(setup, Trunk::default(), Phone::default())
    }

    pub(crate) fn with(setup: Setup, trunk: Trunk, phone: Phone) -> Self {
        let prosody = Prosody::start();
        if setup == Setup::Direct {
            // Without a subscription the gateway cannot know which resource takes calls, and can only propose.
            prosody.befriend("alice", "100@sip.localhost");
        }
        let gateway = Gateway::start(&prosody, trunk);
        let phone = Baresip::start(gateway.phones_port(), phone);
        let alice = Browser::log_in(&prosody, "alice", setup);
        Self { alice, phone, gateway, prosody }
    }

    /// Alice calls the phone, which rings.
    pub(crate) fn alice_calls(&self) {
        self.alice.dial("100", ALICE);
        self.phone.event("CALL_INCOMING");
        self.alice.event("ringing");
    }

    /// The phone calls alice, whose client rings.
    pub(crate) fn phone_calls(&mut self) {
        self.phone.dial(&self.gateway.sip_uri("alice"));
        self.alice.event("incoming");
        self.phone.event("CALL_RINGING");
    }

    pub(crate) fn alice_is_in_a_call(setup: Setup) -> Self {
        let mut peers = Self::start(setup);
        peers.alice_calls();
        peers.phone.answer();
        peers.both_hear_each_other();
        peers
    }

    pub(crate) fn phone_is_in_a_call(setup: Setup) -> Self {
        let mut peers = Self::start(setup);
        peers.phone_calls();
        peers.alice.accept(ALICE);
        peers.both_hear_each_other();
        peers
    }

    pub(crate) fn both_hear_each_other(&self) {
        self.alice.hears(Phone::default().frequency);
        self.phone.hears(ALICE);
    }
}

#[test]
#[ignore = "needs Prosody, Chromium and baresip"]
fn a_browser_calls_a_phone_directly() {
    let peers = Peers::alice_is_in_a_call(Setup::Direct);
    assert_eq!(peers.alice.security()["dtls"], "connected");
}

#[test]
#[ignore = "needs Prosody, Chromium and baresip"]
fn a_browser_calls_a_phone_after_a_proposal() {
    let peers = Peers::alice_is_in_a_call(Setup::Proposed);
    assert_eq!(peers.alice.security()["dtls"], "connected");
}

#[test]
#[ignore = "needs Prosody, Chromium and baresip"]
fn a_browser_may_call_any_resource_of_a_number() {
    let mut peers = Peers::start(Setup::Direct);
    peers.alice.call("100@sip.localhost/anything", ALICE);
    peers.phone.event("CALL_INCOMING");
    peers.phone.answer();
    peers.both_hear_each_other();
    peers.phone.hang_up();
    peers.alice.call_ended("success");
}

#[test]
#[ignore = "needs Prosody, Chromium and baresip"]
fn a_phone_calls_a_browser_that_was_there_before_the_gateway() {
    let prosody = Prosody::start();
    prosody.befriend("alice", "100@sip.localhost");
    let alice = Browser::log_in(&prosody, "alice", Setup::Direct);
    let gateway = Gateway::start(&prosody, Trunk::default());
    let phone = Baresip::start(gateway.phones_port(), Phone::default());
    let mut peers = Peers { alice, phone, gateway, prosody };
    peers.phone_calls();
    peers.alice.accept(ALICE);
    peers.both_hear_each_other();
}

#[test]
#[ignore = "needs Prosody, Chromium and baresip"]
fn a_phone_calls_a_browser_directly() {
    let peers = Peers::phone_is_in_a_call(Setup::Direct);
    assert_eq!(peers.alice.security()["dtls"], "connected");
}

#[test]
#[ignore = "needs Prosody, Chromium and baresip"]
fn a_phone_calls_a_browser_after_a_proposal() {
    let peers = Peers::phone_is_in_a_call(Setup::Proposed);
    assert_eq!(peers.alice.security()["dtls"], "connected");
}

#[test]
#[ignore = "needs Prosody, Chromium and baresip"]
fn each_codec_of_a_phone_carries_a_call_in_each_direction() {
    for (codec, rate) in [("PCMA/8000/1", 8_000), ("G722/16000/1", 16_000), ("opus/48000/2", 48_000)] {
        let phone = Phone { codec, rate, ..Phone::default() };
        calls_in_each_direction(Trunk::default(), phone);
    }
}

#[test]
#[ignore = "needs Prosody, Chromium and baresip"]
fn a_trunk_with_sdes_carries_srtp_in_each_direction() {
    // The first offers and answers keys under a profile that promises none, the second says RTP/SAVP.
    for encryption in ["srtp", "srtp-mand"] {
        let phone = Phone { encryption: Some(encryption), ..Phone::default() };
        calls_in_each_direction(Trunk { media: "sdes", ..Trunk::default() }, phone);
    }
}

#[test]
#[ignore = "needs Prosody, Chromium and baresip"]
fn a_trunk_with_dtls_carries_srtp_in_each_direction() {
    let phone = Phone { encryption: Some("dtls_srtp"), ..Phone::default() };
    calls_in_each_direction(Trunk { media: "dtls", ..Trunk::default() }, phone);
}

#[test]
#[ignore = "needs Prosody, Chromium and baresip"]
fn a_trunk_over_tcp_carries_calls_in_each_direction() {
    let phone = Phone { transport: "tcp", ..Phone::default() };
    calls_in_each_direction(Trunk { transport: "tcp", ..Trunk::default() }, phone);
}

/// One call each way between the same peers, so that nothing of the first call may stand in the way of the second.
fn calls_in_each_direction(trunk: Trunk, phone: Phone) {
    let mut peers = Peers::with(Setup::Proposed, trunk, phone);
    peers.alice_calls();
    peers.phone.answer();
    peers.both_hear_each_other();
    peers.alice.hang_up("success");
    peers.phone.event("CALL_CLOSED");

    peers.phone.forget_past();
    peers.alice.forget_past();
    peers.phone_calls();
    peers.alice.accept(ALICE);
    peers.both_hear_each_other();
    peers.phone.hang_up();
    peers.alice.call_ended("success");
}

#[test]
#[ignore = "needs Prosody, Chromium and baresip"]
fn a_key_pressed_in_the_browser_arrives_at_the_phone() {
    let peers = Peers::alice_is_in_a_call(Setup::Direct);
    peers.alice.press("5");
    assert_eq!(peers.phone.event("CALL_DTMF_START")["param"], "5");
    peers.phone.event("CALL_DTMF_END");
}

#[test]
#[ignore = "needs Prosody, Chromium and baresip"]
fn a_phone_puts_the_call_on_hold_and_takes_it_up_again() {
    let mut peers = Peers::alice_is_in_a_call(Setup::Direct);
    peers.phone.hold();
    peers.alice.event("hold");
    peers.phone.resume();
    peers.alice.event("resumed");
    peers.both_hear_each_other();
}

#[test]
#[ignore = "needs Prosody, Chromium and baresip"]
fn a_phone_transfers_the_browser_to_another() {
    const OTHER: u32 = 1320;
    let mut peers = Peers::alice_is_in_a_call(Setup::Direct);
    let other = Phone { frequency: OTHER, number: "300", ..Phone::default() };
    let mut other = Baresip::start(peers.gateway.desk_port(), other);
    peers.phone.transfer(&format!("sip:300@127.0.0.1:{}", peers.gateway.desk_port()));
    other.event("CALL_INCOMING");
    other.answer();
    peers.phone.event("CALL_CLOSED");
    peers.alice.hears(OTHER);
    other.hears(ALICE);
    other.hang_up();
    peers.alice.call_ended("success");
}
