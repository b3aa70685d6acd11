//! Stanzas that make no sense to the gateway are answered with the right error, never with silence.

use serde_json::Value;

use crate::browser::{Browser, Setup};
use crate::gateway::{Gateway, Trunk};
use crate::log::PATIENCE;
use crate::prosody::Prosody;

#[test]
#[ignore = "needs Prosody and Chromium"]
fn stanzas_without_sense_get_the_error_that_says_why() {
    let cases = [
        (
            "a session that never was",
            r#"<jingle xmlns="urn:xmpp:jingle:1" action="session-info" sid="nobody-knows-this"/>"#,
            &["item-not-found", "unknown-session"][..],
        ),
        ("no action", r#"<jingle xmlns="urn:xmpp:jingle:1" sid="a"/>"#, &["bad-request"]),
        (
            "an unknown action",
            r#"<jingle xmlns="urn:xmpp:jingle:1" action="session-dance" sid="b"/>"#,
            &["bad-request"],
        ),
        ("no sid", r#"<jingle xmlns="urn:xmpp:jingle:1" action="session-initiate"/>"#, &["bad-request"]),
        ("no contents", r#"<jingle xmlns="urn:xmpp:jingle:1" action="session-initiate" sid="c"/>"#, &["bad-request"]),
        ("an unknown request", r#"<dance xmlns="urn:example:dance"/>"#, &["service-unavailable"]),
    ];
    let prosody = Prosody::start();
    let _gateway = Gateway::start(&prosody, Trunk::default());
    let alice = Browser::log_in(&prosody, "alice", Setup::Direct);
    for (number, (what, child, conditions)) in cases.iter().enumerate() {
        let id = format!("odd-{number}");
        alice.send(&format!(
            r#"<iq xmlns="jabber:client" type="set" id="{id}" to="100@sip.localhost/sip">{child}</iq>"#
        ));
        let answer = alice.reports().wait_until(what, PATIENCE, |line| {
            let report: Value = serde_json::from_str(line).ok()?;
            let xml = report["xml"].as_str()?;
            (report["raw"] == "incoming" && xml.contains(&id)).then(|| xml.to_owned())
        });
        for condition in *conditions {
            assert!(answer.contains(condition), "{what}: {answer}");
        }
    }
}
