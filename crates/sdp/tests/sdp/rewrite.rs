//! Descriptions on their way from one party to another.

mod offers;
mod options;
mod properties;

use model::{Description, IceParameters, MediaPath, MediaStream, Secret};
use sdp::rewrite::{Fate, Rewriting, rewrite};
use sdp::{Role, Session};

/// An SDP as a party sends it, given with LF.
fn crlf(text: &str) -> String {
    text.replace('\n', "\r\n")
}

/// What a relay makes of an offer: plain RTP at 198.51.100.1, from port 30000 on.
struct Passage {
    original: String,
    local: Description,
    lines: Vec<Fate>,
}

impl Passage {
    fn new(original: &str) -> Self {
        let mut session = Session::new(1);
        let original = crlf(original);
        let mut local = session.read_offer(&original).expect("an SDP").description;
        for (port, stream) in (30_000..).step_by(2).zip(&mut local.streams) {
            let rtp = format!("198.51.100.1:{port}").parse().expect("an address");
            stream.path = MediaPath { rtp: Some(rtp), ..MediaPath::default() };
        }
        local.bundle.clear();
        let lines = session.streams().into_iter().map(|stream| stream.map_or(Fate::Refused, Fate::Carried)).collect();
        Self { original, local, lines }
    }

    fn stream(&mut self, index: usize) -> &mut MediaStream {
        &mut self.local.streams[index]
    }

    /// What arrives, with LF.
    fn text(&self) -> String {
        self.text_by(|_| {})
    }

    fn text_by<'a>(&'a self, change: impl FnOnce(&mut Rewriting<'a>)) -> String {
        let mut how = Rewriting::new(Role::Offer, &self.lines, &self.local);
        change(&mut how);
        let text = rewrite(&self.original, &how).expect("an SDP");
        assert_eq!(text.matches('\n').count(), text.matches("\r\n").count(), "{text}");
        text.replace("\r\n", "\n")
    }
}

/// Credentials that are ours.
fn ice() -> IceParameters {
    IceParameters { ufrag: "ours".to_owned(), pwd: Secret::new("ourpasswordourpassword".to_owned()), lite: false }
}

/// Says what has changed, line by line.
#[track_caller]
fn assert_text(text: &str, expected: &str) {
    let (found, wanted): (Vec<&str>, Vec<&str>) = (text.lines().collect(), expected.lines().collect());
    assert_eq!(found, wanted, "{text}");
}
