//! Pictures, as they come and go, and a client whose network changes.

use crate::baresip::Phone;
use crate::browser::Setup;
use crate::calls::{ALICE, Peers};
use crate::gateway::Trunk;

fn with_cameras() -> Peers {
    let phone = Phone { video: true, ..Phone::default() };
    Peers::with(Setup::Direct, Trunk { video: true, ..Trunk::default() }, phone)
}

fn both_see_each_other(peers: &Peers) {
    peers.alice.sees();
    peers.phone.is_shown_pictures();
}

#[test]
#[ignore = "needs Prosody, Chromium and baresip"]
fn a_browser_and_a_phone_see_each_other() {
    let mut peers = with_cameras();
    peers.alice.call_with_video("100@sip.localhost/sip", ALICE);
    peers.phone.event("CALL_INCOMING");
    peers.phone.answer();
    peers.both_hear_each_other();
    both_see_each_other(&peers);
    peers.alice.hang_up("success");
    peers.phone.event("CALL_CLOSED");
}

#[test]
#[ignore = "needs Prosody, Chromium and baresip"]
fn a_phone_with_a_camera_calls_a_browser() {
    let mut peers = with_cameras();
    peers.phone_calls();
    peers.alice.accept_with_video(ALICE);
    peers.both_hear_each_other();
    both_see_each_other(&peers);
    peers.phone.hang_up();
    peers.alice.call_ended("success");
}

#[test]
#[ignore = "needs Prosody, Chromium and baresip"]
fn a_camera_is_turned_on_in_the_browser_during_a_call() {
    let mut peers = with_cameras();
    peers.alice_calls();
    peers.phone.answer();
    peers.both_hear_each_other();
    peers.alice.add_video();
    peers.alice.event("content-accept");
    both_see_each_other(&peers);
    peers.both_hear_each_other();
}

#[test]
#[ignore = "needs Prosody, Chromium and baresip"]
fn a_phone_without_a_camera_refuses_the_browser_s() {
    let trunk = Trunk { video: true, ..Trunk::default() };
    let mut peers = Peers::with(Setup::Direct, trunk, Phone::default());
    peers.alice_calls();
    peers.phone.answer();
    peers.both_hear_each_other();
    peers.alice.add_video();
    peers.alice.event("content-reject");
    peers.both_hear_each_other();
}

#[test]
#[ignore = "needs Prosody, Chromium and baresip"]
fn a_browser_changes_its_network_during_a_call() {
    let peers = Peers::alice_is_in_a_call(Setup::Direct);
    peers.alice.restart_ice();
    peers.gateway.log().wait_for("the XMPP side restarts ICE");
    peers.both_hear_each_other();
}

#[test]
#[ignore = "needs Prosody, Chromium and baresip"]
fn a_browser_puts_the_call_on_hold_and_takes_it_up_again() {
    let peers = Peers::alice_is_in_a_call(Setup::Direct);
    peers.phone.log().mark();
    peers.alice.hold();
    peers.phone.log().wait_for("a=sendonly");
    peers.phone.log().mark();
    peers.alice.resume();
    peers.phone.log().wait_for("a=sendrecv");
    peers.both_hear_each_other();
}
