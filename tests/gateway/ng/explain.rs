//! `stox ng explain`, as its words and exit codes are.

use std::fs;
use std::io::Write as _;
use std::process::{Output, Stdio};

use crate::binary::{command, directory_with};

fn explained(words: &[&str], input: &str) -> (Option<i32>, String) {
    let mut command = command(&["ng", "explain"], None);
    command.args(words).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().expect("the binary was built");
    // It need not read what it is given.
    let _ = child.stdin.take().expect("it is piped").write_all(input.as_bytes());
    let Output { status, stdout, stderr } = child.wait_with_output().expect("it ends");
    (status.code(), [stdout, stderr].map(|text| String::from_utf8_lossy(&text).into_owned()).concat())
}

#[test]
fn flags_are_explained_and_the_exit_code_says_whether_all_is_understood() {
    for (words, code, said) in [
        (
            &["replace-origin ICE=force RTP/AVP", "rtcp-mux-demux"][..],
            0,
            "UDP/TLS/RTP/SAVPF becomes RTP/AVP; ICE with ours",
        ),
        (&["symmetric trust-address"], 0, "What is done anyway:\n    trust address: "),
        (&["asymetric"], 1, "Is `asymmetric` meant?"),
        (&["symmetric asymmetric"], 1, "contradict each other. No address is learnt."),
        (&["codec-transcode-opus"], 1, "What has no effect:\n    codec transcode=[opus]: Nothing is transcoded"),
        (&["--command", "delete", "fatal to-tag"], 0, "fatal: A call that is unknown is an error"),
        (&["--command", "delete", "single-codec"], 1, "`single codec` has no effect on `delete`. It is for answer."),
        (&["--command", "answer", "single-codec"], 0, "single codec: The receiver is told one codec"),
        (&["--command", "silence media", "directional"], 0, "Sound of FROM in call CALL is held back: G.711"),
        (&["--command", "unblock DTMF", "all"], 0, "all=all: Whatever was held back of this kind passes again."),
        (&["--command", "block media", "to-label=x"], 1, "to-label=x: It counts towards everybody"),
        (&["--command", "play DTMF", ""], 0, "Key 0 is pressed for 250 ms in the place of FROM in call CALL"),
        (&["--command", "play media", ""], 1, "The relay answers `unsupported`."),
        (&["--command", "offfer", "fatal"], 2, "there is no such command"),
        (&["--sdp", "/nonexistent", "fatal"], 2, "cannot read /nonexistent"),
        (&[], 2, "required"),
    ] {
        let (exit, text) = explained(words, "");
        assert_eq!((exit, text.contains(said)), (Some(code), true), "{words:?}: {text}");
    }
}

const OFFER: &str = r#"{"command":"offer","call-id":"c","from-tag":"a","flags":["trust-address"],"replace":["origin"],"sdp":"v=0\r\no=- 1 1 IN IP4 192.0.2.1\r\ns=-\r\nc=IN IP4 192.0.2.1\r\nt=0 0\r\nm=audio 4000 RTP/AVP 8 0\r\n"}"#;

#[test]
fn captured_requests_are_explained_with_what_becomes_of_their_sdp() {
    let directory = directory_with("");
    let [offer, answer] = ["offer", "answer"].map(|name| directory.join(name).display().to_string());
    fs::write(&offer, format!("4_1 {OFFER}\n")).expect("the directory can be written to");
    let said =
        OFFER.replace("offer", "answer").replace("\"from-tag\"", "\"to-tag\":\"b\",\"from-tag\"").replace(" 8 0", " 0");
    fs::write(&answer, &said).expect("the directory can be written to");
    let (code, text) = explained(&["--request", &offer], "");
    assert_eq!(code, Some(0), "{text}");
    for part in [
        "replace-origin: ",
        "1 audio: stays RTP/AVP; codecs PCMA/8000, PCMU/8000",
        "- c=IN IP4 192.0.2.1",
        "+ c=IN IP4 203.0.113.1",
        "+ o=- 1 1 IN IP4 203.0.113.1",
        "      s=-",
    ] {
        assert!(text.contains(part), "{part} in {text}");
    }
    assert!(explained(&["--request", &answer], "").1.contains("depends on the offer"));
    let (code, text) = explained(&["--request", &offer, "--request", &answer], "");
    assert_eq!((code, text.contains("1 audio: stays RTP/AVP; codecs PCMU/8000")), (Some(0), true), "{text}");
    for (request, code, said) in [
        (OFFER, 0, "SDP of a, the sender"),
        ("d7:command4:pinge", 0, "says that it is there"),
        ("d1 d7:command4:pinge", 0, "says that it is there"),
        (r#"{"command":"offer"}"#, 1, "The relay refuses this: No SDP body in message."),
        (r#"{"command":"publish"}"#, 1, "publish: stox does not do this yet."),
        ("GET / HTTP/1.1", 2, "Invalid NG data format"),
        ("", 2, "no payload"),
    ] {
        let (exit, text) = explained(&["--request", "-"], request);
        assert_eq!((exit, text.contains(said)), (Some(code), true), "{request}: {text}");
    }
    fs::remove_dir_all(directory).expect("it is ours");
}

#[test]
fn the_page_on_changing_over_knows_what_is_not_heeded() {
    let page = include_str!("../../../deploy/replace-rtpengine.md");
    let listed =
        page.split_once("Read and not heeded:").and_then(|(_, rest)| rest.split_once("\n\n")).expect("it is there").0;
    let flags: Vec<&str> = listed.split('`').skip(1).step_by(2).collect();
    assert!(flags.len() > 5, "{flags:?}");
    for flag in flags {
        let (code, text) = explained(&[flag], "");
        assert!(code == Some(1) && text.contains("What has no effect:"), "{flag} is heeded: {text}");
    }
}
