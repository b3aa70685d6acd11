//! Candidates that trickle: bodies of the type `application/trickle-ice-sdpfrag` (RFC 8840 §9).

use model::{Candidate, IceParameters};
use sdp_types::{Media, Origin, Session};

use super::document::{Document, Line, attributes};
use super::{Role, SdpError, read, write};

/// What one fragment adds, part by part.
#[derive(Clone, Debug, PartialEq)]
pub struct Fragment {
    /// Its m-lines, or the whole of one without any.
    pub parts: Vec<Trickled>,
    /// What was left out or ignored, in words for the log.
    pub losses: Vec<String>,
}

/// What trickled for one m-line.
#[derive(Clone, Debug, PartialEq)]
pub struct Trickled {
    /// `a=mid`, which names the m-line.
    pub mid: Option<String>,
    /// Its place in the fragment, counted from 0: the m-line's, too, if nothing names it.
    pub index: usize,
    /// Which credentials the candidates belong to: `a=ice-ufrag`.
    pub ufrag: Option<String>,
    /// The credentials, if the password is there as well and both are of a right length.
    pub ice: Option<IceParameters>,
    /// The candidates.
    pub candidates: Vec<Candidate>,
    /// No more will follow.
    pub end_of_candidates: bool,
}

impl Fragment {
    /// Reads a fragment. Those of the drafts, which have `a=mid` without an m-line, are understood as well.
    ///
    /// # Errors
    ///
    /// It is a bomb, or an m-line of it is none.
    pub fn read(text: &str) -> Result<Self, SdpError> {
        let document = Document::parse(text)?;
        let (mut session, mut parts) = (Vec::new(), Vec::<Vec<Line<'_>>>::new());
        for line in document.session {
            if line.is("mid") {
                parts.push(Vec::new());
            }
            parts.last_mut().unwrap_or(&mut session).push(line);
        }
        parts.extend(document.sections.into_iter().map(|section| section.lines));
        if parts.is_empty() {
            parts.push(std::mem::take(&mut session));
        }
        let mut sdp = Session::new(Origin::with_ip_addr(0, 0, [0, 0, 0, 0]), "");
        sdp.attributes = attributes(&session);
        let mut losses = Vec::new();
        let parts = parts.iter().enumerate().map(|(index, lines)| {
            let media = Media { attributes: attributes(lines), ..write::m_line("audio", 0, "") };
            let section = read::Section { sdp: &sdp, media: &media, role: Role::Offer };
            Trickled {
                mid: section.own("mid").map(|mid| mid.trim().to_owned()),
                index,
                ufrag: section.inherited("ice-ufrag").map(str::to_owned),
                ice: section.ice(&mut losses),
                candidates: section.candidates(&mut losses),
                end_of_candidates: section.both_has("end-of-candidates"),
            }
        });
        let parts = parts.collect();
        Ok(Self { parts, losses })
    }
}
