//! What holds for any description.

use std::net::SocketAddr;

use model::{Description, MediaStream, StreamId};
use proptest::prelude::*;
use sdp::facts::Facts;
use sdp::rewrite::{Fate, Rewriting, rewrite};
use sdp::{Role, Session};

use super::crlf;
use super::offers::CHROMIUM;
use crate::any;

/// What of a party must not arrive.
fn secrets(stream: &MediaStream) -> Vec<String> {
    let path = &stream.path;
    let mut secrets: Vec<String> = path.ice.iter().map(|ice| ice.pwd.reveal().clone()).collect();
    let candidates = path.candidates.iter().flat_map(|candidate| [Some(candidate.address), candidate.related]);
    let addresses = candidates.chain([path.rtcp]).flatten();
    secrets.extend(addresses.map(|address| format!("{} {}", address.ip(), address.port())));
    secrets.extend(path.rtp.map(|rtp| format!("c=IN IP{} {}", if rtp.is_ipv4() { 4 } else { 6 }, rtp.ip())));
    secrets.extend(path.dtls.iter().flat_map(|dtls| &dtls.fingerprints).map(model::Fingerprint::hex));
    secrets
}

proptest! {
    #[test]
    fn it_reads_as_what_we_say_and_tells_nothing_of_the_senders_transport(
        theirs in (any::stream(0), any::stream(1)),
        ours in (any::stream(0), any::stream(1)),
        bundles: [bool; 2],
        refused: [bool; 2],
        unknown in proptest::collection::vec(("x-[a-z]{1,8}(:[ -~]{1,20})?", 0..200_usize), 0..6),
    ) {
        let bundle = |bundled| if bundled { vec![StreamId(0), StreamId(1)] } else { Vec::new() };
        let theirs = Description { streams: vec![theirs.0, theirs.1], bundle: bundle(bundles[0]) };
        let mut ours = Description { streams: vec![ours.0, ours.1], bundle: bundle(bundles[1]) };
        for ((ours, theirs), refused) in ours.streams.iter_mut().zip(&theirs.streams).zip(refused) {
            (ours.kind, ours.rejected) = (theirs.kind, refused);
        }
        let mut original: Vec<String> = Session::new(1).write_offer(&theirs).lines().map(str::to_owned).collect();
        for (attribute, place) in &unknown {
            original.insert(5 + place % (original.len() - 5), format!("a={attribute}"));
        }
        let foreign: Vec<String> = original.iter().filter(|line| line.starts_with("a=x-")).cloned().collect();

        let lines = [Fate::Carried(StreamId(0)), Fate::Carried(StreamId(1))];
        let text = rewrite(&original.join("\r\n"), &Rewriting::new(Role::Offer, &lines, &ours)).expect("our own SDP");

        let arrived: Vec<&str> = text.lines().filter(|line| line.starts_with("a=x-")).collect();
        prop_assert_eq!(arrived, foreign);
        for secret in theirs.streams.iter().flat_map(secrets) {
            prop_assert!(!text.contains(&secret), "{} in {}", secret, text);
        }

        let read = Session::new(2).read_offer(&text).expect("an SDP");
        prop_assert_eq!(read.losses, Vec::<String>::new());
        prop_assert_eq!(read.description.bundle, bundle(bundles[1]).into_iter().filter(|id| !refused[usize::from(id.0)]).collect::<Vec<_>>());
        for ((found, mut wanted), theirs) in read.description.streams.into_iter().zip(ours.streams).zip(theirs.streams) {
            prop_assert_eq!(found.rejected, wanted.rejected);
            if wanted.rejected {
                prop_assert_eq!((found.path.rtp, found.path.ice, found.path.dtls), (None, None, None));
                continue;
            }
            // What stays the sender's, and what is so by default.
            (wanted.name, wanted.bandwidth) = (found.name.clone(), theirs.bandwidth);
            let next = wanted.path.rtp.map(|rtp| SocketAddr::new(rtp.ip(), rtp.port() + 1));
            wanted.path.rtcp = wanted.path.rtcp.or(next);
            prop_assert_eq!(found, wanted);
        }
    }

    #[test]
    fn no_text_breaks_the_rewriting(text in "\\PC*", cut in 0..CHROMIUM.len(), change in any::<char>()) {
        let local = Session::new(1).read_offer(&crlf(CHROMIUM)).expect("an SDP").description;
        let mut browser = CHROMIUM.to_owned();
        browser.replace_range(cut..=cut, &change.to_string());
        for text in [&text, &browser, &browser[..cut]] {
            let Ok(facts) = Facts::read(text) else { continue };
            let ids = (0..).map(StreamId).map(Fate::Carried);
            let lines: Vec<Fate> = ids.take(facts.lines.len()).collect();
            let rewritten = rewrite(text, &Rewriting::new(Role::Answer, &lines, &local)).expect("it was read");
            prop_assert_eq!(rewritten.matches("\r\nm=").count() + usize::from(rewritten.starts_with("m=")), lines.len());
        }
    }
}
