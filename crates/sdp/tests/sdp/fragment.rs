//! Candidates that trickle.

use proptest::prelude::*;
use sdp::fragment::{Fragment, Trickled};

fn read(text: &str) -> Fragment {
    Fragment::read(&text.replace('\n', "\r\n")).expect("a fragment")
}

fn outline(part: &Trickled) -> (Option<&str>, usize, Option<&str>, usize, bool) {
    (part.mid.as_deref(), part.index, part.ufrag.as_deref(), part.candidates.len(), part.end_of_candidates)
}

/// As in RFC 8840 §9.2.
const CREDENTIALS: &str = "a=ice-pwd:asd88fgpdd777uzjYhagZg\na=ice-ufrag:8hhY\n";
const HOST: &str = "a=candidate:1 1 UDP 2130706432 2001:db8:a0b:12f0::1 5000 typ host\n";
const REFLEXIVE: &str = "a=candidate:2 2 UDP 1694498814 192.0.2.3 5001 typ srflx raddr 10.0.1.1 rport 9\n";

#[test]
fn candidates_belong_to_their_m_line() {
    let fragment = read(&format!(
        "{CREDENTIALS}m=audio 9 RTP/AVP 0\na=mid:1\n{HOST}{REFLEXIVE}\
         m=video 9 RTP/AVP 0\na=ice-ufrag:9hhY\na=mid:2\n{HOST}a=candidate:3 1 udp 1 x.local 1 typ host\na=end-of-candidates\n"
    ));
    let [audio, video] = &fragment.parts[..] else { panic!("{fragment:?}") };
    assert_eq!(outline(audio), (Some("1"), 0, Some("8hhY"), 2, false));
    assert_eq!(outline(video), (Some("2"), 1, Some("9hhY"), 1, true));
    let ice = audio.ice.as_ref().expect("credentials of the session");
    assert_eq!((ice.ufrag.as_str(), ice.pwd.reveal().as_str()), ("8hhY", "asd88fgpdd777uzjYhagZg"));
    assert_eq!(audio.candidates[1].address, "192.0.2.3:5001".parse().expect("an address"));
    assert_eq!(fragment.losses.len(), 1, "{fragment:?}");
}

#[test]
fn a_fragment_needs_no_m_lines() {
    let named = read(&format!("{CREDENTIALS}a=mid:0\n{HOST}a=mid:1\n{HOST}{REFLEXIVE}"));
    let outlines: Vec<_> = named.parts.iter().map(outline).collect();
    assert_eq!(outlines, [(Some("0"), 0, Some("8hhY"), 1, false), (Some("1"), 1, Some("8hhY"), 2, false)]);
    let bare = read(&format!("{HOST}a=end-of-candidates\n"));
    assert_eq!(bare.parts.iter().map(outline).collect::<Vec<_>>(), [(None, 0, None, 1, true)]);
    let ended = read("a=end-of-candidates\nm=audio 9 RTP/AVP 0\nm=video 9 RTP/AVP 0\n");
    assert!(ended.parts.len() == 2 && ended.parts.iter().all(|part| part.end_of_candidates));
}

proptest! {
    #[test]
    fn no_text_breaks_the_reader(text in "(a=mid:|m=audio 9 |a=candidate:1 1 udp |\\PC|\r\n){0,40}") {
        if let Ok(fragment) = Fragment::read(&text) {
            prop_assert!(!fragment.parts.is_empty());
        }
    }
}
