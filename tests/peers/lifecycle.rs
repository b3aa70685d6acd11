//! The gateway's own comings and goings, and its server's.

use crate::browser::Setup;
use crate::calls::Peers;

#[test]
#[ignore = "needs Prosody, Chromium and baresip"]
fn sigterm_ends_a_call_properly_on_both_sides() {
    let mut peers = Peers::alice_is_in_a_call(Setup::Direct);
    assert!(peers.gateway.stop().success());
    peers.alice.event("terminated");
    peers.phone.event("CALL_CLOSED");
    assert!(peers.phone.log().has("BYE sip:"), "the phone is told by a BYE");
}

#[test]
#[ignore = "needs Prosody, Chromium and baresip"]
fn sigterm_ends_a_ringing_call_properly_on_both_sides() {
    let mut peers = Peers::start(Setup::Direct);
    peers.alice_calls();
    assert!(peers.gateway.stop().success());
    peers.alice.event("terminated");
    peers.phone.event("CALL_CLOSED");
}

#[test]
#[ignore = "needs Prosody, Chromium and baresip"]
fn the_gateway_comes_back_after_a_restart_of_the_server() {
    let Peers { alice, mut phone, gateway, mut prosody } = Peers::start(Setup::Direct);
    drop(alice);
    prosody.restart();
    gateway.wait_connected(&prosody);
    let alice = crate::browser::Browser::log_in(&prosody, "alice", Setup::Direct);
    alice.dial("100", crate::calls::ALICE);
    phone.event("CALL_INCOMING");
    phone.answer();
    alice.hears(crate::baresip::Phone::default().frequency);
    phone.hears(crate::calls::ALICE);
}

#[test]
#[ignore = "needs Prosody, Chromium and baresip"]
fn media_flows_on_while_the_server_is_away_and_the_call_ends_as_it_should() {
    let mut peers = Peers::alice_is_in_a_call(Setup::Direct);
    peers.prosody.stop();
    peers.gateway.log().wait_for("component stream is down");
    peers.alice.hears(crate::baresip::Phone::default().frequency);
    peers.prosody.start_again();
    peers.gateway.wait_connected(&peers.prosody);
    peers.alice.hears(crate::baresip::Phone::default().frequency);
    peers.phone.hang_up();
    peers.phone.event("CALL_CLOSED");
    peers.gateway.log().wait_for("ended by the SIP side");
}
